package jobs_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dunlin/jobs"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

// TestCanary sends a few rows first and waits for a person.
func TestCanary(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.send(12, ledgertest.Canary(4))
		w.settle()
		if c := w.counts(id); c.Sent != 4 || c.Pending != 8 {
			t.Errorf("got %+v, want 4 sent and 8 pending", c)
		}
		if diff := cmp.Diff([]string{"batch " + id.String()}, w.alerts.list()); diff != "" {
			t.Errorf("alerts (-want +got):\n%s", diff)
		}
		if err := w.db.Resume(t.Context(), id, "clerk", "looks good"); err != nil {
			t.Fatal(err)
		}
		w.settle()
		ledgertest.Audit(t, w.db)
		if c := w.counts(id); c.Sent != 12 || len(w.alerts.list()) != 1 {
			t.Errorf("got %+v and alerts %v, want 12 sent and no further alert", c, w.alerts.list())
		}
	})
}

// TestBrake halts a batch most of which fails.
func TestBrake(t *testing.T) {
	onBoth(t, func(w *world) {
		w.config.Window = map[jobs.Provider]int{jobs.ProviderCheckout: 2}
		w.restart()
		id := w.send(20, ledgertest.Brake(10, 3), ledgertest.Each(func(r *paylink.Row) { r.Email = fmt.Sprintf("nobody%d@example.com", r.Number) }))
		w.settle()
		c := w.counts(id)
		if c.Failed < 4 || c.Failed > 8 || c.Pending == 0 {
			t.Errorf("got %+v, want a halt soon after 4 failed", c)
		}
		b, err := w.db.Batch(t.Context(), id)
		if err != nil || b.State != paylink.BatchHalted {
			t.Errorf("the batch is %s, error %v; want halted", b.State, err)
		}
		if diff := cmp.Diff([]string{"batch " + id.String()}, w.alerts.list()); diff != "" {
			t.Errorf("alerts (-want +got):\n%s", diff)
		}
		ledgertest.Audit(t, w.db)
	})
}

// TestWindowsAreShared feeds a large and a small batch through a small window, with channels that take only a few
// messages at a time.
func TestWindowsAreShared(t *testing.T) {
	onBoth(t, func(w *world) {
		w.config.Window = map[jobs.Provider]int{jobs.ProviderCheckout: 4, jobs.ProviderEmail: 2}
		w.restart()
		large, small := w.send(40), w.send(3, ledgertest.Each(func(r *paylink.Row) { r.Email = "small" + r.Email }))
		w.settleUntil(func() bool { return w.counts(small).Sent == 3 })
		if c := w.counts(large); c.Sent > 20 {
			t.Errorf("%d rows of the large batch were sent before 3 of the small one", c.Sent)
		}
		for range 400 {
			if n, _ := w.queue.Depth(context.Background(), jobs.ProviderCheckout); n > 4 {
				t.Fatalf("the queue holds %d tasks, its window is 4", n)
			}
			if w.counts(large).Done() {
				break
			}
			w.steps(1)
		}
		w.settle()
		ledgertest.Audit(t, w.db)
		if c := w.counts(large); c.Sent != 40 {
			t.Errorf("got %+v, want 40 sent", c)
		}
		if dups := w.box.Duplicates(); len(dups) != 0 {
			t.Errorf("got duplicates: %v", dups)
		}
	})
}
