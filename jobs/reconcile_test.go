package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/internal/testenv"
	"dunlin/jobs"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// budget lets so many calls through and tells the others to come in an hour.
type budget struct {
	pauses
	left int
}

func (b *budget) Wait(context.Context, jobs.Provider, time.Duration) (time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == 0 {
		return time.Hour, nil
	}
	b.left--
	return 0, nil
}

func (b *budget) grant(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = n
}

// shown are the sessions of n debts whose payers were sent on to pay, and whom nothing tells of what they do there.
func (w *world) shown(n int, opts ...ledgertest.Option) (ids []paylink.RequestID) {
	w.Helper()
	wakes, err := w.db.Feed(w.Context(), w.send(n, opts...), n)
	if err != nil {
		w.Fatal(err)
	}
	for _, wake := range wakes {
		if err := w.worker.Do(w.Context(), wake); err != nil {
			w.Fatal(err)
		}
		id := paylink.RequestID(wake.ID)
		if _, err := w.db.RevealSession(w.Context(), w.session(id).ID); err != nil {
			w.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func (w *world) session(id paylink.RequestID) paylink.Session {
	w.Helper()
	l, err := w.db.Request(w.Context(), id)
	if err != nil || l.Session == nil {
		w.Fatalf("reading the session of %s: %v", id, err)
	}
	return *l.Session
}

func (w *world) pays(ids []paylink.RequestID, o sandbox.Outcome) {
	w.Helper()
	for _, id := range ids {
		if _, err := w.box.Pay(w.Context(), w.session(id).ProviderID, o, false); err != nil {
			w.Fatal(err)
		}
	}
}

// stand compares the payment states of requests.
func (w *world) stand(ids []paylink.RequestID, want paylink.PaymentState) {
	w.Helper()
	for _, id := range ids {
		if l, err := w.db.Request(w.Context(), id); err != nil || l.Request.Payment != want || l.Request.Attempts != 0 {
			w.Fatalf("%s is %s after %d tries, error %v; want %s after none", id, l.Request.Payment, l.Request.Attempts, err, want)
		}
	}
}

func (w *world) pass(r *jobs.Reconciler) jobs.Pass {
	w.Helper()
	sum, err := r.Pass(w.Context(), 0, nil)
	if err != nil {
		w.Fatal(err)
	}
	return sum
}

// calls compares what was asked of Ottu. Its inquiry endpoint is none of it.
func (w *world) calls(want map[string]int64) {
	w.Helper()
	if diff := cmp.Diff(want, w.box.Counts().Calls); diff != "" {
		w.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestReconcileFindsAll loses the webhooks of a thousand payments.
func TestReconcileFindsAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, databases[0])
	const payments, each = 1000, 300
	ids := w.shown(payments)
	w.pays(ids, sandbox.PayFull)
	limit := &budget{}
	r := jobs.NewReconciler(w.worker, w.db, limit)
	if sum := w.pass(r); sum.Asked != 0 || sum.Left != 0 {
		t.Errorf("right after the click: got %+v, want nothing to be asked yet", sum)
	}
	w.clock.Advance(10 * time.Minute)
	for asked := 0; asked < payments; {
		n := min(each, payments-asked)
		limit.grant(n)
		sum := w.pass(r)
		asked += n
		w.calls(map[string]int64{"ottu.create": payments, "ottu.retrieve": int64(asked)})
		want := jobs.Pass{Asked: n, News: n, Paid: n, Left: int64(payments - asked)}
		if want.Left > 0 {
			want.Stopped, want.Again = "the budget for asking is used up", w.clock.Now().Add(time.Hour)
		}
		if diff := cmp.Diff(want, sum); diff != "" {
			t.Errorf("pass (-want +got):\n%s", diff)
		}
		if behind, err := w.db.LooksBehind(t.Context(), 0); err != nil || behind.N != want.Left {
			t.Errorf("got %+v, %v behind; want %d", behind, err, want.Left)
		}
	}
	w.stand(ids, paylink.PaymentPaid)
	if n, err := w.db.Used(t.Context(), "checkout", w.clock.Now()); err != nil || n != 2*payments {
		t.Errorf("the day counts %d calls, %v; want %d", n, err, 2*payments)
	}
	ledgertest.Audit(t, w.db)
}

func TestReconcileLargestFirst(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		small := w.shown(4, ledgertest.Each(func(r *paylink.Row) { r.Amount.Minor = 900 }))
		large := w.shown(4, ledgertest.Each(func(r *paylink.Row) { r.Amount.Minor = 1_000_000 + int64(r.Number) }))
		w.pays(append(small, large...), sandbox.PayFull)
		w.clock.Advance(10 * time.Minute)
		limit := &budget{left: 4}
		r := jobs.NewReconciler(w.worker, w.db, limit)
		if sum := w.pass(r); sum.Paid != 4 || sum.Left != 4 {
			w.Errorf("got %+v, want 4 paid and 4 left", sum)
		}
		w.stand(large, paylink.PaymentPaid)
		w.stand(small, paylink.PaymentUnpaid)
		limit.grant(9)
		w.pass(r)
		w.stand(small, paylink.PaymentPaid)
		ledgertest.Audit(w.T, w.db)
	})
}

// TestReconcileRefused lets Ottu fail in the ways it can. What was not answered is asked again, and no row pays for it.
func TestReconcileRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rule    sandbox.Rule
		most    int64 // calls while it fails
		stopped string
		odd     bool
		wait    time.Duration
	}{
		{"slow down", sandbox.Rule{Action: sandbox.Refuse, Status: 429, RetryAfter: 7}, 5, "the provider asks us to slow down", false, 7 * time.Second},
		{"down", sandbox.Rule{Action: sandbox.Refuse, Status: 503}, 12, "the provider is stopped by its breaker", false, time.Minute},
		{"nobody there", sandbox.Rule{Action: sandbox.FailBefore}, 12, "the provider is stopped by its breaker", false, time.Minute},
		{"wrong key", sandbox.Rule{Action: sandbox.Refuse, Status: 401}, 6, "the provider is stopped by its breaker", false, time.Minute},
		{"a refusal nobody documented", sandbox.Rule{Action: sandbox.Refuse, Status: 418}, 20, "", true, 30 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(w *world) {
				ids := w.shown(20)
				w.pays(ids, sandbox.PayFull)
				w.clock.Advance(10 * time.Minute)
				rule := tt.rule // both databases' worlds have a copy
				rule.Provider, rule.Op = sandbox.Ottu, "retrieve"
				w.fault(rule)
				r := jobs.NewReconciler(w.worker, w.db, nil)
				sum := w.pass(r)
				if sum.Asked != 0 || sum.Failed == 0 || sum.Stopped != tt.stopped {
					w.Errorf("got %+v, want it stopped: %q", sum, tt.stopped)
				}
				if n := w.box.Counts().Calls["ottu.retrieve"]; n > tt.most {
					w.Errorf("got %d calls, want at most %d", n, tt.most)
				}
				switch {
				case tt.odd && (sum.Left != 0 || len(sum.Odd) != 20 || !sum.Odd[0].Due.Equal(w.clock.Now().Add(tt.wait))):
					w.Errorf("got %d left and %d odd, want 20 odd", sum.Left, len(sum.Odd))
				case !tt.odd && (sum.Left != 20 || sum.Again.Before(w.clock.Now())):
					w.Errorf("got %d left until %s, want all 20", sum.Left, sum.Again)
				}
				if g := w.gate(jobs.ProviderCheckout); tt.odd && g.State != paylink.GateClosed {
					w.Errorf("one session's odd answer makes the breaker %s", g.State)
				}
				w.stand(ids, paylink.PaymentUnpaid)
				w.box.ClearFaults()
				if _, err := jobs.ResumeProvider(w.Context(), w.db, jobs.ProviderCheckout, "clerk", "mended"); err != nil {
					w.Fatal(err)
				}
				w.clock.Advance(tt.wait)
				if sum := w.pass(r); sum.Paid != 20 || sum.Left != 0 || sum.Stopped != "" {
					w.Errorf("when it works again: got %+v, want all 20 paid", sum)
				}
				w.stand(ids, paylink.PaymentPaid)
				ledgertest.Audit(w.T, w.db)
			})
		})
	}
}

