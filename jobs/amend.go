package jobs

import (
	"context"
	"errors"
	"time"

	"dunlin/paylink"
)

// settling is what came of one try at settling a session. None of the three and no error: it is asked about again after
// wait.
type settling struct {
	changed bool // it is now what the request says
	ended   bool // it is dead at the provider, or takes no more money
	refused bool // the provider neither changes nor ends it, and it lives on
	wait    time.Duration
}

// amend brings a live session to what its request has become. The provider is looked at first: nothing is torn away from
// a payer who may be at the bank, and a change whose answer was lost before may have been made. Only a refusal of the
// change ends the session; whatever is not certain is asked again.
func (w *Worker) amend(ctx context.Context, c paylink.SettleClaim) (settling, error) {
	seen, err := w.look(ctx, c)
	switch {
	case err != nil:
		return settling{}, err
	case !seen.State.Live(): // paid or authorized, which nothing changes, or dead
		return settling{ended: true}, nil
	}
	if wait := w.atTheBank(c, seen.State); wait > 0 {
		return settling{wait: wait}, nil
	}
	if seen.Amount == *c.Change.Amount && c.Change.OnlyAmount() && !c.Replace {
		return settling{changed: true}, nil
	}
	if !c.Replace {
		_, err = w.Checkout.Update(ctx, c.Session.ProviderID, c.Change)
		switch {
		case err == nil:
			return settling{changed: true}, nil
		case paylink.AsFailure(err).Kind == paylink.Unknown:
			return w.compare(ctx, c, err)
		case paylink.AsFailure(err).Kind != paylink.Permanent:
			return settling{}, err
		}
		w.Log.Info("change refused; the session is replaced", "session", c.Session.ID.String(), "code", paylink.AsFailure(err).Code)
	}
	ended, refused, err := w.endAtProvider(ctx, c, func(paylink.SessionState) bool { return false })
	return settling{ended: ended, refused: refused}, err
}

// compare settles a change whose answer was lost. What a look cannot tell is changed once more: twice the same is once.
func (w *Worker) compare(ctx context.Context, c paylink.SettleClaim, lost error) (settling, error) {
	seen, err := w.look(ctx, c)
	switch {
	case err != nil:
		return settling{}, errors.Join(lost, err)
	case !seen.State.Live():
		return settling{ended: true}, nil
	case seen.Amount == *c.Change.Amount && c.Session.Amount != seen.Amount:
		return settling{changed: true}, nil
	}
	return settling{}, lost
}

// atTheBank is how long a payer who may be in the middle of paying is left alone yet. Who was not sent on by us may have
// opened the provider's link at any time: that is respected once.
func (w *Worker) atTheBank(c paylink.SettleClaim, s paylink.SessionState) time.Duration {
	switch {
	case s != paylink.SessionPending && s != paylink.SessionAttempted:
		return 0
	case !c.EngagedAt.IsZero():
		return inThreeDSecure - w.Ledger.Now().Sub(c.EngagedAt)
	case c.Checks == 0:
		return inThreeDSecure
	}
	return 0
}
