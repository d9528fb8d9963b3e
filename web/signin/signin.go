package signin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/web/throttle"
)

// Ledger is where users and sessions are kept.
type Ledger interface {
	Now() time.Time
	User(ctx context.Context, name string) (ledger.User, error)
	SignIn(ctx context.Context, user int64, hash string, life time.Duration) error
	Login(ctx context.Context, hash string) (ledger.Login, error)
	SeenLogin(ctx context.Context, hash string) error
	SignOut(ctx context.Context, l ledger.Login, all bool) error
}

// Config is what an Auth is made from.
type Config struct {
	Ledger Ledger
	// Page is the path on which people sign in; who is not signed in is led there.
	Page string
	// Secure: people come by https, so the cookie travels by nothing else.
	Secure bool
	// Refuse answers who may not see what they asked for; nil = plain text.
	Refuse func(w http.ResponseWriter, r *http.Request, status int)
	Log    *slog.Logger
}

// Auth lets people in. It is safe for concurrent use.
type Auth struct {
	Config
	dummy                  string
	byAccount, byNetwork   *throttle.Throttle
	hashing                chan struct{} // bounds the memory that passwords take at once
	crossOrigin            *http.CrossOriginProtection
	cookieName, cookiePath string
}

// The times of a session: its whole life, and how long it may stand unused.
const (
	Life = 12 * time.Hour
	idle = 2 * time.Hour
	seen = time.Minute // how exactly it is kept when somebody was last there
)

// New makes an Auth.
func New(c Config) (*Auth, error) {
	if c.Ledger == nil || c.Page == "" {
		return nil, errors.New("signing in needs a ledger and a page")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	dummy, err := Hash("nobody has this password")
	if err != nil {
		return nil, err
	}
	a := &Auth{Config: c, dummy: dummy, byAccount: throttle.New(10, 10*time.Minute), byNetwork: throttle.New(30, 10*time.Minute),
		hashing: make(chan struct{}, 4), crossOrigin: http.NewCrossOriginProtection(), cookieName: "dunlin", cookiePath: "/"}
	if c.Secure {
		a.cookieName = "__Host-dunlin"
	}
	a.crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.refuse(w, r, http.StatusForbidden) }))
	return a, nil
}

var (
	// ErrRefused: the name or the password is wrong, or the user is kept out. It does not tell which.
	ErrRefused = errors.New("this name and password do not fit")
	// ErrTooMany: too many attempts, for this account or from this network.
	ErrTooMany = errors.New("too many attempts; wait ten minutes")
)

