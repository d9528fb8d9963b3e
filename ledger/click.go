package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"dunlin/paylink"
)

// classClick is how a payer's calls are counted.
const classClick = "click"

// Payer returns what a payer's page shows. It changes nothing (law 10).
func (db *DB) Payer(ctx context.Context, id paylink.RequestID) (v paylink.PayerView, err error) {
	var rs requestScan
	var cs contactScan
	var engaged, viewed, debt int64
	if err := db.read.QueryRowContext(ctx, `SELECT `+requestColumns+`, `+contactColumns+`, r.paid, r.refunded, COALESCE(r.engaged_at, 0),
			COALESCE(r.viewed_at, 0), r.debt_key
		FROM requests r JOIN contacts c ON c.request_id = r.id WHERE r.id = $1`, int64(id)).
		Scan(append(append(rs.targets(), cs.targets()...), &v.Paid, &v.Refunded, &engaged, &viewed, &debt)...); err != nil {
		return v, notFound(err, id)
	}
	if v.Request, err = rs.value(); err != nil {
		return v, err
	}
	if v.Contact, err = cs.value(); err != nil {
		return v, err
	}
	v.EngagedAt, v.ViewedAt = toTime(engaged), toTime(viewed)
	if v.Replaced, err = db.replaced(ctx, v.Request, debt); err != nil {
		return v, err
	}
	err = each(ctx, db.read, `SELECT `+sessionColumns+`, COALESCE(asked_at, 0) FROM sessions WHERE request_id = $1 ORDER BY id`, []any{int64(id)}, func(r *sql.Rows) error {
		var asked int64
		s, err := scanSession(also{r, &asked})
		if err != nil {
			return err
		}
		if s.ProviderID != "" {
			v.Last = &s.Session
		}
		if s.State == paylink.SessionIntent || s.State.Live() {
			v.Live = &paylink.LiveSession{Session: s.Session, Ending: s.ending, Lost: s.lost, Check: s.checkAt, Asked: toTime(asked)}
		}
		return nil
	})
	if err != nil {
		return v, err
	}
	err = each(ctx, db.read, `SELECT kind, amount, currency, ref, at FROM payments WHERE request_id = $1 ORDER BY id`, []any{int64(id)}, func(r *sql.Rows) error {
		var x paylink.Receipt
		var at int64
		err := r.Scan(&x.Kind, &x.Amount.Minor, &x.Amount.Currency, &x.Ref, &at)
		x.At = toTime(at)
		v.Receipts = append(v.Receipts, x)
		return err
	})
	return v, err
}

// also scans one column more than its caller knows of.
type also struct {
	*sql.Rows
	last any
}

func (a also) Scan(targets ...any) error { return a.Rows.Scan(append(targets, a.last)...) }

// ClaimClick claims a request for making the session that its payer has asked for. ErrConflict means that there is one
// already, perhaps in the making, or that nothing is owed. The batch's own state does not matter: who has the link may pay.
func (db *DB) ClaimClick(ctx context.Context, id paylink.RequestID, opt paylink.ClaimOptions) (c paylink.SessionClaim, err error) {
	err = db.changeRequest(ctx, id, func(t *tx) error {
		c = paylink.SessionClaim{}
		var rs requestScan
		var cs contactScan
		var had int64
		if err := t.row(`SELECT `+requestColumns+`, `+contactColumns+`, r.paid - r.refunded FROM requests r JOIN contacts c ON c.request_id = r.id
			WHERE r.id = $1`, int64(id)).Scan(append(append(rs.targets(), cs.targets()...), &had)...); err != nil {
			return notFound(err, id)
		}
		if c.Request, err = rs.value(); err != nil {
			return err
		}
		if c.Contact, err = cs.value(); err != nil {
			return err
		}
		if !c.Request.Payment.Owes() || c.Request.Amount.Minor <= had {
			return fmt.Errorf("request %s is %s: %w", id, c.Request.Payment, paylink.ErrConflict)
		}
		c.Request.Amount.Minor -= had
		if err := t.intent(&c, opt); err != nil {
			return err
		}
		t.use(providerCheckout, classClick)
		return nil
	})
	return c, err
}

// RecordClick records the session that a click made. If dispatch was about to make one, it takes its place and the
// messages are owed.
func (db *DB) RecordClick(ctx context.Context, c paylink.SessionClaim, s paylink.CheckoutSession) (wakes []paylink.Wake, err error) {
	err = db.change(ctx, func(t *tx) error {
		wakes = nil
		if err := t.openSession(c, s); err != nil {
			return err
		}
		var step string
		var payment paylink.PaymentState
		if err := t.row(`SELECT step, payment FROM requests WHERE id = $1`, int64(c.Request.ID)).Scan(&step, &payment); err != nil {
			return err
		}
		switch {
		case step == stepSession:
			wakes, err = t.linked(c)
			return err
		case !payment.Owes():
			return t.unwanted(c.Session)
		}
		return nil
	})
	return wakes, err
}

