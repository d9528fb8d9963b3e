package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"dunlin/sandbox"
)

const sdkPath = "/b/checkout/api/sdk/v1/pymt-txn/submit/"

func TestSDK(t *testing.T) {
	s := start(t, sandbox.Config{})
	if a := do(t, newRequest(t, "GET", s.URL()+"/sandbox/sdk/checkout.min.js", "")); a.status != 200 || !strings.Contains(a.text, "window.Checkout") {
		t.Errorf("the script: got %d", a.status)
	}
	for i, line := range s.SDKEnv() {
		if want := []string{"DUNLIN_OTTU_PUBLIC_KEY=" + s.Config().PublicKey, "DUNLIN_OTTU_SDK_URL=" + s.URL() + "/sandbox/sdk/checkout.min.js"}[i]; line != want {
			t.Errorf("got %q, want %q", line, want)
		}
	}
	id := create(t, s, "sdk-1", "customer_id", `"cust-1"`, "redirect_url", `"https://shop.example.test/"`)
	ask := func(method, id, key, body string) answer {
		r := newRequest(t, method, s.URL()+sdkPath+id+"/", body)
		r.Header.Set("Authorization", "Api-Key "+key)
		r.Header.Set("Origin", "https://merchant.example.test")
		return do(t, r)
	}
	public := s.Config().PublicKey
	if a := ask("OPTIONS", id, "", ""); a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("preflight: got %d, %v", a.status, a.header)
	}
	for _, step := range []struct {
		name, method, id, key, body string
		status                      int
		want, state                 string
	}{
		{"private key", "GET", id, s.Config().APIKey, "", 401, "Invalid", "created"},
		{"unknown", "GET", "x", public, "", 404, "Not found", "created"},
		{"set up", "GET", id, public, "", 200, `"saved_cards":true`, "pending"},
		{"not JSON", "POST", id, public, "x", 400, "detail", "pending"},
		{"unknown outcome", "POST", id, public, `{"outcome":"steal"}`, 400, "steal", "pending"},
		{"declined", "POST", id, public, `{"outcome":"failed"}`, 200, `"state":"attempted"`, "attempted"},
		{"paid", "POST", id, public, `{"outcome":"paid"}`, 200, "https://shop.example.test/", "paid"},
		{"paid again", "POST", id, public, `{"outcome":"paid"}`, 400, "does not allow", "paid"},
		{"set up again", "GET", id, public, "", 400, "paid", "paid"},
	} {
		a := ask(step.method, step.id, step.key, step.body)
		if a.status != step.status || !strings.Contains(a.text, step.want) || a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: got %d %s, want %d and %q", step.name, a.status, a.text, step.status, step.want)
		}
		if x, _ := s.Session(id); x.State != step.state {
			t.Errorf("%s: the session is %s, want %s", step.name, x.State, step.state)
		}
	}
	old := create(t, s, "sdk-2")
	if a := ask("POST", old, public, `{"outcome":"expired"}`); a.status != 400 || !strings.Contains(a.text, "expired") {
		t.Errorf("expired: got %d %s", a.status, a.text)
	}
	if p, err := s.Pay(t.Context(), old, sandbox.PayFull, true); err != nil || p.Session.State != "paid" {
		t.Errorf("late: got %+v, %v", p, err)
	}
}

// TestTelling: the merchant hears of attempts twice, in another order, or not at all, as is asked for.
func TestTelling(t *testing.T) {
	s := start(t, sandbox.Config{})
	var mu sync.Mutex
	var heard []string
	srv := merchant(t, func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var v struct{ Result, State string }
		_ = json.Unmarshal(b, &v)
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, v.Result+"/"+v.State)
	})
	id := create(t, s, "tell", "webhook_url", `"`+srv.URL+`"`)
	for _, step := range []struct {
		outcome sandbox.Outcome
		tell    sandbox.Telling
		want    string
	}{
		{sandbox.PayFail, sandbox.TellNever, ""},
		{sandbox.PayFail, sandbox.TellBehind, ""},
		{sandbox.PayCancel, sandbox.TellBehind, ""},
		{sandbox.PayFull, sandbox.TellTwice, "success/paid success/paid failed/attempted canceled/attempted"},
	} {
		if _, err := s.Attempt(t.Context(), id, sandbox.Attempt{Outcome: step.outcome, Tell: step.tell}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(heard, " "); got != step.want {
			t.Errorf("%s told %q: the merchant heard %q, want %q", step.outcome, step.tell, got, step.want)
		}
	}
	if _, err := s.Attempt(t.Context(), id, sandbox.Attempt{Outcome: sandbox.PayFull, Tell: "loudly"}); err == nil {
		t.Error("an unknown way of telling was taken")
	}
}

// TestPayerPaysLate presses the button that an expired session's page has.
func TestPayerPaysLate(t *testing.T) {
	c := newClock()
	s := start(t, sandbox.Config{Now: c.now})
	id := create(t, s, "late", "expiration_time", `"00:01:00"`)
	c.add(2 * 60 * 1e9)
	if a := do(t, newRequest(t, "GET", s.URL()+"/b/checkout/redirect/start/?session_id="+id, "")); !strings.Contains(a.text, `name="late"`) {
		t.Error("an expired session's page has no button to pay late")
	}
	r := newRequest(t, "POST", s.URL()+"/b/checkout/pay/", url.Values{"session_id": {id}, "outcome": {"paid"}, "late": {"yes"}}.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if a := do(t, r); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	if x, _ := s.Session(id); x.State != "paid" {
		t.Errorf("got %s, want paid", x.State)
	}
}
