package jobs_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"dunlin/jobs"
	"dunlin/ledger/ledgertest"
	"dunlin/notify/twilio"
	"dunlin/paylink"
	"dunlin/sandbox"
	"dunlin/web/hooks"
)

// phoneTo reconnects SMS and WhatsApp, with a receiver of status callbacks if there is one.
func (w *world) phoneTo(callback string) {
	w.Helper()
	cfg := w.box.Config()
	wire := http.DefaultTransport.(*http.Transport).Clone()
	w.Cleanup(wire.CloseIdleConnections)
	phone, err := twilio.New(twilio.Config{AccountSID: cfg.AccountSID, AuthToken: cfg.AuthToken, BaseURL: w.box.URL(), StatusCallback: callback,
		SMSFrom: sandbox.SMSFrom, WhatsAppFrom: sandbox.WhatsAppFrom, Transport: wire, Timeout: time.Hour, Now: w.now})
	if err != nil {
		w.Fatal(err)
	}
	for _, ch := range []paylink.Channel{paylink.SMS, paylink.WhatsApp} {
		w.config.Senders[ch], w.config.Finders[ch] = phone, phone
	}
	w.config.Fetchers = map[paylink.Channel]jobs.Fetcher{paylink.SMS: phone, paylink.WhatsApp: phone}
	w.restart()
}

// receiver takes the sandbox's callbacks into the ledger.
func (w *world) receiver() *hooks.Receiver {
	w.Helper()
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	w.Cleanup(s.Close)
	url := s.URL + "/hooks/twilio/status"
	h, err := hooks.NewReceipts(hooks.MessageConfig{Provider: "twilio", Ledger: w.db, Wake: w.queue.Enqueue},
		twilio.StatusCallbacks{Signed: twilio.Signed{URL: url, Tokens: []string{w.box.Config().AuthToken}}})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(h.Close)
	mux.Handle("POST /hooks/twilio/status", h)
	w.phoneTo(url)
	return h
}

// phones gives each row a number of its own, the last digits of which may ask the sandbox for an end.
func phones(ends ...string) ledgertest.Option {
	i := 0
	return ledgertest.Each(func(r *paylink.Row) {
		r.Phone = "+96550" + string(rune('0'+i)) + ends[i%len(ends)]
		i++
	})
}

func (w *world) messagesAre(id paylink.BatchID, want ...string) bool {
	w.Helper()
	var got []string
	for _, l := range w.lines(id) {
		got = append(got, describe(l))
	}
	return slices.Equal(got, want)
}

// TestCallbacks sends through the sandbox, which posts what becomes of each message, also before it answers, doubled and
// out of order.
func TestCallbacks(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault *sandbox.Rule
	}{
		{"plain", nil},
		{"before the answer", &sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Action: sandbox.ReceiptFirst}},
		{"doubled", &sandbox.Rule{Provider: sandbox.Twilio, Op: "callback", Action: sandbox.Double}},
		{"out of order", &sandbox.Rule{Provider: sandbox.Twilio, Op: "callback", Action: sandbox.Shuffle}},
		{"answer lost", &sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Action: sandbox.LoseAnswer, Times: 2}},
		{"receipt, then no answer", &sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Action: sandbox.HTML502, Done: true, Times: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, databases[0])
			h := w.receiver()
			if tt.fault != nil {
				w.fault(*tt.fault)
			}
			b := w.send(2, ledgertest.Routes("sms>email"), phones("0012345", "0030005"))
			want := []string{"sent unpaid; open; sms delivered", "sent unpaid; open; sms undelivered, email accepted"}
			// No look-up happens: the clock stands still, so only callbacks can settle what was lost.
			w.until("the messages are through", func() bool {
				for w.step() {
				}
				return w.messagesAre(b, want...)
			})
			if got := w.box.Counts(); len(w.box.Messages()) != 2 {
				t.Errorf("the provider has %d messages: %v", len(w.box.Messages()), got)
			}
			if s := h.Stats(); s.Forged != 0 || s.Lost != 0 {
				t.Errorf("got %+v", s)
			}
			ledgertest.Audit(t, w.db)
		})
	}
}

// TestAskRound: callbacks never come, so the provider is asked.
func TestAskRound(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, d)
			w.phoneTo("")
			b := w.send(3, ledgertest.Routes("sms>email"), phones("0012345", "0030005", "0012346"))
			w.until("the messages are through at the provider", func() bool {
				for w.step() {
				}
				ms := w.box.Messages()
				return len(ms) == 3 && !slices.ContainsFunc(ms, func(m sandbox.Message) bool { return m.Status != "delivered" && m.Status != "undelivered" })
			})
			round := func(want jobs.ReceiptRound) {
				t.Helper()
				got, err := w.worker.AskRound(t.Context())
				if err != nil || got != want {
					t.Errorf("got %+v, %v, want %+v", got, err, want)
				}
			}
			round(jobs.ReceiptRound{})
			w.clock.Advance(11 * time.Minute)
			w.limit.set(time.Hour) // the day's budget is used up
			round(jobs.ReceiptRound{Left: 3})
			w.limit.set(0)
			w.fault(sandbox.Rule{Provider: sandbox.Twilio, Op: "fetch", Action: sandbox.Refuse, Status: 500, Times: 1})
			round(jobs.ReceiptRound{Left: 3}) // it does not answer: the round ends, and that message is asked about later
			round(jobs.ReceiptRound{Asked: 2, News: 2})
			w.clock.Advance(12 * time.Minute)
			round(jobs.ReceiptRound{Asked: 1, News: 1})
			round(jobs.ReceiptRound{})
			for w.step() {
			}
			if !w.messagesAre(b, "sent unpaid; open; sms delivered", "sent unpaid; open; sms undelivered, email accepted", "sent unpaid; open; sms delivered") {
				t.Errorf("the batch stands at %s", describe(w.lines(b)[1]))
			}
			ledgertest.Audit(t, w.db)
		})
	}
}

// TestAskRoundStopsAtTheBreaker: a provider that is halted is not asked either.
func TestAskRoundStopsAtTheBreaker(t *testing.T) {
	w := newWorld(t, databases[0])
	w.phoneTo("")
	w.send(2, ledgertest.Routes("sms"), phones("0012345"))
	for w.step() {
	}
	w.clock.Advance(11 * time.Minute)
	w.fault(sandbox.Rule{Provider: sandbox.Twilio, Op: "fetch", Action: sandbox.Refuse, Status: 401, Code: 20003})
	for range 2 {
		got, err := w.worker.AskRound(t.Context())
		if err != nil || got.Asked != 0 || got.Left == 0 {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	gates, err := w.db.Gates(t.Context())
	if err != nil || len(gates) != 1 || gates[0].State != paylink.GateHalted || gates[0].Provider != "sms" {
		t.Errorf("got gates %+v, %v", gates, err)
	}
}
