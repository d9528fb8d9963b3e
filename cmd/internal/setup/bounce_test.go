package setup_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dunlin/cmd/internal/setup"
	"dunlin/internal/testenv"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
)

func TestNeedBounces(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  env
		want string
	}{
		{"nothing", env{}, ""},
		{"key alone", env{"DUNLIN_LINK_KEY": "0123456789abcdef"}, ""},
		{"all", env{"DUNLIN_BOUNCE_ADDRESS": "b@mail.example", "DUNLIN_BOUNCE_LISTEN": "unix:/run/b", "DUNLIN_LINK_KEY": "0123456789abcdef"}, ""},
		{"no key", env{"DUNLIN_BOUNCE_ADDRESS": "b@mail.example"}, "DUNLIN_LINK_KEY: is required for DUNLIN_BOUNCE_ADDRESS"},
		{"no address", env{"DUNLIN_BOUNCE_LISTEN": "127.0.0.1:24"}, "DUNLIN_BOUNCE_ADDRESS: is required for DUNLIN_BOUNCE_LISTEN"},
	} {
		c, err := tt.env.load()
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got := ""
		if err := c.NeedBounces(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	for name, value := range map[string]string{"DUNLIN_BOUNCE_ADDRESS": "Bounces <b@mail.example>", "DUNLIN_BOUNCE_LISTEN": "25", "DUNLIN_LINK_KEY": "secret"} {
		_, err := env{name: value}.load()
		if err == nil || !strings.HasPrefix(err.Error(), name+": ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}

// TestBounces takes a mail from the worker to a mail server, and its report from there to the server.
func TestBounces(t *testing.T) {
	dir := t.TempDir()
	socket := "unix:" + filepath.Join(dir, "bounces")
	box, err := sandbox.Start(sandbox.Config{BounceTo: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	e := env{"DUNLIN_DATABASE_URL": "sqlite:" + filepath.Join(dir, "ledger.db"), "DUNLIN_REDIS_URL": testenv.Redis(t),
		"DUNLIN_PUBLIC_URL": "http://127.0.0.1:1", "DUNLIN_MERCHANT_NAME": "School", "DUNLIN_BOUNCE_ADDRESS": "bounces@mail.example",
		"DUNLIN_BOUNCE_LISTEN": socket, "DUNLIN_LINK_KEY": "0123456789abcdef", "DUNLIN_ADMIN_ALERT": "ops@school.example",
		"DUNLIN_LIMIT_CHECKOUT": "100/s", "DUNLIN_LIMIT_EMAIL": "100/s"}
	for _, line := range box.Env() {
		name, value, _ := strings.Cut(line, "=")
		e[name] = value
	}
	c, err := e.load()
	if err != nil {
		t.Fatal(err)
	}
	rdb, err := c.OpenRedis(setup.RedisForEnqueuing)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rdb.Close() })
	opt := setup.WorkerOptions{Redis: rdb, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	w, err := c.NewWorker(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	opt.On = w.Ledger
	s, err := c.NewServer(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()

	b := ledgertest.Import(t, w.Ledger, 1, ledgertest.Each(func(r *paylink.Row) { r.Email = "bounce-later@customer.example" }))
	wakes, err := w.Ledger.Feed(t.Context(), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	id := paylink.RequestID(wakes[0].ID)
	if err := w.Do(t.Context(), wakes[0]); err != nil {
		t.Fatal(err)
	}
	line, err := w.Ledger.Request(t.Context(), id)
	if err != nil || len(line.Messages) != 1 {
		t.Fatalf("messages %+v, %v", line.Messages, err)
	}
	if err := w.Do(t.Context(), paylink.Wake{Task: paylink.TaskSend, ID: int64(line.Messages[0].ID), Epoch: 1, Channel: paylink.Email}); err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := box.Wait(wait, func() bool { return len(box.Reports()) == 1 }); err != nil {
		t.Fatal(err)
	}
	if r := box.Reports()[0]; r.Err != nil || !strings.HasPrefix(r.From, "bounces+") {
		t.Errorf("report about %q: %v", r.From, r.Err)
	}
	if line, err = w.Ledger.Request(t.Context(), id); err != nil || line.Messages[0].State != paylink.MessageUndelivered {
		t.Errorf("message %+v, %v", line.Messages, err)
	}
	// An alert is nobody's attempt: it comes back to whom it is from.
	w.Alerter.Alert(t.Context(), "test", "something")
	if err := box.Wait(wait, func() bool { return len(box.Mails()) == 2 }); err != nil {
		t.Fatal(err)
	}
	if got := box.Mails()[1]; got.To != "ops@school.example" || got.From != "payments@example.test" {
		t.Errorf("the alert went from %q to %q", got.From, got.To)
	}
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	ledgertest.Audit(t, w.Ledger)
}
