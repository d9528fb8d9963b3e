package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"dunlin/paylink"
)

// entitySuppression is an entry in the list of addresses that must not be written to.
const entitySuppression = "suppression"

// Suppress keeps an address from being written to by its channel. Messages that are owed to it end when they are
// claimed. An entry that a complaint or a person has made stays as it is.
func (db *DB) Suppress(ctx context.Context, s paylink.Suppression) error {
	if s.Address == "" && s.Hash == "" {
		return fmt.Errorf("suppress: no address: %w", paylink.ErrInvalid)
	}
	err := db.change(ctx, func(t *tx) error {
		if err := t.suppress(s); err != nil || s.Event == 0 {
			return err
		}
		return t.closeReceipt(s.Event, 0, paylink.EventApplied)
	})
	if err != nil {
		return fmt.Errorf("suppress: %w", err)
	}
	return nil
}

// Lift takes an entry back if its payer made it in a way that the sources name; the others stay. It reports whether
// there was one. Reason and Request of s do not matter.
func (db *DB) Lift(ctx context.Context, s paylink.Suppression, sources ...string) (lifted bool, err error) {
	err = db.change(ctx, func(t *tx) error {
		lifted = false
		for _, source := range sources {
			n, err := t.exec(`UPDATE suppressions SET lifted_at = $4 WHERE channel = $1 AND address_hash = $2 AND source = $3
				AND reason = 'opted_out' AND lifted_at IS NULL`, string(s.Channel), s.Key(), source, t.now)
			if err != nil {
				return err
			}
			if n > 0 {
				lifted = true
				t.event(event{entity: entitySuppression, from: string(paylink.SuppressedOptedOut), to: "lifted", why: suppressionName(s) + " " + s.Source})
			}
		}
		if s.Event == 0 {
			return nil
		}
		outcome := paylink.EventNothingNew
		if lifted {
			outcome = paylink.EventApplied
		}
		return t.closeReceipt(s.Event, 0, outcome)
	})
	if err != nil {
		return false, fmt.Errorf("lift a suppression: %w", err)
	}
	return lifted, nil
}

// Suppressions lists the addresses, as hashes, that must not be written to, newest first.
func (db *DB) Suppressions(ctx context.Context, limit int) ([]paylink.Suppression, error) {
	var out []paylink.Suppression
	err := each(ctx, db.read, `SELECT channel, address_hash, reason, source, COALESCE(request_id, 0), created_at FROM suppressions
		WHERE lifted_at IS NULL ORDER BY created_at DESC, channel, address_hash LIMIT $1`, []any{limit}, func(r *sql.Rows) error {
		var s paylink.Suppression
		var at int64
		err := r.Scan(&s.Channel, &s.Hash, &s.Reason, &s.Source, &s.Request, &at)
		s.At = toTime(at)
		out = append(out, s)
		return err
	})
	return out, err
}

func (t *tx) suppress(s paylink.Suppression) error {
	var was paylink.SuppressionReason
	err := t.row(`SELECT reason FROM suppressions WHERE channel = $1 AND address_hash = $2 AND lifted_at IS NULL`, string(s.Channel), s.Key()).Scan(&was)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if (was == paylink.SuppressedManual || was == paylink.SuppressedComplained) && was != s.Reason {
		return nil
	}
	if _, err := t.exec(`INSERT INTO suppressions (channel, address_hash, reason, source, request_id, created_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (channel, address_hash) DO UPDATE SET reason = excluded.reason, source = excluded.source, request_id = excluded.request_id,
			created_at = excluded.created_at, lifted_at = NULL`,
		string(s.Channel), s.Key(), string(s.Reason), s.Source, int64(s.Request), t.now); err != nil {
		return err
	}
	t.event(event{batch: s.Request.Batch(), request: s.Request, entity: entitySuppression, from: string(was), to: string(s.Reason),
		why: suppressionName(s) + " " + s.Source})
	return nil
}

// suppressionName tells entries apart in the record: their key is too long for one and no number.
func suppressionName(s paylink.Suppression) string { return string(s.Channel) + " " + s.Key()[:12] }

// suppressFor keeps the address of a message silent that its provider reported as dead or unwilling.
func (t *tx) suppressFor(m paylink.Message, hash string, f *paylink.Failure) error {
	reason := paylink.SuppressedBounced
	if f.Cause == paylink.CauseOptedOut {
		reason = paylink.SuppressedOptedOut
	}
	return t.suppress(paylink.Suppression{Channel: m.Channel, Hash: hash, Reason: reason, Source: f.Code, Request: m.RequestID})
}

// LiftByHand takes an entry back because a person says so. ErrNotFound: there is none. Who has complained is left in
// peace: ErrConflict.
func (db *DB) LiftByHand(ctx context.Context, ch paylink.Channel, hash, actor, why string) error {
	return db.change(ctx, func(t *tx) error {
		var was string
		err := t.row(`SELECT reason FROM suppressions WHERE channel = $1 AND address_hash = $2 AND lifted_at IS NULL`, string(ch), hash).Scan(&was)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("that address is not on the list: %w", paylink.ErrNotFound)
		}
		if err != nil {
			return err
		}
		if was == string(paylink.SuppressedComplained) {
			return fmt.Errorf("whoever it belongs to has complained: %w", paylink.ErrConflict)
		}
		if err := t.one(`UPDATE suppressions SET lifted_at = $3 WHERE channel = $1 AND address_hash = $2 AND lifted_at IS NULL`, string(ch), hash, t.now); err != nil {
			return err
		}
		s := paylink.Suppression{Channel: ch, Hash: hash}
		t.event(event{entity: entitySuppression, from: was, to: "lifted", actor: actor, why: suppressionName(s) + " " + why})
		return nil
	})
}
