package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"dunlin/paylink"
)

// ReleaseMessage gives a claim back without having sent anything: the message is owed again from nextAt.
func (db *DB) ReleaseMessage(ctx context.Context, c paylink.MessageClaim, nextAt time.Time) error {
	return db.changeRequest(ctx, c.Request.ID, func(t *tx) error {
		if err := t.closeAttempt(c.Attempt, "released", "", nil); err != nil {
			return err
		}
		at := nextAt.UnixMilli()
		return t.giveBack(c.Message, paylink.MessageClaimed, "released", `next_at = $5, wake_at = $6, epoch = epoch + 1`, at, at)
	})
}

// HoldMessage parks a claimed message for a person: sending it would not be the same message again.
func (db *DB) HoldMessage(ctx context.Context, c paylink.MessageClaim, why string) error {
	return db.changeRequest(ctx, c.Request.ID, func(t *tx) error {
		if err := t.closeAttempt(c.Attempt, "released", "", nil); err != nil {
			return err
		}
		if err := t.moveMessage(c.Message.ID, c.Request.ID, paylink.MessageClaimed, paylink.MessageHeld, why, `wake_at = NULL, cause = $5`,
			string(paylink.CauseLostAnswer)); err != nil {
			return err
		}
		if err := t.flag(c.Request.ID, "message_held", why); err != nil {
			return err
		}
		return t.settle(c.Request.ID, "", why, false)
	})
}

func (t *tx) closeAttempt(id paylink.AttemptID, state, ref string, f *paylink.Failure) error {
	var kind, cause, code string
	if f != nil {
		kind, cause, code = string(f.Kind), string(f.Cause), f.Code
	}
	if err := t.one(`UPDATE attempts SET state = $2, ended_at = $3, provider_ref = $4, kind = $5, cause = $6, code = $7 WHERE id = $1 AND state IN ('open', 'unknown')`,
		int64(id), state, t.now, ref, kind, cause, code); err != nil {
		if errors.Is(err, paylink.ErrConflict) {
			err = errEnded
		}
		return fmt.Errorf("attempt %s: %w", id, err)
	}
	return nil
}

// errEnded is the ErrConflict of an attempt of which the end is known already.
var errEnded = fmt.Errorf("closed already: %w", paylink.ErrConflict)

// AcceptMessage records that the provider took the message.
func (db *DB) AcceptMessage(ctx context.Context, c paylink.MessageClaim, ref string, segments int) error {
	return db.changeRequest(ctx, c.Request.ID, func(t *tx) error {
		err := t.accept(c.Message, c.Attempt, ref, segments, "")
		if errors.Is(err, errEnded) { // a receipt was faster than the answer, which adds the segments only
			n, e := t.exec(`UPDATE messages SET segments = $3 WHERE id = $1 AND segments = 0 AND EXISTS (
				SELECT 1 FROM attempts WHERE id = $2 AND state = 'accepted' AND provider_ref = $4)`, int64(c.Message.ID), int64(c.Attempt), segments, ref)
			if e != nil || n == 1 {
				return e
			}
		}
		return err
	})
}

// accept is also how late truth about an unknown message is recorded.
func (t *tx) accept(m paylink.Message, attempt paylink.AttemptID, ref string, segments int, why string) error {
	if ref == "" {
		ref = "accepted"
	}
	if err := t.closeAttempt(attempt, "accepted", ref, nil); err != nil {
		return err
	}
	const set = `wake_at = NULL, provider_ref = $5, segments = $6, receipt_at = $7, cause = '', code = ''`
	receipt := t.firstAsk(m.Channel)
	err := t.moveMessage(m.ID, m.RequestID, paylink.MessageCommitting, paylink.MessageAccepted, why, set, ref, segments, receipt)
	if errors.Is(err, paylink.ErrConflict) { // unknown by now, or a receipt was faster than the answer
		var from paylink.MessageState
		if err := t.row(`SELECT state FROM messages WHERE id = $1`, int64(m.ID)).Scan(&from); err != nil {
			return err
		}
		if from == paylink.MessageOwed || from == paylink.MessageClaimed {
			return fmt.Errorf("message %s is %s and cannot have been sent: %w", m.ID, from, paylink.ErrConflict)
		}
		if err = nil; from.Rank() < paylink.MessageAccepted.Rank() {
			err = t.moveMessage(m.ID, m.RequestID, from, paylink.MessageAccepted, why, set, ref, segments, receipt)
		}
	}
	if err != nil {
		return err
	}
	if err := t.flagTwice(m); err != nil {
		return err
	}
	return t.settle(m.RequestID, "", why, false)
}

