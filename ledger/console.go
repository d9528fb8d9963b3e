package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dunlin/paylink"
)

// What people look at page by page. A page costs the same whatever the size of the batch: counts come from the till, lists
// go by keys, and what no index finds is looked for in a bounded run of rows, after which the reader is told where to go on.

// Totals are a batch's counts, all from the till.
type Totals struct {
	Counts   paylink.Counts
	Payments map[paylink.PaymentState]int64
	// Delivered counts requests with a message that is known to have arrived; Opened those whose payer went on to pay.
	Delivered, Opened int64
	Asked             []paylink.Money // by currency
	Collected         []paylink.Money // less what went back
	// Days is what was collected on each day (UTC), oldest first.
	Days []DaySum
}

// DaySum is the money of one day and currency.
type DaySum struct {
	Day   string // YYYY-MM-DD
	Money paylink.Money
}

// BatchLine is a batch with its totals, for a list.
type BatchLine struct {
	Batch  paylink.Batch
	Totals Totals
}

const batchLinesQuery = `SELECT ` + batchColumns + ` FROM batches WHERE id < $1 ORDER BY id DESC LIMIT $2`

// BatchLines lists batches, newest first, those before one (0 = from the newest).
func (db *DB) BatchLines(ctx context.Context, before paylink.BatchID, limit int) (out []BatchLine, err error) {
	if before <= 0 {
		before = 1 << 31
	}
	err = each(ctx, db.read, batchLinesQuery, []any{int64(before), limit}, func(r *sql.Rows) error {
		b, err := scanBatch(r)
		out = append(out, BatchLine{Batch: b})
		return err
	})
	for i := 0; err == nil && i < len(out); i++ {
		out[i].Totals, err = db.Totals(ctx, out[i].Batch.ID)
	}
	return out, err
}

const totalsQuery = `SELECT kind, state, SUM(n) FROM tallies WHERE batch_id = $1 GROUP BY kind, state ORDER BY kind, state`

// Totals reads a batch's till whole.
func (db *DB) Totals(ctx context.Context, id paylink.BatchID) (s Totals, err error) {
	s.Payments = map[paylink.PaymentState]int64{}
	err = each(ctx, db.read, totalsQuery, []any{int64(id)}, func(r *sql.Rows) error {
		var kind, state string
		var n int64
		if err := r.Scan(&kind, &state, &n); err != nil {
			return err
		}
		switch kind {
		case tallyPayment:
			s.Payments[paylink.PaymentState(state)] = n
		case tallyAsked:
			s.Asked = append(s.Asked, paylink.Money{Minor: n, Currency: state})
		case tallyCollected:
			currency, day, _ := strings.Cut(state, " ")
			s.Days = append(s.Days, DaySum{day, paylink.Money{Minor: n, Currency: currency}})
			if k := len(s.Collected); k == 0 || s.Collected[k-1].Currency != currency {
				s.Collected = append(s.Collected, paylink.Money{Currency: currency})
			}
			s.Collected[len(s.Collected)-1].Minor += n
		case tallyReach:
			if state == reachDelivered {
				s.Delivered = n
			} else {
				s.Opened = n
			}
		default:
			addCount(&s.Counts, kind, state, n)
		}
		return nil
	})
	slices.SortStableFunc(s.Days, func(a, b DaySum) int { return strings.Compare(a.Day, b.Day) })
	return s, err
}

// Detail is what a batch's own page shows beside its totals.
type Detail struct {
	ConfirmedBy, ApprovedBy string
	HoldUntil               time.Time // zero = none
	NeedsApproval           bool
	Options                 string // JSON: how the file was read
}

// Detail reads it.
func (db *DB) Detail(ctx context.Context, id paylink.BatchID) (d Detail, err error) {
	var until sql.NullInt64
	err = db.read.QueryRowContext(ctx, `SELECT COALESCE(confirmed_by, ''), COALESCE(approved_by, ''), hold_until, needs_approval, options FROM batches WHERE id = $1`, int64(id)).
		Scan(&d.ConfirmedBy, &d.ApprovedBy, &until, &d.NeedsApproval, &d.Options)
	d.HoldUntil = nullTime(until)
	return d, notFound(err, id)
}

const batchEventsQuery = `SELECT at, entity, entity_id, from_state, to_state, actor, why FROM events
	WHERE batch_id = $1 AND request_id = 0 AND entity = 'batch' ORDER BY id LIMIT $2`

