package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"dunlin/paylink"
)

// NewBatch is what a batch is made from.
type NewBatch struct {
	Name   string // the file's name
	Hash   string // SHA-256 (hex) of its content
	Format string
	Header []string
	Parent paylink.BatchID // the batch whose error file this is
	Actor  string
	// Options say how the file was read (JSON); resuming with other options is refused.
	Options string
	// Again makes a new batch of content that was sent before.
	Again bool
	// Receipts sends who has paid a receipt.
	Receipts bool
	// Canary, when positive, is how many rows go first.
	Canary int
	// BrakePercent and BrakeRows halt the batch when failures exceed both; 0 = 10 % and 20 rows.
	BrakePercent, BrakeRows int
	// Test makes a batch that is sent only where all providers are stand-ins; see [Options.Sandbox].
	Test bool
}

// SentBeforeError says that the same content is already in the ledger.
type SentBeforeError struct {
	Batch paylink.BatchID
	State paylink.BatchState
}

func (e *SentBeforeError) Error() string {
	return fmt.Sprintf("the same file was sent before as batch %s, which is %s", e.Batch, e.State)
}

// Unwrap makes errors.Is(err, paylink.ErrConflict) hold.
func (e *SentBeforeError) Unwrap() error { return paylink.ErrConflict }

const batchColumns = `id, state, name, source_hash, source_format, COALESCE(parent, 0), header, imported, COALESCE(rows_total, 0),
	canary, priority, receipts, why, plan, created_at, created_by, confirmed_at, finished_at, test`

func scanBatch(s interface{ Scan(...any) error }) (paylink.Batch, error) {
	var b paylink.Batch
	var header, plan string
	var created int64
	var confirmed, finished sql.NullInt64
	err := s.Scan(&b.ID, &b.State, &b.Name, &b.Hash, &b.Format, &b.Parent, &header, &b.Imported, &b.Rows,
		&b.Canary, &b.Priority, &b.Receipts, &b.Why, &plan, &created, &b.CreatedBy, &confirmed, &finished, &b.Test)
	if errors.Is(err, sql.ErrNoRows) {
		return b, paylink.ErrNotFound
	}
	if err != nil {
		return b, err
	}
	b.Plan = []byte(plan)
	b.CreatedAt, b.ConfirmedAt, b.FinishedAt = toTime(created), nullTime(confirmed), nullTime(finished)
	return b, json.Unmarshal([]byte(header), &b.Header)
}

// CreateBatch opens a batch in state importing, or returns the one of the same content that is still importing or a
// draft, so that a killed send goes on. Content of a running or finished batch is a [*SentBeforeError] unless Again.
func (db *DB) CreateBatch(ctx context.Context, n NewBatch) (b paylink.Batch, resumed bool, err error) {
	header, err := json.Marshal(n.Header)
	if err != nil {
		return b, false, err
	}
	err = db.change(ctx, func(t *tx) error {
		resumed = false
		// A canceled batch is no obstacle, and must not hide an earlier one of the same content that is.
		old, err := scanBatch(t.row(`SELECT `+batchColumns+` FROM batches WHERE source_hash = $1 AND state <> 'canceled' AND test = $2
			ORDER BY again DESC LIMIT 1`, n.Hash, n.Test))
		switch {
		case err == nil && (old.State == paylink.BatchImporting || old.State == paylink.BatchDraft):
			var options string
			if err := t.row(`SELECT options FROM batches WHERE id = $1`, int64(old.ID)).Scan(&options); err != nil {
				return err
			}
			if options != n.Options {
				return fmt.Errorf("batch %s of the same file was begun with other options; cancel it first (enqueue cancel %s): %w",
					old.ID, old.ID, paylink.ErrConflict)
			}
			b, resumed = old, true
			return nil
		case err == nil && !n.Again:
			return &SentBeforeError{old.ID, old.State}
		case err != nil && !errors.Is(err, paylink.ErrNotFound):
			return err
		}
		var again int64
		if err := t.row(`SELECT COALESCE(MAX(again) + 1, 0) FROM batches WHERE source_hash = $1`, n.Hash).Scan(&again); err != nil {
			return err
		}
		var parent any
		if n.Parent != 0 {
			parent = int64(n.Parent)
		}
		if n.BrakePercent == 0 {
			n.BrakePercent = 10
		}
		if n.BrakeRows == 0 {
			n.BrakeRows = 20
		}
		b, err = scanBatch(t.row(`
			INSERT INTO batches (state, name, source_hash, again, source_format, parent, header, options, canary,
				brake_percent, brake_rows, receipts, created_at, created_by, test)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
			RETURNING `+batchColumns,
			string(paylink.BatchImporting), n.Name, n.Hash, again, n.Format, parent, string(header), n.Options, n.Canary,
			n.BrakePercent, n.BrakeRows, n.Receipts, t.now, n.Actor, n.Test))
		if err != nil {
			return err
		}
		t.event(event{batch: b.ID, entity: "batch", id: int64(b.ID), to: string(paylink.BatchImporting), actor: n.Actor})
		return nil
	})
	if err != nil && db.dialect.unique(err) { // two sends of one file at once: the other was first
		return db.CreateBatch(ctx, n)
	}
	return b, resumed, err
}

