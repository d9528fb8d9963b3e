package hooks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"

	"dunlin/paylink"
)

// payments are events about checkout sessions.
type payments struct{ Config }

func (p payments) verify(_ *http.Request, body []byte) bool { return p.Reader.Verify(body) }

func (p payments) keep(_ *http.Request, body []byte) (key string, raw []byte, err error) {
	if raw = p.Reader.Redact(body); raw == nil {
		return "", nil, errors.New("not an event")
	}
	ev, unreadable := p.Reader.Read(body)
	if unreadable != nil {
		return rawKey(raw), raw, nil
	}
	return ev.Key(), raw, nil
}

// rawKey is the key of what has none of its own.
func rawKey(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "raw " + hex.EncodeToString(sum[:])
}

func (p payments) apply(ctx context.Context, id paylink.EventID, raw []byte) (paylink.EventOutcome, error) {
	ev, unreadable := p.Reader.Read(raw)
	if unreadable != nil {
		return paylink.EventUnreadable, p.Ledger.CloseEvent(ctx, id, paylink.EventUnreadable)
	}
	outcome, err := p.Ledger.ApplyPayment(ctx, id, ev, nil)
	if !errors.Is(err, paylink.ErrUnconfirmed) {
		return outcome, err
	}
	var seen paylink.CheckoutSession
	if ev.ProviderID != "" {
		if seen, err = p.Ask(ctx, ev.ProviderID); err != nil && !errors.Is(err, paylink.ErrNotFound) {
			p.Log.Warn("payment event waits until the provider can be asked", "event", id.String(), "error", err)
			return "", errLater
		}
	}
	return p.Ledger.ApplyPayment(ctx, id, ev, &seen)
}

// answer is 200 and nothing else: 201 would keep the payer on the provider's page.
func (payments) answer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}
