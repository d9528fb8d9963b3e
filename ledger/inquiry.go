package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"dunlin/paylink"
)

// ClaimInquiry claims the look-up of a message whose answer was lost.
func (db *DB) ClaimInquiry(ctx context.Context, id paylink.MessageID, epoch int64, opt paylink.ClaimOptions) (c paylink.InquiryClaim, err error) {
	err = db.change(ctx, func(t *tx) error {
		var rs requestScan
		var cs contactScan
		var began int64
		targets := append(append(messageTargets(&c.Message), rs.targets()...), cs.targets()...)
		targets = append(targets, &c.Checks, &c.Attempt, &began, &c.Link)
		if err := t.row(`SELECT `+messageColumns+`, `+requestColumns+`, `+contactColumns+`, m.checks, a.id, COALESCE(a.committing_at, a.started_at),
				COALESCE((SELECT s.url FROM sessions s WHERE s.request_id = r.id AND s.state IN ('open', 'pending', 'attempted')), '')
			FROM messages m JOIN requests r ON r.id = m.request_id JOIN contacts c ON c.request_id = r.id
				JOIN attempts a ON a.message_id = m.id AND a.state = 'unknown'
			WHERE m.id = $1`, int64(id)).Scan(targets...); err != nil {
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			if err := t.row(`SELECT state FROM messages WHERE id = $1`, int64(id)).Scan(&c.Message.State); err != nil {
				return notFound(err, id)
			}
			return fmt.Errorf("message %s is %s and has no lost attempt: %w", id, c.Message.State, paylink.ErrConflict)
		}
		if c.Request, err = rs.value(); err != nil {
			return err
		}
		contact, err := cs.value()
		if err != nil {
			return err
		}
		if c.Message.State != paylink.MessageUnknown || c.Message.Epoch != epoch {
			return fmt.Errorf("message %s is not to be looked up now: %w", id, paylink.ErrConflict)
		}
		lease := t.now + opt.Lease.Milliseconds()
		c.To, c.Began, c.Deadline = contact.Address(c.Message.Channel), toTime(began), toTime(lease)
		c.ShortRef, c.LinkToken = paylink.ShortRef(c.Request.ID), paylink.Token(c.Request.ID, c.Request.Secret)
		if c.Message.Purpose == paylink.PurposeReceipt {
			c.ShortRef = paylink.ReceiptNo(c.Request.ID, c.Message.N)
		}
		return t.one(`UPDATE messages SET wake_at = $3, epoch = epoch + 1 WHERE id = $1 AND epoch = $2`, int64(id), epoch, lease)
	})
	return c, err
}

// InquiryFound records that the lost message was accepted after all.
func (db *DB) InquiryFound(ctx context.Context, c paylink.InquiryClaim, ref string) error {
	return db.changeRequest(ctx, c.Request.ID, func(t *tx) error { return t.accept(c.Message, c.Attempt, ref, 0, "found at the provider") })
}

// InquiryOpen plans the next look-up.
func (db *DB) InquiryOpen(ctx context.Context, c paylink.InquiryClaim, nextIn time.Duration, counted bool) error {
	return db.changeRequest(ctx, c.Request.ID, func(t *tx) error {
		more := 0
		if counted {
			more = 1
		}
		return t.one(`UPDATE messages SET wake_at = $2, checks = checks + $3 WHERE id = $1 AND state = 'unknown'`,
			int64(c.Message.ID), t.now+nextIn.Milliseconds(), more)
	})
}

// InquiryHold ends the look-ups by policy: the message waits for a person.
func (db *DB) InquiryHold(ctx context.Context, c paylink.InquiryClaim) error {
	return db.changeRequest(ctx, c.Request.ID, func(t *tx) error {
		if err := t.moveMessage(c.Message.ID, c.Request.ID, paylink.MessageUnknown, paylink.MessageHeld, "not found; held for a person", `wake_at = NULL`); err != nil {
			return err
		}
		if err := t.flag(c.Request.ID, "message_unknown", c.Message.ID.String()); err != nil {
			return err
		}
		return t.settle(c.Request.ID, "", "", false)
	})
}

// InquiryResend ends the look-ups by policy: the message is sent once more, the same bytes, marked as a possible
// duplicate. It is refused when the debt is no longer owed, the payer has acted, or it was sent again before.
func (db *DB) InquiryResend(ctx context.Context, c paylink.InquiryClaim) (w paylink.Wake, err error) {
	err = db.changeRequest(ctx, c.Request.ID, func(t *tx) error {
		var again bool
		if err := t.row(`
			SELECT NOT m.possible_duplicate AND CASE WHEN m.purpose = 'receipt' THEN r.payment NOT IN ('refunded', 'partially_refunded')
				ELSE r.engaged_at IS NULL AND r.payment IN ('unpaid', 'partially_paid') AND r.canceled_at IS NULL
					AND (r.amended_at IS NULL OR r.amended_at < m.created_at) END
			FROM messages m JOIN requests r ON r.id = m.request_id WHERE m.id = $1`, int64(c.Message.ID)).Scan(&again); err != nil {
			return err
		}
		if !again {
			return fmt.Errorf("message %s must not be sent again: %w", c.Message.ID, paylink.ErrConflict)
		}
		if err := t.one(`UPDATE attempts SET state = 'settled' WHERE id = $1 AND state = 'unknown'`, int64(c.Attempt)); err != nil {
			return err
		}
		if err := t.moveMessage(c.Message.ID, c.Request.ID, paylink.MessageUnknown, paylink.MessageOwed, "not found; sent once more by policy",
			`possible_duplicate = TRUE, next_at = $4, wake_at = $5, epoch = epoch + 1`, t.now+wakeGrace.Milliseconds()); err != nil {
			return err
		}
		if err := t.settle(c.Request.ID, "", "resent by policy", false); err != nil {
			return err
		}
		w = paylink.Wake{Task: paylink.TaskSend, ID: int64(c.Message.ID), Channel: c.Message.Channel}
		return t.row(`SELECT epoch FROM messages WHERE id = $1`, int64(c.Message.ID)).Scan(&w.Epoch)
	})
	return w, err
}
