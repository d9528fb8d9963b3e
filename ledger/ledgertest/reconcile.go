package ledgertest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/ledger"
	"dunlin/paylink"
)

var reconcileTests = []test{
	{"looks at a link nobody opened", looksQuiet},
	{"looks at a payer who clicked", looksEngaged},
	{"looks at a payer who was in the middle", looksBegun},
	{"largest first, then oldest", looksInOrder},
	{"claimed once", looksClaimed},
	{"put off", looksPutOff},
	{"found, then told", looksFound},
	{"held, then told", looksHeld},
	{"another amount at the provider", looksDiffers},
	{"dead, then paid", looksDead},
	{"paid meanwhile", looksOvertaken},
	{"all of them by hand", looksAgain},
	{"report", looksReport},
}

// looks are those that are due now.
func (s *scene) looks() []paylink.Look {
	s.Helper()
	due, err := s.db.DueLooks(s.Context(), 0, 100)
	s.ok(err)
	behind, err := s.db.LooksBehind(s.Context(), 0)
	s.ok(err)
	if int(behind.N) != len(due) || (behind.N > 0) == behind.Oldest.IsZero() {
		s.Fatalf("%d looks are due, and counted as %+v", len(due), behind)
	}
	return due
}

func (s *scene) claimLook(l paylink.Look) paylink.Look {
	s.Helper()
	c, err := s.db.ClaimLook(s.Context(), l, lease)
	s.ok(err)
	return c
}

// look makes a claimed look, which shows a state.
func (s *scene) look(l paylink.Look, state paylink.SessionState, amount ...int64) bool {
	s.Helper()
	seen := paylink.CheckoutSession{State: state, RawState: string(state)}
	for _, minor := range amount {
		seen.Amount = paylink.Money{Minor: minor, Currency: l.Amount.Currency}
	}
	moved, err := s.db.Looked(s.Context(), s.claimLook(l), &seen)
	s.ok(err)
	return moved
}

// looksAt makes the looks at the only session, which shows a state: due at these times from now, not before them, and
// never after the last.
func (s *scene) looksAt(state paylink.SessionState, at ...time.Duration) {
	s.Helper()
	began := s.clock.Now()
	for _, d := range at {
		s.clock.Advance(d - time.Millisecond - s.clock.Now().Sub(began))
		if early := s.looks(); len(early) > 0 {
			s.Fatalf("a look is due before %s", d)
		}
		s.clock.Advance(time.Millisecond)
		if due := s.looks(); len(due) != 1 {
			s.Fatalf("got %d looks due after %s, want one", len(due), d)
		}
		s.look(s.looks()[0], state)
	}
	s.clock.Advance(365 * 24 * time.Hour)
	none(s, s.looks())
}

func (s *scene) click(id paylink.SessionID) {
	s.Helper()
	_, err := s.db.RevealSession(s.Context(), id)
	s.ok(err)
}

func looksQuiet(s *scene) {
	id, _ := s.asked()
	// Then nobody asks any more about what the provider calls payable for ever.
	s.looksAt(paylink.SessionOpen, 6*time.Hour, 24*time.Hour, life-15*time.Minute, life+15*time.Minute)
	s.stands(id, "sent unpaid; open; email accepted")
}

func looksEngaged(s *scene) {
	_, x := s.asked()
	s.clock.Advance(time.Hour)
	s.click(x.ID)
	left := life - time.Hour
	s.looksAt(paylink.SessionOpen, 10*time.Minute, 40*time.Minute, 130*time.Minute, 400*time.Minute, 1210*time.Minute, 2650*time.Minute,
		left-15*time.Minute, left+15*time.Minute)
}

func looksBegun(s *scene) {
	id, x := s.asked()
	s.click(x.ID)
	s.looksAt(paylink.SessionPending, 10*time.Minute, 40*time.Minute, 130*time.Minute, 400*time.Minute, 1210*time.Minute, 2650*time.Minute,
		life-15*time.Minute, life+15*time.Minute, life+24*time.Hour) // once more: a late answer may be on its way
	s.stands(id, "sent unpaid; pending; email accepted")
}

