package jobs_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"dunlin/internal/testenv"
	"dunlin/jobs"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

// plant is a world that runs by itself: real time, the real queue over a Redis of its own, and as many workers as a test
// starts.
type plant struct {
	*world
	redis *testenv.RedisServer
	conn  *redis.Client
	// skip moves the ledger's clock ahead of the real one.
	skip atomic.Int64
}

func newPlant(t *testing.T, change ...func(*plant)) *plant {
	t.Helper()
	p := &plant{redis: testenv.StartRedis(t)}
	p.conn = connect(t, p.redis.URL())
	p.world = newWorldAt(t, databases[0], p.time)
	p.config.Queue, p.config.Limiter = jobs.NewAsynqQueue(p.conn), nil
	for _, c := range change {
		c(p)
	}
	return p
}

// atMost bounds what takes long on a busy machine.
const atMost = 4 * time.Minute

func (p *plant) time() time.Time { return time.Now().Add(time.Duration(p.skip.Load())) }

// start runs a worker until the returned function stops it, which waits for its end; the end of the test does the same.
func (p *plant) start(name string) (stop func()) {
	p.Helper()
	return p.startOn(name, connect(p.T, p.redis.URL()))
}

// startOn is start over a given connection.
func (p *plant) startOn(name string, conn *redis.Client) (stop func()) {
	p.Helper()
	config := p.config
	config.Name = name
	w, err := jobs.New(config)
	if err != nil {
		p.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, jobs.RunConfig{Redis: conn}) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				p.Errorf("worker %s: %v", name, err)
			}
		case <-time.After(2 * time.Minute):
			p.Errorf("worker %s does not stop", name)
		}
	})
	p.Cleanup(stop)
	return stop
}

// busy is how many things are between their claim and their record.
func (p *plant) busy() (n int) {
	p.Helper()
	if err := p.raw.QueryRowContext(p.Context(), `SELECT (SELECT count(*) FROM messages WHERE state IN ('claimed', 'committing'))
		+ (SELECT count(*) FROM sessions WHERE state = 'intent' AND NOT lost)`).Scan(&n); err != nil {
		p.Fatal(err)
	}
	return n
}

// finish runs until no row of the batch owes anything.
func (p *plant) finish(id paylink.BatchID, within time.Duration) {
	p.Helper()
	p.run("all is done", within, func() bool {
		c := p.counts(id)
		return c.InFlight+c.Pending+c.Unknown == 0
	})
}

// run waits until cond holds. When nothing moves any more because the queue has forgotten it, the clock skips the time
// that the sweeper would leave to the queue.
func (p *plant) run(what string, within time.Duration, cond func() bool) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), within)
	defer cancel()
	still, last := time.Now(), int64(-1)
	if !poll(ctx, func() bool {
		if cond() {
			return true
		}
		if calls := p.total(); calls != last || p.busy() > 0 {
			last, still = calls, time.Now()
		}
		if time.Since(still) > 2*time.Second {
			p.skip.Add(int64(95 * time.Second))
			still = time.Now()
		}
		return false
	}) {
		p.Fatalf("gave up waiting until %s; the providers had %v", what, p.box.Counts())
	}
}

// total is how often the providers were called.
func (p *plant) total() (n int64) {
	for _, k := range p.box.Counts().Calls {
		n += k
	}
	return n
}

// sentOnce compares what the ledger says with what arrived: everybody got one message by each channel of theirs.
func (p *plant) sentOnce(id paylink.BatchID, rows int) {
	p.Helper()
	ledgertest.Audit(p.T, p.db)
	if c := p.counts(id); c.Sent != int64(rows) {
		p.Errorf("got %+v, want %d sent", c, rows)
	}
	all := p.received()
	for _, l := range p.lines(id) {
		for _, m := range l.Messages {
			address := l.Contact.Address(m.Channel)
			n := 0
			if r := all[address]; r != nil {
				n = r.byChannel[m.Channel]
			}
			if n != 1 || m.PossibleDuplicate {
				p.Errorf("%s: %d messages by %s arrived, perhaps a duplicate: %v; want one", m.ID, n, m.Channel, m.PossibleDuplicate)
			}
		}
	}
	for email, r := range all {
		if len(r.revealed) > 1 || len(r.live) > 1 {
			p.Errorf("%s has %d live sessions, %d of them shown", email, len(r.live), len(r.revealed))
		}
	}
	p.nothingArchived()
}

// nothingArchived looks for tasks in the archive, which forgets silently.
func (p *plant) nothingArchived() {
	p.Helper()
	inspector := asynq.NewInspectorFromRedisClient(p.conn)
	queues, err := inspector.Queues()
	if err != nil {
		p.Fatal(err)
	}
	for _, q := range queues {
		info, err := inspector.GetQueueInfo(q)
		if err != nil {
			p.Fatal(err)
		}
		if info.Archived != 0 || info.Completed != 0 {
			p.Errorf("queue %s has %d archived and %d completed tasks, want none", q, info.Archived, info.Completed)
		}
	}
}

// dump is everything that Redis holds, as text.
func (p *plant) dump() string {
	p.Helper()
	ctx := p.Context()
	keys, err := p.conn.Keys(ctx, "*").Result()
	if err != nil {
		p.Fatal(err)
	}
	text := ""
	for _, k := range keys {
		text += k + " "
		switch kind := p.conn.Type(ctx, k).Val(); kind {
		case "string":
			text += p.conn.Get(ctx, k).Val()
		case "hash":
			text += fmt.Sprint(p.conn.HGetAll(ctx, k).Val())
		case "list":
			text += fmt.Sprint(p.conn.LRange(ctx, k, 0, -1).Val())
		case "set":
			text += fmt.Sprint(p.conn.SMembers(ctx, k).Val())
		case "zset":
			text += fmt.Sprint(p.conn.ZRange(ctx, k, 0, -1).Val())
		case "none": // gone meanwhile
		default:
			p.Fatalf("key %s is a %s, which nobody looks into", k, kind)
		}
		text += "\n"
	}
	return text
}
