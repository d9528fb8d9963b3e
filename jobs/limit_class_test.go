package jobs_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"dunlin/internal/testenv"
	"dunlin/jobs"
)

// TestClasses uses up dispatch's share: a payer's click gets its slot at once, and a correction stays behind the clicks.
func TestClasses(t *testing.T) {
	opt, err := redis.ParseURL(testenv.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { rdb.Close() })
	limits := map[jobs.Provider][]jobs.Limit{jobs.ProviderCheckout: {{N: 10, Per: time.Second}}}
	l := jobs.NewRedisLimiter(rdb, limits, nil)
	// take takes a slot if it comes within atMost; else it says when one would come.
	take := func(l jobs.Limiter, atMost time.Duration) time.Duration {
		t.Helper()
		later, err := l.Wait(t.Context(), jobs.ProviderCheckout, atMost)
		if err != nil {
			t.Fatal(err)
		}
		return later
	}
	if later := take(l, 0); later != 0 {
		t.Fatalf("the first of dispatch waits %s", later)
	}
	if later := take(l, 0); later <= 0 || later > 125*time.Millisecond {
		t.Errorf("dispatch has a slot in %s, want within an eighth of a second", later)
	}
	click, amend := l.For(jobs.ClassClick), l.For(jobs.ClassAmend)
	if later := take(click, 0); later != 0 {
		t.Errorf("a click waits %s behind dispatch", later)
	}
	if later := take(amend, 0); later <= 0 || later > 500*time.Millisecond {
		t.Errorf("what is left of the rate gives a slot in %s, want within half a second", later)
	}

	if err := rdb.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	l = jobs.NewRedisLimiter(rdb, map[jobs.Provider][]jobs.Limit{jobs.ProviderCheckout: {{N: 1000, Per: time.Second}, {N: 50, Per: 24 * time.Hour}}}, nil)
	click = l.For(jobs.ClassClick)
	for i := range 40 { // dispatch's share of the day
		if later := take(l, time.Second); later != 0 {
			t.Fatalf("call %d waits %s", i, later)
		}
	}
	if later := take(l, time.Second); later < time.Second {
		t.Errorf("dispatch has more than its share of the day: next in %s", later)
	}
	if later := take(click, 3*time.Second); later != 0 {
		t.Errorf("a click waits %s although the day has calls left", later)
	}
}
