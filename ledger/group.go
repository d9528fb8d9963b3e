package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// group is SQLite's single writer. Callers hand in closures; it runs those that wait in one transaction, each inside a
// savepoint, commits once and only then tells each caller how its own change went: one fsync is shared, one caller's
// error undoes nobody else's work, and the API above still reads as one change at a time.
type group struct {
	db      *DB
	conn    *sql.Conn
	cache   *stmtCache
	members chan *member
	quit    chan struct{}
	done    chan struct{}
	once    sync.Once
}

type member struct {
	ctx  context.Context
	fn   func(*tx) error
	err  error
	done chan struct{}
}

const (
	// groupMax and groupTime bound one shared transaction: no write lock is held for long (readers do not wait for it,
	// other processes do).
	groupMax  = 256
	groupTime = 50 * time.Millisecond
)

var errClosed = errors.New("ledger is closed")

func startGroup(ctx context.Context, db *DB) (*group, error) {
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return nil, err
	}
	g := &group{
		db: db, conn: conn, cache: newStmtCache(conn),
		members: make(chan *member, groupMax),
		quit:    make(chan struct{}), done: make(chan struct{}),
	}
	go g.run()
	return g, nil
}

func (g *group) stop() {
	g.once.Do(func() { close(g.quit) })
	<-g.done
}

// do hands in one change and waits for its commit. Once handed in, a change is carried out even if ctx ends: the caller
// learns what became of it rather than losing the answer.
func (g *group) do(ctx context.Context, fn func(*tx) error) error {
	m := &member{ctx: ctx, fn: fn, done: make(chan struct{})}
	select {
	case g.members <- m:
	case <-ctx.Done():
		return ctx.Err()
	case <-g.quit:
		return errClosed
	}
	select {
	case <-m.done:
		return m.err
	case <-g.done:
		select {
		case <-m.done:
			return m.err
		default:
			return errClosed
		}
	}
}

func (g *group) run() {
	defer close(g.done)
	defer g.conn.Close()
	defer g.cache.close()
	for {
		select {
		case m := <-g.members:
			g.commit(m)
		case <-g.quit:
			for {
				select {
				case m := <-g.members:
					g.commit(m)
				default:
					return
				}
			}
		}
	}
}

// commit runs first and whoever else waits in one transaction.
func (g *group) commit(first *member) {
	ctx := context.Background() // a caller's deadline must not tear the others' transaction
	began := time.Now()
	var ran []*member
	finish := func(err error) {
		for _, m := range ran {
			if err != nil {
				m.err = err
			}
			close(m.done)
		}
	}
	if err := g.begin(ctx); err != nil {
		ran = append(ran, first)
		finish(fmt.Errorf("begin: %w", err))
		return
	}
	all := &tx{ctx: ctx, db: g.db, q: g.cache, now: g.db.Now().UnixMilli()}
	for m := first; m != nil; {
		ran = append(ran, m)
		if err := g.runMember(ctx, all, m); err != nil {
			g.rollback(ctx)
			finish(err)
			return
		}
		m = nil
		if len(ran) < groupMax && time.Since(began) < groupTime {
			select {
			case m = <-g.members:
			default:
			}
		}
	}
	err := all.flush()
	if err == nil {
		_, err = g.cache.ExecContext(ctx, `COMMIT`)
	}
	if err != nil {
		g.rollback(ctx)
		err = fmt.Errorf("commit: %w", err)
	}
	finish(err)
}

// runMember runs one change inside a savepoint. Its own error stays with it; the returned error means that the shared
// transaction itself is broken.
func (g *group) runMember(ctx context.Context, all *tx, m *member) error {
	if m.err = m.ctx.Err(); m.err != nil {
		return nil
	}
	if _, err := g.cache.ExecContext(ctx, `SAVEPOINT member`); err != nil {
		return fmt.Errorf("savepoint: %w", err)
	}
	t := &tx{ctx: ctx, db: g.db, q: g.cache, now: g.db.Now().UnixMilli()}
	if m.err = t.protect(m.fn); m.err != nil {
		if _, err := g.cache.ExecContext(ctx, `ROLLBACK TO member`); err != nil {
			return fmt.Errorf("undo a member: %w", err)
		}
	} else {
		all.notes.merge(t.notes)
	}
	if _, err := g.cache.ExecContext(ctx, `RELEASE member`); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

// protect turns a panic of one caller's closure into its error, so that it cannot take the other callers down with it.
func (t *tx) protect(fn func(*tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a ledger change: %v", p)
		}
	}()
	return fn(t)
}

// begin takes the write lock. Another process may hold it longer than the busy timeout; that is waiting, not failure.
func (g *group) begin(ctx context.Context) error {
	for try := 1; ; try++ {
		_, err := g.cache.ExecContext(ctx, `BEGIN IMMEDIATE`)
		if err == nil || try == 3 || !g.db.dialect.busy(err) {
			return err
		}
	}
}

func (g *group) rollback(ctx context.Context) {
	// An error here means that SQLite has rolled back by itself already (disk full, I/O error).
	_, _ = g.cache.ExecContext(ctx, `ROLLBACK`)
}

// stmtCache prepares each text once on the writer's connection. The texts are constants of this package and few.
type stmtCache struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

func newStmtCache(conn *sql.Conn) *stmtCache {
	return &stmtCache{conn: conn, stmts: map[string]*sql.Stmt{}}
}

func (c *stmtCache) close() {
	for _, s := range c.stmts {
		s.Close()
	}
}

func (c *stmtCache) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := c.stmts[query]; s != nil {
		return s, nil
	}
	s, err := c.conn.PrepareContext(ctx, query)
	if err == nil {
		c.stmts[query] = s
	}
	return s, err
}

func (c *stmtCache) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

func (c *stmtCache) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

func (c *stmtCache) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s, err := c.prepare(ctx, query)
	if err != nil {
		return c.conn.QueryRowContext(ctx, query, args...) // it fails the same way and says so through Scan
	}
	return s.QueryRowContext(ctx, args...)
}
