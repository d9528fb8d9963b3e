package setup

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"dunlin/checkout/ottu"
	"dunlin/jobs"
	"dunlin/web/console"
	"dunlin/web/hooks"
	"dunlin/web/pay"
	"dunlin/web/queue"
)

// Server takes HTTP: the API, the payers' pages and the providers' webhooks. It keeps nothing of its own, so any number may run.
type Server struct {
	Handler http.Handler
	Hooks   *hooks.Receiver
	Console *console.Console
	// Twilio takes callbacks about messages and payers' answers; empty without an account.
	Twilio  []*hooks.Receiver
	worker  *Worker
	bounces *bounces
}

// NewServer wires a server from the configuration.
func (c Config) NewServer(ctx context.Context, opt WorkerOptions) (*Server, error) {
	if err := c.NeedServer(); err != nil {
		return nil, err
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	w, err := c.newWorker(ctx, opt)
	if err != nil {
		return nil, err
	}
	s := &Server{worker: w}
	if s.Handler, err = c.routes(s, opt); err == nil {
		s.bounces, err = c.newBounces(w, opt.Log)
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return s, nil
}

func (c Config) routes(s *Server, opt WorkerOptions) (http.Handler, error) {
	w := s.worker
	desk := jobs.NewDesk(w.Worker, w.Ledger, w.limiter.For(jobs.ClassClick), w.limiter.For(jobs.ClassAmend))
	if c.OttuHMACKey == "" {
		opt.Log.Warn("DUNLIN_OTTU_HMAC_KEY is not set: every payment webhook is refused")
	}
	var err error
	if s.Hooks, err = hooks.New(hooks.Config{Provider: "ottu", Ledger: w.Ledger, Ask: desk.Ask, Log: opt.Log,
		Reader: ottu.Events{Keys: []string{string(c.OttuHMACKey), string(c.OttuHMACKeyOld)}}}); err != nil {
		return nil, err
	}
	cfg := pay.Config{Ledger: w.Ledger, Silence: w.Ledger, Desk: desk, Texts: w.texts, Merchant: c.MerchantName, Log: opt.Log, Language: c.DefaultLanguage}
	if u, err := url.Parse(c.OttuURL); err == nil && u.Scheme == "http" { // a stand-in on this machine
		cfg.FormTargets = []string{u.Scheme + "://" + u.Host, strings.TrimSuffix(c.PublicURL, "/")}
	}
	if c.OttuPublicKey != "" {
		cfg.SDK = &pay.SDK{ScriptURL: c.OttuSDKURL, Merchant: c.OttuURL, PublicKey: c.OttuPublicKey}
	}
	if c.SavedCards {
		// Servers share no state and no further secret: the key that signs their cookies is drawn from the one they share.
		key := hmac.New(sha256.New, []byte(c.OttuAPIKey))
		_, _ = io.WriteString(key, "dunlin: cookie of the saved cards")
		cfg.Cards = &pay.Cards{Key: key.Sum(nil), Secure: strings.HasPrefix(c.PublicURL, "https:")}
	}
	pages, err := pay.New(cfg)
	if err != nil {
		return nil, err
	}
	calls, err := c.api(w.Ledger, w.texts, opt)
	if err != nil {
		return nil, err
	}
	if s.Console, err = c.console(w, opt); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	pages.Mount(mux)
	mux.Handle("/api/", calls)
	s.Console.Mount(mux)
	dashboard, err := c.dashboard(s, opt)
	if err != nil {
		return nil, err
	}
	mux.Handle(queue.Path+"/", dashboard)
	mux.Handle("POST /hooks/ottu", s.Hooks)
	if err := c.twilioHooks(s, mux, opt.Log); err != nil {
		return nil, err
	}
	mux.Handle("GET /metrics", c.Metrics(w.Ledger, opt.Redis, s, opt.Log))
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "ok\n") })
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
		defer cancel()
		if err := w.Ledger.Ping(ctx); err != nil {
			http.Error(rw, "the ledger does not answer", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(rw, "ok\n")
	})
	return mux, nil
}

const (
	// answerTime is above the longest answer: a webhook that is held while the ledger is away, a payer's click that ends an
	// old session and makes a new one.
	answerTime = 75 * time.Second
	// stopTime is how long a stopping server waits for answers under way.
	stopTime = 50 * time.Second
)

// Serve takes requests on l until ctx ends, then finishes those under way. l is closed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: s.Handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: answerTime,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	server.RegisterOnShutdown(s.Console.Stop) // who watches a batch would hold it open
	sweep, stop := context.WithCancel(context.WithoutCancel(ctx))
	var sweeping sync.WaitGroup
	receivers := append([]*hooks.Receiver{s.Hooks}, s.Twilio...)
	for _, h := range receivers {
		sweeping.Go(func() { h.Run(sweep) })
	}
	defer func() {
		stop()
		sweeping.Wait()
		for _, h := range receivers {
			h.Close()
		}
	}()
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(l) }()
	sweeping.Go(func() {
		if err := s.bounces.run(sweep); err != nil {
			failed <- err
		}
	})
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := server.Shutdown(end); err != nil {
		return errors.Join(fmt.Errorf("some answers were cut off: %w", err), server.Close())
	}
	return nil
}

// Close closes what the server stands on, after Serve has returned.
func (s *Server) Close() error {
	return errors.Join(s.Console.Close(), s.bounces.close(), s.worker.Close())
}
