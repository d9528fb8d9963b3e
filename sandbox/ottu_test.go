package sandbox_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"dunlin/sandbox"

	"github.com/google/go-cmp/cmp"
)

func TestCreateAnswersAsDocumented(t *testing.T) {
	s := start(t, sandbox.Config{})
	a := ottu(t, s, "POST", sessions, order("inv-1", "customer_email", `"payer@example.test"`, "shortify_checkout_url", "true", "extra", `{"k":"v"}`))
	if a.status != http.StatusCreated {
		t.Fatalf("status: got %d %s, want 201", a.status, a.text)
	}
	id, _ := a.body["session_id"].(string)
	if len(id) != 40 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Errorf("session_id: got %q, want 40 hex characters", id)
	}
	for name, want := range map[string]any{
		"amount": "12.500", "currency_code": "KWD", "state": "created", "order_no": "inv-1", "type": "payment_request",
		"language": "en", "payment_type": "one_off", "operation": "purchase", "expiration_time": "1 00:00:00",
		"customer_email": "payer@example.test", "extra": map[string]any{"k": "v"}, "pg_codes": []any{"knet"},
		"checkout_url": s.URL() + "/b/checkout/redirect/start/?session_id=" + id,
	} {
		if diff := cmp.Diff(want, a.body[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	short, _ := a.body["checkout_short_url"].(string)
	if got := do(t, newRequest(t, "GET", short, "")); got.status != http.StatusFound || got.header.Get("Location") != a.body["checkout_url"] {
		t.Errorf("short link %q: got %d to %q, want 302 to the checkout URL", short, got.status, got.header.Get("Location"))
	}
	if plain := ottu(t, s, "POST", sessions, order("inv-2")); plain.body["checkout_short_url"] != nil {
		t.Errorf("checkout_short_url is there although nobody asked for it")
	}
	again := ottu(t, s, "GET", sessions+id+"/", "")
	if diff := cmp.Diff(a.body, again.body); diff != "" {
		t.Errorf("retrieve differs from create (-create +retrieve):\n%s", diff)
	}
}

func TestCreateRefusesFields(t *testing.T) {
	s := start(t, sandbox.Config{})
	long := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	tests := []struct {
		name, member, value string
		wantField           string // empty: accepted
	}{
		{"no amount", "amount", "", "amount"},
		{"no currency", "currency_code", "", "currency_code"},
		{"no codes", "pg_codes", "", "pg_codes"},
		{"no type", "type", "", "type"},
		{"unknown type", "type", `"invoice"`, "type"},
		{"amount as a number", "amount", `12.5`, "amount"},
		{"excess decimals", "amount", `"12.5001"`, "amount"},
		{"three decimals", "amount", `"12.501"`, ""},
		{"least amount", "amount", `"0.010"`, ""},
		{"below the least", "amount", `"0.009"`, "amount"},
		{"zero", "amount", `"0"`, "amount"},
		{"negative", "amount", `"-1"`, "amount"},
		{"exponent", "amount", `"1e3"`, "amount"},
		{"grouped", "amount", `"1,000.000"`, "amount"},
		{"thirteen digits", "amount", `"9999999999999.999"`, ""},
		{"fourteen digits", "amount", `"10000000000000"`, "amount"},
		{"unknown currency", "currency_code", `"XXX"`, "currency_code"},
		{"lower case currency", "currency_code", `"kwd"`, "currency_code"},
		{"yen without decimals", "currency_code", `"JPY"`, "amount"},
		{"empty codes", "pg_codes", `[]`, "pg_codes"},
		{"foreign code", "pg_codes", `["stripe"]`, "pg_codes"},
		{"codes as text", "pg_codes", `"knet"`, "pg_codes"},
		{"order number of 128", "order_no", long(128), ""},
		{"order number of 129", "order_no", long(129), "order_no"},
		{"phone of 16", "customer_phone", `"+123456789012345"`, ""},
		{"phone of 17", "customer_phone", `"+1234567890123456"`, "customer_phone"},
		{"email", "customer_email", `"payer@"`, "customer_email"},
		{"email with a name", "customer_email", `"A <a@example.test>"`, "customer_email"},
		{"long name", "customer_first_name", long(65), "customer_first_name"},
		{"name counted in characters", "customer_first_name", `"` + strings.Repeat("م", 64) + `"`, ""},
		{"long customer id", "customer_id", long(65), "customer_id"},
		{"minutes only", "expiration_time", `"50:00"`, "expiration_time"},
		{"seconds", "expiration_time", `"3600"`, "expiration_time"},
		{"Go duration", "expiration_time", `"24h0m0s"`, "expiration_time"},
		{"25 hours", "expiration_time", `"25:00:00"`, "expiration_time"},
		{"zero lifetime", "expiration_time", `"00:00:00"`, "expiration_time"},
		{"fifty minutes", "expiration_time", `"00:50:00"`, ""},
		{"due date", "due_datetime", `"31/12/2026 10:00"`, ""},
		{"ISO due date", "due_datetime", `"2026-12-31"`, "due_datetime"},
		{"language", "language", `"fr"`, "language"},
		{"redirect", "redirect_url", `"/back"`, "redirect_url"},
		{"webhook", "webhook_url", `"ftp://example.test"`, "webhook_url"},
		{"notification without address", "notifications", `{"email":["created"]}`, "customer_email"},
		{"sms without number", "notifications", `{"sms":["paid"]}`, "customer_phone"},
		{"unknown channel", "notifications", `{"SMS":["paid"]}`, "notifications"},
		{"event WhatsApp has not", "notifications", `{"whatsapp":["refunded"]}`, "notifications"},
		{"auto debit alone", "payment_type", `"auto_debit"`, "agreement"},
		{"agreement with one_off", "agreement", `{"id":"1"}`, "agreement"},
		{"address without city", "billing_address", `{"line1":"a","country":"KW","postal_code":"1"}`, "billing_address"},
		{"extra as a list", "extra", `[]`, "extra"},
		{"flag as text", "shortify_checkout_url", `"yes"`, "shortify_checkout_url"},
		{"unknown member", "whatever", `1`, ""},
		{"null is absent", "customer_email", `null`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := ottu(t, s, "POST", sessions, order("o", tt.member, tt.value))
			if tt.wantField == "" {
				if a.status != http.StatusCreated {
					t.Errorf("got %d %s, want 201", a.status, a.text)
				}
				return
			}
			if _, ok := a.body[tt.wantField].([]any); a.status != http.StatusBadRequest || !ok {
				t.Errorf("got %d %s, want 400 with a list under %s", a.status, a.text, tt.wantField)
			}
		})
	}
	t.Run("mpgs limits the order number", func(t *testing.T) {
		a := ottu(t, s, "POST", sessions, order(strings.Repeat("x", 38), "pg_codes", `["mpgs"]`))
		if _, ok := a.body["order_no"]; a.status != http.StatusBadRequest || !ok {
			t.Errorf("got %d %s, want 400 on order_no", a.status, a.text)
		}
		create(t, s, strings.Repeat("x", 37), "pg_codes", `["mpgs"]`)
	})
}

func TestOttuRefusesRequests(t *testing.T) {
	s := start(t, sandbox.Config{})
	id := create(t, s, "a")
	good := "Api-Key " + s.Config().APIKey
	tests := []struct {
		name, method, path, auth, kind, body string
		want                                 int
	}{
		{"no key", "POST", sessions, "", "application/json", order("x"), 401},
		{"wrong key", "POST", sessions, "Api-Key nope", "application/json", order("x"), 401},
		{"bearer", "GET", sessions + id + "/", "Bearer " + s.Config().APIKey, "", "", 401},
		{"key before method", "DELETE", sessions, "", "", "", 401},
		{"no slash on create", "POST", strings.TrimSuffix(sessions, "/"), good, "application/json", order("x"), 301},
		{"no slash on retrieve", "GET", sessions + id, good, "", "", 301},
		{"unknown session", "GET", sessions + strings.Repeat("0", 40) + "/", good, "", "", 404},
		{"patch of an unknown session", "PATCH", sessions + strings.Repeat("0", 40) + "/", good, "application/json", `{"amount":"1"}`, 404},
		{"unknown path", "POST", "/b/checkout/v1/payments/", good, "application/json", "{}", 404},
		{"list does not exist", "GET", sessions, good, "", "", 405},
		{"delete", "DELETE", sessions + id + "/", good, "", "", 405},
		{"form", "POST", sessions, good, "application/x-www-form-urlencoded", "amount=1", 415},
		{"no media type", "POST", sessions, good, "", order("x"), 415},
		{"broken JSON", "POST", sessions, good, "application/json", `{"amount":`, 400},
		{"JSON list", "POST", sessions, good, "application/json", `[]`, 400},
		{"JSON null", "POST", sessions, good, "application/json", `null`, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(t, tt.method, s.URL()+tt.path, tt.body)
			if tt.auth != "" {
				r.Header.Set("Authorization", tt.auth)
			}
			if tt.kind != "" {
				r.Header.Set("Content-Type", tt.kind)
			}
			a := do(t, r)
			if a.status != tt.want {
				t.Fatalf("got %d %s, want %d", a.status, a.text, tt.want)
			}
			if tt.want == 301 {
				if got := a.header.Get("Location"); got != tt.path+"/" {
					t.Errorf("Location: got %q, want the path with its slash", got)
				}
			} else if _, ok := a.body["detail"].(string); !ok {
				t.Errorf("got %s, want a detail", a.text)
			}
		})
	}
	if got := len(s.Sessions()); got != 1 {
		t.Errorf("sessions after refusals: got %d, want 1", got)
	}
}

