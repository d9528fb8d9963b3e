package jobs

import (
	"context"
	"errors"
	"time"

	"dunlin/paylink"
)

// DeskLedger is what the desk needs of the record beside [Ledger].
type DeskLedger interface {
	Payer(ctx context.Context, id paylink.RequestID) (paylink.PayerView, error)
	ClaimClick(ctx context.Context, id paylink.RequestID, opt paylink.ClaimOptions) (paylink.SessionClaim, error)
	RecordClick(ctx context.Context, c paylink.SessionClaim, s paylink.CheckoutSession) ([]paylink.Wake, error)
	FailClick(ctx context.Context, c paylink.SessionClaim, f *paylink.Failure) error
	ClaimReplace(ctx context.Context, id paylink.SessionID, opt paylink.ClaimOptions) (paylink.SettleClaim, error)
	RevealSession(ctx context.Context, id paylink.SessionID) (url string, err error)
	ClaimCheck(ctx context.Context, id paylink.SessionID, gap time.Duration) error
	NotEnded(ctx context.Context, s paylink.Session) error
}

// Desk serves payers: it sees to it that a debt has one live session when its payer wants to pay, and asks the provider
// when the payer wants to know. Its methods are safe for concurrent use, by several processes too.
type Desk struct {
	worker *Worker
	ledger DeskLedger
	clicks Limiter
	amends Limiter
}

// NewDesk makes a desk. It uses the worker's provider, breakers and settings; clicks and amends are limits of their
// classes, nil = none.
func NewDesk(w *Worker, l DeskLedger, clicks, amends Limiter) *Desk {
	if clicks == nil {
		clicks = noLimit{}
	}
	if amends == nil {
		amends = noLimit{}
	}
	return &Desk{w, l, clicks, amends}
}

// Answer is what came of a payer's wish.
type Answer string

// The answers.
const (
	AnswerGo         Answer = "go"         // the payer may pay: send them to the address
	AnswerStored     Answer = "stored"     // nothing to pay; the record says why
	AnswerProcessing Answer = "processing" // a payment may be under way, which must not be torn away
	AnswerBusy       Answer = "busy"       // too many at once; in a moment again
	AnswerDown       Answer = "down"       // the provider does not answer, or does not do what it must first
	AnswerRefused    Answer = "refused"    // the provider refuses a session for this debt; an operator was told
)

const (
	// clickWait is how long a payer waits for the rate limit, makingWait for a session that another click is making.
	clickWait, makingWait = 3 * time.Second, 5 * time.Second
	makingPoll            = 100 * time.Millisecond
	// othersPause is how long a click waits before it looks again at a session that somebody else is changing or ending.
	othersPause = 500 * time.Millisecond
	// nearDeath is what a session must have left to be given to a payer: gateways need up to 11 minutes.
	nearDeath = 10 * time.Minute
	// clickTime bounds one click as a whole, clickCall one call for it.
	clickTime, clickCall = 40 * time.Second, 15 * time.Second
	// checkGap is how often the provider is asked about one session for a payer at most.
	checkGap = 10 * time.Second
	// clickTries bounds how often a click looks anew at what others changed meanwhile.
	clickTries = 8
)

// Pay ensures one live session and returns where the payer pays by it. A session with life in it is used again; one that
// is at its end is ended at the provider first, and only if it was not paid and nobody may be paying by it.
// One that may show saved cards is not for whoever has the link: it is replaced, too.
func (d *Desk) Pay(ctx context.Context, id paylink.RequestID) (Answer, string, error) {
	return d.ensure(ctx, id, false)
}

// PayWithCards is Pay for a payer who has proven to be the customer: by a session that may show the saved cards, unless
// the payer is busy with another one.
func (d *Desk) PayWithCards(ctx context.Context, id paylink.RequestID) (Answer, string, error) {
	return d.ensure(ctx, id, true)
}