// BatchEvents are those of the batch as a whole, oldest first.
func (db *DB) BatchEvents(ctx context.Context, id paylink.BatchID, limit int) (out []paylink.Event, err error) {
	err = each(ctx, db.read, batchEventsQuery, []any{int64(id), limit}, func(r *sql.Rows) error {
		e := paylink.Event{Batch: id}
		var at int64
		err := r.Scan(&at, &e.Entity, &e.EntityID, &e.From, &e.To, &e.Actor, &e.Why)
		e.At = toTime(at)
		out = append(out, e)
		return err
	})
	return out, err
}

// PageFilter narrows a page of one batch's requests; the zero value is all of them.
type PageFilter struct {
	Dispatch paylink.DispatchState
	Payment  paylink.PaymentState
	Cause    paylink.Cause
	Text     string // somewhere in the reference or the name
}

// pageRun is how many rows a page looks through when no index finds what it is after: some 20 ms.
const pageRun = 20_000

// RowPage returns requests of a batch after a row, in row order, at most limit. next is the row to go on after; 0 =
// there are no more. A page may be short, or empty, although more follow: see next.
func (db *DB) RowPage(ctx context.Context, id paylink.BatchID, f PageFilter, after, limit int) (lines []RequestLine, next int, err error) {
	lo, hi := batchRange(id)
	base := lo - 1
	var last sql.NullInt64
	if err := db.read.QueryRowContext(ctx, `SELECT MAX(id) FROM requests WHERE id BETWEEN $1 AND $2`, lo, hi).Scan(&last); err != nil || !last.Valid {
		return nil, 0, err
	}
	query, more, indexed := pageQuery(f)
	end := last.Int64
	if !indexed {
		end = min(end, base+int64(after)+pageRun)
	}
	args := append([]any{base + int64(after), end, limit}, more...)
	var ids []int64
	err = each(ctx, db.read, query, args, func(r *sql.Rows) error {
		var rid int64
		err := r.Scan(&rid)
		ids = append(ids, rid)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("page of %s: %w", id, err)
	}
	switch {
	case len(ids) == limit && ids[limit-1] < last.Int64:
		next = int(ids[limit-1] - base)
	case len(ids) < limit && end < last.Int64:
		next = int(end - base)
	}
	lines, err = db.linesOf(ctx, ids)
	return lines, next, err
}

var likeText = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// pageQuery says how a page is read; its first arguments are the rows between which, and how many. Rare states are written
// out, because a partial index serves only who names what is in it.
func pageQuery(f PageFilter) (query string, args []any, indexed bool) {
	var from, where strings.Builder
	from.WriteString(`SELECT r.id FROM requests r`)
	where.WriteString(` WHERE r.id > $1 AND r.id <= $2`)
	arg := func(v string) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args)+3)
	}
	switch f.Dispatch {
	case paylink.DispatchFailed, paylink.DispatchSuppressed, paylink.DispatchSkipped, paylink.DispatchCanceled, paylink.DispatchUnknown:
		where.WriteString(` AND r.dispatch = '` + string(f.Dispatch) + `'`)
		indexed = true
	case "":
	default:
		where.WriteString(` AND r.dispatch = ` + arg(string(f.Dispatch)))
	}
	if f.Payment != "" {
		where.WriteString(` AND r.payment = ` + arg(string(f.Payment)))
		if f.Payment != paylink.PaymentUnpaid {
			where.WriteString(` AND r.payment <> 'unpaid'`)
			indexed = true
		}
	}
	if f.Cause != "" {
		where.WriteString(` AND r.cause = ` + arg(string(f.Cause)))
	}
	if f.Text != "" {
		from.WriteString(` JOIN contacts c ON c.request_id = r.id`)
		like := arg("%" + likeText.Replace(asciiLower(f.Text)) + "%")
		where.WriteString(` AND (lower(c.name) LIKE ` + like + ` ESCAPE '\' OR lower(r.reference) LIKE ` + like + ` ESCAPE '\')`)
		indexed = false // how many of the rows fit cannot be told
	}
	return from.String() + where.String() + ` ORDER BY r.id LIMIT $3`, args, indexed
}

