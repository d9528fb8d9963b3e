package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"dunlin/paylink"
)

// RequestLine is what `enqueue requests` and the export show of one request.
type RequestLine struct {
	Request  paylink.Request
	Contact  paylink.Contact
	Code     string
	Paid     int64
	Refunded int64
	Session  *paylink.Session
	Messages []MessageLine
}

// MessageLine is what they show of one message.
type MessageLine struct {
	ID                paylink.MessageID    `json:"id"`
	Purpose           string               `json:"purpose"`
	Channel           paylink.Channel      `json:"channel"`
	N                 int                  `json:"n"`
	State             paylink.MessageState `json:"state"`
	ProviderRef       string               `json:"ref,omitempty"`
	Cause             paylink.Cause        `json:"cause,omitempty"`
	Code              string               `json:"code,omitempty"`
	PossibleDuplicate bool                 `json:"possible_duplicate,omitempty"`
	UpdatedAt         time.Time            `json:"updated_at"`
}

// RequestFilter narrows a walk over requests; the zero value is all of them.
type RequestFilter struct {
	Dispatch  paylink.DispatchState
	Payment   paylink.PaymentState
	Cause     paylink.Cause
	Reference string
}

// pageSize is how many requests a walk reads at once: readers never hold a snapshot for long, however slow the caller.
const pageSize = 500

// Requests walks the requests of a batch in row order, by key pages, and hands each to fn until it errs.
func (db *DB) Requests(ctx context.Context, id paylink.BatchID, f RequestFilter, fn func(RequestLine) error) error {
	lo, hi := batchRange(id)
	for after := lo - 1; ; {
		lines, err := db.requestPage(ctx, after, hi, f)
		if err != nil {
			return fmt.Errorf("requests of %s: %w", id, err)
		}
		for _, l := range lines {
			if err := fn(l); err != nil {
				return err
			}
		}
		if len(lines) < pageSize {
			return nil
		}
		after = int64(lines[len(lines)-1].Request.ID)
	}
}

// Request returns one request as the walk would.
func (db *DB) Request(ctx context.Context, id paylink.RequestID) (RequestLine, error) {
	lines, err := db.requestPage(ctx, int64(id)-1, int64(id), RequestFilter{})
	if err == nil && len(lines) == 0 {
		err = fmt.Errorf("request %s: %w", id, paylink.ErrNotFound)
	}
	if err != nil {
		return RequestLine{}, err
	}
	return lines[0], nil
}

