package ledger_test

import (
	"database/sql"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
)

// TestPlans holds the queries that run all the time to their indexes.
func TestPlans(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			db := ledgertest.Open(t, d.make(t)(t), nil).SQL()
			db.SetMaxOpenConns(1)
			if d.name == "postgres" { // an empty table is quicker to read whole
				if _, err := db.Exec(`SET enable_seqscan = off`); err != nil {
					t.Fatal(err)
				}
			}
			for name, look := range ledger.Looks {
				plan := explain(t, db, d.name, look.Query)
				if !strings.Contains(plan, look.Index) {
					t.Errorf("%s: the plan does not use %s:\n%s", name, look.Index, plan)
				}
				if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "TEMP B-TREE FOR ORDER BY") {
					t.Errorf("%s: the plan reads too much:\n%s", name, plan)
				}
				if d.name == "sqlite" {
					for _, line := range scans(plan) {
						t.Errorf("%s: the plan reads a whole table: %s", name, line)
					}
				}
			}
		})
	}
}

var placeholder = regexp.MustCompile(`\$\d+`)

// explain is the database's plan for a query whose arguments are all 1.
func explain(t *testing.T, db *sql.DB, dialect, text string) string {
	t.Helper()
	explain := `EXPLAIN QUERY PLAN `
	if dialect == "postgres" {
		explain = `EXPLAIN `
	}
	// A quoted 1 is of whatever type it is compared with.
	rows, err := db.QueryContext(t.Context(), explain+placeholder.ReplaceAllString(text, `'1'`))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	columns, _ := rows.Columns()
	var plan strings.Builder
	for rows.Next() {
		into := make([]any, len(columns))
		for i := range into {
			into[i] = new(any)
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&plan, *into[len(into)-1].(*any))
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return plan.String()
}

// scans are the lines of a plan of SQLite that read a whole table. A scan of an index that holds only the rows in
// question is none.
func scans(plan string) (out []string) {
	for line := range strings.Lines(plan) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "SCAN ") || strings.Contains(line, "USING INDEX") || strings.Contains(line, "USING COVERING INDEX") ||
			strings.HasPrefix(line, "SCAN p") || line == "SCAN CONSTANT ROW" || line == "SCAN users" { // a handful of people
			continue
		}
		out = append(out, line)
	}
	return out
}

// noScans explains every statement and finds no table read whole.
func noScans(t *testing.T, statements map[string]bool) {
	db, _ := ledgertest.New(t)
	if len(statements) < 50 {
		t.Errorf("got only %d statements: the look at their plans has gone blind", len(statements))
	}
	for _, s := range slices.Sorted(maps.Keys(statements)) {
		if verb, _, _ := strings.Cut(strings.TrimSpace(s), " "); verb != "SELECT" && verb != "UPDATE" && verb != "DELETE" {
			continue
		}
		for _, line := range scans(explain(t, db.SQL(), "sqlite", s)) {
			t.Errorf("%s\n\treads a whole table: %s", s, line)
		}
	}
}