func (d *Desk) ensure(ctx context.Context, id paylink.RequestID, cards bool) (Answer, string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clickTime) // an impatient browser must not cut a create in two
	defer cancel()
	var waited time.Duration
	lost := false
	for range clickTries {
		v, err := d.ledger.Payer(ctx, id)
		if err != nil {
			return "", "", err
		}
		if !v.Request.Payment.Owes() {
			return AnswerStored, "", nil
		}
		s, answer := v.Live, Answer("")
		switch {
		case s == nil:
			answer, err = d.create(ctx, id, cards, &lost)
		case s.State == paylink.SessionIntent && (s.Lost || lost):
			answer = AnswerDown // its order number must be dead before there can be another
		case s.State == paylink.SessionIntent:
			for waited < makingWait && v.Live != nil && v.Live.ID == s.ID && v.Live.State == paylink.SessionIntent && err == nil {
				if err = sleep(ctx, makingPoll); err == nil {
					v, err = d.ledger.Payer(ctx, id)
				}
				if waited += makingPoll; waited >= makingWait {
					answer = AnswerBusy
				}
			}
		case s.Ending != "" || dying(s.Session, d.worker.Ledger.Now()) || d.unfit(v, cards):
			answer, err = d.replace(ctx, v)
		default:
			url, err := d.ledger.RevealSession(ctx, s.ID)
			if err == nil {
				return AnswerGo, url, nil
			}
			if stale(err) != nil {
				return "", "", err
			}
		}
		if answer != "" || err != nil {
			return answer, "", err
		}
	}
	return AnswerBusy, "", nil
}

func dying(s paylink.Session, now time.Time) bool {
	return !s.ExpiresAt.IsZero() && s.ExpiresAt.Before(now.Add(nearDeath))
}

// unfit reports whether the live session was made for another kind of reader.
func (d *Desk) unfit(v paylink.PayerView, cards bool) bool {
	if cards {
		return !v.Live.Cards && d.worker.Ledger.Now().Sub(v.EngagedAt) >= inThreeDSecure
	}
	return v.Live.Cards
}

// admit waits for the breaker and the limit. The answer is empty if the provider may be called.
func (d *Desk) admit(ctx context.Context, l Limiter, wake paylink.Wake) Answer {
	if _, ok := d.worker.gates.allow(ctx, ProviderCheckout, wake); !ok {
		return AnswerDown
	}
	later, err := l.Wait(ctx, ProviderCheckout, clickWait)
	if err != nil { // a payer's few calls are worth more than an exact count while Redis is away
		d.worker.Log.Warn("rate limit not asked; the payer goes first", "error", err)
	}
	if later > 0 {
		return AnswerBusy
	}
	return ""
}

// clickWake names a click to the breakers; it never reaches a queue.
func clickWake(id int64) paylink.Wake { return paylink.Wake{Task: "click", ID: id} }

func (d *Desk) options() paylink.ClaimOptions {
	return paylink.ClaimOptions{Worker: d.worker.Name, Lease: clickCall + leaseMargin}
}

func (d *Desk) create(ctx context.Context, id paylink.RequestID, cards bool, lost *bool) (Answer, error) {
	w, wake := d.worker, clickWake(int64(id))
	defer w.gates.giveBack(ctx, ProviderCheckout, wake)
	if a := d.admit(ctx, d.clicks, wake); a != "" {
		return a, nil
	}
	opt := d.options()
	opt.Cards = cards
	c, err := d.ledger.ClaimClick(ctx, id, opt)
	if err != nil {
		return "", stale(err)
	}
	c.Park = w.full.channels()
	callCtx, cancel := context.WithTimeout(ctx, clickCall)
	defer cancel()
	s, err := w.Checkout.Create(callCtx, w.order(c))
	if err != nil {
		return d.createFailed(ctx, c, paylink.AsFailure(err), lost)
	}
	w.gates.ok(ctx, ProviderCheckout)
	var wakes []paylink.Wake
	err = w.record(ctx, "record a payer's session", func(ctx context.Context) (err error) {
		wakes, err = d.ledger.RecordClick(ctx, c, s)
		return err
	})
	w.wakeUp(ctx, wakes...)
	return "", stale(err)
}

func (d *Desk) createFailed(ctx context.Context, c paylink.SessionClaim, f *paylink.Failure, lost *bool) (Answer, error) {
	w := d.worker
	w.Log.Warn("session for a payer not made", "request", c.Request.ID.String(), "kind", f.Kind, "scope", f.Scope, "cause", f.Cause, "code", f.Code)
	w.gates.failed(ctx, ProviderCheckout, f)
	w.slowDown(ctx, ProviderCheckout, f)
	if f.Kind == paylink.Unknown {
		*lost = true
		var wake paylink.Wake
		if err := w.record(ctx, "record lost session", func(ctx context.Context) (err error) {
			wake, err = w.Ledger.LoseSession(ctx, c)
			return err
		}); err != nil {
			return "", stale(err)
		}
		return "", w.settleNow(ctx, wake) // then once more, if its order number is dead
	}
	if err := w.record(ctx, "record failed session", func(ctx context.Context) error { return d.ledger.FailClick(ctx, c, f) }); err != nil {
		return "", stale(err)
	}
	switch {
	case f.Kind == paylink.Permanent && f.Scope != paylink.ScopeAccount:
		w.alertOnce(ctx, "checkout refused "+f.Code, "a payer pressed pay and the payment provider refused to make a session: "+f.Error()+"; request "+c.Request.ID.String())
		return AnswerRefused, nil
	case f.Cause == paylink.CauseRateLimited:
		return AnswerBusy, nil
	}
	return AnswerDown, nil
}

