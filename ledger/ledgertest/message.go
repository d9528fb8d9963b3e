package ledgertest

import (
	"time"

	"dunlin/paylink"
)

var messageTests = []test{
	{"sent", messageSent},
	{"claim is fenced", messageFences},
	{"commit is refused", commitRefused},
	{"commit once", commitOnce},
	{"temporary failure", messageTemporary},
	{"permanent failure", messagePermanent},
	{"released", messageReleased},
	{"held", messageHeld},
	{"the lease runs out before the commit", messageLeasePrepared},
	{"the lease runs out after the commit", messageLeaseCommitted},
	{"a loss that cannot be", messageLostClaimed},
}

func messageSent(s *scene) {
	ctx := s.Context()
	b := s.send(1)
	id, wakes := s.linked(b)
	born := s.clock.Now()
	s.clock.Advance(time.Second)
	c := s.claimMessage(one(s, wakes))
	if c.Token == "" || !c.Date.Equal(born) || c.Link == "" || c.Contact.Email == "" || c.AddressHash == "" || c.Frozen != "" ||
		!c.Deadline.Equal(s.clock.Now().Add(lease)) || !c.LinkDies.Equal(born.Add(life)) || c.Message.Channel != paylink.Email {
		s.Errorf("got claim %+v", c)
	}
	s.commit(c)
	s.stands(id, "in_flight unpaid; open; email committing")
	if got := s.line(id).Session.RevealedAt; !got.Equal(s.clock.Now()) {
		s.Errorf("the link was revealed at %s, want %s", got, s.clock.Now())
	}
	s.ok(s.db.AcceptMessage(ctx, c, "ref", 2))
	s.stands(id, "sent unpaid; open; email accepted")
	s.conflict(s.db.AcceptMessage(ctx, c, "ref", 2))
	s.conflict(s.db.LoseMessage(ctx, c, unknown, time.Minute))
	_, err := s.db.FailMessage(ctx, c, permanent, s.clock.Now(), true)
	s.conflict(err)
	s.conflict(s.db.ReleaseMessage(ctx, c, s.clock.Now()))
	s.conflict(s.db.HoldMessage(ctx, c, "why"))
	if m := one(s, s.line(id).Messages); m.ProviderRef != "ref" {
		s.Errorf("got reference %q", m.ProviderRef)
	}
	if n, err := s.db.Used(ctx, "email", s.clock.Now()); err != nil || n != 1 {
		s.Errorf("got %d emails used, error %v; want 1", n, err)
	}
	s.clock.Advance(life)
	none(s, s.sweep())
}

func messageFences(s *scene) {
	ctx := s.Context()
	b := s.send(1)
	id, wakes := s.linked(b)
	w := one(s, wakes)
	mid := paylink.MessageID(w.ID)
	for _, epoch := range []int64{w.Epoch - 1, w.Epoch + 1} {
		_, _, err := s.db.ClaimMessage(ctx, mid, epoch, byWorker)
		s.conflict(err)
	}
	s.ok(s.db.Pause(ctx, b, "clerk", ""))
	_, _, err := s.db.ClaimMessage(ctx, mid, w.Epoch, byWorker)
	s.conflict(err)
	s.clock.Advance(grace)
	none(s, s.sweep())
	s.ok(s.db.Resume(ctx, b, "clerk", ""))
	swept := one(s, s.sweep())
	_, _, err = s.db.ClaimMessage(ctx, mid, w.Epoch, byWorker)
	s.conflict(err)
	s.claimMessage(swept)
	_, _, err = s.db.ClaimMessage(ctx, mid, swept.Epoch, byWorker)
	s.conflict(err)
	s.stands(id, "in_flight unpaid; open; email claimed")
}

