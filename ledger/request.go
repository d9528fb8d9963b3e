package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"dunlin/paylink"
)

// The steps of a request: what is owed next, or why nothing can be.
const (
	stepNone     = "none"
	stepSession  = "session"  // a checkout session must be made
	stepLost     = "lost"     // the answer to a create was lost
	stepRefused  = "refused"  // the provider refused the session for good
	stepMessages = "messages" // the session is there; messages are owed or done
	stepRestored = "restored" // a backup was restored: what was done since is not known, and a person must say how to go on
)

// wakeGrace is how long the queue has to act on a wake before the sweeper gives another. It outlasts a full window of
// waiting tasks, so that a working queue is not told twice.
const wakeGrace = 90 * time.Second

const requestColumns = `r.id, r.line, r.dispatch, r.payment, r.reference, r.amount, r.currency, r.language, r.country, r.timezone, r.routes,
	r.due_date, r.expires_in, r.description, r.customer_id, r.invoice_number, r.attachment_url, r.secret, r.cause, r.epoch, r.tries, r.updated_at`

// requestScan gathers the targets of requestColumns and turns them into the domain's type.
type requestScan struct {
	r       paylink.Request
	routes  string
	expires int64
	updated int64
}

func (s *requestScan) targets() []any {
	r := &s.r
	return []any{&r.ID, &r.Line, &r.Dispatch, &r.Payment, &r.Reference, &r.Amount.Minor, &r.Amount.Currency, &r.Language, &r.Country,
		&r.Timezone, &s.routes, &r.DueDate, &s.expires, &r.Description, &r.CustomerID, &r.InvoiceNumber, &r.AttachmentURL,
		&r.Secret, &r.Cause, &r.Epoch, &r.Attempts, &s.updated}
}

func (s *requestScan) value() (paylink.Request, error) {
	var err error
	s.r.ExpiresIn = time.Duration(s.expires) * time.Second
	s.r.UpdatedAt = toTime(s.updated)
	s.r.Routes, err = paylink.ParseRoutes(s.routes)
	return s.r, err
}

const contactColumns = `c.name, c.first_name, c.last_name, c.email, c.phone, c.extra`

type contactScan struct {
	c     paylink.Contact
	extra string
}

func (s *contactScan) targets() []any {
	return []any{&s.c.Name, &s.c.FirstName, &s.c.LastName, &s.c.Email, &s.c.Phone, &s.extra}
}

func (s *contactScan) value() (paylink.Contact, error) {
	if s.extra == "" || s.extra == "{}" {
		return s.c, nil
	}
	return s.c, json.Unmarshal([]byte(s.extra), &s.c.Extra)
}

// AddressHash is what an address is known by in the list of suppressions.
func AddressHash(ch paylink.Channel, address string) string {
	return paylink.AddressHash(ch, address)
}

