package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"dunlin/notify"
	"dunlin/paylink"
)

// Config is what a worker is made from.
type Config struct {
	Ledger   Ledger
	Queue    Queue
	Limiter  Limiter // nil = no limits
	Amends   Limiter // of sessions that must end; nil = Limiter
	Checkout Checkout
	Senders  map[paylink.Channel]notify.Sender
	Finders  map[paylink.Channel]notify.Finder // channels whose lost messages can be looked up
	Fetchers map[paylink.Channel]Fetcher       // channels whose providers can be asked for receipts
	Builder  Builder
	// Attachments are sent along with mails; nil = mails have a link to them.
	Attachments Attachments
	Alerter     Alerter // nil = log only
	Log         *slog.Logger
	// Name tells workers apart in the ledger's attempts and leases.
	Name string

	// CheckoutTimeout bounds one call to the payment provider. 0 = 30 s.
	CheckoutTimeout time.Duration
	// SendTimeouts bound one send, by channel. 0 = 120 s for email, 20 s for the others.
	SendTimeouts map[paylink.Channel]time.Duration
	// SessionLife is how long a checkout session lives when the row does not say. 0 = 72 h.
	SessionLife time.Duration
	// OnUnknown says what becomes of a message whose answer was lost and that look-ups did not find. Missing = hold.
	OnUnknown map[paylink.Channel]UnknownPolicy
	// Backoff is the first delay after a temporary failure; it doubles up to an hour. 0 = 30 s.
	Backoff time.Duration
	// MaxTries is how many temporary failures of its own a row survives. 0 = 8.
	MaxTries int
	// Window bounds how many tasks of one provider the queue holds. 0 = 1000.
	Window map[Provider]int
	// InFlight bounds how many rows of one batch are in flight. 0 = 10,000.
	InFlight int
	// Retention is how long contacts of requests that are over are kept. 0 = for ever.
	Retention time.Duration
	// ReturnURL and WebhookURL are given to the payment provider; a %s stands for the payer's token. Empty = none.
	ReturnURL, WebhookURL string
}

// UnknownPolicy says what becomes of a message whose answer was lost.
type UnknownPolicy string

// The policies.
const (
	ResendOnce UnknownPolicy = "resend_once"
	Hold       UnknownPolicy = "hold"
)

// leaseMargin is how much longer than its call a claim is held (protocol: call timeout + 30 s).
const leaseMargin = 30 * time.Second

// maxTokenWait is how long a handler waits for a token of the rate limit before it puts the row off.
const maxTokenWait = 5 * time.Second

// Worker does what tasks ask for. Its handlers are safe for concurrent use.
type Worker struct {
	Config
	gates *gates
	full  fullness

	mu   sync.Mutex
	told map[string]time.Time // what operators were alerted of, and when; under mu

	complained map[string]time.Time // by step; belongs to Upkeep's goroutine
	tidied     paylink.RequestID    // up to where Tidy has looked; belongs to Upkeep's goroutine
	sleep      func(time.Duration)  // between tries to record an outcome
}

