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

// commandChunk rows are changed in one transaction by commands over a whole batch, so that no lock is held for long.
const commandChunk = 2000

// CancelBatch calls a batch off: nothing more is fed or sent, debts are no longer asked for, and sessions that may be
// payable are ended at the provider by the workers. Canceling again goes on where a killed cancel stopped.
func (db *DB) CancelBatch(ctx context.Context, id paylink.BatchID, actor, why string) error {
	err := db.change(ctx, func(t *tx) error {
		state, err := t.lockBatch(id)
		if err != nil || state == paylink.BatchCanceled {
			return err
		}
		return t.moveBatch(id, state, paylink.BatchCanceled, actor, why)
	})
	if err != nil {
		return fmt.Errorf("cancel %s: %w", id, err)
	}
	if err := db.cancelPending(ctx, id, actor, why); err != nil {
		return fmt.Errorf("cancel %s: %w", id, err)
	}
	if err := db.wakeReceipts(ctx, id); err != nil {
		return fmt.Errorf("cancel %s: %w", id, err)
	}
	_, err = db.eachRequest(ctx, id, `payment IN ('unpaid', 'partially_paid')`, func(t *tx, r paylink.RequestID) (bool, error) {
		_, err := t.cancelRequest(r, actor, why)
		if errors.Is(err, errMoved) { // paid, or canceled by somebody else, since the page was read
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		err = fmt.Errorf("cancel %s: %w", id, err)
	}
	return err
}

// cancelPending moves runs of pending rows at once.
func (db *DB) cancelPending(ctx context.Context, id paylink.BatchID, actor, why string) error {
	lo, hi := batchRange(id)
	for {
		var moved int64
		var first, last sql.NullInt64
		err := db.change(ctx, func(t *tx) error {
			if err := t.row(`SELECT MIN(id), MAX(id) FROM (SELECT id FROM requests WHERE id BETWEEN $1 AND $2 AND dispatch = 'pending'
				AND payment = 'unpaid' ORDER BY id LIMIT $3) p`, lo, hi, commandChunk).Scan(&first, &last); err != nil || !first.Valid {
				return err
			}
			var err error
			moved, err = t.exec(`UPDATE requests SET dispatch = 'canceled', payment = 'canceled', canceled_at = $3, cause = 'canceled', updated_at = $3
				WHERE id BETWEEN $1 AND $2 AND dispatch = 'pending' AND payment = 'unpaid'`, first.Int64, last.Int64, t.now)
			if err != nil {
				return err
			}
			t.tally(id, tallyDispatch, string(paylink.DispatchPending), -moved)
			t.tally(id, tallyDispatch, string(paylink.DispatchCanceled), moved)
			t.tally(id, tallyPayment, string(paylink.PaymentUnpaid), -moved)
			t.tally(id, tallyPayment, string(paylink.PaymentCanceled), moved)
			e := event{batch: id, entity: entityRows, from: string(paylink.DispatchPending), to: string(paylink.DispatchCanceled), actor: actor, why: why,
				firstRow: int(first.Int64 & 0xffffffff), lastRow: int(last.Int64 & 0xffffffff), n: moved}
			t.event(e)
			e.entity, e.from, e.to = entityRowsPayment, string(paylink.PaymentUnpaid), string(paylink.PaymentCanceled)
			t.event(e)
			return nil
		})
		if err != nil || !first.Valid {
			return err
		}
		lo = last.Int64 + 1
	}
}

// entityRowsPayment covers a run of rows whose payment column moved together.
const entityRowsPayment = "rows_payment"

// eachRequest walks the requests of a batch that fit a constant condition, by key pages, each page in one transaction,
// and says of how many fn returned true.
func (db *DB) eachRequest(ctx context.Context, id paylink.BatchID, where string, fn func(*tx, paylink.RequestID) (bool, error)) (n int, err error) {
	lo, hi := batchRange(id)
	for after := lo - 1; ; {
		var page []paylink.RequestID
		var did int
		err := db.change(ctx, func(t *tx) error {
			page, did = nil, 0
			err := t.each(`SELECT id FROM requests WHERE id > $1 AND id <= $2 AND `+where+` ORDER BY id LIMIT 200`, []any{after, hi}, func(r *sql.Rows) error {
				var rid paylink.RequestID
				err := r.Scan(&rid)
				page = append(page, rid)
				return err
			})
			if err != nil {
				return err
			}
			for _, rid := range page {
				ok, err := fn(t, rid)
				if err != nil {
					return err
				}
				if ok {
					did++
				}
			}
			return nil
		})
		if err != nil || len(page) == 0 {
			return n, err
		}
		n += did
		after = int64(page[len(page)-1])
	}
}

// CancelRequest calls one request off: what is owed is dropped, its session is ended at the provider. The wakes do that
// now rather than at the next sweep.
func (db *DB) CancelRequest(ctx context.Context, id paylink.RequestID, actor, why string) (wakes []paylink.Wake, err error) {
	err = db.change(ctx, func(t *tx) error {
		wakes, err = t.cancelRequest(id, actor, why)
		return err
	})
	return wakes, err
}

func (t *tx) cancelRequest(id paylink.RequestID, actor, why string) ([]paylink.Wake, error) {
	var payment paylink.PaymentState
	var dispatch paylink.DispatchState
	if err := t.row(`SELECT payment, dispatch FROM requests WHERE id = $1`+t.db.dialect.forUpdate, int64(id)).Scan(&payment, &dispatch); err != nil {
		return nil, notFound(err, id)
	}
	if !paylink.PaymentMachine.CanByCommand(payment, paylink.PaymentCanceled) {
		return nil, fmt.Errorf("request %s is %s: %w", id, payment, errMoved)
	}
	if err := t.movePayment(id, payment, paylink.PaymentCanceled, actor, why, true); err != nil {
		return nil, err
	}
	if _, err := t.exec(`UPDATE requests SET canceled_at = $2, wake_at = NULL, step = CASE WHEN step IN ('session', 'messages', 'restored') THEN 'none' ELSE step END WHERE id = $1`,
		int64(id), t.now); err != nil {
		return nil, err
	}
	if dispatch == paylink.DispatchPending {
		if err := t.moveDispatch(id, dispatch, paylink.DispatchCanceled, string(paylink.CauseCanceled), "", actor, why, true); err != nil {
			return nil, err
		}
	}
	wakes, err := t.endSessionOf(id, "canceled")
	if err != nil {
		return nil, err
	}
	return wakes, t.dropOwed(id, paylink.CauseCanceled)
}

// errMoved is the ErrConflict of a request that is no longer in a state that the command is for.
var errMoved = fmt.Errorf("nothing to do: %w", paylink.ErrConflict)

// A session that the provider says it does not have may be asked about wrongly: a person is told after a day, and asked
// for once a day from then on, until even a session that was hidden from us would have been dead for a week.
const (
	missingFlag = 24 * time.Hour
	missingEnd  = 7 * 24 * time.Hour
)

// missing plans the next look at a session to be ended that the provider does not have; over says that there is none.
func (t *tx) missing(c paylink.SettleClaim, retryAt time.Time, life time.Duration) (over bool, err error) {
	id := int64(c.Session.ID)
	var since, created, end int64
	if err := t.row(`SELECT COALESCE(missing_since, $2), created_at, COALESCE(expires_at, 0) FROM sessions WHERE id = $1`, id, t.now).
		Scan(&since, &created, &end); err != nil {
		return false, err
	}
	if end == 0 {
		end = created + life.Milliseconds()
	}
	if t.now > end+missingEnd.Milliseconds() {
		return true, nil
	}
	at := retryAt.UnixMilli()
	if t.now-since >= missingFlag.Milliseconds() {
		at = t.now + missingFlag.Milliseconds()
		if err := t.flag(c.Session.RequestID, paylink.FlagNotEnded, "session "+c.Session.ID.String()); err != nil {
			return false, err
		}
	}
	return false, t.one(`UPDATE sessions SET missing_since = $2, check_at = $3 WHERE id = $1 AND check_at IS NOT NULL`, id, since, at)
}

// endSessionOf asks for the end of a request's live session at the provider.
func (t *tx) endSessionOf(id paylink.RequestID, ending string) ([]paylink.Wake, error) {
	var session int64
	err := t.row(`UPDATE sessions SET ending = $2, check_at = $3 WHERE request_id = $1 AND state IN ('open', 'pending', 'attempted') RETURNING id`,
		int64(id), ending, t.now).Scan(&session)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []paylink.Wake{{Task: paylink.TaskSettle, ID: session, Epoch: t.now}}, nil
}

// Retry owes the failed rows of a batch again, all of them or those of one cause, and says how many. Rows that are no
// longer owed, and unknown ones, are left alone, but for those that a restored backup left so, with their cause. The batch
// runs again, unless it stands still.
func (db *DB) Retry(ctx context.Context, id paylink.BatchID, cause paylink.Cause, actor, why string) (n int, err error) {
	state, err := db.Batch(ctx, id)
	if err != nil {
		return 0, err
	}
	if !hasRun(state.State) {
		return 0, fmt.Errorf("batch %s is %s: %w", id, state.State, paylink.ErrConflict)
	}
	return db.eachRequest(ctx, id, `(dispatch = 'failed' OR (dispatch = 'unknown' AND cause = 'restored')) AND payment IN ('unpaid', 'partially_paid')`, func(t *tx, r paylink.RequestID) (bool, error) {
		var c string
		if err := t.row(`SELECT cause FROM requests WHERE id = $1`, int64(r)).Scan(&c); err != nil {
			return false, err
		}
		if (cause != "" && c != string(cause)) || (cause == "" && c == string(paylink.CauseRestored)) {
			return false, nil // what may have been sent already is sent again only by name
		}
		again := t.again
		if c == string(paylink.CauseRestored) {
			again = t.againRestored
		}
		wakes, err := again(r, "", actor, strings.TrimSpace("retry "+why))
		if err != nil || len(wakes) == 0 {
			return false, err
		}
		// There may be too many for the queue: the sweeper brings them, from now on.
		if _, err := t.exec(`UPDATE requests SET wake_at = $2 WHERE id = $1 AND step = 'session'`, int64(r), t.now); err != nil {
			return false, err
		}
		_, err = t.exec(`UPDATE messages SET wake_at = $2 WHERE request_id = $1 AND state = 'owed'`, int64(r), t.now)
		return true, err
	})
}

// hasRun reports whether a batch in this state may owe its messages anew.
func hasRun(s paylink.BatchState) bool {
	switch s {
	case paylink.BatchRunning, paylink.BatchPaused, paylink.BatchHalted, paylink.BatchHeld, paylink.BatchDone:
		return true
	}
	return false
}

// wakeDone sets a done batch running again because something of it is owed anew; in the same transaction, or the batch
// would be found done again before it is.
func (t *tx) wakeDone(id paylink.BatchID, actor, why string) error {
	state, err := t.lockBatch(id)
	if err != nil {
		return err
	}
	switch {
	case state == paylink.BatchDone:
		return t.moveBatch(id, state, paylink.BatchRunning, actor, why)
	case !hasRun(state):
		return fmt.Errorf("batch %s is %s: %w", id, state, paylink.ErrConflict)
	}
	return nil
}

// Resend owes the payer's message again, by one channel or, if ch is empty, by the first of each route. A message whose
// answer was lost and that is still being looked up stands in the way; one that is held is given up.
func (db *DB) Resend(ctx context.Context, id paylink.RequestID, ch paylink.Channel, actor, why string) (wakes []paylink.Wake, err error) {
	err = db.change(ctx, func(t *tx) error {
		wakes, err = t.again(id, ch, actor, why)
		return err
	})
	return wakes, err
}

// again makes one request owe its messages anew, with a new session first if it has none.
func (t *tx) again(id paylink.RequestID, only paylink.Channel, actor, why string) ([]paylink.Wake, error) {
	if err := t.wakeDone(id.Batch(), actor, strings.TrimSpace(why+" "+id.String())); err != nil {
		return nil, err
	}
	if err := t.lock(id); err != nil {
		return nil, err
	}
	var rs requestScan
	var cs contactScan
	var step string
	if err := t.row(`SELECT `+requestColumns+`, `+contactColumns+`, r.step FROM requests r JOIN contacts c ON c.request_id = r.id WHERE r.id = $1`, int64(id)).
		Scan(append(append(rs.targets(), cs.targets()...), &step)...); err != nil {
		return nil, notFound(err, id)
	}
	r, err := rs.value()
	if err != nil {
		return nil, err
	}
	c, err := cs.value()
	if err != nil {
		return nil, err
	}
	if !r.Payment.Owes() {
		return nil, fmt.Errorf("request %s is %s: %w", id, r.Payment, paylink.ErrConflict)
	}
	switch {
	case step == stepMessages, step == stepRefused:
	case step == stepRestored, step == stepNone && r.Dispatch != paylink.DispatchPending: // or called back by a person
		step = stepRefused
		if _, err := t.exec(`UPDATE requests SET step = 'refused' WHERE id = $1`, int64(id)); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("request %s has not been sent yet: %w", id, paylink.ErrConflict)
	}
	if step == stepRefused { // unless the payer's own click has made a session since
		n, err := t.exec(`UPDATE requests SET step = 'messages' WHERE id = $1 AND EXISTS (
			SELECT 1 FROM sessions WHERE request_id = $1 AND state IN ('open', 'pending', 'attempted'))`, int64(id))
		if err != nil {
			return nil, err
		}
		if n > 0 {
			step = stepMessages
		}
	}
	if step == stepRefused {
		if _, err := t.exec(`UPDATE requests SET tries = 0, cause = '', code = '' WHERE id = $1`, int64(id)); err != nil {
			return nil, err
		}
		var epoch int64
		if err := t.row(`UPDATE requests SET step = 'session', epoch = epoch + 1, next_at = $2, wake_at = $3 WHERE id = $1 RETURNING epoch`,
			int64(id), t.now, t.now+wakeGrace.Milliseconds()).Scan(&epoch); err != nil {
			return nil, err
		}
		return []paylink.Wake{{Task: paylink.TaskCreate, ID: int64(id), Epoch: epoch}}, t.settle(id, actor, why, true)
	}
	channels := []paylink.Channel{only}
	if only == "" {
		channels = nil
		for _, route := range r.Routes {
			for _, ch := range route {
				if c.Address(ch) != "" {
					channels = append(channels, ch)
					break
				}
			}
		}
	}
	var wakes []paylink.Wake
	for _, ch := range channels {
		if c.Address(ch) == "" {
			return nil, fmt.Errorf("request %s has no address for %s: %w", id, ch, paylink.ErrInvalid)
		}
		w, err := t.anotherMessage(id, ch, actor, why)
		if err != nil {
			return nil, err
		}
		wakes = append(wakes, w)
	}
	return wakes, t.settle(id, actor, why, true)
}

// giveUpHeld lets another message take the place of those that are held.
func (t *tx) giveUpHeld(id paylink.RequestID, held []int64, actor string) error {
	for _, m := range held {
		if err := t.moveMessage(paylink.MessageID(m), id, paylink.MessageHeld, paylink.MessageFailed, "given up by "+actor, `cause = $5`, string(paylink.CauseLostAnswer)); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE attempts SET state = 'settled' WHERE message_id = $1 AND state = 'unknown'`, m); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) anotherMessage(id paylink.RequestID, ch paylink.Channel, actor, why string) (paylink.Wake, error) {
	last, blocked := 0, ""
	var held []int64
	err := t.each(`SELECT id, n, state FROM messages WHERE request_id = $1 AND purpose = $2 AND channel = $3 ORDER BY n`,
		[]any{int64(id), paylink.PurposeLink, string(ch)}, func(r *sql.Rows) error {
			var m int64
			var s paylink.MessageState
			if err := r.Scan(&m, &last, &s); err != nil {
				return err
			}
			switch {
			case s.Open() || s == paylink.MessageUnknown:
				blocked = string(s)
			case s == paylink.MessageHeld:
				held = append(held, m)
			}
			return nil
		})
	if err != nil {
		return paylink.Wake{}, err
	}
	if blocked != "" {
		return paylink.Wake{}, fmt.Errorf("the last %s message of request %s is %s; wait until that is settled: %w", ch, id, blocked, paylink.ErrConflict)
	}
	if err := t.giveUpHeld(id, held, actor); err != nil {
		return paylink.Wake{}, err
	}
	return t.bearMessage(id, paylink.PurposeLink, ch, last+1, true)
}

// CancelMatching calls those requests of a batch off that fit the filter when their turn comes, and says how many. The
// sweeper finds the sessions to be ended at once.
func (db *DB) CancelMatching(ctx context.Context, id paylink.BatchID, f RequestFilter, actor, why string) (int, error) {
	n, err := db.eachRequest(ctx, id, `payment IN ('unpaid', 'partially_paid', 'expired')`, func(t *tx, r paylink.RequestID) (bool, error) {
		if err := t.lock(r); err != nil {
			return false, err
		}
		var seen RequestFilter
		if err := t.row(`SELECT dispatch, payment, cause, reference FROM requests WHERE id = $1`, int64(r)).
			Scan(&seen.Dispatch, &seen.Payment, &seen.Cause, &seen.Reference); err != nil {
			return false, err
		}
		if !f.fits(seen) {
			return false, nil
		}
		_, err := t.cancelRequest(r, actor, why)
		if errors.Is(err, errMoved) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		err = fmt.Errorf("cancel requests of %s: %w", id, err)
	}
	return n, err
}

func (f RequestFilter) fits(seen RequestFilter) bool {
	return (f.Dispatch == "" || f.Dispatch == seen.Dispatch) && (f.Payment == "" || f.Payment == seen.Payment) &&
		(f.Cause == "" || f.Cause == seen.Cause) && (f.Reference == "" || f.Reference == seen.Reference)
}
