package api

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"dunlin/ledger"
	"dunlin/paylink"
)

type contextKey int

const (
	keyOfCaller contextKey = iota
	uploadOfCall
)

// caller is the key that makes a call.
func caller(ctx context.Context) ledger.APIKey {
	k, _ := ctx.Value(keyOfCaller).(ledger.APIKey)
	return k
}

// actor is how the record names a key.
func actor(ctx context.Context) string {
	k := caller(ctx)
	return fmt.Sprintf("API key %s %s", k.ID, k.Name)
}

// The metadata of an operation.
const (
	metaScope  = "scope"  // ledger.KeyScope: what a key needs
	metaLive   = "live"   // true: not for test keys, it concerns everybody
	metaUpload = "upload" // true: the body is a file
	metaRedo   = "redo"   // true: doing it twice does no harm
)

// guard stands before every operation: who calls, may they, do they call too often, was it done before.
func (a *API) guard(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	r, w := humago.Unwrap(ctx)
	w.Header().Set("Cache-Control", "no-store")
	k, p := a.authenticate(r)
	if p == nil {
		need, _ := op.Metadata[metaScope].(ledger.KeyScope)
		switch wait := a.limiter.take(k.ID, a.Ledger.Now()); {
		case wait > 0:
			p = problem(http.StatusTooManyRequests, "too many calls by this key")
			p.retry = wait
		case need == "" || !k.Scope.Allows(need):
			p = problem(http.StatusForbidden, fmt.Sprintf("this needs a key of scope %s; this one has %s", need, k.Scope))
		case k.Test && op.Metadata[metaLive] == true:
			p = problem(http.StatusForbidden, "a test key cannot change what concerns everybody")
		}
	}
	if p != nil {
		p.write(w)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), keyOfCaller, k))
	run := func(w http.ResponseWriter, r *http.Request) { next(humago.NewContext(op, r, w)) }
	if op.Method == http.MethodGet {
		run(w, r)
		return
	}
	a.change(op, w, r, run)
}

// authenticate finds the key of a call. Every way of having none looks alike from outside.
func (a *API) authenticate(r *http.Request) (ledger.APIKey, *Problem) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || !ledger.KeyShaped(secret) {
		return ledger.APIKey{}, problem(http.StatusUnauthorized, "name an API key: Authorization: Bearer dk_…")
	}
	hash := ledger.HashKey(secret)
	k, err := a.Ledger.Key(r.Context(), hash)
	switch {
	case errors.Is(err, paylink.ErrNotFound):
	case err != nil:
		a.Log.Error("API key not looked up", "error", err)
		p := problem(http.StatusServiceUnavailable, "the ledger does not answer")
		p.retry = time.Second
		return k, p
	// The look-up compares hashes, about which timing tells nothing that leads to a secret; so does this.
	case subtle.ConstantTimeCompare([]byte(hash), []byte(k.Hash)) == 1 && k.Live(a.Ledger.Now()):
		if err := a.Ledger.UseKey(context.WithoutCancel(r.Context()), k); err != nil {
			a.Log.Warn("use of an API key not noted", "key", k.ID.String(), "error", err)
		}
		return k, nil
	}
	return ledger.APIKey{}, problem(http.StatusUnauthorized, "this API key is not known, has expired or was revoked")
}

// limiter lets each key make n calls in a span, evenly refilled, a span's worth at once. It lives in one process: with
// several servers a key has the limit at each. It keeps a runaway client from taking the server, and is no bill.
type limiter struct {
	n   int
	per time.Duration

	mu   sync.Mutex
	full map[ledger.KeyID]time.Time // when the key's allowance is whole again; as many as there are keys
}

// take is how long the key must wait; 0 = it may go on.
func (l *limiter) take(id ledger.KeyID, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.full[id]
	if full.Before(now) {
		full = now
	}
	full = full.Add(l.per / time.Duration(l.n))
	if wait := full.Sub(now) - l.per; wait > 0 {
		return wait
	}
	l.full[id] = full
	return 0
}
