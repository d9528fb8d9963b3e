package sandbox

import (
	"context"
	"errors"
	"fmt"
)

// Outcome is how an attempt at paying ends.
type Outcome string

// The outcomes. A failed or canceled attempt leaves the session payable: several attempts are Ottu's default.
const (
	PayFull      Outcome = "paid"
	PayPart      Outcome = "part" // half of it, rounded down, at least one minor unit
	PayAuthorize Outcome = "authorized"
	PayFail      Outcome = "failed"
	PayCancel    Outcome = "canceled"
)

// ErrNoSession and ErrNotPayable are why nothing was paid.
var (
	ErrNoSession  = errors.New("no such session")
	ErrNotPayable = errors.New("the session's state does not allow this")
)

// Payment is what came of an attempt.
type Payment struct {
	Session Session `json:"session"`
	// Webhook is the status that the merchant's webhook answered; 0 = none is set, or no answer.
	Webhook int `json:"webhook"`
	// Redirect is where the payer goes now; empty = stays on Ottu's page.
	Redirect string `json:"redirect,omitempty"`
}

// Open is the payer opening the link: a created session becomes pending, an overdue one expires.
func (s *Sandbox) Open(sessionID string) (Session, error) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	x := s.store.byID[sessionID]
	if x == nil {
		return Session{}, ErrNoSession
	}
	s.overdue(x, nil)
	if x.state == "created" {
		x.state = "pending"
	}
	s.store.touch()
	return s.view(x), nil
}

// Pay ends one attempt of the payer's, then tells the merchant's webhook and returns after it. With late, the gateway's
// answer comes after the session was given up: expired and failed sessions take money too.
func (s *Sandbox) Pay(ctx context.Context, sessionID string, o Outcome, late bool) (Payment, error) {
	p, hook, err := s.settle(sessionID, o, late)
	if err != nil {
		return p, err
	}
	if hook.url != "" {
		p.Webhook = s.postWebhook(ctx, hook)
		if p.Webhook == 200 {
			p.Redirect = hook.redirect
		}
	} else {
		p.Redirect = hook.redirect
	}
	return p, nil
}

func (s *Sandbox) settle(sessionID string, o Outcome, late bool) (Payment, webhook, error) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	x := s.store.byID[sessionID]
	if x == nil {
		return Payment{}, webhook{}, ErrNoSession
	}
	s.overdue(x, nil)
	if !x.open() && !(late && (x.state == "expired" || x.state == "failed")) {
		return Payment{Session: s.view(x)}, webhook{}, fmt.Errorf("%w: it is %s", ErrNotPayable, x.state)
	}
	result := "success"
	switch o {
	case PayFull:
		x.state, x.settled = "paid", x.minor
	case PayPart:
		x.state, x.settled = "paid", max(x.minor/2, 1)
	case PayAuthorize:
		x.state, x.settled = "authorized", x.minor
	case PayFail, PayCancel:
		if x.open() {
			x.state = "attempted"
		}
		result = string(o)
	default:
		return Payment{Session: s.view(x)}, webhook{}, fmt.Errorf("unknown outcome %q", o)
	}
	x.attempts++
	s.store.touch()
	reference := "SBX" + s.newID(12)
	return Payment{Session: s.view(x)}, s.webhookOf(x, result, reference), nil
}
