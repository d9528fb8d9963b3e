package ledgertest

import (
	"time"

	"dunlin/paylink"
)

var lostTests = []test{
	{"the lease runs out", leaseRunsOut},
	{"ended", lostEnded},
	{"absent, and then a ghost", ghost},
	{"the provider does not answer", lostUnanswered},
	{"a ghost that nobody answers for", ghostUnanswered},
	{"what a retrieve shows of a lost create", lostAdopted},
	{"in a paused batch", lostPaused},
}

// loses feeds one row and loses the answer to its create.
func (s *scene) loses(b paylink.BatchID) (paylink.SessionClaim, paylink.Wake) {
	s.Helper()
	c := s.claim(one(s, s.feed(b, 1)))
	w, err := s.db.LoseSession(s.Context(), c)
	s.ok(err)
	s.stands(c.Request.ID, "unknown unpaid; intent; -")
	return c, w
}

func leaseRunsOut(s *scene) {
	ctx := s.Context()
	b := s.send(1)
	w := one(s, s.feed(b, 1))
	c := s.claim(w)
	none(s, s.sweep())
	s.clock.Advance(lease)
	settle := one(s, s.sweep())
	s.stands(c.Request.ID, "unknown unpaid; intent; -")
	// Its maker wakes up again. Whatever it brings, the order number is being ended.
	_, err := s.db.RecordSession(ctx, c, s.made(c))
	s.conflict(err)
	s.conflict(s.db.FailSession(ctx, c, temporary, s.clock.Now(), true))
	s.conflict(s.db.FailSession(ctx, c, refusal, s.clock.Now(), true))
	_, err = s.db.LoseSession(ctx, c)
	s.conflict(err)
	_, err = s.db.ClaimSession(ctx, c.Request.ID, w.Epoch, byWorker)
	s.conflict(err)
	s.stands(c.Request.ID, "unknown unpaid; intent; -")
	again := one(s, s.settle(s.claimSettle(settle, paylink.SettleLost), true, false))
	s.accept(one(s, s.link(again)))
	s.stands(c.Request.ID, "sent unpaid; open; email accepted")
}

func lostEnded(s *scene) {
	c, w := s.loses(s.send(1))
	claimed := s.claimSettle(w, paylink.SettleLost)
	_, err := s.db.ClaimSettle(s.Context(), paylink.SessionID(w.ID), w.Epoch, byWorker) // the wake came twice
	s.conflict(err)
	next := one(s, s.settle(claimed, true, false))
	s.stands(c.Request.ID, "in_flight unpaid; expired; -")
	second := s.claim(next)
	if second.OrderNo == c.OrderNo {
		s.Errorf("got the order number %q a second time", second.OrderNo)
	}
	_, err = s.db.Settled(s.Context(), claimed, true, false, s.clock.Now(), life) // the answer came twice
	s.conflict(err)
	s.accept(one(s, s.record(second)))
	s.clock.Advance(life)
	none(s, s.sweep())
}

func ghost(s *scene) {
	c, w := s.loses(s.send(1))
	next := one(s, s.settle(s.claimSettle(w, paylink.SettleLost), false, true))
	s.stands(c.Request.ID, "in_flight unpaid; ghost; -")
	s.accept(one(s, s.link(next)))
	born := s.clock.Now()
	for i, wait := range []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, life - 36*time.Minute} {
		s.clock.Advance(wait - time.Millisecond)
		none(s, s.sweep())
		s.clock.Advance(time.Millisecond)
		look := s.claimSettle(one(s, s.sweep()), paylink.SettleGhost)
		if look.Checks != i {
			s.Errorf("got %d looks before look %d", look.Checks, i)
		}
		none(s, s.settle(look, false, true))
	}
	if got := s.clock.Now().Sub(born); got != life {
		s.Errorf("the last look came after %s, want the life of %s", got, life)
	}
	s.clock.Advance(life)
	none(s, s.sweep())
	if l := s.line(c.Request.ID); l.Request.Dispatch != paylink.DispatchSent {
		s.Errorf("got dispatch %s", l.Request.Dispatch)
	}
	// A ghost that landed late and was ended needs no further look.
	_, w = s.loses(s.send(1))
	s.link(one(s, s.settle(s.claimSettle(w, paylink.SettleLost), false, true)))
	s.clock.Advance(time.Minute)
	none(s, s.settle(s.claimSettle(one(s, s.sweep()), paylink.SettleGhost), true, false))
	s.clock.Advance(time.Hour)
	for _, w := range s.sweep() { // the message that nobody sent, but no session
		if w.Task != paylink.TaskSend {
			s.Errorf("got wake %+v", w)
		}
	}
}