// TestReconcileDead looks at sessions after their end, which Ottu may or may not call expired.
func TestReconcileDead(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault bool
		want  paylink.SessionState
	}{{"called expired", false, paylink.SessionExpired}, {"called created for ever", true, paylink.SessionOpen}} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				if tt.fault {
					w.fault(sandbox.Rule{Provider: sandbox.Ottu, Op: "retrieve", Action: sandbox.CreatedAfterExpiry})
				}
				ids := w.shown(1)
				r := jobs.NewReconciler(w.worker, w.db, nil)
				for range 60 * 6 { // the session lives for 48 h
					w.clock.Advance(10 * time.Minute)
					w.pass(r)
				}
				w.stand(ids, paylink.PaymentUnpaid)
				if got := w.session(ids[0]).State; got != tt.want {
					w.Errorf("got session %s, want %s", got, tt.want)
				}
				n := w.box.Counts().Calls["ottu.retrieve"]
				w.clock.Advance(365 * 24 * time.Hour)
				w.pass(r)
				if again := w.box.Counts().Calls["ottu.retrieve"]; n > 10 || again != n {
					w.Errorf("got %d looks in its life and %d after it, want few and none", n, again-n)
				}
				ledgertest.Audit(w.T, w.db)
			})
		})
	}
}

