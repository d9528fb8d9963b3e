package console

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"dunlin/intake"
	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/notify"
	"dunlin/paylink"
	"dunlin/templates"
	"dunlin/web/signin"
)

//go:embed pages/*.html static/*
var files embed.FS

// Config is what a console is made from.
type Config struct {
	Ledger *ledger.DB
	// Queue wakes workers at once and tells how much waits; nil = the workers find the work by themselves.
	Queue jobs.Queue
	Texts *templates.Set
	// Builder renders previews as workers render messages.
	Builder *notify.Builder
	// Intake is what a plan made now depends on.
	Intake func(now time.Time) intake.Settings
	// Reading is how a file is read whose sender says nothing else.
	Reading  intake.Reading
	Merchant string
	// PublicURL is where people reach us; with https the cookie travels by nothing else.
	PublicURL string
	Zone      *time.Location
	// Hold and Approve are what a batch must wait for; see [Approval].
	Hold    time.Duration
	Approve Approval
	// Spool is a folder for uploads until their batch is confirmed; MaxUpload is in bytes.
	Spool     string
	MaxUpload int64
	// Settings are shown on the page about the installation: no secrets.
	Settings []Setting
	// Limits are those of each provider, for what is left of today.
	Limits map[string][]intake.Limit
	Log    *slog.Logger
}

// Setting is one line about how this installation is configured.
type Setting struct{ Name, Value string }

// Console serves the pages. It is safe for concurrent use.
type Console struct {
	Config
	// Auth lets people in; other pages for operators stand behind it, too.
	Auth *signin.Auth

	pages  map[string]*template.Template
	assets map[string]asset
	jobs   *uploads
	stop   context.CancelFunc
	ended  context.Context
	done   sync.WaitGroup
}

type asset struct {
	path, mime string
	body       []byte
}

// New makes a console.
func New(c Config) (*Console, error) {
	if c.Ledger == nil || c.Texts == nil || c.Builder == nil || c.Intake == nil {
		return nil, errors.New("the console needs a ledger, texts, a builder and the settings of plans")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	if c.MaxUpload == 0 {
		c.MaxUpload = 512 << 20
	}
	con := &Console{Config: c}
	con.ended, con.stop = context.WithCancel(context.Background())
	con.jobs = &uploads{failed: map[paylink.BatchID]string{}}
	var err error
	if con.Auth, err = signin.New(signin.Config{Ledger: c.Ledger, Page: "/console/signin", Secure: strings.HasPrefix(c.PublicURL, "https:"),
		Refuse: con.refuse, Log: c.Log}); err != nil {
		return nil, err
	}
	if err := con.load(); err != nil {
		return nil, fmt.Errorf("read the console's pages: %w", err)
	}
	return con, nil
}

// Stop ends what would outlive its reader: progress that is being watched, and files that are being read in, which go on
// when they are uploaded again.
func (c *Console) Stop() { c.stop() }

// Close waits for what Stop has ended.
func (c *Console) Close() error {
	c.stop()
	c.done.Wait()
	return nil
}

func (c *Console) load() error {
	c.assets = map[string]asset{}
	names, err := fs.Glob(files, "static/*")
	if err != nil {
		return err
	}
	for _, name := range names {
		body, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		base := path.Base(name)
		mime := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}[path.Ext(name)]
		c.assets[base] = asset{"/console/static/" + hex.EncodeToString(sum[:6]) + "/" + base, mime, body}
	}
	layout, err := template.New("layout").Funcs(c.funcs()).ParseFS(files, "pages/layout.html", "pages/parts.html")
	if err != nil {
		return err
	}
	c.pages = map[string]*template.Template{}
	if names, err = fs.Glob(files, "pages/*.html"); err != nil {
		return err
	}
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".html")
		if base == "layout" || base == "parts" {
			continue
		}
		t, err := layout.Clone()
		if err == nil {
			t, err = t.ParseFS(files, name)
		}
		if err != nil {
			return err
		}
		c.pages[base] = t
	}
	return nil
}

// view is what every page gets.
type view struct {
	Title string
	// Nav is the part of the console that the page belongs to.
	Nav      string
	User     *ledger.User
	Merchant string
	Did      string // what was just done, in words
	Data     any
}

// Can reports whether the reader may do what a role may.
func (v view) Can(least string) bool { return v.User != nil && v.User.Role.May(ledger.Role(least)) }

// policy is the Content-Security-Policy of every page. Mails are previewed in a frame of this site.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func headers(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}

