package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"dunlin/paylink"
)

// entityRedact is the entity of events that tell of erasure.
const entityRedact = "redact"

// final is the condition of a request r of which nothing more is to be expected: nothing is owed, asked for or looked up.
const final = `r.payment NOT IN ('unpaid', 'partially_paid', 'authorized') AND r.dispatch NOT IN ('pending', 'in_flight', 'unknown')
	AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.request_id = r.id AND (s.state = 'intent' OR s.state = 'open' OR s.state = 'pending' OR s.state = 'attempted'))`

// Redact empties everything personal that is kept of a request: its contact, what it says in words of its own, the raw
// row that it mended, raw events of providers, addresses at the provider. Sums, states and counts stay. A request that is
// not final is refused with ErrConflict, or with force called off first. done is false if it was redacted before.
func (db *DB) Redact(ctx context.Context, id paylink.RequestID, force bool, actor, why string) (done bool, wakes []paylink.Wake, err error) {
	err = db.changeRequest(ctx, id, func(t *tx) error {
		done, wakes = false, nil
		var over bool
		var payment paylink.PaymentState
		err := t.row(`SELECT `+final+`, r.payment FROM requests r WHERE r.id = $1`, int64(id)).Scan(&over, &payment)
		if err != nil {
			return notFound(err, id)
		}
		if !over && !force {
			return fmt.Errorf("request %s is not over: something is still owed, asked for or looked up: %w", id, paylink.ErrConflict)
		}
		if !over {
			if wakes, err = t.callOff(id, payment, actor, why); err != nil {
				return err
			}
		}
		done, err = t.redact(id, actor, why)
		return err
	})
	return done, wakes, err
}

// callOff ends everything that is under way about a request whose addresses go.
func (t *tx) callOff(id paylink.RequestID, payment paylink.PaymentState, actor, why string) (wakes []paylink.Wake, err error) {
	if paylink.PaymentMachine.CanByCommand(payment, paylink.PaymentCanceled) {
		if wakes, err = t.cancelRequest(id, actor, why); err != nil {
			return nil, err
		}
	}
	// Nobody can be looked up any more by an address that is gone.
	var lost []paylink.MessageID
	if err := t.each(`SELECT id FROM messages WHERE request_id = $1 AND state = 'unknown'`, []any{int64(id)}, func(r *sql.Rows) error {
		var m paylink.MessageID
		err := r.Scan(&m)
		lost = append(lost, m)
		return err
	}); err != nil {
		return nil, err
	}
	for _, m := range lost {
		if err := t.moveMessage(m, id, paylink.MessageUnknown, paylink.MessageCanceled, "redacted", `wake_at = NULL`); err != nil {
			return nil, err
		}
	}
	if len(lost) == 0 {
		return wakes, nil
	}
	return wakes, t.settle(id, actor, why, true)
}

func (t *tx) redact(id paylink.RequestID, actor, why string) (bool, error) {
	var attachment string
	if err := t.row(`SELECT attachment_url FROM requests WHERE id = $1`, int64(id)).Scan(&attachment); err != nil {
		return false, notFound(err, id)
	}
	n, err := t.exec(`UPDATE contacts SET name = '', first_name = '', last_name = '', email = '', phone = '', extra = '{}', redacted_at = $2
		WHERE request_id = $1 AND redacted_at IS NULL`, int64(id), t.now)
	if err != nil || n == 0 {
		return false, err
	}
	if attachment != "" {
		if _, err := t.exec(`DELETE FROM attachments WHERE batch_id = $1 AND url_hash = $2`, int64(id.Batch()), hashOf([]byte(attachment))); err != nil {
			return false, err
		}
	}
	for _, q := range []string{
		`UPDATE requests SET description = '', attachment_url = '', customer_id = '' WHERE id = $1`,
		`UPDATE rejections SET raw = '[]' WHERE fixed_in = $1`,
		`UPDATE provider_events SET raw = '' WHERE applied_at IS NOT NULL AND session_id IN (SELECT id FROM sessions WHERE request_id = $1)`,
		`UPDATE provider_events SET raw = '' WHERE applied_at IS NOT NULL AND message_id IN (SELECT id FROM messages WHERE request_id = $1)`,
		// A mail server may repeat the recipient in its answer.
		`UPDATE messages SET provider_ref = 'redacted' WHERE request_id = $1 AND provider_ref LIKE '%@%'`,
		`UPDATE attempts SET provider_ref = 'redacted' WHERE provider_ref LIKE '%@%' AND message_id IN (SELECT id FROM messages WHERE request_id = $1)`,
		`UPDATE attempts SET address_hash = '' WHERE message_id IN (SELECT id FROM messages WHERE request_id = $1)`, // a number is found by trying all
		`UPDATE sessions SET url = '' WHERE request_id = $1`,                                                        // it shows the payer's name
	} {
		if _, err := t.exec(q, int64(id)); err != nil {
			return false, err
		}
	}
	t.event(event{batch: id.Batch(), request: id, entity: entityRedact, id: int64(id), to: "redacted", actor: actor, why: why})
	return true, nil
}

// RedactFinished redacts requests that are final and were not changed since before, of at most limit that it looks at by
// id, from the one after after on. last is where to go on; zero: it has seen them all.
func (db *DB) RedactFinished(ctx context.Context, after paylink.RequestID, before time.Time, limit int) (last paylink.RequestID, n int, err error) {
	var old []paylink.RequestID
	seen := 0
	err = each(ctx, db.read, `SELECT r.id, r.updated_at < $2 AND c.redacted_at IS NULL AND `+final+`
		FROM requests r JOIN contacts c ON c.request_id = r.id WHERE r.id > $1 ORDER BY r.id LIMIT $3`,
		[]any{int64(after), before.UnixMilli(), limit}, func(r *sql.Rows) error {
			var due bool
			err := r.Scan(&last, &due)
			if seen++; due {
				old = append(old, last)
			}
			return err
		})
	if err != nil {
		return after, 0, fmt.Errorf("look for requests to redact: %w", err)
	}
	if seen < limit {
		last = 0
	}
	for _, id := range old {
		done, _, err := db.Redact(ctx, id, false, "", "kept long enough")
		if err != nil && !errors.Is(err, paylink.ErrConflict) { // or it came to life again
			return last, n, fmt.Errorf("redact %s: %w", id, err)
		}
		if done {
			n++
		}
	}
	return last, n, nil
}

// RedactRejections empties the rejected rows of batches that finished before, at most limit of them.
func (db *DB) RedactRejections(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	err = db.change(ctx, func(t *tx) error {
		n, err = t.exec(`UPDATE rejections SET raw = '[]' WHERE (batch_id, row_no) IN (SELECT j.batch_id, j.row_no FROM batches b
			JOIN rejections j ON j.batch_id = b.id AND j.raw <> '[]' WHERE b.finished_at < $1 AND b.state IN ('done', 'canceled') LIMIT $2)`,
			before.UnixMilli(), limit)
		return err
	})
	return n, err
}

// EmptyEvents empties the raw bodies of providers' events that came before and were applied, at most limit of them.
func (db *DB) EmptyEvents(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	err = db.change(ctx, func(t *tx) error {
		n, err = t.exec(`UPDATE provider_events SET raw = '' WHERE id IN (SELECT id FROM provider_events
			WHERE received_at < $1 AND raw <> '' AND applied_at IS NOT NULL ORDER BY received_at LIMIT $2)`, before.UnixMilli(), limit)
		return err
	})
	return n, err
}
