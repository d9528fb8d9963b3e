package ledger

import (
	"context"
	"database/sql"
	"strings"
)

// stmtCache prepares each text once on the writer's connection. The texts are constants of this package and few.
//
// It also turns the numbered placeholders, which both databases understand, into anonymous ones: the SQLite driver finds
// a numbered one by writing out the number of every argument until one fits, which for a statement of 300 arguments takes
// longer than running it.
type stmtCache struct {
	conn  *sql.Conn
	stmts map[string]*cachedStmt
}

type cachedStmt struct {
	*sql.Stmt
	order []int // which argument stands at each placeholder
}

func newStmtCache(conn *sql.Conn) *stmtCache {
	return &stmtCache{conn: conn, stmts: map[string]*cachedStmt{}}
}

func (c *stmtCache) close() {
	for _, s := range c.stmts {
		s.Close()
	}
}

func (c *stmtCache) prepare(ctx context.Context, query string) (*cachedStmt, error) {
	if s := c.stmts[query]; s != nil {
		return s, nil
	}
	text, order := anonymous(query)
	s, err := c.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	cached := &cachedStmt{s, order}
	c.stmts[query] = cached
	return cached, nil
}

// anonymous replaces every $N by ? and says which argument belongs there. The texts hold no $ in quotes.
func anonymous(query string) (text string, order []int) {
	var b strings.Builder
	b.Grow(len(query))
	for i := 0; i < len(query); {
		if query[i] != '$' {
			b.WriteByte(query[i])
			i++
			continue
		}
		n := 0
		for i++; i < len(query) && query[i] >= '0' && query[i] <= '9'; i++ {
			n = n*10 + int(query[i]-'0')
		}
		b.WriteByte('?')
		order = append(order, n-1)
	}
	return b.String(), order
}

// arrange puts the arguments in the order of the placeholders. If one is missing there are fewer than placeholders, and
// the driver says so.
func (s *cachedStmt) arrange(args []any) []any {
	out := make([]any, 0, len(s.order))
	for _, at := range s.order {
		if at < 0 || at >= len(args) {
			break
		}
		out = append(out, args[at])
	}
	return out
}

func (c *stmtCache) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.Stmt.ExecContext(ctx, s.arrange(args)...)
}

func (c *stmtCache) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.Stmt.QueryContext(ctx, s.arrange(args)...)
}

func (c *stmtCache) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s, err := c.prepare(ctx, query)
	if err != nil {
		return c.conn.QueryRowContext(ctx, query, args...) // it fails the same way and says so through Scan
	}
	return s.Stmt.QueryRowContext(ctx, s.arrange(args)...)
}
