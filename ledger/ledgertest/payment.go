package ledgertest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"dunlin/paylink"
)

var paymentTests = []test{
	{"stored once, applied once", eventOnce},
	{"out of order", eventsOutOfOrder},
	{"for nobody we know", eventUnknown},
	{"about another session", eventOther},
	{"for a lost create", eventAdopts},
	{"part of it, then the rest", eventParts},
	{"another amount, another currency", eventDiffers},
	{"twice", eventTwice},
	{"after a look", eventCorrects},
	{"on an old session", eventSuperseded},
	{"late", eventLate},
	{"authorized, captured, refunded", eventOperations},
	{"voided before it is authorized", eventVoid},
	{"unreadable", eventUnreadable},
	{"any order gives one end", eventsShuffled},
}

// told is the event that the payment of a session is told by.
func told(x paylink.Session, state paylink.SessionState, reference string) paylink.PaymentEvent {
	return paylink.PaymentEvent{OrderNo: x.OrderNo, ProviderID: x.ProviderID, Amount: x.Amount, Settled: &x.Amount,
		State: state, RawState: string(state), Result: "success", Reference: reference}
}

// done is a finished operation on a session.
func done(x paylink.Session, operation, child string, minor int64) paylink.PaymentEvent {
	return paylink.PaymentEvent{OrderNo: x.OrderNo, ProviderID: x.ProviderID, Amount: paylink.Money{Minor: minor, Currency: x.Amount.Currency},
		IsOperation: true, Operation: operation, Child: child, Result: "success", Reference: "OP" + child}
}

// hear stores and applies an event.
func (s *scene) hear(ev paylink.PaymentEvent, want paylink.EventOutcome) {
	s.Helper()
	e, _, err := s.db.StoreEvent(s.Context(), "ottu", ev.Key(), []byte(`{}`))
	s.ok(err)
	got, err := s.db.ApplyPayment(s.Context(), e.ID, ev, nil)
	s.ok(err)
	if got != want {
		s.Fatalf("event %+v: got %s, want %s", ev, got, want)
	}
}

// flags compares the open flags of all batches with words in the order of the alphabet.
func (s *scene) flags(want string) {
	s.Helper()
	list, err := s.db.Flags(s.Context(), 0, 100)
	s.ok(err)
	var got []string
	for _, f := range list {
		got = append(got, string(f.Kind))
	}
	slices.Sort(got)
	if g := strings.Join(got, " "); g != want {
		s.Errorf("got flags %q, want %q", g, want)
	}
}

// asked is a request whose link was sent, and its session.
func (s *scene) asked(opts ...Option) (paylink.RequestID, paylink.Session) {
	s.Helper()
	id, wakes := s.linked(s.send(1, opts...))
	s.accept(wakes[0])
	return id, *s.line(id).Session
}

func eventOnce(s *scene) {
	id, x := s.asked(Routes("email+sms"))
	ev := told(x, paylink.SessionPaid, "R1")
	s.hear(ev, paylink.EventApplied)
	s.stands(id, "sent paid; paid; email accepted, sms canceled")
	s.hear(ev, paylink.EventApplied) // what became of it then
	again := ev
	again.RawState = "PAID" // the same, told in other words
	s.hear(again, paylink.EventNothingNew)
	s.paid(id, 12500)
	s.flags("")
	if left, err := s.db.UnappliedEvents(s.Context(), "ottu", 0, 10); err != nil || len(left) != 0 {
		s.Errorf("got %v, %v left to apply, want none", left, err)
	}
}

func eventsOutOfOrder(s *scene) {
	id, x := s.asked()
	s.hear(told(x, paylink.SessionAttempted, "R1"), paylink.EventApplied)
	s.hear(told(x, paylink.SessionPending, "R1"), paylink.EventNothingNew)
	s.stands(id, "sent unpaid; attempted; email accepted")
	s.hear(told(x, paylink.SessionPaid, "R2"), paylink.EventApplied)
	for _, late := range []paylink.SessionState{paylink.SessionPending, paylink.SessionAttempted, paylink.SessionFailed, paylink.SessionExpired,
		paylink.SessionCanceled, paylink.SessionAuthorized} {
		s.hear(told(x, late, "R3"), paylink.EventNothingNew)
	}
	s.stands(id, "sent paid; paid; email accepted")
	s.paid(id, 12500)
}

func eventUnknown(s *scene) {
	_, x := s.asked()
	for i := range 3 {
		ev := told(x, paylink.SessionPaid, "R1")
		ev.OrderNo = fmt.Sprintf("NOT-OURS-%d", i)
		s.hear(ev, paylink.EventUnknown)
	}
	ev := told(x, paylink.SessionPaid, "R1")
	ev.OrderNo = "" // nothing that is signed binds it to anything
	s.hear(ev, paylink.EventUnknown)
	s.flags("unknown_order") // once, however many the neighbours are
}

func eventOther(s *scene) {
	id, x := s.asked()
	ev := told(x, paylink.SessionPaid, "R1")
	ev.ProviderID = "another"
	s.hear(ev, paylink.EventOther)
	ev.ProviderID = ""
	s.hear(ev, paylink.EventOther)
	s.stands(id, "sent unpaid; open; email accepted")
	s.flags("session_differs")
}

