package ledgertest

import (
	"time"

	"dunlin/paylink"
)

var fallbackTests = []test{
	{"after a refusal", fallbackRefused},
	{"reasons not to", fallbackNot},
	{"suppressed by a bounce", suppressedByBounce},
	{"suppressed by an opt-out", suppressedByOptOut},
	{"over a channel without address", fallbackSkips},
}

func fallbackRefused(s *scene) {
	id, wakes := s.linked(s.send(1, Routes("whatsapp>sms>email")))
	sms := one(s, s.fail(s.committed(one(s, wakes)), permanent))
	s.stands(id, "in_flight unpaid; open; whatsapp failed, sms owed")
	none(s, s.fail(s.committed(sms), temporary)) // which is not for certain
	s.stands(id, "in_flight unpaid; open; whatsapp failed, sms owed")
	s.clock.Advance(time.Minute)
	email := one(s, s.fail(s.committed(sms), permanent))
	if email.Channel != paylink.Email {
		s.Errorf("got a wake for %s, want email", email.Channel)
	}
	s.accept(email)
	s.stands(id, "sent unpaid; open; whatsapp failed, sms failed, email accepted")
}

func fallbackNot(s *scene) {
	for _, tt := range []struct {
		name    string
		happen  func(paylink.MessageClaim)
		failure *paylink.Failure
		want    string
	}{
		{"opted out", func(paylink.MessageClaim) {}, optedOut, "failed unpaid; open; whatsapp failed"},
		{"after a day", func(paylink.MessageClaim) { s.clock.Advance(24*time.Hour + time.Millisecond) }, permanent, "failed unpaid; open; whatsapp failed"},
		{"paid", func(c paylink.MessageClaim) { s.adopt(c.SessionID, paylink.SessionPaid) }, permanent, "failed paid; paid; whatsapp failed"},
		{"canceled", func(c paylink.MessageClaim) {
			_, err := s.db.CancelRequest(s.Context(), c.Request.ID, "clerk", "")
			s.ok(err)
		}, permanent, "failed canceled; open; whatsapp failed"},
	} {
		s.Log(tt.name)
		id, wakes := s.linked(s.send(1, Routes("whatsapp>sms"), Each(func(r *paylink.Row) { r.Phone = tt.name })))
		c := s.committed(one(s, wakes))
		tt.happen(c)
		none(s, s.fail(c, tt.failure))
		s.stands(id, tt.want)
	}
	// Never on unknown: the first message may be there.
	id, wakes := s.linked(s.send(1, Routes("whatsapp>sms")))
	s.lost(one(s, wakes))
	s.stands(id, "unknown unpaid; open; whatsapp unknown")
}

// suppresses makes the provider refuse the phone of row 1 for good.
func (s *scene) suppresses(f *paylink.Failure) {
	s.Helper()
	_, wakes := s.linked(s.send(1, Routes("whatsapp")))
	none(s, s.fail(s.committed(one(s, wakes)), f))
}

func suppressedByBounce(s *scene) {
	s.suppresses(bounced)
	id, wakes := s.linked(s.send(1, Routes("whatsapp>sms")))
	_, next, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(one(s, wakes).ID), wakes[0].Epoch, byWorker)
	s.conflict(err)
	s.stands(id, "in_flight unpaid; open; whatsapp suppressed, sms owed")
	s.accept(one(s, next)) // the number is suppressed on its channel only
	s.stands(id, "sent unpaid; open; whatsapp suppressed, sms accepted")

	id, wakes = s.linked(s.send(1, Routes("whatsapp")))
	_, next, err = s.db.ClaimMessage(s.Context(), paylink.MessageID(one(s, wakes).ID), wakes[0].Epoch, byWorker)
	s.conflict(err)
	none(s, next)
	s.stands(id, "suppressed unpaid; open; whatsapp suppressed")
	if got := s.line(id).Request.Cause; got != paylink.CauseSuppressed {
		s.Errorf("got cause %q", got)
	}
}

func suppressedByOptOut(s *scene) {
	s.suppresses(optedOut)
	id, wakes := s.linked(s.send(1, Routes("email+whatsapp>sms")))
	s.accept(wakes[0])
	_, next, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(wakes[1].ID), wakes[1].Epoch, byWorker)
	s.conflict(err)
	none(s, next)
	s.stands(id, "sent unpaid; open; email accepted, whatsapp suppressed")
	if got := s.line(id).Messages[1].Cause; got != paylink.CauseOptedOut {
		s.Errorf("got cause %q", got)
	}
}

func fallbackSkips(s *scene) {
	id, wakes := s.linked(s.send(1, Routes("email>whatsapp"), Each(func(r *paylink.Row) { r.Phone = "" })))
	none(s, s.fail(s.committed(one(s, wakes)), permanent))
	s.stands(id, "failed unpaid; open; email failed")
}
