package ledgertest

import (
	"time"

	"dunlin/paylink"
)

var sweepTests = []test{
	{"a small batch does not wait behind a large one", sweepShares},
	{"no room", sweepNoRoom},
	{"a paused batch is parked", sweepParked},
	{"an old task is stale", sweepStale},
	{"not before its time", sweepTimes},
}

// manyLinked feeds and links all rows of a batch without an audit after each.
func (s *scene) manyLinked(b paylink.BatchID, n int) {
	s.Helper()
	for _, w := range s.feed(b, n) {
		c, err := s.db.ClaimSession(s.Context(), paylink.RequestID(w.ID), w.Epoch, byWorker)
		if err != nil {
			s.Fatal(err)
		}
		if _, err := s.db.RecordSession(s.Context(), c, s.made(c)); err != nil {
			s.Fatal(err)
		}
	}
	s.audit()
}

func sweepShares(s *scene) {
	large, small, tiny := s.send(40), s.send(10), s.send(2)
	s.manyLinked(large, 40)
	s.manyLinked(small, 10)
	s.manyLinked(tiny, 2)
	s.clock.Advance(grace)
	got := map[paylink.BatchID]int{}
	for _, w := range s.sweepRoom(12, 0) {
		id := paylink.MessageID(w.ID)
		c, _, err := s.db.ClaimMessage(s.Context(), id, w.Epoch, byWorker)
		s.ok(err)
		got[c.Request.ID.Batch()]++
	}
	if got[large] != 5 || got[small] != 5 || got[tiny] != 2 {
		s.Errorf("got %v woken, want 5 of %s, 5 of %s and 2 of %s", got, large, small, tiny)
	}
	if got := len(s.sweepRoom(100, 0)); got != 40 {
		s.Errorf("got %d woken, want the other 40", got)
	}
}

func sweepNoRoom(s *scene) {
	b := s.send(6, Routes("email+sms"))
	s.manyLinked(b, 2)
	s.feed(b, 3)
	s.clock.Advance(grace)
	none(s, s.sweepRoom(0, 0))
	if got := len(s.sweepRoom(0, 2)); got != 2 {
		s.Errorf("got %d wakes, want two requests", got)
	}
	if got := len(s.sweepRoom(1, 0)); got != 2 {
		s.Errorf("got %d wakes, want one message of each channel", got)
	}
	if got := len(s.sweep()); got != 3 {
		s.Errorf("got %d wakes, want the last request and a message of each channel", got)
	}
	none(s, s.sweep())
}

func sweepParked(s *scene) {
	b, other := s.send(4), s.send(1)
	s.manyLinked(b, 2)
	s.feed(b, 2)
	s.manyLinked(other, 1)
	s.ok(s.db.Pause(s.Context(), b, "clerk", ""))
	s.clock.Advance(grace)
	if w := one(s, s.sweep()); w.Task != paylink.TaskSend {
		s.Errorf("got wake %+v, want the other batch's message", w)
	}
	s.clock.Advance(time.Hour)
	one(s, s.sweep())
	s.ok(s.db.Resume(s.Context(), b, "clerk", ""))
	if got := len(s.sweep()); got != 4 {
		s.Errorf("got %d wakes after the resume, want all 4", got)
	}
}

func sweepStale(s *scene) {
	ctx := s.Context()
	b := s.send(1)
	first := one(s, s.feed(b, 1))
	s.clock.Advance(grace)
	second := one(s, s.sweep())
	if second.ID != first.ID || second.Epoch != first.Epoch+1 {
		s.Fatalf("got wake %+v after %+v, want the next epoch", second, first)
	}
	none(s, s.sweep())
	_, err := s.db.ClaimSession(ctx, paylink.RequestID(first.ID), first.Epoch, byWorker)
	s.conflict(err)
	m := one(s, s.link(second))
	s.clock.Advance(grace)
	again := one(s, s.sweep())
	_, _, err = s.db.ClaimMessage(ctx, paylink.MessageID(m.ID), m.Epoch, byWorker)
	s.conflict(err)
	s.accept(again)
}

func sweepTimes(s *scene) {
	b := s.send(1)
	w := one(s, s.feed(b, 1))
	s.clock.Advance(grace - time.Millisecond)
	none(s, s.sweep())
	m := one(s, s.link(w))
	s.clock.Advance(grace - time.Millisecond)
	none(s, s.sweep())
	s.lost(m)
	s.clock.Advance(time.Minute - time.Millisecond)
	none(s, s.sweep())
	s.clock.Advance(time.Millisecond)
	if w := one(s, s.sweep()); w.Task != paylink.TaskInquire {
		s.Errorf("got wake %+v, want one to inquire", w)
	}
}
