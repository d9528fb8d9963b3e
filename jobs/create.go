package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"dunlin/paylink"
)

// create makes a request's checkout session. The order number of this attempt is in the ledger before the provider is
// called; a lost answer is settled by that number before anything else is tried.
func (w *Worker) create(ctx context.Context, wake paylink.Wake) error {
	if err := w.admit(ctx, wake, ProviderCheckout); err != nil {
		return err
	}
	c, err := w.Ledger.ClaimSession(ctx, paylink.RequestID(wake.ID), wake.Epoch,
		paylink.ClaimOptions{Worker: w.Name, Lease: w.CheckoutTimeout + leaseMargin})
	if err != nil {
		return stale(err)
	}
	c.Park = w.full.channels()
	callCtx, cancel := context.WithTimeout(ctx, w.CheckoutTimeout)
	defer cancel()
	s, err := w.Checkout.Create(callCtx, w.order(c))
	if err != nil {
		return w.createFailed(ctx, c, paylink.AsFailure(err))
	}
	w.gates.ok(ctx, ProviderCheckout)
	var wakes []paylink.Wake
	err = w.record(ctx, "record session", func(ctx context.Context) (err error) {
		wakes, err = w.Ledger.RecordSession(ctx, c, s)
		return err
	})
	if errors.Is(err, paylink.ErrConflict) {
		// Our lease ran out and the order number is being ended by somebody else; nobody saw this link.
		w.Log.Warn("session came too late and is left to its settling", "session", c.Session.String())
		return nil
	}
	if err != nil {
		return err
	}
	w.wakeUp(ctx, wakes...)
	return nil
}

func (w *Worker) order(c paylink.SessionClaim) paylink.CheckoutOrder {
	r := c.Request
	o := paylink.CheckoutOrder{
		OrderNo: c.OrderNo, Amount: r.Amount, Language: r.Language,
		FirstName: c.Contact.FirstName, LastName: c.Contact.LastName, Email: c.Contact.Email, Phone: c.Contact.Phone,
		DueDate: r.DueDate, ExpiresIn: w.life(r), WebhookURL: w.WebhookURL,
	}
	if c.Cards { // the id opens the customer's saved cards to whoever holds the session, and a link can be forwarded
		o.CustomerID = r.CustomerID
	}
	if o.FirstName == "" {
		o.FirstName, o.LastName, _ = strings.Cut(c.Contact.Name, " ")
	}
	if w.ReturnURL != "" {
		o.ReturnURL = fmt.Sprintf(w.ReturnURL, paylink.Token(r.ID, r.Secret))
	}
	return o
}

// life is how long the request's sessions are asked to live.
func (w *Worker) life(r paylink.Request) time.Duration {
	if r.ExpiresIn > 0 {
		return r.ExpiresIn
	}
	return w.SessionLife
}

func (w *Worker) createFailed(ctx context.Context, c paylink.SessionClaim, f *paylink.Failure) error {
	w.Log.Info("session not made", "request", c.Request.ID.String(), "kind", f.Kind, "scope", f.Scope, "cause", f.Cause, "code", f.Code)
	w.gates.failed(ctx, ProviderCheckout, f)
	w.slowDown(ctx, ProviderCheckout, f)
	if f.Kind == paylink.Unknown {
		var wake paylink.Wake
		err := w.record(ctx, "record lost session", func(ctx context.Context) (err error) {
			wake, err = w.Ledger.LoseSession(ctx, c)
			return err
		})
		if err != nil {
			return stale(err)
		}
		// At once, while the create may still be on its way: the order number must be dead before the next attempt.
		if err := w.Do(ctx, wake); err != nil {
			w.wakeUp(ctx, wake)
		}
		return nil
	}
	at, count, exhausted := time.Time{}, false, false
	if f.Kind == paylink.Temporary {
		if at, count, exhausted = w.retryPlan(c.Request.Attempts, f); exhausted {
			f = &paylink.Failure{Kind: paylink.Permanent, Scope: f.Scope, Cause: paylink.CauseExhausted, Code: f.Code}
		}
	}
	err := w.record(ctx, "record failed session", func(ctx context.Context) error {
		return w.Ledger.FailSession(ctx, c, f, at, count)
	})
	if err != nil || f.Kind == paylink.Permanent {
		return stale(err)
	}
	return &Later{At: at, Failed: true, Why: f.Error()}
}

// slowDown passes the provider's wish on to everybody.
func (w *Worker) slowDown(ctx context.Context, p Provider, f *paylink.Failure) {
	if f.Cause != paylink.CauseRateLimited || f.Scope != paylink.ScopeProvider { // a greylisted mailbox is nobody else's matter
		return
	}
	d := max(f.RetryAfter, time.Second)
	if err := w.Limiter.Pause(ctx, p, d); err != nil {
		w.Log.Warn("could not slow everybody down", "provider", p, "error", err)
	}
}

