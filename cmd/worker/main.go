// Command worker works the queues: it makes checkout sessions, sends messages, wakes what was forgotten and settles what
// is unknown. Any number of workers may run; the ledger decides who does what. SIGTERM drains it: nothing new is begun,
// what is under way is finished and recorded.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // the image has no zone files

	"dunlin/cmd/internal/setup"
	"dunlin/jobs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.LookupEnv, os.Environ(), os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

const usage = `worker works the queues until it is told to stop (SIGTERM drains it).

It is configured by the environment alone; .env.example lists every variable. It needs a ledger (DUNLIN_DATABASE_URL), a
Redis (DUNLIN_REDIS_URL), Ottu's address and key, and at least one channel.

Flags:
`

func run(ctx context.Context, args []string, getenv func(string) (string, bool), environ []string, stderr io.Writer) error {
	fs := flag.NewFlagSet("worker", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, usage); fs.PrintDefaults() }
	concurrency := fs.Int("concurrency", 0, "calls to each provider at once; 0 = 64 for the checkout, 48 for email, 16 for SMS and WhatsApp")
	timeout := fs.Duration("call-timeout", 0, "how long one call to a provider may take; a claim is held 30s longer; 0 = 30s for the checkout, 120s for email, 20s for SMS and WhatsApp")
	drain := fs.Duration("drain", 0, "how long a stopping worker waits for calls under way; 0 = 150s")
	if err := fs.Parse(args); err != nil {
		return err
	}
	config, err := setup.Load(getenv, environ...)
	if err != nil {
		return err
	}
	log := config.Logger(stderr)
	rdb, err := config.OpenRedis(setup.RedisForWorking)
	if err != nil {
		return err
	}
	defer rdb.Close()
	w, err := config.NewWorker(ctx, setup.WorkerOptions{Redis: rdb, Log: log, CallTimeout: *timeout})
	if err != nil {
		return err
	}
	defer w.Close()
	if config.WorkerListen != "" {
		stop, err := serveHealth(config.WorkerListen, w, config.Metrics(w.Ledger, rdb, nil, log))
		if err != nil {
			return err
		}
		defer stop()
	}
	each := jobs.Concurrency{}
	for _, p := range jobs.Providers {
		each[p] = *concurrency
	}
	log.Info("worker started", "channels", fmt.Sprint(w.Channels))
	err = w.Run(ctx, jobs.RunConfig{Redis: rdb, Concurrency: each, Drain: *drain})
	log.Info("worker stopped")
	return err
}

// serveHealth answers /healthz (this process lives), /readyz (the ledger answers) and /metrics.
func serveHealth(addr string, w *setup.Worker, metrics http.Handler) (stop func() error, err error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "ok\n") })
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, r *http.Request) {
		if err := w.Ledger.Ping(r.Context()); err != nil {
			http.Error(rw, "the ledger does not answer", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(rw, "ok\n")
	})
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("DUNLIN_WORKER_LISTEN: %w", err)
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go s.Serve(l)
	return s.Close, nil
}
