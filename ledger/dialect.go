package ledger

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is all that differs between the two databases beside the types in the migrations.
type dialect struct {
	name string
	// clock is an SQL expression for the database's time in milliseconds; "" where our own clock is the same one.
	clock string
	// shards spreads the till's counters over rows, so that concurrent transactions do not queue for one of them.
	shards int
	// insertRows is how many rows one INSERT of events carries: several where each statement is a round trip.
	insertRows int
	// forUpdate ends a SELECT of a row that is about to be changed; "" where there is one writer.
	forUpdate string
	unique    func(error) bool
	// busy reports an error that a transaction may be tried again after.
	busy func(error) bool
}

var sqliteDialect = dialect{
	name:       "sqlite",
	insertRows: 1,
	shards:     1,
	unique: func(err error) bool {
		e, ok := errors.AsType[*sqlite.Error](err)
		return ok && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
	},
	busy: func(err error) bool {
		e, ok := errors.AsType[*sqlite.Error](err)
		return ok && (e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_LOCKED)
	},
}

var postgresDialect = dialect{
	name:       "postgres",
	insertRows: eventChunk,
	clock:      `(extract(epoch FROM clock_timestamp()) * 1000)::bigint`,
	shards:     16,
	// NO KEY: a foreign key that points at the row does not wait for it.
	forUpdate: ` FOR NO KEY UPDATE`,
	unique: func(err error) bool {
		e, ok := errors.AsType[*pgconn.PgError](err)
		return ok && e.Code == "23505"
	},
	busy: func(err error) bool { // serialization failure, deadlock, lock not available
		e, ok := errors.AsType[*pgconn.PgError](err)
		return ok && (e.Code == "40001" || e.Code == "40P01" || e.Code == "55P03")
	},
}
