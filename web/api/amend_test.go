package api_test

import (
	"net/http"
	"strings"
	"testing"

	"dunlin/ledger"
)

func (w *world) patch(path, key, etag, body string) answer {
	w.Helper()
	return w.do(http.MethodPatch, path, key, "application/json", strings.NewReader(body), "If-Match", etag)
}

func TestAmend(t *testing.T) {
	w := newWorld(t)
	defer w.end()
	send, admin := w.key(ledger.ScopeSend), w.key(ledger.ScopeAdmin)
	w.running(3)
	const one = "/api/v1/requests/b1.1"
	etag := w.is(w.get(one, send), http.StatusOK).Header.Get("ETag")
	w.is(w.do(http.MethodPatch, one, send, "application/json", strings.NewReader(`{"why":"x","amount":"10"}`)), http.StatusPreconditionRequired)
	w.is(w.patch(one, send, `"other"`, `{"why":"x","amount":"10"}`), http.StatusPreconditionFailed)
	w.is(w.patch(one, send, etag, `{"amount":"10"}`), http.StatusUnprocessableEntity)
	w.is(w.patch(one, send, etag, `{"why":"x"}`), http.StatusUnprocessableEntity)
	w.is(w.patch(one, send, etag, `{"why":"x","amount":"1.2345"}`), http.StatusUnprocessableEntity)
	if got := w.get(one, send).Header.Get("ETag"); got != etag {
		t.Errorf("the state became %s by amendments that were refused", got)
	}
	done := w.is(w.patch(one, send, etag, `{"why":"discount","amount":"10.000","email":"New@Example.com"}`), http.StatusOK)
	if done.field(t, "amount") != "10.000" || strings.Contains(string(done.body), "example.com") || done.Header.Get("ETag") == etag {
		t.Errorf("got %s", done.body)
	}
	if got := w.get(one, send); got.field(t, "payer.email") != "New@example.com" {
		t.Errorf("got %s", got.body)
	}
	w.is(w.patch(one, send, etag, `{"why":"again","amount":"9"}`), http.StatusPreconditionFailed)

	w.is(w.post("/api/v1/requests/b1.2/mark-paid", admin, `{"why":"cash","amount":"99.000"}`), http.StatusUnprocessableEntity)
	if got := w.is(w.post("/api/v1/requests/b1.2/mark-paid", admin, `{"why":"cash","amount":"2.500"}`), http.StatusOK); got.field(t, "left") != "10.000" {
		t.Errorf("got %s", got.body)
	}
	if got := w.is(w.post("/api/v1/requests/b1.2/mark-paid", admin, `{"why":"the rest"}`), http.StatusOK); got.field(t, "payment_state") != "paid_outside" {
		t.Errorf("got %s", got.body)
	}
	if got := w.is(w.post("/api/v1/requests/b1.3/write-off", admin, `{"why":"moved away"}`), http.StatusOK); got.field(t, "payment_state") != "written_off" {
		t.Errorf("got %s", got.body)
	}
	w.is(w.post("/api/v1/requests/b1.3/write-off", admin, `{}`), http.StatusUnprocessableEntity)
}

func TestSuppressions(t *testing.T) {
	w := newWorld(t)
	defer w.end()
	admin := w.key(ledger.ScopeAdmin)
	made := w.is(w.post("/api/v1/suppressions", admin, `{"channel":"sms","address":"5512 3456"}`), http.StatusOK)
	hash := made.field(t, "hash").(string)
	list := w.is(w.get("/api/v1/suppressions", admin), http.StatusOK)
	if text := string(list.body); !strings.Contains(text, hash) || !strings.Contains(text, `"manual"`) || strings.Contains(text, "3456\"") {
		t.Errorf("got %s", text)
	}
	p := w.is(w.post("/api/v1/suppressions", admin, `{"channel":"email","address":"not an address"}`), http.StatusUnprocessableEntity)
	if strings.Contains(string(p.body), "not an address") {
		t.Errorf("got %s, want nothing quoted", p.body)
	}
	w.is(w.do("DELETE", "/api/v1/suppressions/sms/"+hash, admin, "", nil), http.StatusNoContent)
	w.is(w.do("DELETE", "/api/v1/suppressions/sms/"+hash, admin, "", nil), http.StatusNotFound)
	if list := w.get("/api/v1/suppressions", admin); strings.Contains(string(list.body), hash) {
		t.Errorf("got %s", list.body)
	}
}
