package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"dunlin/paylink"
)

// ReconcileLedger is what the reconciler needs of the record beside [Ledger].
type ReconcileLedger interface {
	DueLooks(ctx context.Context, batch paylink.BatchID, limit int) ([]paylink.Look, error)
	LooksBehind(ctx context.Context, batch paylink.BatchID) (paylink.LooksBehind, error)
	ClaimLook(ctx context.Context, l paylink.Look, lease time.Duration) (paylink.Look, error)
	Looked(ctx context.Context, l paylink.Look, seen *paylink.CheckoutSession) (moved bool, err error)
	PutOffLook(ctx context.Context, l paylink.Look, until time.Time) error
}

// Reconciler asks the provider about sessions whose webhooks may have been lost: as the ledger plans it, and within what
// the other uses of the provider leave. It reads sessions only; the provider's inquiry endpoint, which allows few calls a
// day for each session, is never asked.
type Reconciler struct {
	worker *Worker
	ledger ReconcileLedger
	limit  Limiter

	every            time.Duration // between two passes of Run
	complained, told time.Time     // belong to Run's goroutine
}

// NewReconciler makes a reconciler. It uses the worker's provider, breakers and settings; limit is that of its class, nil =
// none.
func NewReconciler(w *Worker, l ReconcileLedger, limit Limiter) *Reconciler {
	if limit == nil {
		limit = noLimit{}
	}
	return &Reconciler{worker: w, ledger: l, limit: limit, every: passEvery}
}

// Pass is what one pass came to.
type Pass struct {
	Asked  int // sessions that the provider answered about
	News   int // of those, in another state than the record had
	Paid   int // of those, with money
	Failed int // questions without an answer
	// Left is how many looks are due and were not made.
	Left int64
	// Stopped says why the pass ended before all were made, and Again when more is worth trying.
	Stopped string
	Again   time.Time
	// Odd are the sessions whose answers could not be understood. They are asked about again after oddGap.
	Odd []paylink.Look
}

const (
	// lookPage is how many due looks are read at once; lookers how many questions are under way at once.
	lookPage, lookers = 100, 4
	// slotPatience is how long a pass waits for others to leave it a slot of the rate before it ends.
	slotPatience = 5 * time.Second
	oddGap       = 30 * time.Minute
)

// pass is a pass under way.
type pass struct {
	*Reconciler
	slots   chan struct{}
	working sync.WaitGroup

	mu    sync.Mutex
	sum   Pass
	tried map[paylink.SessionID]bool // without an answer, and still due
	err   error
}

// Pass makes the looks that are due, of a batch or (0) of all, the largest sums first, until there is none, the budget is
// used up, the breaker is open, or goOn says no. goOn is asked before each look and told how far the pass is; nil = always.
// The error is the ledger's or the limiter's; what was done until then is in the pass.
func (r *Reconciler) Pass(ctx context.Context, batch paylink.BatchID, goOn func(Pass) bool) (Pass, error) {
	p := &pass{Reconciler: r, slots: make(chan struct{}, lookers), tried: map[paylink.SessionID]bool{}}
	err := p.run(ctx, batch, goOn)
	p.working.Wait()
	err = errors.Join(err, p.err)
	behind, e := r.ledger.LooksBehind(context.WithoutCancel(ctx), batch)
	p.sum.Left = behind.N
	if p.sum.Left > 0 && p.sum.Again.IsZero() {
		p.sum.Again = r.worker.Ledger.Now().Add(passEvery)
	}
	return p.sum, errors.Join(err, e)
}

func (p *pass) run(ctx context.Context, batch paylink.BatchID, goOn func(Pass) bool) error {
	for {
		due, err := p.ledger.DueLooks(ctx, batch, lookPage+p.failures())
		if err != nil {
			return err
		}
		fresh := false
		for _, l := range due {
			if p.wasTried(l.Session) {
				continue
			}
			fresh = true
			if sum, err := p.so(); err != nil || sum.Stopped != "" || ctx.Err() != nil || (goOn != nil && !goOn(sum)) {
				return errors.Join(err, ctx.Err())
			}
			if err := p.look(ctx, l); err != nil {
				return err
			}
		}
		if !fresh {
			return nil
		}
		p.working.Wait() // what was answered is due no more, and is not read again
	}
}

func (p *pass) so() (Pass, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sum, p.err
}

func (p *pass) failures() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.tried)
}

func (p *pass) wasTried(id paylink.SessionID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tried[id]
}

func (p *pass) stop(why string, again time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sum.Stopped == "" {
		p.sum.Stopped, p.sum.Again = why, again
	}
}

// lookWake names a look to the breakers; it never reaches a queue.
func lookWake(id paylink.SessionID) paylink.Wake {
	return paylink.Wake{Task: "reconcile", ID: int64(id)}
}

// look begins one look if the breaker and the budget let it, or stops the pass.
func (p *pass) look(ctx context.Context, l paylink.Look) error {
	w, wake := p.worker, lookWake(l.Session)
	until, ok := w.gates.allow(ctx, ProviderCheckout, wake)
	if !ok { // perhaps a look of ours is testing the water
		p.working.Wait()
		until, ok = w.gates.allow(ctx, ProviderCheckout, wake)
	}
	if !ok {
		p.stop("the provider is stopped by its breaker", until)
		return nil
	}
	asked := false
	defer func() {
		if !asked {
			w.gates.giveBack(ctx, ProviderCheckout, wake)
		}
	}()
	if later, err := p.slot(ctx); err != nil {
		return fmt.Errorf("wait for the rate limit of %s: %w", ProviderCheckout, err)
	} else if later > 0 {
		p.stop("the budget for asking is used up", w.Ledger.Now().Add(later))
		return nil
	}
	c, err := p.ledger.ClaimLook(ctx, l, w.CheckoutTimeout+leaseMargin)
	if err != nil {
		return stale(err)
	}
	asked = true
	p.slots <- struct{}{}
	p.working.Go(func() {
		defer func() { <-p.slots }()
		defer w.gates.giveBack(ctx, ProviderCheckout, wake)
		p.ask(ctx, l, c)
	})
	return nil
}

