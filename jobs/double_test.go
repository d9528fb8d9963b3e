package jobs_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dunlin/jobs"
	"dunlin/paylink"
)

// memoryQueue is a queue that forgets, repeats and delays as it is told to. Like the real one it knows a task by its id
// and epoch and refuses a second one while the first is there.
type memoryQueue struct {
	mu    sync.Mutex
	tasks []paylink.Wake
	away  bool // Redis does not answer
	lose  bool // takes wakes and forgets them
	taken int
	// all are the wakes that were ever handed in, for delivering them once more when they are long stale.
	all []paylink.Wake
}

var errAway = errors.New("the queue does not answer")

func same(a, b paylink.Wake) bool { return a.Task == b.Task && a.ID == b.ID && a.Epoch == b.Epoch }

func (q *memoryQueue) Enqueue(ctx context.Context, wakes ...paylink.Wake) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away {
		return errAway
	}
	for _, w := range wakes {
		q.taken++
		q.all = append(q.all, w)
		if !q.lose && !slices.ContainsFunc(q.tasks, func(x paylink.Wake) bool { return same(x, w) }) {
			q.tasks = append(q.tasks, w)
		}
	}
	return nil
}

func (q *memoryQueue) Depth(_ context.Context, p jobs.Provider) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away {
		return 0, errAway
	}
	n := 0
	for _, w := range q.tasks {
		if p == jobs.Provider(w.Channel) || p == jobs.ProviderCheckout && w.Task == paylink.TaskCreate {
			n++
		}
	}
	return n, nil
}

// set changes what the queue does with what it is given.
func (q *memoryQueue) set(away, lose bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.away, q.lose = away, lose
}

// ready takes the tasks whose time has come.
func (q *memoryQueue) ready(now time.Time) (out []paylink.Wake) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tasks = slices.DeleteFunc(q.tasks, func(w paylink.Wake) bool {
		if w.At.After(now) {
			return false
		}
		out = append(out, w)
		return true
	})
	return out
}

// next is when the first of the waiting tasks is due; zero if there is none.
func (q *memoryQueue) next() (at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range q.tasks {
		if at.IsZero() || w.At.Before(at) {
			at = w.At
		}
	}
	return at
}

func (q *memoryQueue) history() []paylink.Wake {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.all)
}

// given is how many wakes were ever handed in.
func (q *memoryQueue) given() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.taken
}

// waiting is how many tasks the queue holds.
func (q *memoryQueue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.tasks)
}

func (q *memoryQueue) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tasks, q.all = nil, nil
}

// moment is where in a handler's life something is made to happen.
type moment int

const (
	before moment = iota // the ledger is asked
	after                // the ledger has said yes
)

// hook runs at moments of ledger calls. It may end the goroutine, which is how a handler dies here: what it had
// recorded stays, what it had not is lost, and its defers close its sockets as the end of a process would.
type hook func(at moment, method string, id paylink.RequestID) error

// watchedLedger is the real ledger with a hook around what the handlers call.
type watchedLedger struct {
	jobs.Ledger
	mu sync.Mutex
	fn hook
}

func (l *watchedLedger) watch(fn hook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fn = fn
}

func (l *watchedLedger) at(m moment, method string, id paylink.RequestID) error {
	l.mu.Lock()
	fn := l.fn
	l.mu.Unlock()
	if fn == nil {
		return nil
	}
	return fn(m, method, id)
}

// around runs call between the two moments of a method. Nothing follows a call that failed.
func (l *watchedLedger) around(method string, id paylink.RequestID, call func() error) error {
	return l.claim(method, func() paylink.RequestID { return id }, call)
}

// claim is around for a method whose request is known only once it has succeeded.
func (l *watchedLedger) claim(method string, id func() paylink.RequestID, call func() error) error {
	if err := l.at(before, method, id()); err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	return l.at(after, method, id())
}

// die is a hook that ends the first goroutine that comes to one of the methods.
func die(m moment, methods ...string) hook {
	var died atomic.Bool
	return func(at moment, method string, _ paylink.RequestID) error {
		if at == m && slices.Contains(methods, method) && died.CompareAndSwap(false, true) {
			runtime.Goexit()
		}
		return nil
	}
}

func (l *watchedLedger) ClaimSession(ctx context.Context, id paylink.RequestID, epoch int64, opt paylink.ClaimOptions) (c paylink.SessionClaim, err error) {
	err = l.around("ClaimSession", id, func() error { c, err = l.Ledger.ClaimSession(ctx, id, epoch, opt); return err })
	return c, err
}

func (l *watchedLedger) RecordSession(ctx context.Context, c paylink.SessionClaim, s paylink.CheckoutSession) (w []paylink.Wake, err error) {
	err = l.around("RecordSession", c.Request.ID, func() error { w, err = l.Ledger.RecordSession(ctx, c, s); return err })
	return w, err
}

func (l *watchedLedger) FailSession(ctx context.Context, c paylink.SessionClaim, f *paylink.Failure, at time.Time, count bool) error {
	return l.around("FailSession", c.Request.ID, func() error { return l.Ledger.FailSession(ctx, c, f, at, count) })
}

