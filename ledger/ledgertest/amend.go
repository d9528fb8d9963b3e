package ledgertest

import (
	"strings"
	"time"

	"dunlin/ledger"
	"dunlin/paylink"
)

var amendTests = []test{
	{"the amount of a live session", amendLive},
	{"while the session is made", amendIntent},
	{"before it is fed", amendPending},
	{"a message that is being prepared", amendClaimed},
	{"a message that shows the provider's link", amendReveals},
	{"refused by the provider", amendReplaced},
	{"again while the change is under way", amendAgain},
	{"another amount may still land", amendDoubt},
	{"paid on the old amount", amendOldMoney},
	{"a look shows the old amount", amendOldLook},
	{"contact and due date", amendContact},
	{"what must not be amended", amendRefused},
	{"a lost message is not sent again", amendLost},
	{"paid outside", outsideAll},
	{"a part of it outside", outsidePart},
	{"written off", writtenOff},
	{"what a person decided stays", decidedStays},
	{"canceled by filter", cancelMatching},
	{"a second copy that is refused", doubtfulRefused},
	{"a session that the provider does not have", missingSession},
}

func kwd(minor int64) *paylink.Money { return &paylink.Money{Minor: minor, Currency: "KWD"} }

func (s *scene) amend(id paylink.RequestID, a paylink.Amendment) []paylink.Wake {
	s.Helper()
	_, wakes, err := s.db.Amend(s.Context(), id, a, byClerk)
	s.ok(err)
	return wakes
}

var byClerk = ledger.AmendOptions{Actor: "clerk", Why: "discount", DebtKey: func(r *paylink.Row) uint64 { return DebtKey(r.Reference + r.Amount.String()) }}

func (s *scene) amended(c paylink.SettleClaim) []paylink.Wake {
	s.Helper()
	wakes, err := s.db.Amended(s.Context(), c)
	s.ok(err)
	return wakes
}

func (s *scene) payer(id paylink.RequestID) paylink.PayerView {
	s.Helper()
	v, err := s.db.Payer(s.Context(), id)
	s.ok(err)
	return v
}

func amendLive(s *scene) {
	id, x := s.asked()
	c := s.claimSettle(one(s, s.amend(id, paylink.Amendment{Amount: kwd(15000)})), paylink.SettleAmend)
	if c.Replace || c.Change.Amount == nil || *c.Change.Amount != *kwd(15000) || !c.Change.OnlyAmount() {
		s.Errorf("got claim %+v, want the amount alone", c)
	}
	_, err := s.db.RevealSession(s.Context(), x.ID)
	s.conflict(err) // its link asks for the old amount
	_, err = s.db.ClaimSettle(s.Context(), x.ID, s.payer(id).Live.Check, byWorker)
	s.conflict(err) // one at a time
	none(s, s.amended(c))
	if _, err := s.db.RevealSession(s.Context(), x.ID); err != nil {
		s.Errorf("got %v, want the link shown again", err)
	}
	v := s.payer(id)
	if v.Live.Amount != *kwd(15000) || v.Request.Amount != *kwd(15000) {
		s.Errorf("got %s for a debt of %s, want 15.000 KWD", v.Live.Amount, v.Request.Amount)
	}
	s.hear(told(v.Live.Session, paylink.SessionPaid, "R1"), paylink.EventApplied)
	s.stands(id, "sent paid; paid; email accepted")
	s.flags("")
	if fields, wakes, err := s.db.Amend(s.Context(), s.second(id), paylink.Amendment{Amount: kwd(12500)}, byClerk); err != nil || len(fields)+len(wakes) > 0 {
		s.Errorf("got %v, %v, %v for what is so already, want nothing", fields, wakes, err)
	}
}

// second is a request of a new batch.
func (s *scene) second(paylink.RequestID) paylink.RequestID {
	s.Helper()
	id, _ := s.asked()
	return id
}

