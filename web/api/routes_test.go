package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

// routes are all routes, what each needs, and a call of it. TestEveryRoute compares them with the document.
var routes = []struct {
	method, path, call, body string
	need                     ledger.KeyScope
}{
	{"GET", "/api/v1/batches", "", "", ledger.ScopeRead},
	{"POST", "/api/v1/batches", "", twoRows, ledger.ScopeSend},
	{"GET", "/api/v1/batches/{id}", "/api/v1/batches/b1", "", ledger.ScopeRead},
	{"GET", "/api/v1/batches/{id}/plan", "/api/v1/batches/b1/plan", "", ledger.ScopeRead},
	{"GET", "/api/v1/batches/{id}/rejections", "/api/v1/batches/b1/rejections", "", ledger.ScopeRead},
	{"GET", "/api/v1/batches/{id}/rejections.csv", "/api/v1/batches/b1/rejections.csv", "", ledger.ScopeSend},
	{"GET", "/api/v1/batches/{id}/export.csv", "/api/v1/batches/b1/export.csv", "", ledger.ScopeRead},
	{"POST", "/api/v1/batches/{id}/confirm", "/api/v1/batches/b2/confirm", "", ledger.ScopeSend},
	{"POST", "/api/v1/batches/{id}/pause", "/api/v1/batches/b1/pause", "", ledger.ScopeSend},
	{"POST", "/api/v1/batches/{id}/resume", "/api/v1/batches/b3/resume", "", ledger.ScopeSend},
	{"POST", "/api/v1/batches/{id}/cancel", "/api/v1/batches/b1/cancel", "", ledger.ScopeSend},
	{"POST", "/api/v1/batches/{id}/retry", "/api/v1/batches/b1/retry", "", ledger.ScopeSend},
	{"GET", "/api/v1/requests", "", "", ledger.ScopeRead},
	{"GET", "/api/v1/requests/{id}", "/api/v1/requests/b1.1", "", ledger.ScopeRead},
	{"POST", "/api/v1/requests/{id}/cancel", "/api/v1/requests/b1.1/cancel", "", ledger.ScopeSend},
	{"POST", "/api/v1/requests/{id}/resend", "/api/v1/requests/b1.1/resend", "", ledger.ScopeSend},
	{"PATCH", "/api/v1/requests/{id}", "/api/v1/requests/b1.1", `{"why":"x","amount":"1"}`, ledger.ScopeSend},
	{"POST", "/api/v1/requests/{id}/mark-paid", "/api/v1/requests/b1.1/mark-paid", `{"why":"cash"}`, ledger.ScopeAdmin},
	{"POST", "/api/v1/requests/{id}/write-off", "/api/v1/requests/b1.1/write-off", `{"why":"gone"}`, ledger.ScopeAdmin},
	{"GET", "/api/v1/suppressions", "", "", ledger.ScopeSend},
	{"POST", "/api/v1/suppressions", "", `{"channel":"email","address":"x@example.com"}`, ledger.ScopeAdmin},
	{"DELETE", "/api/v1/suppressions/{channel}/{hash}", "/api/v1/suppressions/email/" + strings.Repeat("a", 64), "", ledger.ScopeAdmin},
	{"GET", "/api/v1/events", "", "", ledger.ScopeRead},
}

func TestEveryRoute(t *testing.T) {
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(document(t), &doc); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, methods := range doc.Paths {
		n += len(methods)
	}
	for _, r := range routes {
		if doc.Paths[r.path][strings.ToLower(r.method)] == nil {
			t.Errorf("the document has no %s %s", r.method, r.path)
		}
	}
	if n != len(routes) {
		t.Errorf("the document has %d routes, the table of scopes %d", n, len(routes))
	}
}