func (l *watchedLedger) LoseSession(ctx context.Context, c paylink.SessionClaim) (w paylink.Wake, err error) {
	err = l.around("LoseSession", c.Request.ID, func() error { w, err = l.Ledger.LoseSession(ctx, c); return err })
	return w, err
}

func (l *watchedLedger) ClaimSettle(ctx context.Context, id paylink.SessionID, epoch int64, opt paylink.ClaimOptions) (c paylink.SettleClaim, err error) {
	err = l.claim("ClaimSettle", func() paylink.RequestID { return c.Session.RequestID }, func() error { c, err = l.Ledger.ClaimSettle(ctx, id, epoch, opt); return err })
	return c, err
}

func (l *watchedLedger) Settled(ctx context.Context, c paylink.SettleClaim, ended, absent bool, at time.Time, life time.Duration) (w []paylink.Wake, err error) {
	err = l.around("Settled", c.Session.RequestID, func() error { w, err = l.Ledger.Settled(ctx, c, ended, absent, at, life); return err })
	return w, err
}

func (l *watchedLedger) ClaimMessage(ctx context.Context, id paylink.MessageID, epoch int64, opt paylink.ClaimOptions) (c paylink.MessageClaim, w []paylink.Wake, err error) {
	err = l.claim("ClaimMessage", func() paylink.RequestID { return c.Request.ID }, func() error { c, w, err = l.Ledger.ClaimMessage(ctx, id, epoch, opt); return err })
	return c, w, err
}

func (l *watchedLedger) CommitMessage(ctx context.Context, c paylink.MessageClaim, opt paylink.CommitOptions) error {
	return l.around("CommitMessage", c.Request.ID, func() error { return l.Ledger.CommitMessage(ctx, c, opt) })
}

func (l *watchedLedger) AcceptMessage(ctx context.Context, c paylink.MessageClaim, ref string, segments int) error {
	return l.around("AcceptMessage", c.Request.ID, func() error { return l.Ledger.AcceptMessage(ctx, c, ref, segments) })
}

func (l *watchedLedger) FailMessage(ctx context.Context, c paylink.MessageClaim, f *paylink.Failure, at time.Time, count bool) (w []paylink.Wake, err error) {
	err = l.around("FailMessage", c.Request.ID, func() error { w, err = l.Ledger.FailMessage(ctx, c, f, at, count); return err })
	return w, err
}

func (l *watchedLedger) LoseMessage(ctx context.Context, c paylink.MessageClaim, f *paylink.Failure, checkIn time.Duration) error {
	return l.around("LoseMessage", c.Request.ID, func() error { return l.Ledger.LoseMessage(ctx, c, f, checkIn) })
}

func (l *watchedLedger) ReleaseMessage(ctx context.Context, c paylink.MessageClaim, at time.Time) error {
	return l.around("ReleaseMessage", c.Request.ID, func() error { return l.Ledger.ReleaseMessage(ctx, c, at) })
}

func (l *watchedLedger) ClaimInquiry(ctx context.Context, id paylink.MessageID, epoch int64, opt paylink.ClaimOptions) (c paylink.InquiryClaim, err error) {
	err = l.claim("ClaimInquiry", func() paylink.RequestID { return c.Request.ID }, func() error { c, err = l.Ledger.ClaimInquiry(ctx, id, epoch, opt); return err })
	return c, err
}

func (l *watchedLedger) InquiryFound(ctx context.Context, c paylink.InquiryClaim, ref string) error {
	return l.around("InquiryFound", c.Request.ID, func() error { return l.Ledger.InquiryFound(ctx, c, ref) })
}

func (l *watchedLedger) InquiryOpen(ctx context.Context, c paylink.InquiryClaim, in time.Duration, counted bool) error {
	return l.around("InquiryOpen", c.Request.ID, func() error { return l.Ledger.InquiryOpen(ctx, c, in, counted) })
}

func (l *watchedLedger) InquiryHold(ctx context.Context, c paylink.InquiryClaim) error {
	return l.around("InquiryHold", c.Request.ID, func() error { return l.Ledger.InquiryHold(ctx, c) })
}

func (l *watchedLedger) InquiryResend(ctx context.Context, c paylink.InquiryClaim) (w paylink.Wake, err error) {
	err = l.around("InquiryResend", c.Request.ID, func() error { w, err = l.Ledger.InquiryResend(ctx, c); return err })
	return w, err
}

// alerts remembers what operators were told.
type alerts struct {
	mu   sync.Mutex
	keys []string
}

func (a *alerts) Alert(_ context.Context, key, _ string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = append(a.keys, key)
}

func (a *alerts) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.keys)
}

// pauses is a limiter that lets everybody pass and remembers who asked for a pause.
type pauses struct {
	mu     sync.Mutex
	asked  []time.Duration
	refuse time.Duration // how long a caller is told to stay away; 0 = not
}

func (p *pauses) Wait(context.Context, jobs.Provider, time.Duration) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuse, nil
}

func (p *pauses) Pause(_ context.Context, _ jobs.Provider, d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, d)
	return nil
}

func (p *pauses) set(refuse time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

func (p *pauses) list() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}
