package ledger

import (
	"context"
	"database/sql"
	"errors"
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
	dueReceiptQuery = `SELECT d.id, d.request_id FROM (
			SELECT id, request_id, receipt_at FROM messages WHERE channel = $1 AND receipt_at <= $2 AND receipt_at IS NOT NULL ORDER BY receipt_at LIMIT $3
		) d JOIN requests r ON r.id = d.request_id ORDER BY r.amount DESC, d.receipt_at LIMIT 1`
	countReceiptsQuery = `SELECT count(*) FROM (SELECT 1 FROM messages WHERE channel = $1 AND receipt_at <= $2 AND receipt_at IS NOT NULL LIMIT $3) d`
)

// ReceiptsDue counts the messages of a channel whose final word is overdue, up to a limit.
func (db *DB) ReceiptsDue(ctx context.Context, ch paylink.Channel, limit int) (n int, err error) {
	err = db.read.QueryRowContext(ctx, countReceiptsQuery, string(ch), db.Now().UnixMilli(), limit).Scan(&n)
	return n, err
}

// ClaimReceipt claims one message to ask its provider about: of those that have waited longest, the one of the largest
// debt. It is due again after as long as it has been under way, for a day. [paylink.ErrNotFound]: none is due.
func (db *DB) ClaimReceipt(ctx context.Context, ch paylink.Channel) (m paylink.Message, err error) {
	err = db.change(ctx, func(t *tx) error {
		m = paylink.Message{}
		var id paylink.MessageID
		var req paylink.RequestID
		if err := t.row(dueReceiptQuery, string(ch), t.now, oldestReceipts).Scan(&id, &req); err != nil {
			if errors.Is(err, sql.ErrNoRows) {
				err = paylink.ErrNotFound
			}
			return err
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
