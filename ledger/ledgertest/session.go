package ledgertest

import (
	"time"

	"dunlin/paylink"
)

var sessionTests = []test{
	{"claim is fenced", claimFences},
	{"recording bears the messages", bears},
	{"a full queue parks messages", parks},
	{"temporary failure", sessionTemporary},
	{"permanent failure", sessionPermanent},
	{"canceled while it is made", canceledWhileMade},
	{"deferred", deferred},
}

func claimFences(s *scene) {
	ctx := s.Context()
	b := s.send(3)
	wakes := s.feed(b, 2)
	id, w := paylink.RequestID(wakes[0].ID), wakes[0]
	for name, claim := range map[string]struct {
		id    paylink.RequestID
		epoch int64
	}{"older epoch": {id, w.Epoch - 1}, "newer epoch": {id, w.Epoch + 1}, "not fed": {paylink.NewRequestID(b, 3), 0}} {
		if _, err := s.db.ClaimSession(ctx, claim.id, claim.epoch, byWorker); err == nil {
			s.Errorf("%s: claimed", name)
		} else {
			s.conflict(err)
		}
	}
	s.ok(s.db.Pause(ctx, b, "clerk", ""))
	_, err := s.db.ClaimSession(ctx, id, w.Epoch, byWorker)
	s.conflict(err)
	s.ok(s.db.Resume(ctx, b, "clerk", ""))

	c := s.claim(w)
	if c.Request.ID != id || c.Contact.Email != "payer1@example.com" || c.OrderNo == "" || !c.Deadline.Equal(s.clock.Now().Add(lease)) {
		s.Errorf("got claim %+v", c)
	}
	_, err = s.db.ClaimSession(ctx, id, w.Epoch, byWorker)
	s.conflict(err)
	if n, err := s.db.Used(ctx, "checkout", s.clock.Now()); err != nil || n != 1 {
		s.Errorf("got %d calls used, error %v; want 1", n, err)
	}
	s.record(c)
	_, err = s.db.RecordSession(ctx, c, s.made(c))
	s.conflict(err)
	_, err = s.db.ClaimSession(ctx, id, w.Epoch, byWorker)
	s.conflict(err)

	owing := paylink.RequestID(wakes[1].ID)
	_, err = s.db.CancelRequest(ctx, owing, "clerk", "")
	s.ok(err)
	_, err = s.db.ClaimSession(ctx, owing, wakes[1].Epoch, byWorker)
	s.conflict(err)
}

func bears(s *scene) {
	for _, tt := range []struct {
		name, routes string
		change       func(*paylink.Row)
		want         string
		woken        int
	}{
		{"email", "email", nil, "in_flight unpaid; open; email owed", 1},
		{"two routes", "email+sms", nil, "in_flight unpaid; open; email owed, sms owed", 2},
		{"first of a route", "whatsapp>sms", nil, "in_flight unpaid; open; whatsapp owed", 1},
		{"no email", "email>sms", func(r *paylink.Row) { r.Email = "" }, "in_flight unpaid; open; sms owed", 1},
		{"no phone on one route", "email+sms", func(r *paylink.Row) { r.Phone = "" }, "in_flight unpaid; open; email owed, sms failed", 1},
		{"no address at all", "whatsapp>sms", func(r *paylink.Row) { r.Phone = "" }, "failed unpaid; open; whatsapp failed", 0},
	} {
		s.Log(tt.name)
		opts := []Option{Routes(tt.routes)}
		if tt.change != nil {
			opts = append(opts, Each(tt.change))
		}
		id, wakes := s.linked(s.send(1, opts...))
		s.stands(id, tt.want)
		if len(wakes) != tt.woken {
			s.Errorf("%s: got %d wakes, want %d", tt.name, len(wakes), tt.woken)
		}
		if tt.woken == 0 && s.line(id).Request.Cause != paylink.CauseNoAddress {
			s.Errorf("%s: got cause %q, want no_address", tt.name, s.line(id).Request.Cause)
		}
	}
}

func parks(s *scene) {
	b := s.send(1, Routes("email+sms"))
	c := s.claim(one(s, s.feed(b, 1)))
	c.Park = map[paylink.Channel]bool{paylink.Email: true}
	if w := one(s, s.record(c)); w.Channel != paylink.SMS {
		s.Errorf("got a wake for %s, want sms only", w.Channel)
	}
	if w := one(s, s.sweep()); w.Channel != paylink.Email {
		s.Errorf("the sweeper woke %s, want email", w.Channel)
	} else {
		s.accept(w)
	}
}

