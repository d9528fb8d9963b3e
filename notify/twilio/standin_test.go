package twilio_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"dunlin/notify"
	"dunlin/notify/twilio"
	"dunlin/paylink"
)

// The payer of all tests; no error text may contain any part of it.
const (
	payer      = "+96550012345"
	accountSID = "AC00000000000000000000000000000001"
	authToken  = "0123456789abcdef0123456789abcdef"
	token      = "attempt-token-1"
	created    = `{"sid":"SM00000000000000000000000000000009","status":"queued","num_segments":"2","error_code":null,"price":null}`
)

func sms() notify.Outgoing {
	return notify.Outgoing{Channel: paylink.SMS, To: payer, Text: "Pay 12.500 KWD: https://pay.example/p/abc", AttemptToken: token}
}

func whatsApp() notify.Outgoing {
	return notify.Outgoing{Channel: paylink.WhatsApp, To: payer, Text: "never sent", ContentSID: "HX1", AttemptToken: token,
		Variables: map[string]string{"1": "Payer Person", "2": "12.500 KWD"}}
}

// standIn answers in Twilio's place and remembers what it was asked.
type standIn struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request // under mu; forms are parsed
}

func newStandIn(t testing.TB, answer http.HandlerFunc) *standIn {
	t.Helper()
	s := &standIn{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *standIn) asked() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.requests...)
}

// form is the form of the only request.
func (s *standIn) form(t *testing.T) url.Values {
	t.Helper()
	all := s.asked()
	if len(all) != 1 {
		t.Fatalf("%d requests, want 1", len(all))
	}
	return all[0].PostForm
}

func say(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func newClient(t testing.TB, base string, edit func(*twilio.Config)) *twilio.Client {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	c := twilio.Config{AccountSID: accountSID, AuthToken: authToken, BaseURL: base, SMSFrom: "+15005550006", WhatsAppFrom: "+15005550007",
		Timeout: 10 * time.Second, Transport: transport}
	if edit != nil {
		edit(&c)
	}
	client, err := twilio.New(c)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return client
}

type committed struct {
	times int
	hash  [32]byte
	err   error
}

func (c *committed) commit(_ context.Context, hash [32]byte) error {
	c.times++
	c.hash = hash
	return c.err
}

func proceed(context.Context, [32]byte) error { return nil }

// failure returns the classification of err, which must not tell anything about the payer, the message or the account.
func failure(t testing.TB, err error) paylink.Failure {
	t.Helper()
	f, ok := errors.AsType[*paylink.Failure](err)
	if !ok {
		t.Fatalf("error is no *paylink.Failure: %v", err)
	}
	for _, secret := range []string{"96550012345", "50012345", "Payer", "pay.example", "abc", token, accountSID, authToken, "1500555"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error text tells %q: %v", secret, err)
		}
	}
	return *f
}