// TestReconcileThenWebhook is told late of what was found: half of it had been paid.
func TestReconcileThenWebhook(t *testing.T) {
	onBoth(t, func(w *world) {
		ids := w.shown(1)
		w.pays(ids, sandbox.PayPart)
		w.clock.Advance(10 * time.Minute)
		w.pass(jobs.NewReconciler(w.worker, w.db, nil))
		w.stand(ids, paylink.PaymentPaid) // a look tells no more
		x := w.session(ids[0])
		half := x.Amount
		half.Minor /= 2
		ev := paylink.PaymentEvent{OrderNo: x.OrderNo, ProviderID: x.ProviderID, Amount: x.Amount, Settled: &half, State: paylink.SessionPaid,
			RawState: "paid", Result: "success", Reference: "R1"}
		for _, want := range []paylink.EventOutcome{paylink.EventApplied, paylink.EventNothingNew} {
			e, _, err := w.db.StoreEvent(w.Context(), "ottu", ev.Key()+string(want), []byte(`{}`))
			if err != nil {
				w.Fatal(err)
			}
			if got, err := w.db.ApplyPayment(w.Context(), e.ID, ev, nil); err != nil || got != want {
				w.Errorf("got %s, %v; want %s", got, err, want)
			}
		}
		if l, err := w.db.Request(w.Context(), ids[0]); err != nil || l.Paid != half.Minor {
			w.Errorf("got %d paid, %v; want %d, corrected and not added", l.Paid, err, half.Minor)
		}
		ledgertest.Audit(w.T, w.db)
	})
}

// TestReconcileTwoAtOnce lets two processes ask: no session is asked about twice.
func TestReconcileTwoAtOnce(t *testing.T) {
	onBoth(t, func(w *world) {
		ids := w.shown(60)
		w.pays(ids, sandbox.PayFull)
		w.clock.Advance(10 * time.Minute)
		var both sync.WaitGroup
		sums := make([]jobs.Pass, 2)
		for i := range sums {
			c := w.config
			c.Name = fmt.Sprintf("w%d", i)
			worker, err := jobs.New(c)
			if err != nil {
				w.Fatal(err)
			}
			both.Go(func() {
				var err error
				if sums[i], err = jobs.NewReconciler(worker, w.db, nil).Pass(w.Context(), 0, nil); err != nil {
					w.Error(err)
				}
			})
		}
		both.Wait()
		if n := sums[0].Paid + sums[1].Paid; n != 60 {
			w.Errorf("got %d found, want 60: %+v", n, sums)
		}
		w.calls(map[string]int64{"ottu.create": 60, "ottu.retrieve": 60})
		w.stand(ids, paylink.PaymentPaid)
		ledgertest.Audit(w.T, w.db)
	})
}

