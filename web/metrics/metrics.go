// Package metrics shows the state of the whole to Prometheus: queues, breakers, rows by state, today's calls, and how old
// the oldest thing is that nobody has begun. Everything is read when it is asked for, so that any number of servers may
// run and each says the same. Label sets are fixed, and no label holds an id or anything of a payer (law 8).
package metrics

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"dunlin/jobs"
	"dunlin/paylink"
)

// Config is what the page is made from.
type Config struct {
	// Vitals reads the record's numbers.
	Vitals func(ctx context.Context) (paylink.Vitals, error)
	// Queues reads the queues' numbers.
	Queues func(ctx context.Context) ([]jobs.QueueStat, error)
	// Deliveries reads what this process has taken in, by kind of provider and what came of it.
	Deliveries func() map[[2]string]int64
	// Token must be sent as a bearer token. "" = the page answers callers on this machine only.
	Token   string
	Version string
	Log     *slog.Logger
	Now     func() time.Time
}

// scrapeTime bounds reading all numbers once.
const scrapeTime = 10 * time.Second

// New makes the handler for GET /metrics.
func New(c Config) http.Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{c})
	page := promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.allowed(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "not allowed: send DUNLIN_METRICS_TOKEN as a bearer token", http.StatusUnauthorized)
			return
		}
		page.ServeHTTP(w, r)
	})
}

// allowed: with a token whoever knows it; without one a caller on this machine that no proxy speaks for.
func (c Config) allowed(r *http.Request) bool {
	if c.Token != "" {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(c.Token))
		return ok && subtle.ConstantTimeCompare(a[:], b[:]) == 1
	}
	for _, h := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return err == nil && net.ParseIP(host).IsLoopback()
}

type collector struct{ Config }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("dunlin_"+name, help, labels, nil)
}

var (
	up         = desc("record_up", "1 if the part could be read at this scrape", "part")
	batches    = desc("batches", "Batches by state", "state")
	rows       = desc("open_batch_rows", "Rows of batches that are not done, by dispatch state", "state")
	oldest     = desc("oldest_pending_seconds", "How long the oldest running batch has had rows that were not begun")
	overdue    = desc("oldest_due_seconds", "How long the oldest owed session has been due")
	flags      = desc("needs_attention", "What waits for a person")
	unapplied  = desc("provider_events_unapplied", "Verified events that were stored and not yet applied")
	receipts   = desc("receipts_due", "Messages whose provider should have been asked about by now")
	calls      = desc("provider_calls_today", "Calls since midnight UTC", "provider")
	breaker    = desc("provider_breaker", "1 for the state that the provider's breaker is in", "provider", "state")
	queueTasks = desc("queue_tasks", "Tasks in Redis by queue and state", "queue", "state")
	paused     = desc("queue_paused", "1 if somebody paused the queue", "queue")
	taken      = desc("deliveries_total", "Webhook deliveries to this process since its start, by what came of them", "provider", "outcome")
	version    = desc("build_info", "Always 1", "version")
)

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{up, batches, rows, oldest, overdue, flags, unapplied, receipts, calls, breaker, queueTasks, paused, taken, version} {
		ch <- d
	}
}

var gateStates = []paylink.GateState{paylink.GateClosed, paylink.GateOpen, paylink.GateProbing, paylink.GateHalted}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	gauge(version, 1, c.Version)
	v, err := c.Vitals(ctx)
	gauge(up, truth(err == nil), "ledger")
	if err != nil {
		c.Log.Warn("metrics: the ledger does not answer", "error", err)
	} else {
		for _, s := range paylink.BatchMachine.States {
			gauge(batches, float64(v.Batches[s]), string(s))
		}
		for _, s := range paylink.DispatchMachine.States {
			gauge(rows, float64(v.Rows[s]), string(s))
		}
		gauge(oldest, c.age(v.OldestPending))
		gauge(overdue, c.age(v.OldestDue))
		gauge(flags, float64(v.Flags))
		gauge(unapplied, float64(v.Unapplied))
		gauge(receipts, float64(v.ReceiptsDue))
		for _, p := range jobs.Providers {
			gauge(calls, float64(v.Used[string(p)]), string(p))
			state := paylink.GateClosed
			for _, g := range v.Gates {
				if g.Provider == string(p) {
					state = g.State
				}
			}
			for _, s := range gateStates {
				gauge(breaker, truth(s == state), string(p), string(s))
			}
		}
	}
	stats, err := c.Queues(ctx)
	gauge(up, truth(err == nil), "queue")
	if err != nil {
		c.Log.Warn("metrics: Redis does not answer", "error", err)
	}
	for _, s := range stats {
		gauge(queueTasks, float64(s.Pending), s.Queue, "pending")
		gauge(queueTasks, float64(s.Active), s.Queue, "active")
		gauge(queueTasks, float64(s.Scheduled), s.Queue, "scheduled")
		gauge(queueTasks, float64(s.Retry), s.Queue, "retry")
		gauge(queueTasks, float64(s.Archived), s.Queue, "archived")
		gauge(paused, truth(s.Paused), s.Queue)
	}
	if c.Deliveries != nil {
		for k, n := range c.Deliveries() {
			ch <- prometheus.MustNewConstMetric(taken, prometheus.CounterValue, float64(n), k[0], k[1])
		}
	}
}

func (c *collector) age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(0, c.Now().Sub(t).Seconds())
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