func (db *DB) requestPage(ctx context.Context, after, hi int64, f RequestFilter) ([]RequestLine, error) {
	var lines []RequestLine
	index := map[paylink.RequestID]int{}
	err := each(ctx, db.read, `SELECT `+requestColumns+`, `+contactColumns+`, r.code, r.paid, r.refunded
		FROM requests r JOIN contacts c ON c.request_id = r.id
		WHERE r.id > $1 AND r.id <= $2 AND ($3 = '' OR r.dispatch = $3) AND ($4 = '' OR r.payment = $4) AND ($5 = '' OR r.cause = $5)
			AND ($6 = '' OR r.reference = $6)
		ORDER BY r.id LIMIT `+fmt.Sprint(pageSize),
		[]any{after, hi, string(f.Dispatch), string(f.Payment), string(f.Cause), f.Reference}, func(r *sql.Rows) error {
			var rs requestScan
			var cs contactScan
			var l RequestLine
			err := r.Scan(append(append(rs.targets(), cs.targets()...), &l.Code, &l.Paid, &l.Refunded)...)
			if err != nil {
				return err
			}
			if l.Request, err = rs.value(); err != nil {
				return err
			}
			if l.Contact, err = cs.value(); err != nil {
				return err
			}
			index[l.Request.ID] = len(lines)
			lines = append(lines, l)
			return nil
		})
	if err != nil || len(lines) == 0 {
		return nil, err
	}
	// The page's sessions and messages lie in the same key range; those of filtered rows are passed over.
	lo, hi := int64(lines[0].Request.ID), int64(lines[len(lines)-1].Request.ID)
	err = each(ctx, db.read, `SELECT `+sessionColumns+` FROM sessions WHERE request_id BETWEEN $1 AND $2 ORDER BY id`, []any{lo, hi}, func(r *sql.Rows) error {
		s, err := scanSession(r)
		if i, ok := index[s.RequestID]; ok && err == nil {
			lines[i].Session = &s.Session
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = each(ctx, db.read, `SELECT id, request_id, purpose, channel, n, state, provider_ref, cause, code, possible_duplicate, updated_at
		FROM messages WHERE request_id BETWEEN $1 AND $2 ORDER BY id`, []any{lo, hi}, func(r *sql.Rows) error {
		var m MessageLine
		var req paylink.RequestID
		var updated int64
		if err := r.Scan(&m.ID, &req, &m.Purpose, &m.Channel, &m.N, &m.State, &m.ProviderRef, &m.Cause, &m.Code, &m.PossibleDuplicate, &updated); err != nil {
			return err
		}
		m.UpdatedAt = toTime(updated)
		if i, ok := index[req]; ok {
			lines[i].Messages = append(lines[i].Messages, m)
		}
		return nil
	})
	return lines, err
}

// Causes counts the requests of a batch that failed, were suppressed or skipped, by cause.
func (db *DB) Causes(ctx context.Context, id paylink.BatchID) (map[paylink.Cause]int64, error) {
	lo, hi := batchRange(id)
	out := map[paylink.Cause]int64{}
	err := each(ctx, db.read, `SELECT cause, count(*) FROM requests WHERE id BETWEEN $1 AND $2 AND dispatch IN ('failed', 'suppressed', 'skipped')
		GROUP BY cause`, []any{lo, hi}, func(r *sql.Rows) error {
		var c paylink.Cause
		var n int64
		err := r.Scan(&c, &n)
		out[c] = n
		return err
	})
	return out, err
}

// Rejections walks the rejected rows of a batch in file order. Rows that were mended and sent in another file are left
// out unless all is set.
func (db *DB) Rejections(ctx context.Context, id paylink.BatchID, all bool, fn func(paylink.Rejection) error) error {
	for after := 0; ; {
		n := 0
		var page []paylink.Rejection
		err := each(ctx, db.read, `SELECT row_no, line, col, kind, reason, hint, raw, fixed_in IS NOT NULL FROM rejections WHERE batch_id = $1 AND row_no > $2
			ORDER BY row_no LIMIT `+fmt.Sprint(pageSize), []any{int64(id), after}, func(r *sql.Rows) error {
			var rej paylink.Rejection
			var raw string
			var fixed bool
			if err := r.Scan(&rej.Number, &rej.Line, &rej.Column, &rej.Kind, &rej.Reason, &rej.Hint, &raw, &fixed); err != nil {
				return err
			}
			n++
			after = rej.Number
			if fixed && !all {
				return nil
			}
			if err := json.Unmarshal([]byte(raw), &rej.Raw); err != nil {
				return err
			}
			page = append(page, rej)
			return nil
		})
		if err != nil {
			return fmt.Errorf("rejections of %s: %w", id, err)
		}
		for _, rej := range page {
			if err := fn(rej); err != nil {
				return err
			}
		}
		if n < pageSize {
			return nil
		}
	}
}

// Timeline returns every event of one request, those that covered a run of rows included, oldest first.
func (db *DB) Timeline(ctx context.Context, id paylink.RequestID) ([]paylink.Event, error) {
	var out []paylink.Event
	state := map[string]string{} // an event over a run of rows covers only those that stood where it begins
	err := each(ctx, db.read, `SELECT at, entity, entity_id, from_state, to_state, actor, why FROM events
		WHERE batch_id = $1 AND (request_id = $2 OR (request_id = 0 AND entity IN ('rows', 'rows_payment') AND $3 BETWEEN first_row AND last_row))
		ORDER BY id`, []any{int64(id.Batch()), int64(id), id.Row()}, func(r *sql.Rows) error {
		var at int64
		e := paylink.Event{Batch: id.Batch(), Request: id}
		err := r.Scan(&at, &e.Entity, &e.EntityID, &e.From, &e.To, &e.Actor, &e.Why)
		if err != nil {
			return err
		}
		e.At = toTime(at)
		switch e.Entity {
		case entityRows, entityRowsPayment:
			column := entityRequest
			if e.Entity == entityRowsPayment {
				column = entityPayment
			}
			if e.Entity, e.EntityID = column, int64(id); state[column] != e.From {
				return nil
			}
			if e.From == "" { // born
				state[entityPayment] = string(paylink.PaymentUnpaid)
			}
		}
		if e.Entity == entityRequest || e.Entity == entityPayment {
			state[e.Entity] = e.To
		}
		out = append(out, e)
		return nil
	})
	return out, err
}

// OpenDebts says which of the rows' debts are already asked for; it is what an import would reject as repeats, for a
// file that is only being checked.
func (db *DB) OpenDebts(ctx context.Context, rows []ImportRow) (map[uint64]paylink.RequestID, error) {
	t := &tx{ctx: ctx, db: db, q: db.read}
	open, err := t.openDebts(rows)
	if err != nil {
		return nil, fmt.Errorf("look for open debts: %w", err)
	}
	found := map[uint64]paylink.RequestID{}
	for _, r := range rows {
		if r.Row == nil {
			continue
		}
		if id, ok := open.find(r); ok {
			found[r.DebtKey] = id
		}
	}
	return found, nil
}

// FindHash returns the newest batch of the same content, if there is one.
func (db *DB) FindHash(ctx context.Context, hash string) (paylink.Batch, error) {
	return scanBatch(db.read.QueryRowContext(ctx, `SELECT `+batchColumns+` FROM batches WHERE source_hash = $1 ORDER BY again DESC LIMIT 1`, hash))
}