func TestStateMachine(t *testing.T) {
	// What expire, cancel and PATCH do in each state, and the state after the operation.
	tests := []struct {
		state          string
		reach          func(t *testing.T, s *sandbox.Sandbox, id, orderNo string)
		expire, cancel int
	}{
		{"created", func(*testing.T, *sandbox.Sandbox, string, string) {}, 200, 200},
		{"pending", func(t *testing.T, s *sandbox.Sandbox, id, _ string) { open(t, s, id) }, 200, 200},
		{"attempted", func(t *testing.T, s *sandbox.Sandbox, id, _ string) { pay(t, s, id, sandbox.PayFail) }, 200, 200},
		{"paid", func(t *testing.T, s *sandbox.Sandbox, id, _ string) { pay(t, s, id, sandbox.PayFull) }, 400, 400},
		{"authorized", func(t *testing.T, s *sandbox.Sandbox, id, _ string) { pay(t, s, id, sandbox.PayAuthorize) }, 400, 400},
		{"expired", func(t *testing.T, s *sandbox.Sandbox, _, o string) { operate(t, s, "expire", o) }, 400, 400},
		{"canceled", func(t *testing.T, s *sandbox.Sandbox, _, o string) { operate(t, s, "cancel", o) }, 400, 400},
	}
	s := start(t, sandbox.Config{})
	absent := operate(t, s, "expire", "never")
	for _, tt := range tests {
		for op, want := range map[string]int{"expire": tt.expire, "cancel": tt.cancel} {
			t.Run(tt.state+" "+op, func(t *testing.T) {
				orderNo := tt.state + op
				id := create(t, s, orderNo)
				tt.reach(t, s, id, orderNo)
				if got, _ := s.Session(id); got.State != tt.state {
					t.Fatalf("state before: got %s, want %s", got.State, tt.state)
				}
				patch := ottu(t, s, "PATCH", sessions+id+"/", `{"amount":"13"}`)
				if patch.status != want { // an update is allowed exactly where ending is
					t.Errorf("PATCH: got %d %s, want %d", patch.status, patch.text, want)
				}
				a := operate(t, s, op, orderNo)
				if a.status != want {
					t.Errorf("%s: got %d %s, want %d", op, a.status, a.text, want)
				}
				if want == 400 && op == "expire" && a.text != absent.text {
					t.Errorf("not allowed %s differs from absent %s", a.text, absent.text)
				}
				after, _ := s.Session(id)
				wantState := map[string]string{"expire": "expired", "cancel": "canceled"}[op]
				if want == 400 {
					wantState = tt.state
				}
				if after.State != wantState {
					t.Errorf("state after: got %s, want %s", after.State, wantState)
				}
			})
		}
	}
}

