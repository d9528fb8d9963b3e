package ottu_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/checkout/ottu"
	"dunlin/paylink"
)

// Short names for the tables below.
const (
	permanent = paylink.Permanent
	temporary = paylink.Temporary
	unknown   = paylink.Unknown
	row       = paylink.ScopeRow
	provider  = paylink.ScopeProvider
	account   = paylink.ScopeAccount
)

func TestOutcomeOfAnswers(t *testing.T) {
	html := "<html><body>Bad Gateway</body></html>"
	with := func(old, new string) string { return strings.Replace(arabicAnswer, old, new, 1) }
	for _, test := range []struct {
		name   string
		call   string
		status int
		body   string
		want   outcome
		detail string
	}{
		{"field map", "create", 400, `{"customer_email":["a@b.example is bad"],"language":["no"]}`, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 400"}, "customer_email, language refused"},
		{"amount", "create", 400, `{"amount":["too big"],"currency_code":["no"],"pg_codes":["no"]}`, outcome{permanent, row, paylink.CauseCurrency, "http 400"}, "amount, currency_code, pg_codes refused"},
		{"pg_codes", "create", 400, `{"pg_codes":{"0":["\"x\" is not valid"]}}`, outcome{temporary, account, paylink.CauseAccount, "http 400"}, "pg_codes refused"},
		{"order number", "create", 400, `{"order_no":["exists"],"amount":["x"]}`, outcome{unknown, row, paylink.CauseLostAnswer, "http 400"}, "amount, order_no refused"},
		{"nested map", "create", 400, `{"notifications":{"email":["x"]},"billing_address":{"city":["y"]}}`, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 400"}, "billing_address, notifications refused"},
		{"detail", "create", 400, `{"detail":"Payer Noura is not welcome"}`, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 400"}, "Bad Request, no field named"},
		{"envelope", "create", 400, `{"error":{"type":"t","code":"c","message":"m","field":"amount"}}`, outcome{permanent, row, paylink.CauseCurrency, "http 400"}, "amount refused"},
		{"envelope without field", "create", 400, `{"error":{"message":"m"}}`, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 400"}, "Bad Request, no field named"},
		{"error as text", "create", 400, `{"error":"m"}`, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 400"}, "Bad Request, no field named"},
		{"plain text", "create", 400, `amount`, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 400"}, "Bad Request, not in Ottu's form"},
		{"page", "create", 400, html, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 400"}, "Bad Request, not in Ottu's form"},
		{"empty", "create", 400, ``, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 400"}, "Bad Request, not in Ottu's form"},
		{"list", "create", 400, `["x"]`, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 400"}, "Bad Request, not in Ottu's form"},
		{"unauthorized", "create", 401, `{"detail":"x"}`, outcome{temporary, account, paylink.CauseAccount, "http 401"}, "Unauthorized, no field named"},
		{"forbidden", "create", 403, html, outcome{temporary, account, paylink.CauseAccount, "http 403"}, "Forbidden, not in Ottu's form"},
		{"not found", "create", 404, `{"detail":"Not found."}`, outcome{temporary, account, paylink.CauseAccount, "http 404"}, "Not Found, no field named"},
		{"not found page", "create", 404, html, outcome{temporary, account, paylink.CauseAccount, "http 404"}, "Not Found, not in Ottu's form"},
		{"method", "create", 405, `{"detail":"x"}`, outcome{temporary, account, paylink.CauseAccount, "http 405"}, ""},
		{"time-out of a proxy", "create", 408, ``, outcome{unknown, row, paylink.CauseLostAnswer, "http 408"}, ""},
		{"conflict", "create", 409, `{"detail":"x"}`, outcome{unknown, row, paylink.CauseLostAnswer, "http 409"}, ""},
		{"too large", "create", 413, html, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 413"}, ""},
		{"media type", "create", 415, `{"detail":"x"}`, outcome{temporary, account, paylink.CauseAccount, "http 415"}, ""},
		{"unprocessable", "create", 422, `{"amount":["x"]}`, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 422"}, "amount refused"},
		{"locked", "create", 423, `{"detail":"x"}`, outcome{temporary, provider, paylink.CauseUnavailable, "http 423"}, ""},
		{"too many", "create", 429, `{"detail":"x"}`, outcome{temporary, provider, paylink.CauseRateLimited, "http 429"}, ""},
		{"server error", "create", 500, `{"detail":"x"}`, outcome{unknown, provider, paylink.CauseLostAnswer, "http 500"}, "Internal Server Error"},
		{"bad gateway", "create", 502, html, outcome{unknown, provider, paylink.CauseLostAnswer, "http 502"}, "Bad Gateway"},
		{"unavailable", "create", 503, html, outcome{unknown, provider, paylink.CauseLostAnswer, "http 503"}, ""},
		{"redirect", "create", 302, ``, outcome{unknown, provider, paylink.CauseLostAnswer, "http 302"}, "Found"},
		{"page instead of a session", "create", 200, html, outcome{unknown, provider, paylink.CauseLostAnswer, "http 200"}, "not a JSON object"},
		{"nothing", "create", 204, ``, outcome{unknown, provider, paylink.CauseLostAnswer, "http 204"}, "not a JSON object"},
		{"half a session", "create", 201, arabicAnswer[:200], outcome{unknown, provider, paylink.CauseLostAnswer, "http 201"}, "broken JSON"},
		{"two sessions", "create", 201, arabicAnswer + arabicAnswer, outcome{unknown, provider, paylink.CauseLostAnswer, "http 201"}, "text after the JSON object"},
		{"no session_id", "create", 201, with("session_id", "x"), outcome{unknown, provider, paylink.CauseLostAnswer, "http 201"}, "the answer holds no usable session_id"},
		{"wild session_id", "create", 201, with(`"`+sessionID+`"`, `"a/../b"`), outcome{unknown, provider, paylink.CauseLostAnswer, "http 201"}, "the answer holds no usable session_id"},
		{"no link", "create", 201, strings.NewReplacer("checkout_url", "x", "checkout_short_url", "y").Replace(arabicAnswer), outcome{unknown, provider, paylink.CauseLostAnswer, "http 201"}, "the answer holds no usable checkout_url"},
		{"no amount", "create", 201, with(`"amount"`, `"x"`), outcome{unknown, provider, paylink.CauseLostAnswer, "http 201"}, "the answer holds no usable amount and currency_code"},
		{"amount in letters", "create", 201, with(`"12.500"`, `"1.25e1"`), outcome{unknown, provider, paylink.CauseLostAnswer, "http 201"}, "the answer holds no usable amount and currency_code"},
		{"other amount", "create", 201, with(`"12.500"`, `"1.250"`), outcome{unknown, row, paylink.CauseLostAnswer, "http 201"}, "the answer shows another amount or currency"},
		{"other currency", "create", 201, with(`"KWD"`, `"BHD"`), outcome{unknown, row, paylink.CauseLostAnswer, "http 201"}, "the answer shows another amount or currency"},
		{"other order", "create", 201, with(`"INV-2041-`, `"INV-2042-`), outcome{unknown, row, paylink.CauseLostAnswer, "http 201"}, "the answer shows another order_no"},
		{"dead session", "create", 201, with(`"created"`, `"expired"`), outcome{unknown, row, paylink.CauseLostAnswer, "http 201"}, "the answer shows a session that is not open: expired"},

		{"not found page", "retrieve", 404, html, outcome{temporary, account, paylink.CauseAccount, "http 404"}, ""},
		{"bad request", "retrieve", 400, `{"detail":"x"}`, outcome{temporary, row, paylink.CauseCheckoutRefused, "http 400"}, ""},
		{"too many", "retrieve", 429, ``, outcome{temporary, provider, paylink.CauseRateLimited, "http 429"}, ""},
		{"unauthorized", "retrieve", 401, ``, outcome{temporary, account, paylink.CauseAccount, "http 401"}, ""},
		{"server error", "retrieve", 500, ``, outcome{temporary, provider, paylink.CauseUnavailable, "http 500"}, ""},
		{"redirect", "retrieve", 301, ``, outcome{temporary, provider, paylink.CauseUnavailable, "http 301"}, ""},
		{"page", "retrieve", 200, html, outcome{temporary, provider, paylink.CauseUnavailable, "http 200"}, ""},
		{"other session", "retrieve", 200, with(`"`+sessionID+`"`, `"abc"`), outcome{temporary, row, paylink.CauseLostAnswer, "http 200"}, "the answer shows another session"},
		{"new word for its state", "retrieve", 200, with(`"created"`, `"half_paid"`), outcome{temporary, row, paylink.CauseLostAnswer, "http 200"}, "the answer shows no state that is known"},

		{"refused", "update", 400, `{"detail":"x"}`, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 400"}, ""},
		{"amount refused", "update", 400, `{"amount":["x"]}`, outcome{permanent, row, paylink.CauseCurrency, "http 400"}, "amount refused"},
		{"not found", "update", 404, `{"detail":"Not found."}`, outcome{unknown, row, paylink.CauseLostAnswer, "http 404"}, ""},
		{"forbidden", "update", 403, ``, outcome{temporary, account, paylink.CauseAccount, "http 403"}, ""},
		{"too many", "update", 429, ``, outcome{temporary, provider, paylink.CauseRateLimited, "http 429"}, ""},
		{"server error", "update", 500, ``, outcome{unknown, provider, paylink.CauseLostAnswer, "http 500"}, ""},
		{"page", "update", 200, html, outcome{unknown, provider, paylink.CauseLostAnswer, "http 200"}, ""},
		{"old amount", "update", 200, with(`"12.500"`, `"12.000"`), outcome{unknown, row, paylink.CauseLostAnswer, "http 200"}, "the answer shows another amount or currency"},

		{"not allowed", "end", 400, `{"detail":"x","operation":"expire","result":"failed"}`, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 400"}, "Bad Request, no field named"},
		{"absent", "end", 400, `{"order_no":["x"]}`, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 400"}, "order_no refused"},
		{"failed in a 200", "end", 200, `{"detail":"x","operation":"expire","result":"failed"}`, outcome{permanent, row, paylink.CauseCheckoutRefused, "http 200"}, "result is failed"},
		{"no result", "end", 200, `{"detail":"x"}`, outcome{temporary, provider, paylink.CauseUnavailable, "http 200"}, ""},
		{"page", "end", 200, html, outcome{temporary, provider, paylink.CauseUnavailable, "http 200"}, ""},
		{"not found", "end", 404, `{"detail":"x"}`, outcome{temporary, row, paylink.CauseCheckoutRefused, "http 404"}, ""},
		{"server error", "end", 500, ``, outcome{temporary, provider, paylink.CauseUnavailable, "http 500"}, ""},
		{"method", "end", 405, `{"detail":"x"}`, outcome{temporary, account, paylink.CauseAccount, "http 405"}, ""},
	} {
		t.Run(test.call+"/"+test.name, func(t *testing.T) {
			// A redirect must not be followed, even to an address that would answer well.
			header := http.Header{"Location": {"/elsewhere/"}}
			base := answering(t, test.status, header, test.body)
			err := calls[test.call](t.Context(), newClient(t, base))
			if diff := cmp.Diff(test.want, outcomeOf(t, err)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if f := paylink.AsFailure(err); test.detail != "" && f.Detail != test.detail {
				t.Errorf("detail = %q, want %q", f.Detail, test.detail)
			}
		})
	}
}

// TestEveryStatusHasItsRule walks all statuses past all calls, and holds the rules to what the callers rely on.
func TestEveryStatusHasItsRule(t *testing.T) {
	var status int
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, `{"detail":"x"}`)
	})
	client := newClient(t, base)
	permanents := map[string][]int{"create": {400, 413, 422}, "retrieve": {404}, "update": {400}, "end": {400}}
	for name, call := range calls {
		got := []int{}
		for status = 300; status < 600; status++ {
			o := outcomeOf(t, call(t.Context(), client))
			if o.Cause == paylink.CauseInternal {
				t.Errorf("%s %d has no rule", name, status)
			}
			if o.Kind == permanent {
				got = append(got, status)
			}
			if o.Kind == unknown && (name == "retrieve" || name == "end") {
				t.Errorf("%s %d is unknown, but repeating it harms nobody", name, status)
			}
			if o.Scope == account && o.Kind != temporary {
				t.Errorf("%s %d fails a payer for our own account", name, status)
			}
		}
		if diff := cmp.Diff(permanents[name], got); diff != "" {
			t.Errorf("%s: permanent statuses (-want +got):\n%s", name, diff)
		}
	}
}

func TestRulesAreUniqueAndExplained(t *testing.T) {
	seen := map[[2]string]bool{}
	for _, r := range ottu.Rules() {
		key := [2]string{r.Call, r.Answer}
		if seen[key] {
			t.Errorf("%v stands twice", key)
		}
		seen[key] = true
		if r.Why == "" || r.Kind == "" || r.Scope == "" || r.Cause == "" {
			t.Errorf("%v is incomplete", key)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			requests := 0
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				requests++
				http.Redirect(w, r, "/elsewhere/", http.StatusTemporaryRedirect)
			})
			// Nor by a client that was given.
			client := newClient(t, base, func(c *ottu.Config) { c.HTTP = &http.Client{} })
			call(t.Context(), client)
			if requests != 1 {
				t.Errorf("%d requests, want 1", requests)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		name, header string
		want         time.Duration
	}{
		{"none", "", 0},
		{"seconds", "120", 2 * time.Minute},
		{"date", testNow.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		{"past", testNow.Add(-time.Hour).Format(http.TimeFormat), 0},
		{"negative", "-5", 0},
		{"nonsense", "soon", 0},
		{"for ever", "999999999999", 24 * time.Hour},
		{"far date", testNow.AddDate(5, 0, 0).Format(http.TimeFormat), 24 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			base := answering(t, 429, http.Header{"Retry-After": {test.header}}, "")
			if got := paylink.AsFailure(calls["create"](t.Context(), newClient(t, base))).RetryAfter; got != test.want {
				t.Errorf("RetryAfter = %v, want %v", got, test.want)
			}
		})
	}
}

// TestErrorsHoldNoPersonalData lets the server quote everything it was sent, in every form of refusal.
func TestErrorsHoldNoPersonalData(t *testing.T) {
	o := arabicOrder
	secrets := []string{testKey, o.OrderNo, o.FirstName, o.LastName, o.Email, o.Phone, o.CustomerID, o.ReturnURL, "merchant.example", sessionID, "12.500", "127.0.0.1"}
	all := strings.Join(secrets, " ")
	for _, body := range []string{
		all,
		fmt.Sprintf(`{"detail":%q}`, all),
		fmt.Sprintf(`{"customer_email":[%q],%q:["x"]}`, all, all),
		fmt.Sprintf(`{"error":{"message":%q,"field":%q,"code":%q}}`, all, all, all),
		fmt.Sprintf(`{"customer_phone":{%q:[%q]}}`, all, all),
		fmt.Sprintf(`{"session_id":%q,"state":%q,"result":%q,"order_no":%q}`, all, all, all, all),
		strings.Replace(arabicAnswer, `"created"`, fmt.Sprintf("%q", o.Email), 1),
		strings.Replace(arabicAnswer, `"12.500"`, fmt.Sprintf("%q", o.Email), 1),
	} {
		for _, status := range []int{200, 302, 400, 401, 404, 422, 500} {
			base := answering(t, status, http.Header{"Location": {"https://merchant.example/" + sessionID}}, body)
			for name, call := range calls {
				err := call(t.Context(), newClient(t, base))
				if err == nil {
					continue
				}
				for _, secret := range secrets {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("%s %d: the error holds %q: %v", name, status, secret, err)
					}
				}
			}
		}
	}
}
