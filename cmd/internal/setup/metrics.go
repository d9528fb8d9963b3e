package setup

import (
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/redis/go-redis/v9"

	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/web/hooks"
	"dunlin/web/metrics"
)

// Metrics is the handler for GET /metrics. received may be nil.
func (c Config) Metrics(db *ledger.DB, rdb redis.UniversalClient, received *hooks.Receiver, log *slog.Logger) http.Handler {
	m := metrics.Config{Vitals: db.Vitals, Queues: jobs.NewAsynqQueue(rdb).Stats, Token: string(c.MetricsToken), Version: version(), Log: log}
	if received != nil {
		m.Deliveries = func() map[[2]string]int64 {
			n := received.Stats()
			return map[[2]string]int64{{"ottu", "stored"}: n.Stored, {"ottu", "doubled"}: n.Doubled, {"ottu", "forged"}: n.Forged, {"ottu", "lost"}: n.Lost}
		}
	}
	return metrics.New(m)
}

// version is the module's, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return info.Main.Version
}
