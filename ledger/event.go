package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"dunlin/paylink"
)

// StoreEvent keeps a verified event of a provider before anything else is done about it. Two deliveries with the same
// key are one event: fresh is false for the second, and the first's outcome is returned if it has one.
func (db *DB) StoreEvent(ctx context.Context, provider, key string, raw []byte) (e paylink.StoredEvent, fresh bool, err error) {
	err = db.change(ctx, func(t *tx) error {
		e, fresh = paylink.StoredEvent{Raw: raw, ReceivedAt: toTime(t.now)}, true
		err := t.row(`INSERT INTO provider_events (provider, dedupe, received_at, raw) VALUES ($1, $2, $3, $4)
			ON CONFLICT (provider, dedupe) DO NOTHING RETURNING id`, provider, key, t.now, string(raw)).Scan(&e.ID)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		fresh = false
		return t.row(`SELECT id, outcome FROM provider_events WHERE provider = $1 AND dedupe = $2`, provider, key).Scan(&e.ID, &e.Outcome)
	})
	if err != nil {
		return paylink.StoredEvent{}, false, fmt.Errorf("store event: %w", err)
	}
	return e, fresh, nil
}

const unappliedQuery = `SELECT id, raw, received_at FROM provider_events WHERE applied_at IS NULL AND provider = $1 AND id > $2 ORDER BY id LIMIT $3`

// UnappliedEvents lists stored events of a provider that were not applied yet, in the order of their arrival, those after
// a given one.
func (db *DB) UnappliedEvents(ctx context.Context, provider string, after paylink.EventID, limit int) ([]paylink.StoredEvent, error) {
	var out []paylink.StoredEvent
	err := each(ctx, db.read, unappliedQuery, []any{provider, int64(after), limit}, func(r *sql.Rows) error {
		var e paylink.StoredEvent
		var raw string
		var at int64
		err := r.Scan(&e.ID, &raw, &at)
		e.Raw, e.ReceivedAt = []byte(raw), toTime(at)
		out = append(out, e)
		return err
	})
	return out, err
}

// CloseEvent records the outcome of an event that concerns no session of ours.
func (db *DB) CloseEvent(ctx context.Context, id paylink.EventID, outcome paylink.EventOutcome) error {
	return db.change(ctx, func(t *tx) error {
		if err := t.flag(0, paylink.FlagKind(outcome), "first by event "+id.String()); err != nil {
			return err
		}
		return t.closeEvent(id, 0, outcome)
	})
}

func (t *tx) closeEvent(id paylink.EventID, session paylink.SessionID, outcome paylink.EventOutcome) error {
	var of any
	if session != 0 {
		of = int64(session)
	}
	_, err := t.exec(`UPDATE provider_events SET applied_at = $2, outcome = $3, session_id = $4 WHERE id = $1 AND applied_at IS NULL`,
		int64(id), t.now, string(outcome), of)
	return err
}

// flag opens a flag, unless the same one is open. What belongs to no request is flagged once per kind: a neighbour's
// events on the same webhook may be many.
func (t *tx) flag(id paylink.RequestID, kind paylink.FlagKind, detail string) error {
	_, err := t.exec(`INSERT INTO flags (batch_id, request_id, kind, detail, opened_at)
		SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (
			SELECT 1 FROM flags WHERE request_id = $2 AND kind = $3 AND (request_id = 0 OR detail = $4) AND closed_at IS NULL)`,
		int64(id.Batch()), int64(id), string(kind), detail, t.now)
	return err
}

// Flags lists what a person should look at, oldest first: of one batch and of no batch at all, or, with batch 0, of all.
func (db *DB) Flags(ctx context.Context, batch paylink.BatchID, limit int) ([]paylink.Flag, error) {
	var out []paylink.Flag
	err := each(ctx, db.read, `SELECT batch_id, request_id, kind, detail, opened_at FROM flags
		WHERE closed_at IS NULL AND (batch_id = $1 OR batch_id = 0 OR $1 = 0) ORDER BY id LIMIT $2`, []any{int64(batch), limit}, func(r *sql.Rows) error {
		var f paylink.Flag
		var at int64
		err := r.Scan(&f.Batch, &f.Request, &f.Kind, &f.Detail, &at)
		f.At = toTime(at)
		out = append(out, f)
		return err
	})
	return out, err
}