// FailClick records that the session a payer asked for was not made, for certain. Nothing else follows: the next click
// tries again.
func (db *DB) FailClick(ctx context.Context, c paylink.SessionClaim, f *paylink.Failure) error {
	return db.change(ctx, func(t *tx) error {
		return t.moveIntent(c, paylink.SessionFailed, "click: "+string(f.Cause)+" "+f.Code, `lease_until = NULL, check_at = NULL, ended_at = $4`, t.now)
	})
}

// ClaimReplace claims a live session for its end, so that another can take its place. If the claimer dies, the sweeper
// has it ended.
func (db *DB) ClaimReplace(ctx context.Context, id paylink.SessionID, opt paylink.ClaimOptions) (c paylink.SettleClaim, err error) {
	err = db.change(ctx, func(t *tx) error {
		if err := t.lockOfSession(id); err != nil {
			return err
		}
		s, err := scanSession(t.row(`SELECT `+sessionColumns+` FROM sessions WHERE id = $1`, int64(id)))
		if err != nil {
			return notFound(err, id)
		}
		if !s.State.Live() || s.ending != "" {
			return fmt.Errorf("session %s is %s %s: %w", id, s.State, s.ending, paylink.ErrConflict)
		}
		c = paylink.SettleClaim{Session: s.Session, Mode: paylink.SettleEnding, Ending: "replaced", Checks: s.checks}
		t.use(providerCheckout, classClick)
		return t.one(`UPDATE sessions SET ending = 'replaced', check_at = $2, checks = checks + 1 WHERE id = $1`,
			int64(id), t.now+opt.Lease.Milliseconds()+wakeGrace.Milliseconds())
	})
	return c, err
}

// RevealSession gives a payer the link of a live session: the moment from which the debt is engaged. ErrConflict means
// that the session is not to be paid by any more.
func (db *DB) RevealSession(ctx context.Context, id paylink.SessionID) (url string, err error) {
	err = db.change(ctx, func(t *tx) error {
		if err := t.lockOfSession(id); err != nil {
			return err
		}
		s, err := scanSession(t.row(`SELECT `+sessionColumns+` FROM sessions WHERE id = $1`, int64(id)))
		if err != nil {
			return notFound(err, id)
		}
		var payment paylink.PaymentState
		var engaged sql.NullInt64
		if err := t.row(`SELECT payment, engaged_at FROM requests WHERE id = $1`, int64(s.RequestID)).Scan(&payment, &engaged); err != nil {
			return err
		}
		if !s.State.Live() || s.ending != "" || !payment.Owes() {
			return fmt.Errorf("session %s is not to be paid by: %w", id, paylink.ErrConflict)
		}
		if _, err := t.exec(`UPDATE sessions SET revealed_at = COALESCE(revealed_at, $2), look_at = $3, looks = 0 WHERE id = $1`, int64(id), t.now,
			t.now+clickGap.Milliseconds()); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE requests SET engaged_at = $2 WHERE id = $1`, int64(s.RequestID), t.now); err != nil {
			return err
		}
		if !engaged.Valid {
			t.tally(s.RequestID.Batch(), tallyReach, reachOpened, 1)
		}
		url = s.URL
		t.event(event{batch: s.RequestID.Batch(), request: s.RequestID, entity: entitySession, id: int64(id), from: string(s.State), to: string(s.State),
			actor: "payer", why: "sent on to pay"})
		return nil
	})
	return url, err
}

// ClaimCheck is the right to ask the provider about a session for a payer, once per gap.
func (db *DB) ClaimCheck(ctx context.Context, id paylink.SessionID, gap time.Duration) error {
	return db.change(ctx, func(t *tx) error {
		if err := t.one(`UPDATE sessions SET asked_at = $2 WHERE id = $1 AND COALESCE(asked_at, 0) <= $3`, int64(id), t.now, t.now-gap.Milliseconds()); err != nil {
			return fmt.Errorf("session %s was asked about just now: %w", id, err)
		}
		t.use(providerCheckout, classClick)
		return nil
	})
}

// NotEnded flags a session that the provider would not end although it must be replaced.
func (db *DB) NotEnded(ctx context.Context, s paylink.Session) error {
	return db.change(ctx, func(t *tx) error {
		return t.flag(s.RequestID, paylink.FlagNotEnded, "session "+s.ID.String())
	})
}