// linesOf reads requests with their contacts, in the order of ids, without sessions and messages.
func (db *DB) linesOf(ctx context.Context, ids []int64) ([]RequestLine, error) {
	by := map[int64]RequestLine{}
	for chunk := range slices.Chunk(ids, 50) {
		args := make([]any, 50)
		for i := range args {
			args[i] = chunk[min(i, len(chunk)-1)]
		}
		err := each(ctx, db.read, linesQuery, args, func(r *sql.Rows) error {
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
			l.Contact, err = cs.value()
			by[int64(l.Request.ID)] = l
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	out := make([]RequestLine, 0, len(ids))
	for _, id := range ids {
		if l, ok := by[id]; ok {
			out = append(out, l)
		}
	}
	return out, nil
}

var linesQuery = `SELECT ` + requestColumns + `, ` + contactColumns + `, r.code, r.paid, r.refunded
	FROM requests r JOIN contacts c ON c.request_id = r.id WHERE r.id IN (` + placeholders(1, 50) + `)`

// Search says what to look for in all batches; each word is a prefix, empty ones are left out.
type Search struct {
	Reference, Name, Email, Phone string
}

// The searches. Names and mailboxes are compared in lower case of ASCII.
const (
	byReferenceQuery = `SELECT id FROM requests WHERE reference <> '' AND reference >= $1 AND reference < $2 ORDER BY reference, id LIMIT $3`
	byNameQuery      = `SELECT request_id FROM contacts WHERE name <> '' AND lower(name) >= $1 AND lower(name) < $2 ORDER BY lower(name), request_id LIMIT $3`
	byLastNameQuery  = `SELECT request_id FROM contacts WHERE last_name <> '' AND lower(last_name) >= $1 AND lower(last_name) < $2 ORDER BY lower(last_name), request_id LIMIT $3`
	byEmailQuery     = `SELECT request_id FROM contacts WHERE email <> '' AND lower(email) >= $1 AND lower(email) < $2 ORDER BY lower(email), request_id LIMIT $3`
	byPhoneQuery     = `SELECT request_id FROM contacts WHERE phone <> '' AND phone >= $1 AND phone < $2 ORDER BY phone, request_id LIMIT $3`
)

// Find looks for requests in all batches by index, at most limit by each word.
func (db *DB) Find(ctx context.Context, s Search, limit int) ([]RequestLine, error) {
	var ids []int64
	for _, by := range []struct{ query, prefix string }{
		{byReferenceQuery, s.Reference}, {byNameQuery, asciiLower(s.Name)}, {byLastNameQuery, asciiLower(s.Name)},
		{byEmailQuery, asciiLower(s.Email)}, {byPhoneQuery, s.Phone},
	} {
		if by.prefix == "" {
			continue
		}
		// Nothing of UTF-8 sorts behind the highest rune.
		err := each(ctx, db.read, by.query, []any{by.prefix, by.prefix + "\U0010FFFF", limit}, func(r *sql.Rows) error {
			var id int64
			err := r.Scan(&id)
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("search: %w", err)
		}
	}
	return db.linesOf(ctx, ids[:min(len(ids), limit)])
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// The counts by cause, of one state each; see requests_stuck.
var causeQueries = map[paylink.DispatchState]string{
	paylink.DispatchFailed:     `SELECT cause, count(*) FROM requests WHERE dispatch = 'failed' AND id BETWEEN $1 AND $2 GROUP BY cause`,
	paylink.DispatchSuppressed: `SELECT cause, count(*) FROM requests WHERE dispatch = 'suppressed' AND id BETWEEN $1 AND $2 GROUP BY cause`,
}

// CausesOf counts a batch's failed and suppressed requests by cause. It reads an index of such rows only.
func (db *DB) CausesOf(ctx context.Context, id paylink.BatchID, s paylink.DispatchState) (map[paylink.Cause]int64, error) {
	out := map[paylink.Cause]int64{}
	lo, hi := batchRange(id)
	err := each(ctx, db.read, causeQueries[s], []any{lo, hi}, func(r *sql.Rows) error {
		var c paylink.Cause
		var n int64
		err := r.Scan(&c, &n)
		out[c] = n
		return err
	})
	return out, err
}

// Attempt is one try at sending a message.
type Attempt struct {
	Message     paylink.MessageID
	N           int
	State       string
	Worker      string
	ProviderRef string
	Cause       paylink.Cause
	Code        string
	StartedAt   time.Time
	EndedAt     time.Time
}

const attemptsQuery = `SELECT a.message_id, a.n, a.state, a.worker, a.provider_ref, a.cause, a.code, a.started_at, a.ended_at
	FROM messages m JOIN attempts a ON a.message_id = m.id WHERE m.request_id = $1 ORDER BY a.id`

// Attempts are those of a request's messages, oldest first.
func (db *DB) Attempts(ctx context.Context, id paylink.RequestID) (out []Attempt, err error) {
	err = each(ctx, db.read, attemptsQuery, []any{int64(id)}, func(r *sql.Rows) error {
		var a Attempt
		var started int64
		var ended sql.NullInt64
		err := r.Scan(&a.Message, &a.N, &a.State, &a.Worker, &a.ProviderRef, &a.Cause, &a.Code, &started, &ended)
		a.StartedAt, a.EndedAt = toTime(started), nullTime(ended)
		out = append(out, a)
		return err
	})
	return out, err
}

const sessionsOfQuery = `SELECT ` + sessionColumns + ` FROM sessions WHERE request_id = $1 ORDER BY id`

const lostQuery = `SELECT id, request_id, channel, state, updated_at FROM messages WHERE (state = 'unknown' OR state = 'held') AND id > $1 ORDER BY id LIMIT $2`

// LostMessage is a message of which nobody knows whether it went out.
type LostMessage struct {
	ID      paylink.MessageID
	Request paylink.RequestID
	Channel paylink.Channel
	State   paylink.MessageState // unknown: still looked for; held: a person must decide
	At      time.Time
}

// LostMessages lists them over all batches, those after one, oldest first.
func (db *DB) LostMessages(ctx context.Context, after paylink.MessageID, limit int) (out []LostMessage, err error) {
	err = each(ctx, db.read, lostQuery, []any{int64(after), limit}, func(r *sql.Rows) error {
		var m LostMessage
		var at int64
		err := r.Scan(&m.ID, &m.Request, &m.Channel, &m.State, &at)
		m.At = toTime(at)
		out = append(out, m)
		return err
	})
	return out, err
}

const standingQuery = `SELECT ` + batchColumns + ` FROM batches WHERE state NOT IN ('done', 'canceled') AND (state = 'halted' OR state = 'held' OR state = 'paused') ORDER BY id LIMIT $1`

// StandingBatches lists the batches that wait for a person.
func (db *DB) StandingBatches(ctx context.Context, limit int) (out []paylink.Batch, err error) {
	err = each(ctx, db.read, standingQuery, []any{limit}, func(r *sql.Rows) error {
		b, err := scanBatch(r)
		out = append(out, b)
		return err
	})
	return out, err
}

// OpenFlag is a flag with the number by which it is closed.
type OpenFlag struct {
	ID int64
	paylink.Flag
}

const openFlagsQuery = `SELECT id, batch_id, request_id, kind, detail, opened_at FROM flags WHERE closed_at IS NULL AND id > $1 ORDER BY id LIMIT $2`

// OpenFlags lists what a person should look at, those after one, oldest first.
func (db *DB) OpenFlags(ctx context.Context, after int64, limit int) (out []OpenFlag, err error) {
	err = each(ctx, db.read, openFlagsQuery, []any{after, limit}, func(r *sql.Rows) error {
		var f OpenFlag
		var at int64
		err := r.Scan(&f.ID, &f.Batch, &f.Request, &f.Kind, &f.Detail, &at)
		f.At = toTime(at)
		out = append(out, f)
		return err
	})
	return out, err
}

// CloseFlag records that a person has looked. A flag that is closed already is ErrConflict.
func (db *DB) CloseFlag(ctx context.Context, id int64, actor, why string) error {
	return db.change(ctx, func(t *tx) error {
		var f paylink.Flag
		err := t.row(`UPDATE flags SET closed_at = $2, closed_by = $3, why = $4 WHERE id = $1 AND closed_at IS NULL RETURNING batch_id, request_id, kind`,
			id, t.now, actor, why).Scan(&f.Batch, &f.Request, &f.Kind)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("flag %d is not open: %w", id, paylink.ErrConflict)
		}
		if err != nil {
			return err
		}
		t.event(event{batch: f.Batch, request: f.Request, entity: "flag", id: id, from: "open", to: "closed", actor: actor, why: strings.TrimSpace(string(f.Kind) + " " + why)})
		return nil
	})
}

const openRejectionsQuery = `SELECT row_no, line, col, kind, reason, hint, raw FROM rejections WHERE batch_id = $1 AND row_no > $2 AND fixed_in IS NULL ORDER BY row_no LIMIT $3`

// OpenRejections returns rejected rows that nobody has mended yet, those after a row.
func (db *DB) OpenRejections(ctx context.Context, id paylink.BatchID, after, limit int) (out []paylink.Rejection, err error) {
	err = each(ctx, db.read, openRejectionsQuery, []any{int64(id), after, limit}, func(r *sql.Rows) error {
		rej, err := scanRejection(r)
		out = append(out, rej)
		return err
	})
	return out, err
}

func scanRejection(s interface{ Scan(...any) error }) (rej paylink.Rejection, err error) {
	var raw string
	if err := s.Scan(&rej.Number, &rej.Line, &rej.Column, &rej.Kind, &rej.Reason, &rej.Hint, &raw); err != nil {
		return rej, err
	}
	return rej, json.Unmarshal([]byte(raw), &rej.Raw)
}
