package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"dunlin/jobs"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// TestRedisKnowsNobody looks into every key of Redis while tasks wait, run and have failed. Ids are all that is there.
func TestRedisKnowsNobody(t *testing.T) {
	t.Parallel()
	p := newPlant(t, func(p *plant) { p.config.Backoff = 10 * time.Minute })
	// Failures whose words quote the payer end up in the errors that asynq keeps.
	p.fault(sandbox.Rule{Provider: sandbox.Ottu, Op: "create", Nth: 1, Times: 3, Action: sandbox.Refuse, Status: 429, Body: `{"detail":"payer1@example.com is throttled"}`})
	p.fault(sandbox.Rule{Provider: sandbox.SMTP, Op: "rcpt", Nth: 1, Times: 3, Action: sandbox.Refuse, Status: 452, Enhanced: "4.2.2", Body: "mailbox of Payer 5 payer5@example.com is full"})
	p.fault(sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Nth: 1, Times: 3, Action: sandbox.Refuse, Status: 429, Body: `{"code":20429,"message":"+96550000007 is slow","status":429}`})
	p.fault(sandbox.Rule{Name: "held", Provider: sandbox.Twilio, Op: "send", Nth: 4, Times: 3, Action: sandbox.Hang})
	id := p.send(12, ledgertest.Routes("email+sms"))
	p.start("w1")
	inspector := asynq.NewInspectorFromRedisClient(p.conn)
	p.until("tasks have failed at each provider and others run", func() bool {
		for _, q := range []string{"checkout", "email", "sms"} {
			if info, err := inspector.GetQueueInfo(q); err != nil || info.Retry < 2 {
				return false
			}
		}
		return p.box.Hits("held") > 0
	})
	text := p.dump()
	if !strings.Contains(text, "create."+id.String()+".") {
		t.Error("no request is named in Redis: the test looks in the wrong place")
	}
	for _, l := range p.lines(id) {
		secrets := []string{l.Contact.Email, l.Contact.Phone, l.Contact.Name, l.Request.Reference, paylink.Token(l.Request.ID, l.Request.Secret), "/b/"}
		if l.Session != nil {
			secrets = append(secrets, l.Session.OrderNo)
		}
		for _, s := range secrets {
			if s != "" && strings.Contains(text, s) {
				t.Errorf("Redis knows %q", s)
			}
		}
	}
	p.box.ClearFaults()
}

// TestEnqueueTwice hands in one wake twice.
func TestEnqueueTwice(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	q := jobs.NewAsynqQueue(p.conn)
	wake := paylink.Wake{Task: paylink.TaskSend, ID: 7, Epoch: 3, Channel: paylink.SMS}
	if n, err := q.Depth(t.Context(), jobs.ProviderSMS); n != 0 || err != nil {
		t.Errorf("a queue that nothing was put into holds %d, error %v", n, err)
	}
	for range 2 {
		if err := q.Enqueue(t.Context(), wake); err != nil {
			t.Errorf("got error %v, want none", err)
		}
	}
	if err := q.Enqueue(t.Context(), wake, paylink.Wake{Task: paylink.TaskSend, ID: 7, Epoch: 4, Channel: paylink.SMS}); err != nil {
		t.Errorf("got error %v, want none", err)
	}
	if n, err := q.Depth(t.Context(), jobs.ProviderSMS); n != 2 || err != nil {
		t.Errorf("the queue holds %d, error %v; want one task for each epoch", n, err)
	}
}

// TestRedisAway asks for things while Redis is down. Producers give up soon, however many wakes they have, and nothing is
// fed that could not be told of.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.send(1000)
	w, err := jobs.New(p.config)
	if err != nil {
		t.Fatal(err)
	}
	p.redis.Kill()
	wakes := make([]paylink.Wake, 1000)
	for i := range wakes {
		wakes[i] = paylink.Wake{Task: paylink.TaskCreate, ID: int64(i + 1), Epoch: 1}
	}
	start := time.Now()
	if err := jobs.NewAsynqQueue(p.conn).Enqueue(t.Context(), wakes...); err == nil {
		t.Error("got no error without Redis")
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the producer gave up after %v, want some 5 s", took)
	}
	// The queue is looked at first. Its inspector takes no context, so the client's own patience counts.
	impatient := redis.NewClient(&redis.Options{Addr: p.conn.Options().Addr, MaxRetries: -1})
	defer impatient.Close()
	w.Queue = jobs.NewAsynqQueue(impatient)
	if n, err := w.Feed(t.Context()); err == nil || n != 0 {
		t.Errorf("fed %d rows without Redis, error %v; want none and an error", n, err)
	}
	if c := p.counts(id); c.Pending != 1000 {
		t.Errorf("got %+v, want all pending", c)
	}
	p.redis.Restart()
}

