package hooks

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"dunlin/paylink"
)

// MessageLedger is what the receivers of a messaging provider need of the record.
type MessageLedger interface {
	Store
	ApplyReceipt(ctx context.Context, id paylink.EventID, r paylink.MessageReceipt) (paylink.EventOutcome, []paylink.Wake, error)
	Suppress(ctx context.Context, s paylink.Suppression) error
	Lift(ctx context.Context, s paylink.Suppression, sources ...string) (lifted bool, err error)
}

// ReceiptReader knows one provider's callbacks about messages that it took.
type ReceiptReader interface {
	// Verify reports whether the callback was signed with a key of ours.
	Verify(r *http.Request, body []byte) bool
	// Keep is what of a verified callback is stored: what Read needs and nobody's address. nil = it is no callback.
	Keep(r *http.Request, body []byte) []byte
	// Read reads what was kept. A state that is not known is empty.
	Read(kept []byte) (paylink.MessageReceipt, error)
}

// ReplyReader knows what payers answer to messages.
type ReplyReader interface {
	// Verify reports whether the delivery was signed with a key of ours.
	Verify(r *http.Request, body []byte) bool
	// Keep is what of a verified reply is stored, and under which key. nil: it asks for nothing that is ours to do.
	Keep(r *http.Request, body []byte) (key string, kept []byte)
	// Read reads what was kept: whom the payer wants silenced, or, if lift is true, to be written to again.
	Read(kept []byte) (s paylink.Suppression, lift bool, err error)
}

// MessageConfig is what the receivers of a messaging provider are made from.
type MessageConfig struct {
	// Provider names the provider in the ledger.
	Provider string
	Ledger   MessageLedger
	// Wake hands the wakes of a fallback's message to the queue. It may fail: the ledger brings them again.
	Wake func(ctx context.Context, wakes ...paylink.Wake) error
	// LiftSources are those of the suppressions that a START takes back.
	LiftSources []string
	Log         *slog.Logger
	// Alert tells operators of a fault of ours that a provider reports after it took the message: a suspended account, a
	// broken template. nil = the log only.
	Alert func(ctx context.Context, key, text string)
	// Patience is how long the answer waits for applying. 0 = 2 s.
	Patience time.Duration
	// Hold is how long a verified callback is held while it cannot be stored. 0 = 10 s, within the provider's 15 s: it asks
	// a second time after an error.
	Hold time.Duration
}

func (c MessageConfig) receiver(s source, suffix, hint string) *Receiver {
	if c.Hold <= 0 {
		c.Hold = 10 * time.Second
	}
	return newReceiver(s, settings{provider: c.Provider + suffix, store: c.Ledger, log: c.Log, hold: c.Hold, patience: c.Patience,
		maxBody: 64 << 10, refusal: http.StatusForbidden, lostHint: hint})
}

func (c *MessageConfig) check() error {
	if c.Ledger == nil || c.Provider == "" || c.Wake == nil {
		return errors.New("a receiver of message callbacks needs a provider's name, a ledger and a way to wake")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Alert == nil {
		c.Alert = func(_ context.Context, key, text string) { c.Log.Error(text, "cause", key) }
	}
	return nil
}

// NewReceipts makes the receiver of callbacks about messages.
func NewReceipts(c MessageConfig, r ReceiptReader) (*Receiver, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.receiver(receipts{r, c}, "", "the provider is asked about its message later"), nil
}

// NewReplies makes the receiver of payers' answers to messages.
func NewReplies(c MessageConfig, r ReplyReader) (*Receiver, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.receiver(replies{r, c}, "_inbound", "a STOP may be among them; the provider refuses such numbers by itself"), nil
}

type receipts struct {
	reader ReceiptReader
	MessageConfig
}

func (x receipts) verify(r *http.Request, body []byte) bool { return x.reader.Verify(r, body) }

func (x receipts) keep(r *http.Request, body []byte) (string, []byte, error) {
	raw := x.reader.Keep(r, body)
	if raw == nil {
		return "", nil, errors.New("not a callback")
	}
	return rawKey(raw), raw, nil // what is kept is the same for two deliveries that say the same
}

func (x receipts) apply(ctx context.Context, id paylink.EventID, raw []byte) (paylink.EventOutcome, error) {
	r, err := x.reader.Read(raw)
	switch {
	case err != nil:
		return paylink.EventUnreadable, x.Ledger.CloseEvent(ctx, id, paylink.EventUnreadable)
	case r.State == "":
		return paylink.EventUnsupported, x.Ledger.CloseEvent(ctx, id, paylink.EventUnsupported)
	}
	outcome, wakes, err := x.Ledger.ApplyReceipt(ctx, id, r)
	if err != nil {
		return "", err
	}
	if len(wakes) > 0 {
		if err := x.Wake(ctx, wakes...); err != nil {
			x.Log.Warn("wakes left to the sweeper", "n", len(wakes), "error", err)
		}
	}
	if f := r.Failure; outcome == paylink.EventApplied && f != nil && (f.Scope == paylink.ScopeAccount || f.Scope == paylink.ScopeTemplate) {
		x.Alert(ctx, x.Provider+" "+f.Code, "messages that were accepted fail later, which is no payer's fault: "+f.Error())
	}
	return outcome, nil
}

func (receipts) answer(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }

type replies struct {
	reader ReplyReader
	MessageConfig
}

func (x replies) verify(r *http.Request, body []byte) bool { return x.reader.Verify(r, body) }

func (x replies) keep(r *http.Request, body []byte) (string, []byte, error) {
	key, raw := x.reader.Keep(r, body)
	return key, raw, nil
}

func (x replies) apply(ctx context.Context, id paylink.EventID, raw []byte) (paylink.EventOutcome, error) {
	s, lift, err := x.reader.Read(raw)
	if err != nil {
		return paylink.EventUnreadable, x.Ledger.CloseEvent(ctx, id, paylink.EventUnreadable)
	}
	s.Event = id
	if !lift {
		return paylink.EventApplied, x.Ledger.Suppress(ctx, s)
	}
	lifted, err := x.Ledger.Lift(ctx, s, x.LiftSources...)
	if err != nil || lifted {
		return paylink.EventApplied, err
	}
	return paylink.EventNothingNew, nil
}

// answer says that there is nothing to say: any other answer would be sent to the payer.
func (replies) answer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Response/>`)
}
