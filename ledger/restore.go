package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"dunlin/paylink"
)

// Restored says what [DB.AfterRestore] did.
type Restored struct {
	Paused   []paylink.BatchID `json:"paused"`   // batches that were running
	Drafts   []paylink.BatchID `json:"drafts"`   // batches that may have been confirmed since the backup
	Requests int64             `json:"requests"` // rows that may have been sent since, now unknown
	Messages int64             `json:"messages"` // messages that may have been sent since, now held
	Sessions int64             `json:"sessions"` // creates that were under way, whose order numbers are expired first
}

// restoredEpoch is how far epochs are raised: past every task that the time after the backup can have left in the queue.
const restoredEpoch = 1_000_000

const restoredWhy = "a backup was restored; what was done since is not known"

// AfterRestore makes a restored backup safe: whatever was not final when it was made may have been sent since, so nothing
// of it is sent again by itself. Running batches are paused; rows and messages that were pending or owed become unknown and
// wait for a person, who sends them again by name ([DB.Retry] with [paylink.CauseRestored], [DB.Resend]), marked as
// possible duplicates. It goes in steps and may be given again. No program must work on the ledger meanwhile.
func (db *DB) AfterRestore(ctx context.Context, actor, why string) (r Restored, err error) {
	if why == "" {
		why = restoredWhy
	}
	var batches []paylink.BatchID
	err = db.change(ctx, func(t *tx) error {
		r, batches = Restored{Paused: []paylink.BatchID{}, Drafts: []paylink.BatchID{}}, nil
		if err := t.each(`SELECT id, state FROM batches WHERE state <> 'importing' AND state <> 'canceled' ORDER BY id`, nil, func(rows *sql.Rows) error {
			var id paylink.BatchID
			var s paylink.BatchState
			err := rows.Scan(&id, &s)
			switch s {
			case paylink.BatchRunning:
				r.Paused = append(r.Paused, id)
			case paylink.BatchDraft:
				r.Drafts = append(r.Drafts, id)
				return err
			}
			batches = append(batches, id)
			return err
		}); err != nil {
			return err
		}
		for _, id := range r.Paused {
			if err := t.moveBatch(id, paylink.BatchRunning, paylink.BatchPaused, actor, why); err != nil {
				return err
			}
		}
		_, err := t.exec(`DELETE FROM leases`)
		return err
	})
	if err != nil {
		return r, fmt.Errorf("pause batches: %w", err)
	}
	for _, id := range batches {
		if err := db.restorePending(ctx, id, actor, why, &r); err != nil {
			return r, fmt.Errorf("after restore: %s: %w", id, err)
		}
		_, err := db.eachRequest(ctx, id, `(dispatch = 'in_flight' OR dispatch = 'unknown' OR EXISTS (SELECT 1 FROM messages m
				WHERE m.request_id = requests.id AND m.state IN ('owed', 'claimed', 'committing', 'unknown')))`,
			func(t *tx, req paylink.RequestID) (bool, error) { return true, t.restore(req, actor, why, &r) })
		if err != nil {
			return r, fmt.Errorf("after restore: %s: %w", id, err)
		}
	}
	err = db.change(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE sessions SET lost = TRUE, lease_until = NULL, check_at = $1, checks = 0 WHERE state = 'intent' AND NOT lost`, t.now)
		r.Sessions += n
		if err != nil {
			return err
		}
		_, err = t.exec(`UPDATE sessions SET lease_until = NULL WHERE lease_until IS NOT NULL`)
		return err
	})
	return r, err
}

// restorePending moves runs of pending rows at once: they may have been fed and sent since.
func (db *DB) restorePending(ctx context.Context, id paylink.BatchID, actor, why string, r *Restored) error {
	lo, hi := batchRange(id)
	for {
		var moved int64
		var first, last sql.NullInt64
		err := db.change(ctx, func(t *tx) error {
			if err := t.row(`SELECT MIN(id), MAX(id) FROM (SELECT id FROM requests WHERE id BETWEEN $1 AND $2 AND dispatch = 'pending'
				ORDER BY id LIMIT $3) p`, lo, hi, commandChunk).Scan(&first, &last); err != nil || !first.Valid {
				return err
			}
			var err error
			if moved, err = t.exec(`UPDATE requests SET dispatch = 'unknown', step = 'restored', cause = 'restored', restored_at = $3, updated_at = $3,
					epoch = epoch + $4, wake_at = NULL WHERE id BETWEEN $1 AND $2 AND dispatch = 'pending'`, first.Int64, last.Int64, t.now, restoredEpoch); err != nil {
				return err
			}
			t.tally(id, tallyDispatch, string(paylink.DispatchPending), -moved)
			t.tally(id, tallyDispatch, string(paylink.DispatchUnknown), moved)
			t.event(event{batch: id, entity: entityRows, from: string(paylink.DispatchPending), to: string(paylink.DispatchUnknown), actor: actor, why: why,
				firstRow: int(first.Int64 & 0xffffffff), lastRow: int(last.Int64 & 0xffffffff), n: moved})
			return nil
		})
		if err != nil || !first.Valid {
			return err
		}
		r.Requests += moved
		lo = last.Int64 + 1
	}
}

// restore makes one request wait for a person. Its messages' attempts stay on record as lost.
func (t *tx) restore(id paylink.RequestID, actor, why string, r *Restored) error {
	if err := t.lock(id); err != nil {
		return err
	}
	n, err := t.exec(`UPDATE requests SET step = 'restored', wake_at = NULL WHERE id = $1 AND (step = 'session' OR step = 'lost')`, int64(id))
	if err != nil {
		return err
	}
	r.Requests += n
	type message struct {
		id    paylink.MessageID
		state paylink.MessageState
	}
	var doubtful []message
	if err := t.each(`SELECT id, state FROM messages WHERE request_id = $1 AND state IN ('owed', 'claimed', 'committing', 'unknown') ORDER BY id`,
		[]any{int64(id)}, func(rows *sql.Rows) error {
			var m message
			err := rows.Scan(&m.id, &m.state)
			doubtful = append(doubtful, m)
			return err
		}); err != nil {
		return err
	}
	if n == 0 && len(doubtful) == 0 {
		return nil
	}
	for _, m := range doubtful {
		if err := t.moveMessage(m.id, id, m.state, paylink.MessageHeld, why, `wake_at = NULL, cause = 'restored', epoch = epoch + $5`, restoredEpoch); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE attempts SET state = 'unknown', ended_at = $2, kind = 'unknown', cause = 'restored' WHERE message_id = $1 AND state = 'open'`,
			int64(m.id), t.now); err != nil {
			return err
		}
		r.Messages++
	}
	if _, err := t.exec(`UPDATE requests SET restored_at = $2, epoch = epoch + $3, updated_at = $2 WHERE id = $1`, int64(id), t.now, restoredEpoch); err != nil {
		return err
	}
	return t.settle(id, actor, why, true)
}