func amendIntent(s *scene) {
	c := s.claim(one(s, s.feed(s.send(1), 1)))
	none(s, s.amend(c.Request.ID, paylink.Amendment{Amount: kwd(15000)}))
	wakes := s.record(c)
	check := s.claimSettle(one(s, of(s.sweep(), paylink.TaskSettle)), paylink.SettleAmend)
	s.amended(check)
	m := s.claimMessage(s.rewoken(wakes))
	if m.Left != *kwd(15000) || m.Request.Amount != *kwd(15000) {
		s.Errorf("the message asks for %s, want 15.000 KWD", m.Left)
	}
}

// rewoken is the newest wake of a message that an amendment woke again.
func (s *scene) rewoken(wakes []paylink.Wake) paylink.Wake {
	s.Helper()
	w := one(s, wakes)
	w.Epoch++
	return w
}

func amendPending(s *scene) {
	b := s.send(1)
	id := paylink.NewRequestID(b, 1)
	none(s, s.amend(id, paylink.Amendment{Amount: kwd(700)}))
	if c := s.claim(one(s, s.feed(b, 1))); c.Request.Amount != *kwd(700) {
		s.Errorf("the session is made for %s, want 0.700 KWD", c.Request.Amount)
	}
}

func amendClaimed(s *scene) {
	id, wakes := s.linked(s.send(1))
	m := s.claimMessage(one(s, wakes))
	address := "new@example.com"
	s.amend(id, paylink.Amendment{Email: &address})
	s.conflict(s.db.CommitMessage(s.Context(), m, commitOptions))
	s.ok(s.db.ReleaseMessage(s.Context(), m, s.clock.Now()))
	again := s.claimMessage(one(s, of(s.sweep(), paylink.TaskSend)))
	if got := again.Contact.Email; got != address {
		s.Errorf("it goes to %q, want %q", got, address)
	}
}

func amendReveals(s *scene) {
	id, wakes := s.linked(s.send(1))
	c := s.claimSettle(one(s, s.amend(id, paylink.Amendment{Amount: kwd(15000)})), paylink.SettleAmend)
	_, more, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(wakes[0].ID), wakes[0].Epoch, needsLink)
	s.conflict(err)
	none(s, more)
	s.clock.Advance(time.Second)
	m := s.claimLinked(one(s, s.amended(c)))
	s.commit(m)
	s.ok(s.db.AcceptMessage(s.Context(), m, "ref", 1))
	s.stands(id, "sent unpaid; open; email accepted")
}

func amendReplaced(s *scene) {
	id, wakes := s.linked(s.send(1))
	old := s.line(id).Session
	c := s.claimSettle(one(s, s.amend(id, paylink.Amendment{Amount: kwd(15000)})), paylink.SettleAmend)
	again := one(s, s.settle(c, true, false)) // refused, and ended at the provider
	if again.Epoch <= wakes[0].Epoch {
		s.Errorf("got wake %+v, want one after %+v", again, wakes[0])
	}
	s.stands(id, "in_flight unpaid; superseded; email owed")
	made := s.claim(s.dead(again))
	if made.Request.Amount != *kwd(15000) {
		s.Errorf("the next session is for %s, want 15.000 KWD", made.Request.Amount)
	}
	m := s.claimLinked(one(s, s.record(made)))
	s.commit(m)
	s.ok(s.db.AcceptMessage(s.Context(), m, "ref", 1))
	s.hear(told(*old, paylink.SessionPaid, "R1"), paylink.EventApplied) // all the same
	s.paid(id, 12500)
	s.flags("money_on_superseded")
}

func amendAgain(s *scene) {
	id, x := s.asked()
	c := s.claimSettle(one(s, s.amend(id, paylink.Amendment{Amount: kwd(15000)})), paylink.SettleAmend)
	s.clock.Advance(time.Second)
	w := one(s, s.amend(id, paylink.Amendment{Amount: kwd(9000)}))
	_, err := s.db.ClaimSettle(s.Context(), x.ID, w.Epoch, byWorker)
	s.conflict(err) // the first change may not have landed yet
	next := s.claimSettle(one(s, s.amended(c)), paylink.SettleAmend)
	if next.Replace || *next.Change.Amount != *kwd(9000) {
		s.Errorf("got %+v, want a change to 9.000 KWD", next)
	}
	s.amended(next)
	if v := s.payer(id); v.Live.Amount != *kwd(9000) || v.Live.Ending != "" {
		s.Errorf("got %+v, want it to ask for 9.000 KWD", v.Live)
	}
}

