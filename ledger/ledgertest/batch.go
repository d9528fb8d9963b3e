package ledgertest

import (
	"strings"

	"github.com/google/go-cmp/cmp"

	"dunlin/paylink"
)

var batchTests = []test{
	{"life", batchLife},
	{"nobody's batch", batchUnknown},
	{"canary", canary},
	{"brake", brake},
	{"done", batchDone},
	{"without rows", batchEmpty},
	{"feeding", feeding},
	{"feeding a batch that stands", feedingStands},
	{"timeline", timeline},
}

func batchLife(s *scene) {
	ctx := s.Context()
	b := s.send(2, Draft)
	s.conflict(s.db.Pause(ctx, b, "clerk", ""))
	s.conflict(s.db.Resume(ctx, b, "clerk", ""))
	s.ok(s.db.Halt(ctx, b, "bad")) // the brake of what does not run
	s.batchIs(b, paylink.BatchDraft)
	none(s, s.feed(b, 5))
	s.ok(s.db.Confirm(ctx, b, "boss", ""))
	if got := s.batch(b); got.State != paylink.BatchRunning || !got.ConfirmedAt.Equal(s.clock.Now()) {
		s.Errorf("got %+v after the confirmation", got)
	}
	s.conflict(s.db.Confirm(ctx, b, "boss", ""))
	s.conflict(s.db.Resume(ctx, b, "clerk", ""))
	s.ok(s.db.Pause(ctx, b, "clerk", "wait"))
	s.conflict(s.db.Pause(ctx, b, "clerk", "wait"))
	s.ok(s.db.Halt(ctx, b, "bad"))
	if got := s.batch(b); got.State != paylink.BatchPaused || got.Why != "wait" {
		s.Errorf("got %s because of %q, want it paused", got.State, got.Why)
	}
	s.ok(s.db.Resume(ctx, b, "clerk", "go"))
	s.ok(s.db.Halt(ctx, b, "bad"))
	if got := s.batch(b); got.State != paylink.BatchHalted || got.Why != "bad" {
		s.Errorf("got %s because of %q, want it halted", got.State, got.Why)
	}
	s.ok(s.db.Pause(ctx, b, "clerk", "later"))
	s.ok(s.db.Resume(ctx, b, "clerk", "go"))
	s.batchIs(b, paylink.BatchRunning)
	s.ok(s.db.CancelBatch(ctx, b, "clerk", "mistake"))
	s.conflict(s.db.Resume(ctx, b, "clerk", ""))
	_, err := s.db.Retry(ctx, b, "", "clerk", "")
	s.conflict(err)
}

func batchUnknown(s *scene) {
	ctx := s.Context()
	s.refused(s.db.Pause(ctx, 9, "clerk", ""), paylink.ErrNotFound)
	s.refused(s.db.Halt(ctx, 9, ""), paylink.ErrNotFound)
	s.refused(s.db.Resume(ctx, 9, "clerk", ""), paylink.ErrNotFound)
	s.refused(s.db.CancelBatch(ctx, 9, "clerk", ""), paylink.ErrNotFound)
	_, err := s.db.Feed(ctx, 9, 1)
	s.refused(err, paylink.ErrNotFound)
	_, err = s.db.Retry(ctx, 9, "", "clerk", "")
	s.refused(err, paylink.ErrNotFound)
	_, err = s.db.Status(ctx, 9)
	s.refused(err, paylink.ErrNotFound)
	_, err = s.db.Verify(ctx, 9)
	s.refused(err, paylink.ErrNotFound)
	nobody := paylink.NewRequestID(9, 1)
	_, err = s.db.Request(ctx, nobody)
	s.refused(err, paylink.ErrNotFound)
	_, err = s.db.CancelRequest(ctx, nobody, "clerk", "")
	s.refused(err, paylink.ErrNotFound)
	_, err = s.db.Resend(ctx, nobody, "", "clerk", "")
	s.refused(err, paylink.ErrNotFound)
	_, err = s.db.ClaimSession(ctx, nobody, 1, byWorker)
	s.refused(err, paylink.ErrNotFound)
	_, _, err = s.db.ClaimMessage(ctx, 9, 1, byWorker)
	s.refused(err, paylink.ErrNotFound)
	_, err = s.db.ClaimSettle(ctx, 9, 1, byWorker)
	s.refused(err, paylink.ErrNotFound)
	_, err = s.db.ClaimInquiry(ctx, 9, 1, byWorker)
	s.refused(err, paylink.ErrNotFound)
	s.refused(s.db.AdoptState(ctx, 9, paylink.CheckoutSession{State: paylink.SessionPaid}), paylink.ErrNotFound)
}

