package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"dunlin/paylink"
)

// attachmentLife is how long a fetched file is kept: longer than a mail is tried, no longer than that, because invoices
// hold personal data.
const attachmentLife = 3 * 24 * time.Hour

func hashOf(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// Attachment returns the file that was fetched from an address for a batch, if it is still kept.
func (db *DB) Attachment(ctx context.Context, id paylink.BatchID, url string) (a paylink.Attachment, found bool, err error) {
	var hash string
	err = db.read.QueryRowContext(ctx, `SELECT name, type, bytes, hash FROM attachments WHERE batch_id = $1 AND url_hash = $2`,
		int64(id), hashOf([]byte(url))).Scan(&a.Name, &a.Type, &a.Data, &hash)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return a, false, nil
	case err == nil && hashOf(a.Data) != hash:
		err = errors.New("its bytes are not those that were stored")
	}
	if err != nil {
		return a, false, fmt.Errorf("attachment of batch %s: %w", id, err)
	}
	return a, true, nil
}

// SaveAttachment keeps a fetched file and returns what is kept, which is another's if that was faster. Files that were kept
// long enough go.
func (db *DB) SaveAttachment(ctx context.Context, id paylink.BatchID, url string, a paylink.Attachment) (paylink.Attachment, error) {
	err := db.change(ctx, func(t *tx) error {
		if _, err := t.exec(`DELETE FROM attachments WHERE fetched_at < $1`, t.now-attachmentLife.Milliseconds()); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO attachments (batch_id, url_hash, name, type, hash, bytes, fetched_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (batch_id, url_hash) DO NOTHING`, int64(id), hashOf([]byte(url)), a.Name, a.Type, hashOf(a.Data), a.Data, t.now)
		return err
	})
	if err != nil {
		return a, fmt.Errorf("keep an attachment of batch %s: %w", id, err)
	}
	kept, found, err := db.Attachment(ctx, id, url)
	if err != nil || !found {
		return a, err
	}
	return kept, nil
}

// DropAttachments deletes the fetched files that were kept long enough.
func (db *DB) DropAttachments(ctx context.Context) error {
	return db.change(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM attachments WHERE fetched_at < $1`, t.now-attachmentLife.Milliseconds())
		return err
	})
}
