package ledgertest

import (
	"dunlin/paylink"
)

var moneyTests = []test{
	{"paid", paid},
	{"authorized, then paid", authorized},
	{"on a dead session", paidLate},
	{"on a ghost", paidGhost},
	{"on a superseded session", paidSuperseded},
	{"on a canceled debt", paidCanceled},
	{"a state only moves as the machine allows", adoptMachine},
}

// payment compares what was paid.
func (s *scene) paid(id paylink.RequestID, want int64) {
	s.Helper()
	if got := s.line(id).Paid; got != want {
		s.Errorf("got %d paid, want %d", got, want)
	}
}

func paid(s *scene) {
	id, wakes := s.linked(s.send(1, Routes("email+sms")))
	session := s.accept(wakes[0]).SessionID
	for _, state := range []paylink.SessionState{paylink.SessionPending, paylink.SessionAttempted, paylink.SessionPending, paylink.SessionPaid, paylink.SessionPaid} {
		s.adopt(session, state)
	}
	s.stands(id, "sent paid; paid; email accepted, sms canceled")
	s.paid(id, 12500)
	_, _, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(wakes[1].ID), wakes[1].Epoch, byWorker)
	s.conflict(err)
	_, err = s.db.CancelRequest(s.Context(), id, "clerk", "")
	s.conflict(err)
}

func authorized(s *scene) {
	id, wakes := s.linked(s.send(1))
	session := s.accept(one(s, wakes)).SessionID
	s.adopt(session, paylink.SessionAuthorized)
	s.stands(id, "sent authorized; authorized; email accepted")
	s.paid(id, 0)
	s.adopt(session, paylink.SessionPaid)
	s.stands(id, "sent paid; paid; email accepted")
	s.paid(id, 12500)

	id, wakes = s.linked(s.send(1))
	s.adopt(s.accept(one(s, wakes)).SessionID, paylink.SessionCOD)
	s.stands(id, "sent authorized; cod; email accepted")
}

func paidLate(s *scene) {
	id, wakes := s.linked(s.send(1))
	session := s.accept(one(s, wakes)).SessionID
	s.adopt(session, paylink.SessionExpired)
	s.stands(id, "sent unpaid; expired; email accepted")
	s.adopt(session, paylink.SessionPaid)
	s.stands(id, "sent paid; paid; email accepted")
	s.paid(id, 12500)
}

func paidGhost(s *scene) {
	c, w := s.loses(s.send(1))
	create := one(s, s.settle(s.claimSettle(w, paylink.SettleLost), false, true))
	s.adopt(c.Session, paylink.SessionPaid) // before the next session is made
	s.stands(c.Request.ID, "skipped paid; paid; -")
	_, err := s.db.ClaimSession(s.Context(), c.Request.ID, create.Epoch, byWorker)
	s.conflict(err)
	s.clock.Advance(life)
	none(s, s.sweep())
}

func paidSuperseded(s *scene) {
	id, wakes := s.linked(s.send(1))
	old := s.line(id).Session.ID
	s.clock.Advance(life)
	create := one(s, s.settle(s.claimSettle(s.dead(one(s, wakes)), paylink.SettleEnding), true, false))
	m := one(s, s.link(create))
	s.adopt(old, paylink.SessionPaid)
	s.stands(id, "skipped paid; open; email canceled")
	s.paid(id, 12500)
	_, _, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(m.ID), m.Epoch, byWorker)
	s.conflict(err)
}

func paidCanceled(s *scene) {
	id, wakes := s.linked(s.send(1))
	session := s.accept(one(s, wakes)).SessionID
	_, err := s.db.CancelRequest(s.Context(), id, "clerk", "")
	s.ok(err)
	s.adopt(session, paylink.SessionPaid)
	s.stands(id, "sent paid; paid; email accepted")
	none(s, s.sweep()) // there is nothing left to end
}

func adoptMachine(s *scene) {
	id, wakes := s.linked(s.send(1))
	session := s.accept(one(s, wakes)).SessionID
	for _, tt := range []struct{ seen, want paylink.SessionState }{
		{paylink.SessionIntent, paylink.SessionOpen}, {paylink.SessionRefunded, paylink.SessionOpen},
		{paylink.SessionAttempted, paylink.SessionAttempted}, {paylink.SessionOpen, paylink.SessionAttempted},
		{paylink.SessionCanceled, paylink.SessionCanceled}, {paylink.SessionPending, paylink.SessionCanceled},
		{paylink.SessionPaid, paylink.SessionPaid}, {paylink.SessionExpired, paylink.SessionPaid},
	} {
		s.adopt(session, tt.seen)
		if got := s.line(id).Session.State; got != tt.want {
			s.Errorf("after seeing %s: got %s, want %s", tt.seen, got, tt.want)
		}
	}
}
