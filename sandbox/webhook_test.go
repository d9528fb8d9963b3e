package sandbox_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"dunlin/sandbox"
)

func TestSignWebhookVectors(t *testing.T) {
	tests := []struct {
		name, key string
		body      map[string]any
		want      string
	}{
		{"published", "pu9MpX3yPR", map[string]any{
			"amount": "86.000", "currency_code": "KWD", "customer_first_name": "example-customer",
		}, "6143b8ad4bd283540721ab000f6de746e722231aaaa90bc38f639081d3ff9f67"},
		{"unsigned, empty and null members", "unit-test-key", map[string]any{
			"amount": "12.500", "currency_code": "KWD", "customer_email": "payer@example.test", "customer_phone": "+96550001234",
			"customer_last_name": "", "customer_first_name": nil, "gateway_account": "knet-main", "gateway_name": "kpay",
			"order_no": "B7-000042-1", "reference_number": "TESTREF42", "result": "success", "state": "paid",
			"session_id": "0123456789abcdef0123456789abcdef01234567", "payment_type": "one_off",
		}, "e3dda42bcaa020077cfa15140fdf75e765d6e70c289819a3aa3d62cdcf2cb964"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := sandbox.SignWebhook(tt.key, tt.body); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// merchant is a webhook's receiver.
func merchant(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func TestWebhookIsSignedAndRedirects(t *testing.T) {
	s := start(t, sandbox.Config{})
	bodies := make(chan map[string]any, 1)
	srv := merchant(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var v map[string]any
		_ = json.Unmarshal(b, &v)
		bodies <- v
	})
	id := create(t, s, "w1", "webhook_url", `"`+srv.URL+`"`, "redirect_url", `"https://shop.example.test/back?a=1"`,
		"customer_first_name", `"Sara"`, "extra", `{"ref":"r 1"}`)
	p := pay(t, s, id, sandbox.PayPart)
	got := <-bodies
	if want := sandbox.SignWebhook(s.Config().HMACKey, got); got["signature"] != want {
		t.Errorf("signature: got %v, want %s", got["signature"], want)
	}
	for k, want := range map[string]any{
		"order_no": "w1", "session_id": id, "state": "paid", "result": "success", "amount": "12.500", "settled_amount": "6.250",
		"remaining_amount": "6.250", "customer_first_name": "Sara", "gateway_account": "knet",
	} {
		if got[k] != want {
			t.Errorf("%s: got %v, want %v", k, got[k], want)
		}
	}
	u, err := url.Parse(p.Redirect)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]string{"a": "1", "order_no": "w1", "session_id": id, "ref": "r 1", "reference_number": got["reference_number"].(string)} {
		if u.Query().Get(k) != want {
			t.Errorf("redirect's %s: got %q, want %q", k, u.Query().Get(k), want)
		}
	}
}

func TestWebhookAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		status   int
		redirect bool
	}{"taken": {200, true}, "taken, stay": {201, false}, "failed": {500, false}} {
		t.Run(name, func(t *testing.T) {
			s := start(t, sandbox.Config{})
			var calls atomic.Int32
			srv := merchant(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				w.WriteHeader(tt.status)
			})
			p := pay(t, s, create(t, s, "o", "webhook_url", `"`+srv.URL+`"`, "redirect_url", `"https://shop.example.test/"`), sandbox.PayFull)
			if p.Webhook != tt.status || (p.Redirect != "") != tt.redirect || calls.Load() != 1 {
				t.Errorf("got status %d, redirect %q, %d calls, want %d, %v, 1 call", p.Webhook, p.Redirect, calls.Load(), tt.status, tt.redirect)
			}
		})
	}
}

func TestWebhookIsRepeatedOnlyAfterTimeouts(t *testing.T) {
	s := start(t, sandbox.Config{})
	s.SetWebhookTimes(50*time.Millisecond, time.Millisecond)
	var calls atomic.Int32
	srv := merchant(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if calls.Add(1) < 3 {
			<-r.Context().Done()
		}
	})
	p := pay(t, s, create(t, s, "o", "webhook_url", `"`+srv.URL+`"`), sandbox.PayFull)
	if p.Webhook != 200 || calls.Load() != 3 {
		t.Errorf("got status %d after %d calls, want 200 after 3", p.Webhook, calls.Load())
	}
}

func TestLoopbackSandboxReachesNobodyElse(t *testing.T) {
	s := start(t, sandbox.Config{})
	id := create(t, s, "o", "webhook_url", `"http://192.0.2.1/hook"`)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	p, err := s.Pay(ctx, id, sandbox.PayFull, false)
	if err != nil || p.Webhook != 0 || ctx.Err() != nil {
		t.Errorf("got %d, %v, want no answer at once", p.Webhook, err)
	}
}
