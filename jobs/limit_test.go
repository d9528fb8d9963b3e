package jobs_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"dunlin/internal/testenv"
	"dunlin/jobs"
)

// connect opens a client as a worker has it, which ends with the test.
func connect(t *testing.T, url string) *redis.Client {
	t.Helper()
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	opt.PoolSize, opt.MaxRetries, opt.MinRetryBackoff, opt.MaxRetryBackoff = 128, 100, 20*time.Millisecond, 500*time.Millisecond
	c := redis.NewClient(opt)
	t.Cleanup(func() { c.Close() })
	return c
}

// TestLimitOverAllProcesses shares one limit between several clients with many callers each. Together they are never
// faster than it, and they wait instead of failing.
func TestLimitOverAllProcesses(t *testing.T) {
	t.Parallel()
	const perSecond, grants = 200, 500
	url := testenv.Redis(t)
	limits := map[jobs.Provider][]jobs.Limit{jobs.ProviderSMS: {{N: perSecond, Per: time.Second}}}
	var mu sync.Mutex
	var at []time.Time
	var callers sync.WaitGroup
	left := make(chan struct{}, grants)
	for range grants {
		left <- struct{}{}
	}
	close(left)
	start := time.Now()
	for range 3 {
		l := jobs.NewRedisLimiter(connect(t, url), limits, nil)
		for range 20 {
			callers.Go(func() {
				for range left {
					later, err := l.Wait(t.Context(), jobs.ProviderSMS, 5*time.Second)
					if err != nil || later != 0 {
						t.Errorf("got later %v, error %v; want to wait and pass", later, err)
						return
					}
					mu.Lock()
					at = append(at, time.Now())
					mu.Unlock()
				}
			})
		}
	}
	callers.Wait()
	slices.SortFunc(at, time.Time.Compare)
	// A slot is never early, so the k-th caller cannot have passed before the k-th slot. How late callers were, which is
	// the machine's matter, bounds how many may crowd into one second besides.
	interval := time.Second / perSecond
	var late time.Duration
	for k, when := range at {
		slot := start.Add(time.Duration(k) * interval)
		if when.Before(slot) {
			t.Fatalf("caller %d passed %v before its time", k, slot.Sub(when))
		}
		late = max(late, when.Sub(slot))
	}
	most := perSecond + 1 + int(math.Ceil(float64(late)/float64(interval)))
	for i := range at {
		n, _ := slices.BinarySearchFunc(at[i:], at[i].Add(time.Second), time.Time.Compare)
		if n > most {
			t.Errorf("%d calls within a second, want at most %d", n, most)
		}
	}
	if took := time.Since(start); took > grants*interval+5*time.Second {
		t.Errorf("it took %v, the limit allows it in %v", took, grants*interval)
	}
}

// TestLongWaitsAreRefused asks for more than may be waited for. Who is refused takes no slot.
func TestLongWaitsAreRefused(t *testing.T) {
	t.Parallel()
	l := jobs.NewRedisLimiter(connect(t, testenv.Redis(t)), map[jobs.Provider][]jobs.Limit{jobs.ProviderEmail: {{N: 6, Per: time.Minute}}}, nil)
	wait := func(atMost time.Duration) time.Duration {
		t.Helper()
		later, err := l.Wait(t.Context(), jobs.ProviderEmail, atMost)
		if err != nil {
			t.Fatal(err)
		}
		return later
	}
	if later := wait(5 * time.Second); later != 0 {
		t.Fatalf("the first caller was told to come %v later", later)
	}
	for range 20 {
		if later := wait(5 * time.Second); later <= 5*time.Second || later > 10*time.Second {
			t.Fatalf("got %v, want the next slot, within 10 s", later)
		}
	}
}

// TestDailyLimit counts to the end of the day, over several clients. Dispatch may use four fifths of the checkout's.
func TestDailyLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		provider jobs.Provider
		want     int
	}{{jobs.ProviderSMS, 10}, {jobs.ProviderCheckout, 8}} {
		t.Run(string(tt.provider), func(t *testing.T) {
			t.Parallel()
			url := testenv.Redis(t)
			limits := map[jobs.Provider][]jobs.Limit{tt.provider: {{N: 1000, Per: time.Second}, {N: 10, Per: 24 * time.Hour}}}
			var callers sync.WaitGroup
			var mu sync.Mutex
			granted, refused := 0, time.Duration(0)
			for range 3 {
				l := jobs.NewRedisLimiter(connect(t, url), limits, nil)
				callers.Go(func() {
					for range 20 {
						later, err := l.Wait(t.Context(), tt.provider, 5*time.Second)
						if err != nil {
							t.Error(err)
						}
						mu.Lock()
						if later == 0 {
							granted++
						} else {
							refused = later
						}
						mu.Unlock()
					}
				})
			}
			callers.Wait()
			if granted != tt.want {
				t.Errorf("%d calls passed, want %d", granted, tt.want)
			}
			midnight := time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
			if off := time.Until(midnight) - refused; off.Abs() > time.Minute {
				t.Errorf("the others were told to come %v later, want at midnight, which is in %v", refused, time.Until(midnight))
			}
		})
	}
}

