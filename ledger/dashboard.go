package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"dunlin/paylink"
)

// entityQueue is the queue in the record: what people did to it by its dashboard.
const entityQueue = "queue"

// RecordAct writes down what a person does to the queue, which has no record of its own.
func (db *DB) RecordAct(ctx context.Context, act, actor, why string) error {
	err := db.change(ctx, func(t *tx) error {
		t.event(event{entity: entityQueue, to: act, actor: actor, why: why})
		return nil
	})
	if err != nil {
		return fmt.Errorf("record %s: %w", act, err)
	}
	return nil
}

// RequestOf is the request that a wake is about; ErrNotFound if it is about none.
func (db *DB) RequestOf(ctx context.Context, w paylink.Wake) (id paylink.RequestID, err error) {
	query := ""
	switch w.Task {
	case paylink.TaskCreate:
		return paylink.RequestID(w.ID), nil
	case paylink.TaskSettle:
		query = `SELECT request_id FROM sessions WHERE id = $1`
	case paylink.TaskSend, paylink.TaskInquire:
		query = `SELECT request_id FROM messages WHERE id = $1`
	default:
		return 0, paylink.ErrNotFound
	}
	err = db.read.QueryRowContext(ctx, query, w.ID).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = paylink.ErrNotFound
	}
	return id, err
}
