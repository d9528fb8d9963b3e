package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/templates"
	"dunlin/web/api"
	"dunlin/web/api/client"
)

// wire loses answers: the call is done, and the caller never hears of it.
type wire struct {
	lose  atomic.Int64
	calls atomic.Int64
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.calls.Add(1)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && w.lose.Add(-1) >= 0 {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return nil, errors.New("connection reset")
	}
	return res, err
}

func open(t *testing.T) (*client.Client, *wire, *ledger.DB) {
	t.Helper()
	clock := ledgertest.NewClock()
	db := ledgertest.Open(t, "sqlite:"+filepath.Join(t.TempDir(), "dunlin.db"), clock.Now)
	texts, err := templates.Load("")
	if err != nil {
		t.Fatal(err)
	}
	a, err := api.New(api.Config{Ledger: db, TempDir: t.TempDir(), Enqueue: func(context.Context, ...paylink.Wake) error { return nil },
		Settings: intake.Settings{Merchant: "Alnoor School", Texts: texts, ProviderLink: "https://x.example/b/aB3dE6"}, Calls: 1000, CallsPer: time.Second,
		Reading: intake.Reading{Currency: "KWD", Language: "en", Timezone: "UTC", Routes: paylink.Routes{{paylink.Email}}}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	secret, hash, hint := ledger.NewKey(false)
	if _, err := db.AddKey(t.Context(), ledger.APIKey{Name: "erp", Hash: hash, Hint: hint, Scope: ledger.ScopeSend}); err != nil {
		t.Fatal(err)
	}
	w := &wire{}
	return &client.Client{URL: server.URL + "/", Key: secret, HTTP: &http.Client{Transport: w}, Wait: time.Millisecond}, w, db
}

func TestClient(t *testing.T) {
	c, w, db := open(t)
	ctx := t.Context()
	w.lose.Store(2)
	rows := []map[string]string{{"reference": "A", "amount": "1.500", "email": "a@example.com"}, {"reference": "B", "amount": "x"}, {"reference": "C", "amount": "2", "email": "c@example.com"}}
	d, err := c.CreateRows(ctx, rows, url.Values{"again": {"true"}})
	if err != nil {
		t.Fatal(err)
	}
	if d.State != "draft" || d.Rejected != 1 || w.calls.Load() != 3 {
		t.Errorf("got %+v after %d calls", d, w.calls.Load())
	}
	if list, err := db.Batches(ctx, 10); err != nil || len(list) != 1 {
		t.Errorf("got %d batches, %v; want one, however often its answer was lost", len(list), err)
	}
	w.lose.Store(1)
	b, err := c.Act(ctx, d.Batch, "confirm", "")
	if err != nil || b.State != "running" || b.Counts["pending"] != 2 {
		t.Errorf("got %+v, %v", b, err)
	}
	var got []string
	err = c.Requests(ctx, url.Values{"batch": {d.Batch}, "limit": {"1"}}, func(r client.Request) error {
		got = append(got, r.Reference+" "+r.Left+" "+r.Dispatch)
		return nil
	})
	if diff := cmp.Diff([]string{"A 1.500 pending", "C 2.000 pending"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	events, next, err := c.Events(ctx, 0)
	if err != nil || len(events) == 0 || events[len(events)-1].To != "running" {
		t.Errorf("got %+v, %v", events, err)
	}
	if more, again, err := c.Events(ctx, next); err != nil || len(more) > 0 || again != next {
		t.Errorf("got %+v from %d, %v", more, again, err)
	}
	ledgertest.Audit(t, db)
}

func TestClientErrors(t *testing.T) {
	c, w, _ := open(t)
	ctx := t.Context()
	_, err := c.CreateBatch(ctx, "text/csv", strings.NewReader("reference,amount,email\nA,1.5555,a@example.com\n"), url.Values{"strict": {"true"}})
	p, ok := errors.AsType[*client.Error](err)
	if !ok || p.Status != 422 || len(p.Errors) != 1 || p.Errors[0].Row != 1 || p.Errors[0].Field != "amount" || !strings.Contains(err.Error(), "row 1 amount") {
		t.Errorf("got %v", err)
	}
	if w.calls.Load() != 1 {
		t.Errorf("%d calls for an answer that will not change", w.calls.Load())
	}
	if _, err := c.Batch(ctx, "b9"); err == nil {
		t.Error("want an error for a batch that is not there")
	}
	c.URL = "http://127.0.0.1:1"
	if _, err := c.Batch(ctx, "b1"); err == nil {
		t.Error("want an error for a server that is not there")
	}
}
