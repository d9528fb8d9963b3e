package metrics_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"dunlin/jobs"
	"dunlin/paylink"
	"dunlin/web/metrics"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func config() metrics.Config {
	return metrics.Config{
		Vitals: func(context.Context) (paylink.Vitals, error) {
			return paylink.Vitals{
				Batches: map[paylink.BatchState]int64{paylink.BatchRunning: 2}, Rows: map[paylink.DispatchState]int64{paylink.DispatchPending: 41},
				OldestPending: noon.Add(-90 * time.Second), Flags: 3, Unapplied: 1, ReceiptsDue: 9, Used: map[string]int64{"sms": 7},
				Gates: []paylink.Gate{{Provider: "sms", State: paylink.GateHalted}},
			}, nil
		},
		Queues: func(context.Context) ([]jobs.QueueStat, error) {
			return []jobs.QueueStat{{Queue: "email", Pending: 5, Paused: true}}, nil
		},
		Deliveries: func() map[[2]string]int64 { return map[[2]string]int64{{"ottu", "forged"}: 2} },
		Version:    "v1", Now: func() time.Time { return noon },
	}
}

func get(t *testing.T, h http.Handler, change func(*http.Request)) (int, string) {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.RemoteAddr = "127.0.0.1:4321"
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestMetrics(t *testing.T) {
	code, page := get(t, metrics.New(config()), nil)
	if code != 200 {
		t.Fatalf("got %d: %s", code, page)
	}
	for _, want := range []string{
		`dunlin_batches{state="running"} 2`, `dunlin_batches{state="halted"} 0`, `dunlin_open_batch_rows{state="pending"} 41`,
		`dunlin_oldest_pending_seconds 90`, `dunlin_oldest_due_seconds 0`, `dunlin_needs_attention 3`, `dunlin_provider_events_unapplied 1`,
		`dunlin_receipts_due 9`,
		`dunlin_provider_calls_today{provider="sms"} 7`, `dunlin_provider_breaker{provider="sms",state="halted"} 1`,
		`dunlin_provider_breaker{provider="email",state="closed"} 1`, `dunlin_queue_tasks{queue="email",state="pending"} 5`,
		`dunlin_queue_paused{queue="email"} 1`, `dunlin_deliveries_total{outcome="forged",provider="ottu"} 2`,
		`dunlin_record_up{part="ledger"} 1`, `dunlin_build_info{version="v1"} 1`, `go_goroutines`,
	} {
		if !strings.Contains(page, want+"\n") && !strings.Contains(page, want+" ") {
			t.Errorf("got no line %q", want)
		}
	}
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestOutage still tells what can be told.
func TestOutage(t *testing.T) {
	c := config()
	c.Vitals = func(context.Context) (paylink.Vitals, error) { return paylink.Vitals{}, errors.New("gone") }
	c.Queues = func(context.Context) ([]jobs.QueueStat, error) { return nil, errors.New("gone") }
	code, page := get(t, metrics.New(c), nil)
	if code != 200 || !strings.Contains(page, `dunlin_record_up{part="ledger"} 0`) || !strings.Contains(page, `dunlin_record_up{part="queue"} 0`) ||
		strings.Contains(page, "dunlin_batches") {
		t.Errorf("got %d:\n%s", code, page)
	}
}

func TestWhoMayLook(t *testing.T) {
	for _, tt := range []struct {
		name, token string
		change      func(*http.Request)
		want        int
	}{
		{"this machine", "", nil, 200},
		{"another machine", "", func(r *http.Request) { r.RemoteAddr = "192.0.2.7:99" }, 401},
		{"through a proxy", "", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.1") }, 401},
		{"no token", "secret", nil, 401},
		{"wrong token", "secret", func(r *http.Request) { r.Header.Set("Authorization", "Bearer secreT") }, 401},
		{"token from afar", "secret", func(r *http.Request) {
			r.RemoteAddr = "192.0.2.7:99"
			r.Header.Set("Authorization", "Bearer secret")
		}, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config()
			c.Token = tt.token
			if code, page := get(t, metrics.New(c), tt.change); code != tt.want || code != 200 && strings.Contains(page, "dunlin_batches") {
				t.Errorf("got %d, want %d", code, tt.want)
			}
		})
	}
}
