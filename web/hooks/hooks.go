// Package hooks takes in what providers tell about payments and messages. An event is verified, stored raw (without card
// data and without addresses) and only then answered; applying it follows at once where that is quick and in the background where it is not, and
// [Receiver.Run] applies what a crash or an outage left.
//
// Ottu repeats a webhook after a timeout only, Twilio a callback once: a 5xx loses it for good. So a verified event that cannot be stored is
// held open, longer than Ottu waits, while storing is tried again. What is not verified is counted and named in the log
// now and then; keeping all of it would let anybody fill the disk.
//
// The package decides nothing about money or messages: that is the ledger's. It knows no provider's format either; a
// [Reader], a [ReceiptReader] or a [ReplyReader] does.
package hooks

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"dunlin/paylink"
)

// Store is what every receiver needs of the record.
type Store interface {
	StoreEvent(ctx context.Context, provider, key string, raw []byte) (e paylink.StoredEvent, fresh bool, err error)
	UnappliedEvents(ctx context.Context, provider string, after paylink.EventID, limit int) ([]paylink.StoredEvent, error)
	CloseEvent(ctx context.Context, id paylink.EventID, outcome paylink.EventOutcome) error
}

// Ledger is what a receiver of payment events needs of the record.
type Ledger interface {
	Store
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

// source is what the receivers differ in.
type source interface {
	// verify reports whether the delivery was signed with a key of ours. Everything else is asked of verified ones only.
	verify(r *http.Request, body []byte) bool
	// keep says what of a delivery is stored, and under which key; nil = nothing, and it is only answered. An error: it is
	// no event at all.
	keep(r *http.Request, body []byte) (key string, raw []byte, err error)
	// apply applies what was kept, and closes the event. errLater: it was told of already, and is tried again.
	apply(ctx context.Context, id paylink.EventID, raw []byte) (paylink.EventOutcome, error)
	// answer tells the provider that all is well.
	answer(w http.ResponseWriter)
}

// errLater is an event that waits for something else than us.
var errLater = errors.New("later")

// settings are a receiver's own.
type settings struct {
	provider string
	store    Store
	log      *slog.Logger
	hold     time.Duration // how long a verified event is held while it cannot be stored
	patience time.Duration // how long the answer waits for applying
	maxBody  int64         // far above any real event
	refusal  int           // the status that an unverified delivery gets
	lostHint string        // what to do about an event that was not stored
}

// Receiver is the endpoint of one provider's webhook. It is safe for concurrent use.
type Receiver struct {
	source
	settings
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
	return newReceiver(payments{c}, settings{provider: c.Provider, store: c.Ledger, log: c.Log, hold: c.Hold, patience: c.Patience,
		maxBody: 256 << 10, refusal: http.StatusUnauthorized,
		lostHint: "the provider will not repeat it, so look at its sessions"}), nil
}

func newReceiver(s source, c settings) *Receiver {
	if c.patience <= 0 {
		c.patience = 2 * time.Second
	}
	return &Receiver{source: s, settings: c, open: make(chan struct{}, maxOpen)}
}

// Stats counts what came in.
func (h *Receiver) Stats() Stats {
	return Stats{h.stored.Load(), h.doubled.Load(), h.forged.Load(), h.lost.Load()}
}

// Provider is whose events it receives, as the ledger names them.
func (h *Receiver) Provider() string { return h.provider }

// Close waits for what is being applied.
func (h *Receiver) Close() { h.working.Wait() }

func (h *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case h.open <- struct{}{}:
		defer func() { <-h.open }()
	case <-r.Context().Done():
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.maxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			h.unverified(len(body))
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		http.Error(w, "cut short", http.StatusBadRequest)
		return
	}
	if !h.verify(r, body) {
		h.unverified(len(body))
		http.Error(w, "not verified", h.refusal)
		return
	}
	key, raw, err := h.keep(r, body)
	if err != nil {
		http.Error(w, "not an event", http.StatusBadRequest)
		return
	}
	if raw == nil {
		h.answer(w)
		return
	}
	// The sender may leave; the event is wanted all the same.
	ctx := context.WithoutCancel(r.Context())
	e, fresh, err := h.storeRaw(ctx, key, raw)
	if err != nil {
		h.lost.Add(1)
		h.log.Error("a verified event was not stored; "+h.lostHint, "provider", h.provider, "error", err)
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
			h.applyStored(ctx, e.ID, raw)
		})
		patience := time.NewTimer(h.patience)
		defer patience.Stop()
		select {
		case <-applied:
		case <-patience.C:
		}
	}
	h.answer(w)
}

// storeRaw tries until it is stored or the delivery was held long enough.
func (h *Receiver) storeRaw(ctx context.Context, key string, raw []byte) (e paylink.StoredEvent, fresh bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.hold)
	defer cancel()
	for {
		try, done := context.WithTimeout(ctx, storeTry)
		e, fresh, err = h.store.StoreEvent(try, h.provider, key, raw)
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

// applyStored applies a stored event; what fails is left to Run.
func (h *Receiver) applyStored(ctx context.Context, id paylink.EventID, raw []byte) {
	ctx, cancel := context.WithTimeout(ctx, applyTime)
	defer cancel()
	outcome, err := h.apply(ctx, id, raw)
	switch {
	case errors.Is(err, errLater):
	case err != nil:
		h.log.Error("event not applied; it is tried again", "provider", h.provider, "event", id.String(), "error", err)
	default:
		h.log.Info("event", "provider", h.provider, "event", id.String(), "outcome", outcome)
	}
}

func (h *Receiver) unverified(size int) {
	n := h.forged.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); now.Sub(h.forgedTold) >= forgedQuiet {
		h.log.Warn("webhooks that are not signed with a key of ours were refused", "provider", h.provider, "since_last", n-h.forgedThen, "last_bytes", size)
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
			h.log.Warn("stored events not read", "provider", h.provider, "error", err)
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
		page, err := h.store.UnappliedEvents(ctx, h.provider, after, sweepPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, e := range page {
			if after = e.ID; time.Since(e.ReceivedAt) < age {
				continue
			}
			if h.applyStored(ctx, e.ID, e.Raw); ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
}