// SignIn signs somebody in and sets the cookie. Its errors are [ErrRefused], [ErrTooMany], or the ledger's.
func (a *Auth) SignIn(w http.ResponseWriter, r *http.Request, name, password string) error {
	name, now := ledger.UserName(name), a.Ledger.Now()
	from := throttle.Network(r)
	if !a.byNetwork.Allow(from, now) || !a.byAccount.Allow(name, now) {
		a.Log.Warn("too many attempts to sign in", "network", from)
		return ErrTooMany
	}
	u, err := a.Ledger.User(r.Context(), name)
	if err != nil && !errors.Is(err, paylink.ErrNotFound) {
		return fmt.Errorf("look for the user: %w", err)
	}
	hash := u.Hash
	if err != nil || hash == "" {
		hash = a.dummy
	}
	select {
	case a.hashing <- struct{}{}:
		defer func() { <-a.hashing }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	ok, checkErr := Check(hash, password)
	if checkErr != nil {
		return fmt.Errorf("user %d: %w", u.ID, checkErr)
	}
	if err != nil || !ok || u.Disabled {
		a.Log.Warn("an attempt to sign in was refused", "network", from)
		return ErrRefused
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	value := base64.RawURLEncoding.EncodeToString(secret)
	if err := a.Ledger.SignIn(r.Context(), u.ID, hashOf(value), Life); err != nil {
		return fmt.Errorf("keep the session: %w", err)
	}
	// A session before this one must not be carried on by somebody who fixed it.
	if old, ok := a.login(r); ok {
		_ = a.Ledger.SignOut(r.Context(), old, false) // it ends by itself
	}
	a.byAccount.Forget(name)
	a.byNetwork.Forget(from)
	a.setCookie(w, value, int(Life/time.Second))
	return nil
}

// SignOut ends the session, with all also those elsewhere.
func (a *Auth) SignOut(w http.ResponseWriter, r *http.Request, all bool) error {
	a.setCookie(w, "", -1)
	l, ok := a.login(r)
	if !ok {
		return nil
	}
	return a.Ledger.SignOut(r.Context(), l, all)
}

func (a *Auth) setCookie(w http.ResponseWriter, value string, age int) {
	// Lax, so that a link in a mail to an operator opens; what changes something is a POST, which CrossOriginProtection guards.
	http.SetCookie(w, &http.Cookie{Name: a.cookieName, Value: value, Path: a.cookiePath, MaxAge: age, Secure: a.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func hashOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

// login finds who is signed in by the request's cookie.
func (a *Auth) login(r *http.Request) (ledger.Login, bool) {
	c, err := r.Cookie(a.cookieName)
	if err != nil || len(c.Value) != 43 {
		return ledger.Login{}, false
	}
	l, err := a.Ledger.Login(r.Context(), hashOf(c.Value))
	if err != nil {
		if !errors.Is(err, paylink.ErrNotFound) && r.Context().Err() == nil {
			a.Log.Error("session not looked up", "error", err)
		}
		return ledger.Login{}, false
	}
	now := a.Ledger.Now()
	if now.Sub(l.Seen) > idle {
		return ledger.Login{}, false
	}
	if now.Sub(l.Seen) > seen {
		if err := a.Ledger.SeenLogin(r.Context(), l.Hash); err != nil {
			a.Log.Error("session not kept", "error", err)
		}
	}
	return l, true
}

type loginKey struct{}

// Of is who is signed in, in what Require lets through.
func Of(ctx context.Context) (ledger.Login, bool) {
	l, ok := ctx.Value(loginKey{}).(ledger.Login)
	return l, ok
}

// Require lets through who is signed in with at least the role, and nothing that another site's page had sent. Others are
// led to the page on which people sign in when they read, and refused (401) when they would change something; a role that
// is too low is 403.
func (a *Auth) Require(least ledger.Role) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return a.crossOrigin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			l, ok := a.login(r)
			switch {
			case !ok && (r.Method == http.MethodGet || r.Method == http.MethodHead):
				if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
					a.refuse(w, r, http.StatusUnauthorized)
					return
				}
				w.Header().Set("Location", a.Page+"?next="+url.QueryEscape(r.URL.RequestURI()))
				w.WriteHeader(http.StatusSeeOther)
			case !ok:
				a.refuse(w, r, http.StatusUnauthorized)
			case !l.User.Role.May(least):
				a.refuse(w, r.WithContext(context.WithValue(r.Context(), loginKey{}, l)), http.StatusForbidden)
			default:
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), loginKey{}, l)))
			}
		}))
	}
}

// Open is for pages that everybody may see, sign-in itself among them: it keeps other sites' posts out, too.
func (a *Auth) Open(next http.Handler) http.Handler {
	return a.crossOrigin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if l, ok := a.login(r); ok {
			r = r.WithContext(context.WithValue(r.Context(), loginKey{}, l))
		}
		next.ServeHTTP(w, r)
	}))
}

func (a *Auth) refuse(w http.ResponseWriter, r *http.Request, status int) {
	if a.Refuse != nil {
		a.Refuse(w, r, status)
		return
	}
	http.Error(w, http.StatusText(status), status)
}

// Next is where to lead somebody after signing in: a path of this site, or the fallback. What a browser could take for
// another site's address is none.
func Next(wanted, fallback string) string {
	u, err := url.Parse(wanted)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") ||
		strings.ContainsAny(wanted, "\\\r\n\t") {
		return fallback
	}
	return u.RequestURI()
}
