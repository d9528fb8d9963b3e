package bounce

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"dunlin/paylink"
)

// Provider names bounces among the stored events.
const Provider = "bounce"

// Ledger is what the intake needs of the record.
type Ledger interface {
	StoreEvent(ctx context.Context, provider, key string, raw []byte) (e paylink.StoredEvent, fresh bool, err error)
	UnappliedEvents(ctx context.Context, provider string, after paylink.EventID, limit int) ([]paylink.StoredEvent, error)
	CloseEvent(ctx context.Context, id paylink.EventID, outcome paylink.EventOutcome) error
	ApplyReceipt(ctx context.Context, id paylink.EventID, r paylink.MessageReceipt) (outcome paylink.EventOutcome, wakes []paylink.Wake, err error)
}

// Intake stores what came back and applies it, once each. It is safe for concurrent use; several may run on one ledger.
type Intake struct {
	Ledger Ledger
	// Wake tells the queue of work that applying has made. The ledger owes it already.
	Wake func(ctx context.Context, wakes ...paylink.Wake) error
	// Alert tells operators that receivers refuse mail because of our account, sender or reputation; nil = nobody. It is
	// called for each such bounce and keeps itself from saying the same too often.
	Alert func(ctx context.Context, key, text string)
	Log   *slog.Logger

	bounced, ours, noBounce, unreadable, doubled atomic.Int64
}

// Stats counts what came in since the start, doubled reports once.
type Stats struct {
	Bounced    int64 // failed for certain
	Ours       int64 // of those, because our account, sender or reputation was refused
	NoBounce   int64 // delayed, delivered, automatic answers
	Unreadable int64
	Doubled    int64
}

// Stats counts what came in.
func (in *Intake) Stats() Stats {
	return Stats{in.bounced.Load(), in.ours.Load(), in.noBounce.Load(), in.unreadable.Load(), in.doubled.Load()}
}

// stored is an event's raw form. What it is made from holds the payer's address; this does not.
type stored struct {
	Token string `json:"token"`
	Report
}

// Take stores what was said of an attempt and applies it. fresh is false if it had been said before. An error means that
// nothing was kept and whoever brings the report should bring it again; if only applying fails, Sweep makes up for it.
func (in *Intake) Take(ctx context.Context, token string, report Report) (fresh bool, err error) {
	raw, err := json.Marshal(stored{token, report})
	if err != nil {
		return false, fmt.Errorf("write down a bounce: %w", err)
	}
	sum := sha256.Sum256(raw)
	e, fresh, err := in.Ledger.StoreEvent(ctx, Provider, hex.EncodeToString(sum[:16]), raw)
	if err != nil {
		return false, err
	}
	in.count(ctx, fresh, report)
	if e.Outcome != "" {
		return fresh, nil
	}
	if err := in.apply(ctx, e.ID, token, report); err != nil {
		in.log().Error("bounce not applied; it is tried again", "event", e.ID.String(), "error", err)
	}
	return fresh, nil
}

func (in *Intake) apply(ctx context.Context, id paylink.EventID, token string, report Report) error {
	r, bounced := report.Receipt(token)
	if !bounced {
		outcome := paylink.EventNothingNew
		if report.Action == Unreadable {
			outcome = paylink.EventUnreadable
		}
		return in.Ledger.CloseEvent(ctx, id, outcome)
	}
	outcome, wakes, err := in.Ledger.ApplyReceipt(ctx, id, r)
	if err != nil {
		return err
	}
	in.log().Info("bounce", "event", id.String(), "code", r.Failure.Code, "cause", r.Failure.Cause, "suppressed", r.Failure.Suppress, "outcome", outcome)
	if len(wakes) == 0 || in.Wake == nil {
		return nil
	}
	if err := in.Wake(ctx, wakes...); err != nil {
		in.log().Warn("the queue was not told of what a bounce made; the sweeper finds it", "error", err)
	}
	return nil
}

func (in *Intake) count(ctx context.Context, fresh bool, report Report) {
	_, bounced := report.Receipt("")
	switch {
	case !fresh:
		in.doubled.Add(1)
	case report.Action == Unreadable:
		in.unreadable.Add(1)
	case !bounced:
		in.noBounce.Add(1)
	case report.Ours():
		in.ours.Add(1)
		if in.Alert != nil {
			in.Alert(ctx, "bounces", "Receivers refuse our mail because of our account, sender or reputation ("+report.Status+
				"). No payer's address was blamed. See what they say at the mail relay, and pause the batches that go on sending.")
		}
		fallthrough
	default:
		in.bounced.Add(1)
	}
}

func (in *Intake) log() *slog.Logger {
	if in.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return in.Log
}

const (
	// sweepEvery is how often what stayed unapplied is looked for; sweepAfter leaves the fresh ones to those who brought them.
	sweepEvery, sweepAfter = 10 * time.Second, 30 * time.Second
	sweepPage              = 100
)

// Run applies what was stored and not applied, until ctx ends.
func (in *Intake) Run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := in.Sweep(ctx, sweepAfter); err != nil && ctx.Err() == nil {
			in.log().Warn("stored bounces not applied; they are tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Sweep applies, once each, the stored bounces that are older than age and have no outcome.
func (in *Intake) Sweep(ctx context.Context, age time.Duration) error {
	var failed []error
	for after := paylink.EventID(0); ; {
		page, err := in.Ledger.UnappliedEvents(ctx, Provider, after, sweepPage)
		if err != nil || len(page) == 0 {
			return errors.Join(append(failed, err)...)
		}
		for _, e := range page {
			if after = e.ID; time.Since(e.ReceivedAt) < age {
				continue
			}
			var s stored
			if err := json.Unmarshal(e.Raw, &s); err != nil {
				s.Report = Report{Action: Unreadable}
			}
			if err := in.apply(ctx, e.ID, s.Token, s.Report); err != nil {
				failed = append(failed, err)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
}
