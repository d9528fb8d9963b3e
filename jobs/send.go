package jobs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"dunlin/notify"
	"dunlin/paylink"
)

// send sends one message: claim, render, and at the point of no return one last look by the ledger.
func (w *Worker) send(ctx context.Context, wake paylink.Wake) error {
	p := Provider(wake.Channel)
	sender := w.Senders[wake.Channel]
	if sender == nil {
		w.gates.halt(ctx, p, fmt.Sprintf("channel %s is not configured on this worker", wake.Channel))
		return &Later{At: w.Ledger.Now().Add(time.Minute), Why: "channel is not configured"}
	}
	if err := w.admit(ctx, wake, p); err != nil {
		return err
	}
	timeout := w.sendTimeout(wake.Channel)
	c, wakes, err := w.Ledger.ClaimMessage(ctx, paylink.MessageID(wake.ID), wake.Epoch,
		paylink.ClaimOptions{Worker: w.Name, Lease: timeout + leaseMargin, NeedsLink: w.Builder.Reveals()})
	w.wakeUp(ctx, wakes...)
	if err != nil {
		return stale(err)
	}
	if err := w.attach(ctx, &c); err != nil {
		return w.unattached(ctx, c, err)
	}
	out, templateHash, err := w.Builder.Build(c)
	if err != nil {
		return w.broken(ctx, c, paylink.AsFailure(err))
	}
	// A worker that slept through its lease must not send, however the clock stands when it wakes.
	callCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	committed := false
	receipt, err := sender.Send(callCtx, out, func(ctx context.Context, hash [32]byte) error {
		err := w.Ledger.CommitMessage(ctx, c, paylink.CommitOptions{
			BytesHash: hex.EncodeToString(hash[:]), TemplateHash: templateHash,
			Timeout: remaining(callCtx, timeout), Reveals: w.Builder.Reveals(),
		})
		if err == nil && callCtx.Err() != nil {
			err = callCtx.Err()
		}
		committed = err == nil
		return err
	})
	if err == nil {
		w.gates.ok(ctx, p)
		return w.accepted(ctx, c, receipt)
	}
	return w.sendFailed(ctx, c, err, committed)
}

// remaining is how much of the call's time is left: what the lease must outlast.
func remaining(ctx context.Context, whole time.Duration) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return whole
	}
	return max(0, min(whole, time.Until(deadline)))
}

func (w *Worker) accepted(ctx context.Context, c paylink.MessageClaim, r notify.Receipt) error {
	w.Log.Debug("message accepted", "request", c.Request.ID.String(), "message", c.Message.ID.String(), "channel", c.Message.Channel)
	return stale(w.record(ctx, "record accepted message", func(ctx context.Context) error {
		return w.Ledger.AcceptMessage(ctx, c, r.Ref, r.Segments)
	}))
}

func (w *Worker) sendFailed(ctx context.Context, c paylink.MessageClaim, err error, committed bool) error {
	p := Provider(c.Message.Channel)
	switch {
	case errors.Is(err, paylink.ErrFrozen):
		return stale(w.record(ctx, "hold message", func(ctx context.Context) error {
			return w.Ledger.HoldMessage(ctx, c, "sending it again would not send the same bytes")
		}))
	case !committed && !isFailure(err):
		// The ledger refused the commit, or could not be asked: surely not sent. Whatever changed shows at the next claim.
		return w.unsent(ctx, c, &paylink.Failure{Scope: paylink.ScopeProvider, Cause: paylink.CauseUnavailable}, w.Ledger.Now())
	}
	f := paylink.AsFailure(err)
	w.Log.Info("message not accepted", "request", c.Request.ID.String(), "message", c.Message.ID.String(),
		"channel", c.Message.Channel, "kind", f.Kind, "scope", f.Scope, "cause", f.Cause, "code", f.Code)
	w.gates.failed(ctx, p, f)
	w.slowDown(ctx, p, f)
	if f.Scope == paylink.ScopeTemplate {
		return w.broken(ctx, c, f)
	}
	if f.Kind == paylink.Unknown {
		return stale(w.record(ctx, "record lost message", func(ctx context.Context) error {
			return w.Ledger.LoseMessage(ctx, c, f, FirstCheck(c.Message.Channel))
		}))
	}
	at, count, exhausted := time.Time{}, false, false
	if f.Kind == paylink.Temporary {
		if at, count, exhausted = w.retryPlan(c.Message.Attempts, f); exhausted {
			f = &paylink.Failure{Kind: paylink.Permanent, Scope: f.Scope, Cause: paylink.CauseExhausted, Code: f.Code}
		}
	}
	if err := w.refused(ctx, c, f, at, count); err != nil || f.Kind == paylink.Permanent {
		return stale(err)
	}
	return &Later{At: at, Failed: true, Why: f.Error()}
}

// refused records a certain failure, and wakes what follows from it.
func (w *Worker) refused(ctx context.Context, c paylink.MessageClaim, f *paylink.Failure, at time.Time, count bool) error {
	var wakes []paylink.Wake
	err := w.record(ctx, "record failed message", func(ctx context.Context) (err error) {
		wakes, err = w.Ledger.FailMessage(ctx, c, f, at, count)
		return err
	})
	w.wakeUp(ctx, wakes...)
	return err
}

