package ledgertest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"dunlin/ledger"
	"dunlin/paylink"
)

// scene is one test's ledger. Its methods are the steps of a worker; every one ends with an audit.
type scene struct {
	*testing.T
	db    *ledger.DB
	clock *Clock
	steps int
}

const (
	lease   = 45 * time.Second
	timeout = 15 * time.Second
	grace   = 90 * time.Second // how long the ledger leaves a wake to the queue
	life    = 48 * time.Hour   // of a session
)

var byWorker = paylink.ClaimOptions{Worker: "w1", Lease: lease}

// audit ends a step.
func (s *scene) audit() {
	s.Helper()
	if s.steps++; s.steps%auditEvery == 0 {
		Audit(s.T, s.db)
	}
}

// ok ends a step that must succeed.
func (s *scene) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("got error %v", err)
	}
	s.audit()
}

// refused ends a step that must fail with the error and change nothing that matters to the till.
func (s *scene) refused(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("got error %v, want %v", err, want)
	}
	s.audit()
}

func (s *scene) conflict(err error) {
	s.Helper()
	s.refused(err, paylink.ErrConflict)
}

func (s *scene) send(n int, opts ...Option) paylink.BatchID {
	s.Helper()
	b := Import(s.T, s.db, n, opts...)
	s.audit()
	return b
}

func (s *scene) feed(b paylink.BatchID, n int) []paylink.Wake {
	s.Helper()
	wakes, err := s.db.Feed(s.Context(), b, n)
	s.ok(err)
	return wakes
}

func (s *scene) claim(w paylink.Wake) paylink.SessionClaim {
	s.Helper()
	if w.Task != paylink.TaskCreate {
		s.Fatalf("got wake %+v, want one to create", w)
	}
	c, err := s.db.ClaimSession(s.Context(), paylink.RequestID(w.ID), w.Epoch, byWorker)
	s.ok(err)
	return c
}

// made is the provider's answer to the claim's create.
func (s *scene) made(c paylink.SessionClaim) paylink.CheckoutSession {
	return paylink.CheckoutSession{ProviderID: "prov-" + c.OrderNo, OrderNo: c.OrderNo, URL: "https://pay.example/" + c.OrderNo,
		State: paylink.SessionOpen, RawState: "created", Amount: c.Request.Amount, ExpiresAt: s.clock.Now().Add(life)}
}

func (s *scene) record(c paylink.SessionClaim) []paylink.Wake {
	s.Helper()
	wakes, err := s.db.RecordSession(s.Context(), c, s.made(c))
	s.ok(err)
	return wakes
}

// link takes a fed request as far as its messages.
func (s *scene) link(w paylink.Wake) []paylink.Wake {
	s.Helper()
	return s.record(s.claim(w))
}

// linked feeds one row of the batch and links it.
func (s *scene) linked(b paylink.BatchID) (paylink.RequestID, []paylink.Wake) {
	s.Helper()
	w := one(s, s.feed(b, 1))
	return paylink.RequestID(w.ID), s.link(w)
}

func (s *scene) claimMessage(w paylink.Wake) paylink.MessageClaim {
	s.Helper()
	if w.Task != paylink.TaskSend {
		s.Fatalf("got wake %+v, want one to send", w)
	}
	c, wakes, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(w.ID), w.Epoch, byWorker)
	s.ok(err)
	if len(wakes) > 0 {
		s.Fatalf("claiming woke %v", wakes)
	}
	return c
}

var commitOptions = paylink.CommitOptions{BytesHash: "b1", TemplateHash: "t1", Timeout: timeout, Reveals: true}

func (s *scene) commit(c paylink.MessageClaim) {
	s.Helper()
	s.ok(s.db.CommitMessage(s.Context(), c, commitOptions))
}

// committed claims a message and takes it past the point of no return.
func (s *scene) committed(w paylink.Wake) paylink.MessageClaim {
	s.Helper()
	c := s.claimMessage(w)
	s.commit(c)
	return c
}

func (s *scene) accept(w paylink.Wake) paylink.MessageClaim {
	s.Helper()
	c := s.committed(w)
	s.ok(s.db.AcceptMessage(s.Context(), c, "ref-"+c.Message.ID.String(), 1))
	return c
}

// lost claims a message whose answer is lost.
func (s *scene) lost(w paylink.Wake) paylink.MessageClaim {
	s.Helper()
	c := s.committed(w)
	s.ok(s.db.LoseMessage(s.Context(), c, unknown, time.Minute))
	return c
}

func (s *scene) fail(c paylink.MessageClaim, f *paylink.Failure) []paylink.Wake {
	s.Helper()
	wakes, err := s.db.FailMessage(s.Context(), c, f, s.clock.Now().Add(time.Minute), true)
	s.ok(err)
	return wakes
}

var (
	unknown   = &paylink.Failure{Kind: paylink.Unknown, Scope: paylink.ScopeRow, Cause: paylink.CauseLostAnswer}
	temporary = &paylink.Failure{Kind: paylink.Temporary, Scope: paylink.ScopeProvider, Cause: paylink.CauseUnavailable, Code: "503"}
	permanent = &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseBadAddress, Code: "21211"}
	refusal   = &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseCheckoutRefused, Code: "http 400"}
	optedOut  = &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseOptedOut, Code: "21610", Suppress: true}
	bounced   = &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseBadAddress, Code: "5.1.1", Suppress: true}
)

