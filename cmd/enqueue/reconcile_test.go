package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"dunlin/cmd/internal/setup"
	"dunlin/jobs"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// office is a merchant's desk: the command line, a worker, and stand-ins for Redis and the providers.
type office struct {
	*testing.T
	env   []string
	box   *sandbox.Sandbox
	redis *miniredis.Miniredis
	later time.Duration // how far the command line's clock is ahead
}

func newOffice(t *testing.T) *office {
	t.Helper()
	box, err := sandbox.Start(sandbox.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	o := &office{T: t, box: box, redis: miniredis.RunT(t)}
	o.env = append(box.Env(), "DUNLIN_DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "ledger.db"), "DUNLIN_REDIS_URL=redis://"+o.redis.Addr()+"/0",
		"DUNLIN_MERCHANT_NAME=Oak School", "DUNLIN_LIMIT_CHECKOUT=1000/s,90000/d", "DUNLIN_LIMIT_EMAIL=1000/s", "DUNLIN_DEFAULT_TIMEZONE=UTC", "NO_COLOR=1")
	return o
}

// run runs the command line and compares its exit code.
func (o *office) run(code int, args ...string) (out string) {
	o.Helper()
	var stdout, stderr bytes.Buffer
	a := newApp(o.env, strings.NewReader(""), &stdout, &stderr)
	a.now = func() time.Time { return time.Now().Add(o.later) }
	if got := a.run(o.Context(), args); got != code {
		o.Fatalf("enqueue %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, &stdout, &stderr)
	}
	return stdout.String() + stderr.String()
}

// work lets a worker run until the batch is done, and then does fn with its ledger.
func (o *office) work(id paylink.BatchID, fn func(w *setup.Worker)) {
	o.Helper()
	c, err := setup.Load(func(name string) (string, bool) {
		for _, e := range o.env {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v, true
			}
		}
		return "", false
	})
	if err != nil {
		o.Fatal(err)
	}
	rdb, err := c.OpenRedis(setup.RedisForWorking)
	if err != nil {
		o.Fatal(err)
	}
	defer rdb.Close()
	w, err := c.NewWorker(o.Context(), setup.WorkerOptions{Redis: rdb})
	if err != nil {
		o.Fatal(err)
	}
	defer w.Close()
	ctx, stop := context.WithCancel(o.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, jobs.RunConfig{Redis: rdb}) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for done := false; !done; <-tick.C {
		st, err := w.Ledger.Status(o.Context(), id)
		if err != nil {
			o.Fatal(err)
		}
		done = st.State == paylink.BatchDone
	}
	stop()
	if err := <-ended; err != nil {
		o.Fatal(err)
	}
	fn(w)
}

func (o *office) has(got string, words ...string) {
	o.Helper()
	flat := strings.Join(strings.Fields(got), " ")
	for _, w := range words {
		if !strings.Contains(flat, w) {
			o.Errorf("it does not say %q:\n%s", w, got)
		}
	}
}

// TestReconcile loses two webhooks and asks by hand.
func TestReconcile(t *testing.T) {
	o := newOffice(t)
	file := filepath.Join(t.TempDir(), "payers.csv")
	if err := os.WriteFile(file, []byte("reference,amount,currency,email,channels\nINV-1,5.500,KWD,a@example.com,email\n"+
		"INV-2,1234.500,KWD,b@example.com,email\nINV-3,5.500,KWD,c@example.com,email\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.run(exitDone, "send", file, "--yes")
	o.work(1, func(w *setup.Worker) {
		for _, x := range o.box.Sessions() {
			if strings.HasPrefix(x.OrderNo, "INV-3-") {
				continue
			}
			if _, err := o.box.Pay(t.Context(), x.ID, sandbox.PayFull, false); err != nil {
				t.Fatal(err)
			}
		}
		e, _, err := w.Ledger.StoreEvent(t.Context(), "ottu", "k", []byte(`{"order_no":"THEIRS-1","amount":"1.000","currency_code":"KWD","state":"paid"}`))
		if err == nil {
			_, err = w.Ledger.ApplyPayment(t.Context(), e.ID, paylink.PaymentEvent{OrderNo: "THEIRS-1"}, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	})

	generous := o.env
	o.env = append(append([]string{}, o.env...), "DUNLIN_LIMIT_CHECKOUT=1000/s,3/d") // which dispatch has used up
	got := o.run(exitDone, "reconcile")
	o.has(got, "Asked about 0 sessions", "Could not be asked: 3 b1.2 INV-2 KWD 1,234.500", "It ended because the budget for asking is used up; more from")
	o.has(o.run(exitDone, "status", "b1", "--json"), `"looks_behind":3`)
	o.later = 2 * time.Minute
	o.has(o.run(exitDone, "status", "b1"), "3 sessions are still to be looked at", "enqueue reconcile b1")
	o.has(o.run(exitDone, "status"), "3 sessions are still to be looked at")
	o.later = 0

	o.env = generous
	got = o.run(exitDone, "reconcile", "b1", "--since", "1h")
	o.has(got, "Asked about 3 sessions: 2 news, 2 paid.", "Paid without a webhook: 2", "b1.1 INV-1 KWD 5.500 settled, found 2", "Webhook without a row: 1",
		"e1 for no order of ours, order THEIRS-1, came 2", "Amount differs: none", "Paid twice: none", "Could not be asked: none")
	o.has(o.run(exitDone, "show", "b1.2"), "paid")

	var all struct {
		Asked  int `json:"asked"`
		Silent []struct {
			Request   string        `json:"request"`
			Reference string        `json:"reference"`
			Amount    paylink.Money `json:"amount"`
		} `json:"paid_without_webhook"`
		Unplaced []map[string]any `json:"webhook_without_row"`
		Twice    []any            `json:"paid_twice"`
	}
	if err := json.Unmarshal([]byte(o.run(exitDone, "reconcile", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Silent) != 2 || all.Asked != 1 || all.Twice == nil || len(all.Unplaced) != 1 || all.Unplaced[0]["event"] != "e1" {
		t.Errorf("got %+v, want one asked about, two found and event e1", all)
	}
	o.has(o.run(exitDone, "verify"), "3 rows, no difference")

	o.run(exitUsage, "reconcile", "--since", "0s")
	o.run(exitUsage, "reconcile", "7x")
	o.has(o.run(exitFailed, "reconcile", "b7"), "batch b7: not found")
	o.redis.Close()
	o.has(o.run(exitFailed, "reconcile"), "rate limit of checkout", "Nothing is lost: 1 session is due")
}