// FinishImport closes the import: the file was read whole and had this many rows. The batch becomes a draft.
func (db *DB) FinishImport(ctx context.Context, id paylink.BatchID, rows int, plan []byte, actor string) error {
	return db.change(ctx, func(t *tx) error {
		if err := t.one(`UPDATE batches SET rows_total = $2, plan = $3 WHERE id = $1 AND state = 'importing' AND imported = $2`,
			int64(id), rows, string(plan)); err != nil {
			return fmt.Errorf("finish import of %s: %w", id, err)
		}
		return t.moveBatch(id, paylink.BatchImporting, paylink.BatchDraft, actor, "")
	})
}

// moveBatch moves a batch between two states, or returns ErrConflict.
func (t *tx) moveBatch(id paylink.BatchID, from, to paylink.BatchState, actor, why string) error {
	if !paylink.BatchMachine.CanByCommand(from, to) {
		return paylink.BatchMachine.Check(from, to)
	}
	if to == paylink.BatchRunning {
		if err := t.inSandbox(id); err != nil {
			return err
		}
	}
	if err := t.one(`UPDATE batches SET state = $3, why = $4 WHERE id = $1 AND state = $2`, int64(id), string(from), string(to), why); err != nil {
		return err
	}
	if to == paylink.BatchDone || to == paylink.BatchCanceled {
		if _, err := t.exec(`UPDATE batches SET finished_at = $2 WHERE id = $1`, int64(id), t.now); err != nil {
			return err
		}
	}
	t.event(event{batch: id, entity: "batch", id: int64(id), from: string(from), to: string(to), actor: actor, why: why})
	return nil
}

func (t *tx) batchState(id paylink.BatchID) (s paylink.BatchState, err error) {
	err = t.row(`SELECT state FROM batches WHERE id = $1`, int64(id)).Scan(&s)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("batch %s: %w", id, paylink.ErrNotFound)
	}
	return s, err
}

// lockBatch is batchState for who goes on to decide by the batch's counts, or adds to what it owes.
func (t *tx) lockBatch(id paylink.BatchID) (s paylink.BatchState, err error) {
	err = t.row(`SELECT state FROM batches WHERE id = $1`+t.db.dialect.forUpdate, int64(id)).Scan(&s)
	return s, notFound(err, id)
}

// Confirm says yes to a draft's plan: the batch runs.
func (db *DB) Confirm(ctx context.Context, id paylink.BatchID, actor, why string) error {
	return db.change(ctx, func(t *tx) error {
		if err := t.moveBatch(id, paylink.BatchDraft, paylink.BatchRunning, actor, why); err != nil {
			return fmt.Errorf("confirm %s: %w", id, err)
		}
		_, err := t.exec(`UPDATE batches SET confirmed_at = $2, confirmed_by = $3 WHERE id = $1`, int64(id), t.now, actor)
		return err
	})
}

