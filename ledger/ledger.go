package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"
)

// Options tune a ledger; the zero value is right for production.
type Options struct {
	// Now replaces the clock, for tests and for moving time by hand. nil = the database's clock: the machine's own for
	// SQLite, the server's for PostgreSQL (measured as an offset and checked again in the SQL that grants the right to send).
	Now func() time.Time
	// NoMigrate opens the ledger only if its schema is already there.
	NoMigrate bool
	// Sandbox says that every provider which this program may call is a stand-in on this machine. Without it the ledger
	// lets no test batch run and grants nobody the right to make a session or send a message of one.
	Sandbox bool
}

// DB is an open ledger. It is safe for concurrent use.
type DB struct {
	dialect *dialect
	read    *sql.DB
	write   *sql.DB // the same as read on PostgreSQL
	group   *group  // SQLite's single writer; nil on PostgreSQL
	clock   func() time.Time
	sandbox bool

	mu       sync.Mutex
	offset   time.Duration // database clock minus ours
	measured time.Time
	stmts    map[string]*sql.Stmt // read statements
}

// Open opens the ledger that the address names ("sqlite:PATH" or "postgres://…") and brings its schema up to date under a
// lock. It refuses a schema that this program cannot work with; see [ErrSchema].
func Open(ctx context.Context, address string, opt Options) (*DB, error) {
	db := &DB{clock: opt.Now, sandbox: opt.Sandbox, stmts: map[string]*sql.Stmt{}}
	var err error
	switch scheme, rest, _ := strings.Cut(address, ":"); scheme {
	case "sqlite":
		db.dialect = &sqliteDialect
		err = db.openSQLite(rest)
	case "postgres", "postgresql":
		db.dialect = &postgresDialect
		if db.read, err = sql.Open("pgx", address); err == nil {
			db.read.SetMaxOpenConns(32)
			db.read.SetMaxIdleConns(32)
			db.read.SetConnMaxIdleTime(5 * time.Minute)
			db.write = db.read
		}
	default:
		return nil, fmt.Errorf("ledger address must begin with sqlite: or postgres:, not %q", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := db.migrate(ctx, !opt.NoMigrate); err != nil {
		db.Close()
		return nil, fmt.Errorf("prepare ledger: %w", err)
	}
	if db.dialect == &sqliteDialect {
		if db.group, err = startGroup(ctx, db); err != nil {
			db.Close()
			return nil, fmt.Errorf("open ledger for writing: %w", err)
		}
	}
	return db, nil
}

// openSQLite opens two pools on one file. Pragmas stand in the DSN because Exec would reach one pooled connection only.
func (db *DB) openSQLite(path string) error {
	path = strings.TrimPrefix(path, "//")
	if path == "" || strings.Contains(path, ":memory:") {
		return fmt.Errorf("sqlite needs the path of a file: each pooled connection would see a memory database of its own")
	}
	pragmas := url.Values{"_pragma": {
		"busy_timeout(30000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"cache_size(-4000)", "temp_store(MEMORY)", "wal_autocheckpoint(16000)",
	}}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + pragmas.Encode()
	var err error
	if db.write, err = sql.Open("sqlite", dsn+"&_txlock=immediate"); err != nil {
		return err
	}
	db.write.SetMaxOpenConns(1)
	if db.read, err = sql.Open("sqlite", dsn); err != nil {
		return err
	}
	db.read.SetMaxOpenConns(4)
	db.read.SetMaxIdleConns(4)
	return nil
}

// Close waits for writes under way and closes the database.
func (db *DB) Close() error {
	if db.group != nil {
		db.group.stop()
	}
	var err error
	if db.read != nil {
		err = db.read.Close()
	}
	if db.write != nil && db.write != db.read {
		if e := db.write.Close(); err == nil {
			err = e
		}
	}
	return err
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.read.PingContext(ctx) }

// Now is the time by which leases are judged.
func (db *DB) Now() time.Time {
	if db.clock != nil {
		return db.clock()
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	return time.Now().Add(db.offset)
}

// syncClock measures how far the database's clock is from ours, now and then.
func (db *DB) syncClock(ctx context.Context, q querier) error {
	if db.clock != nil || db.dialect.clock == "" {
		return nil
	}
	db.mu.Lock()
	fresh := !db.measured.IsZero() && time.Since(db.measured) < time.Minute
	db.mu.Unlock()
	if fresh {
		return nil
	}
	before := time.Now()
	var ms int64
	if err := q.QueryRowContext(ctx, `SELECT `+db.dialect.clock).Scan(&ms); err != nil {
		return fmt.Errorf("read the database's clock: %w", err)
	}
	half := time.Since(before) / 2
	db.mu.Lock()
	defer db.mu.Unlock()
	db.offset = time.UnixMilli(ms).Sub(before.Add(half))
	db.measured = time.Now()
	return nil
}

func toTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func nullTime(ms sql.NullInt64) time.Time { return toTime(ms.Int64) }