func sessionTemporary(s *scene) {
	ctx := s.Context()
	b := s.send(1)
	w := one(s, s.feed(b, 1))
	c := s.claim(w)
	at := s.clock.Now().Add(time.Minute)
	s.ok(s.db.FailSession(ctx, c, temporary, at, true))
	s.stands(c.Request.ID, "in_flight unpaid; failed; -")
	s.conflict(s.db.FailSession(ctx, c, temporary, at, true))
	_, err := s.db.ClaimSession(ctx, c.Request.ID, w.Epoch, byWorker) // too early
	s.conflict(err)
	none(s, s.sweep())
	s.clock.Advance(time.Minute)
	second := s.claim(w)
	if second.OrderNo == c.OrderNo || second.Request.Attempts != 1 {
		s.Errorf("got order number %q again after %q, tries %d; want a new one and 1", second.OrderNo, c.OrderNo, second.Request.Attempts)
	}
	s.ok(s.db.FailSession(ctx, second, temporary, s.clock.Now().Add(time.Minute), false))
	if got := s.line(c.Request.ID).Request.Attempts; got != 1 {
		s.Errorf("got %d tries, want the provider's own trouble to cost none", got)
	}
	// The queue forgot it: the sweeper brings it with a new epoch, and the old task is stale.
	s.clock.Advance(time.Minute + grace)
	swept := one(s, s.sweep())
	_, err = s.db.ClaimSession(ctx, c.Request.ID, w.Epoch, byWorker)
	s.conflict(err)
	s.link(swept)
	if got := s.line(c.Request.ID).Request; got.Attempts != 0 || got.Cause != "" {
		s.Errorf("got %d tries and cause %q of a linked request, want none", got.Attempts, got.Cause)
	}
}

func sessionPermanent(s *scene) {
	b := s.send(2)
	c := s.claim(one(s, s.feed(b, 1)))
	s.ok(s.db.FailSession(s.Context(), c, refusal, time.Time{}, false))
	s.stands(c.Request.ID, "failed unpaid; failed; -")
	if l := s.line(c.Request.ID); l.Request.Cause != paylink.CauseCheckoutRefused || l.Code != "http 400" {
		s.Errorf("got cause %q, code %q", l.Request.Cause, l.Code)
	}
	s.clock.Advance(time.Hour)
	none(s, s.sweep())
}

func canceledWhileMade(s *scene) {
	ctx := s.Context()
	b := s.send(3)
	wakes := s.feed(b, 3)
	made, failed, lost := s.claim(wakes[0]), s.claim(wakes[1]), s.claim(wakes[2])
	s.ok(s.db.CancelBatch(ctx, b, "clerk", "mistake"))
	none(s, s.record(made))
	s.stands(made.Request.ID, "canceled canceled; open; -")
	ending := s.claimSettle(one(s, s.sweep()), paylink.SettleEnding)
	if ending.Ending != "canceled" || ending.Session.ProviderID == "" {
		s.Errorf("got %+v, want a session to cancel", ending)
	}
	none(s, s.settle(ending, true, false))
	s.stands(made.Request.ID, "canceled canceled; canceled; -")

	s.ok(s.db.FailSession(ctx, failed, temporary, s.clock.Now(), true))
	s.stands(failed.Request.ID, "canceled canceled; failed; -")

	w, err := s.db.LoseSession(ctx, lost)
	s.ok(err)
	none(s, s.settle(s.claimSettle(w, paylink.SettleLost), false, true))
	s.stands(lost.Request.ID, "canceled canceled; ghost; -")
	if got, want := s.counts(b), (paylink.Counts{Canceled: 3}); got != want {
		s.Errorf("got counts %+v, want %+v", got, want)
	}
}

func deferred(s *scene) {
	ctx := s.Context()
	b := s.send(1)
	w := one(s, s.feed(b, 1))
	at := s.clock.Now().Add(10 * time.Minute)
	s.ok(s.db.Defer(ctx, paylink.Wake{Task: w.Task, ID: w.ID, Epoch: w.Epoch + 1}, at)) // stale: nothing happens
	s.ok(s.db.Defer(ctx, w, at))
	_, err := s.db.ClaimSession(ctx, paylink.RequestID(w.ID), w.Epoch, byWorker)
	s.conflict(err)
	s.clock.Advance(10 * time.Minute)
	m := one(s, s.link(w))
	at = s.clock.Now().Add(10 * time.Minute)
	s.ok(s.db.Defer(ctx, m, at))
	_, _, err = s.db.ClaimMessage(ctx, paylink.MessageID(m.ID), m.Epoch, byWorker)
	s.conflict(err)
	s.clock.Advance(10*time.Minute + grace)
	s.accept(one(s, s.sweep()))
	s.refused(s.db.Defer(ctx, paylink.Wake{Task: paylink.TaskFeed}, at), paylink.ErrInvalid)
}
