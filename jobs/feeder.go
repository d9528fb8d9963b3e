package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"dunlin/paylink"
)

// fullness says which channels' queues hold a full window. Messages for those wait in the ledger; the sweeper brings
// them when there is room, so that the queue's memory does not grow with the file.
type fullness struct {
	mu   sync.Mutex
	full map[paylink.Channel]bool
}

func (f *fullness) set(ch paylink.Channel, full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// A new map each time: handlers keep the one they were given.
	next := map[paylink.Channel]bool{}
	for k, v := range f.full {
		next[k] = v
	}
	next[ch] = full
	f.full = next
}

func (f *fullness) channels() map[paylink.Channel]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.full
}

// LookAtQueues reads how full the channels' queues are. Every process does, several times a second.
func (w *Worker) LookAtQueues(ctx context.Context) (room map[paylink.Channel]int, err error) {
	room = map[paylink.Channel]int{}
	for _, ch := range paylink.Channels {
		if w.Senders[ch] == nil {
			continue
		}
		n, err := w.Queue.Depth(ctx, Provider(ch))
		if err != nil {
			return room, fmt.Errorf("look at the %s queue: %w", ch, err)
		}
		w.full.set(ch, n >= w.window(Provider(ch)))
		room[ch] = w.gates.room(ctx, Provider(ch), w.window(Provider(ch))-n)
	}
	return room, nil
}

// Feed moves rows of running batches into the checkout queue while there is room in its window, an equal share to each
// batch, and says how many. A batch that has its full number in flight gets none.
func (w *Worker) Feed(ctx context.Context) (fed int, err error) {
	batches, err := w.Ledger.Feedable(ctx)
	if err != nil || len(batches) == 0 {
		return 0, err
	}
	depth, err := w.Queue.Depth(ctx, ProviderCheckout)
	if err != nil {
		return 0, fmt.Errorf("look at the checkout queue: %w", err)
	}
	room := w.gates.room(ctx, ProviderCheckout, w.window(ProviderCheckout)-depth)
	for i, b := range batches {
		if room <= 0 {
			break
		}
		share := (room + len(batches) - i - 1) / (len(batches) - i)
		n := min(share, int(b.Pending), w.InFlight-int(b.InFlight))
		if n <= 0 {
			continue
		}
		wakes, err := w.Ledger.Feed(ctx, b.Batch, n)
		if err != nil {
			return fed, fmt.Errorf("feed %s: %w", b.Batch, err)
		}
		w.wakeUp(ctx, wakes...)
		room -= len(wakes)
		fed += len(wakes)
	}
	return fed, nil
}

// Sweep wakes what is due and picks up what the dead left behind.
func (w *Worker) Sweep(ctx context.Context, room map[paylink.Channel]int) (int, error) {
	depth, err := w.Queue.Depth(ctx, ProviderCheckout)
	if err != nil {
		return 0, fmt.Errorf("look at the checkout queue: %w", err)
	}
	n := w.gates.room(ctx, ProviderCheckout, w.window(ProviderCheckout)-depth)
	opt := paylink.SweepOptions{Room: room, FirstCheck: FirstCheck, Requests: n, Sessions: max(n, w.gates.room(ctx, ProviderCheckout, 50))}
	wakes, err := w.Ledger.Sweep(ctx, opt)
	w.wakeUp(ctx, wakes...)
	return len(wakes), err
}

// Advance moves batches on and tells the operator of those that stopped themselves.
func (w *Worker) Advance(ctx context.Context) error {
	stopped, err := w.Ledger.Advance(ctx)
	for _, b := range stopped {
		w.Alerter.Alert(ctx, "batch "+b.ID.String(), fmt.Sprintf("batch %s is %s: %s", b.ID, b.State, b.Why))
	}
	return err
}

// The rhythm of upkeep.
const (
	feedEvery  = 50 * time.Millisecond
	sweepEvery = 500 * time.Millisecond
	upkeepTTL  = 15 * time.Second
	dropEvery  = time.Hour
)

// upkeepLease is the name of the lease under which one process at a time feeds and sweeps.
const upkeepLease = "upkeep"

// Upkeep feeds, sweeps and advances until ctx ends. Every worker runs it; the lease lets one at a time do the work, and
// nothing breaks if two do.
func (w *Worker) Upkeep(ctx context.Context) {
	defer func() {
		dropCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = w.Ledger.DropLease(dropCtx, upkeepLease, w.Name)
	}()
	ticker := time.NewTicker(feedEvery)
	defer ticker.Stop()
	var leaseUntil, nextSweep, nextLook, nextTidy, nextDrop time.Time
	mine := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		if now.After(leaseUntil) {
			var err error
			if mine, err = w.Ledger.TakeLease(ctx, upkeepLease, w.Name, upkeepTTL); err != nil {
				w.complain(ctx, "take the upkeep lease", err)
				mine = false
			}
			leaseUntil = now.Add(upkeepTTL / 5)
		}
		if mine {
			if _, err := w.Feed(ctx); err != nil {
				w.complain(ctx, "feed", err)
			}
		}
		if now.Before(nextLook) {
			continue
		}
		nextLook = now.Add(sweepEvery / 2)
		room, err := w.LookAtQueues(ctx)
		if err != nil {
			w.complain(ctx, "look at queues", err)
			continue
		}
		if !mine || now.Before(nextSweep) {
			continue
		}
		nextSweep = now.Add(sweepEvery)
		if _, err := w.Sweep(ctx, room); err != nil {
			w.complain(ctx, "sweep", err)
		}
		if err := w.Advance(ctx); err != nil {
			w.complain(ctx, "advance batches", err)
		}
		if now.After(nextDrop) {
			nextDrop = now.Add(dropEvery)
			if err := w.Ledger.DropAttachments(ctx); err != nil {
				w.complain(ctx, "drop attachments", err)
			}
		}
		if now.Before(nextTidy) {
			continue
		}
		nextTidy = now.Add(tidyEvery)
		if err := w.Tidy(ctx); err != nil {
			w.complain(ctx, "erase what was kept long enough", err)
		}
	}
}

// complain logs what keeps upkeep from working, once a minute for each step: it runs twenty times a second.
func (w *Worker) complain(ctx context.Context, what string, err error) {
	if ctx.Err() != nil || time.Since(w.complained[what]) < time.Minute {
		return
	}
	w.complained[what] = time.Now()
	w.Log.Warn("upkeep", "step", what, "error", err)
}
