package ledgertest

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"dunlin/paylink"
)

var concurrencyTests = []test{
	{"each row is claimed once", claimedOnce},
	{"a canary is not overrun", canaryRace},
	{"two messages of one request end at once", lastTwo},
	{"feeding and canceling", feedAndCancel},
	{"mixed work with failures", mixedWork},
	{"one gate", gateRace},
}

// together runs fn in n goroutines that start at once.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}

// expected tells an error that callers are told to expect from one that they are not.
func (s *scene) expected(err error) bool {
	if err != nil && !errors.Is(err, paylink.ErrConflict) {
		s.Errorf("got error %v", err)
	}
	return err == nil
}

func claimedOnce(s *scene) {
	ctx := s.Context()
	const rows, workers = 40, 8
	creates := s.feed(s.send(rows), rows)
	sessions := make([]atomic.Int64, rows)
	messages := make([]atomic.Int64, rows)
	sends := make([]paylink.Wake, rows)
	together(workers, func(w int) {
		for i := range rows {
			i = (i + w*rows/workers) % rows
			c, err := s.db.ClaimSession(ctx, paylink.RequestID(creates[i].ID), creates[i].Epoch, byWorker)
			if !s.expected(err) {
				continue
			}
			sessions[i].Add(1)
			if wakes, err := s.db.RecordSession(ctx, c, s.made(c)); s.expected(err) {
				sends[i] = wakes[0]
			}
		}
	})
	together(workers, func(int) {
		for i, w := range sends {
			c, _, err := s.db.ClaimMessage(ctx, paylink.MessageID(w.ID), w.Epoch, byWorker)
			if !s.expected(err) {
				continue
			}
			messages[i].Add(1)
			if s.expected(s.db.CommitMessage(ctx, c, commitOptions)) {
				s.expected(s.db.AcceptMessage(ctx, c, "ref", 1))
			}
		}
	})
	for i := range rows {
		if sessions[i].Load() != 1 || messages[i].Load() != 1 {
			s.Errorf("row %d: %d sessions and %d messages were claimed, want one of each", i+1, sessions[i].Load(), messages[i].Load())
		}
	}
}

func canaryRace(s *scene) {
	b := s.send(40, Canary(5))
	var fed atomic.Int64
	together(8, func(int) {
		for range 3 {
			wakes, err := s.db.Feed(s.Context(), b, 3)
			s.expected(err)
			fed.Add(int64(len(wakes)))
		}
	})
	if fed.Load() != 5 {
		s.Errorf("got %d rows fed, want the canary's 5", fed.Load())
	}
}

// lastTwo ends the two last messages of many requests at once, each pair by two workers: whoever comes second must see
// what the first did, or the request stays in flight for ever.
func lastTwo(s *scene) {
	const rows = 60
	b := s.send(rows, Routes("email+sms"))
	claims := [2][]paylink.MessageClaim{}
	for _, w := range s.feed(b, rows) {
		c, err := s.db.ClaimSession(s.Context(), paylink.RequestID(w.ID), w.Epoch, byWorker)
		s.expected(err)
		wakes, err := s.db.RecordSession(s.Context(), c, s.made(c))
		s.expected(err)
		for i, w := range wakes {
			m, _, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(w.ID), w.Epoch, byWorker)
			s.expected(err)
			s.expected(s.db.CommitMessage(s.Context(), m, commitOptions))
			claims[i] = append(claims[i], m)
		}
	}
	s.audit()
	meet := [4]chan struct{}{make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})}
	together(8, func(i int) {
		for k := i / 2; k < rows; k += 4 {
			if i%2 == 0 {
				meet[i/2] <- struct{}{}
			} else {
				<-meet[i/2]
			}
			s.expected(s.db.AcceptMessage(s.Context(), claims[i%2][k], "ref", 1))
		}
	})
	if got, want := s.counts(b), (paylink.Counts{Sent: rows}); got != want {
		s.Errorf("got counts %+v, want %+v", got, want)
	}
}

