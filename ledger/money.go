package ledger

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"dunlin/paylink"
)

// entityMoney is the entity of events that tell of money: to_state is the kind of the payment row.
const entityMoney = "money"

// moneyTx is a change about the money of one session, within a transaction that has locked its request.
type moneyTx struct {
	*tx
	s       sessionRow
	rows    []moneyRow // of the whole request
	changes int

	payment                paylink.PaymentState
	asked                  paylink.Money
	paid, refunded         int64
	paidAtStart, refAtFrom int64
	// expected is what the session should be paid by: its amount or, while that is to be changed, what is left of the debt.
	expected paylink.Money
}

type moneyRow struct {
	id       int64
	session  paylink.SessionID
	kind     string
	amount   paylink.Money
	ref      string
	source   string
	captured bool // a part of an authorized sum
}

func (m *moneyTx) read() error {
	id := int64(m.s.RequestID)
	if err := m.row(`SELECT payment, amount, currency, paid, refunded FROM requests WHERE id = $1`, id).
		Scan(&m.payment, &m.asked.Minor, &m.asked.Currency, &m.paid, &m.refunded); err != nil {
		return err
	}
	m.paidAtStart, m.refAtFrom, m.expected = m.paid, m.refunded, m.s.Amount
	if m.s.ending == endingAmended {
		m.expected.Minor = m.asked.Minor - m.paid + m.refunded
	}
	return m.each(`SELECT id, COALESCE(session_id, 0), kind, amount, currency, ref, source FROM payments WHERE request_id = $1 ORDER BY id`,
		[]any{id}, func(r *sql.Rows) error {
			var x moneyRow
			err := r.Scan(&x.id, &x.session, &x.kind, &x.amount.Minor, &x.amount.Currency, &x.ref, &x.source)
			x.captured = strings.HasPrefix(x.ref, "capture:")
			m.rows = append(m.rows, x)
			return err
		})
}

// sum is the session's money of one kind.
func (m *moneyTx) sum(kind string) (n int64) {
	for _, r := range m.rows {
		if r.session == m.s.ID && r.kind == kind && r.amount.Currency == m.s.Amount.Currency {
			n += r.amount.Minor
		}
	}
	return n
}

func (m *moneyTx) move(to paylink.SessionState, word, source string) error {
	moved, err := m.adoptState(m.s, to, word, source)
	if err != nil || !moved {
		return err
	}
	m.s.State, m.s.lost, m.s.ending = to, false, ""
	m.changes++
	return nil
}

// misplaced says what is wrong with money that comes to a session in this state, for a debt in its state.
func (m *moneyTx) misplaced(was paylink.SessionState) (flags []paylink.FlagKind) {
	switch {
	case was == paylink.SessionGhost:
		flags = append(flags, paylink.FlagGhost)
	case was == paylink.SessionSuperseded:
		flags = append(flags, paylink.FlagSuperseded)
	case was != paylink.SessionIntent && !was.Live() && !was.Settled():
		flags = append(flags, paylink.FlagLate)
	}
	switch m.payment {
	case paylink.PaymentCanceled, paylink.PaymentExpired, paylink.PaymentWrittenOff:
		flags = append(flags, paylink.FlagLate)
	case paylink.PaymentPaidOutside:
		flags = append(flags, paylink.FlagTwice)
	}
	return flags
}

// add records money. What is of another currency than the debt is recorded and not counted.
func (m *moneyTx) add(r moneyRow, flags []paylink.FlagKind) error {
	r.session = m.s.ID
	counts := r.amount.Currency == m.asked.Currency
	if r.kind == "settled" && counts && m.paid-m.refunded > 0 && m.paid-m.refunded+r.amount.Minor > m.asked.Minor {
		flags = append(flags, paylink.FlagTwice)
	}
	slices.Sort(flags)
	flags = slices.Compact(flags)
	added, err := m.exec(`INSERT INTO payments (request_id, session_id, kind, amount, currency, ref, source, flag, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (request_id, kind, ref) DO NOTHING`,
		int64(m.s.RequestID), int64(m.s.ID), r.kind, r.amount.Minor, r.amount.Currency, r.ref, r.source, flagWords(flags), m.now)
	if err != nil || added == 0 {
		return err
	}
	m.rows = append(m.rows, r)
	if counts {
		m.count(r.kind, r.amount.Minor)
	}
	m.told(r, "")
	return m.raise(flags)
}

// correct puts what an event tells in place of what was guessed from looking at the session.
func (m *moneyTx) correct(i int, amount paylink.Money, ref string, flags []paylink.FlagKind) error {
	r := &m.rows[i]
	if err := m.one(`UPDATE payments SET amount = $2, currency = $3, ref = $4, source = 'webhook' WHERE id = $1`,
		r.id, amount.Minor, amount.Currency, ref); err != nil {
		return err
	}
	if r.amount.Currency == m.asked.Currency {
		m.count(r.kind, -r.amount.Minor)
	}
	if amount.Currency == m.asked.Currency {
		m.count(r.kind, amount.Minor)
	}
	old := r.amount
	if amount.Minor < old.Minor && m.payment == paylink.PaymentPaid { // it stays paid: a state never goes back by itself
		flags = append(flags, paylink.FlagAmount)
	}
	r.amount, r.ref, r.source = amount, ref, "webhook"
	m.told(*r, "instead of "+old.String())
	slices.Sort(flags)
	return m.raise(slices.Compact(flags))
}

func (m *moneyTx) count(kind string, minor int64) {
	switch kind {
	case "settled":
		m.paid += minor
	case "refunded":
		m.refunded += minor
	}
	m.changes++
}

