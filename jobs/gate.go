package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"dunlin/paylink"
)

const (
	// tripAfter consecutive failures of the provider itself open its breaker.
	tripAfter = 5
	// firstOpen is how long an open breaker waits before it tests the water; it doubles up to longestOpen.
	firstOpen   = 15 * time.Second
	longestOpen = 15 * time.Minute
	// probeTime is how long one probe has the provider to itself. It outlasts every call, so that only the probe of a
	// process that died runs out of it.
	probeTime = 3 * time.Minute
	// probeWait is when those who came during a probe ask again; most probes are over in a second.
	probeWait = 5 * time.Second
	// gateFresh is how long a process trusts what it read of the gates.
	gateFresh = time.Second
)

// gates are the circuit breakers of the providers. The state is in the ledger and shared; what a single process counts
// is only how many failures it saw in a row. Work that meets an open breaker is put off, and no row's retry is spent.
type gates struct {
	ledger  Ledger
	alerter Alerter
	log     *slog.Logger

	mu       sync.Mutex
	known    map[Provider]paylink.Gate
	read     time.Time
	failures map[Provider]int
	probing  map[Provider]paylink.Wake // the task of this process that tests the water
}

func newGates(l Ledger, a Alerter, log *slog.Logger) *gates {
	return &gates{ledger: l, alerter: a, log: log, known: map[Provider]paylink.Gate{}, failures: map[Provider]int{}, probing: map[Provider]paylink.Wake{}}
}

// refresh reads the gates if what we know is old.
func (g *gates) refresh(ctx context.Context) {
	now := g.ledger.Now()
	g.mu.Lock()
	stale := g.read.IsZero() || now.Sub(g.read) > gateFresh || now.Before(g.read)
	g.mu.Unlock()
	if !stale {
		return
	}
	list, err := g.ledger.Gates(ctx)
	if err != nil {
		g.log.Warn("gates not read", "error", err)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.known)
	for _, x := range list {
		g.known[Provider(x.Provider)] = x
	}
	g.read = now
}

// room cuts a window to what the provider's breaker lets through: all of it, one task to test the water, or none.
func (g *gates) room(ctx context.Context, p Provider, window int) int {
	g.refresh(ctx)
	now := g.ledger.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	gate, stopped := g.known[p]
	switch {
	case !stopped:
		return max(0, window)
	case gate.State != paylink.GateHalted && !gate.Until.After(now): // open long enough, or its probe died
		return min(1, max(0, window))
	}
	return 0
}

// allow says whether p may be called now; if not, when to ask again. When an open breaker's time is up, one task gets
// through to test the water; it ends with giveBack.
func (g *gates) allow(ctx context.Context, p Provider, wake paylink.Wake) (until time.Time, ok bool) {
	g.refresh(ctx)
	now := g.ledger.Now()
	g.mu.Lock()
	gate, stopped := g.known[p]
	g.mu.Unlock()
	if !stopped {
		return time.Time{}, true
	}
	if gate.State == paylink.GateHalted {
		return now.Add(longestOpen / 15), false
	}
	if gate.Until.After(now) {
		return g.askAgain(gate, now), false
	}
	mine := false
	after, _, err := g.ledger.ChangeGate(ctx, string(p), func(x paylink.Gate) paylink.Gate {
		mine = false
		if x.State == paylink.GateClosed || x.State == paylink.GateHalted || x.Until.After(now) {
			return x
		}
		mine = true
		x.State, x.Until = paylink.GateProbing, now.Add(probeTime)
		return x
	})
	if err != nil {
		g.log.Warn("gate not changed", "provider", p, "error", err)
		return now.Add(gateFresh), false
	}
	g.remember(p, after)
	if mine {
		g.mu.Lock()
		g.probing[p] = wake
		g.mu.Unlock()
	}
	return g.askAgain(after, now), mine || after.State == paylink.GateClosed
}

// askAgain is when to look at a gate again that lets nobody through.
func (g *gates) askAgain(x paylink.Gate, now time.Time) time.Time {
	if soon := now.Add(probeWait); x.State == paylink.GateProbing && soon.Before(x.Until) {
		return soon
	}
	return x.Until
}

// giveBack ends a task's probe that came to no call: its row was put off, or is no longer wanted. Another may test the
// water at once.
func (g *gates) giveBack(ctx context.Context, p Provider, wake paylink.Wake) {
	g.mu.Lock()
	unused := g.probing[p] == wake && wake.ID != 0
	if unused {
		delete(g.probing, p)
	}
	g.mu.Unlock()
	if !unused {
		return
	}
	now := g.ledger.Now()
	after, _, err := g.ledger.ChangeGate(context.WithoutCancel(ctx), string(p), func(x paylink.Gate) paylink.Gate {
		if x.State == paylink.GateProbing {
			x.State, x.Until = paylink.GateOpen, now
		}
		return x
	})
	if err != nil {
		g.log.Warn("probe not given back", "provider", p, "error", err)
		return
	}
	g.remember(p, after)
}