func feedAndCancel(s *scene) {
	ctx := s.Context()
	for range 5 {
		b := s.send(300)
		together(4, func(i int) {
			switch i {
			case 0:
				s.expected(s.db.CancelBatch(ctx, b, "clerk", "mistake"))
			case 1:
				for row := range 300 {
					_, err := s.db.CancelRequest(ctx, paylink.NewRequestID(b, 300-row), "clerk", "mistake")
					s.expected(err)
				}
			default:
				for range 10 {
					wakes, err := s.db.Feed(ctx, b, 20)
					s.expected(err)
					for _, w := range wakes {
						c, err := s.db.ClaimSession(ctx, paylink.RequestID(w.ID), w.Epoch, byWorker)
						if s.expected(err) {
							_, err = s.db.RecordSession(ctx, c, s.made(c))
							s.expected(err)
						}
					}
				}
			}
		})
		s.ok(s.db.CancelBatch(ctx, b, "clerk", "the rest"))
		if got, want := s.counts(b), (paylink.Counts{Canceled: 300}); got != want {
			s.Errorf("got counts %+v, want %+v", got, want)
		}
	}
}

func gateRace(s *scene) {
	together(8, func(int) {
		for range 10 {
			_, _, err := s.db.ChangeGate(s.Context(), "sms", func(g paylink.Gate) paylink.Gate { g.Opened++; return g })
			s.expected(err)
		}
	})
	g, _, err := s.db.ChangeGate(s.Context(), "sms", func(g paylink.Gate) paylink.Gate { return g })
	s.ok(err)
	if g.Opened != 80 {
		s.Errorf("got %d changes of 80", g.Opened)
	}
}

// chaos is a worker that fails in every way that there is, and sometimes dies.
type chaos struct {
	*scene
	rand *rand.Rand
}

func (c chaos) one(n int) bool { return c.rand.IntN(n) == 0 }

// do works one wake and returns those that follow.
func (c chaos) do(w paylink.Wake) []paylink.Wake {
	ctx := c.Context()
	switch w.Task {
	case paylink.TaskCreate:
		claim, err := c.db.ClaimSession(ctx, paylink.RequestID(w.ID), w.Epoch, byWorker)
		if !c.expected(err) || c.one(20) {
			return nil
		}
		switch c.rand.IntN(12) {
		case 0:
			c.expected(c.db.FailSession(ctx, claim, temporary, c.db.Now(), true))
		case 1:
			c.expected(c.db.FailSession(ctx, claim, refusal, time.Time{}, false))
		case 2, 3:
			if w, err := c.db.LoseSession(ctx, claim); c.expected(err) {
				return []paylink.Wake{w}
			}
		default:
			wakes, err := c.db.RecordSession(ctx, claim, c.made(claim))
			c.expected(err)
			return wakes
		}
	case paylink.TaskSettle:
		claim, err := c.db.ClaimSettle(ctx, paylink.SessionID(w.ID), w.Epoch, byWorker)
		if !c.expected(err) || c.one(20) {
			return nil
		}
		wakes, err := c.db.Settled(ctx, claim, c.one(2), c.one(2), c.db.Now().Add(time.Minute), life)
		c.expected(err)
		return wakes
	case paylink.TaskSend:
		return c.send(w)
	case paylink.TaskInquire:
		claim, err := c.db.ClaimInquiry(ctx, paylink.MessageID(w.ID), w.Epoch, byWorker)
		if !c.expected(err) || c.one(20) {
			return nil
		}
		switch c.rand.IntN(4) {
		case 0:
			c.expected(c.db.InquiryFound(ctx, claim, "found"))
		case 1:
			c.expected(c.db.InquiryHold(ctx, claim))
		case 2:
			c.expected(c.db.InquiryOpen(ctx, claim, time.Minute, true))
		default:
			if w, err := c.db.InquiryResend(ctx, claim); c.expected(err) {
				return []paylink.Wake{w}
			}
		}
	}
	return nil
}

