package ledger

import (
	"context"
	"database/sql"
	"time"

	"dunlin/paylink"
)

const (
	// receiptLife is how long a provider is asked about a message; after that it stays as it is, without a receipt.
	receiptLife = 24 * time.Hour
	// oldestReceipts is among how many of the longest waiting the largest debt goes first.
	oldestReceipts = 50
	// classReceipt counts what was asked against the channel's budget.
	classReceipt = "receipt"
)

const (
	dueReceiptQuery = `SELECT m.id, m.request_id, r.amount FROM messages m JOIN requests r ON r.id = m.request_id
		WHERE m.channel = $1 AND m.receipt_at <= $2 AND m.receipt_at IS NOT NULL ORDER BY m.receipt_at LIMIT $3`
	countReceiptsQuery = `SELECT count(*) FROM messages WHERE channel = $1 AND receipt_at <= $2 AND receipt_at IS NOT NULL`
)

// ReceiptsDue counts the messages of a channel whose final word is overdue.
func (db *DB) ReceiptsDue(ctx context.Context, ch paylink.Channel) (n int, err error) {
	err = db.read.QueryRowContext(ctx, countReceiptsQuery, string(ch), db.Now().UnixMilli()).Scan(&n)
	return n, err
}

// ClaimReceipt claims one message to ask its provider about: of those that have waited longest, the one of the largest
// debt. It is due again after as long as it has been under way, for a day. [paylink.ErrNotFound]: none is due.
func (db *DB) ClaimReceipt(ctx context.Context, ch paylink.Channel) (m paylink.Message, err error) {
	err = db.change(ctx, func(t *tx) error {
		m = paylink.Message{}
		var id paylink.MessageID
		var req paylink.RequestID
		largest := int64(-1)
		if err := t.each(dueReceiptQuery, []any{string(ch), t.now, oldestReceipts}, func(r *sql.Rows) error {
			var x paylink.MessageID
			var of paylink.RequestID
			var amount int64
			err := r.Scan(&x, &of, &amount)
			if amount > largest {
				id, req, largest = x, of, amount
			}
			return err
		}); err != nil {
			return err
		}
		if id == 0 {
			return paylink.ErrNotFound
		}
		if err := t.lock(req); err != nil {
			return err
		}
		var left int64
		if err := t.row(`SELECT `+messageColumns+`, COALESCE((SELECT MAX(a.committing_at) FROM attempts a WHERE a.message_id = m.id AND a.state = 'accepted'), m.created_at)
			FROM messages m WHERE m.id = $1`, int64(id)).Scan(append(messageTargets(&m), &left)...); err != nil {
			return err
		}
		var next any
		if age := t.now - left; age < receiptLife.Milliseconds() {
			next = min(t.now+max(age, receiptPatience.Milliseconds()), left+receiptLife.Milliseconds())
		}
		t.use(string(ch), classReceipt)
		return t.one(`UPDATE messages SET receipt_at = $2 WHERE id = $1 AND receipt_at <= $3`, int64(id), next, t.now)
	})
	return m, err
}
