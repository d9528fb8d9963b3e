package pay_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dunlin/checkout/ottu"
	"dunlin/internal/testenv"
	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/notify"
	"dunlin/paylink"
	"dunlin/sandbox"
	"dunlin/templates"
	"dunlin/web/hooks"
	"dunlin/web/pay"
)

var databases = []struct {
	name string
	open func(*testing.T) string
}{
	{"sqlite", func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "dunlin.db") }},
	{"postgres", func(t *testing.T) string { return testenv.Postgres(t) }},
}

// each runs a test over both databases.
func each(t *testing.T, run func(*world)) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, d.open(t))
			run(w)
			ledgertest.Audit(t, w.db)
		})
	}
}

// world is the server as it runs: pages and webhook on a socket, over a real ledger, against the stand-in of the provider.
// Time stands still until the test moves it.
type world struct {
	*testing.T
	clock  *ledgertest.Clock
	db     *ledger.DB
	box    *sandbox.Sandbox
	worker *jobs.Worker
	hook   *hooks.Receiver
	server *httptest.Server
	client *http.Client
	alerts alerts
	// hooksDown: the webhook is not reached.
	hooksDown atomic.Bool
}

func newWorld(t *testing.T, address string, options ...func(*world, *pay.Config)) *world {
	t.Helper()
	w := &world{T: t, clock: ledgertest.NewClock()}
	w.db = ledgertest.Open(t, address, w.clock.Now)
	var err error
	if w.box, err = sandbox.Start(sandbox.Config{Now: w.clock.Now, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.box.Close() })
	texts, err := templates.Load("")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	w.server = httptest.NewServer(mux)
	t.Cleanup(w.server.Close)
	wire := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(wire.CloseIdleConnections)
	cfg := w.box.Config()
	checkout, err := ottu.New(ottu.Config{BaseURL: w.box.URL(), APIKey: cfg.APIKey, PGCodes: cfg.PGCodes, HTTP: &http.Client{Transport: wire}, Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	if w.worker, err = jobs.New(jobs.Config{Ledger: w.db, Queue: noQueue{}, Checkout: ottuCheckout{checkout}, Alerter: &w.alerts,
		Builder:   &notify.Builder{Merchant: "Al Noor School", PublicURL: w.server.URL, Templates: texts},
		ReturnURL: w.server.URL + "/p/%s/return", WebhookURL: w.server.URL + "/hooks/ottu", SessionLife: 2 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	desk := jobs.NewDesk(w.worker, w.db, nil, nil)
	if w.hook, err = hooks.New(hooks.Config{Provider: "ottu", Ledger: w.db, Reader: ottu.Events{Keys: []string{cfg.HMACKey}}, Ask: desk.Ask}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.hook.Close)
	config := pay.Config{Ledger: w.db, Desk: desk, Texts: texts, Merchant: "Al Noor School", Language: "en", Silence: w.db}
	for _, set := range options {
		set(w, &config)
	}
	pages, err := pay.New(config)
	if err != nil {
		t.Fatal(err)
	}
	pages.Mount(mux)
	mux.HandleFunc("POST /hooks/ottu", func(rw http.ResponseWriter, r *http.Request) {
		if w.hooksDown.Load() {
			http.Error(rw, "down", http.StatusBadGateway)
			return
		}
		w.hook.ServeHTTP(rw, r)
	})
	w.client = &http.Client{Transport: wire, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return w
}

type ottuCheckout struct{ *ottu.Client }

func (o ottuCheckout) ExpireOrder(ctx context.Context, orderNo string) error {
	return o.Expire(ctx, ottu.Ref{OrderNo: orderNo})
}

type noQueue struct{}

func (noQueue) Enqueue(context.Context, ...paylink.Wake) error    { return nil }
func (noQueue) Depth(context.Context, jobs.Provider) (int, error) { return 0, nil }

type alerts struct {
	mu   sync.Mutex
	keys []string
}

func (a *alerts) Alert(_ context.Context, key, _ string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = append(a.keys, key)
}

func (a *alerts) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.keys...)
}

// debt is a request that was given its session as dispatch does it, and its page.
func (w *world) debt(opts ...ledgertest.Option) (id paylink.RequestID, page string) {
	w.Helper()
	opts = append([]ledgertest.Option{ledgertest.Each(func(r *paylink.Row) { r.ExpiresIn = 2 * time.Hour })}, opts...)
	b := ledgertest.Import(w.T, w.db, 1, opts...)
	wakes, err := w.db.Feed(w.Context(), b, 1)
	if err != nil {
		w.Fatal(err)
	}
	if err := w.worker.Do(w.Context(), wakes[0]); err != nil {
		w.Fatal(err)
	}
	id = paylink.RequestID(wakes[0].ID)
	v := w.view(id)
	if v.Live == nil {
		w.Fatalf("dispatch made no session for %s", id)
	}
	return id, "/p/" + paylink.Token(id, v.Request.Secret)
}

// language is what a row asks for its page; customer is a row of somebody who may have saved cards.
func language(lang string) ledgertest.Option {
	return ledgertest.Each(func(r *paylink.Row) { r.Language = lang })
}

func customer(f *ledgertest.File) {
	ledgertest.Each(func(r *paylink.Row) { r.CustomerID = "cust-1" })(f)
}

func (w *world) view(id paylink.RequestID) paylink.PayerView {
	w.Helper()
	v, err := w.db.Payer(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return v
}

// answer is what a browser got.
type answer struct {
	status         int
	location, body string
	header         http.Header
}

func (w *world) do(method, path string) answer {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.server.URL+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	res, err := w.client.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	return answer{res.StatusCode, res.Header.Get("Location"), string(b), res.Header}
}

// shows asks for a page and looks for words on it.
func (w *world) shows(path string, status int, words ...string) answer {
	w.Helper()
	a := w.do(http.MethodGet, path)
	w.has(a, status, words...)
	return a
}

func (w *world) has(a answer, status int, words ...string) {
	w.Helper()
	if a.status != status {
		w.Errorf("got status %d, want %d", a.status, status)
	}
	for _, word := range words {
		if !strings.Contains(a.body, word) {
			w.Errorf("the page does not say %q:\n%s", word, a.body[strings.Index(a.body, "<body"):])
		}
	}
}

// clicks presses the button and is sent on to a session.
func (w *world) clicks(page string) string {
	w.Helper()
	a := w.do(http.MethodPost, page+"/pay")
	if a.status != http.StatusSeeOther {
		w.Fatalf("got %d, want to be sent on:\n%s", a.status, a.body)
	}
	return a.location
}

// sessions are those that the provider has of a debt.
func (w *world) sessions() []sandbox.Session { return w.box.Sessions() }

func (w *world) flags() string {
	w.Helper()
	list, err := w.db.Flags(w.Context(), 0, 100)
	if err != nil {
		w.Fatal(err)
	}
	var kinds []string
	for _, f := range list {
		kinds = append(kinds, string(f.Kind))
	}
	return strings.Join(kinds, " ")
}
