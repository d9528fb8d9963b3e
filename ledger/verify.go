package ledger

import (
	"context"
	"database/sql"
	"fmt"

	"dunlin/paylink"
)

// Difference is one thing that does not add up.
type Difference struct {
	Kind   string `json:"kind"`
	Where  string `json:"where"`
	Detail string `json:"detail"`
}

// maxDifferences bounds what one verification lists; the number counts on.
const maxDifferences = 1000

// Report is the result of a verification.
type Report struct {
	Batch       paylink.BatchID `json:"batch"`
	Rows        int64           `json:"rows"`
	Differences int             `json:"differences"`
	Found       []Difference    `json:"found"`
}

func (r *Report) add(kind, where, detail string, args ...any) {
	r.Differences++
	if len(r.Found) < maxDifferences {
		r.Found = append(r.Found, Difference{kind, where, fmt.Sprintf(detail, args...)})
	}
}

// Verify compares four records of one batch that were written apart: the row count stored when the file was read whole,
// the fold of the events, the rows themselves, and the till's counters; and it checks the invariants that no single row
// can show. It reads one snapshot.
func (db *DB) Verify(ctx context.Context, id paylink.BatchID) (Report, error) {
	r := Report{Batch: id, Found: []Difference{}}
	stx, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: db.snapshot()})
	if err != nil {
		return r, err
	}
	defer stx.Rollback()
	b, err := scanBatch(stx.QueryRowContext(ctx, `SELECT `+batchColumns+` FROM batches WHERE id = $1`, int64(id)))
	if err != nil {
		return r, fmt.Errorf("batch %s: %w", id, err)
	}
	v := &verifier{ctx: ctx, q: stx, batch: b, report: &r}
	for _, check := range []func() error{v.fold, v.rows, v.counters, v.totals, v.chains, v.entities, v.invariants} {
		if err := check(); err != nil {
			return r, fmt.Errorf("verify %s: %w", id, err)
		}
	}
	return r, nil
}

func (db *DB) snapshot() sql.IsolationLevel {
	if db.dialect == &postgresDialect {
		return sql.LevelRepeatableRead
	}
	return sql.LevelDefault
}

type verifier struct {
	ctx    context.Context
	q      querier
	batch  paylink.Batch
	report *Report

	// What the events say. Row n stands at index n; a byte holds the index of its state, 0 = no such request.
	dispatch, payment []byte
	batchState        string
	rejected          int64
	// What the rows say.
	counts   paylink.Counts
	payments map[paylink.PaymentState]int64
}

// fold replays the batch's events.
func (v *verifier) fold() error {
	v.dispatch = make([]byte, v.batch.Imported+1)
	v.payment = make([]byte, v.batch.Imported+1)
	rejectedRows := map[int]bool{}
	lo := int64(v.batch.ID)
	// Which rows were rejected is a record of its own: an import's event covers both kinds.
	if err := each(v.ctx, v.q, `SELECT row_no FROM rejections WHERE batch_id = $1`, []any{lo}, func(r *sql.Rows) error {
		var n int
		err := r.Scan(&n)
		rejectedRows[n] = true
		return err
	}); err != nil {
		return err
	}
	return each(v.ctx, v.q, `SELECT id, request_id, entity, entity_id, from_state, to_state, first_row, last_row, n FROM events
		WHERE batch_id = $1 AND entity IN ('rows', 'rows_payment', 'rejected', 'request', 'payment', 'batch') ORDER BY id`, []any{lo}, func(r *sql.Rows) error {
		var e event
		var eventID int64
		if err := r.Scan(&eventID, &e.request, &e.entity, &e.id, &e.from, &e.to, &e.firstRow, &e.lastRow, &e.n); err != nil {
			return err
		}
		v.apply(eventID, e, rejectedRows)
		return nil
	})
}

