package setup

import (
	"log/slog"
	"net/http"
	"strings"

	"dunlin/notify/twilio"
	"dunlin/web/hooks"
)

// The paths that Twilio is given: one in each message, the other in the settings of the sender or its Messaging Service.
const (
	statusHook  = "/hooks/twilio/status"
	inboundHook = "/hooks/twilio/inbound"
)

// hookURL is where providers reach a path of the server; empty without a public address.
func (c Config) hookURL(path string) string {
	if c.PublicURL == "" {
		return ""
	}
	return strings.TrimSuffix(c.PublicURL, "/") + path
}

// twilioHooks adds what Twilio posts to, if there is an account.
func (c Config) twilioHooks(s *Server, mux *http.ServeMux, log *slog.Logger) error {
	if c.TwilioAuthToken == "" {
		return nil
	}
	cfg := hooks.MessageConfig{Provider: "twilio", Ledger: s.worker.Ledger, Wake: s.worker.Queue.Enqueue, LiftSources: twilio.LiftSources(), Log: log,
		Alert: s.worker.Alerter.Alert}
	signed := func(path string) twilio.Signed {
		return twilio.Signed{URL: c.hookURL(path), Tokens: []string{string(c.TwilioAuthToken), string(c.TwilioAuthTokenOld)}}
	}
	receipts, err := hooks.NewReceipts(cfg, twilio.StatusCallbacks{Signed: signed(statusHook)})
	if err != nil {
		return err
	}
	replies, err := hooks.NewReplies(cfg, twilio.Replies{Signed: signed(inboundHook)})
	if err != nil {
		return err
	}
	s.Twilio = []*hooks.Receiver{receipts, replies}
	mux.Handle("POST "+statusHook, receipts)
	mux.Handle("POST "+inboundHook, replies)
	return nil
}
