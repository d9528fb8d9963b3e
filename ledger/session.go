package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"dunlin/paylink"
)

// The day's calls are counted under these names; see [DB.Used].
const (
	providerCheckout = "checkout"
	classDispatch    = "dispatch"
)

// ClaimSession claims a request for making its checkout session: it stores the attempt's order number before anybody
// calls the provider. ErrConflict means that the task is stale or somebody else has it; nothing is to be done then.
func (db *DB) ClaimSession(ctx context.Context, id paylink.RequestID, epoch int64, opt paylink.ClaimOptions) (c paylink.SessionClaim, err error) {
	err = db.change(ctx, func(t *tx) error {
		if err := t.lock(id); err != nil {
			return err
		}
		var rs requestScan
		var cs contactScan
		var state paylink.BatchState
		var step string
		var nextAt, had int64
		targets := append(append(rs.targets(), cs.targets()...), &state, &step, &nextAt, &had)
		if err := t.row(`SELECT `+requestColumns+`, `+contactColumns+`, b.state, r.step, r.next_at, r.paid - r.refunded
			FROM requests r JOIN contacts c ON c.request_id = r.id JOIN batches b ON b.id = $2 WHERE r.id = $1`,
			int64(id), int64(id.Batch())).Scan(targets...); err != nil {
			return notFound(err, id)
		}
		if c.Request, err = rs.value(); err != nil {
			return err
		}
		if c.Contact, err = cs.value(); err != nil {
			return err
		}
		if epoch != c.Request.Epoch || step != stepSession || nextAt > t.now {
			return fmt.Errorf("request %s is not waiting for a session: %w", id, paylink.ErrConflict)
		}
		if !acting(state) {
			return fmt.Errorf("batch %s is %s: %w", id.Batch(), state, paylink.ErrConflict)
		}
		if !c.Request.Payment.Owes() {
			return fmt.Errorf("request %s is %s: %w", id, c.Request.Payment, paylink.ErrConflict)
		}
		c.Request.Amount.Minor -= had
		if err := t.intent(&c, opt); err != nil {
			return err
		}
		t.use(providerCheckout, classDispatch)
		return t.one(`UPDATE requests SET wake_at = NULL WHERE id = $1 AND step = 'session' AND epoch = $2`, int64(id), epoch)
	})
	return c, err
}

// intent stores the order number of an attempt at a session for the amount in the claim.
func (t *tx) intent(c *paylink.SessionClaim, opt paylink.ClaimOptions) error {
	id := c.Request.ID
	if err := t.inSandbox(id.Batch()); err != nil {
		return err
	}
	c.OrderNo = paylink.NewOrderNo(c.Request.Reference)
	lease := t.now + opt.Lease.Milliseconds()
	session, err := t.insert(`
		INSERT INTO sessions (request_id, state, order_no, amount, currency, lease_until, check_at, created_at, cards)
		VALUES ($1, 'intent', $2, $3, $4, $5, $5, $6, $7)`,
		int64(id), c.OrderNo, c.Request.Amount.Minor, c.Request.Amount.Currency, lease, t.now, opt.Cards)
	if err != nil {
		if t.db.dialect.unique(err) {
			return fmt.Errorf("request %s has a session under way: %w", id, paylink.ErrConflict)
		}
		return err
	}
	c.Session, c.Cards = paylink.SessionID(session), opt.Cards
	t.event(event{batch: id.Batch(), request: id, entity: entitySession, id: int64(c.Session), to: string(paylink.SessionIntent)})
	c.Deadline = toTime(lease)
	return nil
}

// moveSession moves a session by compare-and-swap; set is further SQL assignments with arguments from $4 on.
func (t *tx) moveSession(id paylink.SessionID, req paylink.RequestID, from, to paylink.SessionState, why, set string, args ...any) error {
	return t.swapSession(id, req, from, to, why, set, ``, args...)
}

// moveIntent is the maker's move of the session that it claimed. Once the claim was declared lost, only settling moves it.
func (t *tx) moveIntent(c paylink.SessionClaim, to paylink.SessionState, why, set string, args ...any) error {
	if err := t.lock(c.Request.ID); err != nil {
		return err
	}
	return t.swapSession(c.Session, c.Request.ID, paylink.SessionIntent, to, why, set, ` AND NOT lost`, args...)
}

