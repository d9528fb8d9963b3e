package sandbox_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"dunlin/sandbox"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a sandbox until the test ends.
func start(t testing.TB, cfg sandbox.Config) *sandbox.Sandbox {
	t.Helper()
	s, err := sandbox.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

// clock is a clock that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// answer is what came back: the error instead of a status when the connection ended without a full one.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
	err    error
}

func do(t testing.TB, r *http.Request) answer {
	t.Helper()
	c := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := c.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	a := answer{status: res.StatusCode, header: res.Header, text: string(b), err: err}
	_ = json.Unmarshal(b, &a.body)
	return a
}

func newRequest(t testing.TB, method, target, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ottu calls the checkout API with the right key and a JSON body.
func ottu(t testing.TB, s *sandbox.Sandbox, method, path, body string) answer {
	t.Helper()
	r := newRequest(t, method, s.URL()+path, body)
	r.Header.Set("Authorization", "Api-Key "+s.Config().APIKey)
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
	}
	return do(t, r)
}

const sessions = "/b/checkout/v1/pymt-txn/"

// order is a good create body with the members of more put over it; a null removes one.
func order(orderNo string, more ...string) string {
	v := map[string]json.RawMessage{
		"type": json.RawMessage(`"payment_request"`), "amount": json.RawMessage(`"12.5"`), "currency_code": json.RawMessage(`"KWD"`),
		"pg_codes": json.RawMessage(`["knet"]`), "order_no": json.RawMessage(`"` + orderNo + `"`),
		"expiration_time": json.RawMessage(`"1 00:00:00"`),
	}
	for i := 0; i < len(more); i += 2 {
		v[more[i]] = json.RawMessage(more[i+1])
		if more[i+1] == "" {
			delete(v, more[i])
		}
	}
	b, _ := json.Marshal(v)
	return string(b)
}

func create(t testing.TB, s *sandbox.Sandbox, orderNo string, more ...string) string {
	t.Helper()
	a := ottu(t, s, "POST", sessions, order(orderNo, more...))
	if a.status != http.StatusCreated {
		t.Fatalf("create: got %d %s %v, want 201", a.status, a.text, a.err)
	}
	return a.body["session_id"].(string)
}

func operate(t testing.TB, s *sandbox.Sandbox, op, orderNo string) answer {
	t.Helper()
	return ottu(t, s, "POST", "/b/pbl/v2/operation/", `{"operation":"`+op+`","order_no":"`+orderNo+`"}`)
}

// send posts a message with the right credentials.
func send(t testing.TB, s *sandbox.Sandbox, form url.Values) answer {
	t.Helper()
	r := newRequest(t, "POST", s.URL()+messages(s), form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(s.Config().AccountSID, s.Config().AuthToken)
	return do(t, r)
}

func messages(s *sandbox.Sandbox) string {
	return "/2010-04-01/Accounts/" + s.Config().AccountSID + "/Messages.json"
}

func twilioGet(t testing.TB, s *sandbox.Sandbox, path string) answer {
	t.Helper()
	r := newRequest(t, "GET", s.URL()+path, "")
	r.SetBasicAuth(s.Config().AccountSID, s.Config().AuthToken)
	return do(t, r)
}

func sms(to string) url.Values {
	return url.Values{"To": {to}, "From": {sandbox.SMSFrom}, "Body": {"Pay here: https://pay.example.test/p/abc"}}
}

func addFault(t testing.TB, s *sandbox.Sandbox, r sandbox.Rule) {
	t.Helper()
	if err := s.AddFault(r); err != nil {
		t.Fatal(err)
	}
}

// wait fails the test if cond does not come to hold.
func wait(t testing.TB, s *sandbox.Sandbox, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Wait(ctx, cond); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