func isFailure(err error) bool {
	_, ok := errors.AsType[*paylink.Failure](err)
	return ok
}

// broken handles a fault of our own text: every row would fail alike, so the batch halts, and no payer is marked failed.
func (w *Worker) broken(ctx context.Context, c paylink.MessageClaim, f *paylink.Failure) error {
	batch := c.Request.ID.Batch()
	if c.Paid != nil { // nobody who is still to be asked waits for a receipt's text
		w.alertOnce(ctx, "receipt template "+batch.String(), "no receipt can be sent: "+f.Error()+"; they are tried again each hour")
		return w.unsent(ctx, c, f, w.Ledger.Now().Add(time.Hour))
	}
	why := fmt.Sprintf("a template is broken: %s; mend it, then resume", f.Error())
	if err := w.record(ctx, "halt batch", func(ctx context.Context) error { return w.Ledger.Halt(ctx, batch, why) }); err != nil {
		return err
	}
	w.alertOnce(ctx, "template "+batch.String(), why)
	// Not at once: a batch that was done before does not halt, and would be refused for ever.
	return w.unsent(ctx, c, f, w.Ledger.Now().Add(w.backoff(0, f)))
}

// unsent gives back what was certainly not sent, and costs no try. Before the commit the claim is released. After it the
// message has failed for now; that the commit was not heard of does not mean that it was not done.
func (w *Worker) unsent(ctx context.Context, c paylink.MessageClaim, f *paylink.Failure, at time.Time) error {
	return stale(w.record(ctx, "release message", func(ctx context.Context) error {
		if err := w.Ledger.ReleaseMessage(ctx, c, at); !errors.Is(err, paylink.ErrConflict) {
			return err
		}
		again := &paylink.Failure{Kind: paylink.Temporary, Scope: f.Scope, Cause: f.Cause, Code: f.Code}
		_, err := w.Ledger.FailMessage(ctx, c, again, at, false)
		return err
	}))
}

// Look-ups of a lost message: a Twilio message is looked for after each of these; an email, which nobody can look up,
// meets the policy after emailPause.
var lookups = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute}

const emailPause = 5 * time.Minute

// FirstCheck is how long after its loss a message is first looked for.
func FirstCheck(ch paylink.Channel) time.Duration {
	if ch == paylink.Email {
		return emailPause
	}
	return lookups[0]
}

// inquire looks for a message whose answer was lost; when look-ups are used up, the policy decides, once.
func (w *Worker) inquire(ctx context.Context, wake paylink.Wake) error {
	p := Provider(wake.Channel)
	if err := w.admit(ctx, wake, p); err != nil {
		return err
	}
	timeout := w.sendTimeout(wake.Channel)
	c, err := w.Ledger.ClaimInquiry(ctx, paylink.MessageID(wake.ID), wake.Epoch, paylink.ClaimOptions{Worker: w.Name, Lease: timeout + leaseMargin})
	if err != nil {
		return stale(err)
	}
	finder := w.Finders[wake.Channel]
	if finder == nil || c.Checks >= len(lookups) {
		return w.applyPolicy(ctx, c)
	}
	callCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, found, err := finder.Find(callCtx, notify.Lookup{Channel: c.Message.Channel, To: c.To, After: c.Began, Mark: w.Builder.Mark(c)})
	if err == nil {
		w.gates.ok(ctx, p)
	}
	switch {
	case err != nil:
		f := paylink.AsFailure(err)
		w.gates.failed(ctx, p, f)
		w.slowDown(ctx, p, f)
		return stale(w.record(ctx, "put off look-up", func(ctx context.Context) error {
			return w.Ledger.InquiryOpen(ctx, c, w.backoff(c.Checks, f), false)
		}))
	case found:
		return stale(w.record(ctx, "record found message", func(ctx context.Context) error { return w.Ledger.InquiryFound(ctx, c, r.Ref) }))
	case c.Checks+1 < len(lookups):
		return stale(w.record(ctx, "plan next look-up", func(ctx context.Context) error {
			return w.Ledger.InquiryOpen(ctx, c, lookups[c.Checks+1], true)
		}))
	}
	return w.applyPolicy(ctx, c)
}

func (w *Worker) applyPolicy(ctx context.Context, c paylink.InquiryClaim) error {
	if w.OnUnknown[c.Message.Channel] == ResendOnce {
		var wake paylink.Wake
		err := w.record(ctx, "resend by policy", func(ctx context.Context) (err error) {
			wake, err = w.Ledger.InquiryResend(ctx, c)
			return err
		})
		if err == nil {
			w.wakeUp(ctx, wake)
			return nil
		}
		if !errors.Is(err, paylink.ErrConflict) {
			return err
		}
	}
	return stale(w.record(ctx, "hold for a person", func(ctx context.Context) error { return w.Ledger.InquiryHold(ctx, c) }))
}
