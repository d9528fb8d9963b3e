package ledger_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

// payer is one row on its way, for tests that need what no method does yet.
type payer struct {
	*testing.T
	db    *ledger.DB
	clock *ledgertest.Clock
	id    paylink.RequestID
	wakes []paylink.Wake
	made  paylink.SessionClaim
}

var opt = paylink.ClaimOptions{Worker: "w", Lease: time.Minute}

func (p *payer) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
	ledgertest.Audit(p.T, p.db)
}

func (p *payer) sql(statement string, args ...any) {
	p.Helper()
	if _, err := p.db.SQL().ExecContext(p.Context(), statement, args...); err != nil {
		p.Fatal(err)
	}
}

// linked brings one row as far as its messages.
func linked(t *testing.T, address, routes string) *payer {
	p := &payer{T: t, clock: ledgertest.NewClock()}
	p.db = ledgertest.Open(t, address, p.clock.Now)
	b := ledgertest.Import(t, p.db, 1, ledgertest.Routes(routes))
	wakes, err := p.db.Feed(t.Context(), b, 1)
	p.must(err)
	p.id = paylink.RequestID(wakes[0].ID)
	p.made, err = p.db.ClaimSession(t.Context(), p.id, wakes[0].Epoch, opt)
	p.must(err)
	p.wakes, err = p.db.RecordSession(t.Context(), p.made, paylink.CheckoutSession{ProviderID: "p1", URL: "https://pay.example", State: paylink.SessionOpen})
	p.must(err)
	return p
}

func (p *payer) committed(w paylink.Wake) paylink.MessageClaim {
	p.Helper()
	c, _, err := p.db.ClaimMessage(p.Context(), paylink.MessageID(w.ID), w.Epoch, opt)
	p.must(err)
	p.must(p.db.CommitMessage(p.Context(), c, paylink.CommitOptions{BytesHash: "b", Timeout: time.Second}))
	return c
}

// TestEngaged: whoever has pressed the button is asked no further, by no other channel and not a second time.
func TestEngaged(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			p := linked(t, d.make(t)(t), "whatsapp>sms+email")
			whatsapp, email := p.committed(p.wakes[0]), p.committed(p.wakes[1])
			p.must(p.db.LoseMessage(t.Context(), email, &paylink.Failure{Kind: paylink.Unknown, Cause: paylink.CauseLostAnswer}, time.Minute))
			view, err := p.db.Payer(t.Context(), p.id)
			p.must(err)
			_, err = p.db.RevealSession(t.Context(), view.Live.ID)
			p.must(err)
			wakes, err := p.db.FailMessage(t.Context(), whatsapp, &paylink.Failure{Kind: paylink.Permanent, Cause: paylink.CauseBadAddress}, time.Time{}, true)
			p.must(err)
			if len(wakes) != 0 {
				t.Errorf("got wakes %+v after a refusal", wakes)
			}
			p.clock.Advance(2 * time.Minute)
			due, err := p.db.Sweep(t.Context(), paylink.SweepOptions{Room: map[paylink.Channel]int{paylink.Email: 1}})
			p.must(err)
			if len(due) != 1 {
				t.Fatalf("got wakes %+v, want the look-up", due)
			}
			c, err := p.db.ClaimInquiry(t.Context(), paylink.MessageID(due[0].ID), due[0].Epoch, opt)
			p.must(err)
			if _, err := p.db.InquiryResend(t.Context(), c); !errors.Is(err, paylink.ErrConflict) {
				t.Errorf("got error %v, want a conflict", err)
			}
			ledgertest.Audit(t, p.db)
		})
	}
}

// TestPaidInPart: a session for less than the debt, as an amendment leaves behind.
func TestPaidInPart(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			p := linked(t, d.make(t)(t), "email")
			p.must(p.db.AcceptMessage(t.Context(), p.committed(p.wakes[0]), "ref", 1))
			p.sql(`UPDATE sessions SET amount = 5000`)
			p.must(p.db.AdoptState(t.Context(), p.made.Session, paylink.CheckoutSession{State: paylink.SessionPaid}))
			l, err := p.db.Request(t.Context(), p.id)
			p.must(err)
			if l.Request.Payment != paylink.PaymentPartiallyPaid || l.Paid != 5000 || l.Request.Dispatch != paylink.DispatchSent {
				t.Errorf("got payment %s with %d paid, dispatch %s", l.Request.Payment, l.Paid, l.Request.Dispatch)
			}
		})
	}
}

// TestMoneyIsFlagged: money that does not belong where it arrived is counted and shown to a person.
func TestMoneyIsFlagged(t *testing.T) {
	paid := paylink.CheckoutSession{State: paylink.SessionPaid, ProviderID: "p1"}
	for _, tt := range []struct {
		name string
		dies paylink.SessionState
		want []string
	}{
		{"on a live session", "", nil},
		{"late", paylink.SessionExpired, []string{"late money_on_late"}},
		{"superseded", paylink.SessionSuperseded, []string{"superseded money_on_superseded"}},
		{"ghost", paylink.SessionGhost, []string{"ghost money_on_ghost"}},
	} {
		for _, d := range databases {
			t.Run(tt.name+"/"+d.name, func(t *testing.T) {
				p := linked(t, d.make(t)(t), "email")
				if tt.dies != "" { // by SQL, with its event: how it died is not the question
					p.sql(`UPDATE sessions SET state = $1`, string(tt.dies))
					p.sql(`UPDATE events SET to_state = $1 WHERE entity = 'session' AND to_state = 'open'`, string(tt.dies))
				}
				for range 2 { // told twice
					p.must(p.db.AdoptState(t.Context(), p.made.Session, paid))
				}
				var got []string
				query(t, p.db.SQL(), `SELECT p.flag, COALESCE(f.kind, ''), p.amount, p.source FROM payments p LEFT JOIN flags f ON f.request_id = p.request_id`,
					func(scan func(...any) error) error {
						var flag, kind, source string
						var amount int64
						err := scan(&flag, &kind, &amount, &source)
						if amount != 12500 || source != "retrieve" {
							t.Errorf("got %d from %s", amount, source)
						}
						if flag+kind != "" {
							got = append(got, fmt.Sprint(flag, " ", kind))
						}
						return err
					})
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("flags (-want +got):\n%s", diff)
				}
				l, err := p.db.Request(t.Context(), p.id)
				p.must(err)
				if l.Request.Payment != paylink.PaymentPaid || l.Paid != 12500 {
					t.Errorf("got payment %s with %d paid", l.Request.Payment, l.Paid)
				}
			})
		}
	}
}
