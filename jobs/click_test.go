package jobs_test

import (
	"context"
	"testing"
	"time"

	"dunlin/jobs"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

// TestClickDuringABatch lets payers press pay while a batch takes all of the provider's rate that it may, and again when it
// has used up its share of the day: both times there is room for a click, and the batch stays within its share.
func TestClickDuringABatch(t *testing.T) {
	t.Parallel()
	const perDay, share = 100, 80
	var limiter *jobs.RedisLimiter
	p := newPlant(t, func(p *plant) {
		limiter = jobs.NewRedisLimiter(p.conn, map[jobs.Provider][]jobs.Limit{jobs.ProviderCheckout: {{N: 25, Per: time.Second}, {N: perDay, Per: 24 * time.Hour}}},
			func(ctx context.Context, pr jobs.Provider) (int64, error) {
				return p.db.Used(ctx, string(pr), p.time())
			})
		p.config.Limiter = limiter
	})
	id := p.send(200)
	p.start("w1")
	w, err := jobs.New(p.config)
	if err != nil {
		t.Fatal(err)
	}
	desk := jobs.NewDesk(w, p.db, limiter.For(jobs.ClassClick), limiter.For(jobs.ClassAmend))
	press := func(row int) {
		t.Helper()
		answer, url, err := desk.Pay(t.Context(), paylink.NewRequestID(id, row))
		if err != nil || answer != jobs.AnswerGo || url == "" {
			t.Errorf("row %d: got %q, %v; want to be sent on", row, answer, err)
		}
	}
	calls := func() int64 { return p.box.Counts().Calls["ottu.create"] }
	p.until("the batch is under way", func() bool { return calls() >= 10 })
	press(200)
	p.until("the batch has used up its share of the day", func() bool { return calls() >= share && p.busy() == 0 })
	for row := 195; row < 200; row++ {
		press(row)
	}
	if n := calls(); n > share+6 {
		t.Errorf("%d sessions were made, want at most the batch's %d and the 6 of the clicks", n, share)
	}
	ledgertest.Audit(t, p.db)
}