func (t *tx) swapSession(id paylink.SessionID, req paylink.RequestID, from, to paylink.SessionState, why, set, only string, args ...any) error {
	if err := paylink.SessionMachine.Check(from, to); err != nil {
		return err
	}
	if set != "" {
		set = ", " + set
	}
	if err := t.one(`UPDATE sessions SET state = $3`+set+` WHERE id = $1 AND state = $2`+only,
		append([]any{int64(id), string(from), string(to)}, args...)...); err != nil {
		return fmt.Errorf("session %s: %w", id, err)
	}
	t.event(event{batch: req.Batch(), request: req, entity: entitySession, id: int64(id), from: string(from), to: string(to), why: why})
	return nil
}

// RecordSession records the session that the provider made, and gives birth to the request's messages: the first
// channel of each route that has an address. It returns their wakes. ErrConflict means that the claim's lease ran out
// meanwhile and the order number is already being expired: the session is not to be used.
func (db *DB) RecordSession(ctx context.Context, c paylink.SessionClaim, s paylink.CheckoutSession) (wakes []paylink.Wake, err error) {
	err = db.change(ctx, func(t *tx) error {
		if err := t.openSession(c, s); err != nil {
			return err
		}
		wakes, err = t.linked(c)
		return err
	})
	return wakes, err
}

// openSession records what the provider made of the maker's claim.
func (t *tx) openSession(c paylink.SessionClaim, s paylink.CheckoutSession) error {
	var expires any
	if !s.ExpiresAt.IsZero() {
		expires = s.ExpiresAt.UnixMilli()
	}
	return t.moveIntent(c, paylink.SessionOpen, "",
		`provider_id = $4, url = $5, expires_at = $6, raw_state = $7, lease_until = NULL,
			check_at = CASE WHEN ending = '' THEN NULL ELSE CAST($8 AS BIGINT) END`, // amended while it was made
		s.ProviderID, s.URL, expires, s.RawState, t.now)
}

// linked goes on with a request that has its session.
func (t *tx) linked(c paylink.SessionClaim) ([]paylink.Wake, error) {
	id := c.Request.ID
	owing, err := t.exec(`UPDATE requests SET step = 'messages', wake_at = NULL, tries = 0, cause = '', code = ''
		WHERE id = $1 AND payment IN ('unpaid', 'partially_paid')`, int64(id))
	if err != nil {
		return nil, err
	}
	if owing == 0 { // called off or paid while the provider was busy
		if err := t.unwanted(c.Session); err != nil {
			return nil, err
		}
		return nil, t.setStep(id, stepNone)
	}
	wakes, err := t.oweMessages(c.Request, c.Contact, c.Park)
	if err != nil || len(wakes) > 0 {
		return wakes, err // with a message owed it is in flight, as it was
	}
	return nil, t.settle(id, "", "", false)
}

// unwanted asks for the end of a session that nobody is to pay by.
func (t *tx) unwanted(id paylink.SessionID) error {
	_, err := t.exec(`UPDATE sessions SET ending = 'canceled', check_at = $2 WHERE id = $1`, int64(id), t.now)
	return err
}

func (t *tx) setStep(id paylink.RequestID, step string) error {
	if _, err := t.exec(`UPDATE requests SET step = $2, wake_at = NULL WHERE id = $1`, int64(id), step); err != nil {
		return err
	}
	return t.settle(id, "", "", false)
}

// FailSession records that no session was made, for certain: a temporary failure is tried again at retryAt, a permanent
// one ends the row. countTry spends one of the row's retries.
func (db *DB) FailSession(ctx context.Context, c paylink.SessionClaim, f *paylink.Failure, retryAt time.Time, countTry bool) error {
	return db.change(ctx, func(t *tx) error {
		if err := t.moveIntent(c, paylink.SessionFailed, strings.TrimSpace(string(f.Cause)+" "+f.Code),
			`lease_until = NULL, check_at = NULL, ended_at = $4`, t.now); err != nil {
			return err
		}
		id := int64(c.Request.ID)
		if f.Kind == paylink.Permanent {
			if _, err := t.exec(`UPDATE requests SET step = 'refused', wake_at = NULL, cause = $2, code = $3 WHERE id = $1 AND step = 'session'`,
				id, string(f.Cause), f.Code); err != nil {
				return err
			}
			// What was born before the last session died has no link to carry any more.
			if err := t.endOwed(c.Request.ID, paylink.MessageFailed, f.Cause); err != nil {
				return err
			}
			return t.settle(c.Request.ID, "", "", false)
		}
		try := 0
		if countTry {
			try = 1
		}
		at := retryAt.UnixMilli()
		_, err := t.exec(`UPDATE requests SET next_at = $2, wake_at = $3, tries = tries + $4 WHERE id = $1 AND step = 'session'`,
			id, at, at+wakeGrace.Milliseconds(), try)
		return err
	})
}

