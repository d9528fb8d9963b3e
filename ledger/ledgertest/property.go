package ledgertest

import (
	"errors"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"dunlin/ledger"
	"dunlin/paylink"
)

var propertyTests = []test{{"one request through anything", anything}}

// anything throws random commands, answers and deaths at one request. After every step the till adds up, the record
// verifies and every recorded move is one that the machines allow; and in the end nothing is owed for ever.
func anything(s *scene) {
	rapid.Check(s.T, func(rt *rapid.T) {
		routes := rapid.SampledFrom([]string{"email", "email+sms", "whatsapp>sms", "email+whatsapp>sms"}).Draw(rt, "routes")
		// An address of its own: what one story silences must not silence the next.
		own := Each(func(r *paylink.Row) { r.Email, r.Phone = r.Reference+"@example.com", r.Reference })
		b := Import(s.T, s.db, 1, Routes(routes), Brake(100, 100), own)
		a := &actor{scene: s, rt: rt, batch: b, id: paylink.NewRequestID(b, 1)}
		rt.Repeat(map[string]func(*rapid.T){
			"feed":    func(*rapid.T) { a.wake(a.db.Feed(a.Context(), b, 1)) },
			"work":    func(*rapid.T) { a.work() },
			"answer":  func(*rapid.T) { a.answer() },
			"command": func(*rapid.T) { a.command() },
			"adopt":   func(*rapid.T) { a.adoptAny() },
			"receipt": func(*rapid.T) { a.receiptAny() },
			"time":    func(rt *rapid.T) { a.clock.Advance(a.pickTime()) },
			"sweep":   func(*rapid.T) { a.wake(a.sweepAll()) },
			"advance": func(*rapid.T) { _, err := a.db.Advance(a.Context()); a.must(err) },
			"":        func(*rapid.T) { a.check() },
		})
		a.finish()
	})
}

// actor holds whatever claims the dead and the living of its story have not answered yet.
type actor struct {
	*scene
	rt    *rapid.T
	batch paylink.BatchID
	id    paylink.RequestID

	wakes     []paylink.Wake
	sessions  []paylink.SessionClaim
	settles   []paylink.SettleClaim
	messages  []paylink.MessageClaim
	inquiries []paylink.InquiryClaim
	known     []paylink.MessageClaim // every claim there ever was: a provider may tell of any of them
}

// must lets pass what a caller is told to expect.
func (a *actor) must(err error) bool {
	if err != nil && !errors.Is(err, paylink.ErrConflict) && !errors.Is(err, paylink.ErrFrozen) {
		a.rt.Fatalf("got error %v", err)
	}
	return err == nil
}

func (a *actor) wake(wakes []paylink.Wake, err error) {
	a.must(err)
	a.wakes = append(a.wakes, wakes...)
}

func (a *actor) sweepAll() ([]paylink.Wake, error) {
	wakes, err := a.db.Sweep(a.Context(), paylink.SweepOptions{Room: map[paylink.Channel]int{paylink.Email: 9, paylink.SMS: 9, paylink.WhatsApp: 9},
		Requests: 9, Sessions: 99, FirstCheck: func(paylink.Channel) time.Duration { return time.Minute }})
	if err != nil { // a conflict, too, would keep it from all that comes after
		a.rt.Fatalf("sweeping: %v", err)
	}
	return wakes, err
}

func (a *actor) pickTime() time.Duration {
	return rapid.SampledFrom([]time.Duration{time.Second, lease, 2 * time.Minute, time.Hour, life}).Draw(a.rt, "time")
}

func (a *actor) choose(n int) int { return rapid.IntRange(0, n-1).Draw(a.rt, "choice") }

// take picks one and, usually, removes it: what comes twice must be harmless.
func take[T any](a *actor, list *[]T) (x T, ok bool) {
	if len(*list) == 0 {
		return x, false
	}
	i := a.choose(len(*list))
	x = (*list)[i]
	if a.choose(4) > 0 {
		*list = append((*list)[:i:i], (*list)[i+1:]...)
	}
	return x, true
}

// work claims what a wake is about.
func (a *actor) work() {
	w, ok := take(a, &a.wakes)
	if !ok {
		return
	}
	a.claimAny(w)
}