// TestReconcileRuns lets two workers ask by themselves, until they are told to stop. Then the lease is free.
func TestReconcileRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, databases[0])
	ids := w.shown(5)
	w.pays(ids, sandbox.PayFull)
	w.clock.Advance(10 * time.Minute)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i := range 2 {
		c := w.config
		c.Name = fmt.Sprintf("w%d", i)
		worker, err := jobs.New(c)
		if err != nil {
			t.Fatal(err)
		}
		r := jobs.NewReconciler(worker, w.db, nil)
		r.SetEvery(time.Millisecond)
		running.Go(func() { r.Run(ctx) })
	}
	w.until("everything is found", func() bool {
		s, err := w.db.Status(t.Context(), ids[0].Batch())
		return err == nil && s.Payments[paylink.PaymentPaid] == 5
	})
	stop()
	running.Wait()
	w.calls(map[string]int64{"ottu.create": 5, "ottu.retrieve": 5})
	if mine, err := w.db.TakeLease(t.Context(), "reconcile", "another", time.Minute); err != nil || !mine {
		t.Errorf("the lease: got %t, %v; want it free", mine, err)
	}
}

// TestReconcileStops ends a pass by its caller, by the end of its context and by a limiter that cannot be asked.
func TestReconcileStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, databases[0])
	w.shown(12)
	w.clock.Advance(10 * time.Minute)
	r := jobs.NewReconciler(w.worker, w.db, nil)
	calls := 0
	sum, err := r.Pass(t.Context(), 0, func(jobs.Pass) bool { calls++; return calls <= 5 })
	if err != nil || sum.Asked != 5 || sum.Left != 7 {
		t.Errorf("got %+v, %v; want 5 asked and 7 left", sum, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if sum, err := r.Pass(ctx, 0, nil); !errors.Is(err, context.Canceled) || sum.Asked != 0 {
		t.Errorf("got %+v, %v; want it canceled", sum, err)
	}
	if sum, err := jobs.NewReconciler(w.worker, w.db, brokenLimit{}).Pass(t.Context(), 0, nil); err == nil || sum.Asked != 0 || sum.Left != 7 {
		t.Errorf("without a limiter: got %+v, %v; want nothing asked and an error", sum, err)
	}
}

type brokenLimit struct{}

func (brokenLimit) Pause(context.Context, jobs.Provider, time.Duration) error { return errAway }
func (brokenLimit) Wait(context.Context, jobs.Provider, time.Duration) (time.Duration, error) {
	return 0, errAway
}

// TestReconcileShare uses up reconciling's share of a day: it is set free as the day goes on, and never all of it.
func TestReconcileShare(t *testing.T) {
	t.Parallel()
	limits := map[jobs.Provider][]jobs.Limit{jobs.ProviderCheckout: {{N: 10_000, Per: time.Second}, {N: 100, Per: 24 * time.Hour}}}
	l := jobs.NewRedisLimiter(connect(t, testenv.Redis(t)), limits, nil)
	day := time.Now().UTC().Truncate(24 * time.Hour)
	now := day.Add(time.Minute)
	l.SetNow(func() time.Time { return now })
	// take takes slots until there is none, and says how many and when to come again.
	take := func(l jobs.Limiter) (n int, later time.Duration) {
		t.Helper()
		for {
			later, err := l.Wait(t.Context(), jobs.ProviderCheckout, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if later > 50*time.Millisecond {
				return n, later
			}
			if later == 0 {
				n++
			}
		}
	}
	looks := l.For(jobs.ClassReconcile)
	for _, tt := range []struct {
		at   time.Duration
		want int
	}{{time.Minute, 30}, {12 * time.Hour, 30}, {24*time.Hour - time.Minute, 29}} { // 30, 60 and 89 of the day's 100
		now = day.Add(tt.at)
		if n, later := take(looks); n != tt.want || later > 10*time.Minute {
			t.Errorf("at %s: got %d looks, and more in %s; want %d, in ten minutes at most", tt.at, n, later, tt.want)
		}
	}
	if n, _ := take(l.For(jobs.ClassClick)); n != 11 {
		t.Errorf("got %d clicks in what is left, want 11", n)
	}
}
