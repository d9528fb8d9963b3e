package ledger

import (
	"context"
	"database/sql"
	"time"

	"dunlin/paylink"
)

// Vitals reads a handful of rows of each table, however much the ledger holds.
func (db *DB) Vitals(ctx context.Context) (v paylink.Vitals, err error) {
	v.Batches, v.Rows, v.Used = map[paylink.BatchState]int64{}, map[paylink.DispatchState]int64{}, map[string]int64{}
	count := func(query string, into func(string, int64), args ...any) {
		if err != nil {
			return
		}
		err = each(ctx, db.read, query, args, func(r *sql.Rows) error {
			var key string
			var n int64
			err := r.Scan(&key, &n)
			into(key, n)
			return err
		})
	}
	count(`SELECT state, count(*) FROM batches GROUP BY state`, func(k string, n int64) { v.Batches[paylink.BatchState(k)] = n })
	count(`SELECT t.state, SUM(t.n) FROM tallies t JOIN batches b ON b.id = t.batch_id
		WHERE t.kind = 'dispatch' AND b.state NOT IN ('done', 'canceled') GROUP BY t.state`,
		func(k string, n int64) { v.Rows[paylink.DispatchState(k)] = n })
	count(`SELECT provider, SUM(n) FROM usage WHERE day = $1 GROUP BY provider`,
		func(k string, n int64) { v.Used[k] = n }, db.Now().UTC().Format(time.DateOnly))
	count(`SELECT 'flags', count(*) FROM flags WHERE closed_at IS NULL`, func(_ string, n int64) { v.Flags = n })
	count(`SELECT 'unapplied', count(*) FROM provider_events WHERE applied_at IS NULL`, func(_ string, n int64) { v.Unapplied = n })
	count(`SELECT 'pending', COALESCE(MIN(b.confirmed_at), 0) FROM batches b WHERE b.state = 'running'
		AND (SELECT COALESCE(SUM(t.n), 0) FROM tallies t WHERE t.batch_id = b.id AND t.kind = 'dispatch' AND t.state = 'pending') > 0`,
		func(_ string, at int64) { v.OldestPending = since(at) })
	count(`SELECT 'due', COALESCE(MIN(wake_at), 0) FROM requests WHERE wake_at IS NOT NULL`, func(_ string, at int64) {
		if at <= db.Now().UnixMilli() {
			v.OldestDue = since(at)
		}
	})
	for _, ch := range paylink.Channels {
		if err == nil {
			var n int
			n, err = db.ReceiptsDue(ctx, ch)
			v.ReceiptsDue += int64(n)
		}
	}
	if err == nil {
		v.Gates, err = db.Gates(ctx)
	}
	return v, err
}

func since(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return toTime(at)
}