func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, page, nav, title string, data any) error {
	v := view{Title: title, Nav: nav, Merchant: c.Merchant, Did: didWords[r.URL.Query().Get("did")], Data: data}
	if l, ok := signin.Of(r.Context()); ok {
		v.User = &l.User
	}
	var b bytes.Buffer
	if err := c.pages[page].ExecuteTemplate(&b, "layout", v); err != nil {
		return fmt.Errorf("render %s: %w", page, err)
	}
	headers(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
	return nil
}

// handler is a page; what it returns is told to the reader in words.
type handler func(w http.ResponseWriter, r *http.Request) error

// problem is an error that the reader is told in these words.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

func say(status int, format string, args ...any) error {
	return &problem{status, fmt.Sprintf(format, args...)}
}

func (c *Console) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			c.fail(w, r, err)
		}
	})
}

func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusInternalServerError, ""
	p, isProblem := errors.AsType[*problem](err)
	tooLarge, isLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case r.Context().Err() != nil:
		return // nobody reads it
	case isProblem:
		status, text = p.status, p.text
	case isLarge:
		status, text = http.StatusRequestEntityTooLarge, fmt.Sprintf("This is more than the %s that may be uploaded at once. Split the file, or send it by the command line.", size(tooLarge.Limit))
	case errors.Is(err, paylink.ErrNotFound):
		status, text = http.StatusNotFound, "There is no such batch or request."
	case errors.Is(err, ledger.ErrOwnBatch):
		status, text = http.StatusConflict, "You confirmed this batch yourself: somebody else must approve it."
	case errors.Is(err, paylink.ErrConflict):
		status, text = http.StatusConflict, "Nothing was done, because it has moved on in the meantime: "+plain(err)+"."
	case errors.Is(err, paylink.ErrInvalid):
		status, text = http.StatusUnprocessableEntity, "Nothing was done: "+plain(err)+"."
	}
	ref := ""
	if status == http.StatusInternalServerError {
		ref = rand.Text()[:8]
		c.Log.Error("console page failed", "page", r.Pattern, "ref", ref, "error", err)
		text = "Something went wrong on our side; nothing was lost. If it happens again, tell your administrator the number " + ref + "."
	}
	c.problemPage(w, r, status, text)
}

func plain(err error) string {
	text := strings.TrimSuffix(err.Error(), ": "+paylink.ErrConflict.Error())
	return strings.TrimSuffix(text, ": "+paylink.ErrInvalid.Error())
}

func (c *Console) refuse(w http.ResponseWriter, r *http.Request, status int) {
	text := "Sign in first."
	if status == http.StatusForbidden {
		text = "Your role does not allow this, or the page that sent it was not ours. Nothing was done."
	}
	c.problemPage(w, r, status, text)
}

func (c *Console) problemPage(w http.ResponseWriter, r *http.Request, status int, text string) {
	title := map[int]string{http.StatusNotFound: "Not found", http.StatusForbidden: "Not allowed", http.StatusUnauthorized: "Not signed in",
		http.StatusConflict: "Not possible now", http.StatusInternalServerError: "Something went wrong"}[status]
	if title == "" {
		title = "That did not work"
	}
	if err := c.render(w, r, status, "problem", "", title, text); err != nil {
		c.Log.Error("console page not rendered", "error", err)
		http.Error(w, text, status)
	}
}

// to leads on after a post.
func to(w http.ResponseWriter, location, did string) error {
	if did != "" {
		sep := "?"
		if strings.Contains(location, "?") {
			sep = "&"
		}
		location += sep + "did=" + did
	}
	headers(w.Header())
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// actor is the name in the record of who is signed in.
func actor(r *http.Request) string {
	l, _ := signin.Of(r.Context())
	return l.User.Name
}

func may(r *http.Request, least ledger.Role) bool {
	l, ok := signin.Of(r.Context())
	return ok && l.User.Role.May(least)
}

// wake tells workers at once. The ledger owes the work already: a queue that is away costs time only.
func (c *Console) wake(r *http.Request, wakes ...paylink.Wake) {
	if c.Queue == nil || len(wakes) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 3*time.Second)
	defer cancel()
	if err := c.Queue.Enqueue(ctx, wakes...); err != nil {
		c.Log.Warn("the queue was not told; the workers find the work by themselves", "error", err)
	}
}

func (c *Console) wakeFeeder(r *http.Request, id paylink.BatchID) {
	c.wake(r, paylink.Wake{Task: paylink.TaskFeed, ID: int64(id), Epoch: c.Ledger.Now().UnixMilli()})
}
