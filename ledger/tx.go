package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"dunlin/paylink"
)

// querier is what *sql.DB, *sql.Tx, *sql.Conn and the statement cache have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// tx is one member's change: on SQLite one of several in a shared transaction, on PostgreSQL a transaction of its own.
// Events and the till's deltas gather here and are written with the commit.
type tx struct {
	ctx   context.Context
	db    *DB
	q     querier
	now   int64 // milliseconds
	notes ledgerNotes
	// wrote: something was changed, or tried to be; an error from here on must undo it.
	wrote bool
	// shared are the till's deltas of the changes before this one in a shared commit.
	shared map[tallyKey]int64
}

// ledgerNotes are the rows that go with a change of state.
type ledgerNotes struct {
	events  []event
	tallies map[tallyKey]int64
	usage   map[usageKey]int64
}

type tallyKey struct {
	batch paylink.BatchID
	kind  string
	state string
}

type usageKey struct{ provider, day, class string }

type event struct {
	at                int64
	batch             paylink.BatchID
	request           paylink.RequestID
	entity            string
	id                int64
	from, to          string
	actor, why        string
	firstRow, lastRow int
	n                 int64
}

// systemActor is who moves a state when no person did.
const systemActor = "dunlin"

// The kinds of tally.
const (
	tallyDispatch = "dispatch"
	tallyPayment  = "payment"
	tallyRejected = "rejected"
	// Money, in minor units: asked by currency; collected, less what went back, by currency and day.
	tallyAsked     = "asked"
	tallyCollected = "collected"
	// tallyReach counts requests whose message is known to have arrived, and whose payer went on to pay.
	tallyReach = "reach"
)

