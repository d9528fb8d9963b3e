package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Call is one call of the API that must not be done twice.
type Call struct {
	Key KeyID
	// Name is the SHA-256 (hex) of the caller's Idempotency-Key; Fingerprint that of what the call asks for.
	Name, Fingerprint string
	// Lease is how long the call may take: after it whoever began it is taken for dead.
	Lease time.Duration
}

// OnceState says what to do with a call.
type OnceState string

const (
	OnceFresh     OnceState = "fresh"     // nobody did it: do it, then [DB.EndCall]
	OnceDone      OnceState = "done"      // it was done: give the stored answer
	OnceBusy      OnceState = "busy"      // somebody is doing it now
	OnceAbandoned OnceState = "abandoned" // somebody began it and died; it may have been done or not
	OnceOther     OnceState = "other"     // the key belongs to another call
)

// Answer is what a call was answered.
type Answer struct {
	Status  int
	Headers map[string]string
	Body    []byte
}

// onceKept is how long answers are kept.
const onceKept = 48 * time.Hour

// BeginCall claims a call for being done once. redo takes an abandoned call over: that is for calls which do no harm
// when they are done twice.
func (db *DB) BeginCall(ctx context.Context, c Call, redo bool) (state OnceState, a Answer, err error) {
	err = db.change(ctx, func(t *tx) error {
		state, a = OnceFresh, Answer{}
		if _, err := t.exec(`DELETE FROM idempotency_keys WHERE created_at < $1`, t.now-onceKept.Milliseconds()); err != nil {
			return err
		}
		n, err := t.exec(`INSERT INTO idempotency_keys (api_key_id, key_hash, fingerprint, created_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (api_key_id, key_hash) DO NOTHING`, int64(c.Key), c.Name, c.Fingerprint, t.now)
		if err != nil || n == 1 {
			return err
		}
		var fingerprint, headers, body string
		var began int64
		if err := t.row(`SELECT fingerprint, status, headers, body, created_at FROM idempotency_keys WHERE api_key_id = $1 AND key_hash = $2`+t.db.dialect.forUpdate,
			int64(c.Key), c.Name).Scan(&fingerprint, &a.Status, &headers, &body, &began); err != nil {
			return err
		}
		switch {
		case fingerprint != c.Fingerprint:
			state = OnceOther
		case a.Status != 0:
			state, a.Body = OnceDone, []byte(body)
			return json.Unmarshal([]byte(headers), &a.Headers)
		case t.now < began+c.Lease.Milliseconds():
			state = OnceBusy
		case !redo:
			state = OnceAbandoned
		default:
			return t.one(`UPDATE idempotency_keys SET created_at = $3 WHERE api_key_id = $1 AND key_hash = $2 AND status = 0`, int64(c.Key), c.Name, t.now)
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("begin call: %w", err)
	}
	return state, a, err
}

// EndCall keeps the answer of a call. An answer without a status forgets the call: it failed and may be tried again.
func (db *DB) EndCall(ctx context.Context, c Call, a Answer) error {
	headers, err := json.Marshal(a.Headers)
	if err != nil {
		return err
	}
	return db.change(ctx, func(t *tx) error {
		if a.Status == 0 {
			_, err := t.exec(`DELETE FROM idempotency_keys WHERE api_key_id = $1 AND key_hash = $2 AND status = 0`, int64(c.Key), c.Name)
			return err
		}
		_, err := t.exec(`UPDATE idempotency_keys SET status = $3, headers = $4, body = $5 WHERE api_key_id = $1 AND key_hash = $2 AND status = 0`,
			int64(c.Key), c.Name, a.Status, string(headers), string(a.Body))
		return err
	})
}