func lostUnanswered(s *scene) {
	c, w := s.loses(s.send(1))
	for i := range 3 {
		claimed := s.claimSettle(w, paylink.SettleLost)
		if claimed.Checks != i {
			s.Errorf("got %d tries before try %d", claimed.Checks, i)
		}
		none(s, s.settle(claimed, false, false))
		s.stands(c.Request.ID, "unknown unpaid; intent; -")
		none(s, s.sweep())
		s.clock.Advance(time.Minute)
		w = one(s, s.sweep())
	}
	// The settler itself died: its claim runs out, too.
	s.claimSettle(w, paylink.SettleLost)
	none(s, s.sweep())
	s.clock.Advance(lease + grace)
	one(s, s.settle(s.claimSettle(one(s, s.sweep()), paylink.SettleLost), true, false))
}

func ghostUnanswered(s *scene) {
	_, w := s.loses(s.send(1))
	one(s, s.settle(s.claimSettle(w, paylink.SettleLost), false, true))
	for range 5 { // longer than there are looks
		s.clock.Advance(time.Minute)
		none(s, s.settle(s.claimSettle(one(s, of(s.sweep(), paylink.TaskSettle)), paylink.SettleGhost), false, false))
	}
	s.clock.Advance(time.Minute)
	look := s.claimSettle(one(s, of(s.sweep(), paylink.TaskSettle)), paylink.SettleGhost)
	if look.Checks != 0 {
		s.Errorf("got %d looks spent on no answer, want 0", look.Checks)
	}
	none(s, s.settle(look, false, true))
	s.clock.Advance(5 * time.Minute)
	one(s, of(s.sweep(), paylink.TaskSettle))
}

func lostAdopted(s *scene) {
	b := s.send(2)
	c, w := s.loses(b)
	for _, state := range []paylink.SessionState{paylink.SessionOpen, paylink.SessionExpired, paylink.SessionFailed} {
		s.adopt(c.Session, state) // its settling says what the request owes then
		s.stands(c.Request.ID, "unknown unpaid; intent; -")
	}
	s.link(one(s, s.settle(s.claimSettle(w, paylink.SettleLost), true, false)))
	s.stands(c.Request.ID, "in_flight unpaid; open; email owed")

	c, w = s.loses(b)
	s.adopt(c.Session, paylink.SessionPaid) // money is money
	s.stands(c.Request.ID, "skipped paid; paid; -")
	_, err := s.db.ClaimSettle(s.Context(), paylink.SessionID(w.ID), w.Epoch, byWorker)
	s.conflict(err)
	s.clock.Advance(time.Hour)
	none(s, of(s.sweep(), paylink.TaskSettle))
}

func lostPaused(s *scene) {
	b := s.send(1)
	c, w := s.loses(b)
	s.ok(s.db.Pause(s.Context(), b, "clerk", ""))
	next := one(s, s.settle(s.claimSettle(w, paylink.SettleLost), true, false)) // settling goes on, making waits
	_, err := s.db.ClaimSession(s.Context(), c.Request.ID, next.Epoch, byWorker)
	s.conflict(err)
	s.clock.Advance(grace)
	none(s, s.sweep())
	s.ok(s.db.Resume(s.Context(), b, "clerk", ""))
	s.accept(one(s, s.link(one(s, s.sweep()))))
}