// LoseSession records that the answer to a create was lost. The returned wake settles the order number.
func (db *DB) LoseSession(ctx context.Context, c paylink.SessionClaim) (w paylink.Wake, err error) {
	err = db.change(ctx, func(t *tx) error {
		if err := t.lock(c.Request.ID); err != nil {
			return err
		}
		w, err = t.loseSession(c.Session, c.Request.ID, "answer lost")
		return err
	})
	return w, err
}

func (t *tx) loseSession(id paylink.SessionID, req paylink.RequestID, why string) (paylink.Wake, error) {
	at := t.now + wakeGrace.Milliseconds()
	if err := t.one(`UPDATE sessions SET lost = TRUE, lease_until = NULL, check_at = $2, checks = 0 WHERE id = $1 AND state = 'intent' AND NOT lost`,
		int64(id), at); err != nil {
		return paylink.Wake{}, fmt.Errorf("session %s: %w", id, err)
	}
	t.event(event{batch: req.Batch(), request: req, entity: entitySession, id: int64(id), from: string(paylink.SessionIntent), to: string(paylink.SessionIntent), why: why})
	if _, err := t.exec(`UPDATE requests SET step = 'lost', wake_at = NULL WHERE id = $1 AND step = 'session'`, int64(req)); err != nil {
		return paylink.Wake{}, err
	}
	return paylink.Wake{Task: paylink.TaskSettle, ID: int64(id), Epoch: at}, t.settle(req, "", why, false)
}

// ClaimSettle claims a session that must be settled. epoch is the planned time that the wake carried.
func (db *DB) ClaimSettle(ctx context.Context, id paylink.SessionID, epoch int64, opt paylink.ClaimOptions) (c paylink.SettleClaim, err error) {
	err = db.change(ctx, func(t *tx) error {
		c = paylink.SettleClaim{}
		if err := t.lockOfSession(id); err != nil {
			return err
		}
		s, err := scanSession(t.row(`SELECT `+sessionColumns+` FROM sessions WHERE id = $1`, int64(id)))
		if err != nil {
			return notFound(err, id)
		}
		if s.checkAt != epoch || epoch == 0 {
			return fmt.Errorf("session %s is not to be settled now: %w", id, paylink.ErrConflict)
		}
		switch {
		case s.lost && s.State == paylink.SessionIntent:
			c.Mode = paylink.SettleLost
		case s.State == paylink.SessionGhost:
			c.Mode = paylink.SettleGhost
		case s.ending == endingAmended:
			if err := t.claimAmend(&c, s, opt); err != nil {
				return err
			}
		case s.ending != "":
			c.Mode, c.Ending = paylink.SettleEnding, s.ending
		default:
			return fmt.Errorf("session %s needs no settling: %w", id, paylink.ErrConflict)
		}
		c.Session, c.Checks = s.Session, s.checks
		t.use(providerCheckout, "amend")
		c.Check = t.now + opt.Lease.Milliseconds() + wakeGrace.Milliseconds()
		return t.one(`UPDATE sessions SET check_at = $3, checks = checks + 1 WHERE id = $1 AND check_at = $2`, int64(id), epoch, c.Check)
	})
	return c, err
}

// ghostDelays are when a ghost's order number is expired again after the first time; the last look is at the end of the
// life that its create asked for.
var ghostDelays = []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute}