// failedAt notes for when the ledger plans the next try.
type failedAt struct {
	jobs.Ledger
	at atomic.Int64
}

func (l *failedAt) FailSession(ctx context.Context, c paylink.SessionClaim, f *paylink.Failure, at time.Time, count bool) error {
	l.at.Store(at.UnixNano())
	return l.Ledger.FailSession(ctx, c, f, at, count)
}

// TestRetryKeepsTheLedgersTime fails a create for now. The queue brings it back when the ledger says, not before, when it
// would find nothing to do and be gone, and not as late as the sweeper.
func TestRetryKeepsTheLedgersTime(t *testing.T) {
	t.Parallel()
	p := newPlant(t, func(p *plant) { p.config.Backoff = 3 * time.Second })
	watch := &failedAt{Ledger: p.config.Ledger}
	p.config.Ledger = watch
	p.fault(sandbox.Rule{Provider: sandbox.Ottu, Op: "create", Nth: 1, Action: sandbox.Refuse, Status: 429})
	p.send(1)
	p.start("w1")
	p.until("the session is made", func() bool { return p.box.Counts().Sessions == 1 })
	made, planned := p.box.Sessions()[0].Created, time.Unix(0, watch.at.Load())
	if made.Before(planned) || made.After(planned.Add(5*time.Second)) {
		t.Errorf("the second try came %v after the time in the ledger, want up to a few seconds", made.Sub(planned))
	}
	if n := p.box.Counts().Calls["ottu.create"]; n != 2 {
		t.Errorf("got %d calls, want 2", n)
	}
}

// doubling is a queue that brings everything twice, as two tasks that asynq does not know to be the same.
type doubling struct {
	jobs.Queue
	t      *testing.T
	client *asynq.Client
	n      atomic.Int64
}

func (q *doubling) Enqueue(ctx context.Context, wakes ...paylink.Wake) error {
	for _, w := range wakes {
		body := fmt.Sprintf(`{"id":%d,"epoch":%d,"channel":%q}`, w.ID, w.Epoch, w.Channel)
		queue := string(w.Channel)
		switch w.Task {
		case paylink.TaskCreate:
			queue = "checkout"
		case paylink.TaskSettle:
			queue = "settle"
		}
		if _, err := q.client.EnqueueContext(ctx, asynq.NewTask(string(w.Task), []byte(body)), asynq.Queue(queue),
			asynq.TaskID(fmt.Sprintf("twin.%d", q.n.Add(1)))); err != nil {
			q.t.Error(err)
		}
	}
	return q.Queue.Enqueue(ctx, wakes...)
}

// TestTasksThatRunTwice gives two workers every task twice at the same time.
func TestTasksThatRunTwice(t *testing.T) {
	t.Parallel()
	p := newPlant(t, func(p *plant) {
		p.config.Queue = &doubling{Queue: p.config.Queue, t: p.T, client: asynq.NewClientFromRedisClient(p.conn)}
	})
	id := p.send(60, ledgertest.Routes("email+sms"))
	p.start("w1")
	p.start("w2")
	p.finish(id, atMost)
	p.sentOnce(id, 60)
	if n := p.box.Counts().Calls["ottu.create"]; n != 60 {
		t.Errorf("got %d calls to create, want 60", n)
	}
}

// TestChaosRestart kills Redis in the middle of a batch and brings it back.
func TestChaosRestart(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.send(300)
	p.start("w1")
	p.start("w2")
	p.run("a third is sent", atMost, func() bool { return p.box.Counts().Mails >= 100 })
	p.redis.Kill()
	p.redis.Restart()
	p.finish(id, atMost)
	p.sentOnce(id, 300)
}