func eventAdopts(s *scene) {
	c, w := s.loses(s.send(1))
	x := paylink.Session{OrderNo: c.OrderNo, ProviderID: "prov-ghost", Amount: c.Request.Amount}
	ev := told(x, paylink.SessionPaid, "R1")
	e, _, err := s.db.StoreEvent(s.Context(), "ottu", ev.Key(), []byte(`{}`))
	s.ok(err)
	_, err = s.db.ApplyPayment(s.Context(), e.ID, ev, nil)
	s.refused(err, paylink.ErrUnconfirmed)
	got, err := s.db.ApplyPayment(s.Context(), e.ID, ev, &paylink.CheckoutSession{ProviderID: "prov-ghost", OrderNo: c.OrderNo, State: paylink.SessionPaid})
	s.ok(err)
	if got != paylink.EventApplied {
		s.Errorf("got %s, want applied", got)
	}
	s.stands(c.Request.ID, "skipped paid; paid; -")
	_, err = s.db.ClaimSettle(s.Context(), paylink.SessionID(w.ID), w.Epoch, byWorker)
	s.conflict(err) // nothing is left to expire

	c, w = s.loses(s.send(1))
	s.settle(s.claimSettle(w, paylink.SettleLost), false, true)
	x = paylink.Session{OrderNo: c.OrderNo, ProviderID: "prov-ghost-2", Amount: c.Request.Amount}
	ev = told(x, paylink.SessionPaid, "R1")
	e, _, err = s.db.StoreEvent(s.Context(), "ottu", ev.Key(), []byte(`{}`))
	s.ok(err)
	got, err = s.db.ApplyPayment(s.Context(), e.ID, ev, &paylink.CheckoutSession{ProviderID: "prov-ghost-2", OrderNo: "another order"})
	s.ok(err)
	if got != paylink.EventOther {
		s.Errorf("a session of another order: got %s, want session_differs", got)
	}
	ev.Reference = "R2"
	e, _, err = s.db.StoreEvent(s.Context(), "ottu", ev.Key(), []byte(`{}`))
	s.ok(err)
	_, err = s.db.ApplyPayment(s.Context(), e.ID, ev, &paylink.CheckoutSession{ProviderID: "prov-ghost-2", OrderNo: c.OrderNo})
	s.ok(err)
	s.paid(c.Request.ID, 12500)
	s.flags("money_on_ghost session_differs")
}

func eventParts(s *scene) {
	id, x := s.asked(Routes("email+sms"))
	ev := told(x, paylink.SessionPaid, "R1")
	ev.Settled = &paylink.Money{Minor: 5000, Currency: "KWD"}
	s.hear(ev, paylink.EventApplied)
	s.stands(id, "sent partially_paid; paid; email accepted, sms canceled")
	s.paid(id, 5000)
	s.flags("")
}

func eventDiffers(s *scene) {
	id, x := s.asked()
	ev := told(x, paylink.SessionPaid, "R1")
	ev.Amount.Minor, ev.Settled = 9000, nil
	s.hear(ev, paylink.EventApplied)
	s.paid(id, 9000)
	s.stands(id, "sent partially_paid; paid; email accepted")
	s.flags("amount_differs")

	id, x = s.asked(Routes("email+sms"))
	ev = told(x, paylink.SessionPaid, "R1")
	ev.Amount.Currency, ev.Settled = "USD", nil
	s.hear(ev, paylink.EventApplied)
	s.paid(id, 0)
	s.stands(id, "sent unpaid; paid; email accepted, sms canceled") // a person says what it is worth; nobody is chased
	s.flags("amount_differs currency_differs")

	id, x = s.asked()
	ev = told(x, paylink.SessionPaid, "R1")
	ev.Settled = &paylink.Money{Minor: 99000, Currency: "KWD"} // more than was asked for; it is not signed
	s.hear(ev, paylink.EventApplied)
	s.paid(id, 12500)
	s.flags("amount_differs amount_differs currency_differs")
}

func eventTwice(s *scene) {
	id, x := s.asked()
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	failed := told(x, paylink.SessionPaid, "R2")
	failed.Result = "failed" // another try on the paid session
	s.hear(failed, paylink.EventNothingNew)
	s.flags("")
	s.hear(told(x, paylink.SessionPaid, "R3"), paylink.EventApplied)
	s.stands(id, "sent paid; paid; email accepted")
	s.paid(id, 25000)
	s.flags("paid_twice")
}

func eventCorrects(s *scene) {
	id, x := s.asked()
	s.adopt(x.ID, paylink.SessionPaid)
	s.paid(id, 12500)
	ev := told(x, paylink.SessionPaid, "R1")
	ev.Settled = &paylink.Money{Minor: 12000, Currency: "KWD"}
	s.hear(ev, paylink.EventApplied)
	s.paid(id, 12000)
	s.adopt(x.ID, paylink.SessionPaid)
	s.paid(id, 12000)
	s.flags("amount_differs")
}