// againRestored is again for what a restored backup left unknown, and nothing else of the request: what was accepted
// before the backup was made is not sent again.
func (t *tx) againRestored(id paylink.RequestID, _ paylink.Channel, actor, why string) (wakes []paylink.Wake, err error) {
	var step string
	if err := t.row(`SELECT step FROM requests WHERE id = $1`, int64(id)).Scan(&step); err != nil {
		return nil, err
	}
	var held []int64
	var channels []paylink.Channel
	if err := t.each(`SELECT id, channel FROM messages WHERE request_id = $1 AND state = 'held' AND cause = 'restored' ORDER BY id`, []any{int64(id)},
		func(r *sql.Rows) error {
			var m int64
			var ch paylink.Channel
			err := r.Scan(&m, &ch)
			held = append(held, m)
			if !slices.Contains(channels, ch) {
				channels = append(channels, ch)
			}
			return err
		}); err != nil {
		return nil, err
	}
	if step == stepRestored {
		if err := t.giveUpHeld(id, held, actor); err != nil {
			return nil, err
		}
		return t.again(id, "", actor, why)
	}
	for _, ch := range channels {
		w, err := t.again(id, ch, actor, why)
		if err != nil {
			return nil, err
		}
		wakes = append(wakes, w...)
	}
	return wakes, nil
}
