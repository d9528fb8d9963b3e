package jobs_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/sandbox"
)

var amendOptions = ledger.AmendOptions{Actor: "clerk", Why: "discount", DebtKey: func(*paylink.Row) uint64 { return 1 }}

// asked sends one payer a link and returns the request and its session as the ledger has it.
func (w *world) asked() (paylink.RequestID, paylink.Session) {
	w.Helper()
	b := w.send(1)
	w.settle()
	l := w.lines(b)[0]
	return l.Request.ID, *l.Session
}

// amend changes the amount, and leaves the rest to the workers.
func (w *world) amend(id paylink.RequestID, minor int64) {
	w.Helper()
	_, wakes, err := w.db.Amend(w.Context(), id, paylink.Amendment{Amount: &paylink.Money{Minor: minor, Currency: "KWD"}}, amendOptions)
	if err != nil {
		w.Fatal(err)
	}
	if err := w.queue.Enqueue(w.Context(), wakes...); err != nil {
		w.Fatal(err)
	}
}

// press is the payer's click.
func (w *world) press(id paylink.RequestID, want jobs.Answer) string {
	w.Helper()
	got, url, err := jobs.NewDesk(w.worker, w.db, nil, nil).Pay(w.Context(), id)
	if err != nil || got != want {
		w.Fatalf("got %s, %v; want %s", got, err, want)
	}
	return url
}

// provider is the session as the provider has it.
func (w *world) provider(id string) sandbox.Session {
	w.Helper()
	s, ok := w.box.Session(id)
	if !ok {
		w.Fatalf("the provider has no session %q", id)
	}
	return s
}

// flagged are the open flags, in the order of the alphabet.
func (w *world) flagged() string {
	w.Helper()
	list, err := w.db.Flags(w.Context(), 0, 100)
	if err != nil {
		w.Fatal(err)
	}
	var kinds []string
	for _, f := range list {
		kinds = append(kinds, string(f.Kind))
	}
	slices.Sort(kinds)
	return strings.Join(kinds, " ")
}

func (w *world) payer(id paylink.RequestID) paylink.PayerView {
	w.Helper()
	v, err := w.db.Payer(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return v
}

func (w *world) paysAt(session string, want error) {
	w.Helper()
	if _, err := w.box.Pay(w.Context(), session, sandbox.PayFull, false); !errors.Is(err, want) {
		w.Fatalf("paying at the provider: got %v, want %v", err, want)
	}
}

// TestAmend changes the amount while the provider answers in every way that it may. In the end the session asks for the
// new amount, or is dead at the provider and the next click makes one that does; the payer's link never led to the old
// amount again.
func TestAmend(t *testing.T) {
	update := func(r sandbox.Rule) *sandbox.Rule {
		r.Provider, r.Op, r.Times = sandbox.Ottu, "update", 1
		return &r
	}
	for _, tt := range []struct {
		name     string
		fault    *sandbox.Rule
		replaced bool
		updates  int64
	}{
		{"done", nil, false, 1},
		{"answer lost, done", update(sandbox.Rule{Action: sandbox.LoseAnswer}), false, 1},
		{"answer lost, not done", update(sandbox.Rule{Action: sandbox.FailBefore}), false, 2},
		{"half an answer", update(sandbox.Rule{Action: sandbox.CutBody}), false, 1},
		{"proxy error, done", update(sandbox.Rule{Action: sandbox.HTML502, Done: true}), false, 1},
		{"proxy error, not done", update(sandbox.Rule{Action: sandbox.HTML502}), false, 2},
		{"down", update(sandbox.Rule{Action: sandbox.Refuse, Status: 503}), false, 2},
		{"too many", update(sandbox.Rule{Action: sandbox.Refuse, Status: 429}), false, 2},
		{"not found", update(sandbox.Rule{Action: sandbox.Refuse, Status: 404}), false, 2},
		{"refused", update(sandbox.Rule{Action: sandbox.Refuse, Status: 400, Body: `{"detail":"no"}`}), true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				id, old := w.asked()
				if tt.fault != nil {
					w.fault(*tt.fault)
				}
				w.amend(id, 15000)
				if _, err := w.db.RevealSession(w.Context(), old.ID); !errors.Is(err, paylink.ErrConflict) {
					w.Errorf("got %v, want the link kept back while it asks for the old amount", err)
				}
				w.settle()
				if got := w.box.Counts().Calls["ottu.update"]; got != tt.updates {
					w.Errorf("got %d changes, want %d", got, tt.updates)
				}
				if tt.replaced {
					w.paysAt(old.ProviderID, sandbox.ErrNotPayable)
				}
				url := w.press(id, jobs.AnswerGo)
				now := w.payer(id).Live
				if (now.ID != old.ID) != tt.replaced || now.URL != url {
					w.Errorf("got session %s after %s, replaced should be %v", now.ID, old.ID, tt.replaced)
				}
				if got := w.provider(now.ProviderID).Amount; got != "15.000" || now.Amount.Minor != 15000 {
					w.Errorf("the provider asks for %s, the ledger for %s; want 15.000", got, now.Amount)
				}
				if f := w.flagged(); f != "" {
					w.Errorf("got flags %q", f)
				}
			})
		})
	}
}