// Settled records how settling went. ended says that the provider confirmed the session's end (or showed a dead state);
// absent says that it refused with the 400 that means "absent or not allowed", which for a lost create proves nothing.
// Neither means: try again at retryAt. life is how long a create's session may live.
func (db *DB) Settled(ctx context.Context, c paylink.SettleClaim, ended, absent bool, retryAt time.Time, life time.Duration) (wakes []paylink.Wake, err error) {
	err = db.change(ctx, func(t *tx) error {
		wakes = nil
		s, req := c.Session, c.Session.RequestID
		if err := t.lock(req); err != nil {
			return err
		}
		if err := t.dropLease(c); err != nil {
			return err
		}
		switch {
		case !ended && absent && (c.Mode == paylink.SettleEnding || c.Mode == paylink.SettleAmend):
			over, err := t.missing(c, retryAt, life)
			if err != nil || !over {
				return err
			}
		case !ended && !absent:
			unspent := 0
			if c.Mode == paylink.SettleGhost { // its looks are few, and nobody answered this one
				unspent = 1
			}
			return t.one(`UPDATE sessions SET check_at = $2, checks = checks - $3 WHERE id = $1 AND check_at IS NOT NULL`,
				int64(s.ID), retryAt.UnixMilli(), unspent)
		case c.Mode == paylink.SettleLost:
			var next any
			if absent {
				next = t.now + ghostDelays[0].Milliseconds()
			}
			to, why := paylink.SessionGhost, "its order number is unknown to the provider; it may yet land"
			if ended {
				to, why = paylink.SessionExpired, "ended before anybody saw it"
			}
			if err := t.moveSession(s.ID, req, paylink.SessionIntent, to, why, `check_at = $4, checks = 0, ended_at = $5, ending = ''`, next, t.now); err != nil {
				return err
			}
			w, err := t.oweSession(req, stepLost)
			if w.ID != 0 {
				wakes = append(wakes, w)
			}
			return err
		case c.Mode == paylink.SettleGhost:
			var next any
			born := t.now // the create was stored shortly before; its life is counted from the row
			if err := t.row(`SELECT created_at FROM sessions WHERE id = $1`, int64(s.ID)).Scan(&born); err != nil {
				return err
			}
			end := born + life.Milliseconds()
			switch {
			case ended || t.now >= end:
			case c.Checks+1 < len(ghostDelays):
				next = t.now + ghostDelays[c.Checks+1].Milliseconds()
			default:
				next = end
			}
			if ended {
				t.event(event{batch: req.Batch(), request: req, entity: entitySession, id: int64(s.ID), from: string(s.State), to: string(s.State), why: "landed late and was ended"})
			}
			_, err := t.exec(`UPDATE sessions SET check_at = $2 WHERE id = $1`, int64(s.ID), next)
			return err
		}
		return t.endSession(c, &wakes)
	})
	return wakes, err
}

// endSession is the good end of an ending: the old session is dead at the provider, the next may take its place.
func (t *tx) endSession(c paylink.SettleClaim, wakes *[]paylink.Wake) error {
	s, req := c.Session, c.Session.RequestID
	// The claimer may have adopted another state meanwhile: paid, or dead by itself. Why it is ended may have changed, too.
	var ending string
	if err := t.row(`SELECT state, ending FROM sessions WHERE id = $1`, int64(s.ID)).Scan(&s.State, &ending); err != nil {
		return err
	}
	if ending == "" {
		ending = c.Ending
	}
	to := paylink.SessionSuperseded
	if ending == endingCanceled {
		to = paylink.SessionCanceled
	}
	if s.State.Live() {
		if err := t.moveSession(s.ID, req, s.State, to, ending, `check_at = NULL, ending = '', ended_at = $4`, t.now); err != nil {
			return err
		}
	} else if _, err := t.exec(`UPDATE sessions SET check_at = NULL, ending = '' WHERE id = $1`, int64(s.ID)); err != nil {
		return err
	}
	switch ending {
	case endingRenewed:
		w, err := t.oweSession(req, stepMessages)
		if w.ID != 0 {
			*wakes = append(*wakes, w)
		}
		return err
	case endingAmended: // what waited for the new amount asks for a new session
		w, err := t.wakeOwed(req)
		*wakes = append(*wakes, w...)
		return err
	}
	return nil
}