func (v *verifier) apply(eventID int64, e event, rejected map[int]bool) {
	where := fmt.Sprintf("event %d", eventID)
	switch e.entity {
	case "batch":
		if e.from != v.batchState {
			v.report.add("event_chain", where, "the batch moves from %q but stood at %q", e.from, v.batchState)
		}
		v.batchState = e.to
	case entityRejected:
		v.rejected += e.n
	case entityRows, entityRowsPayment:
		var moved int64
		for n := max(1, e.firstRow); n <= e.lastRow && n < len(v.dispatch); n++ {
			switch {
			case e.entity == entityRows && e.from == "" && !rejected[n]: // born
				v.dispatch[n], v.payment[n] = dispatchIndex(e.to), paymentIndex(string(paylink.PaymentUnpaid))
				moved++
			case e.entity == entityRows && e.from != "" && v.dispatch[n] == dispatchIndex(e.from):
				v.dispatch[n] = dispatchIndex(e.to)
				moved++
			case e.entity == entityRowsPayment && v.payment[n] == paymentIndex(e.from) && v.dispatch[n] == dispatchIndex(string(paylink.DispatchCanceled)):
				v.payment[n] = paymentIndex(e.to)
				moved++
			}
		}
		if moved != e.n {
			v.report.add("event_rows", where, "it covers rows %d to %d and says that %d moved, the other events let %d move", e.firstRow, e.lastRow, e.n, moved)
		}
	case entityRequest, entityPayment:
		column, index := v.dispatch, dispatchIndex
		if e.entity == entityPayment {
			column, index = v.payment, paymentIndex
		}
		n := e.request.Row()
		if n >= len(column) {
			v.report.add("event_chain", where, "it names row %d of %d", n, len(column)-1)
			return
		}
		if column[n] != index(e.from) {
			v.report.add("event_chain", e.request.String(), "event %d moves it from %s, the events before left it elsewhere", eventID, e.from)
		}
		column[n] = index(e.to)
	}
}

func dispatchIndex(s string) byte {
	for i, x := range paylink.DispatchMachine.States {
		if string(x) == s {
			return byte(i + 1)
		}
	}
	return 0
}

func paymentIndex(s string) byte {
	for i, x := range paylink.PaymentMachine.States {
		if string(x) == s {
			return byte(i + 1)
		}
	}
	return 0
}

