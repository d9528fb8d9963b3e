package ledger

import (
	"context"
	"database/sql"
)

// MigrationFiles are the schema's texts.
var MigrationFiles = migrationFiles

// SQL is a way past the methods: tests break things with it and look at plans.
func (db *DB) SQL() *sql.DB { return db.read }

// OpenDebtsQuery is the import's look for open debts.
var OpenDebtsQuery = openDebtsQuery

// Change runs fn as one transaction that sees nothing of the ledger but plain statements.
func (db *DB) Change(ctx context.Context, fn func(exec func(string, ...any) error) error) error {
	return db.change(ctx, func(t *tx) error {
		return fn(func(query string, args ...any) error {
			_, err := t.exec(query, args...)
			return err
		})
	})
}