// Pause stops a batch for now: nothing of it is claimed any more; what is at the point of no return finishes.
func (db *DB) Pause(ctx context.Context, id paylink.BatchID, actor, why string) error {
	return db.stop(ctx, id, paylink.BatchPaused, actor, why, paylink.BatchRunning, paylink.BatchHalted, paylink.BatchHeld)
}

// Halt is the brake: the batch stops by itself until a person resumes it. A batch that does not run is left as it is.
func (db *DB) Halt(ctx context.Context, id paylink.BatchID, why string) error {
	err := db.stop(ctx, id, paylink.BatchHalted, systemActor, why, paylink.BatchRunning)
	if errors.Is(err, paylink.ErrConflict) {
		return nil
	}
	return err
}

func (db *DB) stop(ctx context.Context, id paylink.BatchID, to paylink.BatchState, actor, why string, from ...paylink.BatchState) error {
	return db.change(ctx, func(t *tx) error {
		state, err := t.lockBatch(id)
		if err != nil {
			return err
		}
		for _, f := range from {
			if f == state {
				return t.moveBatch(id, state, to, actor, why)
			}
		}
		return fmt.Errorf("batch %s is %s: %w", id, state, paylink.ErrConflict)
	})
}

// Resume lets a paused, halted or held batch run on. A canary that a person has looked at is over, and the brake counts
// anew from here.
func (db *DB) Resume(ctx context.Context, id paylink.BatchID, actor, why string) error {
	return db.change(ctx, func(t *tx) error {
		state, err := t.lockBatch(id)
		if err != nil {
			return err
		}
		if state != paylink.BatchPaused && state != paylink.BatchHalted && state != paylink.BatchHeld {
			return fmt.Errorf("batch %s is %s: %w", id, state, paylink.ErrConflict)
		}
		held, err := t.releaseHold(id)
		if err != nil {
			return err
		}
		if err := t.moveBatch(id, state, paylink.BatchRunning, actor, why); err != nil {
			return err
		}
		if held { // before anything was sent: its canary is still to come
			return t.wakeBatch(id)
		}
		switch state {
		case paylink.BatchHeld:
			_, err = t.exec(`UPDATE batches SET canary = 0 WHERE id = $1`, int64(id))
		case paylink.BatchHalted:
			err = t.releaseBrake(id)
		}
		if err != nil {
			return err
		}
		return t.wakeBatch(id)
	})
}

