package setup

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"dunlin/intake"
	"dunlin/jobs"
	"dunlin/web/console"
)

// console wires the pages for operators.
func (c Config) console(w *Worker, opt WorkerOptions) (*console.Console, error) {
	spool := c.UploadDir
	if spool == "" {
		spool = filepath.Join(os.TempDir(), "dunlin-uploads")
	}
	cfg := console.Config{
		Ledger: w.Ledger, Queue: jobs.NewAsynqQueue(opt.Redis), Texts: w.texts, Builder: c.builder(w.texts),
		Intake:   func(now time.Time) intake.Settings { return c.Intake(w.texts, now) },
		Reading:  c.Reading(),
		Merchant: c.MerchantName, PublicURL: strings.TrimSuffix(c.PublicURL, "/"), Zone: c.DefaultTimezone,
		Hold: time.Duration(c.Hold), Approve: console.Approval{Rows: c.ApproveAbove.Requests, Sums: c.ApproveAbove.Sums},
		Spool: spool, MaxUpload: int64(c.UploadLimit), Limits: c.intakeLimits(), Log: opt.Log,
	}
	for name, value := range c.shown() { // secrets are placeholders
		cfg.Settings = append(cfg.Settings, console.Setting{Name: name, Value: value})
	}
	return console.New(cfg)
}