func looksInOrder(s *scene) {
	want := map[int64]paylink.SessionID{}
	for _, minor := range []int64{900, 70_000, 1_000, 5, 99_999, 1_234_567} {
		_, x := s.asked(Each(func(r *paylink.Row) { r.Amount.Minor = minor }))
		want[minor] = x.ID
		s.clock.Advance(time.Minute)
	}
	s.clock.Advance(6 * time.Hour)
	var got []int64
	for _, l := range s.looks() {
		got = append(got, l.Amount.Minor)
		if l.Session != want[l.Amount.Minor] {
			s.Errorf("the look at %d is at %s, want %s", l.Amount.Minor, l.Session, want[l.Amount.Minor])
		}
	}
	if diff := cmp.Diff([]int64{1_234_567, 70_000, 99_999, 1_000, 900, 5}, got); diff != "" {
		s.Errorf("order (-want +got):\n%s", diff)
	}
	few, err := s.db.DueLooks(s.Context(), 0, 2)
	s.ok(err)
	if len(few) != 2 || few[0].Amount.Minor != 1_234_567 {
		s.Errorf("got %+v, want the two largest", few)
	}
	of, err := s.db.DueLooks(s.Context(), few[1].Request.Batch(), 10)
	s.ok(err)
	if one(s, of).Session != few[1].Session {
		s.Errorf("got %+v of the batch, want %+v", of, few[1])
	}
}

func looksClaimed(s *scene) {
	s.asked()
	s.clock.Advance(6 * time.Hour)
	l := one(s, s.looks())
	var mu sync.Mutex
	claims, conflicts := 0, 0
	var both sync.WaitGroup
	for range 4 {
		both.Go(func() {
			_, err := s.db.ClaimLook(s.Context(), l, lease)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				claims++
			case errors.Is(err, paylink.ErrConflict):
				conflicts++
			}
		})
	}
	both.Wait()
	if claims != 1 || conflicts != 3 {
		s.Errorf("got %d claims and %d conflicts, want 1 and 3", claims, conflicts)
	}
	none(s, s.looks())
	if n, err := s.db.Used(s.Context(), "checkout", s.clock.Now()); err != nil || n != 2 { // the create was one
		s.Errorf("got %d calls counted, %v; want 2", n, err)
	}
	s.clock.Advance(lease)
	s.look(one(s, s.looks()), paylink.SessionOpen) // the claimer died
}

func looksPutOff(s *scene) {
	s.asked()
	s.clock.Advance(6 * time.Hour)
	l := one(s, s.looks())
	s.ok(s.db.PutOffLook(s.Context(), s.claimLook(l), l.Due))
	if diff := cmp.Diff([]paylink.Look{l}, s.looks()); diff != "" {
		s.Errorf("a look that was given back (-want +got):\n%s", diff)
	}
	s.ok(s.db.PutOffLook(s.Context(), s.claimLook(l), s.clock.Now().Add(time.Hour)))
	none(s, s.looks())
	s.clock.Advance(time.Hour)
	moved, err := s.db.Looked(s.Context(), s.claimLook(one(s, s.looks())), nil) // the provider does not know it
	s.ok(err)
	if moved {
		s.Error("a session that the provider does not know was moved")
	}
	s.clock.Advance(18 * time.Hour) // none of its looks was spent on what was put off
	one(s, s.looks())
}

func looksFound(s *scene) {
	id, x := s.asked(Routes("email+sms"))
	s.clock.Advance(6 * time.Hour)
	if !s.look(one(s, s.looks()), paylink.SessionPaid, 12500) {
		s.Error("a payment is no news")
	}
	s.stands(id, "sent paid; paid; email accepted, sms canceled")
	s.paid(id, 12500)
	ev := told(x, paylink.SessionPaid, "R1")
	ev.Settled = &paylink.Money{Minor: 12000, Currency: "KWD"}
	s.hear(ev, paylink.EventApplied)
	s.paid(id, 12000) // corrected, not added; what is missing of a debt that was called paid is for a person to see
	s.stands(id, "sent paid; paid; email accepted, sms canceled")
	s.flags("amount_differs")
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventNothingNew)
	s.paid(id, 12000)
	s.clock.Advance(life)
	none(s, s.looks())
}