// releaseBrake lets the brake count anew: what failed before has been looked at.
func (t *tx) releaseBrake(id paylink.BatchID) error {
	c, err := t.counts(id)
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE batches SET brake_failed = $2, brake_through = $3 WHERE id = $1`,
		int64(id), c.Failed, c.Sum()-c.Rejected-c.Pending-c.InFlight)
	return err
}

// wakeBatch makes everything of the batch that was parked while it stood still due now. The feeding window bounds how
// many rows that can be.
func (t *tx) wakeBatch(id paylink.BatchID) error {
	lo, hi := batchRange(id)
	if _, err := t.exec(`UPDATE requests SET wake_at = $3 WHERE id BETWEEN $1 AND $2 AND dispatch = 'in_flight' AND step = 'session' AND wake_at IS NULL`,
		lo, hi, t.now); err != nil {
		return err
	}
	_, err := t.exec(`UPDATE messages SET wake_at = $3 WHERE request_id BETWEEN $1 AND $2 AND state = 'owed' AND wake_at IS NULL
		AND (purpose = 'receipt' OR EXISTS (SELECT 1 FROM requests r WHERE r.id = messages.request_id AND r.step = 'messages'))`, lo, hi, t.now)
	return err
}

// batchRange is the range of ids of the batch's requests.
func batchRange(id paylink.BatchID) (lo, hi int64) {
	return int64(id)<<32 + 1, int64(id)<<32 + 0xffffffff
}

// Batch returns one batch.
func (db *DB) Batch(ctx context.Context, id paylink.BatchID) (paylink.Batch, error) {
	b, err := scanBatch(db.read.QueryRowContext(ctx, `SELECT `+batchColumns+` FROM batches WHERE id = $1`, int64(id)))
	if err != nil {
		err = fmt.Errorf("batch %s: %w", id, err)
	}
	return b, err
}

// Batches returns the newest batches first, at most limit.
func (db *DB) Batches(ctx context.Context, limit int) ([]paylink.Batch, error) {
	var out []paylink.Batch
	err := each(ctx, db.read, `SELECT `+batchColumns+` FROM batches ORDER BY id DESC LIMIT $1`, []any{limit}, func(r *sql.Rows) error {
		b, err := scanBatch(r)
		out = append(out, b)
		return err
	})
	return out, err
}

// counts reads the till inside a transaction, the deltas that are not written yet included: its own, and those of the
// changes that share the commit.
func (t *tx) counts(id paylink.BatchID) (paylink.Counts, error) {
	c, _, err := readTally(t.ctx, t.q, id)
	for _, tallies := range []map[tallyKey]int64{t.notes.tallies, t.shared} {
		for k, n := range tallies {
			if k.batch == id && k.kind != tallyPayment {
				addCount(&c, k.kind, k.state, n)
			}
		}
	}
	return c, err
}

func readTally(ctx context.Context, q querier, id paylink.BatchID) (c paylink.Counts, payments map[paylink.PaymentState]int64, err error) {
	payments = map[paylink.PaymentState]int64{}
	err = each(ctx, q, `SELECT kind, state, n FROM tallies WHERE batch_id = $1`, []any{int64(id)}, func(r *sql.Rows) error {
		var kind, state string
		var n int64
		if err := r.Scan(&kind, &state, &n); err != nil {
			return err
		}
		if kind == tallyPayment {
			payments[paylink.PaymentState(state)] += n
		} else {
			addCount(&c, kind, state, n)
		}
		return nil
	})
	return c, payments, err
}

func addCount(c *paylink.Counts, kind, state string, n int64) {
	switch kind {
	case tallyRejected:
		c.Rejected += n
	case tallyDispatch:
		*countOf(c, paylink.DispatchState(state)) += n
	}
}

func countOf(c *paylink.Counts, s paylink.DispatchState) *int64 {
	switch s {
	case paylink.DispatchPending:
		return &c.Pending
	case paylink.DispatchInFlight:
		return &c.InFlight
	case paylink.DispatchSent:
		return &c.Sent
	case paylink.DispatchFailed:
		return &c.Failed
	case paylink.DispatchSuppressed:
		return &c.Suppressed
	case paylink.DispatchSkipped:
		return &c.Skipped
	case paylink.DispatchCanceled:
		return &c.Canceled
	}
	return &c.Unknown
}

// Status reads a handful of rows, however large the batch is.
func (db *DB) Status(ctx context.Context, id paylink.BatchID) (paylink.Status, error) {
	b, err := db.Batch(ctx, id)
	if err != nil {
		return paylink.Status{}, err
	}
	s := paylink.Status{Batch: id, Name: b.Name, State: b.State, Why: b.Why, CreatedAt: b.CreatedAt}
	if !b.FinishedAt.IsZero() && (b.State == paylink.BatchDone || b.State == paylink.BatchCanceled) {
		s.FinishedAt = &b.FinishedAt
	}
	if s.Counts, s.Payments, err = readTally(ctx, db.read, id); err != nil {
		return s, err
	}
	s.Rows = s.Counts.Sum()
	s.Done = s.Counts.Done() && b.State != paylink.BatchImporting && b.State != paylink.BatchDraft
	s.ChecksDue, err = db.checksDue(ctx, id)
	return s, err
}

// checksDue counts the look-ups that are still planned for unknown outcomes of the batch.
func (db *DB) checksDue(ctx context.Context, id paylink.BatchID) (n int64, err error) {
	lo, hi := batchRange(id)
	err = db.read.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM messages WHERE channel IN ('email', 'sms', 'whatsapp') AND (request_id >> 32) = $1
				AND wake_at IS NOT NULL AND state = 'unknown')
			+ (SELECT count(*) FROM sessions WHERE check_at IS NOT NULL AND (lost OR state = 'ghost') AND +request_id BETWEEN $2 AND $3)`,
		int64(id), lo, hi).Scan(&n)
	return n, err
}

// Age is how long ago t was by the ledger's clock.
func (db *DB) Age(t time.Time) time.Duration { return db.Now().Sub(t) }
