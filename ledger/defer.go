package ledger

import (
	"context"
	"fmt"
	"time"

	"dunlin/paylink"
)

// Defer puts off an owed step that could not even be begun (the rate limit is used up for longer than a worker waits).
// It costs no try. A stale wake is left alone.
func (db *DB) Defer(ctx context.Context, w paylink.Wake, until time.Time) error {
	at := until.UnixMilli()
	query, args := "", []any{w.ID, w.Epoch, at}
	switch w.Task {
	case paylink.TaskCreate:
		query = `UPDATE requests SET next_at = $3, wake_at = $4 WHERE id = $1 AND epoch = $2 AND step = 'session'`
		args = append(args, at+wakeGrace.Milliseconds())
	case paylink.TaskSend:
		query = `UPDATE messages SET next_at = $3, wake_at = $4 WHERE id = $1 AND epoch = $2 AND state = 'owed'`
		args = append(args, at+wakeGrace.Milliseconds())
	case paylink.TaskSettle: // the planned time is its epoch: the wake is stale now, and the sweeper gives another
		query = `UPDATE sessions SET check_at = $3 WHERE id = $1 AND check_at = $2`
	case paylink.TaskInquire:
		query = `UPDATE messages SET wake_at = $3 WHERE id = $1 AND epoch = $2 AND state = 'unknown'`
	default:
		return fmt.Errorf("defer %s: %w", w.Task, paylink.ErrInvalid)
	}
	return db.change(ctx, func(t *tx) error {
		_, err := t.exec(query, args...)
		return err
	})
}