func eventSuperseded(s *scene) {
	id, wakes := s.linked(s.send(1))
	old := *s.line(id).Session
	s.clock.Advance(life)
	create := one(s, s.settle(s.claimSettle(s.dead(one(s, wakes)), paylink.SettleEnding), true, false))
	s.link(create)
	s.hear(told(old, paylink.SessionPaid, "R1"), paylink.EventApplied)
	s.stands(id, "skipped paid; open; email canceled")
	s.paid(id, 12500)
	s.flags("money_on_superseded")
	c := s.claimSettle(one(s, of(s.sweep(), paylink.TaskSettle)), paylink.SettleEnding) // nobody can pay it once more
	s.settle(c, true, false)
	s.stands(id, "skipped paid; canceled; email canceled")
}

func eventLate(s *scene) {
	id, x := s.asked()
	_, err := s.db.CancelRequest(s.Context(), id, "clerk", "")
	s.ok(err)
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	s.stands(id, "sent paid; paid; email accepted")
	s.flags("money_on_late")

	id, x = s.asked()
	s.hear(told(x, paylink.SessionExpired, "R1"), paylink.EventApplied)
	s.hear(told(x, paylink.SessionPaid, "R2"), paylink.EventApplied)
	s.stands(id, "sent paid; paid; email accepted")
	s.flags("money_on_late money_on_late")
}

func eventOperations(s *scene) {
	id, x := s.asked()
	s.hear(told(x, paylink.SessionAuthorized, "R1"), paylink.EventApplied)
	s.stands(id, "sent authorized; authorized; email accepted")
	queued := done(x, "capture", "c0", 1)
	queued.Result = "queued"
	s.hear(queued, paylink.EventNothingNew)
	s.hear(done(x, "capture", "c1", 10000), paylink.EventApplied)
	s.stands(id, "sent partially_paid; paid; email accepted")
	s.hear(done(x, "capture", "c2", 2500), paylink.EventApplied)
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventNothingNew) // the same money, told as a state
	s.stands(id, "sent paid; paid; email accepted")
	s.hear(done(x, "refund", "r1", 500), paylink.EventApplied)
	again := done(x, "refund", "r1", 500)
	again.Reference = "another"
	s.hear(again, paylink.EventNothingNew)
	s.stands(id, "sent partially_refunded; paid; email accepted")
	s.hear(done(x, "refund", "r2", 12000), paylink.EventApplied)
	s.stands(id, "sent refunded; refunded; email accepted")
	s.paid(id, 12500)
	if got := s.line(id).Refunded; got != 12500 {
		s.Errorf("got %d refunded, want 12500", got)
	}
	s.flags("")
}

func eventVoid(s *scene) {
	id, x := s.asked()
	s.hear(done(x, "void", "v1", 12500), paylink.EventApplied)
	s.hear(told(x, paylink.SessionAuthorized, "R1"), paylink.EventApplied)
	s.stands(id, "sent unpaid; voided; email accepted")

	id, x = s.asked()
	s.hear(told(x, paylink.SessionAuthorized, "R1"), paylink.EventApplied)
	s.hear(done(x, "void", "v1", 12500), paylink.EventApplied)
	s.stands(id, "sent unpaid; voided; email accepted")
	s.flags("")
}

func eventUnreadable(s *scene) {
	e, fresh, err := s.db.StoreEvent(s.Context(), "ottu", "k", []byte(`{"state":7}`))
	s.ok(err)
	if !fresh {
		s.Error("the first delivery is not fresh")
	}
	s.ok(s.db.CloseEvent(s.Context(), e.ID, paylink.EventUnreadable))
	if e, fresh, err = s.db.StoreEvent(s.Context(), "ottu", "k", nil); err != nil || fresh || e.Outcome != paylink.EventUnreadable {
		s.Errorf("the second delivery: got %+v, fresh %t, %v; want the first's outcome", e, fresh, err)
	}
	_, x := s.asked()
	ev := told(x, "", "R1")
	ev.RawState = "a new word"
	s.hear(ev, paylink.EventUnsupported)
	s.flags("unreadable unsupported")
}

// eventsShuffled plays the whole life of a payment in many orders: the end is the same in each.
func eventsShuffled(s *scene) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		id, x := s.asked()
		events := []paylink.PaymentEvent{told(x, paylink.SessionPending, "R1"), told(x, paylink.SessionAttempted, "R1"),
			told(x, paylink.SessionPaid, "R2"), done(x, "refund", "r1", 500), done(x, "refund", "r2", 700)}
		events = append(events, events...)
		random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		for _, ev := range events {
			e, _, err := s.db.StoreEvent(s.Context(), "ottu", ev.Key(), []byte(`{}`))
			s.ok(err)
			_, err = s.db.ApplyPayment(s.Context(), e.ID, ev, nil)
			s.ok(err)
		}
		s.stands(id, "sent partially_refunded; paid; email accepted")
		s.paid(id, 12500)
		if got := s.line(id).Refunded; got != 1200 {
			s.Errorf("got %d refunded, want 1200", got)
		}
	}
	s.flags("")
}
