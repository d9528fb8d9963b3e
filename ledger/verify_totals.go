package ledger

import (
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// totals compares the till's sums, and how far the rows came, with the rows.
func (v *verifier) totals() error {
	told, rows := map[string]int64{}, map[string]int64{}
	err := each(v.ctx, v.q, `SELECT kind, state, n FROM tallies WHERE batch_id = $1 AND kind IN ('asked', 'collected', 'reach')`, []any{int64(v.batch.ID)},
		func(r *sql.Rows) error {
			var kind, state string
			var n int64
			err := r.Scan(&kind, &state, &n)
			state, _, _ = strings.Cut(state, " ") // of money collected the day is left out
			told[kind+" "+state] += n
			return err
		})
	if err != nil {
		return err
	}
	lo, hi := batchRange(v.batch.ID)
	for _, q := range []string{
		`SELECT 'asked ' || currency, SUM(amount) FROM requests WHERE id BETWEEN $1 AND $2 GROUP BY currency`,
		`SELECT 'collected ' || currency, SUM(paid - refunded) FROM requests WHERE id BETWEEN $1 AND $2 GROUP BY currency`,
		`SELECT 'reach opened', count(*) FROM requests WHERE id BETWEEN $1 AND $2 AND engaged_at IS NOT NULL`,
		`SELECT 'reach delivered', count(DISTINCT request_id) FROM messages WHERE request_id BETWEEN $1 AND $2 AND purpose = 'link' AND state IN ('delivered', 'read')`,
	} {
		err := each(v.ctx, v.q, q, []any{lo, hi}, func(r *sql.Rows) error {
			var what string
			var n int64
			err := r.Scan(&what, &n)
			rows[what] = n
			return err
		})
		if err != nil {
			return fmt.Errorf("add up: %w", err)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(rows)) {
		if told[what] != rows[what] {
			v.report.add("total", what, "the counter says %d, the rows add up to %d", told[what], rows[what])
		}
		delete(told, what)
	}
	for _, what := range slices.Sorted(maps.Keys(told)) {
		if told[what] != 0 {
			v.report.add("total", what, "the counter says %d, there are no such rows", told[what])
		}
	}
	return nil
}
