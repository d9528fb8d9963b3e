package ledgertest

import (
	"context"
	"errors"
	"sync/atomic"

	"dunlin/paylink"
)

var cancelTests = []test{
	{"a request, wherever it stands", cancelRequest},
	{"a whole batch", cancelBatch},
	{"a killed cancel goes on", cancelResumes},
	{"a draft", cancelDraft},
}

func cancelRequest(s *scene) {
	for _, tt := range []struct {
		name    string
		bring   func(paylink.BatchID) paylink.RequestID
		want    string
		endings int
	}{
		{"pending", func(b paylink.BatchID) paylink.RequestID { return paylink.NewRequestID(b, 1) }, "canceled canceled; -; -", 0},
		{"fed", func(b paylink.BatchID) paylink.RequestID { return paylink.RequestID(s.feed(b, 1)[0].ID) }, "canceled canceled; -; -", 0},
		{"being made", func(b paylink.BatchID) paylink.RequestID { return s.claim(s.feed(b, 1)[0]).Request.ID }, "canceled canceled; intent; -", 0},
		{"lost", func(b paylink.BatchID) paylink.RequestID { c, _ := s.loses(b); return c.Request.ID }, "unknown canceled; intent; -", 0},
		{"owed", func(b paylink.BatchID) paylink.RequestID { id, _ := s.linked(b); return id }, "canceled canceled; open; email canceled, sms canceled", 1},
		{"claimed", func(b paylink.BatchID) paylink.RequestID {
			id, wakes := s.linked(b)
			s.claimMessage(wakes[0])
			return id
		}, "in_flight canceled; open; email claimed, sms canceled", 1},
		{"sent", func(b paylink.BatchID) paylink.RequestID {
			id, wakes := s.linked(b)
			s.accept(wakes[0])
			return id
		}, "sent canceled; open; email accepted, sms canceled", 1},
		{"unknown", func(b paylink.BatchID) paylink.RequestID {
			id, wakes := s.linked(b)
			s.lost(wakes[0])
			return id
		}, "unknown canceled; open; email unknown, sms canceled", 1},
		{"failed", func(b paylink.BatchID) paylink.RequestID {
			id, wakes := s.linked(b)
			for _, w := range wakes {
				s.fail(s.committed(w), permanent)
			}
			return id
		}, "failed canceled; open; email failed, sms failed", 1},
	} {
		s.Log(tt.name)
		id := tt.bring(s.send(1, Routes("email+sms")))
		wakes, err := s.db.CancelRequest(s.Context(), id, "clerk", "mistake")
		s.ok(err)
		s.stands(id, tt.want)
		if len(wakes) != tt.endings {
			s.Errorf("%s: got %d wakes, want %d", tt.name, len(wakes), tt.endings)
		}
		for _, w := range wakes {
			none(s, s.settle(s.claimSettle(w, paylink.SettleEnding), true, false))
			if got := s.line(id).Session.State; got != paylink.SessionCanceled {
				s.Errorf("%s: the session is %s", tt.name, got)
			}
		}
		_, err = s.db.CancelRequest(s.Context(), id, "clerk", "again")
		s.conflict(err)
	}
}

func cancelBatch(s *scene) {
	ctx := s.Context()
	b := s.send(8, Rejected(2))
	id, wakes := s.linked(b)
	s.accept(one(s, wakes))
	_, wakes = s.linked(b)
	claimed := s.claimMessage(one(s, wakes))
	_, wakes = s.linked(b)
	asleep := s.claimMessage(one(s, wakes))
	s.linked(b)
	paid, wakes := s.linked(b)
	s.adopt(s.accept(one(s, wakes)).SessionID, paylink.SessionPaid)
	s.ok(s.db.CancelBatch(ctx, b, "clerk", "mistake"))
	s.batchIs(b, paylink.BatchCanceled)
	if got, want := s.counts(b), (paylink.Counts{Rejected: 1, Sent: 2, InFlight: 2, Canceled: 3}); got != want {
		s.Errorf("got counts %+v, want %+v", got, want)
	}
	s.conflict(s.db.CommitMessage(ctx, claimed, commitOptions))
	s.ok(s.db.ReleaseMessage(ctx, claimed, s.clock.Now()))
	s.clock.Advance(lease)
	endings := s.sweep() // takes up the claim of the one that sleeps, too
	s.conflict(s.db.CommitMessage(ctx, asleep, commitOptions))
	if got, want := s.counts(b), (paylink.Counts{Rejected: 1, Sent: 2, Canceled: 5}); got != want {
		s.Errorf("got counts %+v, want %+v", got, want)
	}
	for _, w := range of(endings, paylink.TaskSettle) {
		none(s, s.settle(s.claimSettle(w, paylink.SettleEnding), true, false))
	}
	if got := len(of(endings, paylink.TaskSettle)); got != 4 {
		s.Errorf("got %d sessions to end, want 4", got)
	}
	s.stands(id, "sent canceled; canceled; email accepted")
	s.stands(paid, "sent paid; paid; email accepted")
	s.ok(s.db.CancelBatch(ctx, b, "clerk", "again"))
	s.clock.Advance(life)
	none(s, s.sweep())
	st, err := s.db.Status(ctx, b)
	s.ok(err)
	if !st.Done || st.Payments[paylink.PaymentCanceled] != 6 || st.Payments[paylink.PaymentPaid] != 1 {
		s.Errorf("got status %+v", st)
	}
}

// dying is a context that ends after its error was asked for so many times: whoever works with it is killed midway.
type dying struct {
	context.Context
	left *atomic.Int64
}

func (d dying) Err() error {
	if d.left.Add(-1) < 0 {
		return context.Canceled
	}
	return d.Context.Err()
}

func cancelResumes(s *scene) {
	b := s.send(700)
	for _, w := range s.feed(b, 300) {
		if _, err := s.db.ClaimSession(s.Context(), paylink.RequestID(w.ID), w.Epoch, byWorker); err != nil {
			s.Fatal(err)
		}
	}
	kills := 0
	for lives := int64(1); ; lives++ {
		left := &atomic.Int64{}
		left.Store(lives)
		err := s.db.CancelBatch(dying{s.Context(), left}, b, "clerk", "mistake")
		s.audit()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			s.Fatal(err)
		}
		kills++
	}
	if kills < 3 {
		s.Errorf("the cancel was killed %d times only", kills)
	}
	if got, want := s.counts(b), (paylink.Counts{Canceled: 700}); got != want {
		s.Errorf("got counts %+v, want %+v", got, want)
	}
}

func cancelDraft(s *scene) {
	b := s.send(3, Draft)
	s.ok(s.db.CancelBatch(s.Context(), b, "clerk", "mistake"))
	if got, want := s.counts(b), (paylink.Counts{Canceled: 3}); got != want {
		s.Errorf("got counts %+v, want %+v", got, want)
	}
	f := NewFile(4)
	b = s.begin(f)
	s.chunk(b, f.Rows[:2])
	s.ok(s.db.CancelBatch(s.Context(), b, "clerk", "mistake"))
	_, err := s.db.ImportChunk(s.Context(), b, f.Rows[2:], f.Import)
	s.conflict(err)
	if got, want := s.counts(b), (paylink.Counts{Canceled: 2}); got != want {
		s.Errorf("got counts %+v, want %+v", got, want)
	}
}