// rows compares each request with the fold, and counts.
func (v *verifier) rows() error {
	v.payments = map[paylink.PaymentState]int64{}
	lo, hi := batchRange(v.batch.ID)
	seen := make([]bool, len(v.dispatch))
	err := each(v.ctx, v.q, `SELECT id, dispatch, payment FROM requests WHERE id BETWEEN $1 AND $2 ORDER BY id`, []any{lo, hi}, func(r *sql.Rows) error {
		var id paylink.RequestID
		var d paylink.DispatchState
		var p paylink.PaymentState
		if err := r.Scan(&id, &d, &p); err != nil {
			return err
		}
		*countOf(&v.counts, d)++
		v.payments[p]++
		n := id.Row()
		if n >= len(v.dispatch) {
			v.report.add("row_extra", id.String(), "row %d was never imported", n)
			return nil
		}
		seen[n] = true
		if v.dispatch[n] != dispatchIndex(string(d)) {
			v.report.add("row_dispatch", id.String(), "the row says %s, its events say %s", d, stateName(paylink.DispatchMachine.States, v.dispatch[n]))
		}
		if v.payment[n] != paymentIndex(string(p)) {
			v.report.add("row_payment", id.String(), "the row says %s, its events say %s", p, stateName(paylink.PaymentMachine.States, v.payment[n]))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for n, s := range v.dispatch {
		if s != 0 && !seen[n] {
			v.report.add("row_missing", paylink.NewRequestID(v.batch.ID, n).String(), "its events say %s, the row is gone", stateName(paylink.DispatchMachine.States, s))
		}
	}
	var rejected int64
	if err := v.q.QueryRowContext(v.ctx, `SELECT count(*) FROM rejections WHERE batch_id = $1`, int64(v.batch.ID)).Scan(&rejected); err != nil {
		return err
	}
	v.counts.Rejected = rejected
	if rejected != v.rejected {
		v.report.add("rejections", v.batch.ID.String(), "%d rejected rows are stored, the events say %d", rejected, v.rejected)
	}
	v.report.Rows = v.counts.Sum()
	want := int64(v.batch.Imported)
	if v.batch.State != paylink.BatchImporting && v.batch.Rows != 0 {
		want = v.batch.Rows
	}
	if v.report.Rows != want {
		v.report.add("file_rows", v.batch.ID.String(), "the file had %d rows, %d are accounted for", want, v.report.Rows)
	}
	if string(v.batch.State) != v.batchState {
		v.report.add("batch_state", v.batch.ID.String(), "the batch says %s, its events say %s", v.batch.State, v.batchState)
	}
	return nil
}

func stateName[S ~string](states []S, i byte) string {
	if i == 0 || int(i) > len(states) {
		return "nothing"
	}
	return string(states[i-1])
}

// counters compares the till's counters with the rows.
func (v *verifier) counters() error {
	c, payments, err := readTally(v.ctx, v.q, v.batch.ID)
	if err != nil {
		return err
	}
	for _, s := range paylink.DispatchMachine.States {
		if got, want := *countOf(&c, s), *countOf(&v.counts, s); got != want {
			v.report.add("counter", string(s), "the counter says %d, the rows are %d", got, want)
		}
	}
	if c.Rejected != v.counts.Rejected {
		v.report.add("counter", "rejected", "the counter says %d, the rows are %d", c.Rejected, v.counts.Rejected)
	}
	for _, s := range paylink.PaymentMachine.States {
		if payments[s] != v.payments[s] {
			v.report.add("counter", "payment "+string(s), "the counter says %d, the rows are %d", payments[s], v.payments[s])
		}
	}
	return nil
}

// chains follows the events of every session and message: each begins where the one before ended. Request by request, so
// that it needs no memory for a large batch.
func (v *verifier) chains() error {
	type thing struct {
		entity string
		id     int64
	}
	at := paylink.RequestID(0)
	stands := map[thing]string{}
	return each(v.ctx, v.q, `SELECT id, request_id, entity, entity_id, from_state, to_state FROM events
		WHERE batch_id = $1 AND request_id > 0 ORDER BY request_id, id`, []any{int64(v.batch.ID)}, func(r *sql.Rows) error {
		var eventID int64
		var req paylink.RequestID
		var x thing
		var from, to string
		if err := r.Scan(&eventID, &req, &x.entity, &x.id, &from, &to); err != nil {
			return err
		}
		if x.entity != entitySession && x.entity != entityMessage {
			return nil
		}
		if req != at {
			at = req
			clear(stands)
		}
		if stands[x] != from {
			v.report.add("event_chain", req.String(), "event %d moves %s %d from %q, the events before left it at %q", eventID, x.entity, x.id, from, stands[x])
		}
		stands[x] = to
		return nil
	})
}

// entities compares every session and message with its last event.
func (v *verifier) entities() error {
	lo, hi := batchRange(v.batch.ID)
	for _, x := range []struct{ entity, table string }{{entitySession, "sessions"}, {entityMessage, "messages"}} {
		err := each(v.ctx, v.q, `
			SELECT x.request_id, x.id, x.state, COALESCE((SELECT e.to_state FROM events e WHERE e.batch_id = $3 AND e.request_id = x.request_id
				AND e.entity = $4 AND e.entity_id = x.id ORDER BY e.id DESC LIMIT 1), '') AS told
			FROM `+x.table+` x WHERE x.request_id BETWEEN $1 AND $2`, []any{lo, hi, int64(v.batch.ID), x.entity}, func(r *sql.Rows) error {
			var req paylink.RequestID
			var id int64
			var state, told string
			err := r.Scan(&req, &id, &state, &told)
			if err == nil && state != told {
				v.report.add(x.entity+"_state", req.String(), "%s %d says %s, its events say %q", x.entity, id, state, told)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// invariants are checked by SQL that must find nothing. Each selects a request id and a detail.
var invariants = []struct{ kind, query string }{
	{"two_live_sessions", `SELECT request_id, 'sessions with a revealed link: ' || count(*) FROM sessions
		WHERE request_id BETWEEN $1 AND $2 AND state IN ('open', 'pending', 'attempted') AND revealed_at IS NOT NULL GROUP BY request_id HAVING count(*) > 1`},
	{"two_open_attempts", `SELECT m.request_id, 'message ' || m.id FROM messages m JOIN attempts a ON a.message_id = m.id AND a.state IN ('open', 'unknown')
		WHERE m.request_id BETWEEN $1 AND $2 GROUP BY m.request_id, m.id HAVING count(*) > 1`},
	{"accepted_without_reference", `SELECT m.request_id, 'message ' || m.id FROM messages m
		WHERE m.request_id BETWEEN $1 AND $2 AND m.state IN ('accepted', 'sent', 'delivered', 'read')
			AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.message_id = m.id AND a.state = 'accepted' AND a.provider_ref <> '')`},
	{"accepted_twice", `SELECT m.request_id, 'message ' || m.id FROM messages m JOIN attempts a ON a.message_id = m.id AND a.state = 'accepted'
		WHERE m.request_id BETWEEN $1 AND $2 AND NOT m.possible_duplicate GROUP BY m.request_id, m.id HAVING count(*) > 1`},
	{"sent_without_message", `SELECT r.id, 'dispatch is sent' FROM requests r WHERE r.id BETWEEN $1 AND $2 AND r.dispatch = 'sent'
		AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.request_id = r.id AND m.purpose <> 'receipt' AND m.state IN ('accepted', 'sent', 'delivered', 'read'))`},
	{"sent_without_session", `SELECT r.id, 'a message went out but no session was ever made' FROM requests r WHERE r.id BETWEEN $1 AND $2 AND r.dispatch = 'sent'
		AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.request_id = r.id AND s.provider_id IS NOT NULL)`},
	{"in_flight_without_work", `SELECT r.id, 'nothing is owed' FROM requests r WHERE r.id BETWEEN $1 AND $2 AND r.dispatch = 'in_flight' AND r.step <> 'session'
		AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.request_id = r.id AND m.purpose <> 'receipt' AND m.state IN ('owed', 'claimed', 'committing'))`},
	{"contact_missing", `SELECT r.id, 'no contact row' FROM requests r WHERE r.id BETWEEN $1 AND $2
		AND NOT EXISTS (SELECT 1 FROM contacts c WHERE c.request_id = r.id)`},
	{"refunded_differs", `SELECT r.id, 'refunded is ' || r.refunded FROM requests r WHERE r.id BETWEEN $1 AND $2 AND r.refunded <>
		(SELECT COALESCE(SUM(p.amount), 0) FROM payments p WHERE p.request_id = r.id AND p.kind = 'refunded' AND p.currency = r.currency)`},
	{"paid_differs", `SELECT r.id, 'paid is ' || r.paid FROM requests r WHERE r.id BETWEEN $1 AND $2 AND r.paid <>
		(SELECT COALESCE(SUM(p.amount), 0) FROM payments p WHERE p.request_id = r.id AND p.kind IN ('settled', 'outside') AND p.currency = r.currency)`},
}

func (v *verifier) invariants() error {
	lo, hi := batchRange(v.batch.ID)
	for _, inv := range invariants {
		err := each(v.ctx, v.q, inv.query, []any{lo, hi}, func(r *sql.Rows) error {
			var id paylink.RequestID
			var detail string
			err := r.Scan(&id, &detail)
			if err == nil {
				v.report.add(inv.kind, id.String(), "%s", detail)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", inv.kind, err)
		}
	}
	return nil
}
