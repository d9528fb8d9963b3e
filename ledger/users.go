package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"dunlin/paylink"
)

// Role says what a user of the console may do; each may do what those before it may.
type Role string

// The roles, from the least.
const (
	RoleViewer   Role = "viewer"   // looks; contacts are masked
	RoleOperator Role = "operator" // uploads, sends, stops, sends again; sees contacts
	RoleApprover Role = "approver" // lets a large batch of another go
	RoleAdmin    Role = "admin"    // everything
)

// Roles lists them from the least.
var Roles = []Role{RoleViewer, RoleOperator, RoleApprover, RoleAdmin}

// May reports whether the role may do what least may. A role that is not known may do nothing.
func (r Role) May(least Role) bool {
	has, needs := -1, len(Roles)
	for i, x := range Roles {
		if x == r {
			has = i
		}
		if x == least {
			needs = i
		}
	}
	return has >= needs
}

// User is somebody who may sign in to the console.
type User struct {
	ID        int64
	Name      string
	Role      Role
	Hash      string // of the password
	Disabled  bool
	CreatedAt time.Time
	CreatedBy string
}

const userColumns = `u.id, u.name, u.role, u.hash, u.disabled_at IS NOT NULL, u.created_at, u.created_by`

func scanUser(s interface{ Scan(...any) error }, more ...any) (u User, err error) {
	var created int64
	err = s.Scan(append([]any{&u.ID, &u.Name, &u.Role, &u.Hash, &u.Disabled, &created, &u.CreatedBy}, more...)...)
	if errors.Is(err, sql.ErrNoRows) {
		err = paylink.ErrNotFound
	}
	u.CreatedAt = toTime(created)
	return u, err
}

// UserName is the form in which a user's name is kept: lower case, without blanks around it.
func UserName(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// AddUser lets somebody sign in. hash is of the password, which the ledger never sees. A name that is taken is ErrConflict.
func (db *DB) AddUser(ctx context.Context, name string, role Role, hash, actor string) error {
	name = UserName(name)
	switch {
	case !role.May(RoleViewer):
		return fmt.Errorf("role %q: %w", role, paylink.ErrInvalid)
	case name == "" || len(name) > 200 || hash == "" || strings.ContainsAny(name, " \t\r\n"):
		return fmt.Errorf("a user needs a name without blanks, and a password: %w", paylink.ErrInvalid)
	}
	err := db.change(ctx, func(t *tx) error {
		id, err := t.insert(`INSERT INTO users (name, role, hash, created_at, created_by) VALUES ($1, $2, $3, $4, $5)`, name, string(role), hash, t.now, actor)
		if err != nil {
			return err
		}
		t.event(event{entity: entityUser, id: id, to: string(role), actor: actor, why: "added"})
		return nil
	})
	if err != nil && db.dialect.unique(err) {
		return fmt.Errorf("user %s is there already: %w", name, paylink.ErrConflict)
	}
	return err
}

// entityUser is a user of the console in the record; its states are roles, and disabled.
const entityUser = "user"

// ChangeUser gives a user another role or password, or keeps them out; whoever is signed in by the old state is signed
// out. Empty role and hash leave those as they are. The last admin that can sign in stays one: ErrConflict.
func (db *DB) ChangeUser(ctx context.Context, name string, role Role, hash string, disabled bool, actor, why string) error {
	if role != "" && !role.May(RoleViewer) {
		return fmt.Errorf("role %q: %w", role, paylink.ErrInvalid)
	}
	return db.change(ctx, func(t *tx) error {
		u, err := scanUser(t.row(`SELECT `+userColumns+` FROM users u WHERE u.name = $1`+t.db.dialect.forUpdate, UserName(name)))
		if err != nil {
			return fmt.Errorf("user %s: %w", UserName(name), err)
		}
		from, to := u.state(), u
		if role != "" {
			to.Role = role
		}
		if hash != "" {
			to.Hash = hash
		}
		to.Disabled = disabled
		if u.Role == RoleAdmin && !u.Disabled && (to.Role != RoleAdmin || to.Disabled) {
			var others int
			if err := t.row(`SELECT count(*) FROM users WHERE role = 'admin' AND disabled_at IS NULL AND id <> $1`, u.ID).Scan(&others); err != nil {
				return err
			}
			if others == 0 {
				return fmt.Errorf("%s is the last admin: %w", u.Name, paylink.ErrConflict)
			}
		}
		var at any
		if to.Disabled {
			at = t.now
		}
		if _, err := t.exec(`UPDATE users SET role = $2, hash = $3, disabled_at = $4 WHERE id = $1`, u.ID, string(to.Role), to.Hash, at); err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM console_sessions WHERE user_id = $1`, u.ID); err != nil {
			return err
		}
		t.event(event{entity: entityUser, id: u.ID, from: from, to: to.state(), actor: actor, why: why})
		return nil
	})
}

func (u User) state() string {
	if u.Disabled {
		return "disabled"
	}
	return string(u.Role)
}

// User finds a user by name.
func (db *DB) User(ctx context.Context, name string) (User, error) {
	return scanUser(db.read.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users u WHERE u.name = $1`, UserName(name)))
}

// Users lists all users by name.
func (db *DB) Users(ctx context.Context) (out []User, err error) {
	err = each(ctx, db.read, `SELECT `+userColumns+` FROM users u ORDER BY u.name`, nil, func(r *sql.Rows) error {
		u, err := scanUser(r)
		out = append(out, u)
		return err
	})
	return out, err
}

// Login is somebody who is signed in to the console.
type Login struct {
	User    User
	Hash    string // of what the cookie holds
	Since   time.Time
	Seen    time.Time
	Expires time.Time
}

// SignIn keeps a session until life from now, and drops those that are over.
func (db *DB) SignIn(ctx context.Context, user int64, hash string, life time.Duration) error {
	return db.change(ctx, func(t *tx) error {
		if _, err := t.exec(`DELETE FROM console_sessions WHERE user_id = $1 AND expires_at <= $2`, user, t.now); err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO console_sessions (hash, user_id, created_at, seen_at, expires_at) VALUES ($1, $2, $3, $3, $4)`,
			hash, user, t.now, t.now+life.Milliseconds()); err != nil {
			return err
		}
		t.event(event{entity: entityUser, id: user, from: "out", to: "in", actor: "console", why: "signed in"})
		return nil
	})
}

// Login finds who is signed in by a hash: ErrNotFound if that is nobody, or no longer.
func (db *DB) Login(ctx context.Context, hash string) (l Login, err error) {
	var created, seen, expires int64
	l.Hash = hash
	l.User, err = scanUser(db.read.QueryRowContext(ctx, `SELECT `+userColumns+`, s.created_at, s.seen_at, s.expires_at
		FROM console_sessions s JOIN users u ON u.id = s.user_id WHERE s.hash = $1 AND s.expires_at > $2 AND u.disabled_at IS NULL`,
		hash, db.Now().UnixMilli()), &created, &seen, &expires)
	l.Since, l.Seen, l.Expires = toTime(created), toTime(seen), toTime(expires)
	return l, err
}

// SeenLogin notes that somebody is still there.
func (db *DB) SeenLogin(ctx context.Context, hash string) error {
	return db.change(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE console_sessions SET seen_at = $2 WHERE hash = $1`, hash, t.now)
		return err
	})
}