// TestAmendRefusedKey has the provider refuse our key in the middle: nothing is ended, and the change is made when a
// person has mended that.
func TestAmendRefusedKey(t *testing.T) {
	onBoth(t, func(w *world) {
		id, old := w.asked()
		w.fault(sandbox.Rule{Provider: sandbox.Ottu, Op: "update", Times: 1, Action: sandbox.Refuse, Status: 401})
		w.amend(id, 15000)
		w.step()
		w.press(id, jobs.AnswerDown)
		if g := w.gate(jobs.ProviderCheckout); g.State != paylink.GateHalted {
			w.Errorf("the gate is %s, want halted", g.State)
		}
		if _, err := jobs.ResumeProvider(w.Context(), w.db, jobs.ProviderCheckout, "clerk", "new key"); err != nil {
			w.Fatal(err)
		}
		w.settle()
		w.press(id, jobs.AnswerGo)
		if got := w.provider(old.ProviderID).Amount; got != "15.000" {
			w.Errorf("the provider asks for %s, want 15.000", got)
		}
	})
}

// TestClickMakesTheChange has the payer come before any worker.
func TestClickMakesTheChange(t *testing.T) {
	onBoth(t, func(w *world) {
		id, old := w.asked()
		w.queue.set(false, true)
		w.amend(id, 15000)
		w.queue.set(false, false)
		if url := w.press(id, jobs.AnswerGo); url != old.URL || w.provider(old.ProviderID).Amount != "15.000" {
			w.Errorf("got %s asking for %s, want the same link and 15.000", url, w.provider(old.ProviderID).Amount)
		}
	})
}

