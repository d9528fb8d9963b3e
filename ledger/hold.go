package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"dunlin/paylink"
)

// Hold is what a batch must wait for after its plan was confirmed and before anything of it is sent. The zero Hold is
// nothing.
type Hold struct {
	// For is how long it waits, so that who confirmed can take it back.
	For time.Duration
	// Approval: a second person must agree first.
	Approval bool
}

const waitsForApproval = "waits for a second person's approval"

// ConfirmHeld says yes to a draft's plan as [DB.Confirm] does, but the batch waits first.
func (db *DB) ConfirmHeld(ctx context.Context, id paylink.BatchID, h Hold, actor string) error {
	if h == (Hold{}) {
		return db.Confirm(ctx, id, actor, "")
	}
	return db.change(ctx, func(t *tx) error {
		why, until := waitsForApproval, any(nil)
		if !h.Approval {
			why, until = "can be taken back for "+h.For.String(), t.now+h.For.Milliseconds()
		}
		if err := t.moveBatch(id, paylink.BatchDraft, paylink.BatchHeld, actor, why); err != nil {
			return fmt.Errorf("confirm %s: %w", id, err)
		}
		_, err := t.exec(`UPDATE batches SET confirmed_at = $2, confirmed_by = $3, needs_approval = $4, hold_until = $5, approved_by = NULL WHERE id = $1`,
			int64(id), t.now, actor, h.Approval, until)
		return err
	})
}

// ErrOwnBatch means that somebody tried to approve what they confirmed themselves.
var ErrOwnBatch = fmt.Errorf("who confirmed a batch cannot approve it: %w", paylink.ErrConflict)

// Approve is a second person's yes. The batch then waits for its hold window, or runs. Who confirmed it gets
// [ErrOwnBatch].
func (db *DB) Approve(ctx context.Context, id paylink.BatchID, hold time.Duration, actor, why string) error {
	return db.change(ctx, func(t *tx) error {
		state, err := t.lockBatch(id)
		if err != nil {
			return err
		}
		var needs bool
		var by sql.NullString
		if err := t.row(`SELECT needs_approval, confirmed_by FROM batches WHERE id = $1`, int64(id)).Scan(&needs, &by); err != nil {
			return err
		}
		switch {
		case !needs || state != paylink.BatchHeld:
			return fmt.Errorf("batch %s does not wait for approval: %w", id, paylink.ErrConflict)
		case by.String == actor:
			return ErrOwnBatch
		}
		until := any(nil)
		if hold > 0 {
			until = t.now + hold.Milliseconds()
		}
		if err := t.one(`UPDATE batches SET needs_approval = $4, approved_by = $2, hold_until = $3, why = '' WHERE id = $1 AND state = 'held'`,
			int64(id), actor, until, false); err != nil {
			return err
		}
		if hold == 0 {
			return t.moveBatch(id, paylink.BatchHeld, paylink.BatchRunning, actor, approvedWhy(why))
		}
		t.event(event{batch: id, entity: "batch", id: int64(id), from: string(paylink.BatchHeld), to: string(paylink.BatchHeld), actor: actor, why: approvedWhy(why)})
		return nil
	})
}

func approvedWhy(why string) string {
	if why == "" {
		return "approved"
	}
	return "approved: " + why
}

// TakeBack makes a batch that waits before anything of it was sent a draft again: the undo of confirming.
func (db *DB) TakeBack(ctx context.Context, id paylink.BatchID, actor, why string) error {
	return db.change(ctx, func(t *tx) error {
		if _, err := t.lockBatch(id); err != nil {
			return err
		}
		n, err := t.exec(`UPDATE batches SET needs_approval = $2, hold_until = NULL, approved_by = NULL, confirmed_at = NULL, confirmed_by = NULL
			WHERE id = $1 AND state = 'held' AND fed = 0 AND (needs_approval OR hold_until IS NOT NULL)`, int64(id), false)
		if err == nil && n == 0 {
			err = fmt.Errorf("batch %s can no longer be taken back: %w", id, paylink.ErrConflict)
		}
		if err != nil {
			return err
		}
		return t.moveBatch(id, paylink.BatchHeld, paylink.BatchDraft, actor, why)
	})
}

// releaseHold ends the wait of a batch that a person lets go on, and says whether there was one. What needs a second
// person's approval is not let go on by anything else.
func (t *tx) releaseHold(id paylink.BatchID) (held bool, err error) {
	var needs bool
	var until sql.NullInt64
	if err := t.row(`SELECT needs_approval, hold_until FROM batches WHERE id = $1`, int64(id)).Scan(&needs, &until); err != nil {
		return false, err
	}
	if needs {
		return false, fmt.Errorf("batch %s %s: %w", id, waitsForApproval, paylink.ErrConflict)
	}
	if !until.Valid {
		return false, nil
	}
	_, err = t.exec(`UPDATE batches SET hold_until = NULL WHERE id = $1`, int64(id))
	return true, err
}

const holdsOverQuery = `SELECT id FROM batches WHERE state = 'held' AND state NOT IN ('done', 'canceled') AND hold_until <= $1 AND NOT needs_approval`

// releaseHolds lets the batches run whose time to be taken back is over.
func (db *DB) releaseHolds(ctx context.Context) error {
	var ids []paylink.BatchID
	err := each(ctx, db.read, holdsOverQuery, []any{db.Now().UnixMilli()}, func(r *sql.Rows) error {
		var id paylink.BatchID
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for holds that are over: %w", err)
	}
	for _, id := range ids {
		err := db.change(ctx, func(t *tx) error {
			if _, err := t.lockBatch(id); err != nil {
				return err
			}
			n, err := t.exec(`UPDATE batches SET hold_until = NULL WHERE id = $1 AND state = 'held' AND hold_until <= $2 AND NOT needs_approval`, int64(id), t.now)
			if err != nil || n == 0 {
				return err
			}
			return t.moveBatch(id, paylink.BatchHeld, paylink.BatchRunning, "", "its hold is over")
		})
		if err != nil && !errors.Is(err, paylink.ErrConflict) {
			return fmt.Errorf("end the hold of %s: %w", id, err)
		}
	}
	return nil
}