// SignOut ends one session; with all also the user's others.
func (db *DB) SignOut(ctx context.Context, l Login, all bool) error {
	return db.change(ctx, func(t *tx) error {
		query, arg := `DELETE FROM console_sessions WHERE hash = $1`, any(l.Hash)
		if all {
			query, arg = `DELETE FROM console_sessions WHERE user_id = $1`, l.User.ID
		}
		n, err := t.exec(query, arg)
		if err != nil || n == 0 {
			return err
		}
		t.event(event{entity: entityUser, id: l.User.ID, from: "in", to: "out", actor: l.User.Name, why: "signed out"})
		return nil
	})
}

// ColumnMap is how a person matched the columns of a header; nil if nobody did. The key is the header's hash.
func (db *DB) ColumnMap(ctx context.Context, key string) (m map[string]string, err error) {
	var text string
	err = db.read.QueryRowContext(ctx, `SELECT mapping FROM column_maps WHERE header_hash = $1`, key).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return m, json.Unmarshal([]byte(text), &m)
}

// SaveColumnMap remembers it; an empty one forgets.
func (db *DB) SaveColumnMap(ctx context.Context, key string, m map[string]string, actor string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return db.change(ctx, func(t *tx) error {
		if len(m) == 0 {
			_, err := t.exec(`DELETE FROM column_maps WHERE header_hash = $1`, key)
			return err
		}
		_, err := t.exec(`INSERT INTO column_maps (header_hash, mapping, updated_at, updated_by) VALUES ($1, $2, $3, $4)
			ON CONFLICT (header_hash) DO UPDATE SET mapping = excluded.mapping, updated_at = excluded.updated_at, updated_by = excluded.updated_by`,
			key, string(text), t.now, actor)
		return err
	})
}