func amendDoubt(s *scene) {
	id, _ := s.asked()
	c := s.claimSettle(one(s, s.amend(id, paylink.Amendment{Amount: kwd(15000)})), paylink.SettleAmend)
	none(s, s.settle(c, false, false)) // its answer was lost
	s.clock.Advance(time.Second)
	if c = s.claimSettle(one(s, s.amend(id, paylink.Amendment{Amount: kwd(9000)})), paylink.SettleAmend); !c.Replace {
		s.Errorf("got %+v, want it replaced: 15.000 may still land", c)
	}
	none(s, s.settle(c, true, false))
	s.stands(id, "sent unpaid; superseded; email accepted")
}

func amendOldMoney(s *scene) {
	id, x := s.asked()
	s.amend(id, paylink.Amendment{Amount: kwd(15000)})
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	s.stands(id, "sent partially_paid; paid; email accepted")
	s.paid(id, 12500)
	s.flags("amount_differs")
	none(s, of(s.sweep(), paylink.TaskSettle))
}

func amendOldLook(s *scene) {
	id, x := s.asked()
	c := s.claimSettle(one(s, s.amend(id, paylink.Amendment{Amount: kwd(10000)})), paylink.SettleAmend)
	s.ok(s.db.AdoptState(s.Context(), x.ID, paylink.CheckoutSession{State: paylink.SessionPaid, RawState: "paid", Amount: *kwd(12500)}))
	none(s, s.settle(c, true, false))
	s.stands(id, "sent paid; paid; email accepted")
	s.paid(id, 12500)
	s.flags("amount_differs")
}

func amendContact(s *scene) {
	id, _ := s.asked()
	phone, due, name := "+96550009999", "2026-05-01", "Aisha Al Salem"
	c := s.claimSettle(one(s, s.amend(id, paylink.Amendment{Phone: &phone, DueDate: &due, Name: &name})), paylink.SettleAmend)
	ch := c.Change
	if ch.Phone == nil || *ch.Phone != phone || ch.DueDate == nil || *ch.DueDate != due || *ch.FirstName != "Aisha" || *ch.LastName != "Al Salem" || ch.Email != nil {
		s.Errorf("got change %+v", ch)
	}
	s.amended(c)
	events, err := s.db.Timeline(s.Context(), id)
	s.ok(err)
	n := 0
	for _, e := range events {
		if e.Entity != "amend" {
			continue
		}
		n++
		if text := e.From + e.To + e.Why; strings.Contains(text, phone) || strings.Contains(text, "Aisha") || e.Actor != "clerk" || !strings.Contains(e.Why, "discount") {
			s.Errorf("got event %+v, want who and why, and no address", e)
		}
	}
	if n != 3 {
		s.Errorf("got %d events of it, want 3", n)
	}
	words := "what it is for"
	none(s, s.amend(id, paylink.Amendment{Description: &words})) // the provider does not know it
}

func amendRefused(s *scene) {
	id, x := s.asked()
	for _, a := range []paylink.Amendment{{Amount: &paylink.Money{Minor: 100, Currency: "USD"}}, {Amount: kwd(0)}} {
		_, _, err := s.db.Amend(s.Context(), id, a, byClerk)
		s.refused(err, paylink.ErrInvalid)
	}
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	_, _, err := s.db.Amend(s.Context(), id, paylink.Amendment{Amount: kwd(1)}, byClerk)
	s.conflict(err)
}

