package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/web/api"
)

func TestIdempotency(t *testing.T) {
	w := newWorld(t)
	defer w.end()
	send, other := w.key(ledger.ScopeSend), w.key(ledger.ScopeSend)
	key := []string{"Idempotency-Key", "order 1"}
	first := w.is(w.post("/api/v1/batches?again=true", send, twoRows, key...), http.StatusCreated)
	again := w.is(w.post("/api/v1/batches?again=true", send, twoRows, key...), http.StatusCreated)
	if string(first.body) != string(again.body) || again.Header.Get("Idempotency-Replayed") != "true" || again.Header.Get("Location") != first.Header.Get("Location") {
		t.Errorf("got %v %s, want the first answer", again.Header, again.body)
	}
	w.is(w.post("/api/v1/batches", send, twoRows, key...), http.StatusUnprocessableEntity)         // another query
	w.is(w.post("/api/v1/batches?again=true", send, "[]", key...), http.StatusUnprocessableEntity) // another body
	w.is(w.post("/api/v1/batches/b1/confirm", send, "", key...), http.StatusUnprocessableEntity)   // another call
	w.is(w.post("/api/v1/batches?again=true", other, twoRows, key...), http.StatusOK)              // another caller
	w.is(w.post("/api/v1/batches", send, "", "Idempotency-Key", strings.Repeat("x", 256)), http.StatusUnprocessableEntity)

	// The same file in another form: the boundary differs, the content does not.
	form := func(boundary string) answer {
		body := "--" + boundary + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.json\"\r\n\r\n" + twoRows + "\r\n--" + boundary + "--\r\n"
		return w.do("POST", "/api/v1/batches", send, "multipart/form-data; boundary="+boundary, strings.NewReader(body), "Idempotency-Key", "form")
	}
	w.is(form("aaa"), http.StatusOK)
	if got := w.is(form("bbb"), http.StatusOK); got.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("got %v, want the form known again", got.Header)
	}

	w.is(w.post("/api/v1/batches/b1/confirm", send, "", "Idempotency-Key", "go"), http.StatusOK)
	if got := w.is(w.post("/api/v1/batches/b1/confirm", send, "", "Idempotency-Key", "go"), http.StatusOK); got.field(t, "state") != "running" || len(w.wakes) != 1 {
		t.Errorf("got %s and wakes %v, want one confirm", got.body, w.wakes)
	}
	w.is(w.post("/api/v1/batches/b1/confirm", send, "", "Idempotency-Key", "go2"), http.StatusConflict)
}

// failing breaks the ledger for one call, or holds it.
type failing struct {
	*ledger.DB
	fail       bool
	began, end chan struct{}
}

func (f *failing) Pause(ctx context.Context, id paylink.BatchID, actor, why string) error {
	if f.fail {
		return errors.New("the disk is full at person@example.com")
	}
	if f.began != nil {
		close(f.began)
		<-f.end
	}
	return f.DB.Pause(ctx, id, actor, why)
}

func TestFailedCallIsTriedAgain(t *testing.T) {
	var f *failing
	w := newWorld(t, func(c *api.Config) { f = &failing{DB: c.Ledger.(*ledger.DB), fail: true}; c.Ledger = f })
	defer w.end()
	send := w.key(ledger.ScopeSend)
	w.running(1)
	if p := w.is(w.post("/api/v1/batches/b1/pause", send, "", "Idempotency-Key", "p"), http.StatusInternalServerError); strings.Contains(string(p.body), "person@") {
		t.Errorf("got %s, want nothing of the cause", p.body)
	}
	f.fail = false
	if a := w.is(w.post("/api/v1/batches/b1/pause", send, "", "Idempotency-Key", "p"), http.StatusOK); a.field(t, "state") != "paused" {
		t.Errorf("got %s", a.body)
	}
}

func TestConcurrentCalls(t *testing.T) {
	var f *failing
	w := newWorld(t, func(c *api.Config) {
		f = &failing{DB: c.Ledger.(*ledger.DB), began: make(chan struct{}), end: make(chan struct{})}
		c.Ledger = f
	})
	defer w.end()
	send := w.key(ledger.ScopeSend)
	w.running(1)
	done := make(chan answer, 1)
	go func() { done <- w.post("/api/v1/batches/b1/pause", send, "", "Idempotency-Key", "p") }()
	<-f.began
	p := w.is(w.post("/api/v1/batches/b1/pause", send, "", "Idempotency-Key", "p"), http.StatusConflict)
	if p.Header.Get("Retry-After") == "" {
		t.Errorf("got %v, want to be told when to ask again", p.Header)
	}
	close(f.end)
	w.is(<-done, http.StatusOK)
	w.is(w.post("/api/v1/batches/b1/pause", send, "", "Idempotency-Key", "p"), http.StatusOK)
}

// TestAbandonedCall: a resend that was begun by a server which died may have been done; it is not done blindly again.
func TestAbandonedCall(t *testing.T) {
	w := newWorld(t)
	defer w.end()
	send := w.key(ledger.ScopeSend)
	b := w.running(1)
	k, err := w.db.Key(t.Context(), ledger.HashKey(send))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path   string
		status int
	}{
		{"/api/v1/requests/" + paylink.NewRequestID(b, 1).String() + "/resend", http.StatusConflict},
		{"/api/v1/batches/" + b.String() + "/pause", http.StatusOK}, // pausing twice does no harm
	} {
		call := ledger.Call{Key: k.ID, Name: api.Digest(tt.path), Fingerprint: api.Digest("POST", tt.path, "", api.BodySum("")), Lease: time.Minute}
		if state, _, err := w.db.BeginCall(t.Context(), call, false); err != nil || state != ledger.OnceFresh {
			t.Fatal(state, err)
		}
		w.clock.Advance(time.Hour)
		a := w.is(w.post(tt.path, send, "", "Idempotency-Key", tt.path), tt.status)
		if tt.status == http.StatusConflict && !strings.Contains(string(a.body), "was lost") {
			t.Errorf("got %s", a.body)
		}
	}
}

func TestRateLimit(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Calls, c.CallsPer = 3, time.Minute })
	defer w.end()
	a, b := w.key(ledger.ScopeRead), w.key(ledger.ScopeRead)
	for range 3 {
		w.is(w.get("/api/v1/batches", a), http.StatusOK)
	}
	if p := w.is(w.get("/api/v1/batches", a), http.StatusTooManyRequests); p.Header.Get("Retry-After") != "20" {
		t.Errorf("got Retry-After %q, want 20", p.Header.Get("Retry-After"))
	}
	w.is(w.get("/api/v1/batches", b), http.StatusOK)
	w.clock.Advance(20 * time.Second)
	w.is(w.get("/api/v1/batches", a), http.StatusOK)
	w.is(w.get("/api/v1/batches", a), http.StatusTooManyRequests)
}