func canary(s *scene) {
	b := s.send(10, Canary(3))
	wakes := s.feed(b, 2)
	wakes = append(wakes, s.feed(b, 10)...)
	if len(wakes) != 3 {
		s.Fatalf("got %d rows fed, want 3", len(wakes))
	}
	none(s, s.feed(b, 10))
	for i, w := range wakes {
		none(s, s.advance())
		m := one(s, s.link(w))
		if i == 0 {
			none(s, s.fail(s.committed(m), permanent))
		} else {
			s.accept(m)
		}
	}
	held := one(s, s.advance())
	if held.ID != b || held.State != paylink.BatchHeld || !strings.Contains(held.Why, "the first 3 rows") {
		s.Errorf("got %+v, want the batch held after 3 rows", held)
	}
	none(s, s.feed(b, 10))
	none(s, s.advance())
	s.ok(s.db.Resume(s.Context(), b, "clerk", "looks good"))
	if got := len(s.feed(b, 10)); got != 7 {
		s.Errorf("got %d rows fed after the canary, want 7", got)
	}
}

func brake(s *scene) {
	b := s.send(20, Brake(10, 2))
	fail := func(n int) {
		s.Helper()
		for range n {
			_, wakes := s.linked(b)
			none(s, s.fail(s.committed(one(s, wakes)), permanent))
		}
	}
	fail(2)
	none(s, s.advance())
	for range 2 { // released, it counts anew; each time
		fail(1)
		if got := one(s, s.advance()); got.State != paylink.BatchHalted || !strings.HasPrefix(got.Why, "3 of 3 rows failed") {
			s.Fatalf("got %s because %q, want it halted by 3 failures", got.State, got.Why)
		}
		none(s, s.feed(b, 1))
		s.ok(s.db.Resume(s.Context(), b, "clerk", "mended"))
		fail(2)
		none(s, s.advance())
	}
	// Few failures among many rows are no reason to stop.
	lenient := s.send(20, Brake(50, 1))
	for i := range 20 {
		_, wakes := s.linked(lenient)
		if i%2 == 1 {
			none(s, s.fail(s.committed(one(s, wakes)), permanent))
		} else {
			s.accept(one(s, wakes))
		}
		none(s, s.advance())
	}
	s.batchIs(lenient, paylink.BatchDone)
}

func batchDone(s *scene) {
	b := s.send(3, Rejected(2))
	_, first := s.linked(b)
	_, second := s.linked(b)
	s.accept(one(s, first))
	none(s, s.advance())
	s.batchIs(b, paylink.BatchRunning)
	s.lost(one(s, second)) // what is unknown does not keep a batch from done
	none(s, s.advance())
	s.batchIs(b, paylink.BatchDone)
	st, err := s.db.Status(s.Context(), b)
	s.ok(err)
	if !st.Done || st.Rows != 3 || st.ChecksDue != 1 || st.FinishedAt == nil || !st.FinishedAt.Equal(s.clock.Now()) ||
		st.Counts != (paylink.Counts{Rejected: 1, Sent: 1, Unknown: 1}) || st.Payments[paylink.PaymentUnpaid] != 2 {
		s.Errorf("got status %+v", st)
	}
	s.ok(s.db.InquiryFound(s.Context(), s.inquiry(), "found"))
	if got := s.counts(b); got.Sent != 2 {
		s.Errorf("got counts %+v, want two sent", got)
	}
}