// FailMessage records a certain refusal. Temporary: owed again at retryAt. Permanent: the message fails and the route's
// next channel, if any, is in the returned wakes. countTry spends one of the row's retries.
func (db *DB) FailMessage(ctx context.Context, c paylink.MessageClaim, f *paylink.Failure, retryAt time.Time, countTry bool) (wakes []paylink.Wake, err error) {
	err = db.changeRequest(ctx, c.Request.ID, func(t *tx) error {
		wakes = nil
		if err := t.closeAttempt(c.Attempt, "refused", "", f); err != nil {
			return err
		}
		var from paylink.MessageState
		if err := t.row(`SELECT state FROM messages WHERE id = $1`, int64(c.Message.ID)).Scan(&from); err != nil {
			return err
		}
		if from.Rank() > 0 { // a receipt has told of the attempt before
			return nil
		}
		why := strings.TrimSpace(string(f.Cause) + " " + f.Code)
		if f.Kind != paylink.Permanent {
			try := 0
			if countTry {
				try = 1
			}
			at := retryAt.UnixMilli()
			return t.giveBack(c.Message, from, why, `next_at = $5, wake_at = $6, tries = tries + $7, cause = $8, code = $9`,
				at, at+wakeGrace.Milliseconds(), try, string(f.Cause), f.Code)
		}
		if f.Suppress {
			if err := t.suppressFor(c.Message, c.AddressHash, f); err != nil {
				return err
			}
		}
		var twice bool
		if err := t.row(`SELECT possible_duplicate FROM messages WHERE id = $1`, int64(c.Message.ID)).Scan(&twice); err != nil {
			return err
		}
		if twice && from.Open() { // its first copy may have arrived: that this one was refused is no reason to go on to the next channel
			return t.holdDoubtful(c, from, f, why)
		}
		if err := t.moveMessage(c.Message.ID, c.Request.ID, from, paylink.MessageFailed, why, `wake_at = NULL, cause = $5, code = $6`, string(f.Cause), f.Code); err != nil {
			return err
		}
		if f.Cause != paylink.CauseOptedOut {
			if wakes, err = t.fallBack(c.Message, c.Request, c.Contact); err != nil {
				return err
			}
		}
		return t.settle(c.Request.ID, "", why, false)
	})
	return wakes, err
}

func (t *tx) holdDoubtful(c paylink.MessageClaim, from paylink.MessageState, f *paylink.Failure, why string) error {
	if err := t.moveMessage(c.Message.ID, c.Request.ID, from, paylink.MessageHeld, why, `wake_at = NULL, cause = $5, code = $6`,
		string(f.Cause), f.Code); err != nil {
		return err
	}
	if err := t.flag(c.Request.ID, "message_held", c.Message.ID.String()); err != nil {
		return err
	}
	return t.settle(c.Request.ID, "", why, false)
}

// fallBack starts the next channel of the route after m failed for certain: within a day of it, while the debt is owed
// and nobody has acted on the link.
func (t *tx) fallBack(m paylink.Message, r paylink.Request, c paylink.Contact) ([]paylink.Wake, error) {
	if m.Purpose == paylink.PurposeReceipt { // a courtesy: the page has it too
		return nil, nil
	}
	var payment paylink.PaymentState
	var engaged sql.NullInt64
	var created int64
	var batch paylink.BatchState
	if err := t.row(`SELECT r.payment, r.engaged_at, m.created_at, b.state FROM requests r JOIN messages m ON m.request_id = r.id
		JOIN batches b ON b.id = (r.id >> 32) WHERE m.id = $1`, int64(m.ID)).
		Scan(&payment, &engaged, &created, &batch); err != nil {
		return nil, err
	}
	if !payment.Owes() || engaged.Valid || batch == paylink.BatchCanceled || t.now-created > fallbackWindow.Milliseconds() {
		return nil, nil
	}
	for ch, ok := r.Routes.Next(m.Channel); ok; ch, ok = r.Routes.Next(ch) {
		if c.Address(ch) == "" {
			continue
		}
		n, err := t.nextN(m.RequestID, m.Purpose, ch)
		if err != nil || n == 0 {
			return nil, err
		}
		w, err := t.bearMessage(m.RequestID, m.Purpose, ch, n, true)
		if err != nil || w.ID == 0 {
			return nil, err
		}
		return []paylink.Wake{w}, nil
	}
	return nil, nil
}

// nextN numbers the next message of the same purpose and channel; 0 if one is still open, accepted or unknown.
func (t *tx) nextN(req paylink.RequestID, purpose string, ch paylink.Channel) (int, error) {
	var last, busy int
	err := t.row(`SELECT COALESCE(MAX(n), 0), COALESCE(SUM(CASE WHEN state IN ('failed', 'undelivered', 'suppressed', 'canceled') THEN 0 ELSE 1 END), 0)
		FROM messages WHERE request_id = $1 AND purpose = $2 AND channel = $3`, int64(req), purpose, string(ch)).Scan(&last, &busy)
	if err != nil || busy > 0 {
		return 0, err
	}
	return last + 1, nil
}

// LoseMessage records that the answer to a send was lost. Look-ups follow by the sweeper, the first after checkIn.
func (db *DB) LoseMessage(ctx context.Context, c paylink.MessageClaim, f *paylink.Failure, checkIn time.Duration) error {
	return db.changeRequest(ctx, c.Request.ID, func(t *tx) error {
		return t.loseMessage(c.Message, c.Attempt, f, checkIn)
	})
}

func (t *tx) loseMessage(m paylink.Message, attempt paylink.AttemptID, f *paylink.Failure, checkIn time.Duration) error {
	if err := t.closeAttempt(attempt, "unknown", "", f); err != nil {
		return err
	}
	var from paylink.MessageState
	if err := t.row(`SELECT state FROM messages WHERE id = $1`, int64(m.ID)).Scan(&from); err != nil {
		return err
	}
	if from.Open() && from != paylink.MessageCommitting {
		return fmt.Errorf("message %s is %s and cannot have been sent: %w", m.ID, from, paylink.ErrConflict)
	}
	if from != paylink.MessageCommitting { // a receipt has told the truth meanwhile
		return t.settle(m.RequestID, "", "", false)
	}
	if err := t.moveMessage(m.ID, m.RequestID, from, paylink.MessageUnknown, "answer lost", `wake_at = $5, checks = 0, cause = $6`,
		t.now+checkIn.Milliseconds(), string(paylink.CauseLostAnswer)); err != nil {
		return err
	}
	return t.settle(m.RequestID, "", "answer lost", false)
}
