package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// report is the page that is written: a table with what was reached for and what was measured.
func (b *bench) report() string {
	var w strings.Builder
	fmt.Fprintf(&w, `# Benchmarks

Written by %s (%s), on %d processor cores, %s. The providers are Dunlin's own stand-ins without latency, on
the same cores; Redis is a real one with an append-only file. Each part ran in a process of its own. End-to-end numbers are
the median of %d runs of %d payers: each gets a checkout session and an email with a QR code.

| what | ledger | reach for | measured |
|---|---|---|---|
`, "`make bench`", time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), runtime.Version(), b.runs, b.payers)
	row := func(what, db, want, got string, args ...any) {
		fmt.Fprintf(&w, "| %s | %s | %s | %s |\n", what, db, want, fmt.Sprintf(got, args...))
	}
	for _, db := range []string{"sqlite", "postgres"} {
		name := map[string]string{"sqlite": "SQLite", "postgres": "PostgreSQL"}[db]
		if in := b.imports[db]; len(in) == 2 {
			small, large := in[0], in[1]
			want := map[string]string{"sqlite": "at least 40,000 rows/s", "postgres": ""}[db]
			row(fmt.Sprintf("import of %d rows", small.N), name, "", "%.0f rows/s, %.0f MB at most", float64(small.N)/small.Seconds, small.PeakMB)
			row(fmt.Sprintf("import of %d rows", large.N), name, strings.TrimPrefix(want+", under 200 MB", ", "), "%.0f rows/s, %.0f MB at most", float64(large.N)/large.Seconds, large.PeakMB)
			row("its memory against that of the small file", name, "under 1.3 times", "%.2f times", large.PeakMB/small.PeakMB)
		}
		if r := b.webs[db]; r.Then != nil {
			row("payment pages read", name, "", "%.0f pages/s, 99 %% within %.1f ms", float64(r.N)/r.Seconds, r.P99)
			row("webhooks taken and applied", name, "", "%.0f webhooks/s, 99 %% within %.1f ms", float64(r.Then.N)/r.Then.Seconds, r.Then.P99)
		}
		s, ok := b.sends[db]
		if !ok {
			continue
		}
		n := float64(s.worker.N)
		rate := n / s.worker.Seconds
		want := map[string]string{"sqlite": "at least 1,000 payers/s", "postgres": ""}[db]
		row("confirmed to the last message", name, want, "%.0f payers/s", rate)
		row("time on the processor per payer", name, "", "worker %.2f ms, stand-ins %.2f ms", 1000*s.worker.CPU/n, 1000*s.standIns.CPU/n)
		row("memory at most", name, "", "worker %.0f MB, Redis %.1f MB", s.worker.PeakMB, s.redisMB)
		if b.bare.Seconds > 0 {
			bare := float64(b.bare.N) / b.bare.Seconds
			row("against as many empty tasks in a bare asynq server", name, "", "%.0f tasks/s, ratio %.2f", bare, rate/bare)
		}
	}
	w.WriteString("\nA payer is two tasks (session, message) and six transactions of the ledger; an empty task is one and none.\n" +
		"Pages and webhooks are called over HTTP on loopback by 32 clients in the server's own process.\n")
	if notes, err := os.ReadFile("cmd/bench/notes.md"); err == nil {
		w.WriteString("\n" + string(notes))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if strings.HasSuffix(dep.Path, "hibiken/asynq") || dep.Path == "modernc.org/sqlite" {
				fmt.Fprintf(&w, "\n%s %s", dep.Path, dep.Version)
			}
		}
		w.WriteString("\n")
	}
	return w.String()
}