func looksHeld(s *scene) {
	id, x := s.asked()
	s.clock.Advance(6 * time.Hour)
	s.look(one(s, s.looks()), paylink.SessionAuthorized)
	s.stands(id, "sent authorized; authorized; email accepted")
	if rep := s.reconciled(0); len(rep.Silent) != 1 || rep.Silent[0].Kind != "authorized" {
		s.Errorf("got %+v found, want the money that is held", rep.Silent)
	}
	s.hear(told(x, paylink.SessionAuthorized, "R1"), paylink.EventApplied)
	none(s, s.reconciled(0).Silent)
	s.hear(done(x, "capture", "c1", 12500), paylink.EventApplied)
	s.stands(id, "sent paid; paid; email accepted")
	s.paid(id, 12500)
	s.flags("")
}

func looksDiffers(s *scene) {
	id, x := s.asked()
	s.clock.Advance(6 * time.Hour)
	s.look(one(s, s.looks()), paylink.SessionPaid, 9000) // somebody changed it at the provider
	s.stands(id, "sent partially_paid; paid; email accepted")
	s.paid(id, 9000)
	s.flags("amount_differs")
	ev := told(x, paylink.SessionPaid, "R1")
	ev.Amount.Minor, ev.Settled = 9000, nil
	s.hear(ev, paylink.EventApplied)
	s.paid(id, 9000)
	s.flags("amount_differs")
}

func looksDead(s *scene) {
	id, _ := s.asked()
	s.clock.Advance(6 * time.Hour)
	s.look(one(s, s.looks()), paylink.SessionExpired)
	s.stands(id, "sent unpaid; expired; email accepted") // a dead session is no dead debt
	s.clock.Advance(30 * time.Minute)
	s.look(one(s, s.looks()), paylink.SessionPaid) // the gateway's answer came late
	s.stands(id, "sent paid; paid; email accepted")
	s.flags("money_on_late")

	id, _ = s.asked()
	s.clock.Advance(6 * time.Hour)
	s.look(one(s, s.looks()), paylink.SessionFailed)
	s.clock.Advance(30 * time.Minute)
	if s.look(one(s, s.looks()), paylink.SessionFailed) {
		s.Error("a session that is still dead was moved")
	}
	s.clock.Advance(life)
	none(s, s.looks())
	s.stands(id, "sent unpaid; failed; email accepted")
}

func looksOvertaken(s *scene) {
	id, x := s.asked()
	s.clock.Advance(6 * time.Hour)
	l := s.claimLook(one(s, s.looks()))
	s.click(x.ID) // the payer came back while the provider was asked
	_, err := s.db.Looked(s.Context(), l, &paylink.CheckoutSession{State: paylink.SessionOpen})
	s.ok(err)
	s.clock.Advance(10 * time.Minute)
	l = s.claimLook(one(s, s.looks()))
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	for _, late := range []paylink.SessionState{paylink.SessionOpen, paylink.SessionPaid} {
		moved, err := s.db.Looked(s.Context(), l, &paylink.CheckoutSession{State: late})
		s.ok(err)
		if moved {
			s.Errorf("%s is news of a paid session", late)
		}
	}
	s.paid(id, 12500)
	s.clock.Advance(life)
	none(s, s.looks())
	_, err = s.db.ClaimLook(s.Context(), l, lease)
	s.conflict(err)
}

