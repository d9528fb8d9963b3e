package console_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"dunlin/intake"
	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/notify"
	"dunlin/paylink"
	"dunlin/templates"
	"dunlin/web/console"
	"dunlin/web/signin"
)

const password = "correct horse battery"

// world is a console on a socket over a real ledger. Time stands still until the test moves it.
type world struct {
	*testing.T
	clock   *ledgertest.Clock
	db      *ledger.DB
	console *console.Console
	server  *httptest.Server
	queue   queue
}

// queue notes what it was woken for.
type queue struct {
	mu    sync.Mutex
	wakes []paylink.Wake
}

func (q *queue) Enqueue(_ context.Context, wakes ...paylink.Wake) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wakes = append(q.wakes, wakes...)
	return nil
}

func (q *queue) Depth(context.Context, jobs.Provider) (int, error) { return 7, nil }

func newWorld(t *testing.T, change func(*console.Config)) *world {
	t.Helper()
	w := &world{T: t}
	w.db, w.clock = ledgertest.New(t)
	texts, err := templates.Load("")
	if err != nil {
		t.Fatal(err)
	}
	routes, err := paylink.ParseRoutes("email")
	if err != nil {
		t.Fatal(err)
	}
	cfg := console.Config{
		Ledger: w.db, Queue: &w.queue, Texts: texts, Merchant: "Al Noor School", PublicURL: "http://127.0.0.1",
		Builder: &notify.Builder{Merchant: "Al Noor School", PublicURL: "http://127.0.0.1", Templates: texts, ContentSIDs: map[string]string{"link:en": "HX1"}},
		Intake: func(now time.Time) intake.Settings {
			return intake.Settings{Merchant: "Al Noor School", PublicURL: "http://127.0.0.1", ProviderLink: "https://pay.example/b/aB3dE6", Texts: texts, Now: now}
		},
		Reading: intake.Reading{Currency: "KWD", Country: "KW", Language: "en", Timezone: "Asia/Kuwait", Routes: routes},
		Spool:   filepath.Join(t.TempDir(), "spool"), MaxUpload: 1 << 20,
		Settings: []console.Setting{{Name: "DUNLIN_OTTU_API_KEY", Value: "[redacted]"}}, Limits: map[string][]intake.Limit{"checkout": {{N: 1000, Per: 24 * time.Hour}}},
	}
	if change != nil {
		change(&cfg)
	}
	if w.console, err = console.New(cfg); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	w.console.Mount(mux)
	w.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		w.console.Stop()
		w.server.Close()
		if err := w.console.Close(); err != nil {
			t.Error(err)
		}
		ledgertest.Audit(after{t}, w.db)
	})
	hash := hashOnce(t)
	for _, role := range ledger.Roles {
		if err := w.db.AddUser(t.Context(), string(role)+"1", role, hash, "test"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.db.AddUser(t.Context(), "approver2", ledger.RoleApprover, hash, "test"); err != nil {
		t.Fatal(err)
	}
	return w
}

// hashOnce is a password's hash that all tests share: making one takes a while on purpose.
func hashOnce(t *testing.T) string {
	t.Helper()
	h, err := sharedHash()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

var sharedHash = sync.OnceValues(func() (string, error) { return signin.Hash(password) })

// browser is one person's.
type browser struct {
	*world
	client *http.Client
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.Fatal(err)
	}
	client := w.server.Client()
	return &browser{w, &http.Client{Transport: client.Transport, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// as is the browser of somebody who is signed in.
func (w *world) as(name string) *browser {
	w.Helper()
	b := w.browser()
	if a := b.post("/console/signin", "name", name, "password", password); a.status != http.StatusSeeOther {
		w.Fatalf("signing in as %s: got %d %s", name, a.status, a.body)
	}
	return b
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(r *http.Request) answer {
	b.Helper()
	res, err := b.client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

func (b *browser) request(method, path, kind, body string) *http.Request {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, b.server.URL+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	return r
}

func (b *browser) get(path string) answer {
	b.Helper()
	return b.do(b.request(http.MethodGet, path, "", ""))
}

func (b *browser) post(path string, pairs ...string) answer {
	b.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return b.do(b.request(http.MethodPost, path, "application/x-www-form-urlencoded", form.Encode()))
}

// sees gets a page and finds all of the texts in it.
func (b *browser) sees(path string, texts ...string) string {
	b.Helper()
	a := b.get(path)
	if a.status != http.StatusOK {
		b.Fatalf("%s: got %d, want 200\n%s", path, a.status, words(a.body))
	}
	for _, text := range texts {
		if !strings.Contains(words(a.body), text) {
			b.Errorf("%s: got a page without %q:\n%s", path, text, words(a.body))
		}
	}
	return a.body
}

// goes posts and is led on; it returns where to, without what was done.
func (b *browser) goes(path string, pairs ...string) string {
	b.Helper()
	a := b.post(path, pairs...)
	if a.status != http.StatusSeeOther {
		b.Fatalf("POST %s: got %d, want 303\n%s", path, a.status, words(a.body))
	}
	to, _, _ := strings.Cut(a.header.Get("Location"), "?")
	return to
}

// upload brings a file and returns where it leads.
func (b *browser) upload(name, content string) answer {
	b.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", name)
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.WriteString(part, content)
	if err := form.Close(); err != nil {
		b.Fatal(err)
	}
	return b.do(b.request(http.MethodPost, "/console/upload", form.FormDataContentType(), body.String()))
}

// draft uploads a file and has it read as it is.
func (b *browser) draft(name, content string, pairs ...string) string {
	b.Helper()
	a := b.upload(name, content)
	if a.status != http.StatusSeeOther {
		b.Fatalf("upload: got %d\n%s", a.status, words(a.body))
	}
	return b.goes(a.header.Get("Location"), append([]string{"currency", "KWD", "country", "KW", "language", "en", "channels", "email"}, pairs...)...)
}

var (
	tags   = regexp.MustCompile(`<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
)

// words are what a person reads of a page.
func words(body string) string {
	_, body, _ = strings.Cut(body, "<body")
	return spaces.ReplaceAllString(tags.ReplaceAllString("<body"+body, " "), " ")
}

// after is a test whose own context has ended.
type after struct{ testing.TB }

func (after) Context() context.Context { return context.Background() }
