package ledger

import (
	"context"
	"fmt"
	"time"

	"dunlin/paylink"
)

// entityProof is a payer's try at the second factor. It is no machine's state: what counts is how many were wrong.
const entityProof = "proof"

// Viewed records that the page of a request was looked at, the first time only. Machines that run scripts do that too;
// see engaged_at for what a person did.
func (db *DB) Viewed(ctx context.Context, id paylink.RequestID) error {
	return db.changeRequest(ctx, id, func(t *tx) error {
		n, err := t.exec(`UPDATE requests SET viewed_at = $2 WHERE id = $1 AND viewed_at IS NULL`, int64(id), t.now)
		if err == nil && n > 0 {
			t.event(event{batch: id.Batch(), request: id, entity: "page", to: "viewed", actor: "payer"})
		}
		return err
	})
}

// Prove records a payer's try at the second factor. [paylink.ErrConflict] means that as many as wrong tries of the last
// 24 hours were wrong: this one does not count, right or not.
func (db *DB) Prove(ctx context.Context, id paylink.RequestID, right bool, wrong int) error {
	return db.changeRequest(ctx, id, func(t *tx) error {
		var had int
		if err := t.row(`SELECT count(*) FROM events WHERE batch_id = $1 AND request_id = $2 AND entity = $3 AND to_state = 'wrong' AND at > $4`,
			int64(id.Batch()), int64(id), entityProof, t.now-(24*time.Hour).Milliseconds()).Scan(&had); err != nil {
			return err
		}
		if had >= wrong {
			return fmt.Errorf("request %s: the day's tries are used up: %w", id, paylink.ErrConflict)
		}
		to := "wrong"
		if right {
			to = "right"
		}
		// At once: the next try may stand in the same commit and must be able to count this one.
		return t.eventNow(event{batch: id.Batch(), request: id, entity: entityProof, to: to, actor: "payer"})
	})
}

// replaced reports whether the debt of a request that is no longer asked for is asked for by a newer one.
func (db *DB) replaced(ctx context.Context, r paylink.Request, key int64) (yes bool, err error) {
	switch r.Payment {
	case paylink.PaymentCanceled, paylink.PaymentExpired, paylink.PaymentWrittenOff:
		// The condition is spelt as the index requests_debt has it.
		err = db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM requests WHERE debt_key = $1 AND id > $2
			AND (payment = 'unpaid' OR payment = 'authorized' OR payment = 'partially_paid'))`, key, int64(r.ID)).Scan(&yes)
	}
	return yes, err
}
