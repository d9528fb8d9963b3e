package jobs

import (
	"context"
	"time"

	"dunlin/paylink"
)

const (
	// tidyEvery and tidyRows bound how much erasure is done at once: a million requests are looked through in an hour and a
	// half, and nobody waits for it.
	tidyEvery = 10 * time.Second
	tidyRows  = 2000
	// eventsKept is how long the raw bodies of providers' events are kept.
	eventsKept = 90 * 24 * time.Hour
)

// Tidy erases what was kept long enough, a bounded round of it: raw bodies of events after 90 days and, with a retention,
// the contacts of requests that are over and the rejected rows of batches that are done. The process that has the upkeep
// lease calls it; two at once do no harm. Not safe for concurrent use by itself.
func (w *Worker) Tidy(ctx context.Context) error {
	now := w.Ledger.Now()
	if _, err := w.Ledger.EmptyEvents(ctx, now.Add(-eventsKept), tidyRows); err != nil {
		return err
	}
	if w.Retention <= 0 {
		return nil
	}
	before := now.Add(-w.Retention)
	if _, err := w.Ledger.RedactRejections(ctx, before, tidyRows); err != nil {
		return err
	}
	var err error
	var n int
	if w.tidied, n, err = w.Ledger.RedactFinished(ctx, w.tidied, before, tidyRows); n > 0 {
		w.Log.Info("contacts erased after their retention", "requests", n)
	}
	return err
}

// TidyLedger is what erasure needs of the record.
type TidyLedger interface {
	EmptyEvents(ctx context.Context, before time.Time, limit int) (int64, error)
	RedactRejections(ctx context.Context, before time.Time, limit int) (int64, error)
	RedactFinished(ctx context.Context, after paylink.RequestID, before time.Time, limit int) (paylink.RequestID, int, error)
}
