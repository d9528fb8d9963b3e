package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"dunlin/paylink"
)

// ApplyPayment applies a stored event once: it moves the session up, counts money, moves the debt, and flags what a
// person must see. seen is the provider's own view of the session, for an event that names a session which the attempt
// is not known to have (its create was lost, say); without it such an event is refused with [paylink.ErrUnconfirmed].
func (db *DB) ApplyPayment(ctx context.Context, id paylink.EventID, ev paylink.PaymentEvent, seen *paylink.CheckoutSession) (outcome paylink.EventOutcome, err error) {
	err = db.change(ctx, func(t *tx) error {
		outcome, err = t.applyPayment(id, ev, seen)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("apply event %s: %w", id, err)
	}
	return outcome, nil
}

func (t *tx) applyPayment(id paylink.EventID, ev paylink.PaymentEvent, seen *paylink.CheckoutSession) (paylink.EventOutcome, error) {
	const byOrder = `SELECT ` + sessionColumns + ` FROM sessions WHERE order_no = $1`
	s, err := scanSession(t.row(byOrder, ev.OrderNo))
	if ev.OrderNo == "" || errors.Is(err, sql.ErrNoRows) {
		if err := t.flag(0, paylink.FlagUnknown, "first by event "+id.String()); err != nil {
			return "", err
		}
		return paylink.EventUnknown, t.closeEvent(id, 0, paylink.EventUnknown)
	}
	if err != nil {
		return "", err
	}
	if err := t.lock(s.RequestID); err != nil {
		return "", err
	}
	// Another process may have applied it, or moved the session, before the lock was ours.
	var before paylink.EventOutcome
	if err := t.row(`SELECT outcome FROM provider_events WHERE id = $1`, int64(id)).Scan(&before); err != nil || before != "" {
		return before, notFound(err, id)
	}
	if s, err = scanSession(t.row(byOrder, ev.OrderNo)); err != nil {
		return "", err
	}
	switch {
	case s.ProviderID == "" && seen == nil:
		return "", paylink.ErrUnconfirmed
	case s.ProviderID == "" && seen.OrderNo == s.OrderNo && seen.ProviderID == ev.ProviderID:
		if err := t.adoptProviderID(&s, ev.ProviderID); err != nil {
			return "", err
		}
	case s.ProviderID != ev.ProviderID || s.ProviderID == "":
		if err := t.flag(s.RequestID, paylink.FlagOther, "session "+s.ID.String()); err != nil {
			return "", err
		}
		return paylink.EventOther, t.closeEvent(id, s.ID, paylink.EventOther)
	}
	m := &moneyTx{tx: t, s: s}
	if err := m.read(); err != nil {
		return "", err
	}
	outcome, err := m.apply(ev)
	if err != nil {
		return "", err
	}
	return outcome, t.closeEvent(id, s.ID, outcome)
}

// adoptProviderID gives an attempt the session that the provider has shown to be its own.
func (t *tx) adoptProviderID(s *sessionRow, id string) error {
	if err := t.one(`UPDATE sessions SET provider_id = $2 WHERE id = $1 AND provider_id IS NULL`, int64(s.ID), id); err != nil {
		return err
	}
	s.ProviderID = id
	t.event(event{batch: s.RequestID.Batch(), request: s.RequestID, entity: entitySession, id: int64(s.ID),
		from: string(s.State), to: string(s.State), why: "the provider shows that it was made"})
	return nil
}

// apply does what an event says, as far as it is news.
func (m *moneyTx) apply(ev paylink.PaymentEvent) (paylink.EventOutcome, error) {
	was := m.changes
	var err error
	switch {
	case ev.IsOperation:
		switch ev.Operation {
		case "capture", "refund", "void":
			if ev.Done() {
				err = m.operation(ev)
			}
		default:
			return paylink.EventUnsupported, m.flag(m.s.RequestID, paylink.FlagKind(paylink.EventUnsupported), "session "+m.s.ID.String())
		}
	case ev.State == "":
		return paylink.EventUnsupported, m.flag(m.s.RequestID, paylink.FlagKind(paylink.EventUnsupported), "session "+m.s.ID.String())
	default:
		err = m.stateEvent(ev)
	}
	if err != nil || m.changes == was {
		return paylink.EventNothingNew, err
	}
	return paylink.EventApplied, m.weigh("webhook")
}

// stateEvent applies a session's state.
func (m *moneyTx) stateEvent(ev paylink.PaymentEvent) error {
	// A payer goes back and forth between these two; of two events we cannot tell which is the older.
	if m.s.State == paylink.SessionAttempted && ev.State == paylink.SessionPending {
		return nil
	}
	was := m.s.State
	if err := m.move(ev.State, ev.RawState, "webhook: "); err != nil {
		return err
	}
	switch ev.State {
	case paylink.SessionPaid:
		return m.settled(ev, was)
	case paylink.SessionAuthorized, paylink.SessionCOD:
		return m.authorized(ev, was)
	case paylink.SessionRefunded:
		if m.s.State != was && m.sum("refunded") == 0 {
			return m.flag(m.s.RequestID, paylink.FlagRefund, "session "+m.s.ID.String())
		}
	}
	return nil
}

// settled counts the money of a session that the provider says is paid.
func (m *moneyTx) settled(ev paylink.PaymentEvent, was paylink.SessionState) error {
	amount, flags := ev.Amount, m.differs(ev)
	if ev.Settled != nil {
		if ev.Settled.Minor > 0 && ev.Settled.Minor <= ev.Amount.Minor {
			amount = *ev.Settled
		} else {
			flags = append(flags, paylink.FlagAmount)
		}
	}
	ref := ev.Reference
	if ref == "" {
		ref = m.s.ProviderID
	}
	others := false
	for i, r := range m.rows {
		switch {
		case r.kind != "settled":
		case r.session != m.s.ID:
			if r.ref == ref { // the same reference on two sessions is two payments
				ref = m.s.ID.String() + " " + ref
			}
		case r.captured, r.ref == ref && r.source == "webhook":
			return nil
		case r.source == "retrieve": // its amount was a guess
			return m.correct(i, amount, ref, flags)
		default:
			others = true
		}
	}
	if others {
		if ev.Result != "success" {
			return nil // another attempt on a paid session, which failed
		}
		flags = append(flags, paylink.FlagTwice)
	}
	return m.add(moneyRow{kind: "settled", amount: amount, ref: ref, source: "webhook"}, append(flags, m.misplaced(was)...))
}

func (m *moneyTx) authorized(ev paylink.PaymentEvent, was paylink.SessionState) error {
	ref := ev.Reference
	if ref == "" {
		ref = m.s.ProviderID
	}
	for i, r := range m.rows { // what a look at the session found is told of now
		if r.session == m.s.ID && r.kind == "authorized" && r.source == "retrieve" {
			return m.correct(i, ev.Amount, ref, m.differs(ev))
		}
	}
	if m.sum("authorized") > 0 || m.sum("settled") > 0 {
		return nil
	}
	if err := m.add(moneyRow{kind: "authorized", amount: ev.Amount, ref: ref, source: "webhook"}, append(m.differs(ev), m.misplaced(was)...)); err != nil {
		return err
	}
	if m.sum("voided") > 0 { // the void was told of first
		return m.move(paylink.SessionVoided, "", "webhook: voided before")
	}
	return nil
}

// operation applies a capture, refund or void that was done on the session.
func (m *moneyTx) operation(ev paylink.PaymentEvent) error {
	ref := ev.Operation + ":" + ev.Child
	if ev.Child == "" {
		ref = ev.Operation + ":" + ev.Reference
	}
	for _, r := range m.rows {
		if r.ref == ref && r.session == m.s.ID {
			return nil
		}
	}
	row := moneyRow{amount: ev.Amount, ref: ref, source: "webhook"}
	var flags []paylink.FlagKind
	if ev.Amount.Currency != m.s.Amount.Currency {
		flags = append(flags, paylink.FlagCurrency)
	}
	was := m.s.State
	switch {
	case ev.Operation == "capture":
		row.kind, row.captured = "settled", true
		if err := m.move(paylink.SessionPaid, "", "webhook: captured"); err != nil {
			return err
		}
		if m.s.State != paylink.SessionPaid || was != paylink.SessionAuthorized {
			flags = append(flags, m.misplaced(was)...)
		}
		for i, r := range m.rows { // the guess that a look at the session made is told exactly now
			if r.session == m.s.ID && r.kind == "settled" && r.source == "retrieve" {
				return m.correct(i, row.amount, ref, flags)
			}
		}
	case ev.Operation == "void" && m.sum("settled") == 0:
		row.kind = "voided"
		if err := m.move(paylink.SessionVoided, "", "webhook: voided"); err != nil {
			return err
		}
	default: // a void of captured money gives it back, as a refund does
		row.kind = "refunded"
		if settled := m.sum("settled"); settled > 0 && m.sum("refunded")+ev.Amount.Minor > settled {
			flags = append(flags, paylink.FlagAmount)
		}
	}
	return m.add(row, flags)
}

// differs compares an event's amount with what its session carried.
func (m *moneyTx) differs(ev paylink.PaymentEvent) []paylink.FlagKind {
	switch {
	case ev.Amount.Currency != m.s.Amount.Currency:
		return []paylink.FlagKind{paylink.FlagCurrency}
	case ev.Amount != m.expected:
		return []paylink.FlagKind{paylink.FlagAmount}
	}
	return nil
}