func open(t *testing.T, s *sandbox.Sandbox, id string) {
	t.Helper()
	if _, err := s.Open(id); err != nil {
		t.Fatal(err)
	}
}

func pay(t *testing.T, s *sandbox.Sandbox, id string, o sandbox.Outcome) sandbox.Payment {
	t.Helper()
	p, err := s.Pay(t.Context(), id, o, false)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestUpdate(t *testing.T) {
	s := start(t, sandbox.Config{})
	id := create(t, s, "u")
	tests := []struct {
		name, method, body string
		want               int
		amount             string
	}{
		{"amount", "PATCH", `{"amount":"20"}`, 200, "20.000"},
		{"excess decimals of the session's currency", "PATCH", `{"amount":"20.0001"}`, 400, "20.000"},
		{"currency without an amount", "PATCH", `{"currency_code":"USD"}`, 400, "20.000"},
		{"currency with an amount", "PATCH", `{"currency_code":"USD","amount":"7.25"}`, 200, "7.25"},
		{"decimals of the new currency", "PATCH", `{"amount":"7.251"}`, 400, "7.25"},
		{"partial PUT", "PUT", `{"amount":"8"}`, 400, "7.25"},
		{"whole PUT", "PUT", order("u", "amount", `"9"`), 200, "9.000"},
		{"another order number", "PATCH", `{"order_no":"v"}`, 400, "9.000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := ottu(t, s, tt.method, sessions+id+"/", tt.body)
			if a.status != tt.want {
				t.Errorf("got %d %s, want %d", a.status, a.text, tt.want)
			}
			if got, _ := s.Session(id); got.Amount != tt.amount {
				t.Errorf("amount: got %s, want %s", got.Amount, tt.amount)
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	c := newClock()
	s := start(t, sandbox.Config{Now: c.now})
	id := create(t, s, "e", "expiration_time", `"00:50:00"`)
	c.add(50*time.Minute - time.Second)
	if got := ottu(t, s, "GET", sessions+id+"/", "").body["state"]; got != "created" {
		t.Errorf("before the end: got %v, want created", got)
	}
	c.add(time.Second)
	addFault(t, s, sandbox.Rule{Provider: sandbox.Ottu, Op: "retrieve", Action: sandbox.CreatedAfterExpiry, Times: 1})
	for _, want := range []string{"created", "expired"} {
		if got := ottu(t, s, "GET", sessions+id+"/", "").body["state"]; got != want {
			t.Errorf("after the end: got %v, want %s", got, want)
		}
	}
	if _, err := s.Pay(t.Context(), id, sandbox.PayFull, false); err == nil {
		t.Error("an expired session was paid")
	}
	// A gateway may still answer late.
	if p, err := s.Pay(t.Context(), id, sandbox.PayFull, true); err != nil || p.Session.State != "paid" {
		t.Errorf("late money: got %s, %v, want paid", p.Session.State, err)
	}
}

func TestRepeatedOrderNumber(t *testing.T) {
	s := start(t, sandbox.Config{})
	first, second := create(t, s, "twice"), create(t, s, "twice")
	if got := s.Counts().RepeatedOrders; got != 1 {
		t.Errorf("RepeatedOrders: got %d, want 1", got)
	}
	// An operation by order number finds the newest that allows it, then the older one.
	for _, want := range []struct{ first, second string }{{"created", "expired"}, {"expired", "expired"}} {
		operate(t, s, "expire", "twice")
		a, _ := s.Session(first)
		b, _ := s.Session(second)
		if a.State != want.first || b.State != want.second {
			t.Errorf("states: got %s, %s, want %s, %s", a.State, b.State, want.first, want.second)
		}
	}
	addFault(t, s, sandbox.Rule{Provider: sandbox.Ottu, Op: "create", Action: sandbox.RefuseDuplicate})
	if a := ottu(t, s, "POST", sessions, order("twice")); a.status != 400 || a.body["order_no"] == nil {
		t.Errorf("with refuse_duplicate: got %d %s, want 400 on order_no", a.status, a.text)
	}
	create(t, s, "once")
}

func TestOperationRefusesBadBodies(t *testing.T) {
	s := start(t, sandbox.Config{})
	for name, tt := range map[string]struct{ body, field string }{
		"no operation":      {`{"order_no":"x"}`, "operation"},
		"unknown operation": {`{"operation":"explode","order_no":"x"}`, "operation"},
		"no target":         {`{"operation":"expire"}`, "non_field_errors"},
	} {
		t.Run(name, func(t *testing.T) {
			a := ottu(t, s, "POST", "/b/pbl/v2/operation/", tt.body)
			if _, ok := a.body[tt.field]; a.status != 400 || !ok {
				t.Errorf("got %d %s, want 400 on %s", a.status, a.text, tt.field)
			}
		})
	}
	id := create(t, s, "mine")
	a := ottu(t, s, "POST", "/b/pbl/v2/operation/", `{"operation":"expire","session_id":"`+id+`","order_no":"other"}`)
	if a.status != 400 {
		t.Errorf("session and another order number: got %d, want 400", a.status)
	}
}

func TestPaymentMethods(t *testing.T) {
	s := start(t, sandbox.Config{PGCodes: []string{"a", "b"}})
	a := ottu(t, s, "POST", "/b/pbl/v2/payment-methods/", `{"plugin":"payment_request"}`)
	list, _ := a.body["payment_methods"].([]any)
	if a.status != 200 || len(list) != 2 {
		t.Errorf("got %d %s, want two methods", a.status, a.text)
	}
	if a := ottu(t, s, "POST", "/b/pbl/v2/payment-methods/", `{}`); a.status != 400 || a.body["plugin"] == nil {
		t.Errorf("without plugin: got %d %s, want 400 on plugin", a.status, a.text)
	}
}

func TestRate(t *testing.T) {
	c := newClock()
	s := start(t, sandbox.Config{Rate: 2, Now: c.now})
	create(t, s, "1")
	create(t, s, "2")
	if a := ottu(t, s, "POST", sessions, order("3")); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("third in a second: got %d, want 429 with Retry-After", a.status)
	}
	if a := send(t, s, sms("+96550001234")); a.status != 201 {
		t.Errorf("the other provider: got %d %s, want 201", a.status, a.text)
	}
	c.add(time.Second)
	create(t, s, "3")
}