// commitRefused takes a claim, lets something happen, and finds the commit refused; then the claim is given back, and
// what stands after the next sweep and claim follows from what happened.
func commitRefused(s *scene) {
	ctx := s.Context()
	for _, tt := range []struct {
		name   string
		happen func(paylink.BatchID, paylink.MessageClaim)
		want   string // after the claim was given back and what is due was tried again
	}{
		{"the lease is too short", func(_ paylink.BatchID, c paylink.MessageClaim) { s.clock.Advance(lease - timeout) },
			"in_flight unpaid; open; sms claimed"},
		{"paid", func(_ paylink.BatchID, c paylink.MessageClaim) { s.adopt(c.SessionID, paylink.SessionPaid) },
			"skipped paid; paid; sms canceled"},
		{"authorized", func(_ paylink.BatchID, c paylink.MessageClaim) { s.adopt(c.SessionID, paylink.SessionAuthorized) },
			"skipped authorized; authorized; sms canceled"},
		{"request canceled", func(_ paylink.BatchID, c paylink.MessageClaim) {
			_, err := s.db.CancelRequest(ctx, c.Request.ID, "clerk", "")
			s.ok(err)
		}, "canceled canceled; open; sms canceled"},
		{"batch canceled", func(b paylink.BatchID, _ paylink.MessageClaim) { s.ok(s.db.CancelBatch(ctx, b, "clerk", "")) },
			"canceled canceled; open; sms canceled"},
		{"batch paused", func(b paylink.BatchID, _ paylink.MessageClaim) { s.ok(s.db.Pause(ctx, b, "clerk", "")) },
			"in_flight unpaid; open; sms owed"},
		{"batch halted", func(b paylink.BatchID, _ paylink.MessageClaim) { s.ok(s.db.Halt(ctx, b, "")) },
			"in_flight unpaid; open; sms owed"},
		{"suppressed", func(_ paylink.BatchID, c paylink.MessageClaim) {
			_, wakes := s.linked(s.send(1, Routes("sms"), Each(func(r *paylink.Row) { r.Phone = c.Contact.Phone })))
			none(s, s.fail(s.committed(one(s, wakes)), optedOut))
		}, "suppressed unpaid; open; sms suppressed"},
	} {
		s.Log(tt.name)
		b := s.send(1, Routes("sms"), Each(func(r *paylink.Row) { r.Phone = tt.name }))
		id, wakes := s.linked(b)
		c := s.claimMessage(one(s, wakes))
		tt.happen(b, c)
		s.conflict(s.db.CommitMessage(ctx, c, commitOptions))
		ours := commitOptions
		ours.Reveals = false // with a link of our own the session does not matter, and the debt does
		s.conflict(s.db.CommitMessage(ctx, c, ours))
		s.ok(s.db.ReleaseMessage(ctx, c, s.clock.Now()))
		for _, w := range s.sweep() {
			if w.Task == paylink.TaskSend {
				_, _, err := s.db.ClaimMessage(ctx, paylink.MessageID(w.ID), w.Epoch, byWorker)
				if err != nil {
					s.conflict(err)
				}
			}
		}
		s.stands(id, tt.want)
	}
}

func commitOnce(s *scene) {
	_, wakes := s.linked(s.send(1))
	c := s.claimMessage(one(s, wakes))
	other := c
	other.Epoch++
	s.conflict(s.db.CommitMessage(s.Context(), other, commitOptions))
	other = c
	other.Attempt++
	s.conflict(s.db.CommitMessage(s.Context(), other, commitOptions))
	s.commit(c)
	s.conflict(s.db.CommitMessage(s.Context(), c, commitOptions))
	s.conflict(s.db.ReleaseMessage(s.Context(), c, s.clock.Now())) // it may have been sent
	s.conflict(s.db.HoldMessage(s.Context(), c, ""))
}

func messageTemporary(s *scene) {
	ctx := s.Context()
	id, wakes := s.linked(s.send(1, Routes("email>sms")))
	w := one(s, wakes)
	c := s.committed(w)
	none(s, s.fail(c, temporary))
	s.stands(id, "in_flight unpaid; open; email owed")
	_, _, err := s.db.ClaimMessage(ctx, c.Message.ID, w.Epoch, byWorker)
	s.conflict(err)
	s.clock.Advance(time.Minute)
	second := s.claimMessage(w) // the queue's own retry
	if second.Attempt == c.Attempt || second.Message.Attempts != 1 {
		s.Errorf("got attempt %s after %s with %d tries", second.Attempt, c.Attempt, second.Message.Attempts)
	}
	_, err = s.db.FailMessage(ctx, second, temporary, s.clock.Now(), false) // before the commit, and no fault of the row
	s.ok(err)
	third := s.claimMessage(w)
	if third.Message.Attempts != 1 {
		s.Errorf("got %d tries, want 1", third.Message.Attempts)
	}
	s.commit(third)
	s.ok(s.db.AcceptMessage(ctx, third, "", 0)) // some providers give no reference
	s.stands(id, "sent unpaid; open; email accepted")
}

