// Package queue shows asynq's dashboard at /monitoring/ behind the console's sign-in. Viewers look; an admin may also
// pause, resume, run and cancel, and each of that is in the record before it is done. Nothing else goes through: the
// dashboard's "archive all" and "delete all" block Redis for seconds and drop tasks without a word, and what is owed is
// the ledger's to decide.
//
// Tasks carry ids only (law 8). Beside each stands the address of its request's page in the console.
package queue

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hibiken/asynqmon"

	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/web/signin"
)

// Path is where the dashboard lies.
const Path = "/monitoring"

// Ledger is what the dashboard needs of the record.
type Ledger interface {
	// RecordAct writes down what a person does to the queue.
	RecordAct(ctx context.Context, act, actor, why string) error
}

// Config is what a dashboard is made from.
type Config struct {
	// Redis holds the queues. It stays the caller's to close.
	Redis  jobs.Conn
	Auth   *signin.Auth
	Ledger Ledger
	// Page is the console's page about a task's request; "" if there is none.
	Page func(ctx context.Context, task string, payload []byte) string
	Log  *slog.Logger
}

// pageTime bounds finding one task's page.
const pageTime = 2 * time.Second

// policy lets the dashboard's own inline scripts and styles run, which it does not do without, and nothing of others: the
// fonts that it would load from elsewhere are not.
const policy = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
	"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// acts are what an admin may do, by the dashboard's own verbs.
var acts = []string{"pause", "resume", "run", "run_all", "batch_run", "cancel", "cancel_all", "batch_cancel"}

// New makes the handler for everything below [Path].
func New(c Config) (http.Handler, error) {
	if c.Auth == nil || c.Ledger == nil || c.Redis.UniversalClient == nil {
		return nil, errors.New("the queue dashboard needs a Redis, a ledger and a sign-in")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	options := asynqmon.Options{RootPath: Path, RedisConnOpt: c.Redis, PayloadFormatter: asynqmon.PayloadFormatterFunc(c.payload)}
	full := asynqmon.New(options)
	options.ReadOnly = true
	looking := asynqmon.New(options)
	look := c.Auth.Require(ledger.RoleViewer)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers(w)
		if l, _ := signin.Of(r.Context()); l.User.Role.May(ledger.RoleAdmin) {
			full.ServeHTTP(w, r)
			return
		}
		looking.ServeHTTP(w, r)
	}))
	act := c.Auth.Require(ledger.RoleAdmin)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers(w)
		_, verb, _ := strings.Cut(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], ":")
		if r.Method != http.MethodPost || !slices.Contains(acts, verb) {
			http.Error(w, "not here: what is owed is the ledger's to decide; pause or cancel the batch in the console", http.StatusForbidden)
			return
		}
		l, _ := signin.Of(r.Context())
		if err := c.Ledger.RecordAct(r.Context(), verb, l.User.Name, strings.TrimPrefix(r.URL.Path, Path+"/api/queues/")); err != nil {
			c.Log.Error("what was done to the queue is not recorded, and not done", "error", err)
			http.Error(w, "the record does not answer; nothing was done", http.StatusServiceUnavailable)
			return
		}
		full.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			look.ServeHTTP(w, r)
			return
		}
		act.ServeHTTP(w, r)
	}), nil
}

func headers(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Robots-Tag", "noindex")
}

func (c Config) payload(task string, payload []byte) string {
	text := string(payload)
	if c.Page == nil {
		return text
	}
	ctx, cancel := context.WithTimeout(context.Background(), pageTime)
	defer cancel()
	if page := c.Page(ctx, task, payload); page != "" {
		text += " " + page
	}
	return text
}
