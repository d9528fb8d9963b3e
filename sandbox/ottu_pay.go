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
	// Reference names the attempt.
	Reference string `json:"reference,omitempty"`
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

// Telling is how the webhook of an attempt is delivered beside Ottu's usual way, which is the empty one.
type Telling string

// The ways of telling.
const (
	TellTwice  Telling = "twice"  // the same event two times
	TellBehind Telling = "behind" // after that of the session's next attempt
	TellNever  Telling = "never"  // it is lost on the way
)

// Attempt is one attempt of the payer's.
type Attempt struct {
	Outcome Outcome
	// Late: the gateway's answer comes after the session was given up: expired and failed sessions take money too.
	Late bool
	Tell Telling
}

// Pay is Attempt with the webhook told in the usual way.
func (s *Sandbox) Pay(ctx context.Context, sessionID string, o Outcome, late bool) (Payment, error) {
	return s.Attempt(ctx, sessionID, Attempt{Outcome: o, Late: late})
}

// Attempt ends one attempt of the payer's, then tells the merchant's webhook and returns after it.
func (s *Sandbox) Attempt(ctx context.Context, sessionID string, a Attempt) (Payment, error) {
	switch a.Tell {
	case "", TellTwice, TellBehind, TellNever:
	default:
		return Payment{}, fmt.Errorf("unknown way of telling %q", a.Tell)
	}
	p, hook, behind, err := s.settle(sessionID, a)
	if err != nil {
		return p, err
	}
	switch {
	case hook.url == "":
		p.Redirect = hook.redirect
	case a.Tell == "" || a.Tell == TellTwice:
		p.Webhook = s.postWebhook(ctx, hook)
		if a.Tell == TellTwice {
			s.postWebhook(ctx, hook)
		}
		if p.Webhook == 200 {
			p.Redirect = hook.redirect
		}
	}
	for _, old := range behind {
		s.postWebhook(ctx, old)
	}
	return p, nil
}

// settle moves the session; behind are the events that were kept back until this one is told.
func (s *Sandbox) settle(sessionID string, a Attempt) (p Payment, hook webhook, behind []webhook, err error) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	x := s.store.byID[sessionID]
	if x == nil {
		return p, hook, nil, ErrNoSession
	}
	s.overdue(x, nil)
	if !x.open() && !(a.Late && (x.state == "expired" || x.state == "failed")) {
		return Payment{Session: s.view(x)}, hook, nil, fmt.Errorf("%w: it is %s", ErrNotPayable, x.state)
	}
	result := "success"
	switch a.Outcome {
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
		result = string(a.Outcome)
	default:
		return Payment{Session: s.view(x)}, hook, nil, fmt.Errorf("unknown outcome %q", a.Outcome)
	}
	x.attempts++
	s.store.touch()
	reference := "SBX" + s.newID(12)
	hook = s.webhookOf(x, result, reference)
	if a.Tell == TellBehind {
		x.behind = append(x.behind, hook)
	} else {
		behind, x.behind = x.behind, nil
	}
	return Payment{Session: s.view(x), Reference: reference}, hook, behind, nil
}