// settle derives the request's dispatch state anew and moves it there. byCommand allows the moves that only a person may
// make.
func (t *tx) settle(id paylink.RequestID, actor, why string, byCommand bool) error {
	var from paylink.DispatchState
	var payment paylink.PaymentState
	var step, cause, code, failedCause, failedCode, quietCause, lostCause string
	var canceled sql.NullInt64
	var parts paylink.DispatchParts
	err := t.each(`SELECT r.dispatch, r.payment, r.step, r.cause, r.code, r.canceled_at, COALESCE(m.state, ''), COALESCE(m.cause, ''), COALESCE(m.code, '')
		FROM requests r LEFT JOIN messages m ON m.request_id = r.id AND m.purpose = $2 WHERE r.id = $1 ORDER BY m.id`,
		[]any{int64(id), paylink.PurposeLink}, func(r *sql.Rows) error {
			var s paylink.MessageState
			var c, k string
			if err := r.Scan(&from, &payment, &step, &cause, &code, &canceled, &s, &c, &k); err != nil {
				return err
			}
			switch s {
			case "":
				return nil
			case paylink.MessageFailed, paylink.MessageUndelivered:
				failedCause, failedCode = c, k
			case paylink.MessageSuppressed:
				quietCause = c
			case paylink.MessageUnknown, paylink.MessageHeld:
				lostCause = c
			}
			parts.Messages = append(parts.Messages, s)
			return nil
		})
	if err != nil || from == "" || from == paylink.DispatchPending {
		return err
	}
	parts.SessionOwed, parts.SessionUnknown, parts.SessionFailed = step == stepSession, step == stepLost || step == stepRestored, step == stepRefused
	if step == stepNone && len(parts.Messages) == 0 && payment.Owes() && !canceled.Valid {
		return nil // asked for again after a person had given it up unsent: it stays unsent until a person sends it
	}
	parts.Settled, parts.Canceled = !payment.Owes(), canceled.Valid
	to := paylink.Dispatch(parts)
	newCause, newCode := "", ""
	switch to {
	case paylink.DispatchFailed:
		newCause, newCode = failedCause, failedCode
		if step == stepRefused {
			newCause, newCode = cause, code
		}
	case paylink.DispatchSuppressed:
		newCause = quietCause
	case paylink.DispatchSkipped:
		newCause = string(paylink.CausePaid)
	case paylink.DispatchUnknown:
		newCause = string(paylink.CauseLostAnswer)
		if step == stepRestored || lostCause == string(paylink.CauseRestored) {
			newCause = string(paylink.CauseRestored)
		}
	case paylink.DispatchInFlight:
		newCause, newCode = cause, code
	}
	if to == from {
		return nil
	}
	return t.moveDispatch(id, from, to, newCause, newCode, actor, why, byCommand)
}

func (t *tx) moveDispatch(id paylink.RequestID, from, to paylink.DispatchState, cause, code, actor, why string, byCommand bool) error {
	m := paylink.DispatchMachine
	if !m.Can(from, to) && !(byCommand && m.CanByCommand(from, to)) {
		return fmt.Errorf("request %s: %w", id, m.Check(from, to))
	}
	if err := t.one(`UPDATE requests SET dispatch = $3, cause = $4, code = $5, updated_at = $6 WHERE id = $1 AND dispatch = $2`,
		int64(id), string(from), string(to), cause, code, t.now); err != nil {
		return fmt.Errorf("request %s: %w", id, err)
	}
	t.tally(id.Batch(), tallyDispatch, string(from), -1)
	t.tally(id.Batch(), tallyDispatch, string(to), 1)
	if why == "" {
		why = cause
	}
	t.event(event{batch: id.Batch(), request: id, entity: entityRequest, id: int64(id), from: string(from), to: string(to), actor: actor, why: why})
	return nil
}

func (t *tx) movePayment(id paylink.RequestID, from, to paylink.PaymentState, actor, why string, byCommand bool) error {
	m := paylink.PaymentMachine
	if !m.Can(from, to) && !(byCommand && m.CanByCommand(from, to)) {
		return fmt.Errorf("request %s: %w", id, m.Check(from, to))
	}
	if err := t.one(`UPDATE requests SET payment = $3, updated_at = $4 WHERE id = $1 AND payment = $2`,
		int64(id), string(from), string(to), t.now); err != nil {
		return fmt.Errorf("request %s: %w", id, err)
	}
	t.tally(id.Batch(), tallyPayment, string(from), -1)
	t.tally(id.Batch(), tallyPayment, string(to), 1)
	t.event(event{batch: id.Batch(), request: id, entity: entityPayment, id: int64(id), from: string(from), to: string(to), actor: actor, why: why})
	return nil
}

// acting reports whether work of a batch in this state may be claimed. A done batch still settles what was unknown.
func acting(s paylink.BatchState) bool { return s == paylink.BatchRunning || s == paylink.BatchDone }

// notFound names what was not there.
func notFound(err error, what fmt.Stringer) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s: %w", what, paylink.ErrNotFound)
	}
	return err
}
