package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"dunlin/paylink"
)

// kindOutside is money that a person says came another way.
const kindOutside = "outside"

// MarkPaid records money that came another way, in cash or by transfer: amount, or with zero all that is left. When
// nothing is left the debt is paid outside, its session is ended and what is owed is dropped; else the session is changed
// to what is left. ErrInvalid: more than is left.
func (db *DB) MarkPaid(ctx context.Context, id paylink.RequestID, amount paylink.Money, actor, why string) (state paylink.PaymentState, wakes []paylink.Wake, err error) {
	err = db.changeRequest(ctx, id, func(t *tx) error {
		var asked paylink.Money
		var net, n int64
		if err := t.row(`SELECT payment, amount, currency, paid - refunded, (SELECT count(*) FROM payments WHERE request_id = $1) FROM requests WHERE id = $1`,
			int64(id)).Scan(&state, &asked.Minor, &asked.Currency, &net, &n); err != nil {
			return notFound(err, id)
		}
		if !paylink.PaymentMachine.CanByCommand(state, paylink.PaymentPaidOutside) {
			return fmt.Errorf("request %s is %s and cannot be marked as paid: %w", id, words(state), errMoved)
		}
		left := paylink.Money{Minor: asked.Minor - net, Currency: asked.Currency}
		sum := amount
		if sum.Minor == 0 {
			sum = left
		}
		if sum.Currency != left.Currency || sum.Minor <= 0 || sum.Minor > left.Minor {
			return fmt.Errorf("%s is not a part of the %s that are left of request %s: %w", sum, left, id, paylink.ErrInvalid)
		}
		if _, err := t.exec(`INSERT INTO payments (request_id, kind, amount, currency, ref, source, at) VALUES ($1, 'outside', $2, $3, $4, 'command', $5)`,
			int64(id), sum.Minor, sum.Currency, fmt.Sprintf("outside-%d-%d", t.now, n+1), t.now); err != nil {
			return err
		}
		if err := t.countOutside(id, sum, actor, why); err != nil {
			return err
		}
		from := state
		if sum.Minor == left.Minor {
			state = paylink.PaymentPaidOutside
			wakes, err = t.giveUp(id, from, state, paylink.CausePaid, actor, why)
			return err
		}
		if state = paylink.PaymentPartiallyPaid; from != state {
			if !paylink.PaymentMachine.Can(from, state) { // written off: it is asked for again
				if err := t.movePayment(id, from, paylink.PaymentUnpaid, actor, why, true); err != nil {
					return err
				}
				from = paylink.PaymentUnpaid
			}
			if err := t.movePayment(id, from, state, actor, why, true); err != nil {
				return err
			}
		}
		wakes, err = t.amendSession(id, []string{paylink.FieldAmount})
		return err
	})
	return state, wakes, err
}

func (t *tx) countOutside(id paylink.RequestID, sum paylink.Money, actor, why string) error {
	t.event(event{batch: id.Batch(), request: id, entity: entityMoney, id: 0, to: kindOutside, actor: actor, why: sum.String() + ": " + why})
	t.collected(id, sum.Currency, sum.Minor)
	return t.one(`UPDATE requests SET paid = paid + $2 WHERE id = $1`, int64(id), sum.Minor)
}

// WriteOff gives a debt up: its session is ended and what is owed is dropped.
func (db *DB) WriteOff(ctx context.Context, id paylink.RequestID, actor, why string) (wakes []paylink.Wake, err error) {
	err = db.changeRequest(ctx, id, func(t *tx) error {
		from, err := t.payment(id)
		if err != nil {
			return err
		}
		if !paylink.PaymentMachine.CanByCommand(from, paylink.PaymentWrittenOff) {
			return fmt.Errorf("request %s is %s and cannot be written off: %w", id, words(from), errMoved)
		}
		wakes, err = t.giveUp(id, from, paylink.PaymentWrittenOff, paylink.CausePaid, actor, why)
		return err
	})
	return wakes, err
}

func (t *tx) payment(id paylink.RequestID) (s paylink.PaymentState, err error) {
	err = notFound(t.row(`SELECT payment FROM requests WHERE id = $1`, int64(id)).Scan(&s), id)
	return s, err
}

