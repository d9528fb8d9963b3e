package ottu_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"dunlin/checkout/ottu"
	"dunlin/paylink"
)

const (
	testKey   = "test-private-key-9f3"
	sessionID = "0123456789abcdef0123456789abcdef01234567"
)

var testNow = time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)

func kwd(minor int64) paylink.Money { return paylink.Money{Minor: minor, Currency: "KWD"} }

// arabicOrder has everything an order can have; its personal values must never show up in an error.
var arabicOrder = paylink.CheckoutOrder{
	OrderNo:    "INV-2041-7k2m9q4x8w3z",
	Amount:     kwd(12500),
	Language:   "ar",
	FirstName:  "نورة",
	LastName:   "العبدالله",
	Email:      "noura@payer.example",
	Phone:      "+96550001234",
	CustomerID: "cust-881",
	DueDate:    "2026-12-31",
	ExpiresIn:  49*time.Hour + 5*time.Minute + 7*time.Second + time.Millisecond,
	ReturnURL:  "https://pay.merchant.example/p/8Jk2?x=1&y=2",
	WebhookURL: "https://pay.merchant.example/hooks/ottu",
}

const arabicAnswer = `{"session_id":"` + sessionID + `","checkout_url":"https://merchant.example/b/checkout/redirect/start/?session_id=` + sessionID + `",
"checkout_short_url":"https://merchant.example/b/abc123","amount":"12.500","currency_code":"KWD","order_no":"INV-2041-7k2m9q4x8w3z",
"state":"created","expiration_time":"2 01:05:08","payment_methods":[{"code":"knet-main","amount":"12.500"}],"something_new":{"a":[1,2]}}`

func newClient(t *testing.T, base string, change ...func(*ottu.Config)) *ottu.Client {
	t.Helper()
	cfg := ottu.Config{BaseURL: base, APIKey: testKey, PGCodes: []string{"knet-main", "mpgs"}, Now: func() time.Time { return testNow }}
	for _, f := range change {
		f(&cfg)
	}
	c, err := ottu.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return c
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// answering is a server that always gives the same answer.
func answering(t *testing.T, status int, header http.Header, body string) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

// calls are the four kinds of call, made in a valid way.
var calls = map[string]func(context.Context, *ottu.Client) error{
	"create": func(ctx context.Context, c *ottu.Client) error {
		_, err := c.Create(ctx, arabicOrder)
		return err
	},
	"retrieve": func(ctx context.Context, c *ottu.Client) error {
		_, err := c.Retrieve(ctx, sessionID)
		return err
	},
	"update": func(ctx context.Context, c *ottu.Client) error {
		amount := kwd(12500)
		_, err := c.Update(ctx, sessionID, paylink.SessionChange{Amount: &amount})
		return err
	},
	"end": func(ctx context.Context, c *ottu.Client) error {
		return c.Expire(ctx, ottu.Ref{OrderNo: arabicOrder.OrderNo})
	},
}

// outcome is the part of a failure that callers act on.
type outcome struct {
	Kind  paylink.Kind
	Scope paylink.Scope
	Cause paylink.Cause
	Code  string
}

func outcomeOf(t *testing.T, err error) outcome {
	t.Helper()
	if err == nil {
		t.Fatal("the call succeeded, want a failure")
	}
	f := paylink.AsFailure(err)
	return outcome{f.Kind, f.Scope, f.Cause, f.Code}
}

// rawServer gives every connection to handle, and closes it afterwards by a reset.
func rawServer(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handle(c)
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}()
	return l.Addr().String()
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
