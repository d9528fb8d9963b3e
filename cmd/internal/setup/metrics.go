package setup

import (
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/redis/go-redis/v9"

	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/web/metrics"
)

<<<<<<< HEAD
// Metrics is the handler for GET /metrics. received may be nil.
func (c Config) Metrics(db *ledger.DB, rdb redis.UniversalClient, received []*hooks.Receiver, log *slog.Logger) http.Handler {
=======
// Metrics is the handler for GET /metrics; s is the server that takes deliveries, or nil.
func (c Config) Metrics(db *ledger.DB, rdb redis.UniversalClient, s *Server, log *slog.Logger) http.Handler {
>>>>>>> bounces
	m := metrics.Config{Vitals: db.Vitals, Queues: jobs.NewAsynqQueue(rdb).Stats, Token: string(c.MetricsToken), Version: version(), Log: log}
	if s != nil {
		m.Deliveries = func() map[[2]string]int64 {
<<<<<<< HEAD
			out := map[[2]string]int64{}
			for _, h := range received {
				n, name := h.Stats(), h.Provider()
				out[[2]string{name, "stored"}], out[[2]string{name, "doubled"}] = n.Stored, n.Doubled
				out[[2]string{name, "forged"}], out[[2]string{name, "lost"}] = n.Forged, n.Lost
			}
=======
			n := s.Hooks.Stats()
			out := map[[2]string]int64{{"ottu", "stored"}: n.Stored, {"ottu", "doubled"}: n.Doubled, {"ottu", "forged"}: n.Forged, {"ottu", "lost"}: n.Lost}
			s.bounces.count(out)
>>>>>>> bounces
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