func (a *actor) claimAny(w paylink.Wake) {
	ctx := a.Context()
	switch w.Task {
	case paylink.TaskCreate:
		if c, err := a.db.ClaimSession(ctx, paylink.RequestID(w.ID), w.Epoch, byWorker); a.must(err) {
			a.sessions = append(a.sessions, c)
		}
	case paylink.TaskSettle:
		if c, err := a.db.ClaimSettle(ctx, paylink.SessionID(w.ID), w.Epoch, byWorker); a.must(err) {
			a.settles = append(a.settles, c)
		}
	case paylink.TaskSend:
		c, wakes, err := a.db.ClaimMessage(ctx, paylink.MessageID(w.ID), w.Epoch, needsLink)
		a.wakes = append(a.wakes, wakes...)
		if a.must(err) {
			a.messages, a.known = append(a.messages, c), append(a.known, c)
		}
	case paylink.TaskInquire:
		if c, err := a.db.ClaimInquiry(ctx, paylink.MessageID(w.ID), w.Epoch, byWorker); a.must(err) {
			a.inquiries = append(a.inquiries, c)
		}
	}
}

// answer says what became of a claim, in one of the ways that the outside world has.
func (a *actor) answer() {
	ctx := a.Context()
	if c, ok := take(a, &a.sessions); ok {
		switch a.choose(4) {
		case 0:
			a.wake(a.db.RecordSession(ctx, c, a.made(c)))
		case 1:
			a.must(a.db.FailSession(ctx, c, temporary, a.clock.Now().Add(time.Minute), true))
		case 2:
			a.must(a.db.FailSession(ctx, c, refusal, time.Time{}, false))
		default:
			if w, err := a.db.LoseSession(ctx, c); a.must(err) {
				a.wakes = append(a.wakes, w)
			}
		}
	}
	if c, ok := take(a, &a.settles); ok {
		how := a.choose(3)
		a.wake(a.db.Settled(ctx, c, how == 0, how == 1, a.clock.Now().Add(time.Minute), life))
	}
	if c, ok := take(a, &a.messages); ok {
		a.answerMessage(c)
	}
	if c, ok := take(a, &a.inquiries); ok {
		switch a.choose(4) {
		case 0:
			a.must(a.db.InquiryFound(ctx, c, "found"))
		case 1:
			a.must(a.db.InquiryOpen(ctx, c, time.Minute, true))
		case 2:
			a.must(a.db.InquiryHold(ctx, c))
		default:
			if w, err := a.db.InquiryResend(ctx, c); a.must(err) {
				a.wakes = append(a.wakes, w)
			}
		}
	}
}

func (a *actor) answerMessage(c paylink.MessageClaim) {
	ctx := a.Context()
	if a.choose(4) > 0 {
		opt := commitOptions
		opt.BytesHash = fmt.Sprint("b", a.choose(2))
		a.must(a.db.CommitMessage(ctx, c, opt))
	}
	switch a.choose(7) {
	case 0:
		a.must(a.db.AcceptMessage(ctx, c, "ref", 1))
	case 1:
		a.wake(a.db.FailMessage(ctx, c, temporary, a.clock.Now().Add(time.Minute), true))
	case 2:
		a.wake(a.db.FailMessage(ctx, c, permanent, time.Time{}, true))
	case 3:
		a.must(a.db.LoseMessage(ctx, c, unknown, time.Minute))
	case 4:
		a.must(a.db.ReleaseMessage(ctx, c, a.clock.Now()))
	case 5:
		a.must(a.db.HoldMessage(ctx, c, "held"))
	default: // dies; its claim stays, and may be answered late
		a.messages = append(a.messages, c)
	}
}

func (a *actor) command() {
	ctx := a.Context()
	switch a.choose(9) {
	case 0:
		a.wake(a.db.CancelRequest(ctx, a.id, "clerk", "why"))
	case 1:
		a.must(a.db.CancelBatch(ctx, a.batch, "clerk", "why"))
	case 2:
		a.must(a.db.Pause(ctx, a.batch, "clerk", "why"))
	case 3, 4:
		a.must(a.db.Resume(ctx, a.batch, "clerk", "why"))
	case 5:
		a.must(a.db.Halt(ctx, a.batch, "why"))
	case 6:
		_, err := a.db.Retry(ctx, a.batch, "", "clerk", "")
		a.must(err)
	case 7:
		a.wake(a.db.Resend(ctx, a.id, "", "clerk", "why"))
	default:
		a.wake(a.db.Resend(ctx, a.id, paylink.SMS, "clerk", "why"))
	}
}

