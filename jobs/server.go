package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// Concurrency is how many calls to each provider one process makes at once; 0 = a default per provider.
type Concurrency map[Provider]int

var defaultConcurrency = Concurrency{ProviderCheckout: 64, ProviderEmail: 48, ProviderSMS: 16, ProviderWhatsApp: 16}

// RunConfig says how a worker is run over Redis.
type RunConfig struct {
	Redis       redis.UniversalClient
	Concurrency Concurrency
	// Drain is how long a stopping worker waits for handlers under way. 0 = 150 s, more than the longest call.
	Drain time.Duration
}

// Run works the queues until ctx ends, then drains: no new task is taken, what is under way is finished and recorded. It
// returns when everything has stopped.
func (w *Worker) Run(ctx context.Context, c RunConfig) error {
	setDefault(&c.Drain, 150*time.Second)
	for _, p := range Providers {
		// The configuration this process was started with may be the mended one.
		if _, err := ResumeProvider(ctx, w.Ledger, p, "", ""); ctx.Err() != nil {
			return nil // told to stop before it began
		} else if err != nil {
			return fmt.Errorf("look at the breaker of %s: %w", p, err)
		}
	}
	var servers []*asynq.Server
	stop := func() {
		var wg sync.WaitGroup
		for _, s := range servers {
			wg.Go(s.Shutdown)
		}
		wg.Wait()
	}
	for _, p := range Providers {
		if ch := channelOf(p); ch != "" && w.Senders[ch] == nil {
			continue
		}
		n := c.Concurrency[p]
		if n == 0 {
			n = defaultConcurrency[p]
		}
		queues := map[string]int{string(p): 1}
		if p == ProviderCheckout {
			queues = map[string]int{string(p): 3, queueSettle: 1}
		}
		s := w.server(c, queues, n)
		if err := s.Start(asynq.HandlerFunc(w.handle)); err != nil {
			stop()
			return fmt.Errorf("start the %s server: %w", p, err)
		}
		servers = append(servers, s)
	}
	feed := w.server(c, map[string]int{queueFeed: 1}, 1)
	if err := feed.Start(asynq.HandlerFunc(w.handle)); err != nil {
		stop()
		return fmt.Errorf("start the feed server: %w", err)
	}
	servers = append(servers, feed)
	var asking sync.WaitGroup
	asking.Go(func() { w.AskReceipts(ctx) })
	w.Upkeep(ctx)
	asking.Wait()
	stop()
	return nil
}

func (w *Worker) server(c RunConfig, queues map[string]int, concurrency int) *asynq.Server {
	return asynq.NewServerFromRedisClient(c.Redis, asynq.Config{
		Concurrency:              concurrency,
		Queues:                   queues,
		ShutdownTimeout:          c.Drain,
		DelayedTaskCheckInterval: time.Second,
		TaskCheckInterval:        100 * time.Millisecond,
		RetryDelayFunc:           w.retryDelay,
		IsFailure:                isFailedCall,
		Logger:                   asynqLog{w.Log},
		LogLevel:                 asynq.WarnLevel,
	})
}

func (w *Worker) handle(ctx context.Context, t *asynq.Task) error {
	wake, err := parseTask(t)
	if err != nil {
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	// Not with asynq's context: it ends when Redis has been away for half a minute, and a call that was broken off for that
	// would be an unknown outcome. Every step has a time limit of its own.
	err = w.Do(context.WithoutCancel(ctx), wake)
	var later *Later
	if err != nil && !errors.As(err, &later) {
		w.Log.Error("task", "task", string(wake.Task), "name", wakeName(wake), "error", err)
	}
	return err
}

// retryDelay gives the queue the delay that the ledger has written. asynq cuts times to the second, so a second is
// added: a task that came early would find nothing to do and be gone.
func (w *Worker) retryDelay(n int, err error, _ *asynq.Task) time.Duration {
	var later *Later
	switch {
	case errors.As(err, &later):
		return max(0, later.At.Sub(w.Ledger.Now())) + time.Second
	case errors.Is(err, asynq.ErrLeaseExpired):
		return time.Second
	}
	return min(time.Second<<min(n, 8), 5*time.Minute)
}

// isFailedCall keeps work that was only put off from counting as a retry.
func isFailedCall(err error) bool {
	var later *Later
	if errors.As(err, &later) {
		return later.Failed
	}
	return !errors.Is(err, asynq.ErrLeaseExpired)
}

// asynqLog passes the queue's own warnings on.
type asynqLog struct{ log *slog.Logger }

func (l asynqLog) Debug(args ...any) { l.log.Debug(fmt.Sprint(args...)) }
func (l asynqLog) Info(args ...any)  { l.log.Info(fmt.Sprint(args...)) }
func (l asynqLog) Warn(args ...any)  { l.log.Warn(fmt.Sprint(args...)) }
func (l asynqLog) Error(args ...any) { l.log.Error(fmt.Sprint(args...)) }
func (l asynqLog) Fatal(args ...any) { l.log.Error(fmt.Sprint(args...)) }
