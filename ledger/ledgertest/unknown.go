package ledgertest

import (
	"time"

	"dunlin/paylink"
)

var unknownTests = []test{
	{"found", unknownFound},
	{"looked for again", unknownOpen},
	{"held", unknownHeld},
	{"sent once more", resendOnce},
	{"sent once more with other bytes", resendFrozen},
	{"reasons not to send once more", resendNot},
	{"nobody sends meanwhile", unknownBlocks},
	{"the looker dies", inquiryDies},
}

func unknownFound(s *scene) {
	id, wakes := s.linked(s.send(1))
	began := s.clock.Now()
	lost := s.lost(one(s, wakes))
	none(s, s.sweep())
	s.clock.Advance(time.Minute)
	w := one(s, s.sweep())
	c := s.claimInquiry(w)
	if c.Attempt != lost.Attempt || c.To != "payer1@example.com" || !c.Began.Equal(began) || c.Checks != 0 || c.Link != lost.Link ||
		c.ShortRef != id.String() || c.LinkToken != paylink.Token(id, lost.Request.Secret) {
		s.Errorf("got inquiry %+v", c)
	}
	_, err := s.db.ClaimInquiry(s.Context(), c.Message.ID, w.Epoch, byWorker)
	s.conflict(err)
	s.ok(s.db.InquiryFound(s.Context(), c, "found"))
	s.stands(id, "sent unpaid; open; email accepted")
	s.conflict(s.db.InquiryFound(s.Context(), c, "found"))
	s.conflict(s.db.InquiryHold(s.Context(), c))
	s.conflict(s.db.InquiryOpen(s.Context(), c, time.Minute, true))
	_, err = s.db.InquiryResend(s.Context(), c)
	s.conflict(err)
}

func unknownOpen(s *scene) {
	_, wakes := s.linked(s.send(1))
	s.lost(one(s, wakes))
	for _, tt := range []struct {
		counted bool
		checks  int
	}{{true, 0}, {false, 1}, {true, 1}, {true, 2}} {
		c := s.inquiry()
		if c.Checks != tt.checks {
			s.Errorf("got %d look-ups, want %d", c.Checks, tt.checks)
		}
		s.ok(s.db.InquiryOpen(s.Context(), c, time.Minute, tt.counted))
		none(s, s.sweep())
	}
}

func unknownHeld(s *scene) {
	id, wakes := s.linked(s.send(1, Routes("sms")))
	lost := s.lost(one(s, wakes))
	s.ok(s.db.InquiryHold(s.Context(), s.inquiry()))
	s.stands(id, "unknown unpaid; open; sms held")
	s.clock.Advance(life)
	none(s, s.sweep())
	st, err := s.db.Status(s.Context(), id.Batch())
	s.ok(err)
	if st.ChecksDue != 0 {
		s.Errorf("got %d checks due of a held message", st.ChecksDue)
	}
	s.ok(s.db.AcceptMessage(s.Context(), lost, "late", 1)) // late truth
	s.stands(id, "sent unpaid; open; sms accepted")
}

func resendOnce(s *scene) {
	ctx := s.Context()
	id, wakes := s.linked(s.send(1))
	first := s.lost(one(s, wakes))
	w, err := s.db.InquiryResend(ctx, s.inquiry())
	s.ok(err)
	s.stands(id, "in_flight unpaid; open; email owed")
	c := s.claimMessage(w)
	if c.Frozen != commitOptions.BytesHash || !c.Date.Equal(first.Date) || !c.Message.PossibleDuplicate || c.Token == first.Token {
		s.Errorf("got claim %+v, want it frozen as %+v", c, first)
	}
	s.commit(c)
	s.ok(s.db.LoseMessage(ctx, c, unknown, time.Minute))
	inquiry := s.inquiry()
	_, err = s.db.InquiryResend(ctx, inquiry) // never a third
	s.conflict(err)
	s.ok(s.db.InquiryHold(ctx, inquiry))
	s.conflict(s.db.AcceptMessage(ctx, first, "late", 1)) // the first attempt is settled
	s.ok(s.db.AcceptMessage(ctx, c, "late", 1))
	s.stands(id, "sent unpaid; open; email accepted")
	if m := one(s, s.line(id).Messages); !m.PossibleDuplicate {
		s.Error("the message is not marked as a possible duplicate")
	}
}

