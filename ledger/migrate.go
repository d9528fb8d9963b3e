package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed migrations/*/*.sql
var migrationFiles embed.FS

// ErrSchema means that this program must not work on the ledger as it is: the schema is older than what the program
// needs and may not be migrated, or newer and declared incompatible.
var ErrSchema = errors.New("ledger schema does not fit this program")

const (
	// schemaVersion is the newest migration this program knows, and what it needs.
	schemaVersion = 1
	// minCompatible is the oldest program version (as a schema version) that can still work on this schema. Changes
	// expand first and contract a release later, so it trails.
	minCompatible = 1
	// migrateLock is an arbitrary constant: the advisory lock that two starting programs agree on.
	migrateLock = 0x64756e6c696e
)

// migrate brings the schema up to date, each file in a transaction, under a lock so that two programs may start at once.
func (db *DB) migrate(ctx context.Context, allowed bool) error {
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	begin := `BEGIN IMMEDIATE`
	if db.dialect == &postgresDialect {
		begin = `BEGIN`
	}
	for {
		if _, err := conn.ExecContext(ctx, begin); err != nil {
			return err
		}
		more, err := db.migrateStep(ctx, conn, allowed)
		if err != nil {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`)
			return err
		}
		if _, err := conn.ExecContext(ctx, `COMMIT`); err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
}

// migrateStep applies the next missing file, if any, inside the transaction that conn is in.
func (db *DB) migrateStep(ctx context.Context, conn *sql.Conn, allowed bool) (more bool, err error) {
	if db.dialect == &postgresDialect {
		if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrateLock)); err != nil {
			return false, err
		}
	}
	if _, err := conn.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_info (version BIGINT NOT NULL, min_compatible BIGINT NOT NULL)`); err != nil {
		return false, err
	}
	var version, compatible int
	err = conn.QueryRowContext(ctx, `SELECT version, min_compatible FROM schema_info`).Scan(&version, &compatible)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	switch {
	case compatible > schemaVersion:
		return false, fmt.Errorf("%w: it is at version %d and takes programs from version %d on, this one is %d; use a newer program",
			ErrSchema, version, compatible, schemaVersion)
	case version >= schemaVersion:
		return false, nil
	case !allowed:
		return false, fmt.Errorf("%w: it is at version %d, this program needs %d; start the worker once to migrate it", ErrSchema, version, schemaVersion)
	}
	text, err := db.migration(version + 1)
	if err != nil {
		return false, err
	}
	if _, err := conn.ExecContext(ctx, text); err != nil {
		return false, fmt.Errorf("migration %d: %w", version+1, err)
	}
	if version == 0 {
		_, err = conn.ExecContext(ctx, `INSERT INTO schema_info (version, min_compatible) VALUES ($1, $2)`, 1, minCompatible)
	} else {
		_, err = conn.ExecContext(ctx, `UPDATE schema_info SET version = $1, min_compatible = $2`, version+1, minCompatible)
	}
	return version+1 < schemaVersion, err
}

func (db *DB) migration(n int) (string, error) {
	dir := "migrations/" + db.dialect.name
	entries, err := fs.ReadDir(migrationFiles, dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		num, _, _ := strings.Cut(e.Name(), "_")
		if k, err := strconv.Atoi(num); err == nil && k == n {
			b, err := migrationFiles.ReadFile(dir + "/" + e.Name())
			return string(b), err
		}
	}
	return "", fmt.Errorf("there is no migration %d for %s", n, db.dialect.name)
}