func amendLost(s *scene) {
	id, wakes := s.linked(s.send(1))
	s.lost(one(s, wakes))
	s.amend(id, paylink.Amendment{Amount: kwd(15000)})
	_, err := s.db.InquiryResend(s.Context(), s.inquiry())
	s.conflict(err) // its bytes would name another amount
}

func (s *scene) markPaid(id paylink.RequestID, minor int64, want paylink.PaymentState) []paylink.Wake {
	s.Helper()
	got, wakes, err := s.db.MarkPaid(s.Context(), id, paylink.Money{Minor: minor, Currency: "KWD"}, "clerk", "cash")
	s.ok(err)
	if got != want {
		s.Fatalf("got %s, want %s", got, want)
	}
	return wakes
}

func outsideAll(s *scene) {
	id, x := s.asked(Routes("email+sms"))
	c := s.claimSettle(one(s, s.markPaid(id, 0, paylink.PaymentPaidOutside)), paylink.SettleEnding)
	s.stands(id, "sent paid_outside; open; email accepted, sms canceled")
	none(s, s.settle(c, true, false))
	s.stands(id, "sent paid_outside; canceled; email accepted, sms canceled")
	_, _, err := s.db.MarkPaid(s.Context(), id, paylink.Money{}, "clerk", "again")
	s.conflict(err)
	state, _, err := s.db.UndoOutside(s.Context(), id, "clerk", "the cheque bounced")
	s.ok(err)
	if state != paylink.PaymentUnpaid {
		s.Errorf("got %s, want unpaid", state)
	}
	s.paid(id, 0)
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied) // the old link after all
	s.stands(id, "sent paid; paid; email accepted, sms canceled")
	_, _, err = s.db.UndoOutside(s.Context(), id, "clerk", "again")
	s.conflict(err)

	never := paylink.NewRequestID(s.send(1), 1)
	s.markPaid(never, 0, paylink.PaymentPaidOutside)
	s.stands(never, "skipped paid_outside; -; -")
	_, _, err = s.db.UndoOutside(s.Context(), never, "clerk", "wrong row")
	s.ok(err)
	wakes, err := s.db.Resend(s.Context(), never, "", "clerk", "wrong row")
	s.ok(err)
	s.accept(one(s, s.link(one(s, wakes))))
	s.stands(never, "sent unpaid; open; email accepted")
}

func outsidePart(s *scene) {
	id, _ := s.asked()
	_, _, err := s.db.MarkPaid(s.Context(), id, *kwd(12501), "clerk", "too much")
	s.refused(err, paylink.ErrInvalid)
	c := s.claimSettle(one(s, s.markPaid(id, 2500, paylink.PaymentPartiallyPaid)), paylink.SettleAmend)
	if *c.Change.Amount != *kwd(10000) {
		s.Errorf("the session becomes %s, want what is left", c.Change.Amount)
	}
	s.amended(c)
	s.clock.Advance(time.Second)
	again, err := s.db.Resend(s.Context(), id, "", "clerk", "the rest")
	s.ok(err)
	if m := s.claimMessage(one(s, again)); m.Left != *kwd(10000) {
		s.Errorf("the message asks for %s, want 10.000 KWD", m.Left)
	}
	s.hear(told(s.payer(id).Live.Session, paylink.SessionPaid, "R1"), paylink.EventApplied)
	s.paid(id, 12500)
	s.flags("")
	if p := s.line(id).Request.Payment; p != paylink.PaymentPaid {
		s.Errorf("got %s, want paid", p)
	}

	other, _ := s.asked()
	s.markPaid(other, 2500, paylink.PaymentPartiallyPaid)
	s.clock.Advance(time.Second)
	state, _, err := s.db.UndoOutside(s.Context(), other, "clerk", "wrong row")
	s.ok(err)
	if s.paid(other, 0); state != paylink.PaymentUnpaid {
		s.Errorf("got %s, want unpaid", state)
	}
}

