package sandbox

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// Sandbox is a running set of stand-ins. Its methods are safe for concurrent use.
type Sandbox struct {
	cfg    Config
	base   string // http://host:port that it is reached at
	pages  *pages
	faults *faults
	store  *store
	limits map[Provider]*bucket

	http         *http.Server
	handler      http.Handler
	smtp         *smtp.Server
	smtpAddr     string
	mailListener net.Listener
	mailBuffers  buffers
	callbacks    *callbacks
	outbound     *http.Client // to status callbacks and webhooks

	webhookTimeout, webhookPause time.Duration

	ids    atomic.Uint64
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // work that outlives its connection
}

// Start opens the listeners and serves until Close. The zero Config is good for tests: free loopback ports, fixed
// credentials, no latency.
func Start(cfg Config) (*Sandbox, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	hl, err := net.Listen("tcp", cfg.HTTPAddr)
	if err != nil {
		return nil, fmt.Errorf("listening for HTTP: %w", err)
	}
	sl, err := net.Listen("tcp", cfg.SMTPAddr)
	if err != nil {
		hl.Close()
		return nil, fmt.Errorf("listening for SMTP: %w", err)
	}
	s := &Sandbox{
		cfg:            cfg,
		pages:          newPages(),
		faults:         newFaults(cfg.Seed),
		store:          newStore(cfg.Quiet, cfg.Keep),
		limits:         map[Provider]*bucket{},
		smtpAddr:       reachable(sl.Addr()),
		webhookTimeout: 15 * time.Second,
		webhookPause:   5 * time.Second,
	}
	for _, p := range []Provider{Ottu, Twilio, SMTP} {
		s.limits[p] = &bucket{rate: cfg.Rate}
	}
	s.mailListener = sl
	s.base = "http://" + reachable(hl.Addr())
	if cfg.PublicURL != "" {
		s.base = cfg.PublicURL
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.outbound = outboundClient(loopback(hl.Addr()))
	s.callbacks = startCallbacks(s, 4)

	s.handler = s.routes()
	s.http = &http.Server{
		Handler:     s.handler,
		BaseContext: func(net.Listener) context.Context { return s.ctx },
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	s.smtp = s.newMailServer()
	s.tasks.Go(func() { _ = s.http.Serve(hl) })
	s.tasks.Go(func() { _ = s.smtp.Serve(smtpListener{sl, s}) })
	return s, nil
}

// URL is the HTTP base of Ottu (below /b/), Twilio (below /2010-04-01/) and the pages, without a final slash.
func (s *Sandbox) URL() string { return s.base }

// SMTPAddr is the mail server's host:port. It speaks plain SMTP, without STARTTLS and AUTH.
func (s *Sandbox) SMTPAddr() string { return s.smtpAddr }

// Handler serves everything that is reached by HTTP, for mounting it on another listener. Some faults close the
// connection by panicking with http.ErrAbortHandler, as net/http provides for.
func (s *Sandbox) Handler() http.Handler { return s.handler }

// Config is what it runs with, defaults filled in.
func (s *Sandbox) Config() Config { return s.cfg }

// Close stops the listeners and all work under way; work that a rule held back is dropped, not done.
func (s *Sandbox) Close() error {
	s.cancel()
	err := errors.Join(s.http.Close(), s.smtp.Close())
	_ = s.mailListener.Close() // Serve may not have told the server of it yet
	s.callbacks.stop()
	s.tasks.Wait()
	s.outbound.CloseIdleConnections()
	if err != nil {
		return fmt.Errorf("closing the sandbox: %w", err)
	}
	return nil
}

// newID makes n hex characters, at most 40, that no other call of this process and seed returns.
func (s *Sandbox) newID(n int) string {
	var in [16]byte
	binary.BigEndian.PutUint64(in[:], s.cfg.Seed)
	binary.BigEndian.PutUint64(in[8:], s.ids.Add(1))
	sum := sha1.Sum(in[:])
	return hex.EncodeToString(sum[:])[:n]
}

// pause waits as a slow provider would: it does not care whether the client is still there.
func (s *Sandbox) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.ctx.Done():
	}
}

// later does work once the rule's delay is over or it is released, whichever comes first; never after Close.
func (s *Sandbox) later(f *fired, work func()) {
	s.tasks.Go(func() {
		var after <-chan time.Time
		if f.Delay > 0 {
			t := time.NewTimer(f.Delay)
			defer t.Stop()
			after = t.C
		}
		select {
		case <-after:
		case <-f.gate:
		case <-s.ctx.Done():
			return
		}
		work()
	})
}

// Wait returns nil as soon as cond holds. It is asked again after every change of what the sandbox keeps or counts.
func (s *Sandbox) Wait(ctx context.Context, cond func() bool) error {
	for {
		changed := s.store.changed()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the sandbox: %w", context.Cause(ctx))
		}
	}
}

// outboundClient posts callbacks and webhooks. A sandbox that only this machine can reach does not reach out of it
// either: a test's made-up callback address must not become a request to a stranger.
func outboundClient(loopbackOnly bool) *http.Client {
	d := &net.Dialer{Timeout: 5 * time.Second}
	if loopbackOnly {
		d.ControlContext = refuseRemote
	}
	return &http.Client{
		Transport:     &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func randomSeed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return binary.BigEndian.Uint64(b[:])
}