// New makes a worker.
func New(c Config) (*Worker, error) {
	if c.Ledger == nil || c.Queue == nil || c.Checkout == nil || c.Builder == nil {
		return nil, errors.New("a worker needs a ledger, a queue, a checkout and a builder")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Limiter == nil {
		c.Limiter = noLimit{}
	}
	if c.Amends == nil {
		c.Amends = c.Limiter
	}
	if c.Alerter == nil {
		c.Alerter = logAlerter{c.Log}
	}
	setDefault(&c.Name, "worker")
	setDefault(&c.CheckoutTimeout, 30*time.Second)
	setDefault(&c.SessionLife, 72*time.Hour)
	setDefault(&c.Backoff, 30*time.Second)
	setDefault(&c.MaxTries, 8)
	setDefault(&c.InFlight, 10_000)
	return &Worker{Config: c, gates: newGates(c.Ledger, c.Alerter, c.Log), told: map[string]time.Time{}, complained: map[string]time.Time{}, sleep: time.Sleep}, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (w *Worker) sendTimeout(ch paylink.Channel) time.Duration {
	if d := w.SendTimeouts[ch]; d > 0 {
		return d
	}
	if ch == paylink.Email {
		return 120 * time.Second
	}
	return 20 * time.Second
}

func (w *Worker) window(p Provider) int {
	if n := w.Window[p]; n > 0 {
		return n
	}
	return 1000
}

// Later is a handler's way to say: not now. The ledger knows already when; the queue is asked for the same time.
type Later struct {
	At time.Time
	// Failed: the provider was called and failed, which the dashboard should show as a retry.
	Failed bool
	// Why is free of personal data.
	Why string
}

func (l *Later) Error() string { return l.Why }

// Do handles one wake. nil means that nothing more is to be done about it: done, stale, or recorded as failed.
func (w *Worker) Do(ctx context.Context, wake paylink.Wake) error {
	defer w.gates.giveBack(ctx, providerOf(wake), wake)
	switch wake.Task {
	case paylink.TaskCreate:
		return w.create(ctx, wake)
	case paylink.TaskSettle:
		return w.settle(ctx, wake)
	case paylink.TaskSend:
		return w.send(ctx, wake)
	case paylink.TaskInquire:
		return w.inquire(ctx, wake)
	case paylink.TaskFeed:
		_, err := w.Feed(ctx)
		return err
	}
	return fmt.Errorf("task %q is not known: %w", wake.Task, paylink.ErrInvalid)
}

// admit waits for the provider's breaker and rate limit, before anything is claimed. A non-nil error is the handler's
// result.
func (w *Worker) admit(ctx context.Context, wake paylink.Wake, p Provider) error {
	if until, ok := w.gates.allow(ctx, p, wake); !ok {
		return &Later{At: until.Add(jitter(5 * time.Second)), Why: string(p) + " is stopped by its breaker"}
	}
	limiter := w.Limiter
	if wake.Task == paylink.TaskSettle {
		limiter = w.Amends
	}
	later, err := limiter.Wait(ctx, p, maxTokenWait)
	if err != nil {
		return fmt.Errorf("wait for the rate limit of %s: %w", p, err)
	}
	if later <= 0 {
		return nil
	}
	at := w.Ledger.Now().Add(later)
	if err := w.Ledger.Defer(ctx, wake, at); err != nil {
		return fmt.Errorf("put off %s: %w", wake.Task, err)
	}
	return &Later{At: at, Why: string(p) + " has used up its rate limit"}
}

// recordTries and recordPause bound how long an outcome is held against an outage of the database: some two minutes,
// which most failovers take less than, and which a stopping worker still waits for.
const (
	recordTries = 30
	recordPause = 5 * time.Second
)

// record writes an outcome. Losing it would turn a known outcome into an unknown one, and some of those into a second
// message, so it outlives the shutdown of the worker and an outage of the database. A claim whose lease runs out
// meanwhile is declared unknown by the sweeper, and the outcome still counts when it comes.
func (w *Worker) record(ctx context.Context, what string, fn func(context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	var err error
	for try := range recordTries {
		if try > 0 {
			w.sleep(min(time.Duration(try*try)*200*time.Millisecond, recordPause))
		}
		callCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
		err = fn(callCtx)
		cancel()
		if err == nil || errors.Is(err, paylink.ErrConflict) || errors.Is(err, paylink.ErrNotFound) {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
		if stale(err) != nil {
			w.Log.Error("outcome not recorded", "step", what, "error", err)
		}
	}
	return err
}

// wakeUp hands wakes to the queue. If it cannot, the sweeper will: the ledger knows when they are due.
func (w *Worker) wakeUp(ctx context.Context, wakes ...paylink.Wake) {
	if len(wakes) == 0 {
		return
	}
	if err := w.Queue.Enqueue(ctx, wakes...); err != nil {
		w.Log.Warn("wakes left to the sweeper", "n", len(wakes), "error", err)
	}
}

// backoff is the delay after the k-th temporary failure (from 0): doubling, with jitter, at most an hour; the provider's
// own wish wins when it is longer.
func (w *Worker) backoff(k int, f *paylink.Failure) time.Duration {
	d := w.Backoff << min(k, 12)
	d = min(d, time.Hour)
	return max(d/2+jitter(d/2), f.RetryAfter)
}

func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// retryPlan says when a temporary failure is tried again, and whether the row pays a try for it. exhausted means that the
// row has none left; the failure is then permanent.
func (w *Worker) retryPlan(tries int, f *paylink.Failure) (at time.Time, count, exhausted bool) {
	count = f.Scope == paylink.ScopeRow
	if count && tries+1 >= w.MaxTries {
		return time.Time{}, true, true
	}
	return w.Ledger.Now().Add(w.backoff(tries, f)), count, false
}

// stale turns a conflict into success: somebody else did it, or it is no longer wanted.
func stale(err error) error {
	if errors.Is(err, paylink.ErrConflict) || errors.Is(err, paylink.ErrNotFound) {
		return nil
	}
	return err
}

// alertOnce alerts unless it did so within the last minute: the messages that were under way when a batch halted come to
// the same end one after the other.
func (w *Worker) alertOnce(ctx context.Context, key, text string) {
	now := w.Ledger.Now()
	w.mu.Lock()
	last, told := w.told[key]
	again := told && now.Sub(last) < time.Minute
	if !again {
		w.told[key] = now
	}
	w.mu.Unlock()
	if !again {
		w.Alerter.Alert(ctx, key, text)
	}
}

type noLimit struct{}

func (noLimit) Wait(context.Context, Provider, time.Duration) (time.Duration, error) { return 0, nil }
func (noLimit) Pause(context.Context, Provider, time.Duration) error                 { return nil }

type logAlerter struct{ log *slog.Logger }

func (a logAlerter) Alert(_ context.Context, key, text string) {
	a.log.Error("operator needed", "cause", key, "text", text)
}