// slot waits for a slot that nobody else wants. later is when there may be one.
func (p *pass) slot(ctx context.Context) (later time.Duration, err error) {
	for waited := time.Duration(0); ; waited += later {
		if later, err = p.limit.Wait(ctx, ProviderCheckout, 0); err != nil || later <= 0 || waited+later > slotPatience {
			return later, err
		}
		if err := sleep(ctx, later); err != nil {
			return 0, err
		}
	}
}

// ask asks the provider and writes down what it shows.
func (p *pass) ask(ctx context.Context, due, c paylink.Look) {
	w := p.worker
	callCtx, cancel := context.WithTimeout(ctx, w.CheckoutTimeout)
	defer cancel()
	seen, err := w.Checkout.Retrieve(callCtx, due.ProviderID)
	gone := errors.Is(err, paylink.ErrNotFound)
	if err != nil && !gone {
		p.unanswered(ctx, due, c, paylink.AsFailure(err))
		return
	}
	w.gates.ok(ctx, ProviderCheckout)
	shown := &seen
	if gone {
		w.Log.Warn("the provider does not know a session whose link was given away", "session", due.Session.String(), "request", due.Request.String())
		shown = nil
	}
	moved := false
	err = w.record(ctx, "record what a session showed", func(ctx context.Context) (err error) {
		moved, err = p.ledger.Looked(ctx, c, shown)
		return err
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := stale(err); err != nil {
		p.err = err
		return
	}
	p.sum.Asked++
	if moved {
		p.sum.News++
		w.Log.Info("news by asking", "session", due.Session.String(), "request", due.Request.String(), "state", seen.State)
	}
	if moved && seen.State.Settled() {
		p.sum.Paid++
	}
}

// unanswered gives a look back. What is the provider's fault stays due; what is wrong with one session's answer waits.
func (p *pass) unanswered(ctx context.Context, due, c paylink.Look, f *paylink.Failure) {
	w := p.worker
	w.Log.Info("session not shown", "session", due.Session.String(), "kind", f.Kind, "scope", f.Scope, "cause", f.Cause, "code", f.Code)
	until, odd := due.Due, f.Scope == paylink.ScopeRow
	if odd { // the provider works; a state in a new word, perhaps
		until = w.Ledger.Now().Add(oddGap)
		w.gates.ok(ctx, ProviderCheckout)
	} else {
		w.gates.failed(ctx, ProviderCheckout, f)
		w.slowDown(ctx, ProviderCheckout, f)
	}
	err := w.record(ctx, "give a look back", func(ctx context.Context) error { return p.ledger.PutOffLook(ctx, c, until) })
	if f.Cause == paylink.CauseRateLimited {
		p.stop("the provider asks us to slow down", w.Ledger.Now().Add(max(f.RetryAfter, time.Second)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.err = err
	}
	p.sum.Failed++
	if odd {
		due.Due = until
		p.sum.Odd = append(p.sum.Odd, due)
	} else {
		p.tried[due.Session] = true
	}
}

// The rhythm of reconciling.
const (
	passEvery = 5 * time.Second
	passTTL   = time.Minute
	// behindQuiet is how often it is told that looks are behind, and lateAfter what counts as that.
	behindQuiet, lateAfter = 10 * time.Minute, time.Minute
)

// reconcileLease is the name of the lease under which one process at a time asks.
const reconcileLease = "reconcile"

// Run asks until ctx ends. Every worker runs it; the lease lets one at a time ask, and nothing is asked twice if two do.
func (r *Reconciler) Run(ctx context.Context) {
	w := r.worker
	defer func() {
		dropCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = w.Ledger.DropLease(dropCtx, reconcileLease, w.Name)
	}()
	ticker := time.NewTicker(r.every)
	defer ticker.Stop()
	var until time.Time // of the lease, by our own clock
	mine := func(Pass) bool {
		if now := time.Now(); now.After(until) {
			ok, err := w.Ledger.TakeLease(ctx, reconcileLease, w.Name, passTTL)
			if err != nil {
				r.complain(ctx, err)
			}
			if err != nil || !ok {
				return false
			}
			until = now.Add(passTTL / 3)
		}
		return true
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !mine(Pass{}) {
			continue
		}
		sum, err := r.Pass(ctx, 0, mine)
		if err != nil {
			r.complain(ctx, err)
		}
		r.tell(ctx, sum)
	}
}

func (r *Reconciler) complain(ctx context.Context, err error) {
	if ctx.Err() != nil || time.Since(r.complained) < time.Minute {
		return
	}
	r.complained = time.Now()
	r.worker.Log.Warn("reconcile", "error", err)
}

// tell logs what a pass could not afford.
func (r *Reconciler) tell(ctx context.Context, sum Pass) {
	if sum.Left == 0 || sum.Stopped == "" || time.Since(r.told) < behindQuiet {
		return
	}
	behind, err := r.ledger.LooksBehind(ctx, 0)
	if late := r.worker.Ledger.Now().Sub(behind.Oldest); err == nil && behind.N > 0 && late > lateAfter {
		r.told = time.Now()
		r.worker.Log.Warn("sessions could not be looked at in time", "n", behind.N, "oldest", late.String(), "why", sum.Stopped, "again", sum.Again)
	}
}