func (t *tx) exec(query string, args ...any) (int64, error) {
	t.wrote = true
	res, err := t.q.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// one runs a statement that must change exactly one row; anything else is ErrConflict.
func (t *tx) one(query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err == nil && n != 1 {
		err = paylink.ErrConflict
	}
	return err
}

func (t *tx) row(query string, args ...any) *sql.Row {
	t.wrote = t.wrote || writes(query)
	return t.q.QueryRowContext(t.ctx, query, args...)
}

// insert adds one row to a table whose id the database gives, and returns that. SQLite is not asked by RETURNING: for that
// it keeps a journal of the pages that the statement touches, which costs more than the insert.
func (t *tx) insert(query string, args ...any) (id int64, err error) {
	if t.db.dialect == &postgresDialect {
		err = t.row(query+` RETURNING id`, args...).Scan(&id)
		return id, err
	}
	t.wrote = true
	res, err := t.q.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// writes reports whether a statement that returns rows changes some, too.
func writes(query string) bool { return !strings.HasPrefix(strings.TrimSpace(query), "SELECT") }

// each runs a query and hands every row to scan.
func (t *tx) each(query string, args []any, scan func(*sql.Rows) error) error {
	t.wrote = t.wrote || writes(query)
	return each(t.ctx, t.q, query, args, scan)
}

func each(ctx context.Context, q querier, query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (t *tx) event(e event) {
	e.at = t.now
	if e.n == 0 {
		e.n = 1
	}
	if e.actor == "" {
		e.actor = systemActor
	}
	t.notes.events = append(t.notes.events, e)
}

// eventNow writes an event at its place in the transaction and not with the commit.
func (t *tx) eventNow(e event) error {
	rest := t.notes.events
	t.notes.events = nil
	t.event(e)
	err := t.flushEvents()
	t.notes.events = rest
	return err
}

func (t *tx) tally(batch paylink.BatchID, kind, state string, n int64) {
	if t.notes.tallies == nil {
		t.notes.tallies = map[tallyKey]int64{}
	}
	t.notes.tallies[tallyKey{batch, kind, state}] += n
}

// merge takes over another member's notes.
func (n *ledgerNotes) merge(o ledgerNotes) {
	n.events = append(n.events, o.events...)
	for k, d := range o.tallies {
		if n.tallies == nil {
			n.tallies = map[tallyKey]int64{}
		}
		n.tallies[k] += d
	}
	for k, d := range o.usage {
		if n.usage == nil {
			n.usage = map[usageKey]int64{}
		}
		n.usage[k] += d
	}
}

// flush writes events and deltas. Deltas go in one order, so that two transactions never wait for each other in a ring.
func (t *tx) flush() error {
	if err := t.flushEvents(); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	shard := 0
	if t.db.dialect.shards > 1 {
		shard = rand.IntN(t.db.dialect.shards)
	}
	keys := make([]tallyKey, 0, len(t.notes.tallies))
	for k, n := range t.notes.tallies {
		if n != 0 {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b tallyKey) int {
		return strings.Compare(fmt.Sprintf("%020d %s %s", a.batch, a.kind, a.state), fmt.Sprintf("%020d %s %s", b.batch, b.kind, b.state))
	})
	for _, k := range keys {
		if _, err := t.exec(`
			INSERT INTO tallies (batch_id, kind, state, shard, n) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (batch_id, kind, state, shard) DO UPDATE SET n = tallies.n + excluded.n`,
			int64(k.batch), k.kind, k.state, shard, t.notes.tallies[k]); err != nil {
			return fmt.Errorf("keep the till: %w", err)
		}
	}
	uses := make([]usageKey, 0, len(t.notes.usage))
	for k := range t.notes.usage {
		uses = append(uses, k)
	}
	slices.SortFunc(uses, func(a, b usageKey) int { return strings.Compare(a.provider+a.day+a.class, b.provider+b.day+b.class) })
	for _, k := range uses {
		if _, err := t.exec(`
			INSERT INTO usage (provider, day, class, shard, n) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (provider, day, class, shard) DO UPDATE SET n = usage.n + excluded.n`,
			k.provider, k.day, k.class, shard, t.notes.usage[k]); err != nil {
			return fmt.Errorf("keep the usage: %w", err)
		}
	}
	t.notes = ledgerNotes{}
	return nil
}

// eventChunk is how many events go in one statement at most; see dialect.insertRows.
const eventChunk = 8

// insertEvents are the statements for 1 to eventChunk events.
var insertEvents = func() (texts [eventChunk + 1]string) {
	var b strings.Builder
	b.WriteString(`INSERT INTO events (at, batch_id, request_id, entity, entity_id, from_state, to_state, actor, why, first_row, last_row, n) VALUES `)
	for i := range eventChunk {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for j := range 12 {
			if j > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "$%d", i*12+j+1)
		}
		b.WriteByte(')')
		texts[i+1] = b.String()
	}
	return texts
}()

func (t *tx) flushEvents() error {
	for chunk := range slices.Chunk(t.notes.events, t.db.dialect.insertRows) {
		args := make([]any, 0, len(chunk)*12)
		for _, e := range chunk {
			args = append(args, e.at, int64(e.batch), int64(e.request), e.entity, e.id, e.from, e.to, e.actor, e.why, e.firstRow, e.lastRow, e.n)
		}
		if _, err := t.exec(insertEvents[len(chunk)], args...); err != nil {
			return err
		}
	}
	return nil
}

// maxBusyTries bounds how often a transaction is tried again after a serialization failure or a deadlock.
const maxBusyTries = 10

// change runs fn as one transaction.
func (db *DB) change(ctx context.Context, fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.group != nil {
		return db.group.do(ctx, fn)
	}
	for try := 1; ; try++ {
		err := db.changeOnce(ctx, fn)
		if err == nil || try == maxBusyTries || !db.dialect.busy(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(rand.IntN(10*try)+1) * time.Millisecond):
		}
	}
}

// pgTx is a transaction that remembers its connection, which COPY needs.
type pgTx struct {
	*sql.Tx
	conn *sql.Conn
}

func (db *DB) changeOnce(ctx context.Context, fn func(*tx) error) error {
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer conn.Close()
	stx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer stx.Rollback()
	if err := db.syncClock(ctx, stx); err != nil {
		return err
	}
	t := &tx{ctx: ctx, db: db, q: &pgTx{stx, conn}, now: db.Now().UnixMilli()}
	if err := fn(t); err != nil {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := stx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
