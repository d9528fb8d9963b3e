package ledger

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"dunlin/paylink"
)

// KeyScope is what an API key may do. Each scope holds the ones before it.
type KeyScope string

const (
	ScopeRead  KeyScope = "read"  // look, without personal data and payers' links
	ScopeSend  KeyScope = "send"  // also create, send and steer batches and requests, and see whom they reach
	ScopeAdmin KeyScope = "admin" // also decide about money and about who may be written to
)

// KeyScopes lists the scopes, from narrow to wide.
var KeyScopes = []KeyScope{ScopeRead, ScopeSend, ScopeAdmin}

// Allows reports whether the scope holds another.
func (s KeyScope) Allows(need KeyScope) bool {
	have := slices.Index(KeyScopes, s)
	return have >= 0 && have >= slices.Index(KeyScopes, need)
}

// KeyID numbers an API key. Written "k3".
type KeyID int64

func (id KeyID) String() string { return "k" + strconv.FormatInt(int64(id), 10) }

// MarshalText writes the printed form.
func (id KeyID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// ParseKeyID reads "k3".
func ParseKeyID(s string) (KeyID, error) {
	if len(s) > 1 && s[0] == 'k' && s[1] >= '1' && s[1] <= '9' {
		if n, err := strconv.ParseInt(s[1:], 10, 64); err == nil {
			return KeyID(n), nil
		}
	}
	return 0, fmt.Errorf("%q is not an API key's id, which is written like k3: %w", s, paylink.ErrInvalid)
}

// APIKey is who may call the API. The ledger has the hash of its secret only.
type APIKey struct {
	ID        KeyID     `json:"id"`
	Name      string    `json:"name"`
	Hash      string    `json:"-"`    // SHA-256 of the whole key, hex
	Hint      string    `json:"hint"` // how the key begins
	Scope     KeyScope  `json:"scope"`
	Test      bool      `json:"test"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	// ExpiresAt, RevokedAt and LastUsedAt are zero if it never does or did. LastUsedAt is right to the hour.
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	RevokedAt  time.Time `json:"revoked_at,omitzero"`
	RevokedBy  string    `json:"revoked_by,omitempty"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
}

// Live reports whether the key is good at a time.
func (k APIKey) Live(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

const (
	entityKey  = "api_key"
	keyActive  = "active"
	keyRevoked = "revoked"
)

// AddKey stores a key: its name, hash, hint, scope, test, expiry and who made it.
func (db *DB) AddKey(ctx context.Context, k APIKey) (APIKey, error) {
	if k.Name == "" || k.Hash == "" || !slices.Contains(KeyScopes, k.Scope) {
		return k, fmt.Errorf("an API key needs a name, a secret and a scope: %w", paylink.ErrInvalid)
	}
	err := db.change(ctx, func(t *tx) error {
		var expires any
		if !k.ExpiresAt.IsZero() {
			expires = k.ExpiresAt.UnixMilli()
		}
		id, err := t.insert(`INSERT INTO api_keys (name, hash, hint, scope, test, created_at, created_by, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, k.Name, k.Hash, k.Hint, string(k.Scope), k.Test, t.now, k.CreatedBy, expires)
		if err != nil {
			return err
		}
		k.ID, k.CreatedAt = KeyID(id), toTime(t.now)
		t.event(event{entity: entityKey, id: id, to: keyActive, actor: k.CreatedBy, why: string(k.Scope)})
		return nil
	})
	if err != nil {
		return k, fmt.Errorf("add API key: %w", err)
	}
	return k, nil
}

const keyColumns = `id, name, hash, hint, scope, test, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at`

func scanKey(s interface{ Scan(...any) error }) (APIKey, error) {
	var k APIKey
	var created int64
	var expires, revoked, used sql.NullInt64
	err := s.Scan(&k.ID, &k.Name, &k.Hash, &k.Hint, &k.Scope, &k.Test, &created, &k.CreatedBy, &expires, &revoked, &k.RevokedBy, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return k, paylink.ErrNotFound
	}
	k.CreatedAt, k.ExpiresAt, k.RevokedAt, k.LastUsedAt = toTime(created), nullTime(expires), nullTime(revoked), nullTime(used)
	return k, err
}

// Key finds a key by the hash of its secret, dead ones included.
func (db *DB) Key(ctx context.Context, hash string) (APIKey, error) {
	return scanKey(db.read.QueryRowContext(ctx, keyQuery, hash))
}

const keyQuery = `SELECT ` + keyColumns + ` FROM api_keys WHERE hash = $1`

// Keys lists all keys, oldest first.
func (db *DB) Keys(ctx context.Context) ([]APIKey, error) {
	var out []APIKey
	err := each(ctx, db.read, `SELECT `+keyColumns+` FROM api_keys ORDER BY id`, nil, func(r *sql.Rows) error {
		k, err := scanKey(r)
		out = append(out, k)
		return err
	})
	return out, err
}

// RevokeKey ends a key at once and for good.
func (db *DB) RevokeKey(ctx context.Context, id KeyID, actor, why string) error {
	return db.change(ctx, func(t *tx) error {
		k, err := scanKey(t.row(`SELECT `+keyColumns+` FROM api_keys WHERE id = $1`, int64(id)))
		if err != nil {
			return fmt.Errorf("API key %s: %w", id, err)
		}
		if !k.RevokedAt.IsZero() {
			return fmt.Errorf("API key %s was revoked already: %w", id, paylink.ErrConflict)
		}
		if err := t.one(`UPDATE api_keys SET revoked_at = $2, revoked_by = $3 WHERE id = $1 AND revoked_at IS NULL`, int64(id), t.now, actor); err != nil {
			return fmt.Errorf("API key %s: %w", id, err)
		}
		t.event(event{entity: entityKey, id: int64(id), from: keyActive, to: keyRevoked, actor: actor, why: why})
		return nil
	})
}

// keyUse is how exact last_used_at is: a write for every call would cost more than the call.
const keyUse = time.Hour

// UseKey notes that a key was used, unless that was noted within the hour.
func (db *DB) UseKey(ctx context.Context, k APIKey) error {
	if db.Now().Sub(k.LastUsedAt) < keyUse {
		return nil
	}
	return db.change(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE api_keys SET last_used_at = $2 WHERE id = $1`, int64(k.ID), t.now)
		return err
	})
}

// keyPrefix marks our keys, so that a scanner of leaked secrets knows one when it sees it.
const (
	keyPrefix     = "dk_"
	testKeyPrefix = "dk_test_"
	keyBytes      = 32
)

// NewKey makes a secret of 256 random bits; test shows in it. hash and hint are what [APIKey] keeps of it.
func NewKey(test bool) (secret, hash, hint string) {
	prefix := keyPrefix
	if test {
		prefix = testKeyPrefix
	}
	b := make([]byte, keyBytes)
	_, _ = rand.Read(b) // it cannot fail: crypto/rand ends the program instead
	secret = prefix + base64.RawURLEncoding.EncodeToString(b)
	return secret, HashKey(secret), secret[:len(prefix)+4]
}

// HashKey is what a key's secret is kept as. A quick hash is enough, and a slow one would be a way to keep the server
// busy: a password has to be slow to guess because people choose among few, while nobody guesses 256 random bits.
func HashKey(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// KeyShaped reports whether a text could be a key, before anything is looked up for it.
func KeyShaped(s string) bool {
	body, ok := strings.CutPrefix(s, testKeyPrefix)
	if !ok || len(body) != base64.RawURLEncoding.EncodedLen(keyBytes) {
		body, ok = strings.CutPrefix(s, keyPrefix)
	}
	b, err := base64.RawURLEncoding.DecodeString(body)
	return ok && err == nil && len(b) == keyBytes
}
