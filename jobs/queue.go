package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"dunlin/paylink"
)

// The queues that are no provider's: settling has one of its own beside checkout's, so that a lost create never waits
// behind a thousand new ones; feeding is a nudge.
const (
	queueSettle = "settle"
	queueFeed   = "feed"
)

// QueueNames lists every queue, for the dashboard and the metrics.
var QueueNames = []string{string(ProviderCheckout), queueSettle, string(ProviderEmail), string(ProviderSMS), string(ProviderWhatsApp), queueFeed}

func queueOf(w paylink.Wake) string {
	switch w.Task {
	case paylink.TaskSettle:
		return queueSettle
	case paylink.TaskFeed:
		return queueFeed
	}
	return string(providerOf(w))
}

// payload is all that a task carries (law 8): anybody may look at it in the dashboard.
type payload struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"` // the id as people write it
	Epoch   int64  `json:"epoch"`
	Channel string `json:"channel,omitempty"`
}

// taskID names one waking of one thing. The ledger raises the epoch at each waking, so that a new one is never refused
// because an old one is still kept somewhere in Redis. It has no dash: the dashboard shows ids up to the first.
func taskID(w paylink.Wake) string {
	return fmt.Sprintf("%s.%s.%d", taskShort[w.Task], wakeName(w), w.Epoch)
}

var taskShort = map[paylink.Task]string{
	paylink.TaskFeed: "feed", paylink.TaskCreate: "create", paylink.TaskSettle: "settle",
	paylink.TaskSend: "send", paylink.TaskInquire: "check",
}

func wakeName(w paylink.Wake) string {
	switch w.Task {
	case paylink.TaskCreate:
		return paylink.RequestID(w.ID).String()
	case paylink.TaskSettle:
		return paylink.SessionID(w.ID).String()
	case paylink.TaskFeed:
		return paylink.BatchID(w.ID).String()
	}
	return paylink.MessageID(w.ID).String()
}

const (
	// manyRetries: the ledger decides when a row has had enough; a task that ran out of retries would be archived, and
	// the archive forgets silently.
	manyRetries = 1000
	// taskTimeout is far above every call's own timeout: asynq leaves a late handler running and starts another.
	taskTimeout = 15 * time.Minute
	// enqueueTimeout bounds one call of Enqueue, however many wakes it is for: a producer must not hang on a Redis that is
	// away; the sweeper enqueues later.
	enqueueTimeout = 5 * time.Second
	// producers put that many tasks at once on the wire.
	producers = 16
)

// AsynqQueue is the queue over Redis.
type AsynqQueue struct {
	client    *asynq.Client
	inspector *asynq.Inspector
	now       func() time.Time
}

// NewAsynqQueue makes a queue over a Redis client, which stays the caller's to close.
func NewAsynqQueue(rdb redis.UniversalClient) *AsynqQueue {
	return &AsynqQueue{client: asynq.NewClientFromRedisClient(rdb), inspector: asynq.NewInspectorFromRedisClient(rdb), now: time.Now}
}

// Enqueue hands wakes to Redis, several at once. It returns the first error after trying all.
func (q *AsynqQueue) Enqueue(ctx context.Context, wakes ...paylink.Wake) error {
	ctx, cancel := context.WithTimeout(ctx, enqueueTimeout)
	defer cancel()
	if len(wakes) == 1 {
		return q.enqueue(ctx, wakes[0])
	}
	var mu sync.Mutex
	var first error
	work := make(chan paylink.Wake)
	var wg sync.WaitGroup
	for range min(producers, len(wakes)) {
		wg.Go(func() {
			for w := range work {
				if err := q.enqueue(ctx, w); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	for _, w := range wakes {
		work <- w
	}
	close(work)
	wg.Wait()
	return first
}

func (q *AsynqQueue) enqueue(ctx context.Context, w paylink.Wake) error {
	body, err := json.Marshal(payload{w.ID, wakeName(w), w.Epoch, string(w.Channel)})
	if err != nil {
		return err
	}
	opts := []asynq.Option{asynq.Queue(queueOf(w)), asynq.TaskID(taskID(w)), asynq.MaxRetry(manyRetries), asynq.Timeout(taskTimeout), asynq.Retention(0)}
	if !w.At.IsZero() {
		opts = append(opts, asynq.ProcessAt(w.At.Add(time.Second))) // asynq cuts to the second and would run early
	}
	_, err = q.client.EnqueueContext(ctx, asynq.NewTask(string(w.Task), body), opts...)
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("enqueue %s: %w", w.Task, err)
	}
	return nil
}

// Depth counts tasks that wait or run; those that wait for a retry have left room for others.
func (q *AsynqQueue) Depth(_ context.Context, p Provider) (int, error) {
	info, err := q.inspector.GetQueueInfo(string(p))
	if err != nil {
		// A queue that nothing was ever put into does not exist; the inspector's error for that is not exported.
		if known, e := q.inspector.Queues(); e == nil && !slices.Contains(known, string(p)) {
			return 0, nil
		}
		return 0, err
	}
	return info.Pending + info.Active, nil
}

func parseTask(t *asynq.Task) (paylink.Wake, error) {
	var p payload
	if err := json.Unmarshal(t.Payload(), &p); err != nil {
		return paylink.Wake{}, fmt.Errorf("payload of %s: %w", t.Type(), err)
	}
	return paylink.Wake{Task: paylink.Task(t.Type()), ID: p.ID, Epoch: p.Epoch, Channel: paylink.Channel(p.Channel)}, nil
}
