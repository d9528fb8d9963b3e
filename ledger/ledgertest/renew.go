package ledgertest

import (
	"time"

	"dunlin/paylink"
)

var renewTests = []test{
	{"a dead link", renewDead},
	{"a session that died by itself", renewExpired},
	{"a fallback whose link died", renewFallback},
	{"a life that the provider did not tell", renewUntold},
	{"paid while it is ended", renewPaid},
	{"refused in place of the old one", renewRefused},
	{"lost in place of the old one", renewLost},
	{"our own link needs none", renewOwn},
}

var needsLink = paylink.ClaimOptions{Worker: "w1", Lease: lease, NeedsLink: true}

// dead claims a message whose link has died, and returns what is to be done first.
func (s *scene) dead(w paylink.Wake) paylink.Wake {
	s.Helper()
	_, wakes, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(w.ID), w.Epoch, needsLink)
	s.conflict(err)
	return one(s, wakes)
}

func (s *scene) claimLinked(w paylink.Wake) paylink.MessageClaim {
	s.Helper()
	c, _, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(w.ID), w.Epoch, needsLink)
	s.ok(err)
	return c
}

func renewDead(s *scene) {
	id, wakes := s.linked(s.send(1, Routes("email+sms")))
	old := s.line(id).Session
	s.clock.Advance(life - 9*time.Minute) // it lives, but not long enough to be sent
	settle := s.dead(wakes[0])
	_, next, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(wakes[1].ID), wakes[1].Epoch, needsLink)
	s.conflict(err)
	none(s, next) // one ending is enough
	none(s, s.sweepRoom(100, 0))
	c := s.claimSettle(settle, paylink.SettleEnding)
	if c.Ending != "renewed" || c.Session.ID != old.ID {
		s.Errorf("got %+v, want the old session renewed", c)
	}
	none(s, s.settle(c, false, false)) // no answer: nothing takes its place
	s.stands(id, "in_flight unpaid; open; email owed, sms owed")
	s.clock.Advance(time.Minute)
	create := one(s, s.settle(s.claimSettle(one(s, s.sweep()), paylink.SettleEnding), true, false))
	s.stands(id, "in_flight unpaid; superseded; email owed, sms owed")
	again := s.link(create)
	if len(again) != 2 {
		s.Fatalf("got %d wakes, want both messages", len(again))
	}
	for _, w := range again {
		m := s.claimLinked(w)
		if m.SessionID == old.ID || m.Link == old.URL {
			s.Errorf("got the old link in %+v", m)
		}
		s.commit(m)
		s.ok(s.db.AcceptMessage(s.Context(), m, "ref", 1))
	}
	s.stands(id, "sent unpaid; open; email accepted, sms accepted")
}

func renewExpired(s *scene) {
	id, wakes := s.linked(s.send(1))
	s.adopt(s.line(id).Session.ID, paylink.SessionExpired)
	create := s.dead(one(s, wakes))
	if create.Task != paylink.TaskCreate {
		s.Fatalf("got wake %+v, want one to create", create)
	}
	s.accept(one(s, s.link(create)))
	s.stands(id, "sent unpaid; open; email accepted")
}

func renewFallback(s *scene) {
	id, wakes := s.linked(s.send(1, Routes("whatsapp>sms")))
	sms := one(s, s.fail(s.committed(one(s, wakes)), permanent))
	s.adopt(s.line(id).Session.ID, paylink.SessionExpired)
	w := one(s, s.link(s.dead(sms)))
	if w.Channel != paylink.SMS {
		s.Errorf("got a wake for %s, want sms", w.Channel)
	}
	s.accept(w)
	s.stands(id, "sent unpaid; open; whatsapp failed, sms accepted")
}

func renewUntold(s *scene) {
	c := s.claim(one(s, s.feed(s.send(1), 1)))
	made := s.made(c)
	made.ExpiresAt = time.Time{}
	wakes, err := s.db.RecordSession(s.Context(), c, made)
	s.ok(err)
	m := s.claimLinked(one(s, wakes))
	if !m.LinkDies.IsZero() {
		s.Errorf("got a link that dies at %s", m.LinkDies)
	}
	s.commit(m)
}

func renewPaid(s *scene) {
	id, wakes := s.linked(s.send(1))
	s.clock.Advance(life)
	c := s.claimSettle(s.dead(one(s, wakes)), paylink.SettleEnding)
	s.adopt(c.Session.ID, paylink.SessionPaid) // the look before the end shows money
	none(s, s.settle(c, true, false))
	s.stands(id, "skipped paid; paid; email canceled")
	s.clock.Advance(life)
	none(s, s.sweep())
}

func renewRefused(s *scene) {
	id, wakes := s.linked(s.send(1, Routes("email+sms")))
	s.accept(wakes[0])
	s.adopt(s.line(id).Session.ID, paylink.SessionExpired)
	s.ok(s.db.FailSession(s.Context(), s.claim(s.dead(wakes[1])), refusal, time.Time{}, false))
	s.stands(id, "sent unpaid; failed; email accepted, sms failed")
	again, err := s.db.Resend(s.Context(), id, "", "clerk", "asked")
	s.ok(err)
	s.accept(one(s, s.link(one(s, again))))
	s.stands(id, "sent unpaid; open; email accepted, sms failed, sms#2 accepted")
}

func renewLost(s *scene) {
	id, wakes := s.linked(s.send(1))
	s.clock.Advance(life)
	c := s.claimSettle(s.dead(one(s, wakes)), paylink.SettleEnding)
	s.adopt(c.Session.ID, paylink.SessionExpired) // it died by itself while it was to be ended
	create := one(s, s.settle(c, true, false))
	w, err := s.db.LoseSession(s.Context(), s.claim(create))
	s.ok(err)
	s.stands(id, "in_flight unpaid; intent; email owed")
	create = one(s, s.settle(s.claimSettle(w, paylink.SettleLost), true, false))
	s.accept(one(s, s.link(create)))
	s.stands(id, "sent unpaid; open; email accepted")
}

func renewOwn(s *scene) {
	id, wakes := s.linked(s.send(1))
	s.clock.Advance(life)
	s.accept(one(s, wakes)) // with an address of our own, the page makes the next session
	s.stands(id, "sent unpaid; open; email accepted")
}
