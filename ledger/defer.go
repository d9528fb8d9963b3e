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
	query := ""
	switch w.Task {
	case paylink.TaskCreate:
		query = `UPDATE requests SET next_at = $3, wake_at = $4 WHERE id = $1 AND epoch = $2 AND step = 'session'`
	case paylink.TaskSend:
		query = `UPDATE messages SET next_at = $3, wake_at = $4 WHERE id = $1 AND epoch = $2 AND state = 'owed'`
	default:
		return fmt.Errorf("defer %s: %w", w.Task, paylink.ErrInvalid)
	}
	at := until.UnixMilli()
	return db.change(ctx, func(t *tx) error {
		_, err := t.exec(query, w.ID, w.Epoch, at, at+wakeGrace.Milliseconds())
		return err
	})
}
