package ledger

import (
	"context"
	"database/sql"
	"errors"

	"dunlin/paylink"
)

// A request's row is the lock of everything that hangs on it. Whoever changes its sessions or messages takes it first:
// the dispatch state follows from all of them together, so two changes must see each other; and with one order of
// locking they never wait for each other in a ring. On SQLite the single writer is all that is needed.

// changeRequest is a change that begins by locking the request.
func (db *DB) changeRequest(ctx context.Context, id paylink.RequestID, fn func(*tx) error) error {
	return db.change(ctx, func(t *tx) error {
		if err := t.lock(id); err != nil {
			return err
		}
		return fn(t)
	})
}

func (t *tx) lock(id paylink.RequestID) error {
	_, err := t.lockWhere(`id = $1`, int64(id), "")
	return notFound(err, id)
}

func (t *tx) lockOfSession(id paylink.SessionID) error {
	_, err := t.lockWhere(`id = (SELECT request_id FROM sessions WHERE id = $1)`, int64(id), "")
	return notFound(err, id)
}

func (t *tx) lockOfMessage(id paylink.MessageID) error {
	_, err := t.lockWhere(`id = (SELECT request_id FROM messages WHERE id = $1)`, int64(id), "")
	return notFound(err, id)
}

// tryLock takes the lock if nobody has it. The sweeper holds many at once, so it passes over what it would wait for.
func (t *tx) tryLock(id paylink.RequestID) (mine bool, err error) {
	mine, err = t.lockWhere(`id = $1`, int64(id), ` SKIP LOCKED`)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return mine, err
}

func (t *tx) lockWhere(where string, id int64, wait string) (mine bool, err error) {
	if t.db.dialect.forUpdate == "" {
		return true, nil
	}
	var one int
	err = t.row(`SELECT 1 FROM requests WHERE `+where+t.db.dialect.forUpdate+wait, id).Scan(&one)
	return err == nil, err
}