// TestScopes calls every route with every kind of key. What is not allowed does nothing.
func TestScopes(t *testing.T) {
	for _, r := range routes {
		path := r.call
		if path == "" {
			path = r.path
		}
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			w := newWorld(t)
			defer w.end()
			w.running(2, ledgertest.Rejected(2))
			w.running(1, ledgertest.Draft)
			w.running(1)
			if err := w.db.Pause(t.Context(), 3, "clerk", ""); err != nil {
				t.Fatal(err)
			}
			past := func(k *ledger.APIKey) { k.ExpiresAt = w.clock.Now().Add(time.Minute) }
			for _, tt := range []struct {
				name, key string
				status    int
			}{
				{"nobody", "", 401},
				{"no key of ours", "dk_x", 401},
				{"an unknown key", mint(), 401},
				{"an expired key", w.key(ledger.ScopeAdmin, past), 401},
				{"a revoked key", w.revoked(), 401},
				{"read", w.key(ledger.ScopeRead), w.need(r.need, ledger.ScopeRead)},
				{"send", w.key(ledger.ScopeSend), w.need(r.need, ledger.ScopeSend)},
				{"a test key", w.key(ledger.ScopeAdmin, test), 0},
				{"admin", w.key(ledger.ScopeAdmin), w.need(r.need, ledger.ScopeAdmin)},
			} {
				if tt.name == "an expired key" {
					w.clock.Advance(2 * time.Minute)
				}
				before := w.state()
				a := w.do(r.method, path, tt.key, "application/json", strings.NewReader(r.body))
				switch {
				case tt.status >= 400:
					w.is(a, tt.status)
				case tt.name == "a test key" && strings.Contains(r.path, "suppressions"):
					w.is(a, http.StatusForbidden) // they concern everybody
				case tt.name == "a test key" && r.call != "":
					w.is(a, http.StatusNotFound) // it does not see what is not its own
				case a.StatusCode == 401 || a.StatusCode == 403 || a.StatusCode >= 500:
					t.Errorf("%s: got %d: %s", tt.name, a.StatusCode, a.body)
				}
				if (tt.status >= 400 || tt.name == "a test key" && (r.call != "" || a.StatusCode == 403)) && w.state() != before {
					t.Errorf("%s: the call was refused and did something all the same", tt.name)
				}
				if a.StatusCode == 401 && a.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: the answer does not say how to authenticate", tt.name)
				}
			}
		})
	}
}

func mint() string {
	secret, _, _ := ledger.NewKey(false)
	return secret
}

func (w *world) need(need, have ledger.KeyScope) int {
	if have.Allows(need) {
		return 0
	}
	return http.StatusForbidden
}

func (w *world) revoked() string {
	w.Helper()
	secret := w.key(ledger.ScopeAdmin)
	k, err := w.db.Key(w.Context(), ledger.HashKey(secret))
	if err == nil {
		err = w.db.RevokeKey(w.Context(), k.ID, "clerk", "")
	}
	if err != nil {
		w.Fatal(err)
	}
	return secret
}

// state is all that a call could change: every batch, and every event.
func (w *world) state() string {
	w.Helper()
	list, err := w.db.Batches(w.Context(), 100)
	if err != nil {
		w.Fatal(err)
	}
	out := ""
	for _, b := range list {
		st, err := w.db.Status(w.Context(), b.ID)
		if err != nil {
			w.Fatal(err)
		}
		out += fmt.Sprintf("%s %s %+v\n", b.ID, b.State, st.Counts)
	}
	var after int64
	for _, isTest := range []bool{false, true} {
		for next := int64(-1); next != after; {
			next = after
			if _, after, err = w.db.EventPage(w.Context(), isTest, after, 1000); err != nil {
				w.Fatal(err)
			}
		}
	}
	return fmt.Sprint(out, after)
}

// TestTestKeys: a test key has a world of its own, and what it makes is not sent where providers are real.
func TestTestKeys(t *testing.T) {
	w := newWorld(t)
	defer w.end()
	live, trial := w.key(ledger.ScopeSend), w.key(ledger.ScopeSend, test)
	if !strings.HasPrefix(trial, "dk_test_") {
		t.Errorf("got key %.8s…, want test to show in it", trial)
	}
	first := w.is(w.post("/api/v1/batches", trial, twoRows), http.StatusCreated)
	second := w.is(w.post("/api/v1/batches", live, twoRows), http.StatusCreated)
	if first.field(t, "batch") == second.field(t, "batch") || first.field(t, "test") != true || second.field(t, "plan.repeats") != 0.0 {
		t.Errorf("got %s and %s, want the two apart", first.body, second.body)
	}
	w.is(w.get("/api/v1/batches/b1", live), http.StatusNotFound)
	w.is(w.get("/api/v1/batches/b2", trial), http.StatusNotFound)
	w.is(w.get("/api/v1/requests?batch=b1", live), http.StatusNotFound)
	w.is(w.get("/api/v1/requests/b2.1", trial), http.StatusNotFound)
	if p := w.is(w.post("/api/v1/batches/b1/confirm", trial, ""), http.StatusConflict); !strings.Contains(string(p.body), "test batch") {
		t.Errorf("got %s, want it to say why", p.body)
	}
	if b, err := w.db.Batch(t.Context(), 1); err != nil || b.State != paylink.BatchDraft {
		t.Errorf("the test batch is %s, %v", b.State, err)
	}
}