// giveUp moves a debt to a state in which nobody is asked any more.
func (t *tx) giveUp(id paylink.RequestID, from, to paylink.PaymentState, cause paylink.Cause, actor, why string) ([]paylink.Wake, error) {
	if err := t.movePayment(id, from, to, actor, why, true); err != nil {
		return nil, err
	}
	var dispatch paylink.DispatchState
	if err := t.row(`UPDATE requests SET wake_at = NULL, step = CASE WHEN step = 'session' OR step = 'messages' OR step = 'restored' THEN 'none' ELSE step END
		WHERE id = $1 RETURNING dispatch`, int64(id)).Scan(&dispatch); err != nil {
		return nil, err
	}
	if dispatch == paylink.DispatchPending {
		if err := t.moveDispatch(id, dispatch, paylink.DispatchSkipped, string(cause), "", actor, why, true); err != nil {
			return nil, err
		}
	}
	wakes, err := t.endSessionOf(id, endingCanceled)
	if err != nil {
		return nil, err
	}
	return wakes, t.dropOwed(id, cause)
}

// UndoOutside takes back what MarkPaid recorded: the debt is asked for again. Money that came through the provider stays
// counted. Nothing is sent by itself.
func (db *DB) UndoOutside(ctx context.Context, id paylink.RequestID, actor, why string) (state paylink.PaymentState, wakes []paylink.Wake, err error) {
	err = db.changeRequest(ctx, id, func(t *tx) error {
		from, err := t.payment(id)
		if err != nil {
			return err
		}
		sum := paylink.Money{}
		err = t.row(`SELECT SUM(amount), MIN(currency) FROM payments WHERE request_id = $1 AND kind = 'outside' HAVING COUNT(*) > 0`, int64(id)).
			Scan(&sum.Minor, &sum.Currency)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("request %s was never marked as paid: %w", id, errMoved)
		case err != nil:
			return err
		case from != paylink.PaymentPaidOutside && from != paylink.PaymentPartiallyPaid:
			return fmt.Errorf("request %s is %s by now, which marking it as paid did not do alone: %w", id, words(from), errMoved)
		}
		if _, err := t.exec(`DELETE FROM payments WHERE request_id = $1 AND kind = 'outside'`, int64(id)); err != nil {
			return err
		}
		if err := t.countOutside(id, paylink.Money{Minor: -sum.Minor, Currency: sum.Currency}, actor, why); err != nil {
			return err
		}
		if state, err = t.askAgain(id, from, actor, why); err != nil {
			return err
		}
		wakes, err = t.amendSession(id, []string{paylink.FieldAmount})
		return err
	})
	return state, wakes, err
}

// UndoWriteOff asks for a debt again that was written off. Nothing is sent by itself.
func (db *DB) UndoWriteOff(ctx context.Context, id paylink.RequestID, actor, why string) (state paylink.PaymentState, err error) {
	err = db.changeRequest(ctx, id, func(t *tx) error {
		from, err := t.payment(id)
		if err != nil {
			return err
		}
		if from != paylink.PaymentWrittenOff {
			return fmt.Errorf("request %s is %s, not written off: %w", id, words(from), errMoved)
		}
		state, err = t.askAgain(id, from, actor, why)
		return err
	})
	return state, err
}

// askAgain moves a debt to what the money that came for it says.
func (t *tx) askAgain(id paylink.RequestID, from paylink.PaymentState, actor, why string) (paylink.PaymentState, error) {
	var net int64
	if err := t.row(`SELECT paid - refunded FROM requests WHERE id = $1`, int64(id)).Scan(&net); err != nil {
		return from, err
	}
	path := []paylink.PaymentState{paylink.PaymentUnpaid}
	if net > 0 {
		path = append(path, paylink.PaymentPartiallyPaid)
	}
	if slices.Contains(path, from) && path[len(path)-1] == from {
		return from, nil
	}
	for _, to := range path {
		if err := t.movePayment(id, from, to, actor, why, true); err != nil {
			return from, err
		}
		from = to
	}
	return from, t.settle(id, actor, why, true)
}
