package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"dunlin/paylink"
)

// ReconcileReport is what a person must know of money that did not come the usual way.
type ReconcileReport struct {
	// Silent is money that was found by looking, of which no webhook has told.
	Silent []FoundMoney `json:"paid_without_webhook"`
	// Unplaced are signed events for which there is no row, or that wait to be applied.
	Unplaced []UnplacedEvent `json:"webhook_without_row"`
	Differs  []FlaggedRow    `json:"amount_differs"`
	Twice    []FlaggedRow    `json:"paid_twice"`
	// Unasked are the sessions that it is time to look at, the largest first.
	Unasked []UnaskedRow `json:"not_asked"`
}

// RowName names a request to a person.
type RowName struct {
	Request   paylink.RequestID `json:"request,omitempty"`
	Reference string            `json:"reference,omitempty"`
}

// FoundMoney is money on a session.
type FoundMoney struct {
	RowName
	Session paylink.SessionID `json:"session"`
	Kind    string            `json:"kind"` // settled or authorized
	Amount  paylink.Money     `json:"amount"`
	At      time.Time         `json:"at"` // when it was found
}

// UnplacedEvent is an event as it was stored. Outcome is empty while it waits to be applied.
type UnplacedEvent struct {
	Event   paylink.EventID      `json:"event"`
	Outcome paylink.EventOutcome `json:"outcome"`
	At      time.Time            `json:"at"`
	RowName
	Raw []byte `json:"-"`
}

// FlaggedRow is a request with an open flag.
type FlaggedRow struct {
	RowName
	Kind   paylink.FlagKind `json:"kind"`
	Detail string           `json:"detail"`
	At     time.Time        `json:"at"`
}

// UnaskedRow is a session that the provider could not be asked about yet.
type UnaskedRow struct {
	RowName
	Session paylink.SessionID `json:"session"`
	Amount  paylink.Money     `json:"amount"`
	Due     time.Time         `json:"due"`
}

const (
	foundQuery = `SELECT p.request_id, r.reference, p.session_id, p.kind, p.amount, p.currency, p.at
		FROM payments p JOIN requests r ON r.id = p.request_id
		WHERE p.source = 'retrieve' AND p.at >= $1 AND ((p.request_id >> 32) = $2 OR $2 = 0) ORDER BY p.at`
	oddEventsQuery = `SELECT e.id, e.outcome, e.received_at, e.raw, COALESCE(s.request_id, 0), COALESCE(r.reference, '')
		FROM provider_events e LEFT JOIN sessions s ON s.id = e.session_id LEFT JOIN requests r ON r.id = s.request_id
		WHERE e.provider = $1 AND e.received_at >= $2
			AND (e.outcome = 'unknown_order' OR e.outcome = 'session_differs' OR e.outcome = 'unreadable' OR e.outcome = 'unsupported')
			AND (COALESCE(s.request_id >> 32, $3) = $3 OR $3 = 0) ORDER BY e.id`
)

// Reconciled reports on money and events since then; batch 0 = of all batches. Events that belong to no request are told
// of whatever the batch. provider names whose events are meant.
func (db *DB) Reconciled(ctx context.Context, provider string, batch paylink.BatchID, since time.Time) (rep ReconcileReport, err error) {
	rep = ReconcileReport{Silent: []FoundMoney{}, Unplaced: []UnplacedEvent{}, Differs: []FlaggedRow{}, Twice: []FlaggedRow{}, Unasked: []UnaskedRow{}}
	for _, read := range []func(context.Context, *ReconcileReport, string, paylink.BatchID, time.Time) error{db.found, db.unplaced, db.flagged, db.unasked} {
		if err := read(ctx, &rep, provider, batch, since); err != nil {
			return rep, fmt.Errorf("report on payments: %w", err)
		}
	}
	return rep, nil
}

func (db *DB) found(ctx context.Context, rep *ReconcileReport, _ string, batch paylink.BatchID, since time.Time) error {
	return each(ctx, db.read, foundQuery, []any{since.UnixMilli(), int64(batch)}, func(r *sql.Rows) error {
		var m FoundMoney
		var at int64
		err := r.Scan(&m.Request, &m.Reference, &m.Session, &m.Kind, &m.Amount.Minor, &m.Amount.Currency, &at)
		m.At = toTime(at)
		rep.Silent = append(rep.Silent, m)
		return err
	})
}

func (db *DB) unplaced(ctx context.Context, rep *ReconcileReport, provider string, batch paylink.BatchID, since time.Time) error {
	err := each(ctx, db.read, oddEventsQuery, []any{provider, since.UnixMilli(), int64(batch)}, func(r *sql.Rows) error {
		var e UnplacedEvent
		var at int64
		err := r.Scan(&e.Event, &e.Outcome, &at, &e.Raw, &e.Request, &e.Reference)
		e.At = toTime(at)
		rep.Unplaced = append(rep.Unplaced, e)
		return err
	})
	if err != nil {
		return err
	}
	waiting, err := db.UnappliedEvents(ctx, provider, 0, math.MaxInt32)
	for _, e := range waiting {
		rep.Unplaced = append(rep.Unplaced, UnplacedEvent{Event: e.ID, At: e.ReceivedAt, Raw: e.Raw})
	}
	return err
}

func (db *DB) flagged(ctx context.Context, rep *ReconcileReport, _ string, batch paylink.BatchID, since time.Time) error {
	return each(ctx, db.read, `SELECT f.request_id, r.reference, f.kind, f.detail, f.opened_at FROM flags f JOIN requests r ON r.id = f.request_id
		WHERE f.closed_at IS NULL AND f.kind IN ($1, $2, $3) AND f.opened_at >= $4 AND (f.batch_id = $5 OR $5 = 0) ORDER BY f.id`,
		[]any{string(paylink.FlagTwice), string(paylink.FlagAmount), string(paylink.FlagCurrency), since.UnixMilli(), int64(batch)},
		func(r *sql.Rows) error {
			var f FlaggedRow
			var at int64
			err := r.Scan(&f.Request, &f.Reference, &f.Kind, &f.Detail, &at)
			f.At = toTime(at)
			if f.Kind == paylink.FlagTwice {
				rep.Twice = append(rep.Twice, f)
			} else {
				rep.Differs = append(rep.Differs, f)
			}
			return err
		})
}

func (db *DB) unasked(ctx context.Context, rep *ReconcileReport, _ string, batch paylink.BatchID, _ time.Time) error {
	return each(ctx, db.read, `SELECT s.request_id, r.reference, s.id, s.amount, s.currency, s.look_at
		FROM sessions s JOIN requests r ON r.id = s.request_id
		WHERE s.look_at <= $1 AND s.look_at IS NOT NULL AND ((s.request_id >> 32) = $2 OR $2 = 0)
		ORDER BY length(CAST(s.amount AS TEXT)) DESC, s.look_at`, []any{db.Now().UnixMilli(), int64(batch)}, func(r *sql.Rows) error {
		var u UnaskedRow
		var due int64
		err := r.Scan(&u.Request, &u.Reference, &u.Session, &u.Amount.Minor, &u.Amount.Currency, &due)
		u.Due = toTime(due)
		rep.Unasked = append(rep.Unasked, u)
		return err
	})
}