func looksAgain(s *scene) {
	var ids []paylink.SessionID
	for range 3 {
		_, x := s.asked()
		ids = append(ids, x.ID)
	}
	unseen, _ := s.linked(s.send(1)) // nobody was given its link
	s.hear(told(s.session(ids[0]), paylink.SessionPaid, "R1"), paylink.EventApplied)
	s.hear(told(s.session(ids[1]), paylink.SessionExpired, "R2"), paylink.EventApplied)
	again := func(batch paylink.BatchID, since time.Duration, want ...paylink.SessionID) {
		s.Helper()
		n, err := s.db.LookAgain(s.Context(), batch, s.clock.Now().Add(-since))
		s.ok(err)
		var got []paylink.SessionID
		for _, l := range s.looks() {
			got = append(got, l.Session)
			s.ok(s.db.PutOffLook(s.Context(), s.claimLook(l), s.clock.Now().Add(10*life)))
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || n != len(want) {
			s.Errorf("%d became due (-want +got):\n%s", n, diff)
		}
	}
	again(0, life, ids[1], ids[2])
	again(s.sessionRequest(ids[2]).Batch(), life, ids[2])
	again(unseen.Batch(), life)
	s.clock.Advance(3 * life)
	again(0, life) // their links were dead before that
	again(0, 4*life, ids[1], ids[2])
}

// session is a session by its id, as its request shows it.
func (s *scene) session(id paylink.SessionID) paylink.Session {
	s.Helper()
	return *s.line(s.sessionRequest(id)).Session
}

func (s *scene) sessionRequest(id paylink.SessionID) (found paylink.RequestID) {
	s.Helper()
	batches, err := s.db.Batches(s.Context(), 100)
	s.ok(err)
	for _, b := range batches {
		r := paylink.NewRequestID(b.ID, 1)
		if x := s.line(r).Session; x != nil && x.ID == id {
			found = r
		}
	}
	return found
}

func looksReport(s *scene) {
	began := s.clock.Now()
	silent, _ := s.asked()
	s.clock.Advance(6 * time.Hour)
	s.look(one(s, s.looks()), paylink.SessionPaid)
	differs, x := s.asked()
	ev := told(x, paylink.SessionPaid, "R1")
	ev.Amount.Minor, ev.Settled = 9000, nil
	s.hear(ev, paylink.EventApplied)
	twice, x := s.asked()
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	s.hear(told(x, paylink.SessionPaid, "R2"), paylink.EventApplied)
	other, x := s.asked()
	ev = told(x, paylink.SessionPaid, "R1")
	ev.ProviderID = "another"
	s.hear(ev, paylink.EventOther)
	ev.OrderNo = "NOT-OURS"
	s.hear(ev, paylink.EventUnknown)
	waits, _, err := s.db.StoreEvent(s.Context(), "ottu", "waits", []byte(`{"order_no":"W"}`))
	s.ok(err)
	s.clock.Advance(6 * time.Hour)

	rep := s.reconciled(0)
	var got []string
	for _, m := range rep.Silent {
		got = append(got, fmt.Sprintf("found %s %s %s", m.Request, m.Kind, m.Amount))
	}
	for _, e := range rep.Unplaced {
		got = append(got, fmt.Sprintf("event %d %s %s", e.Request, e.Outcome, e.Raw))
		if e.Outcome == "" && e.Event != waits.ID {
			s.Errorf("%s waits, want %s", e.Event, waits.ID)
		}
	}
	for _, f := range rep.Differs {
		got = append(got, fmt.Sprintf("differs %s %s", f.Request, f.Kind))
	}
	for _, f := range rep.Twice {
		got = append(got, fmt.Sprintf("twice %s %s", f.Request, f.Kind))
	}
	for _, u := range rep.Unasked {
		got = append(got, fmt.Sprintf("unasked %s %s %s", u.Request, u.Amount, u.Reference))
	}
	want := []string{
		fmt.Sprintf("found %s settled 12.500 KWD", silent),
		fmt.Sprintf("event %d session_differs {}", other), "event 0 unknown_order {}", `event 0  {"order_no":"W"}`,
		fmt.Sprintf("differs %s amount_differs", differs), fmt.Sprintf("twice %s paid_twice", twice),
		fmt.Sprintf("unasked %s 12.500 KWD %s", other, s.line(other).Request.Reference),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("report (-want +got):\n%s", diff)
	}
	rep = s.reconciled(silent.Batch())
	if len(rep.Silent) != 1 || len(rep.Unplaced) != 2 || len(rep.Differs)+len(rep.Twice)+len(rep.Unasked) != 0 {
		s.Errorf("report of one batch: got %+v", rep)
	}
	later, err := s.db.Reconciled(s.Context(), "ottu", 0, began.Add(24*time.Hour))
	s.ok(err)
	if len(later.Silent)+len(later.Differs)+len(later.Twice) != 0 || len(later.Unplaced) != 1 { // what waits is told of whenever it came
		s.Errorf("report of what is to come: got %+v", later)
	}
	// What the webhook tells of after all is silent no more.
	s.hear(told(*s.line(silent).Session, paylink.SessionPaid, "R9"), paylink.EventApplied)
	none(s, s.reconciled(0).Silent)
}

func (s *scene) reconciled(batch paylink.BatchID) ledger.ReconcileReport {
	s.Helper()
	rep, err := s.db.Reconciled(s.Context(), "ottu", batch, s.clock.Now().Add(-2*life))
	s.ok(err)
	return rep
}