// TestDispatchShare leaves a fifth of the checkout's rate to payers' clicks.
func TestDispatchShare(t *testing.T) {
	t.Parallel()
	l := jobs.NewRedisLimiter(connect(t, testenv.Redis(t)), map[jobs.Provider][]jobs.Limit{
		jobs.ProviderCheckout: {{N: 1, Per: time.Minute}}, jobs.ProviderEmail: {{N: 1, Per: time.Minute}}}, nil)
	for provider, want := range map[jobs.Provider]time.Duration{jobs.ProviderCheckout: 75 * time.Second, jobs.ProviderEmail: time.Minute} {
		if later, err := l.Wait(t.Context(), provider, 0); later != 0 || err != nil {
			t.Fatalf("the first caller got %v, %v", later, err)
		}
		later, err := l.Wait(t.Context(), provider, 0)
		if err != nil || later > want || later < want-10*time.Second {
			t.Errorf("%s: got %v, error %v; want the next slot in %v", provider, later, err, want)
		}
	}
}

// TestPauseHoldsEverybody pauses a provider from one process.
func TestPauseHoldsEverybody(t *testing.T) {
	t.Parallel()
	url := testenv.Redis(t)
	limits := map[jobs.Provider][]jobs.Limit{jobs.ProviderSMS: {{N: 1000, Per: time.Second}}, jobs.ProviderEmail: {{N: 1000, Per: time.Second}}}
	one, two := jobs.NewRedisLimiter(connect(t, url), limits, nil), jobs.NewRedisLimiter(connect(t, url), limits, nil)
	if err := one.Pause(t.Context(), jobs.ProviderSMS, time.Minute); err != nil {
		t.Fatal(err)
	}
	later, err := two.Wait(t.Context(), jobs.ProviderSMS, 5*time.Second)
	if err != nil || later <= 0 || later > time.Minute {
		t.Errorf("got %v, error %v; want to be told to wait out the pause", later, err)
	}
	if later, err := two.Wait(t.Context(), jobs.ProviderEmail, 5*time.Second); later != 0 || err != nil {
		t.Errorf("another provider got %v, error %v; want to pass", later, err)
	}
	if err := one.Pause(t.Context(), jobs.ProviderSMS, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if !poll(ctx, func() bool {
		later, err := two.Wait(t.Context(), jobs.ProviderSMS, 5*time.Second)
		return err == nil && later == 0
	}) {
		t.Error("the pause did not end")
	}
}

// TestLimiterIsSeeded starts the day's counter from what the ledger remembers, after Redis has forgotten.
func TestLimiterIsSeeded(t *testing.T) {
	t.Parallel()
	c := connect(t, testenv.Redis(t))
	used := int64(0)
	var failing error
	l := jobs.NewRedisLimiter(c, map[jobs.Provider][]jobs.Limit{jobs.ProviderSMS: {{N: 10, Per: 24 * time.Hour}}},
		func(context.Context, jobs.Provider) (int64, error) { return used, failing })
	pass := func() (n int) {
		for {
			later, err := l.Wait(t.Context(), jobs.ProviderSMS, 0)
			if err != nil {
				t.Fatal(err)
			}
			if later > 0 {
				return n
			}
			n++
		}
	}
	for used < 6 {
		if later, err := l.Wait(t.Context(), jobs.ProviderSMS, 0); later != 0 || err != nil {
			t.Fatalf("got %v, error %v; want to pass", later, err)
		}
		used++
	}
	if err := c.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if n := pass(); n != 4 {
		t.Errorf("%d calls passed after the flush, want the 4 that were left", n)
	}
	if err := c.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	failing = errors.New("no ledger")
	if _, err := l.Wait(t.Context(), jobs.ProviderSMS, 0); !errors.Is(err, failing) {
		t.Errorf("got error %v when the ledger does not answer, want it", err)
	}
}

// TestWaitEndsWithItsContext gives up waiting.
func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l := jobs.NewRedisLimiter(connect(t, testenv.Redis(t)), map[jobs.Provider][]jobs.Limit{jobs.ProviderSMS: {{N: 1, Per: time.Minute}}}, nil)
	if _, err := l.Wait(t.Context(), jobs.ProviderSMS, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := l.Wait(ctx, jobs.ProviderSMS, 2*time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want the context's", err)
	}
	if later, err := l.Wait(t.Context(), jobs.ProviderWhatsApp, 0); later != 0 || err != nil {
		t.Errorf("a provider without limits got %v, error %v", later, err)
	}
}
