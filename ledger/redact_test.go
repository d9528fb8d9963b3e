package ledger_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

// TestRedactLeavesNothing fills every table with what could name a payer, redacts the request and looks for that in every
// column of text.
func TestRedactLeavesNothing(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			clock := ledgertest.NewClock()
			db := ledgertest.Open(t, d.make(t)(t), clock.Now)
			ctx := t.Context()
			b := ledgertest.Import(t, db, 2, ledgertest.Each(func(r *paylink.Row) {
				r.Description, r.CustomerID = fmt.Sprintf("for payer%d@example.com", r.Number), fmt.Sprintf("payer%d@example.com", r.Number)
				r.AttachmentURL = fmt.Sprintf("https://files.example/payer%d@example.com.pdf", r.Number)
				r.Extra = map[string]string{"note": r.Phone}
			}))
			id := paylink.NewRequestID(b, 1)
			by := paylink.ClaimOptions{Worker: "w", Lease: time.Minute}
			wakes, err := db.Feed(ctx, b, 1)
			must(t, err)
			c, err := db.ClaimSession(ctx, id, wakes[0].Epoch, by)
			must(t, err)
			x := paylink.CheckoutSession{ProviderID: "p1", OrderNo: c.OrderNo, URL: "https://pay.example/?payer1@example.com", State: paylink.SessionOpen,
				Amount: c.Request.Amount, ExpiresAt: clock.Now().Add(time.Hour)}
			wakes, err = db.RecordSession(ctx, c, x)
			must(t, err)
			m, _, err := db.ClaimMessage(ctx, paylink.MessageID(wakes[0].ID), wakes[0].Epoch, by)
			must(t, err)
			must(t, db.CommitMessage(ctx, m, paylink.CommitOptions{BytesHash: "b", TemplateHash: "t", Timeout: time.Second}))
			must(t, db.AcceptMessage(ctx, m, "250 ok <payer1@example.com>", 1))
			if done, _, err := db.Redact(ctx, id, false, "clerk", "asked"); err == nil || done {
				t.Errorf("got %v, %v for one that is still asked for, want a refusal", done, err)
			}
			ev := paylink.PaymentEvent{OrderNo: x.OrderNo, ProviderID: "p1", Amount: x.Amount, State: paylink.SessionPaid, RawState: "paid", Result: "success", Reference: "R1"}
			e, _, err := db.StoreEvent(ctx, "ottu", ev.Key(), []byte(`{"customer_email":"payer1@example.com"}`))
			must(t, err)
			_, err = db.ApplyPayment(ctx, e.ID, ev, nil)
			must(t, err)
			_, err = db.SQL().ExecContext(ctx, `INSERT INTO rejections (batch_id, row_no, line, col, kind, reason, hint, raw, fixed_in) VALUES ($1, 9, 9, '', 'phone', '', '', $2, $3)`,
				int64(b), `["payer1@example.com"]`, int64(id))
			must(t, err)

			_, err = db.SaveAttachment(ctx, b, "https://files.example/payer1@example.com.pdf", paylink.Attachment{Name: "payer1@example.com.pdf", Type: "application/pdf", Data: []byte("%PDF")})
			must(t, err)

			if n := find(t, db.SQL(), "payer1@example.com"); len(n) < 8 {
				t.Errorf("the test has gone blind: found %q only", n)
			}
			for _, want := range []bool{true, false} {
				done, _, err := db.Redact(ctx, id, false, "clerk", "asked")
				if must(t, err); done != want {
					t.Errorf("got done %v, want %v", done, want)
				}
			}
			for _, word := range []string{"payer1@example.com", "+96550000001", "Payer 1"} {
				if left := find(t, db.SQL(), word); len(left) != 0 {
					t.Errorf("%q is still in %q", word, left)
				}
			}
			_, err = db.SQL().ExecContext(ctx, `DELETE FROM rejections`)
			must(t, err)
			ledgertest.Audit(t, db)

			other := paylink.NewRequestID(b, 2) // pending
			if _, _, err := db.Redact(ctx, other, true, "clerk", "asked"); err != nil {
				t.Fatal(err)
			}
			if left := find(t, db.SQL(), "payer2@example.com"); len(left) != 0 {
				t.Errorf("the other one is still in %q", left)
			}
			if l, err := db.Request(ctx, other); err != nil || l.Request.Payment != paylink.PaymentCanceled {
				t.Errorf("got %s, %v, want it canceled first", l.Request.Payment, err)
			}
			ledgertest.Audit(t, db)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// find names the columns of text that hold a word.
func find(t *testing.T, db *sql.DB, word string) (in []string) {
	t.Helper()
	columns := describeSQLite
	if _, err := db.ExecContext(t.Context(), `SELECT 1 FROM sqlite_master`); err != nil {
		columns = describePostgres
	}
	for name, kind := range columns(t, db) {
		if !strings.HasPrefix(kind, "text") {
			continue
		}
		table, column, _ := strings.Cut(name, ".")
		var n int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table+` WHERE `+column+` LIKE $1`, "%"+word+"%").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			in = append(in, name)
		}
	}
	return in
}

// TestOldEventsAreEmptied empties raw bodies once they are applied and old, a bounded number at a time.
func TestOldEventsAreEmptied(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			clock := ledgertest.NewClock()
			db := ledgertest.Open(t, d.make(t)(t), clock.Now)
			for i := range 4 {
				e, _, err := db.StoreEvent(t.Context(), "ottu", fmt.Sprint("k", i), []byte(`{}`))
				must(t, err)
				if i < 3 {
					must(t, db.CloseEvent(t.Context(), e.ID, paylink.EventUnreadable))
				}
			}
			for i, want := range []int64{0, 2, 1, 0} { // the last one was never applied
				n, err := db.EmptyEvents(t.Context(), clock.Now().Add(-90*24*time.Hour), 2)
				if must(t, err); n != want {
					t.Errorf("round %d emptied %d, want %d", i, n, want)
				}
				clock.Advance(91 * 24 * time.Hour)
			}
		})
	}
}