func (m *moneyTx) told(r moneyRow, more string) {
	m.changes++
	m.event(event{batch: m.s.RequestID.Batch(), request: m.s.RequestID, entity: entityMoney, id: int64(m.s.ID), to: r.kind,
		why: strings.TrimSpace(fmt.Sprintf("%s by %s %s", r.amount, r.source, more))})
}

func (m *moneyTx) raise(flags []paylink.FlagKind) error {
	for _, f := range flags {
		if err := m.flag(m.s.RequestID, f, "session "+m.s.ID.String()); err != nil {
			return err
		}
	}
	return nil
}

func flagWords(flags []paylink.FlagKind) string {
	words := make([]string, len(flags))
	for i, f := range flags {
		words[i] = strings.TrimPrefix(string(f), "money_on_")
	}
	return strings.Join(words, ",")
}

// weigh brings the debt's state to what the money adds up to, and ends what is no longer wanted: messages that ask for
// it, and any other session by which it could be paid again.
func (m *moneyTx) weigh(why string) error {
	id := m.s.RequestID
	if m.paid != m.paidAtStart || m.refunded != m.refAtFrom {
		if err := m.one(`UPDATE requests SET paid = $2, refunded = $3 WHERE id = $1`, int64(id), m.paid, m.refunded); err != nil {
			return err
		}
		m.collected(id, m.asked.Currency, m.paid-m.refunded-(m.paidAtStart-m.refAtFrom))
	}
	if settled := m.sum("settled"); settled > 0 && m.sum("refunded") >= settled {
		if err := m.move(paylink.SessionRefunded, "", "all of it went back"); err != nil {
			return err
		}
	}
	level, err := m.level()
	if err != nil {
		return err
	}
	// A refund may be told of before its payment: the debt then goes through paid.
	path := []paylink.PaymentState{level}
	if m.refunded > 0 && m.paid > 0 {
		path = append(path, paylink.PaymentPaid, level)
	}
	for _, to := range path {
		if m.payment == level {
			break
		}
		if to != m.payment && paylink.PaymentMachine.Can(m.payment, to) {
			if err := m.movePayment(id, m.payment, to, "", why, false); err != nil {
				return err
			}
			m.payment = to
		}
	}
	if m.paid == 0 && m.payment != paylink.PaymentAuthorized && m.sum("settled") == 0 && !m.foreign() {
		return nil
	}
	if err := m.thank(); err != nil {
		return err
	}
	ending := "canceled"
	if m.payment.Owes() { // what is left is asked for by a session of its own
		ending = "replaced"
	}
	if _, err := m.endSessionOf(id, ending); err != nil { // the sweeper finds it at once
		return err
	}
	return m.dropOwed(id, paylink.CausePaid)
}

// foreign reports money of another currency: nobody can say what it is worth, so nobody is chased.
func (m *moneyTx) foreign() bool {
	return slices.ContainsFunc(m.rows, func(r moneyRow) bool { return r.amount.Currency != m.asked.Currency })
}

// level is the state that the money adds up to.
func (m *moneyTx) level() (paylink.PaymentState, error) {
	switch net := m.paid - m.refunded; {
	case m.decided() && m.paid == m.paidAtStart && m.refunded == m.refAtFrom: // only money undoes what a person decided
	case m.paid > 0 && m.refunded > 0 && net <= 0:
		return paylink.PaymentRefunded, nil
	case m.paid > 0 && m.refunded > 0 && net < m.asked.Minor:
		return paylink.PaymentPartiallyRefunded, nil
	case m.paid >= m.asked.Minor:
		return paylink.PaymentPaid, nil
	case m.paid > 0:
		return paylink.PaymentPartiallyPaid, nil
	}
	var held int
	err := m.row(`SELECT count(*) FROM sessions WHERE request_id = $1 AND state IN ('authorized', 'cod')`, int64(m.s.RequestID)).Scan(&held)
	switch {
	case err != nil:
		return "", err
	case held > 0:
		return paylink.PaymentAuthorized, nil
	case m.payment == paylink.PaymentAuthorized: // the hold was voided
		return paylink.PaymentUnpaid, nil
	}
	return m.payment, nil
}

// decided reports whether the debt stands where a person has put it.
func (m *moneyTx) decided() bool {
	switch m.payment {
	case paylink.PaymentCanceled, paylink.PaymentWrittenOff, paylink.PaymentPaidOutside, paylink.PaymentExpired:
		return true
	}
	return false
}

// retrievedMoney counts money found by looking at a session. Only its amount can be known so, which an event corrects.
func (t *tx) retrievedMoney(before sessionRow, seen paylink.CheckoutSession) error {
	m := &moneyTx{tx: t, s: before}
	if err := m.read(); err != nil {
		return err
	}
	flags := m.misplaced(before.State)
	m.s.State = seen.State
	r := moneyRow{kind: "settled", amount: before.Amount, ref: before.ProviderID, source: "retrieve"}
	if seen.Amount != (paylink.Money{}) { // it may have been changed at the provider: that was paid
		r.amount = seen.Amount
	}
	flags = append(flags, m.differs(paylink.PaymentEvent{Amount: r.amount})...)
	if r.ref == "" {
		r.ref = seen.ProviderID
	}
	if seen.State != paylink.SessionPaid {
		r.kind = "authorized"
	}
	if m.sum("settled") == 0 && (r.kind == "settled" || m.sum("authorized") == 0) {
		if err := m.add(r, flags); err != nil {
			return err
		}
	}
	return m.weigh("retrieved")
}
