package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// group is SQLite's single writer. Callers hand in closures; it runs those that wait in one transaction, commits once and
// only then tells each caller how its own change went: one fsync is shared, one caller's error undoes nobody else's work,
// and the API above still reads as one change at a time. A closure may be run again and must begin anew when it is.
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
	ran, spoiler, err := g.transact([]*member{first}, false)
	if spoiler != nil {
		// A change failed after it had written something. That is rare; the others are done over, each in a savepoint.
		close(spoiler.done)
		ran = slices.DeleteFunc(ran, func(m *member) bool { return m == spoiler })
		if len(ran) > 0 {
			_, _, err = g.transact(ran, true)
		}
	}
	for _, m := range ran {
		if err != nil {
			m.err = err
		}
		close(m.done)
	}
}

// transact runs members in one transaction and commits it. Without savepoints it takes in whoever else waits, and trusts
// that changes either succeed or fail before they write; one that does neither is the spoiler, and nothing is committed.
func (g *group) transact(members []*member, savepoints bool) (ran []*member, spoiler *member, err error) {
	ctx := context.Background() // a caller's deadline must not tear the others' transaction
	began := time.Now()
	if err := g.begin(ctx); err != nil {
		return members, nil, fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if err != nil || spoiler != nil {
			g.rollback(ctx)
		}
	}()
	all := &tx{ctx: ctx, db: g.db, q: g.cache, now: g.db.Now().UnixMilli()}
	for len(members) > 0 {
		m := members[0]
		members, ran = members[1:], append(ran, m)
		spoilt, err := g.runMember(ctx, all, m, savepoints)
		if err != nil {
			return append(ran, members...), nil, err
		}
		if spoilt {
			return ran, m, nil
		}
		if !savepoints && len(ran) < groupMax && time.Since(began) < groupTime {
			select {
			case m = <-g.members:
				members = append(members, m)
			default:
			}
		}
	}
	if err = all.flush(); err == nil {
		_, err = g.cache.ExecContext(ctx, `COMMIT`)
	}
	if err != nil {
		err = fmt.Errorf("commit: %w", err)
	}
	return ran, nil, err
}

// runMember runs one change. Its own error stays with it; spoilt means that it failed with something written and no
// savepoint to go back to. The returned error means that the shared transaction itself is broken.
func (g *group) runMember(ctx context.Context, all *tx, m *member, savepoint bool) (spoilt bool, err error) {
	if m.err = m.ctx.Err(); m.err != nil {
		return false, nil
	}
	if savepoint {
		if _, err := g.cache.ExecContext(ctx, `SAVEPOINT member`); err != nil {
			return false, fmt.Errorf("savepoint: %w", err)
		}
	}
	t := &tx{ctx: ctx, db: g.db, q: g.cache, now: g.db.Now().UnixMilli(), shared: all.notes.tallies}
	if m.err = t.protect(m.fn); m.err == nil {
		all.notes.merge(t.notes)
	} else if !savepoint {
		return t.wrote, nil
	} else if _, err := g.cache.ExecContext(ctx, `ROLLBACK TO member`); err != nil {
		return false, fmt.Errorf("undo a member: %w", err)
	}
	if savepoint {
		if _, err := g.cache.ExecContext(ctx, `RELEASE member`); err != nil {
			return false, fmt.Errorf("release: %w", err)
		}
	}
	return false, nil
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