func (c chaos) send(w paylink.Wake) []paylink.Wake {
	ctx := c.Context()
	claim, wakes, err := c.db.ClaimMessage(ctx, paylink.MessageID(w.ID), w.Epoch, needsLink)
	if !c.expected(err) || c.one(20) {
		return wakes
	}
	if c.one(20) {
		c.expected(c.db.ReleaseMessage(ctx, claim, c.db.Now()))
		return nil
	}
	if !c.expected(c.db.CommitMessage(ctx, claim, commitOptions)) {
		c.expected(c.db.ReleaseMessage(ctx, claim, c.db.Now()))
		return nil
	}
	switch c.rand.IntN(12) {
	case 0: // dies
	case 1:
		_, err = c.db.FailMessage(ctx, claim, temporary, c.db.Now(), true)
		c.expected(err)
	case 2, 3:
		wakes, err = c.db.FailMessage(ctx, claim, permanent, time.Time{}, true)
		c.expected(err)
	case 4, 5:
		c.expected(c.db.LoseMessage(ctx, claim, unknown, time.Minute))
	default:
		c.expected(c.db.AcceptMessage(ctx, claim, "ref", 1))
	}
	return wakes
}

// disturb is what people and providers do meanwhile.
func (c chaos) disturb(b paylink.BatchID) {
	ctx := c.Context()
	id := paylink.NewRequestID(b, 1+c.rand.IntN(200))
	switch c.rand.IntN(6) {
	case 0:
		_, err := c.db.CancelRequest(ctx, id, "clerk", "")
		c.expected(err)
	case 1:
		if l, err := c.db.Request(ctx, id); c.expected(err) && l.Session != nil {
			states := []paylink.SessionState{paylink.SessionPaid, paylink.SessionExpired, paylink.SessionAttempted}
			c.expected(c.db.AdoptState(ctx, l.Session.ID, paylink.CheckoutSession{State: states[c.rand.IntN(3)]}))
		}
	case 2:
		if err := c.db.Pause(ctx, b, "clerk", ""); c.expected(err) {
			c.expected(c.db.Resume(ctx, b, "clerk", ""))
		}
	case 3:
		_, err := c.db.Retry(ctx, b, "", "clerk", "")
		c.expected(err)
	case 4:
		_, err := c.db.Resend(ctx, id, "", "clerk", "")
		c.expected(err)
	default:
		_, err := c.db.Advance(ctx)
		c.expected(err)
	}
}

func mixedWork(s *scene) {
	const workers, rounds = 6, 70
	b := s.send(200, Routes("email+whatsapp>sms"), Brake(100, 1000))
	var mu sync.Mutex
	var queue []paylink.Wake
	for round := range rounds {
		calm := round >= rounds/2 // people have gone home: all that is owed must come to an end
		var next []paylink.Wake
		add := func(wakes []paylink.Wake) {
			mu.Lock()
			defer mu.Unlock()
			next = append(next, wakes...)
		}
		together(workers+2, func(i int) {
			c := chaos{s, rand.New(rand.NewPCG(uint64(round), uint64(i)))}
			switch i {
			case workers: // one that keeps house
				wakes, err := s.db.Feed(s.Context(), b, 20)
				s.expected(err)
				add(wakes)
				opt := paylink.SweepOptions{Room: map[paylink.Channel]int{paylink.Email: 99, paylink.SMS: 99, paylink.WhatsApp: 99},
					Requests: 99, Sessions: 99, FirstCheck: func(paylink.Channel) time.Duration { return time.Minute }}
				wakes, err = s.db.Sweep(s.Context(), opt)
				if err != nil { // a conflict, too, would keep it from all that comes after
					s.Errorf("sweeping: %v", err)
				}
				add(wakes)
			case workers + 1:
				for range 4 {
					if !calm {
						c.disturb(b)
					}
				}
			default:
				for k := i; k < len(queue); k += workers {
					for again := []paylink.Wake{queue[k]}; len(again) > 0; {
						again = c.do(again[0])
					}
				}
			}
		})
		queue = next
		s.clock.Advance(time.Minute) // longer than a lease, shorter than the grace that a wake has
		s.audit()
		if s.Failed() {
			s.Fatalf("in round %d", round)
		}
	}
	if got := s.counts(b); !got.Done() {
		s.Errorf("got counts %+v: something is owed for ever", got)
		for _, l := range s.lines(b) {
			if l.Request.Dispatch == paylink.DispatchInFlight {
				s.Logf("%s: %s", l.Request.ID, describe(l))
			}
		}
	}
}
