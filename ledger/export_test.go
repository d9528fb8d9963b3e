package ledger

import (
	"context"
	"database/sql"
	"maps"
	"runtime"
	"slices"
)

// MigrationFiles are the schema's texts.
var MigrationFiles = migrationFiles

// SQL is a way past the methods: tests break things with it and look at plans.
func (db *DB) SQL() *sql.DB { return db.read }

// Change runs fn as one transaction that sees nothing of the ledger but plain statements.
func (db *DB) Change(ctx context.Context, fn func(exec func(string, ...any) error) error) error {
	return db.change(ctx, func(t *tx) error {
		return fn(func(query string, args ...any) error {
			_, err := t.exec(query, args...)
			return err
		})
	})
}

// AwaitWaiting returns when n changes wait for SQLite's writer.
func (db *DB) AwaitWaiting(n int) {
	for len(db.group.members) < n {
		runtime.Gosched()
	}
}

// WriterStatements are the texts that the writer has prepared so far.
func (db *DB) WriterStatements() []string {
	return slices.Sorted(maps.Keys(db.group.cache.stmts))
}

// Looks are the queries that run all the time, by name, with what a plan must say of each: which index it walks.
var Looks = map[string]struct{ Query, Index string }{
	"awake":      {awakeQuery, "messages_wake"},
	"requests":   {dueRequestsQuery, "requests_wake"},
	"sessions":   {dueSessionsQuery, "sessions_check"},
	"feedable":   {feedableQuery, "batches_active"},
	"running":    {runningQuery, "batches_active"},
	"open debts": {openDebtsQuery, "requests_debt"},
	"unapplied":  {unappliedQuery, "provider_events_unapplied"},
}