// replace ends the live session so that another can take its place, or brings it to what its request has become.
func (d *Desk) replace(ctx context.Context, v paylink.PayerView) (Answer, error) {
	w, s := d.worker, v.Live
	wake := clickWake(int64(v.Request.ID))
	defer w.gates.giveBack(ctx, ProviderCheckout, wake)
	if a := d.admit(ctx, d.clicks, wake); a != "" {
		return a, nil
	}
	var c paylink.SettleClaim
	var err error
	if s.Ending == "" {
		c, err = d.ledger.ClaimReplace(ctx, s.ID, d.options())
	} else {
		c, err = w.Ledger.ClaimSettle(ctx, s.ID, s.Check, d.options())
	}
	if errors.Is(err, paylink.ErrConflict) { // another is at it
		return "", sleep(ctx, othersPause)
	}
	if err != nil {
		return "", stale(err)
	}
	callCtx, cancel := context.WithTimeout(ctx, 2*clickCall)
	defer cancel()
	now := w.Ledger.Now()
	var did settling
	if c.Mode == paylink.SettleAmend {
		did, err = w.amend(callCtx, c)
	} else {
		busy := now.Sub(v.EngagedAt) < inThreeDSecure
		did.ended, did.refused, err = w.endAtProvider(callCtx, c, func(paylink.SessionState) bool { return busy })
		did.wait = inThreeDSecure
	}
	answer, again := AnswerDown, now.Add(w.backoff(c.Checks, &paylink.Failure{}))
	switch {
	case did.ended, did.changed:
		answer = ""
	case err == nil && !did.refused:
		answer, again = AnswerProcessing, now.Add(did.wait)
	case did.refused:
		if err := d.ledger.NotEnded(ctx, s.Session); err != nil {
			return "", err
		}
	}
	if err == nil {
		w.gates.ok(ctx, ProviderCheckout)
	} else if isFailure(err) {
		f := paylink.AsFailure(err)
		w.gates.failed(ctx, ProviderCheckout, f)
		w.slowDown(ctx, ProviderCheckout, f)
	} else {
		return "", err
	}
	return answer, w.settled(ctx, c, did, false, again)
}

// Check asks the provider how the debt's session stands, unless it was asked a moment ago, and writes it down.
func (d *Desk) Check(ctx context.Context, id paylink.RequestID) error {
	v, err := d.ledger.Payer(ctx, id)
	if err != nil {
		return err
	}
	if v.Last == nil || v.Last.State.Settled() || !v.Request.Payment.Owes() {
		return nil
	}
	w, wake := d.worker, clickWake(int64(id))
	defer w.gates.giveBack(ctx, ProviderCheckout, wake)
	if a := d.admit(ctx, d.clicks, wake); a != "" {
		return nil
	}
	if err := d.ledger.ClaimCheck(ctx, v.Last.ID, checkGap); err != nil {
		return stale(err)
	}
	ctx, cancel := context.WithTimeout(ctx, clickCall)
	defer cancel()
	seen, err := w.Checkout.Retrieve(ctx, v.Last.ProviderID)
	if err != nil {
		w.gates.failed(ctx, ProviderCheckout, paylink.AsFailure(err))
		w.Log.Info("provider not asked for a payer", "request", id.String(), "error", err)
		return nil // the page shows what is stored
	}
	w.gates.ok(ctx, ProviderCheckout)
	return w.Ledger.AdoptState(ctx, v.Last.ID, seen)
}

// Ask looks at a session of the provider's that no attempt is known to have.
func (d *Desk) Ask(ctx context.Context, providerID string) (paylink.CheckoutSession, error) {
	wake := clickWake(-1)
	defer d.worker.gates.giveBack(ctx, ProviderCheckout, wake)
	if a := d.admit(ctx, d.amends, wake); a != "" {
		return paylink.CheckoutSession{}, errors.New("the provider cannot be asked now: " + string(a))
	}
	ctx, cancel := context.WithTimeout(ctx, clickCall)
	defer cancel()
	seen, err := d.worker.Checkout.Retrieve(ctx, providerID)
	if err != nil && !errors.Is(err, paylink.ErrNotFound) {
		d.worker.gates.failed(ctx, ProviderCheckout, paylink.AsFailure(err))
	} else {
		d.worker.gates.ok(ctx, ProviderCheckout)
	}
	return seen, err
}
