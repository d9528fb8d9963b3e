package ledger

import (
	"context"
	"database/sql"
	"fmt"

	"dunlin/paylink"
)

// The feeder's looks, several times a second.
const (
	feedableQuery = `
		SELECT b.id, b.priority,
			COALESCE(SUM(CASE WHEN y.state = 'pending' THEN y.n END), 0),
			COALESCE(SUM(CASE WHEN y.state = 'in_flight' THEN y.n END), 0)
		FROM batches b JOIN tallies y ON y.batch_id = b.id AND y.kind = 'dispatch'
		WHERE b.state = 'running' AND b.state NOT IN ('done', 'canceled')
		GROUP BY b.id ORDER BY b.id`
	runningQuery = `SELECT id FROM batches WHERE state = 'running' AND state NOT IN ('done', 'canceled')`
)

// Feedable lists the running batches that have rows to feed.
func (db *DB) Feedable(ctx context.Context) ([]paylink.FeedState, error) {
	var out []paylink.FeedState
	err := each(ctx, db.read, feedableQuery, nil, func(r *sql.Rows) error {
		var f paylink.FeedState
		if err := r.Scan(&f.Batch, &f.Priority, &f.Pending, &f.InFlight); err != nil {
			return err
		}
		if f.Pending > 0 {
			out = append(out, f)
		}
		return nil
	})
	return out, err
}

// Feed moves up to n pending rows of a running batch, in file order, to in flight, and returns a wake for each. A canary
// ends the feeding after its rows.
func (db *DB) Feed(ctx context.Context, id paylink.BatchID, n int) (wakes []paylink.Wake, err error) {
	err = db.change(ctx, func(t *tx) error {
		wakes = nil
		var state paylink.BatchState
		var fed, canary, started int64
		if err := t.row(`SELECT state, fed, canary FROM batches WHERE id = $1`+t.db.dialect.forUpdate, int64(id)).Scan(&state, &fed, &canary); err != nil {
			return notFound(err, id)
		}
		if state != paylink.BatchRunning {
			return nil
		}
		limit := int64(n)
		if canary > 0 {
			c, err := t.counts(id)
			if err != nil {
				return err
			}
			started = c.Sum() - c.Rejected - c.Pending
			limit = min(limit, canary-started)
		}
		if limit <= 0 {
			return nil
		}
		_, hi := batchRange(id)
		var first, last int64
		err := t.each(`SELECT id, epoch FROM requests WHERE id > $1 AND id <= $2 AND dispatch = 'pending' ORDER BY id LIMIT $3`,
			[]any{int64(id)<<32 + fed, hi, limit}, func(r *sql.Rows) error {
				w := paylink.Wake{Task: paylink.TaskCreate}
				if err := r.Scan(&w.ID, &w.Epoch); err != nil {
					return err
				}
				w.Epoch++
				if first == 0 {
					first = w.ID
				}
				last = w.ID
				wakes = append(wakes, w)
				return nil
			})
		if err != nil || len(wakes) == 0 {
			return err
		}
		moved, err := t.exec(`UPDATE requests SET dispatch = 'in_flight', step = 'session', epoch = epoch + 1, next_at = $3, wake_at = $4, updated_at = $3
			WHERE id BETWEEN $1 AND $2 AND dispatch = 'pending'`, first, last, t.now, t.now+wakeGrace.Milliseconds())
		if err != nil {
			return err
		}
		if moved != int64(len(wakes)) {
			return fmt.Errorf("feed %s: %d of %d rows moved: %w", id, moved, len(wakes), paylink.ErrConflict)
		}
		if _, err := t.exec(`UPDATE batches SET fed = $2 WHERE id = $1`, int64(id), last&0xffffffff); err != nil {
			return err
		}
		t.tally(id, tallyDispatch, string(paylink.DispatchPending), -moved)
		t.tally(id, tallyDispatch, string(paylink.DispatchInFlight), moved)
		t.event(event{batch: id, entity: entityRows, from: string(paylink.DispatchPending), to: string(paylink.DispatchInFlight), why: "fed",
			firstRow: int(first & 0xffffffff), lastRow: int(last & 0xffffffff), n: moved})
		return nil
	})
	return wakes, err
}

// Advance moves running batches on: to done when nothing is pending or in flight, to held when the canary's rows are
// through, to halted when failures pass the brake. It returns what it stopped, for the operator.
func (db *DB) Advance(ctx context.Context) (stopped []paylink.Batch, err error) {
	var ids []paylink.BatchID
	err = each(ctx, db.read, runningQuery, nil, func(r *sql.Rows) error {
		var id paylink.BatchID
		ids = append(ids, id)
		return r.Scan(&ids[len(ids)-1])
	})
	if err != nil {
		return nil, err
	}
	if err := db.releaseHolds(ctx); err != nil {
		return nil, err
	}
	for _, id := range ids {
		c, _, err := readTally(ctx, db.read, id)
		if err != nil {
			return stopped, err
		}
		b, err := db.advanceOne(ctx, id, c)
		if err != nil {
			return stopped, err
		}
		if b.State == paylink.BatchHalted || b.State == paylink.BatchHeld {
			stopped = append(stopped, b)
		}
	}
	return stopped, nil
}

func (db *DB) advanceOne(ctx context.Context, id paylink.BatchID, seen paylink.Counts) (b paylink.Batch, err error) {
	err = db.changeIf(ctx, id, seen, func(t *tx, c paylink.Counts) error {
		var canary, percent, rows, failedBefore, throughBefore int64
		if err := t.row(`SELECT canary, brake_percent, brake_rows, brake_failed, brake_through FROM batches WHERE id = $1`, int64(id)).
			Scan(&canary, &percent, &rows, &failedBefore, &throughBefore); err != nil {
			return err
		}
		to, why := paylink.BatchState(""), ""
		started := c.Sum() - c.Rejected - c.Pending
		failed, through := c.Failed-failedBefore, started-c.InFlight-throughBefore
		switch {
		case c.Done():
			to = paylink.BatchDone
		case failed > rows && failed*100 > percent*through:
			to, why = paylink.BatchHalted, fmt.Sprintf("%d of %d rows failed, more than %d %%: look at the causes, then resume or cancel", failed, through, percent)
		case canary > 0 && started >= canary && c.InFlight == 0:
			to, why = paylink.BatchHeld, fmt.Sprintf("the first %d rows are through: look at them, then resume", started)
		default:
			return nil
		}
		if err := t.moveBatch(id, paylink.BatchRunning, to, "", why); err != nil {
			return err
		}
		b, err = scanBatch(t.row(`SELECT `+batchColumns+` FROM batches WHERE id = $1`, int64(id)))
		return err
	})
	return b, err
}

// changeIf opens a transaction only if the counts could move the batch at all: most ticks change nothing.
func (db *DB) changeIf(ctx context.Context, id paylink.BatchID, seen paylink.Counts, fn func(*tx, paylink.Counts) error) error {
	if !seen.Done() && seen.InFlight > 0 && seen.Failed == 0 {
		return nil
	}
	return db.change(ctx, func(t *tx) error {
		state, err := t.lockBatch(id)
		if err != nil || state != paylink.BatchRunning {
			return err
		}
		c, err := t.counts(id)
		if err != nil {
			return err
		}
		return fn(t, c)
	})
}