func writtenOff(s *scene) {
	id, x := s.asked()
	wakes, err := s.db.WriteOff(s.Context(), id, "boss", "bankrupt")
	s.ok(err)
	none(s, s.settle(s.claimSettle(one(s, wakes), paylink.SettleEnding), true, false))
	s.stands(id, "sent written_off; canceled; email accepted")
	_, err = s.db.WriteOff(s.Context(), id, "boss", "again")
	s.conflict(err)
	state, err := s.db.UndoWriteOff(s.Context(), id, "boss", "wrong row")
	s.ok(err)
	if state != paylink.PaymentUnpaid {
		s.Errorf("got %s, want unpaid", state)
	}
	_, err = s.db.UndoWriteOff(s.Context(), id, "boss", "again")
	s.conflict(err)
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	s.stands(id, "sent paid; paid; email accepted")
}

func decidedStays(s *scene) {
	id, x := s.asked()
	s.markPaid(id, 0, paylink.PaymentPaidOutside)
	s.hear(told(x, paylink.SessionExpired, "R1"), paylink.EventApplied)
	s.stands(id, "sent paid_outside; expired; email accepted")
	part, y := s.asked()
	s.markPaid(part, 2500, paylink.PaymentPartiallyPaid)
	_, err := s.db.CancelRequest(s.Context(), part, "clerk", "called off")
	s.ok(err)
	s.hear(told(y, paylink.SessionExpired, "R1"), paylink.EventApplied)
	s.stands(part, "sent canceled; expired; email accepted")
	s.flags("")
}

func cancelMatching(s *scene) {
	b := s.send(3)
	wakes := s.feed(b, 2)
	s.accept(one(s, s.link(wakes[0])))
	n, err := s.db.CancelMatching(s.Context(), b, ledger.RequestFilter{Dispatch: paylink.DispatchPending}, "clerk", "stop")
	s.ok(err)
	if n != 1 {
		s.Errorf("got %d canceled, want 1", n)
	}
	n, err = s.db.CancelMatching(s.Context(), b, ledger.RequestFilter{Reference: s.line(paylink.NewRequestID(b, 1)).Request.Reference}, "clerk", "stop")
	s.ok(err)
	if n != 1 {
		s.Errorf("got %d canceled, want 1", n)
	}
	s.stands(paylink.NewRequestID(b, 1), "sent canceled; open; email accepted")
	s.stands(paylink.NewRequestID(b, 2), "in_flight unpaid; -; -")
	s.stands(paylink.NewRequestID(b, 3), "canceled canceled; -; -")
}

func doubtfulRefused(s *scene) {
	id, wakes := s.linked(s.send(1, Routes("email>sms")))
	s.lost(one(s, wakes))
	again, err := s.db.InquiryResend(s.Context(), s.inquiry())
	s.ok(err)
	none(s, s.fail(s.committed(again), permanent))
	s.stands(id, "unknown unpaid; open; email held")
	s.flags("message_held")
}

func missingSession(s *scene) {
	id, _ := s.asked()
	wakes, err := s.db.CancelRequest(s.Context(), id, "clerk", "mistake")
	s.ok(err)
	w := one(s, wakes)
	for range 3 {
		none(s, s.settle(s.claimSettle(w, paylink.SettleEnding), false, true))
		s.flags("")
		s.clock.Advance(8*time.Hour - time.Minute)
		w = one(s, of(s.sweep(), paylink.TaskSettle))
	}
	s.clock.Advance(time.Hour)
	none(s, s.settle(s.claimSettle(one(s, of(s.sweep(), paylink.TaskSettle)), paylink.SettleEnding), false, true))
	s.flags("session_not_ended")
	s.clock.Advance(23 * time.Hour)
	none(s, of(s.sweep(), paylink.TaskSettle)) // once a day is enough
	s.clock.Advance(life + 8*24*time.Hour)
	none(s, s.settle(s.claimSettle(one(s, of(s.sweep(), paylink.TaskSettle)), paylink.SettleEnding), false, true))
	s.stands(id, "sent canceled; canceled; email accepted")
	s.clock.Advance(365 * 24 * time.Hour)
	none(s, s.sweep())
}
