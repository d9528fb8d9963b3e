package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"dunlin/paylink"
)

// classReconcile is how looks at sessions are counted.
const classReconcile = "reconcile"

// When a revealed session is looked at. Who pressed the button is likely to pay within minutes; whose link is in a message
// only may pay at any time. The gaps grow threefold up to a day. Gateways take up to eleven minutes to answer, so the
// looks at a session's end keep a quarter of an hour from it.
const (
	clickGap   = 10 * time.Minute
	quietGap   = 6 * time.Hour
	longestGap = 24 * time.Hour
	aroundEnd  = 15 * time.Minute
	// mostLooks ends the looks at a session whose provider never told an end.
	mostLooks = 40
)

// quietLook is the first look at a session that a message reveals: at the time in $3, or before its end.
const quietLook = `CASE WHEN expires_at - 900000 < $3 THEN expires_at - 900000 ELSE $3 END`

// nextLook is when a session is looked at again that was looked at now; zero = never. was is its state before the look,
// s.State the one after it. looks counts this one.
func nextLook(now time.Time, was paylink.SessionState, s sessionRow, engaged bool, looks int) time.Time {
	begun := s.State == paylink.SessionPending || s.State == paylink.SessionAttempted
	switch {
	case s.State.Live():
	case was.Live(): // a gateway's late answer can still turn this death into a payment
		return now.Add(2 * aroundEnd)
	default:
		return time.Time{}
	}
	gap := quietGap
	if engaged || begun {
		gap = clickGap
	}
	for range min(looks, 10) {
		gap = min(3*gap, longestGap)
	}
	end := s.ExpiresAt
	switch {
	case end.IsZero() && looks >= mostLooks:
		return time.Time{}
	case end.IsZero():
		return now.Add(gap)
	case now.Before(end.Add(-aroundEnd)):
		if next := now.Add(gap); next.Before(end.Add(-aroundEnd)) {
			return next
		}
		return end.Add(-aroundEnd)
	case now.Before(end.Add(aroundEnd)):
		return end.Add(aroundEnd)
	case begun && now.Before(end.Add(longestGap)): // the payer was in the middle of it
		return end.Add(longestGap)
	}
	return time.Time{} // a provider may call it payable for ever
}

const (
	dueLooksQuery = `SELECT id, request_id, COALESCE(provider_id, ''), amount, currency, look_at FROM sessions
		WHERE length(CAST(amount AS TEXT)) = $1 AND look_at <= $2 AND look_at IS NOT NULL
			AND ((request_id >> 32) = $3 OR $3 = 0) ORDER BY look_at LIMIT $4`
	looksBehindQuery = `SELECT count(*), COALESCE(MIN(look_at), 0) FROM sessions
		WHERE length(CAST(amount AS TEXT)) = $1 AND look_at <= $2 AND look_at IS NOT NULL
			AND ((request_id >> 32) = $3 OR $3 = 0)`
)

// mostDigits of an amount there can be.
const mostDigits = 19

