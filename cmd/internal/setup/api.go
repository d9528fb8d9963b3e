package setup

import (
	"net/http"
	"net/url"
	"time"

	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/templates"
	"dunlin/web/api"
)

// Sandboxed reports whether every provider that this configuration would call is on this machine: stand-ins. Only then
// are test batches sent. There is no switch for it, so that nobody can set it wrongly.
func (c Config) Sandboxed() bool {
	local := func(address string) bool {
		u, err := url.Parse(address)
		return err == nil && loopback(u.Hostname())
	}
	return local(c.OttuURL) &&
		(c.SMTPURL == "" || local(string(c.SMTPURL))) &&
		(c.SMSFrom == "" && c.WhatsAppFrom == "" || local(c.TwilioURL))
}

// api wires the HTTP API.
func (c Config) api(db *ledger.DB, texts *templates.Set, opt WorkerOptions) (http.Handler, error) {
	cfg := api.Config{
		Ledger: db, Enqueue: jobs.NewAsynqQueue(opt.Redis).Enqueue, Settings: c.Intake(texts, time.Time{}), Reading: c.Reading(),
		PublicURL: c.PublicURL, UploadLimit: int64(c.UploadLimit), Log: opt.Log,
	}
	if len(c.LimitAPI) > 0 {
		cfg.Calls, cfg.CallsPer = c.LimitAPI[0].N, c.LimitAPI[0].Per
	}
	return api.New(cfg)
}
