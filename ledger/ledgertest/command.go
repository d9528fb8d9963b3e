package ledgertest

import (
	"time"

	"dunlin/paylink"
)

var commandTests = []test{
	{"retry by cause", retryByCause},
	{"retry without an address", retryUnreachable},
	{"resend", resend},
	{"resend what was refused a session", resendRefused},
	{"resend is refused", resendRefusals},
}

func retryByCause(s *scene) {
	ctx := s.Context()
	b := s.send(4)
	wakes := s.feed(b, 4)
	bad := one(s, s.link(wakes[0]))
	none(s, s.fail(s.committed(bad), permanent))
	refused := s.claim(wakes[1])
	s.ok(s.db.FailSession(ctx, refused, refusal, time.Time{}, false))
	s.accept(one(s, s.link(wakes[2])))
	_, err := s.db.CancelRequest(ctx, paylink.RequestID(wakes[3].ID), "clerk", "")
	s.ok(err)
	none(s, s.advance())
	s.batchIs(b, paylink.BatchDone)

	for _, tt := range []struct {
		cause paylink.Cause
		n     int
		state paylink.BatchState
		want  paylink.Counts
	}{
		{paylink.CauseMailboxFull, 0, paylink.BatchDone, paylink.Counts{Failed: 2, Sent: 1, Canceled: 1}},
		{paylink.CauseBadAddress, 1, paylink.BatchRunning, paylink.Counts{Failed: 1, InFlight: 1, Sent: 1, Canceled: 1}},
		{"", 1, paylink.BatchRunning, paylink.Counts{InFlight: 2, Sent: 1, Canceled: 1}},
		{"", 0, paylink.BatchRunning, paylink.Counts{InFlight: 2, Sent: 1, Canceled: 1}},
	} {
		n, err := s.db.Retry(ctx, b, tt.cause, "clerk", "")
		s.ok(err)
		if got := s.counts(b); n != tt.n || got != tt.want {
			s.Errorf("retry of %q: got %d, counts %+v; want %d, %+v", tt.cause, n, got, tt.n, tt.want)
		}
		none(s, s.advance())
		s.batchIs(b, tt.state)
	}
	due := s.sweep() // a retry waits for nothing but room
	if len(due) != 2 {
		s.Fatalf("got %d wakes, want the two that are tried again", len(due))
	}
	for _, w := range due {
		if w.Task == paylink.TaskCreate {
			w = one(s, s.link(w))
		}
		s.accept(w)
	}
	s.stands(paylink.RequestID(wakes[0].ID), "sent unpaid; open; email failed, email#2 accepted")
	s.stands(paylink.RequestID(wakes[1].ID), "sent unpaid; open; email accepted")
	none(s, s.advance())
	s.batchIs(b, paylink.BatchDone)
}

func retryUnreachable(s *scene) {
	id, _ := s.linked(s.send(1, Each(func(r *paylink.Row) { r.Email = "" })))
	n, err := s.db.Retry(s.Context(), id.Batch(), "", "clerk", "")
	s.ok(err)
	if n != 0 {
		s.Errorf("retried %d rows that nobody can reach", n)
	}
	s.stands(id, "failed unpaid; open; email failed")
}

func resend(s *scene) {
	ctx := s.Context()
	id, wakes := s.linked(s.send(1, Routes("email+whatsapp>sms")))
	s.accept(wakes[0])
	s.accept(wakes[1])
	none(s, s.advance())
	s.batchIs(id.Batch(), paylink.BatchDone)
	sms, err := s.db.Resend(ctx, id, paylink.SMS, "clerk", "asked")
	s.ok(err)
	s.batchIs(id.Batch(), paylink.BatchRunning)
	none(s, s.advance())
	s.batchIs(id.Batch(), paylink.BatchRunning)
	s.accept(one(s, sms))
	both, err := s.db.Resend(ctx, id, "", "clerk", "asked")
	s.ok(err)
	s.stands(id, "in_flight unpaid; open; email accepted, whatsapp accepted, sms accepted, email#2 owed, whatsapp#2 owed")
	if len(both) != 2 {
		s.Fatalf("got %d wakes, want the first of each route", len(both))
	}
	for _, w := range both {
		s.accept(w)
	}
	s.stands(id, "sent unpaid; open; email accepted, whatsapp accepted, sms accepted, email#2 accepted, whatsapp#2 accepted")
}

func resendRefused(s *scene) {
	ctx := s.Context()
	c := s.claim(one(s, s.feed(s.send(1), 1)))
	s.ok(s.db.FailSession(ctx, c, refusal, time.Time{}, false))
	wakes, err := s.db.Resend(ctx, c.Request.ID, "", "clerk", "asked")
	s.ok(err)
	s.stands(c.Request.ID, "in_flight unpaid; failed; -")
	s.accept(one(s, s.link(one(s, wakes))))
	s.stands(c.Request.ID, "sent unpaid; open; email accepted")
}

func resendRefusals(s *scene) {
	ctx := s.Context()
	b := s.send(4, Each(func(r *paylink.Row) { r.Phone = "" }))
	try := func(id paylink.RequestID, ch paylink.Channel, want error) {
		s.Helper()
		before := describe(s.line(id))
		_, err := s.db.Resend(ctx, id, ch, "clerk", "asked")
		s.refused(err, want)
		s.stands(id, before)
	}
	try(paylink.NewRequestID(b, 1), "", paylink.ErrConflict) // not fed
	w := one(s, s.feed(b, 1))
	try(paylink.RequestID(w.ID), "", paylink.ErrConflict) // no session yet
	id := paylink.RequestID(w.ID)
	m := one(s, s.link(w))
	try(id, paylink.Email, paylink.ErrConflict) // it is owed already
	s.claimMessage(m)
	try(id, paylink.Email, paylink.ErrConflict)
	try(id, paylink.SMS, paylink.ErrInvalid) // no number

	id, wakes := s.linked(b)
	c := s.accept(one(s, wakes))
	s.adopt(c.SessionID, paylink.SessionPaid)
	try(id, "", paylink.ErrConflict)

	id, wakes = s.linked(b)
	s.accept(one(s, wakes))
	_, err := s.db.CancelRequest(ctx, id, "clerk", "")
	s.ok(err)
	try(id, "", paylink.ErrConflict)

	s.ok(s.db.CancelBatch(ctx, b, "clerk", ""))
	try(id, "", paylink.ErrConflict)
}
