// Package hooks takes in what providers tell about payments. An event is verified, stored raw (without card data) and
// only then answered; applying it follows at once where that is quick and in the background where it is not, and
// [Receiver.Run] applies what a crash or an outage left.
//
// Ottu repeats a webhook after a timeout only: a 5xx loses it for good. So a verified event that cannot be stored is
// held open, longer than Ottu waits, while storing is tried again. What is not verified is counted and named in the log
// now and then; keeping all of it would let anybody fill the disk.
//
// The package decides nothing about money: that is the ledger's. It knows no provider's format either; a [Reader] does.
package hooks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"dunlin/paylink"
)

// Ledger is what the receiver needs of the record.
type Ledger interface {
	StoreEvent(ctx context.Context, provider, key string, raw []byte) (e paylink.StoredEvent, fresh bool, err error)
	UnappliedEvents(ctx context.Context, provider string, after paylink.EventID, limit int) ([]paylink.StoredEvent, error)
	CloseEvent(ctx context.Context, id paylink.EventID, outcome paylink.EventOutcome) error
	ApplyPayment(ctx context.Context, id paylink.EventID, ev paylink.PaymentEvent, seen *paylink.CheckoutSession) (paylink.EventOutcome, error)
}

// Reader knows one provider's events.
type Reader interface {
	// Verify reports whether the body was signed with a key of ours. Everything else is asked of verified bodies only.
	Verify(body []byte) bool
	// Read reads an event, also a redacted one.
	Read(body []byte) (paylink.PaymentEvent, error)
	// Redact takes out what must not be stored; nil = nothing of it may be.
	Redact(body []byte) []byte
}

// Config is what a receiver is made from.
type Config struct {
	// Provider names the provider in the ledger.
	Provider string
	Ledger   Ledger
	Reader   Reader
	// Ask looks at a session at the provider, for an event about one that its attempt is not known to have. An error for
	// which errors.Is(err, paylink.ErrNotFound) holds means that there is none such.
	Ask func(ctx context.Context, providerID string) (paylink.CheckoutSession, error)
	Log *slog.Logger

	// Hold is how long a verified event is held while it cannot be stored. 0 = 20 s, above Ottu's timeout of 15 s.
	Hold time.Duration
	// Patience is how long the answer waits for applying. 0 = 2 s.
	Patience time.Duration
}

const (
	// maxBody is far above any real event.
	maxBody = 256 << 10
	// maxOpen deliveries are worked on at once; more wait for their turn.
	maxOpen = 128
	// storeTry bounds one try at storing; storePause lies between two.
	storeTry, storePause = 5 * time.Second, 250 * time.Millisecond
	// applyTime bounds applying one event, a question to the provider included.
	applyTime = 45 * time.Second
	// forgedQuiet is how often unverified deliveries are told of at most.
	forgedQuiet = time.Minute
)

// Stats counts deliveries since the start.
type Stats struct{ Stored, Doubled, Forged, Lost int64 }

// Receiver is the endpoint of one provider's webhook. It is safe for concurrent use.
type Receiver struct {
	Config
	open    chan struct{}
	working sync.WaitGroup

	stored, doubled, forged, lost atomic.Int64

	mu         sync.Mutex
	forgedTold time.Time
	forgedThen int64
}