func (g *gates) remember(p Provider, x paylink.Gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if x.State == paylink.GateClosed {
		delete(g.known, p)
	} else {
		g.known[p] = x
	}
}

// ok records that the provider works: failures in a row are over, and a breaker that was being tested closes.
func (g *gates) ok(ctx context.Context, p Provider) {
	g.mu.Lock()
	g.failures[p] = 0
	delete(g.probing, p)
	_, stopped := g.known[p]
	g.mu.Unlock()
	if !stopped {
		return
	}
	after, changed, err := g.ledger.ChangeGate(context.WithoutCancel(ctx), string(p), func(x paylink.Gate) paylink.Gate {
		if x.State != paylink.GateProbing {
			return x // opened or halted by somebody who knows more than this one answer
		}
		return paylink.Gate{Provider: x.Provider, State: paylink.GateClosed}
	})
	if err != nil {
		g.log.Warn("gate not closed", "provider", p, "error", err)
		return
	}
	g.remember(p, after)
	if changed {
		g.log.Info("provider works again", "provider", p)
	}
}

// failed counts a failure. An account failure halts the provider until a person acts; the provider's own failures in a
// row, or one while the water is tested, open the breaker. ctx is the handler's, not the call's: what ended because we
// stop says nothing about the provider.
func (g *gates) failed(ctx context.Context, p Provider, f *paylink.Failure) {
	switch {
	case f.Scope == paylink.ScopeAccount:
		g.halt(ctx, p, fmt.Sprintf("%s does not accept our account or sender: %s; mend the configuration, then: enqueue resume %s", p, f.Error(), p))
		return
	case ctx.Err() != nil && f.Code == "":
		return
	case f.Scope != paylink.ScopeProvider && f.Cause != paylink.CauseLostAnswer, f.Cause == paylink.CauseRateLimited:
		g.ok(ctx, p) // it answered, if only to refuse this row or to slow us down, which is the limiter's matter
		return
	}
	g.mu.Lock()
	g.failures[p]++
	_, probing := g.probing[p]
	trip := g.failures[p] >= tripAfter || probing
	g.mu.Unlock()
	if trip {
		g.open(ctx, p, f)
	}
}

func (g *gates) open(ctx context.Context, p Provider, f *paylink.Failure) {
	now := g.ledger.Now()
	after, changed, err := g.ledger.ChangeGate(context.WithoutCancel(ctx), string(p), func(x paylink.Gate) paylink.Gate {
		if x.State == paylink.GateHalted || (x.State == paylink.GateOpen && x.Until.After(now)) {
			return x
		}
		wait := min(firstOpen<<min(x.Opened, 10), longestOpen)
		x.State, x.Opened, x.Until, x.Why = paylink.GateOpen, x.Opened+1, now.Add(wait), f.Error()
		return x
	})
	if err != nil {
		g.log.Warn("gate not opened", "provider", p, "error", err)
		return
	}
	g.mu.Lock()
	g.failures[p] = 0
	delete(g.probing, p)
	g.mu.Unlock()
	g.remember(p, after)
	if changed && after.Opened == 1 {
		g.alerter.Alert(ctx, "breaker "+string(p), fmt.Sprintf("%s does not answer as it should (%s); sending is put off and tried again by itself", p, f.Error()))
	}
}

// halt stops a provider until a person acts.
func (g *gates) halt(ctx context.Context, p Provider, why string) {
	after, changed, err := g.ledger.ChangeGate(context.WithoutCancel(ctx), string(p), func(x paylink.Gate) paylink.Gate {
		if x.State != paylink.GateHalted {
			x.State, x.Why = paylink.GateHalted, why
		}
		return x
	})
	if err != nil {
		g.log.Warn("gate not halted", "provider", p, "error", err)
		return
	}
	g.mu.Lock()
	delete(g.probing, p)
	g.mu.Unlock()
	g.remember(p, after)
	if changed {
		g.alerter.Alert(ctx, "halted "+string(p), why)
	}
}

// ResumeProvider lets a halted or open provider be tested at once. Called by a person, and when a worker starts: its
// configuration may be the new one.
func ResumeProvider(ctx context.Context, l Ledger, p Provider, actor, why string) (was paylink.Gate, err error) {
	now := l.Now()
	_, _, err = l.ChangeGate(ctx, string(p), func(x paylink.Gate) paylink.Gate {
		was = x
		if x.State == paylink.GateClosed {
			return x
		}
		x.State, x.Until, x.Opened, x.Actor = paylink.GateOpen, now, 0, actor
		if why != "" {
			x.Why = "resumed: " + why
		}
		return x
	})
	return was, err
}