// settle ends a session whose fate must be known before the debt's next one: a lost create, a ghost that may yet land,
// or a session that was canceled, replaced or renewed.
func (w *Worker) settle(ctx context.Context, wake paylink.Wake) error {
	if err := w.admit(ctx, wake, ProviderCheckout); err != nil {
		return err
	}
	return w.settleNow(ctx, wake)
}

// settleNow settles without waiting for anything.
func (w *Worker) settleNow(ctx context.Context, wake paylink.Wake) error {
	c, err := w.Ledger.ClaimSettle(ctx, paylink.SessionID(wake.ID), wake.Epoch,
		paylink.ClaimOptions{Worker: w.Name, Lease: w.CheckoutTimeout + leaseMargin})
	if err != nil {
		return stale(err)
	}
	var did settling
	absent := false
	callCtx, cancel := context.WithTimeout(ctx, w.CheckoutTimeout)
	defer cancel()
	switch c.Mode {
	case paylink.SettleEnding:
		did, err = w.end(callCtx, c)
		absent = errors.Is(err, paylink.ErrNotFound)
	case paylink.SettleAmend:
		did, err = w.amend(callCtx, c)
		absent = errors.Is(err, paylink.ErrNotFound)
	default:
		err = w.Checkout.ExpireOrder(callCtx, c.Session.OrderNo)
		did.ended = err == nil
		absent = err != nil && paylink.AsFailure(err).Kind == paylink.Permanent
	}
	f := &paylink.Failure{RetryAfter: did.wait}
	switch {
	case err == nil || absent:
		w.gates.ok(ctx, ProviderCheckout)
	case isFailure(err): // else it is the ledger's
		f = paylink.AsFailure(err)
		w.gates.failed(ctx, ProviderCheckout, f)
		w.slowDown(ctx, ProviderCheckout, f)
	}
	at := w.Ledger.Now().Add(w.backoff(c.Checks, f))
	if did.wait > 0 { // at that very time: whoever was busy then is busy no longer
		at = w.Ledger.Now().Add(did.wait)
	}
	return w.settled(ctx, c, did, absent, at)
}

// settled records how settling went, and goes on with what waited for it.
func (w *Worker) settled(ctx context.Context, c paylink.SettleClaim, did settling, absent bool, at time.Time) error {
	var wakes []paylink.Wake
	err := w.record(ctx, "record settled session", func(ctx context.Context) (err error) {
		if did.changed {
			wakes, err = w.Ledger.Amended(ctx, c)
		} else {
			wakes, err = w.Ledger.Settled(ctx, c, did.ended, absent, at, w.SessionLife)
		}
		return err
	})
	w.wakeUp(ctx, wakes...)
	return stale(err)
}

// inThreeDSecure is how long a payer may be busy with the bank: a session that was pending or attempted so lately is not
// torn away.
const inThreeDSecure = 15 * time.Minute

// end ends a live session at the provider. A session that is neither ended nor failed to is looked at again after wait.
func (w *Worker) end(ctx context.Context, c paylink.SettleClaim) (did settling, err error) {
	did.ended, did.refused, err = w.endAtProvider(ctx, c, func(paylink.SessionState) bool { return c.Ending != "canceled" && c.Checks == 0 })
	if !did.ended && !did.refused && err == nil {
		did.wait = inThreeDSecure
	}
	return did, err
}

// endAtProvider looks first: what is paid or authorized is not ended, nor what somebody is being busy with, if wait says
// so. refused says that the provider would not end it and that it lives on.
func (w *Worker) endAtProvider(ctx context.Context, c paylink.SettleClaim, wait func(paylink.SessionState) bool) (ended, refused bool, err error) {
	seen, err := w.look(ctx, c)
	switch {
	case err != nil:
		return false, false, err
	case !seen.State.Live(): // paid or authorized, which nothing ends, or dead
		return true, false, nil
	case seen.State != paylink.SessionOpen && wait(seen.State):
		return false, false, nil
	}
	err = w.Checkout.ExpireOrder(ctx, c.Session.OrderNo)
	if err == nil {
		return true, false, nil
	}
	if paylink.AsFailure(err).Kind != paylink.Permanent {
		return false, false, err
	}
	// Refused: it may be dead or paid by now. Only a look can tell.
	seen, err = w.look(ctx, c)
	return err == nil && !seen.State.Live(), err == nil && seen.State.Live(), err
}

// look asks the provider where a session stands and writes it down.
func (w *Worker) look(ctx context.Context, c paylink.SettleClaim) (paylink.CheckoutSession, error) {
	seen, err := w.Checkout.Retrieve(ctx, c.Session.ProviderID)
	if err != nil {
		return seen, err
	}
	return seen, w.Ledger.AdoptState(ctx, c.Session.ID, seen)
}