// oweSession makes a request owe its next session, if it still owes money at all.
func (t *tx) oweSession(id paylink.RequestID, fromStep string) (w paylink.Wake, err error) {
	var payment paylink.PaymentState
	if err := t.row(`SELECT payment FROM requests WHERE id = $1`, int64(id)).Scan(&payment); err != nil {
		return w, err
	}
	if !payment.Owes() {
		return w, t.setStep(id, stepNone)
	}
	err = t.row(`UPDATE requests SET step = 'session', epoch = epoch + 1, next_at = $3, wake_at = $4 WHERE id = $1 AND step = $2 RETURNING epoch`,
		int64(id), fromStep, t.now, t.now+wakeGrace.Milliseconds()).Scan(&w.Epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return paylink.Wake{}, nil
	}
	if err != nil {
		return w, err
	}
	w.Task, w.ID = paylink.TaskCreate, int64(id)
	return w, t.settle(id, "", "", false)
}

// AdoptState records what the provider showed of a session, moving it only where the machine allows. Money on it is
// recorded and, where it does not belong, flagged. A session whose create is under way or lost is moved by money only:
// its maker or its settling says what became of it otherwise, and what the request owes next.
func (db *DB) AdoptState(ctx context.Context, id paylink.SessionID, seen paylink.CheckoutSession) error {
	return db.change(ctx, func(t *tx) error {
		if err := t.lockOfSession(id); err != nil {
			return err
		}
		s, err := scanSession(t.row(`SELECT `+sessionColumns+` FROM sessions WHERE id = $1`, int64(id)))
		if err != nil {
			return notFound(err, id)
		}
		_, err = t.adoptSeen(s, seen)
		return err
	})
}

// adoptSeen is AdoptState for a session whose request is locked.
func (t *tx) adoptSeen(s sessionRow, seen paylink.CheckoutSession) (moved bool, err error) {
	moved, err = t.adoptState(s, seen.State, seen.RawState, "retrieved: ")
	if err != nil || !moved || !seen.State.Settled() {
		return moved, err
	}
	return true, t.retrievedMoney(s, seen)
}

// adoptState moves a session to what the provider says of it, if the machine allows that.
func (t *tx) adoptState(s sessionRow, to paylink.SessionState, word, source string) (moved bool, err error) {
	if to == s.State || !paylink.SessionMachine.Can(s.State, to) {
		return false, nil
	}
	set := `raw_state = $4`
	switch {
	case to.Settled(): // nothing is left to end
		set += `, check_at = NULL, look_at = NULL, ending = '', lost = FALSE, lease_until = NULL`
	case s.State == paylink.SessionIntent:
		return false, nil
	}
	if err := t.moveSession(s.ID, s.RequestID, s.State, to, strings.TrimSpace(source+word), set, word); err != nil {
		return false, err
	}
	if to.Settled() && s.lost {
		_, err = t.exec(`UPDATE requests SET step = 'none' WHERE id = $1 AND step = 'lost'`, int64(s.RequestID))
	}
	return true, err
}

// dropOwed cancels messages that are no longer wanted, and settles the request.
func (t *tx) dropOwed(id paylink.RequestID, cause paylink.Cause) error {
	if err := t.endOwed(id, paylink.MessageCanceled, cause); err != nil {
		return err
	}
	if _, err := t.exec(`UPDATE requests SET step = 'none', wake_at = NULL WHERE id = $1 AND step = 'session'`, int64(id)); err != nil {
		return err
	}
	return t.settle(id, "", string(cause), false)
}

// endOwed moves every message that asks for the debt, is owed and not claimed. A receipt asks for nothing and stays owed.
func (t *tx) endOwed(id paylink.RequestID, to paylink.MessageState, cause paylink.Cause) error {
	var ids []int64
	err := t.each(`SELECT id FROM messages WHERE request_id = $1 AND state = 'owed' AND purpose <> 'receipt'`, []any{int64(id)}, func(r *sql.Rows) error {
		var m int64
		err := r.Scan(&m)
		ids = append(ids, m)
		return err
	})
	if err != nil {
		return err
	}
	for _, m := range ids {
		if err := t.moveMessage(paylink.MessageID(m), id, paylink.MessageOwed, to, string(cause),
			`wake_at = NULL, cause = $5`, string(cause)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) use(provider, class string) {
	if t.notes.usage == nil {
		t.notes.usage = map[usageKey]int64{}
	}
	t.notes.usage[usageKey{provider, time.UnixMilli(t.now).UTC().Format(time.DateOnly), class}]++
}