func messagePermanent(s *scene) {
	id, wakes := s.linked(s.send(1, Routes("email+sms")))
	none(s, s.fail(s.claimMessage(wakes[0]), permanent))
	s.stands(id, "in_flight unpaid; open; email failed, sms owed")
	none(s, s.fail(s.committed(wakes[1]), permanent))
	s.stands(id, "failed unpaid; open; email failed, sms failed")
	if l := s.line(id); l.Request.Cause != paylink.CauseBadAddress || l.Code != "21211" || l.Messages[0].Cause != paylink.CauseBadAddress {
		s.Errorf("got cause %q, code %q", l.Request.Cause, l.Code)
	}
	causes, err := s.db.Causes(s.Context(), id.Batch())
	s.ok(err)
	if causes[paylink.CauseBadAddress] != 1 {
		s.Errorf("got causes %v", causes)
	}
}

func messageReleased(s *scene) {
	ctx := s.Context()
	id, wakes := s.linked(s.send(1))
	w := one(s, wakes)
	c := s.claimMessage(w)
	s.ok(s.db.ReleaseMessage(ctx, c, s.clock.Now().Add(time.Minute)))
	s.stands(id, "in_flight unpaid; open; email owed")
	_, _, err := s.db.ClaimMessage(ctx, c.Message.ID, w.Epoch, byWorker)
	s.conflict(err)
	none(s, s.sweep())
	s.clock.Advance(time.Minute)
	s.accept(one(s, s.sweep()))
}

func messageHeld(s *scene) {
	ctx := s.Context()
	id, wakes := s.linked(s.send(1))
	c := s.claimMessage(one(s, wakes))
	s.ok(s.db.HoldMessage(ctx, c, "the bytes differ"))
	s.stands(id, "unknown unpaid; open; email held")
	s.clock.Advance(life)
	none(s, s.sweep())
	again, err := s.db.Resend(ctx, id, paylink.Email, "clerk", "asked on the phone")
	s.ok(err)
	s.stands(id, "in_flight unpaid; open; email failed, email#2 owed")
	s.accept(one(s, again))
}

func messageLeasePrepared(s *scene) {
	ctx := s.Context()
	id, wakes := s.linked(s.send(1))
	w := one(s, wakes)
	c := s.claimMessage(w)
	none(s, s.sweep())
	s.clock.Advance(lease)
	swept := one(s, s.sweep())
	s.stands(id, "in_flight unpaid; open; email owed")
	s.conflict(s.db.CommitMessage(ctx, c, commitOptions))
	s.conflict(s.db.ReleaseMessage(ctx, c, s.clock.Now()))
	_, _, err := s.db.ClaimMessage(ctx, c.Message.ID, w.Epoch, byWorker)
	s.conflict(err)
	s.accept(swept)
	s.conflict(s.db.AcceptMessage(ctx, c, "late", 1))
}

func messageLeaseCommitted(s *scene) {
	ctx := s.Context()
	b := s.send(3)
	var claims []paylink.MessageClaim
	for range 3 {
		_, wakes := s.linked(b)
		claims = append(claims, s.committed(one(s, wakes)))
	}
	s.clock.Advance(lease)
	none(s, s.sweep())
	for _, c := range claims {
		s.stands(c.Request.ID, "unknown unpaid; open; email unknown")
	}
	// The senders were slow, not dead: what they know settles it.
	s.ok(s.db.AcceptMessage(ctx, claims[0], "late", 1))
	s.stands(claims[0].Request.ID, "sent unpaid; open; email accepted")
	none(s, s.fail(claims[1], permanent))
	s.stands(claims[1].Request.ID, "failed unpaid; open; email failed")
	none(s, s.fail(claims[2], temporary))
	s.stands(claims[2].Request.ID, "in_flight unpaid; open; email owed")
	s.clock.Advance(time.Minute + grace)
	s.accept(one(s, s.sweep()))
}

func messageLostClaimed(s *scene) {
	id, wakes := s.linked(s.send(1))
	c := s.claimMessage(one(s, wakes))
	s.conflict(s.db.LoseMessage(s.Context(), c, unknown, time.Minute)) // it never passed the point of no return
	s.conflict(s.db.AcceptMessage(s.Context(), c, "ref", 1))
	s.stands(id, "in_flight unpaid; open; email claimed")
	s.commit(c)
}