// TestAmendAtTheBank amends while the payer is in the middle of paying. The payer is not torn away: the money of the old
// amount is counted and flagged, or, if the payer gives up, the change is made a quarter of an hour after the click.
func TestAmendAtTheBank(t *testing.T) {
	for _, pays := range []bool{true, false} {
		t.Run(map[bool]string{true: "pays", false: "gives up"}[pays], func(t *testing.T) {
			onBoth(t, func(w *world) {
				id, old := w.asked()
				w.press(id, jobs.AnswerGo)
				if _, err := w.box.Open(old.ProviderID); err != nil {
					w.Fatal(err)
				}
				clicked := w.clock.Now()
				w.clock.Advance(5 * time.Minute)
				w.amend(id, 15000)
				for w.step() {
				}
				w.press(id, jobs.AnswerProcessing)
				if n := w.box.Counts().Calls["ottu.update"] + w.box.Counts().Calls["ottu.expire"]; n != 0 {
					w.Fatalf("the session was touched %d times while its payer was at the bank", n)
				}
				if pays {
					w.paysAt(old.ProviderID, nil)
				}
				w.settle()
				if waited := w.clock.Now().Sub(clicked); waited < 15*time.Minute || waited > 17*time.Minute {
					w.Errorf("the change came %v after the click, want a quarter of an hour", waited)
				}
				v := w.payer(id)
				if !pays {
					if w.provider(old.ProviderID).Amount != "15.000" || v.Live.Ending != "" || w.flagged() != "" {
						w.Errorf("got %+v with flags %q, want it changed", v.Live, w.flagged())
					}
					return
				}
				if v.Paid != 12500 || v.Request.Payment != paylink.PaymentPartiallyPaid || w.flagged() != "amount_differs" {
					w.Errorf("got %d of %s paid, %s, flags %q; want the old amount counted and flagged", v.Paid, v.Request.Amount, v.Request.Payment, w.flagged())
				}
				w.press(id, jobs.AnswerGo) // for the rest
				if got := w.provider(w.payer(id).Live.ProviderID).Amount; got != "2.500" {
					w.Errorf("the next session asks for %s, want 2.500", got)
				}
			})
		})
	}
}

// TestMarkPaidEndsTheSession marks a debt as paid in cash: the link that the payer has can no longer be paid by.
func TestMarkPaidEndsTheSession(t *testing.T) {
	onBoth(t, func(w *world) {
		id, old := w.asked()
		_, wakes, err := w.db.MarkPaid(w.Context(), id, paylink.Money{}, "clerk", "cash")
		if err != nil {
			w.Fatal(err)
		}
		_ = w.queue.Enqueue(w.Context(), wakes...)
		w.settle()
		w.paysAt(old.ProviderID, sandbox.ErrNotPayable)
		w.ends("sent paid_outside; canceled; email accepted")
		w.press(id, jobs.AnswerStored)
	})
}

// TestPaymentOnAGhost pays a session whose create was lost and that nobody was given: the money is counted and flagged.
func TestPaymentOnAGhost(t *testing.T) {
	onBoth(t, func(w *world) {
		w.fault(sandbox.Rule{Provider: sandbox.Ottu, Op: "create", Nth: 1, Action: sandbox.LoseAnswer})
		w.fault(sandbox.Rule{Provider: sandbox.Ottu, Op: "expire", Times: 1, Action: sandbox.Refuse, Status: 400, Body: `{"detail":"no"}`})
		b := w.send(1)
		w.settleUntil(func() bool { return w.counts(b).Sent == 1 })
		ghost := w.box.Sessions()[0]
		w.paysAt(ghost.ID, nil)
		ev := paylink.PaymentEvent{OrderNo: ghost.OrderNo, ProviderID: ghost.ID, Amount: paylink.Money{Minor: 12500, Currency: "KWD"},
			State: paylink.SessionPaid, RawState: "paid", Result: "success", Reference: "R1"}
		e, _, err := w.db.StoreEvent(w.Context(), "ottu", ev.Key(), []byte(`{}`))
		if err != nil {
			w.Fatal(err)
		}
		seen, err := w.config.Checkout.Retrieve(w.Context(), ghost.ID)
		if err != nil {
			w.Fatal(err)
		}
		if _, err := w.db.ApplyPayment(w.Context(), e.ID, ev, &seen); err != nil {
			w.Fatal(err)
		}
		w.settle()
		if v := w.payer(paylink.NewRequestID(b, 1)); v.Paid != 12500 || v.Request.Payment != paylink.PaymentPaid || w.flagged() != "money_on_ghost" {
			w.Errorf("got %d, %s, flags %q; want it counted and flagged", v.Paid, v.Request.Payment, w.flagged())
		}
		if live := w.receivedBy(w.lines(b)[0].Contact).live; len(live) != 0 {
			w.Errorf("%d sessions can still be paid, want none", len(live))
		}
	})
}
