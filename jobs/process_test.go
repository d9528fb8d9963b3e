package jobs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// TestChaosKilledProcess kills a worker's process in the middle of its calls, and waits until asynq's own recovery has
// brought back what it held, which takes up to two minutes. By then the ledger has settled everything by itself.
func TestChaosKilledProcess(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "worker")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "dunlin/cmd/worker").CombinedOutput(); err != nil {
		t.Fatalf("building the worker: %v\n%s", err, out)
	}
	p := newPlant(t)
	p.fault(sandbox.Rule{Name: "held", Provider: sandbox.Ottu, Op: "create", Nth: 11, Times: 5, Action: sandbox.Hang})
	id := p.send(40)
	victim := exec.CommandContext(t.Context(), program)
	victim.Env = append(os.Environ(), p.box.Env()...)
	victim.Env = append(victim.Env, "DUNLIN_DATABASE_URL="+p.address, "DUNLIN_REDIS_URL="+p.redis.URL(), "DUNLIN_LIMIT_CHECKOUT=1000/s", "DUNLIN_LIMIT_EMAIL=1000/s")
	log := &strings.Builder{}
	victim.Stderr = log
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	p.until("the process holds five rows and has sent the others", func() bool { return p.box.Hits("held") == 5 && p.counts(id).Sent == 35 })
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // it was killed
	held := p.activeTasks()
	if held < 5 {
		t.Fatalf("Redis holds %d tasks for the dead process, want 5; it said:\n%s", held, log)
	}
	p.box.ClearFaults()
	p.start("w2")
	p.recovered(id, atMost)
	p.sentOnce(id, 40)
	if p.skip.Load() != 0 {
		t.Error("the clock was moved")
	}
}

// recovered waits until no row owes anything and asynq holds no task for anybody who is gone.
func (p *plant) recovered(id paylink.BatchID, within time.Duration) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), within)
	defer cancel()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for p.activeTasks() > 0 || p.counts(id).InFlight+p.counts(id).Unknown > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			for _, l := range p.lines(id) {
				if l.Request.Dispatch != paylink.DispatchSent {
					p.Logf("%s stands at %s", l.Request.ID, describe(l))
				}
			}
			p.Fatalf("gave up: %+v, %d tasks are still held", p.counts(id), p.activeTasks())
		}
	}
}

// lostDone is a connection on which asynq's word that a task is done gets lost, as by an outage of Redis at the wrong
// moment.
type lostDone struct{ lost atomic.Int64 }

func (h *lostDone) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *lostDone) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *lostDone) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		// The script of Done is the only one with five keys of which the first is the list of active tasks.
		args := cmd.Args()
		if cmd.Name() == "evalsha" && len(args) > 3 && fmt.Sprint(args[2]) == "5" && strings.HasSuffix(fmt.Sprint(args[3]), ":active") {
			h.lost.Add(1)
			cmd.SetErr(errAway)
			return errAway
		}
		return next(ctx, cmd)
	}
}

// TestChaosLostDone loses every word that a task is done. asynq runs each again after a minute or two, which is harmless.
func TestChaosLostDone(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	id := p.send(20, ledgertest.Routes("email+sms"))
	hook := &lostDone{}
	conn := connect(t, p.redis.URL())
	conn.AddHook(hook)
	stop := p.startOn("w1", conn)
	p.until("all is sent", func() bool { return p.counts(id).Sent == 20 })
	stop()
	if n := hook.lost.Load(); n < 60 {
		t.Fatalf("%d words were lost, want 60", n)
	}
	if n := p.activeTasks(); n < 60 {
		t.Fatalf("Redis holds %d tasks for active, want 60", n)
	}
	p.start("w2")
	p.recovered(id, atMost)
	p.sentOnce(id, 20)
	if n := p.box.Counts().Calls["ottu.create"]; n != 20 {
		t.Errorf("got %d calls to create, want 20", n)
	}
}

// activeTasks is how many tasks Redis believes to be worked on.
func (p *plant) activeTasks() (n int) {
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
		n += info.Active
	}
	return n
}