// New makes a receiver.
func New(c Config) (*Receiver, error) {
	if c.Ledger == nil || c.Reader == nil || c.Ask == nil || c.Provider == "" {
		return nil, errors.New("a webhook receiver needs a provider's name, a ledger, a reader and a way to ask")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Hold <= 0 {
		c.Hold = 20 * time.Second
	}
	if c.Patience <= 0 {
		c.Patience = 2 * time.Second
	}
	return &Receiver{Config: c, open: make(chan struct{}, maxOpen)}, nil
}

// Stats counts what came in.
func (h *Receiver) Stats() Stats {
	return Stats{h.stored.Load(), h.doubled.Load(), h.forged.Load(), h.lost.Load()}
}

// Close waits for what is being applied.
func (h *Receiver) Close() { h.working.Wait() }

func (h *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case h.open <- struct{}{}:
		defer func() { <-h.open }()
	case <-r.Context().Done():
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			h.unverified(len(body))
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		http.Error(w, "cut short", http.StatusBadRequest)
		return
	}
	if !h.Reader.Verify(body) {
		h.unverified(len(body))
		http.Error(w, "not verified", http.StatusUnauthorized)
		return
	}
	raw := h.Reader.Redact(body)
	if raw == nil {
		http.Error(w, "not an event", http.StatusBadRequest)
		return
	}
	ev, unreadable := h.Reader.Read(body)
	key := ev.Key()
	if unreadable != nil {
		sum := sha256.Sum256(raw)
		key = "raw " + hex.EncodeToString(sum[:])
	}
	// The sender may leave; the event is wanted all the same.
	ctx := context.WithoutCancel(r.Context())
	e, fresh, err := h.store(ctx, key, raw)
	if err != nil {
		h.lost.Add(1)
		h.Log.Error("a verified payment event was not stored; the provider will not repeat it, so look at its sessions", "error", err)
		http.Error(w, "not stored", http.StatusServiceUnavailable)
		return
	}
	if fresh {
		h.stored.Add(1)
	} else {
		h.doubled.Add(1)
	}
	if e.Outcome == "" {
		applied := make(chan struct{})
		h.working.Go(func() {
			defer close(applied)
			h.apply(ctx, e.ID, ev, unreadable)
		})
		patience := time.NewTimer(h.Patience)
		defer patience.Stop()
		select {
		case <-applied:
		case <-patience.C:
		}
	}
	// 200 and nothing else: 201 would keep the payer on the provider's page.
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

// store tries until it is stored or the delivery was held long enough.
func (h *Receiver) store(ctx context.Context, key string, raw []byte) (e paylink.StoredEvent, fresh bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.Hold)
	defer cancel()
	for {
		try, done := context.WithTimeout(ctx, storeTry)
		e, fresh, err = h.Ledger.StoreEvent(try, h.Provider, key, raw)
		done()
		if err == nil {
			return e, fresh, nil
		}
		pause := time.NewTimer(storePause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return e, false, err
		}
	}
}

// apply applies a stored event; what fails is left to Run.
func (h *Receiver) apply(ctx context.Context, id paylink.EventID, ev paylink.PaymentEvent, unreadable error) {
	ctx, cancel := context.WithTimeout(ctx, applyTime)
	defer cancel()
	outcome, err := paylink.EventUnreadable, error(nil)
	if unreadable != nil {
		err = h.Ledger.CloseEvent(ctx, id, outcome)
	} else {
		outcome, err = h.Ledger.ApplyPayment(ctx, id, ev, nil)
	}
	if errors.Is(err, paylink.ErrUnconfirmed) {
		var seen paylink.CheckoutSession
		if ev.ProviderID != "" {
			if seen, err = h.Ask(ctx, ev.ProviderID); err != nil && !errors.Is(err, paylink.ErrNotFound) {
				h.Log.Warn("payment event waits until the provider can be asked", "event", id.String(), "error", err)
				return
			}
		}
		outcome, err = h.Ledger.ApplyPayment(ctx, id, ev, &seen)
	}
	if err != nil {
		h.Log.Error("payment event not applied; it is tried again", "event", id.String(), "error", err)
		return
	}
	h.Log.Info("payment event", "event", id.String(), "outcome", outcome)
}

func (h *Receiver) unverified(size int) {
	n := h.forged.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); now.Sub(h.forgedTold) >= forgedQuiet {
		h.Log.Warn("webhooks that are not signed with a key of ours were refused", "provider", h.Provider, "since_last", n-h.forgedThen, "last_bytes", size)
		h.forgedTold, h.forgedThen = now, n
	}
}

const (
	// sweepEvery is how often what stayed unapplied is looked for; sweepAfter leaves the fresh ones to their deliveries.
	sweepEvery, sweepAfter = 5 * time.Second, 10 * time.Second
	sweepPage              = 100
)

// Run applies what was stored and not applied, until ctx ends. Several may run: applying is done once.
func (h *Receiver) Run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := h.Sweep(ctx, sweepAfter); err != nil && ctx.Err() == nil {
			h.Log.Warn("stored payment events not read", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Sweep applies, once each, the stored events that are older than age and have no outcome.
func (h *Receiver) Sweep(ctx context.Context, age time.Duration) error {
	for after := paylink.EventID(0); ; {
		page, err := h.Ledger.UnappliedEvents(ctx, h.Provider, after, sweepPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, e := range page {
			if after = e.ID; time.Since(e.ReceivedAt) < age {
				continue
			}
			ev, unreadable := h.Reader.Read(e.Raw)
			if h.apply(ctx, e.ID, ev, unreadable); ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
}