// sweep sweeps with plenty of room.
func (s *scene) sweep() []paylink.Wake {
	s.Helper()
	return s.sweepRoom(100, 100)
}

func (s *scene) sweepRoom(room, rest int) []paylink.Wake {
	s.Helper()
	opt := paylink.SweepOptions{Room: map[paylink.Channel]int{}, Requests: rest, Sessions: rest,
		FirstCheck: func(paylink.Channel) time.Duration { return time.Minute }}
	for _, ch := range paylink.Channels {
		opt.Room[ch] = room
	}
	wakes, err := s.db.Sweep(s.Context(), opt)
	s.ok(err)
	return wakes
}

func (s *scene) claimSettle(w paylink.Wake, mode paylink.SettleMode) paylink.SettleClaim {
	s.Helper()
	if w.Task != paylink.TaskSettle {
		s.Fatalf("got wake %+v, want one to settle", w)
	}
	c, err := s.db.ClaimSettle(s.Context(), paylink.SessionID(w.ID), w.Epoch, byWorker)
	s.ok(err)
	if c.Mode != mode {
		s.Fatalf("got mode %s, want %s", c.Mode, mode)
	}
	return c
}

func (s *scene) settle(c paylink.SettleClaim, ended, absent bool) []paylink.Wake {
	s.Helper()
	wakes, err := s.db.Settled(s.Context(), c, ended, absent, s.clock.Now().Add(time.Minute), life)
	s.ok(err)
	return wakes
}

func (s *scene) claimInquiry(w paylink.Wake) paylink.InquiryClaim {
	s.Helper()
	if w.Task != paylink.TaskInquire {
		s.Fatalf("got wake %+v, want one to inquire", w)
	}
	c, err := s.db.ClaimInquiry(s.Context(), paylink.MessageID(w.ID), w.Epoch, byWorker)
	s.ok(err)
	return c
}

// inquiry brings the look-up of a lost message about.
func (s *scene) inquiry() paylink.InquiryClaim {
	s.Helper()
	s.clock.Advance(2 * time.Minute)
	return s.claimInquiry(one(s, of(s.sweep(), paylink.TaskInquire)))
}

func (s *scene) adopt(id paylink.SessionID, state paylink.SessionState) {
	s.Helper()
	s.ok(s.db.AdoptState(s.Context(), id, paylink.CheckoutSession{State: state, RawState: string(state)}))
}

func (s *scene) advance() []paylink.Batch {
	s.Helper()
	stopped, err := s.db.Advance(s.Context())
	s.ok(err)
	return stopped
}

func (s *scene) line(id paylink.RequestID) ledger.RequestLine {
	s.Helper()
	l, err := s.db.Request(s.Context(), id)
	if err != nil {
		s.Fatalf("reading %s: %v", id, err)
	}
	return l
}

// stands compares all that is known of a request with words such as "sent unpaid; open; email accepted".
func (s *scene) stands(id paylink.RequestID, want string) {
	s.Helper()
	if got := describe(s.line(id)); got != want {
		s.Fatalf("%s stands at\n\t%s, want\n\t%s", id, got, want)
	}
}

func describe(l ledger.RequestLine) string {
	session := "-"
	if l.Session != nil {
		session = string(l.Session.State)
	}
	messages := []string{}
	for _, m := range l.Messages {
		name := string(m.Channel)
		if m.Purpose != paylink.PurposeLink {
			name = m.Purpose + " by " + name
		}
		if m.N > 1 {
			name += fmt.Sprintf("#%d", m.N)
		}
		messages = append(messages, name+" "+string(m.State))
	}
	if len(messages) == 0 {
		messages = []string{"-"}
	}
	return fmt.Sprintf("%s %s; %s; %s", l.Request.Dispatch, l.Request.Payment, session, strings.Join(messages, ", "))
}

func (s *scene) batch(id paylink.BatchID) paylink.Batch {
	s.Helper()
	b, err := s.db.Batch(s.Context(), id)
	if err != nil {
		s.Fatalf("reading %s: %v", id, err)
	}
	return b
}

func (s *scene) batchIs(id paylink.BatchID, want paylink.BatchState) {
	s.Helper()
	if got := s.batch(id).State; got != want {
		s.Fatalf("%s is %s, want %s", id, got, want)
	}
}

func (s *scene) counts(id paylink.BatchID) paylink.Counts {
	s.Helper()
	st, err := s.db.Status(s.Context(), id)
	if err != nil {
		s.Fatalf("status of %s: %v", id, err)
	}
	return st.Counts
}

// one is the only element.
func one[T any](s *scene, list []T) T {
	s.Helper()
	if len(list) != 1 {
		s.Fatalf("got %d, want one: %+v", len(list), list)
	}
	return list[0]
}

func none[T any](s *scene, list []T) {
	s.Helper()
	if len(list) != 0 {
		s.Fatalf("got %d, want none: %+v", len(list), list)
	}
}

// of are the wakes of one task.
func of(wakes []paylink.Wake, task paylink.Task) (out []paylink.Wake) {
	for _, w := range wakes {
		if w.Task == task {
			out = append(out, w)
		}
	}
	return out
}
