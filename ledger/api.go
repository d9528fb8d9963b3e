package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"dunlin/paylink"
)

// The pages of the API and the console. Every page begins behind a key and reads a bounded number of rows, so that it
// costs the same whether the ledger holds a thousand rows or a hundred million. test chooses between the batches of test
// keys and all others: the two never see each other.

// BatchPage returns up to limit batches, newest first, those made before a given one; 0 = from the newest.
func (db *DB) BatchPage(ctx context.Context, test bool, before paylink.BatchID, limit int) ([]paylink.Batch, error) {
	if before == 0 {
		before = 1 << 31
	}
	var out []paylink.Batch
	err := each(ctx, db.read, batchPageQuery, []any{int64(before), test, limit}, func(r *sql.Rows) error {
		b, err := scanBatch(r)
		out = append(out, b)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("page of batches: %w", err)
	}
	return out, nil
}

const batchPageQuery = `SELECT ` + batchColumns + ` FROM batches WHERE id < $1 AND test = $2 ORDER BY id DESC LIMIT $3`

// RejectionPage returns up to limit rejected rows of a batch behind a row, in file order, and the row to go on from; 0 at
// the end. Rows that were mended in another file are left out unless all is set.
func (db *DB) RejectionPage(ctx context.Context, id paylink.BatchID, all bool, after, limit int) (out []paylink.Rejection, next int, err error) {
	err = each(ctx, db.read, rejectionPageQuery, []any{int64(id), after, all, limit + 1}, func(r *sql.Rows) error {
		var rej paylink.Rejection
		var raw string
		if err := r.Scan(&rej.Number, &rej.Line, &rej.Column, &rej.Kind, &rej.Reason, &rej.Hint, &raw); err != nil {
			return err
		}
		if len(out) == limit {
			next = out[limit-1].Number
			return nil
		}
		err := json.Unmarshal([]byte(raw), &rej.Raw)
		out = append(out, rej)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("rejections of %s: %w", id, err)
	}
	return out, next, nil
}

const rejectionPageQuery = `SELECT row_no, line, col, kind, reason, hint, raw FROM rejections
	WHERE batch_id = $1 AND row_no > $2 AND (fixed_in IS NULL OR $3) ORDER BY row_no LIMIT $4`

// RequestQuery is what a page of requests is asked for.
type RequestQuery struct {
	RequestFilter
	Test  bool
	Batch paylink.BatchID   // 0 = all
	After paylink.RequestID // the page begins behind it
	Limit int
}

// scanBound is how many rows a page looks at where no index leads to those that fit. A page may so be short, or empty,
// and still not be the last.
const scanBound = 20_000

// RequestPage returns requests in the order of their ids, and the id to go on from; 0 at the end. A page without a
// reference or a state that few rows are in may be shorter than asked for.
func (db *DB) RequestPage(ctx context.Context, q RequestQuery) (lines []RequestLine, next paylink.RequestID, err error) {
	lo, hi := int64(q.After), int64(1)<<62
	if q.Batch != 0 {
		first, last := batchRange(q.Batch)
		lo, hi = max(lo, first-1), last
	}
	top := int64(0)
	if !q.indexed() {
		if err := db.read.QueryRowContext(ctx, scanTopQuery, lo, hi, scanBound).Scan(&top); err != nil {
			return nil, 0, fmt.Errorf("page of requests: %w", err)
		}
		if top == 0 {
			return nil, 0, nil
		}
		hi = top
	}
	text, args := q.query(lo, hi)
	err = each(ctx, db.read, text, args, func(r *sql.Rows) error {
		l, err := scanLine(r)
		lines = append(lines, l)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("page of requests: %w", err)
	}
	next = paylink.RequestID(top)
	if len(lines) > q.Limit {
		lines = lines[:q.Limit]
		next = lines[q.Limit-1].Request.ID
	}
	return lines, next, db.attach(ctx, lines)
}

// indexed reports whether an index leads to the rows that fit.
func (q RequestQuery) indexed() bool {
	return q.Reference != "" || q.stuck() || q.Payment != "" && q.Payment != paylink.PaymentUnpaid
}

func (q RequestQuery) stuck() bool {
	switch q.Dispatch {
	case paylink.DispatchFailed, paylink.DispatchSuppressed, paylink.DispatchSkipped, paylink.DispatchCanceled, paylink.DispatchUnknown:
		return true
	}
	return false
}

// query is the text for the filter and its arguments. A state that leads an index stands in it as a word: a partial
// index is used only where the text itself says that the row is in it.
func (q RequestQuery) query(lo, hi int64) (text string, args []any) {
	args = []any{lo, hi, q.Test, q.Limit + 1}
	where := ``
	equal := func(column, value string) {
		if value != "" {
			args = append(args, value)
			where += fmt.Sprintf(` AND %s = $%d`, column, len(args))
		}
	}
	equal(`r.cause`, string(q.Cause))
	if equal(`r.reference`, q.Reference); q.Reference != "" {
		where += ` AND r.reference <> ''`
	}
	if q.stuck() {
		where += ` AND r.dispatch = '` + string(q.Dispatch) + `'`
	} else {
		equal(`r.dispatch`, string(q.Dispatch))
	}
	if equal(`r.payment`, string(q.Payment)); q.Payment != "" && q.Payment != paylink.PaymentUnpaid {
		where += ` AND r.payment <> 'unpaid'`
	}
	return `SELECT ` + lineColumns + ` FROM requests r JOIN contacts c ON c.request_id = r.id
		WHERE r.id > $1 AND r.id <= $2 AND EXISTS (SELECT 1 FROM batches b WHERE b.id = (r.id >> 32) AND b.test = $3)` + where + `
		ORDER BY r.id LIMIT $4`, args
}

const scanTopQuery = `SELECT COALESCE(MAX(id), 0) FROM (SELECT id FROM requests WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3) p`

// attachChunk requests are looked up at once, by one text.
const attachChunk = 50

// attach adds each line's last session and its messages.
func (db *DB) attach(ctx context.Context, lines []RequestLine) error {
	for chunk := range slices.Chunk(lines, attachChunk) {
		index, args := map[paylink.RequestID]int{}, make([]any, attachChunk)
		for i := range args {
			l := chunk[min(i, len(chunk)-1)]
			index[l.Request.ID] = min(i, len(chunk)-1)
			args[i] = int64(l.Request.ID)
		}
		err := each(ctx, db.read, attachSessionsQuery, args, func(r *sql.Rows) error {
			s, err := scanSession(r)
			if l := &chunk[index[s.RequestID]]; err == nil && (l.Session == nil || l.Session.ID < s.ID) {
				l.Session = &s.Session
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("sessions of a page: %w", err)
		}
		err = each(ctx, db.read, attachMessagesQuery, args, func(r *sql.Rows) error {
			req, m, err := scanMessageLine(r)
			l := &chunk[index[req]]
			l.Messages = append(l.Messages, m)
			return err
		})
		if err != nil {
			return fmt.Errorf("messages of a page: %w", err)
		}
		for i := range chunk {
			slices.SortFunc(chunk[i].Messages, func(x, y MessageLine) int { return cmp.Compare(x.ID, y.ID) })
		}
	}
	return nil
}

var (
	attachSessionsQuery = `SELECT ` + sessionColumns + ` FROM sessions WHERE request_id IN (` + placeholders(1, attachChunk) + `)`
	attachMessagesQuery = `SELECT ` + messageLineColumns + ` FROM messages WHERE request_id IN (` + placeholders(1, attachChunk) + `)`
)

// Sessions returns every checkout session of a request, oldest first.
func (db *DB) Sessions(ctx context.Context, id paylink.RequestID) ([]paylink.Session, error) {
	var out []paylink.Session
	err := each(ctx, db.read, sessionsOfQuery, []any{int64(id)}, func(r *sql.Rows) error {
		s, err := scanSession(r)
		out = append(out, s.Session)
		return err
	})
	return out, err
}

// FeedEvent is one event as other systems are told of it: ids and states.
type FeedEvent struct {
	ID       int64             `json:"id" doc:"Grows with every event"`
	At       time.Time         `json:"at"`
	Batch    paylink.BatchID   `json:"batch"`
	Request  paylink.RequestID `json:"request,omitempty"`
	Entity   string            `json:"entity" doc:"What moved: batch, request, payment, session, message, money; rows and rows_payment are runs of rows that moved together, rejected are rows that were not taken"`
	EntityID int64             `json:"entity_id,omitempty"`
	From     string            `json:"from"`
	To       string            `json:"to"`
	FirstRow int               `json:"first_row,omitempty" doc:"A run of rows goes from here …"`
	LastRow  int               `json:"last_row,omitempty" doc:"… to here; of them, those move that stood at from"`
	Rows     int64             `json:"rows,omitempty" doc:"How many rows moved, of a run"`
}

// settleTime is how long an event may be missing from the row of ids before it is taken for one that never was: longer
// than any transaction of ours.
const settleTime = time.Minute

// EventPage returns up to limit events behind an id, oldest first, and the id to go on from, which is that of the last
// one looked at. Nothing is passed over: PostgreSQL may commit a higher id before a lower one, so the page ends before a
// young gap in the ids.
func (db *DB) EventPage(ctx context.Context, test bool, after int64, limit int) (out []FeedEvent, next int64, err error) {
	next = after
	settled := db.Now().Add(-settleTime)
	var page []FeedEvent
	gap := false
	err = each(ctx, db.read, eventPageQuery, []any{after, limit}, func(r *sql.Rows) error {
		var e FeedEvent
		var at int64
		if err := r.Scan(&e.ID, &at, &e.Batch, &e.Request, &e.Entity, &e.EntityID, &e.From, &e.To, &e.FirstRow, &e.LastRow, &e.Rows); err != nil {
			return err
		}
		e.At = toTime(at)
		if gap = gap || e.ID != next+1 && e.At.After(settled); gap {
			return nil
		}
		next = e.ID
		if e.FirstRow == 0 {
			e.Rows = 0
		}
		page = append(page, e)
		return nil
	})
	if err != nil {
		return nil, after, fmt.Errorf("page of events: %w", err)
	}
	worlds := map[paylink.BatchID]bool{}
	for _, e := range page {
		if e.Batch == 0 { // of no batch: keys, gates
			continue
		}
		of, known := worlds[e.Batch]
		if !known {
			b, err := db.Batch(ctx, e.Batch)
			if err != nil {
				return nil, after, err
			}
			of = b.Test
			worlds[e.Batch] = of
		}
		if of == test {
			out = append(out, e)
		}
	}
	return out, next, nil
}

const eventPageQuery = `SELECT id, at, batch_id, request_id, entity, entity_id, from_state, to_state, first_row, last_row, n FROM events WHERE id > $1 ORDER BY id LIMIT $2`