func resendFrozen(s *scene) {
	ctx := s.Context()
	id, wakes := s.linked(s.send(1))
	s.lost(one(s, wakes))
	w, err := s.db.InquiryResend(ctx, s.inquiry())
	s.ok(err)
	c := s.claimMessage(w)
	other := commitOptions
	other.BytesHash = "b2"
	s.refused(s.db.CommitMessage(ctx, c, other), paylink.ErrFrozen)
	s.ok(s.db.HoldMessage(ctx, c, "the bytes differ"))
	s.stands(id, "unknown unpaid; open; email held")
}

func resendNot(s *scene) {
	for _, tt := range []struct {
		name   string
		happen func(paylink.MessageClaim)
		want   string
	}{
		{"paid", func(c paylink.MessageClaim) { s.adopt(c.SessionID, paylink.SessionPaid) }, "unknown paid; paid; email held"},
		{"canceled", func(c paylink.MessageClaim) {
			_, err := s.db.CancelRequest(s.Context(), c.Request.ID, "clerk", "")
			s.ok(err)
		}, "unknown canceled; open; email held"},
	} {
		s.Log(tt.name)
		id, wakes := s.linked(s.send(1))
		lost := s.lost(one(s, wakes))
		c := s.inquiry()
		tt.happen(lost)
		_, err := s.db.InquiryResend(s.Context(), c)
		s.conflict(err)
		s.ok(s.db.InquiryHold(s.Context(), c))
		s.stands(id, tt.want)
	}
	// Suppressed, or standing still: the claim of the resend finds out.
	id, wakes := s.linked(s.send(1, Each(func(r *paylink.Row) { r.Email = "stop@example.com" })))
	s.lost(one(s, wakes))
	c := s.inquiry()
	_, wakes = s.linked(s.send(1, Each(func(r *paylink.Row) { r.Email = "stop@example.com" })))
	none(s, s.fail(s.committed(one(s, wakes)), optedOut))
	w, err := s.db.InquiryResend(s.Context(), c)
	s.ok(err)
	_, _, err = s.db.ClaimMessage(s.Context(), paylink.MessageID(w.ID), w.Epoch, byWorker)
	s.conflict(err)
	s.stands(id, "suppressed unpaid; open; email suppressed")
}

func unknownBlocks(s *scene) {
	ctx := s.Context()
	id, wakes := s.linked(s.send(1))
	w := one(s, wakes)
	for _, step := range []func(){func() {}, func() { s.lost(w) }} {
		step()
		_, err := s.db.Resend(ctx, id, "", "clerk", "asked")
		s.conflict(err)
		_, err = s.db.Resend(ctx, id, paylink.Email, "clerk", "asked")
		s.conflict(err)
	}
	for _, epoch := range []int64{w.Epoch, w.Epoch + 1} {
		_, _, err := s.db.ClaimMessage(ctx, paylink.MessageID(w.ID), epoch, byWorker)
		s.conflict(err)
	}
	n, err := s.db.Retry(ctx, id.Batch(), "", "clerk", "")
	s.ok(err)
	if n != 0 {
		s.Errorf("retried %d unknown rows", n)
	}
	s.stands(id, "unknown unpaid; open; email unknown")
}

func inquiryDies(s *scene) {
	id, wakes := s.linked(s.send(1))
	s.lost(one(s, wakes))
	first := s.inquiry()
	none(s, s.sweep())
	s.clock.Advance(lease)
	c := s.claimInquiry(one(s, s.sweep()))
	if c.Attempt != first.Attempt || c.Checks != 0 {
		s.Errorf("got inquiry %+v", c)
	}
	s.ok(s.db.InquiryFound(s.Context(), c, "found"))
	s.stands(id, "sent unpaid; open; email accepted")
}
