package jobs_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/jobs"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// TestSlowDown has providers ask for a pause. Everybody slows down and no row pays a try; one mailbox that is greylisted
// slows down nobody.
func TestSlowDown(t *testing.T) {
	for _, tt := range []struct {
		name, routes string
		rule         *sandbox.Rule
		mailbox      string
		want         []time.Duration
		tries        int
	}{
		{"checkout", "email", &sandbox.Rule{Provider: sandbox.Ottu, Op: "create", Status: 429, RetryAfter: 40}, "", []time.Duration{40 * time.Second}, 0},
		{"sms", "sms", &sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Status: 429, RetryAfter: 40}, "", []time.Duration{40 * time.Second}, 0},
		{"sms, and it does not say for how long", "sms", &sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Status: 429}, "", []time.Duration{time.Second}, 0},
		{"relay", "email", &sandbox.Rule{Provider: sandbox.SMTP, Op: "mail", Status: 451, Enhanced: "4.7.1"}, "", []time.Duration{time.Second}, 0},
		{"one mailbox", "email", nil, "deferred@example.com", nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				if tt.rule != nil {
					rule := *tt.rule // both databases' worlds have a copy
					rule.Nth, rule.Action = 1, sandbox.Refuse
					w.fault(rule)
				}
				start := w.clock.Now()
				w.send(1, ledgertest.Routes(tt.routes), ledgertest.Each(func(r *paylink.Row) {
					if tt.mailbox != "" {
						r.Email = tt.mailbox
					}
				}))
				w.settle()
				w.ends("sent unpaid; open; " + tt.routes + " accepted")
				if diff := cmp.Diff(tt.want, w.limit.list()); diff != "" {
					t.Errorf("pauses (-want +got):\n%s", diff)
				}
				var tries int
				if err := w.raw.QueryRowContext(t.Context(), `SELECT (SELECT tries FROM requests) + (SELECT tries FROM messages)`).Scan(&tries); err != nil || tries != tt.tries {
					t.Errorf("the row paid %d tries, error %v; want %d", tries, err, tt.tries)
				}
				if took := w.clock.Now().Sub(start); len(tt.want) > 0 && took < tt.want[0] {
					t.Errorf("it was tried again after %v, want %v at least", took, tt.want[0])
				}
			})
		})
	}
}

// TestRateLimit has the limit used up for longer than a worker waits. Rows are put off in the ledger, once each, and the
// queue does not fill up with repetitions.
func TestRateLimit(t *testing.T) {
	for _, tt := range []struct {
		name, routes string
		rules        []sandbox.Rule
		when         func(*world) bool // from then on the limit is used up
		cut          bool
	}{
		{"create", "email", nil, func(*world) bool { return true }, false},
		{"send", "email", nil, func(w *world) bool { return w.box.Counts().Sessions > 0 }, false},
		{"settle", "email", []sandbox.Rule{{Provider: sandbox.Ottu, Op: "create", Nth: 1, Action: sandbox.LoseAnswer},
			{Provider: sandbox.Ottu, Op: "expire", Nth: 1, Action: sandbox.FailBefore}}, func(w *world) bool { return w.box.Counts().Calls["ottu.expire"] > 0 }, false},
		{"inquire", "sms", []sandbox.Rule{{Provider: sandbox.Twilio, Op: "send", Nth: 1, Action: sandbox.LoseAnswer}},
			func(w *world) bool { return w.box.Counts().Messages > 0 }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				for _, r := range tt.rules {
					w.fault(r)
				}
				w.send(1, ledgertest.Routes(tt.routes))
				w.settleUntil(func() bool { return tt.when(w) })
				w.limit.set(6 * time.Hour)
				given := w.queue.given()
				start := w.clock.Now()
				w.settleUntil(func() bool { return w.clock.Now().Sub(start) > 5*time.Hour })
				if n := w.queue.given() - given; n > 6 {
					t.Errorf("the queue was given %d tasks within five hours for one row", n)
				}
				w.limit.set(0)
				w.settle()
				w.ends("sent unpaid; open; " + tt.routes + " accepted")
			})
		})
	}
}

// TestHaltedChannelGathersNothing has lost messages wait for their look-up while their channel is halted for a day. The
// queue must not gather a task for each of them every minute and a half.
func TestHaltedChannelGathersNothing(t *testing.T) {
	onBoth(t, func(w *world) {
		w.fault(sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Action: sandbox.LoseAnswer})
		id := w.send(3, ledgertest.Routes("sms"))
		w.settleUntil(func() bool { return w.counts(id).Unknown == 3 })
		open(w, jobs.ProviderSMS, paylink.GateHalted, time.Time{})
		w.restart()
		for range 100 {
			w.clock.Advance(2 * time.Minute)
			w.upkeep()
			w.step()
			if n := w.queue.waiting(); n > 3 {
				t.Fatalf("%d tasks wait for three messages", n)
			}
		}
		w.box.ClearFaults()
		if _, err := jobs.ResumeProvider(t.Context(), w.db, jobs.ProviderSMS, "clerk", "mended"); err != nil {
			t.Fatal(err)
		}
		w.settle()
		ledgertest.Audit(t, w.db)
		if c := w.counts(id); c.Sent != 3 || w.box.Counts().Messages != 3 {
			t.Errorf("got %+v and %d messages, want 3 sent", c, w.box.Counts().Messages)
		}
	})
}

// TestBackoff keeps a mailbox full for ever. The tries come slower and slower, and end.
func TestBackoff(t *testing.T) {
	onBoth(t, func(w *world) {
		w.fault(sandbox.Rule{Provider: sandbox.SMTP, Op: "rcpt", Action: sandbox.Refuse, Status: 452, Enhanced: "4.2.2"})
		id := w.send(1)
		var at []time.Time
		w.ledger.watch(func(m moment, method string, _ paylink.RequestID) error {
			if m == before && method == "FailMessage" {
				at = append(at, w.clock.Now())
			}
			return nil
		})
		w.settle()
		w.ends("failed unpaid; open; email failed")
		if l := w.lines(id)[0]; l.Request.Cause != paylink.CauseExhausted || l.Code != "452 4.2.2" {
			t.Errorf("got cause %s (%s), want exhausted with the last code", l.Request.Cause, l.Code)
		}
		if len(at) != 8 {
			t.Fatalf("got %d tries, want 8", len(at))
		}
		for i := 1; i < len(at); i++ {
			gap, most := at[i].Sub(at[i-1]), 30*time.Second<<(i-1)
			if gap < most/2 || gap > most+time.Second {
				t.Errorf("got %v between tries %d and %d, want %v to %v", gap, i, i+1, most/2, most)
			}
		}
	})
}
