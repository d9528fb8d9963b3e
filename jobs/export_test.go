package jobs

import (
	"context"
	"time"

	"github.com/hibiken/asynq"
)

// SetSleep replaces how a worker waits between tries to record an outcome.
func (w *Worker) SetSleep(sleep func(time.Duration)) { w.sleep = sleep }

// Handle is what the queue's servers call.
func (w *Worker) Handle(ctx context.Context, t *asynq.Task) error { return w.handle(ctx, t) }

// SetNow replaces the clock by which a limiter counts periods.
func (l *RedisLimiter) SetNow(now func() time.Time) { l.now = now }

// SetEvery replaces the time between two passes.
func (r *Reconciler) SetEvery(d time.Duration) { r.every = d }
