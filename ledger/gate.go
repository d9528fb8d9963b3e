package ledger

import (
	"context"
	"database/sql"
	"time"

	"dunlin/paylink"
)

// Gates lists the gates that are not simply closed.
func (db *DB) Gates(ctx context.Context) ([]paylink.Gate, error) {
	var out []paylink.Gate
	err := each(ctx, db.read, `SELECT provider, state, opened, until, why FROM gates WHERE state <> 'closed' ORDER BY provider`, nil,
		func(r *sql.Rows) error {
			g, err := scanGate(r)
			out = append(out, g)
			return err
		})
	return out, err
}

func scanGate(r interface{ Scan(...any) error }) (g paylink.Gate, err error) {
	var until int64
	err = r.Scan(&g.Provider, &g.State, &g.Opened, &until, &g.Why)
	g.Until = toTime(until)
	return g, err
}

// ChangeGate reads a gate, lets fn decide and writes what it returns, as one step. changed reports whether the state moved.
func (db *DB) ChangeGate(ctx context.Context, provider string, fn func(paylink.Gate) paylink.Gate) (after paylink.Gate, changed bool, err error) {
	err = db.change(ctx, func(t *tx) error {
		// The row must be there to be locked: two that read "none" would each write over the other's decision.
		if _, err := t.exec(`INSERT INTO gates (provider, state, changed_at) VALUES ($1, 'closed', $2) ON CONFLICT (provider) DO NOTHING`,
			provider, t.now); err != nil {
			return err
		}
		g, err := scanGate(t.row(`SELECT provider, state, opened, until, why FROM gates WHERE provider = $1`+t.db.dialect.forUpdate, provider))
		if err != nil {
			return err
		}
		after = fn(g)
		changed = after.State != g.State
		if after == g {
			return nil
		}
		until := int64(0)
		if !after.Until.IsZero() {
			until = after.Until.UnixMilli()
		}
		if _, err := t.exec(`UPDATE gates SET state = $2, opened = $3, until = $4, why = $5, changed_at = $6 WHERE provider = $1`,
			provider, string(after.State), after.Opened, until, after.Why, t.now); err != nil {
			return err
		}
		if changed {
			t.event(event{entity: entityGate, from: string(g.State), to: string(after.State), actor: after.Actor, why: provider + ": " + after.Why})
		}
		return nil
	})
	return after, changed, err
}

// TakeLease makes holder the one who does a periodic job, until ttl from now, unless somebody else is. The jobs are
// harmless if two do them; the lease only spares work.
func (db *DB) TakeLease(ctx context.Context, name, holder string, ttl time.Duration) (mine bool, err error) {
	err = db.change(ctx, func(t *tx) error {
		n, err := t.exec(`INSERT INTO leases (name, holder, until) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE leases.holder = excluded.holder OR leases.until < $4`, name, holder, t.now+ttl.Milliseconds(), t.now)
		mine = n == 1
		return err
	})
	return mine, err
}

// DropLease lets another holder take over at once; for a clean shutdown.
func (db *DB) DropLease(ctx context.Context, name, holder string) error {
	return db.change(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM leases WHERE name = $1 AND holder = $2`, name, holder)
		return err
	})
}

// Used is how many calls were made to a provider on the UTC day of at.
func (db *DB) Used(ctx context.Context, provider string, at time.Time) (n int64, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT COALESCE(SUM(n), 0) FROM usage WHERE provider = $1 AND day = $2`,
		provider, at.UTC().Format(time.DateOnly)).Scan(&n)
	return n, err
}

// SaveTemplates stores the texts that messages are made from, once each, so that an auditor can read next year what a
// payer was sent.
func (db *DB) SaveTemplates(ctx context.Context, texts map[string]string) error {
	return db.change(ctx, func(t *tx) error {
		for hash, text := range texts {
			if _, err := t.exec(`INSERT INTO template_texts (hash, text, created_at) VALUES ($1, $2, $3) ON CONFLICT (hash) DO NOTHING`,
				hash, text, t.now); err != nil {
				return err
			}
		}
		return nil
	})
}
