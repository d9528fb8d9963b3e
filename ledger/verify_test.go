package ledger_test

import (
	"context"
	"database/sql"
	"slices"
	"testing"
	"time"

	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

// finished is a batch that has been through a good deal: row 1 was sent, 2 was paid, 3 failed, 4 is unknown, 5 was refused
// a session, 6 was canceled, 7 was rejected, 8 is owed its message, 9 was never fed.
func finished(t *testing.T, db *ledger.DB) paylink.BatchID {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	opt := paylink.ClaimOptions{Worker: "w", Lease: time.Minute}
	f := ledgertest.NewFile(9, ledgertest.Rejected(7))
	f.Chunk = 4
	b := ledgertest.Send(t, db, f)
	_, err := db.CancelRequest(ctx, paylink.NewRequestID(b, 6), "clerk", "mistake")
	must(err)
	wakes, err := db.Feed(ctx, b, 6)
	must(err)
	for _, w := range wakes {
		s, err := db.ClaimSession(ctx, paylink.RequestID(w.ID), w.Epoch, opt)
		must(err)
		row := s.Request.ID.Row()
		if row == 5 {
			must(db.FailSession(ctx, s, &paylink.Failure{Kind: paylink.Permanent, Cause: paylink.CauseCheckoutRefused}, time.Time{}, false))
			continue
		}
		sends, err := db.RecordSession(ctx, s, paylink.CheckoutSession{ProviderID: "p" + s.OrderNo, URL: "https://pay.example", State: paylink.SessionOpen})
		must(err)
		if row == 8 {
			continue
		}
		m, _, err := db.ClaimMessage(ctx, paylink.MessageID(sends[0].ID), sends[0].Epoch, opt)
		must(err)
		must(db.CommitMessage(ctx, m, paylink.CommitOptions{BytesHash: "b", Timeout: time.Second, Reveals: true}))
		switch row {
		case 3:
			_, err = db.FailMessage(ctx, m, &paylink.Failure{Kind: paylink.Permanent, Cause: paylink.CauseBadAddress}, time.Time{}, true)
			must(err)
		case 4:
			must(db.LoseMessage(ctx, m, &paylink.Failure{Kind: paylink.Unknown, Cause: paylink.CauseLostAnswer}, time.Minute))
		default:
			must(db.AcceptMessage(ctx, m, "ref", 1))
		}
		if row == 2 {
			must(db.AdoptState(ctx, s.Session, paylink.CheckoutSession{State: paylink.SessionPaid}))
		}
	}
	ledgertest.Audit(t, db)
	return b
}

// row is the id of a request of the first batch, as SQL.
func row(n string) string { return "(4294967296 + " + n + ")" }

var breakages = []struct {
	name, statement, kind string
}{
	{"a request's dispatch", `UPDATE requests SET dispatch = 'failed' WHERE id = ` + row("1"), "row_dispatch"},
	{"a request's payment", `UPDATE requests SET payment = 'paid' WHERE id = ` + row("1"), "row_payment"},
	{"a request deleted", `DELETE FROM requests WHERE id = ` + row("9"), "row_missing"},
	{"the last request's row gone", `DELETE FROM requests WHERE id = ` + row("9"), "file_rows"},
	{"a request added", `UPDATE requests SET id = ` + row("99") + ` WHERE id = ` + row("9"), "row_extra"},
	{"a sent request never made", `UPDATE requests SET dispatch = 'sent' WHERE id = ` + row("9"), "sent_without_message"},
	{"a birth's event deleted", `DELETE FROM events WHERE entity = 'rows' AND from_state = '' AND first_row = 1`, "row_payment"},
	{"a birth's event shortened", `UPDATE events SET last_row = last_row - 1 WHERE entity = 'rows' AND from_state = '' AND first_row = 1`, "event_rows"},
	{"a feeding's event deleted", `DELETE FROM events WHERE why = 'fed'`, "event_chain"},
	{"a feeding's event made longer", `UPDATE events SET n = n + 1 WHERE why = 'fed'`, "event_rows"},
	{"a request's event deleted", `DELETE FROM events WHERE entity = 'request' AND request_id = ` + row("1"), "row_dispatch"},
	{"a payment's event deleted", `DELETE FROM events WHERE entity = 'payment' AND request_id = ` + row("2"), "row_payment"},
	{"a payment's event changed", `UPDATE events SET to_state = 'refunded' WHERE entity = 'payment' AND request_id = ` + row("2"), "row_payment"},
	{"an event in the middle deleted", `DELETE FROM events WHERE entity = 'message' AND to_state = 'claimed' AND request_id = ` + row("1"), "event_chain"},
	{"a message's last event deleted", `DELETE FROM events WHERE entity = 'message' AND to_state = 'accepted' AND request_id = ` + row("1"), "message_state"},
	{"a session's event changed", `UPDATE events SET to_state = 'failed' WHERE entity = 'session' AND to_state = 'open' AND request_id = ` + row("1"), "session_state"},
	{"an event of a row that is not there", `UPDATE events SET request_id = ` + row("50") + ` WHERE entity = 'request' AND request_id = ` + row("1"), "event_chain"},
	{"a rejection's event deleted", `DELETE FROM events WHERE entity = 'rejected'`, "rejections"},
	{"a batch's event deleted", `DELETE FROM events WHERE entity = 'batch' AND to_state = 'draft'`, "event_chain"},
	{"a counter", `UPDATE tallies SET n = n + 1 WHERE kind = 'dispatch' AND state = 'sent'`, "counter"},
	{"a payment counter", `UPDATE tallies SET n = n - 1 WHERE kind = 'payment' AND state = 'unpaid'`, "counter"},
	{"the rejected counter deleted", `DELETE FROM tallies WHERE kind = 'rejected'`, "counter"},
	{"the batch's state", `UPDATE batches SET state = 'done'`, "batch_state"},
	{"the file's rows", `UPDATE batches SET rows_total = rows_total + 1`, "file_rows"},
	{"a rejection deleted", `DELETE FROM rejections`, "rejections"},
	{"a session's state", `UPDATE sessions SET state = 'expired' WHERE request_id = ` + row("1"), "session_state"},
	{"a session without the provider's id", `UPDATE sessions SET provider_id = NULL WHERE request_id = ` + row("1"), "sent_without_session"},
	{"a second live session", `INSERT INTO sessions (request_id, state, order_no, amount, currency, created_at, revealed_at)
		SELECT request_id, 'open', 'other', 1, 'KWD', 1, 1 FROM sessions WHERE request_id = ` + row("1"), "two_live_sessions"},
	{"a message's state", `UPDATE messages SET state = 'delivered' WHERE request_id = ` + row("1"), "message_state"},
	{"a message deleted", `DELETE FROM messages WHERE request_id = ` + row("1"), "sent_without_message"},
	{"an owed message deleted", `DELETE FROM messages WHERE request_id = ` + row("8"), "in_flight_without_work"},
	{"an attempt accepted twice", `INSERT INTO attempts (message_id, n, state, phase, worker, secret, lease_until, started_at, provider_ref)
		SELECT message_id, 2, state, phase, worker, secret, lease_until, started_at, 'other' FROM attempts WHERE state = 'accepted'`, "accepted_twice"},
	{"a second open attempt", `INSERT INTO attempts (message_id, n, state, phase, worker, secret, lease_until, started_at)
		SELECT message_id, 2, 'open', phase, worker, secret, lease_until, started_at FROM attempts WHERE state = 'unknown'`, "two_open_attempts"},
	{"an accepted attempt's reference emptied", `UPDATE attempts SET provider_ref = '' WHERE state = 'accepted'`, "accepted_without_reference"},
	{"an accepted attempt deleted", `DELETE FROM attempts WHERE state = 'accepted'`, "accepted_without_reference"},
	{"a contact deleted", `DELETE FROM contacts WHERE request_id = ` + row("3"), "contact_missing"},
	{"what was paid", `UPDATE requests SET paid = paid - 1 WHERE id = ` + row("2"), "paid_differs"},
	{"money added", `INSERT INTO payments (request_id, kind, amount, currency, ref, source, at) VALUES (` + row("1") + `, 'settled', 5, 'KWD', 'x', 'command', 1)`, "paid_differs"},
	{"money deleted", `DELETE FROM payments`, "paid_differs"},
}

// disarm takes away what keeps the database itself from being broken, for one connection or one throw-away schema.
var disarm = map[string][]string{
	"sqlite": {`PRAGMA foreign_keys = OFF`, `PRAGMA ignore_check_constraints = ON`, `DROP INDEX sessions_one_live`, `DROP INDEX attempts_one_open`},
	"postgres": {`SET session_replication_role = replica`, `DROP INDEX sessions_one_live`, `DROP INDEX attempts_one_open`,
		`ALTER TABLE attempts DROP CONSTRAINT attempts_check`},
}

// TestVerifyNames breaks one thing at a time past the program, and verify must name it.
func TestVerifyNames(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			fresh := d.make(t)
			for _, tt := range breakages {
				t.Run(tt.name, func(t *testing.T) {
					db := ledgertest.Open(t, fresh(t), ledgertest.NewClock().Now)
					b := finished(t, db)
					tamper(t, db.SQL(), append(disarm[d.name], tt.statement))
					r, err := db.Verify(t.Context(), b)
					if err != nil {
						t.Fatal(err)
					}
					if !slices.ContainsFunc(r.Found, func(d ledger.Difference) bool { return d.Kind == tt.kind }) {
						t.Errorf("got %d differences %+v, want one of kind %s", r.Differences, r.Found, tt.kind)
					}
					if r.Differences < len(r.Found) {
						t.Errorf("got %d differences, of which %d are listed", r.Differences, len(r.Found))
					}
				})
			}
		})
	}
}

func tamper(t *testing.T, db *sql.DB, statements []string) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var changed int64
	for _, s := range statements {
		res, err := conn.ExecContext(context.Background(), s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		changed, _ = res.RowsAffected()
	}
	if changed == 0 {
		t.Fatalf("%s changed nothing", statements[len(statements)-1])
	}
}

func TestVerifyListsAtMost(t *testing.T) {
	db, _ := ledgertest.New(t)
	b := ledgertest.Import(t, db, 1500)
	tamper(t, db.SQL(), []string{`UPDATE requests SET dispatch = 'in_flight'`})
	r, err := db.Verify(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if r.Differences < 3000 || len(r.Found) != 1000 {
		t.Errorf("got %d differences with %d listed, want some 3000 with 1000", r.Differences, len(r.Found))
	}
}
