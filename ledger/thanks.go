package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"dunlin/paylink"
)

// A receipt is a message of purpose receipt. It is owed by the transaction that counts the money, and then goes the way of
// every message: claimed, committed, sent, unknown. What differs is that it asks for nothing. So it is sent although the
// debt is paid, its batch done or canceled, and it is no part of dispatch: a receipt that is owed, lost or refused leaves
// its row sent and its batch done.

// The last look of CommitMessage, by what the message is for. $6 is the batch.
const (
	mayAsk = `AND EXISTS (SELECT 1 FROM requests r WHERE r.id = messages.request_id AND r.payment IN ('unpaid', 'partially_paid') AND r.canceled_at IS NULL)
		AND EXISTS (SELECT 1 FROM batches b WHERE b.id = $6 AND b.state IN ('running', 'done'))`
	mayThank = `AND EXISTS (SELECT 1 FROM requests r WHERE r.id = messages.request_id AND r.payment NOT IN ('refunded', 'partially_refunded'))
		AND EXISTS (SELECT 1 FROM contacts c WHERE c.request_id = messages.request_id AND c.redacted_at IS NULL)
		AND EXISTS (SELECT 1 FROM batches b WHERE b.id = $6 AND b.state IN ('running', 'done', 'canceled'))`
)

// thanking reports whether receipts of a batch in this state are sent: the money of a canceled one has arrived all the
// same. A batch that somebody has stopped for now sends nothing at all.
func thanking(s paylink.BatchState) bool { return acting(s) || s == paylink.BatchCanceled }

// mayThank is the first look at a receipt that is about to be claimed.
func (t *tx) mayThank(c *paylink.MessageClaim, batch paylink.BatchState, paid string, redacted bool) error {
	m := c.Message
	drop := func(why string, cause paylink.Cause) error {
		if err := t.moveMessage(m.ID, m.RequestID, paylink.MessageOwed, paylink.MessageCanceled, why, `wake_at = NULL, cause = $5`, string(cause)); err != nil {
			return err
		}
		return refuse("the receipt of request %s is not wanted: %s", m.RequestID, why)
	}
	switch p := c.Request.Payment; {
	case p == paylink.PaymentRefunded || p == paylink.PaymentPartiallyRefunded:
		return drop("the money went back", paylink.CauseCanceled)
	case redacted || c.Contact.Address(m.Channel) == "":
		return drop("the payer's address is gone", paylink.CauseNoAddress)
	case !thanking(batch):
		if _, err := t.exec(`UPDATE messages SET wake_at = NULL WHERE id = $1`, int64(m.ID)); err != nil {
			return err
		}
		return refuse("batch %s is %s", m.RequestID.Batch(), batch)
	}
	c.Paid = &paylink.PaidNote{}
	if err := json.Unmarshal([]byte(paid), c.Paid); err != nil {
		return fmt.Errorf("what receipt %s says: %w", m.ID, err)
	}
	return nil
}

// thank owes the payer a receipt for money that this change has counted, if the batch sends receipts. Money beyond the
// debt is flagged for a person, who should speak first.
func (m *moneyTx) thank() error {
	id, received := m.s.RequestID, m.paid-m.paidAtStart
	settled := m.payment == paylink.PaymentPaid || m.payment == paylink.PaymentPartiallyPaid
	if received <= 0 || !settled || m.paidAtStart-m.refAtFrom >= m.asked.Minor {
		return nil
	}
	var wanted bool
	if err := m.row(`SELECT receipts FROM batches WHERE id = $1`, int64(id.Batch())).Scan(&wanted); err != nil || !wanted {
		return err
	}
	ch, err := m.reachedBy(id)
	if err != nil || ch == "" {
		return err
	}
	note := paylink.PaidNote{
		Received: paylink.Money{Minor: received, Currency: m.asked.Currency},
		Left:     paylink.Money{Minor: max(0, m.asked.Minor-m.paid+m.refunded), Currency: m.asked.Currency},
	}
	for _, r := range m.rows {
		if r.kind == "settled" && r.session == m.s.ID {
			note.Reference = strings.TrimPrefix(r.ref, "capture:")
		}
	}
	says, err := json.Marshal(note)
	if err != nil {
		return err
	}
	var n int
	if err := m.row(`SELECT COALESCE(MAX(n), 0) + 1 FROM messages WHERE request_id = $1 AND purpose = 'receipt' AND channel = $2`, int64(id), string(ch)).Scan(&n); err != nil {
		return err
	}
	w, err := m.bearMessage(id, paylink.PurposeReceipt, ch, n, true)
	if err != nil {
		return err
	}
	// Nobody carries its wake to the queue, so that the sweeper should find it now.
	_, err = m.exec(`UPDATE messages SET paid = $2, wake_at = $3 WHERE id = $1`, w.ID, string(says), m.now)
	return err
}

// wakeReceipts has the receipts sent that waited while the batch stood still, now that it never runs again.
func (db *DB) wakeReceipts(ctx context.Context, id paylink.BatchID) error {
	lo, hi := batchRange(id)
	return db.change(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE messages SET wake_at = $3 WHERE request_id BETWEEN $1 AND $2 AND purpose = 'receipt' AND state = 'owed' AND wake_at IS NULL`, lo, hi, t.now)
		return err
	})
}

// reachedBy is the channel for a receipt: one by which the payer was reached, else one that has an address; email before
// the others. Empty if there is none.
func (t *tx) reachedBy(id paylink.RequestID) (paylink.Channel, error) {
	var rs requestScan
	var cs contactScan
	if err := t.row(`SELECT `+requestColumns+`, `+contactColumns+` FROM requests r JOIN contacts c ON c.request_id = r.id
		WHERE r.id = $1 AND c.redacted_at IS NULL`, int64(id)).Scan(append(rs.targets(), cs.targets()...)...); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		return "", err
	}
	r, err := rs.value()
	if err != nil {
		return "", err
	}
	c, err := cs.value()
	if err != nil {
		return "", err
	}
	took := map[paylink.Channel]bool{}
	if err := t.each(`SELECT channel FROM messages WHERE request_id = $1 AND purpose <> 'receipt' AND state IN ('accepted', 'sent', 'delivered', 'read')`,
		[]any{int64(id)}, func(r *sql.Rows) error {
			var ch paylink.Channel
			err := r.Scan(&ch)
			took[ch] = true
			return err
		}); err != nil {
		return "", err
	}
	first := func(fits func(paylink.Channel) bool) (found paylink.Channel) {
		for _, route := range r.Routes {
			for _, ch := range route {
				if c.Address(ch) == "" || !fits(ch) {
					continue
				}
				if found == "" || ch == paylink.Email {
					found = ch
				}
				break
			}
		}
		return found
	}
	if ch := first(func(ch paylink.Channel) bool { return took[ch] }); ch != "" {
		return ch, nil
	}
	return first(func(paylink.Channel) bool { return true }), nil
}