// DueLooks lists up to limit sessions that it is time to look at, the largest amounts first (by their number of digits in
// minor units) and of equally large ones those that wait longest; batch 0 = of all batches.
func (db *DB) DueLooks(ctx context.Context, batch paylink.BatchID, limit int) ([]paylink.Look, error) {
	var out []paylink.Look
	for digits := mostDigits; digits > 0 && len(out) < limit; digits-- {
		err := each(ctx, db.read, dueLooksQuery, []any{digits, db.Now().UnixMilli(), int64(batch), limit - len(out)}, func(r *sql.Rows) error {
			var l paylink.Look
			var due int64
			err := r.Scan(&l.Session, &l.Request, &l.ProviderID, &l.Amount.Minor, &l.Amount.Currency, &due)
			l.Due = toTime(due)
			out = append(out, l)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("looks that are due: %w", err)
		}
	}
	return out, nil
}

// LooksBehind counts the looks that are due; batch 0 = of all batches.
func (db *DB) LooksBehind(ctx context.Context, batch paylink.BatchID) (b paylink.LooksBehind, err error) {
	var oldest int64
	for digits := mostDigits; digits > 0; digits-- {
		var n, first int64
		if err := db.read.QueryRowContext(ctx, looksBehindQuery, digits, db.Now().UnixMilli(), int64(batch)).Scan(&n, &first); err != nil {
			return b, fmt.Errorf("count looks that are due: %w", err)
		}
		if b.N += n; n > 0 && (oldest == 0 || first < oldest) {
			oldest = first
		}
	}
	b.Oldest = toTime(oldest)
	return b, nil
}

// ClaimLook claims a look for lease: until then nobody else makes it, and if the claimer dies it is due again.
// ErrConflict means that somebody else has it, or that it is no longer wanted.
func (db *DB) ClaimLook(ctx context.Context, l paylink.Look, lease time.Duration) (paylink.Look, error) {
	c := l // the change may be made more than once
	err := db.change(ctx, func(t *tx) error {
		until := t.now + lease.Milliseconds()
		if err := t.one(`UPDATE sessions SET look_at = $3 WHERE id = $1 AND look_at = $2`, int64(l.Session), l.Due.UnixMilli(), until); err != nil {
			return fmt.Errorf("look at session %s: %w", l.Session, err)
		}
		t.use(providerCheckout, classReconcile)
		c.Due = toTime(until)
		return nil
	})
	return c, err
}

// Looked records what the provider showed, as [DB.AdoptState] does, and plans the next look; seen is nil if the provider
// does not know the session. moved tells whether that was news.
func (db *DB) Looked(ctx context.Context, l paylink.Look, seen *paylink.CheckoutSession) (moved bool, err error) {
	err = db.changeRequest(ctx, l.Request, func(t *tx) error {
		moved = false
		s, err := scanSession(t.row(`SELECT `+sessionColumns+` FROM sessions WHERE id = $1`, int64(l.Session)))
		if err != nil {
			return notFound(err, l.Session)
		}
		was := s.State
		if seen != nil {
			if moved, err = t.adoptSeen(s, *seen); err != nil {
				return err
			}
		}
		if moved {
			s.State = seen.State
		}
		var engaged bool
		if err := t.row(`SELECT engaged_at IS NOT NULL FROM requests WHERE id = $1`, int64(l.Request)).Scan(&engaged); err != nil {
			return err
		}
		looks := 0
		err = t.row(`UPDATE sessions SET looks = looks + 1 WHERE id = $1 AND look_at = $2 RETURNING looks`, int64(l.Session), l.Due.UnixMilli()).Scan(&looks)
		if errors.Is(err, sql.ErrNoRows) { // the payer came back meanwhile, or paid: the plan is another already
			return nil
		}
		if err != nil {
			return err
		}
		var next any
		if at := nextLook(toTime(t.now), was, s, engaged, looks); !at.IsZero() {
			next = at.UnixMilli()
		}
		_, err = t.exec(`UPDATE sessions SET look_at = $2 WHERE id = $1`, int64(l.Session), next)
		return err
	})
	return moved, err
}

// PutOffLook gives a claimed look back: it was not answered, and is due at the given time.
func (db *DB) PutOffLook(ctx context.Context, l paylink.Look, until time.Time) error {
	return db.change(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE sessions SET look_at = $3 WHERE id = $1 AND look_at = $2`, int64(l.Session), l.Due.UnixMilli(), until.UnixMilli())
		return err
	})
}

// lookChunk bounds one transaction of LookAgain.
const lookChunk = 2000

// LookAgain makes a look due at every session by which somebody could have paid since then and that is not known to be
// paid, dead ones too; batch 0 = of all batches. It says how many became due.
func (db *DB) LookAgain(ctx context.Context, batch paylink.BatchID, since time.Time) (n int, err error) {
	for last := int64(0); ; {
		took, highest := 0, last
		err := db.change(ctx, func(t *tx) error {
			took, highest = 0, last
			return t.each(`UPDATE sessions SET look_at = $1 WHERE id IN (
					SELECT id FROM sessions WHERE id > $2 AND revealed_at IS NOT NULL AND provider_id IS NOT NULL
						AND COALESCE(expires_at, $3) >= $3 AND COALESCE(ended_at, $3) >= $3 AND (look_at IS NULL OR look_at > $1)
						AND state NOT IN ('intent', 'ghost', 'authorized', 'paid', 'cod', 'voided', 'refunded')
						AND ((request_id >> 32) = $4 OR $4 = 0)
					ORDER BY id LIMIT $5)
				RETURNING id`, []any{t.now, last, since.UnixMilli(), int64(batch), lookChunk}, func(r *sql.Rows) error {
				var id int64
				err := r.Scan(&id)
				took, highest = took+1, max(highest, id)
				return err
			})
		})
		if err != nil {
			return n, fmt.Errorf("plan looks: %w", err)
		}
		if n, last = n+took, highest; took < lookChunk {
			return n, nil
		}
	}
}
