package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/templates"
	"dunlin/web/api"
)

// world is the API on a socket over a real ledger. Time stands still until the test moves it.
type world struct {
	*testing.T
	clock  *ledgertest.Clock
	db     *ledger.DB
	temp   string
	server *httptest.Server

	mu    sync.Mutex
	wakes []paylink.Wake
}

func config(t *testing.T) api.Config {
	t.Helper()
	texts, err := templates.Load("")
	if err != nil {
		t.Fatal(err)
	}
	return api.Config{Settings: intake.Settings{Merchant: "Alnoor School", PublicURL: "https://pay.example", Texts: texts, ProviderLink: "https://x.example/b/aB3dE6"},
		Reading:   intake.Reading{Currency: "KWD", Country: "KW", Language: "en", Timezone: "Asia/Kuwait", Routes: paylink.Routes{{paylink.Email}}},
		PublicURL: "https://pay.example", TempDir: t.TempDir(), Calls: 10_000, CallsPer: time.Second}
}

func newWorld(t *testing.T, change ...func(*api.Config)) *world {
	t.Helper()
	w := &world{T: t, clock: ledgertest.NewClock()}
	w.db = ledgertest.Open(t, "sqlite:"+filepath.Join(t.TempDir(), "dunlin.db"), w.clock.Now)
	c := config(t)
	c.Ledger, w.temp = w.db, c.TempDir
	c.Enqueue = func(_ context.Context, wakes ...paylink.Wake) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.wakes = append(w.wakes, wakes...)
		return nil
	}
	for _, f := range change {
		f(&c)
	}
	a, err := api.New(c)
	if err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewServer(a)
	t.Cleanup(w.server.Close)
	return w
}

// key makes a key.
func (w *world) key(scope ledger.KeyScope, change ...func(*ledger.APIKey)) string {
	w.Helper()
	k := ledger.APIKey{Name: string(scope), Scope: scope, CreatedBy: "clerk"}
	for _, f := range change {
		f(&k)
	}
	secret, hash, hint := ledger.NewKey(k.Test)
	k.Hash, k.Hint = hash, hint
	if _, err := w.db.AddKey(w.Context(), k); err != nil {
		w.Fatal(err)
	}
	return secret
}

func test(k *ledger.APIKey) { k.Test = true }

// answer is what a call was answered.
type answer struct {
	*http.Response
	body []byte
}

// field reads a member of the answer's JSON by its path.
func (a answer) field(t *testing.T, path string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("the answer is no JSON: %v: %s", err, a.body)
	}
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("no %s in %s", path, a.body)
		}
		v = m[name]
	}
	return v
}

func (w *world) do(method, path, key, contentType string, body io.Reader, headers ...string) answer {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), method, w.server.URL+path, body)
	if err != nil {
		w.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.server.Client().Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	return answer{res, b}
}

func (w *world) get(path, key string) answer {
	w.Helper()
	return w.do(http.MethodGet, path, key, "", nil)
}

func (w *world) post(path, key, body string, headers ...string) answer {
	w.Helper()
	return w.do(http.MethodPost, path, key, "application/json", strings.NewReader(body), headers...)
}

func (w *world) is(a answer, status int) answer {
	w.Helper()
	if a.StatusCode != status {
		w.Fatalf("%s %s: got %d, want %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, a.body)
	}
	if status >= 400 {
		if ct := a.Header.Get("Content-Type"); ct != "application/problem+json" || a.field(w.T, "status") != float64(status) {
			w.Fatalf("%s %s: the error is no problem: %s, %s", a.Request.Method, a.Request.URL.Path, ct, a.body)
		}
	}
	return a
}

const twoRows = `[{"reference":"INV-1","amount":"12.500","name":"Sara","email":"sara@example.com"},
	{"reference":"INV-2","amount":3,"name":"Omar","email":"omar@example.com"}]`

// running makes a batch of rows in the ledger, beside the API.
func (w *world) running(n int, opts ...ledgertest.Option) paylink.BatchID {
	w.Helper()
	return ledgertest.Import(w.T, w.db, n, opts...)
}

// end is how every test ends: the till adds up, the books agree, and no file is left.
func (w *world) end() {
	w.Helper()
	ledgertest.Audit(w.T, w.db)
	left, err := filepath.Glob(filepath.Join(w.temp, "*"))
	if err != nil || len(left) > 0 {
		w.Errorf("temporary files are left: %v, %v", left, err)
	}
}