// TestChaosFlush empties Redis in the middle of a batch, twice.
func TestChaosFlush(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.send(300)
	p.start("w1")
	p.start("w2")
	for _, n := range []int{60, 200} {
		p.run("some are sent", atMost, func() bool { return p.box.Counts().Mails >= n })
		if err := p.conn.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	p.finish(id, atMost)
	p.sentOnce(id, 300)
}

// TestFlushKeepsTheDaysLimit empties Redis when half of the day's limit is used. The ledger remembers the other half.
func TestFlushKeepsTheDaysLimit(t *testing.T) {
	t.Parallel()
	p := newPlant(t, func(p *plant) {
		p.config.Limiter = jobs.NewRedisLimiter(p.conn, map[jobs.Provider][]jobs.Limit{jobs.ProviderEmail: {{N: 20, Per: 24 * time.Hour}}},
			func(ctx context.Context, pr jobs.Provider) (int64, error) {
				return p.db.Used(ctx, string(pr), p.time())
			})
	})
	p.start("w1")
	p.finish(p.send(10), atMost)
	if err := p.conn.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	id := p.send(30)
	p.until("the rest is put off until tomorrow", func() bool {
		var put int
		if err := p.raw.QueryRowContext(t.Context(), `SELECT count(*) FROM messages WHERE state = 'owed' AND next_at > $1`, p.time().UnixMilli()).Scan(&put); err != nil {
			t.Fatal(err)
		}
		return put == 20 && p.busy() == 0
	})
	if n := p.box.Counts().Mails; n != 20 {
		t.Errorf("%d mails were sent, the limit is 20", n)
	}
	if c := p.counts(id); c.InFlight != 20 {
		t.Errorf("got %+v, want 20 put off", c)
	}
}

// TestShutdownDrains stops a worker in the middle of a call. It stops when the answer is recorded.
func TestShutdownDrains(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.fault(sandbox.Rule{Name: "held", Provider: sandbox.SMTP, Op: "dot", Nth: 1, Action: sandbox.Hang})
	id := p.send(1)
	stop := p.start("w1")
	p.until("the mail is on its way", func() bool { return p.box.Hits("held") == 1 })
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	inspector := asynq.NewInspectorFromRedisClient(p.conn)
	p.until("the worker takes no more tasks", func() bool {
		servers, err := inspector.Servers()
		for _, s := range servers {
			if s.Status == "active" {
				return false
			}
		}
		return err == nil
	})
	select {
	case <-stopped:
		t.Error("the worker stopped with a mail on its way")
	default:
	}
	p.box.Release("held")
	<-stopped
	p.sentOnce(id, 1)
}

// TestSlowProviderHoldsUpNobody keeps Twilio silent. Email goes on.
func TestSlowProviderHoldsUpNobody(t *testing.T) {
	t.Parallel()
	p := newPlant(t, func(p *plant) {
		p.config.SendTimeouts = map[paylink.Channel]time.Duration{paylink.SMS: 10 * time.Minute}
	})
	p.fault(sandbox.Rule{Name: "held", Provider: sandbox.Twilio, Op: "send", Action: sandbox.Hang})
	id := p.send(60, ledgertest.Routes("email+sms"))
	p.start("w1")
	p.until("everybody has a mail", func() bool { return p.box.Counts().Mails == 60 })
	if n := p.box.Counts().Messages; n != 0 {
		t.Errorf("got %d SMS from a silent provider", n)
	}
	p.box.ClearFaults()
	p.finish(id, atMost)
	p.sentOnce(id, 60)
}

// TestAsynqGivesUp ends the context that asynq gives a handler, as it does when Redis has been away for longer than the
// task's lease. The call is finished all the same.
func TestAsynqGivesUp(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.fault(sandbox.Rule{Name: "held", Provider: sandbox.Twilio, Op: "send", Nth: 1, Action: sandbox.Hang, Done: true})
		w.send(1, ledgertest.Routes("sms"))
		w.settleUntil(func() bool { return w.box.Counts().Sessions == 1 })
		wake := w.queue.ready(w.clock.Now())[0]
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- w.worker.Handle(ctx, asynq.NewTask(string(wake.Task), fmt.Appendf(nil, `{"id":%d,"epoch":%d,"channel":"sms"}`, wake.ID, wake.Epoch)))
		}()
		w.until("the message is on its way", func() bool { return w.box.Hits("held") == 1 })
		cancel()
		w.box.Release("held")
		if err := <-done; err != nil {
			t.Errorf("the handler ended in %v", err)
		}
		w.ends("sent unpaid; open; sms accepted")
	})
}

// TestForeignTask gives a worker what no worker can do. It is the only thing that is ever archived.
func TestForeignTask(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		if err := w.worker.Handle(t.Context(), asynq.NewTask("message:send", []byte("not JSON"))); !errors.Is(err, asynq.SkipRetry) {
			t.Errorf("got error %v, want asynq to be told not to retry", err)
		}
		if err := w.worker.Handle(t.Context(), asynq.NewTask("message:sing", []byte(`{"id":1}`))); !errors.Is(err, paylink.ErrInvalid) {
			t.Errorf("got error %v, want %v", err, paylink.ErrInvalid)
		}
		if err := w.worker.Handle(t.Context(), asynq.NewTask("message:send", []byte(`{"id":99,"epoch":1,"channel":"email"}`))); err != nil {
			t.Errorf("a task for a message that is not there ended in %v, want nothing to do", err)
		}
	})
}