func batchEmpty(s *scene) {
	b := s.send(0)
	none(s, s.advance())
	s.batchIs(b, paylink.BatchDone)
}

func feeding(s *scene) {
	b := s.send(10, Rejected(5))
	other := s.send(2, Draft)
	feedable, err := s.db.Feedable(s.Context())
	s.ok(err)
	if want := []paylink.FeedState{{Batch: b, Pending: 9, Priority: 1}}; !cmp.Equal(feedable, want) {
		s.Errorf("got %+v to feed, want %+v", feedable, want)
	}
	none(s, s.feed(other, 5))
	none(s, s.feed(b, 0))
	_, err = s.db.CancelRequest(s.Context(), paylink.NewRequestID(b, 2), "clerk", "")
	s.ok(err)
	var rows []int
	for range 4 {
		wakes := s.feed(b, 3)
		for _, w := range wakes {
			rows = append(rows, paylink.RequestID(w.ID).Row())
			if w.Epoch != 1 || w.Task != paylink.TaskCreate {
				s.Errorf("got wake %+v, want a create of epoch 1", w)
			}
		}
	}
	if want := []int{1, 3, 4, 6, 7, 8, 9, 10}; !cmp.Equal(rows, want) {
		s.Errorf("got rows %v fed, want %v", rows, want)
	}
	if feedable, err = s.db.Feedable(s.Context()); err != nil || len(feedable) != 0 {
		s.Errorf("got %+v to feed, error %v; want nothing", feedable, err)
	}
	if got, want := s.counts(b), (paylink.Counts{Rejected: 1, InFlight: 8, Canceled: 1}); got != want {
		s.Errorf("got counts %+v, want %+v", got, want)
	}
}

func feedingStands(s *scene) {
	b := s.send(3)
	s.feed(b, 1)
	s.ok(s.db.Pause(s.Context(), b, "clerk", ""))
	none(s, s.feed(b, 5))
	s.ok(s.db.Resume(s.Context(), b, "clerk", ""))
	if got := len(s.feed(b, 5)); got != 2 {
		s.Errorf("got %d rows fed, want 2", got)
	}
}

func timeline(s *scene) {
	b := s.send(5)
	early := paylink.NewRequestID(b, 4)
	_, err := s.db.CancelRequest(s.Context(), early, "boss", "a friend")
	s.ok(err)
	id, wakes := s.linked(b)
	s.accept(one(s, wakes))
	s.ok(s.db.CancelBatch(s.Context(), b, "clerk", "mistake"))
	told := func(id paylink.RequestID) (out []string) {
		events, err := s.db.Timeline(s.Context(), id)
		s.ok(err)
		for _, e := range events {
			out = append(out, strings.TrimSpace(e.Entity+" "+string(e.From)+">"+string(e.To)+" by "+e.Actor+" "+e.Why))
		}
		return out
	}
	want := []string{"request >pending by clerk", "request pending>in_flight by dunlin fed", "session >intent by dunlin",
		"session intent>open by dunlin", "message >owed by dunlin email", "message owed>claimed by dunlin",
		"message claimed>committing by dunlin", "message committing>accepted by dunlin", "request in_flight>sent by dunlin",
		"payment unpaid>canceled by clerk mistake"}
	if diff := cmp.Diff(want, told(id)); diff != "" {
		s.Errorf("a sent request (-want +got):\n%s", diff)
	}
	// The cancel of the whole batch covers row 4, too, but found it canceled.
	want = []string{"request >pending by clerk", "payment unpaid>canceled by boss a friend", "request pending>canceled by boss a friend"}
	if diff := cmp.Diff(want, told(early)); diff != "" {
		s.Errorf("a request canceled early (-want +got):\n%s", diff)
	}
	want = []string{"request >pending by clerk", "request pending>canceled by clerk mistake", "payment unpaid>canceled by clerk mistake"}
	if diff := cmp.Diff(want, told(paylink.NewRequestID(b, 5))); diff != "" {
		s.Errorf("a pending request (-want +got):\n%s", diff)
	}
}
