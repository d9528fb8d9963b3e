package ledger

import (
	"fmt"

	"dunlin/paylink"
)

// ErrTestBatch is the ErrConflict of a test batch that would reach providers which are no stand-ins.
var ErrTestBatch = fmt.Errorf("it is a test batch, and the providers of this installation are real: %w", paylink.ErrConflict)

// inSandbox refuses what would set a test batch going anywhere but in a sandbox. It stands where a batch begins to run
// and where a checkout session begins, so that neither a server nor a worker nor a payer's click comes by it.
func (t *tx) inSandbox(id paylink.BatchID) error {
	if t.db.sandbox {
		return nil
	}
	var test bool
	if err := t.row(`SELECT test FROM batches WHERE id = $1`, int64(id)).Scan(&test); err != nil {
		return notFound(err, id)
	}
	if test {
		return fmt.Errorf("batch %s: %w", id, ErrTestBatch)
	}
	return nil
}

// actingColumn is the batch's state as far as claims go: outside a sandbox a test batch stands still.
func (db *DB) actingColumn() string {
	if db.sandbox {
		return `b.state`
	}
	return `CASE WHEN b.test THEN 'held' ELSE b.state END`
}
