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

// Metrics is the handler for GET /metrics; s is the server that takes deliveries, or nil.
func (c Config) Metrics(db *ledger.DB, rdb redis.UniversalClient, s *Server, log *slog.Logger) http.Handler {
	m := metrics.Config{Vitals: db.Vitals, Queues: jobs.NewAsynqQueue(rdb).Stats, Token: string(c.MetricsToken), Version: version(), Log: log}
	if s != nil {
		m.Deliveries = func() map[[2]string]int64 {
			out := map[[2]string]int64{}
			for _, h := range append([]*hooks.Receiver{s.Hooks}, s.Twilio...) {
				n, name := h.Stats(), h.Provider()
				out[[2]string{name, "stored"}], out[[2]string{name, "doubled"}] = n.Stored, n.Doubled
				out[[2]string{name, "forged"}], out[[2]string{name, "lost"}] = n.Forged, n.Lost
			}
			s.bounces.count(out)
			return out
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