func (a *actor) adoptAny() {
	l, err := a.db.Request(a.Context(), a.id)
	a.must(err)
	if l.Session == nil {
		return
	}
	seen := rapid.SampledFrom(paylink.SessionMachine.States).Draw(a.rt, "seen")
	a.must(a.db.AdoptState(a.Context(), l.Session.ID, paylink.CheckoutSession{State: seen, RawState: string(seen), ProviderID: "seen"}))
}

func (a *actor) check() {
	if a.steps++; a.steps%auditEvery != 0 {
		return
	}
	ctx := a.Context()
	r, err := a.db.Verify(ctx, a.batch)
	a.must(err)
	if r.Differences != 0 {
		a.rt.Fatalf("verify found %+v", r.Found)
	}
	s, err := a.db.Status(ctx, a.batch)
	a.must(err)
	if s.Counts.Sum() != 1 {
		a.rt.Fatalf("the till adds up to %+v", s.Counts)
	}
	events, err := a.db.Timeline(ctx, a.id)
	a.must(err)
	for _, e := range events {
		if !legal(e) {
			a.rt.Fatalf("the move of %s from %q to %q is none of the machine's", e.Entity, e.From, e.To)
		}
	}
}

func legal(e paylink.Event) bool {
	if e.From == e.To || e.From == "" { // a note, or a birth
		return true
	}
	byHand := e.Actor != "dunlin"
	switch e.Entity {
	case "request":
		return can(paylink.DispatchMachine, e, byHand)
	case "payment":
		return can(paylink.PaymentMachine, e, byHand)
	case "session":
		return can(paylink.SessionMachine, e, false)
	case "message":
		return can(paylink.MessageMachine, e, true) // who commanded it stands in its reason
	case "suppression":
		return true // any reason may take another's place
	}
	return false
}

func can[S ~string](m *paylink.Machine[S], e paylink.Event, byHand bool) bool {
	if byHand {
		return m.CanByCommand(S(e.From), S(e.To))
	}
	return m.Can(S(e.From), S(e.To))
}

// finish lets time pass and a worker that never fails do what is owed. Afterwards the request must be done with.
func (a *actor) finish() {
	ctx := a.Context()
	if st, err := a.db.Batch(ctx, a.batch); a.must(err) && st.State != paylink.BatchCanceled {
		a.must(a.db.Resume(ctx, a.batch, "clerk", "the end"))
	}
	a.wake(a.db.Feed(ctx, a.batch, 1))
	for range 8 {
		a.clock.Advance(time.Hour)
		a.wakes, a.sessions, a.settles, a.messages, a.inquiries = nil, nil, nil, nil, nil
		a.wake(a.sweepAll())
		for len(a.wakes) > 0 {
			w := a.wakes[0]
			a.wakes = a.wakes[1:]
			a.claimAny(w)
			a.succeed()
			a.check()
		}
	}
	l, err := a.db.Request(ctx, a.id)
	a.must(err)
	a.steps = -1 // the last step is always looked at
	a.check()
	if !over(l) {
		events, _ := a.db.Timeline(ctx, a.id)
		for _, e := range events {
			a.rt.Logf("%s %s %s>%s %s %s", e.At.Format(time.TimeOnly), e.Entity, e.From, e.To, e.Actor, e.Why)
		}
		a.rt.Fatalf("it stands at %s for ever", describe(l))
	}
}

// over reports whether nothing is owed, and nothing unknown but what waits for a person.
func over(l ledger.RequestLine) bool {
	switch l.Request.Dispatch {
	case paylink.DispatchPending, paylink.DispatchInFlight:
		return false
	case paylink.DispatchUnknown:
		for _, m := range l.Messages {
			if m.State == paylink.MessageHeld {
				return true
			}
		}
		return false
	}
	return true
}

func (a *actor) succeed() {
	ctx := a.Context()
	for _, c := range a.sessions {
		a.wake(a.db.RecordSession(ctx, c, a.made(c)))
	}
	for _, c := range a.settles {
		a.wake(a.db.Settled(ctx, c, true, false, time.Time{}, life))
	}
	for _, c := range a.messages {
		opt := commitOptions
		if c.Frozen != "" {
			opt.BytesHash = c.Frozen
		}
		if a.must(a.db.CommitMessage(ctx, c, opt)) {
			a.must(a.db.AcceptMessage(ctx, c, "ref", 1))
		} else {
			a.must(a.db.ReleaseMessage(ctx, c, a.clock.Now()))
		}
	}
	for _, c := range a.inquiries {
		a.must(a.db.InquiryFound(ctx, c, "found"))
	}
	a.sessions, a.settles, a.messages, a.inquiries = nil, nil, nil, nil
}
