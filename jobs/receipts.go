package jobs

import (
	"context"
	"errors"
	"time"

	"dunlin/notify"
	"dunlin/paylink"
)

// ReceiptLedger is what asking for receipts needs of the record.
type ReceiptLedger interface {
	ReceiptsDue(ctx context.Context, ch paylink.Channel) (int, error)
	ClaimReceipt(ctx context.Context, ch paylink.Channel) (paylink.Message, error)
	ApplyReceipt(ctx context.Context, id paylink.EventID, r paylink.MessageReceipt) (paylink.EventOutcome, []paylink.Wake, error)
}

// Fetcher asks a provider what became of a message that it took. The failure is why it gave it up, nil while it has not.
// The error holds [paylink.ErrNotFound] for a message that it does not know, else a [*paylink.Failure].
type Fetcher interface {
	Fetch(ctx context.Context, ref string) (notify.Receipt, *paylink.Failure, error)
}

const (
	// askEvery is how often receipts that never came are looked for, and asksAtOnce how many one look asks about a channel.
	askEvery   = time.Minute
	asksAtOnce = 200
	// askWait is how long one question waits for its turn among the messages to be sent; it takes one slot at a time.
	askWait = time.Second
	// receiptLease is the name of the lease under which one process at a time asks, for receiptTTL.
	receiptLease = "receipts"
	receiptTTL   = 5 * time.Minute
)

// AskReceipts asks, until ctx ends, about messages whose final word is overdue. Every worker runs it; the lease lets one at
// a time ask, and nothing breaks if two do.
func (w *Worker) AskReceipts(ctx context.Context) {
	defer func() {
		dropCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = w.Ledger.DropLease(dropCtx, receiptLease, w.Name)
	}()
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		mine, err := w.Ledger.TakeLease(ctx, receiptLease, w.Name, receiptTTL)
		if err == nil && mine {
			var round ReceiptRound
			if round, err = w.AskRound(ctx); round.Left > 0 {
				w.Log.Info("receipts that could not be asked for yet", "asked", round.Asked, "left", round.Left)
			}
		}
		if err != nil && ctx.Err() == nil {
			w.Log.Warn("receipts not asked for", "error", err)
		}
	}
}

// ReceiptRound is what one round of asking came to.
type ReceiptRound struct {
	// Asked is how many messages their provider was asked about, News how many of them moved.
	Asked, News int
	// Left is how many are due all the same: their channel's budget, breaker or the round's own bound stopped the asking.
	Left int
}

// AskRound asks once about what is due, within the limits of each channel.
func (w *Worker) AskRound(ctx context.Context) (round ReceiptRound, err error) {
	var errs []error
	for _, ch := range paylink.Channels {
		fetcher := w.Fetchers[ch]
		if fetcher == nil {
			continue
		}
		left, err := w.Ledger.ReceiptsDue(ctx, ch)
		for tries := 0; err == nil && left > 0 && tries < asksAtOnce && ctx.Err() == nil; tries++ {
			var asked, news bool
			if asked, news, err = w.askOne(ctx, ch, fetcher); !asked {
				break
			}
			left--
			round.Asked++
			if news {
				round.News++
			}
		}
		round.Left += left
		errs = append(errs, err)
	}
	return round, errors.Join(errs...)
}

// askOne asks about one message. asked is false when the channel may not be called, or does not answer.
func (w *Worker) askOne(ctx context.Context, ch paylink.Channel, fetcher Fetcher) (asked, news bool, err error) {
	p, wake := Provider(ch), paylink.Wake{Task: "receipt", ID: 1, Channel: ch}
	defer w.gates.giveBack(ctx, p, wake)
	if _, ok := w.gates.allow(ctx, p, wake); !ok {
		return false, false, nil
	}
	if later, err := w.Limiter.Wait(ctx, p, askWait); err != nil || later > 0 {
		return false, false, err
	}
	m, err := w.Ledger.ClaimReceipt(ctx, ch)
	if err != nil {
		return false, false, stale(err)
	}
	callCtx, cancel := context.WithTimeout(ctx, w.sendTimeout(ch))
	defer cancel()
	got, failure, err := fetcher.Fetch(callCtx, m.ProviderRef)
	switch {
	case errors.Is(err, paylink.ErrNotFound), errors.Is(err, paylink.ErrInvalid): // deleted there, or never named; it is asked for no more than a day
		w.gates.ok(ctx, p)
		w.Log.Info("the provider does not know a message that it took", "message", m.ID.String())
		return true, false, nil
	case err != nil:
		f := paylink.AsFailure(err)
		w.gates.failed(ctx, p, f)
		w.slowDown(ctx, p, f)
		return false, false, nil
	}
	w.gates.ok(ctx, p)
	var outcome paylink.EventOutcome
	var wakes []paylink.Wake
	err = w.record(ctx, "record a receipt", func(ctx context.Context) (err error) {
		outcome, wakes, err = w.Ledger.ApplyReceipt(ctx, 0, paylink.MessageReceipt{Message: m.ID, Ref: got.Ref, State: got.State,
			RawState: "asked: " + string(got.State), Failure: failure, Segments: got.Segments})
		return err
	})
	w.wakeUp(ctx, wakes...)
	return true, outcome == paylink.EventApplied, err
}
