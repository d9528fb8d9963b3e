package jobs_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/jobs"
	"dunlin/ledger/ledgertest"
	"dunlin/notify"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// gate is how a provider's breaker stands.
func (w *world) gate(p jobs.Provider) paylink.Gate {
	w.Helper()
	all, err := w.db.Gates(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	for _, g := range all {
		if g.Provider == string(p) {
			return g
		}
	}
	return paylink.Gate{Provider: string(p), State: paylink.GateClosed}
}

// steps runs n rounds, moving the clock whenever nothing is due.
func (w *world) steps(n int) {
	w.Helper()
	round := 0
	w.settleUntil(func() bool { round++; return round > n })
}

// called is how often a provider was asked for anything.
func (w *world) called(p sandbox.Provider) (n int64) {
	for name, k := range w.box.Counts().Calls {
		if strings.HasPrefix(name, string(p)+".") {
			n += k
		}
	}
	return n
}

// TestAccountErrors breaks our own account at each provider. The provider is left alone, a person is told once, no payer
// is marked failed, and once the settings are mended everything is sent.
func TestAccountErrors(t *testing.T) {
	for _, tt := range []struct {
		name     string
		routes   string
		provider jobs.Provider
		stand    sandbox.Provider
		brk      func(*world)
	}{
		{"wrong key at Ottu", "email", jobs.ProviderCheckout, sandbox.Ottu, func(w *world) { w.plugIn("anotherKey", "", "") }},
		{"wrong token at Twilio, SMS", "sms", jobs.ProviderSMS, sandbox.Twilio, func(w *world) { w.plugIn("", "anotherToken", "") }},
		{"wrong token at Twilio, WhatsApp", "whatsapp>sms", jobs.ProviderWhatsApp, sandbox.Twilio, func(w *world) { w.plugIn("", "anotherToken", "") }},
		{"refused login at the relay", "email", jobs.ProviderEmail, sandbox.SMTP, func(w *world) {
			w.fault(sandbox.Rule{Provider: sandbox.SMTP, Op: "mail", Action: sandbox.Refuse, Status: 535, Enhanced: "5.7.8"})
		}},
		{"sender not known to Twilio", "sms", jobs.ProviderSMS, sandbox.Twilio, func(w *world) {
			w.fault(sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Action: sandbox.Refuse, Status: 400, Code: 21606})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				tt.brk(w)
				w.restart()
				id := w.send(5, ledgertest.Routes(tt.routes))
				w.settleUntil(func() bool { return w.gate(tt.provider).State == paylink.GateHalted })
				before := w.called(tt.stand)
				w.steps(30)
				if n := w.called(tt.stand); tt.stand != sandbox.Ottu && n > before+1 || n > before+10 {
					t.Errorf("got %d calls after the halt, %d before it", n, before)
				}
				if diff := cmp.Diff([]string{"halted " + string(tt.provider)}, w.alerts.list()); diff != "" {
					t.Errorf("alerts (-want +got):\n%s", diff)
				}
				if c := w.counts(id); c.Failed+c.Unknown+c.Sent != 0 {
					t.Errorf("got %+v, want no payer failed, unknown or sent", c)
				}
				w.box.ClearFaults()
				w.plugIn("", "", "")
				w.restart()
				was, err := jobs.ResumeProvider(t.Context(), w.db, tt.provider, "clerk", "mended")
				if err != nil || was.State != paylink.GateHalted {
					t.Errorf("resuming: it was %s, error %v; want halted", was.State, err)
				}
				w.settle()
				ledgertest.Audit(t, w.db)
				if c := w.counts(id); c.Sent != 5 {
					t.Errorf("got %+v after the mending, want 5 sent", c)
				}
				if g := w.gate(tt.provider); g.State != paylink.GateClosed {
					t.Errorf("the gate is %s, want closed", g.State)
				}
				for _, l := range w.lines(id) {
					if l.Request.Attempts != 0 {
						t.Errorf("%s paid %d tries", l.Request.ID, l.Request.Attempts)
					}
					checkMessages(t, l, w.receivedBy(l.Contact))
				}
			})
		})
	}
}

// TestChannelThatIsNotConfigured asks for a channel that the worker has no settings for.
func TestChannelThatIsNotConfigured(t *testing.T) {
	onBoth(t, func(w *world) {
		delete(w.config.Senders, paylink.SMS)
		w.restart()
		id := w.send(2, ledgertest.Routes("sms"))
		w.steps(20)
		if g := w.gate(jobs.ProviderSMS); g.State != paylink.GateHalted || !strings.Contains(g.Why, "not configured") {
			t.Errorf("the gate is %s (%s), want halted with the reason", g.State, g.Why)
		}
		if c := w.counts(id); c.InFlight != 2 || len(w.alerts.list()) != 1 {
			t.Errorf("got %+v and alerts %v, want 2 in flight and one alert", c, w.alerts.list())
		}
		w.plugIn("", "", "")
		w.restart()
		if _, err := jobs.ResumeProvider(t.Context(), w.db, jobs.ProviderSMS, "clerk", "mended"); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if c := w.counts(id); c.Sent != 2 {
			t.Errorf("got %+v after the mending, want 2 sent", c)
		}
	})
}

// TestBrokenTemplate breaks our own text. Every row would fail alike, so the batch halts and no payer is marked failed.
func TestBrokenTemplate(t *testing.T) {
	for _, tt := range []struct {
		name string
		brk  func(*world)
		asks int64 // most calls of Twilio
	}{
		{"no content SID", func(w *world) {
			b := *w.config.Builder.(*notify.Builder)
			b.ContentSIDs = nil
			w.config.Builder = &b
		}, 0},
		{"variables that Twilio refuses", func(w *world) {
			w.fault(sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Action: sandbox.Refuse, Status: 400, Code: 21656})
		}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				good := w.config.Builder
				tt.brk(w)
				w.restart()
				id := w.send(3, ledgertest.Routes("whatsapp>sms"))
				w.steps(20)
				b, err := w.db.Batch(t.Context(), id)
				if err != nil || b.State != paylink.BatchHalted || !strings.Contains(b.Why, "template") {
					t.Errorf("the batch is %s (%s), error %v; want halted for its template", b.State, b.Why, err)
				}
				if diff := cmp.Diff([]string{"template " + id.String()}, w.alerts.list()); diff != "" {
					t.Errorf("alerts (-want +got):\n%s", diff)
				}
				if n := w.box.Counts().Calls["twilio.send"]; n > tt.asks {
					t.Errorf("Twilio was asked %d times, want at most %d", n, tt.asks)
				}
				ledgertest.Audit(t, w.db)
				if c := w.counts(id); c.Failed+c.Unknown+c.Sent != 0 {
					t.Errorf("got %+v, want no payer failed, unknown or sent", c)
				}
				w.box.ClearFaults()
				w.config.Builder = good
				w.restart()
				if err := w.db.Resume(t.Context(), id, "clerk", "mended"); err != nil {
					t.Fatal(err)
				}
				w.settle()
				ledgertest.Audit(t, w.db)
				if c, n := w.counts(id), w.box.Counts().Messages; c.Sent != 3 || n != 3 {
					t.Errorf("got %+v and %d messages after the mending, want 3 sent", c, n)
				}
			})
		})
	}
}

// TestBrokenTemplateOfADoneBatch breaks the text between an email whose answer was lost and its resend. The batch is done
// by then and cannot halt; the provider must not be asked as fast as the queue turns.
func TestBrokenTemplateOfADoneBatch(t *testing.T) {
	onBoth(t, func(w *world) {
		w.fault(sandbox.Rule{Provider: sandbox.SMTP, Op: "dot", Nth: 1, Action: sandbox.LoseAnswer})
		w.send(1)
		w.settleUntil(func() bool { return w.box.Counts().Mails == 1 })
		var builds atomic.Int64
		good := w.config.Builder
		w.config.Builder = brokenBuilder{good, &builds}
		w.restart()
		start := w.clock.Now()
		w.steps(40)
		if n, per := builds.Load(), w.clock.Now().Sub(start)/15/time.Second; n > int64(per) {
			t.Errorf("the message was tried %d times in %v, want at most one in 15 s", n, w.clock.Now().Sub(start))
		}
		w.config.Builder = good
		w.restart()
		w.settle()
		w.ends("sent unpaid; open; email accepted (perhaps twice)")
	})
}

type brokenBuilder struct {
	jobs.Builder
	n *atomic.Int64
}

func (b brokenBuilder) Build(paylink.MessageClaim) (notify.Outgoing, string, error) {
	b.n.Add(1)
	return notify.Outgoing{}, "", &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeTemplate, Cause: paylink.CauseTemplate}
}

// TestBreaker lets a provider fail for everybody. After a few failures nobody asks it any more but one task at a time when
// the wait is over; no row pays a try; when it works again everything is sent.
func TestBreaker(t *testing.T) {
	for _, tt := range []struct {
		name     string
		provider jobs.Provider
		stand    sandbox.Provider
		rule     sandbox.Rule
		maybe    bool // refused calls may have been done as far as anybody can know
	}{
		{"checkout", jobs.ProviderCheckout, sandbox.Ottu, sandbox.Rule{Provider: sandbox.Ottu, Action: sandbox.Refuse, Status: 503}, true},
		{"email", jobs.ProviderEmail, sandbox.SMTP, sandbox.Rule{Provider: sandbox.SMTP, Op: "mail", Action: sandbox.Refuse, Status: 421, Enhanced: "4.3.2"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				w.fault(tt.rule)
				id := w.send(20)
				w.settleUntil(func() bool { return w.gate(tt.provider).State == paylink.GateOpen })
				g := w.gate(tt.provider)
				if wait := g.Until.Sub(w.clock.Now()); wait <= 0 || wait > 15*time.Second {
					t.Errorf("the breaker waits %v at first, want up to 15 s", wait)
				}
				struck := func() int { return w.box.Faults()[0].Hits }
				if n := struck(); n != 5 {
					t.Errorf("the provider failed %d times before the breaker opened, want 5", n)
				}
				// Twice the wait is over, one task tests the water, and the wait doubles.
				for opened := 2; opened <= 3; opened++ {
					before := struck()
					w.settleUntil(func() bool { return w.gate(tt.provider).Opened == opened })
					if n := struck() - before; n != 1 {
						t.Errorf("%d tasks tested the water, want 1", n)
					}
				}
				if g := w.gate(tt.provider); g.Until.Sub(w.clock.Now()) < 45*time.Second {
					t.Errorf("the breaker waits %v the third time, want a minute", g.Until.Sub(w.clock.Now()))
				}
				if diff := cmp.Diff([]string{"breaker " + string(tt.provider)}, w.alerts.list()); diff != "" {
					t.Errorf("alerts (-want +got):\n%s", diff)
				}
				w.box.ClearFaults()
				w.settle()
				ledgertest.Audit(t, w.db)
				if c := w.counts(id); c.Sent != 20 || w.box.Counts().Mails != 20 {
					t.Errorf("got %+v and %d mails when the provider worked again, want 20", c, w.box.Counts().Mails)
				}
				if g := w.gate(tt.provider); g.State != paylink.GateClosed {
					t.Errorf("the gate is %s, want closed", g.State)
				}
				var tries int
				if err := w.raw.QueryRowContext(t.Context(), `SELECT (SELECT SUM(tries) FROM requests) + (SELECT SUM(tries) FROM messages)`).Scan(&tries); err != nil || tries != 0 {
					t.Errorf("rows paid %d tries, error %v; want none", tries, err)
				}
			})
		})
	}
}

// TestManyTestTheWater delivers many wakes at the moment at which a breaker's wait is over. One call is made.
func TestManyTestTheWater(t *testing.T) {
	onBoth(t, func(w *world) {
		w.send(10)
		if _, err := w.worker.Feed(t.Context()); err != nil {
			t.Fatal(err)
		}
		open(w, jobs.ProviderCheckout, paylink.GateOpen, w.clock.Now())
		w.restart()
		w.fault(sandbox.Rule{Name: "probe", Provider: sandbox.Ottu, Op: "create", Action: sandbox.Hang})
		wakes := w.queue.ready(w.clock.Now())
		done := make(chan error, len(wakes))
		for _, wake := range wakes {
			go func() { done <- w.do(wake) }()
		}
		for range len(wakes) - 1 {
			<-done
		}
		w.until("somebody tests the water", func() bool { return w.box.Hits("probe") > 0 })
		if n := w.box.Hits("probe"); n != 1 {
			t.Errorf("got %d calls, want one", n)
		}
		w.box.ClearFaults()
		if err := <-done; err != nil {
			t.Errorf("the probe's handler ended in %v", err)
		}
		if g := w.gate(jobs.ProviderCheckout); g.State != paylink.GateClosed {
			t.Errorf("the gate is %s after a probe that went well, want closed", g.State)
		}
		start := w.clock.Now()
		w.settle()
		if c := w.counts(1); c.Sent != 10 {
			t.Errorf("got %+v, want all sent", c)
		}
		if took := w.clock.Now().Sub(start); took > time.Minute {
			t.Errorf("those who came during the probe waited %v", took)
		}
	})
}

// open puts a gate into a state.
func open(w *world, p jobs.Provider, state paylink.GateState, until time.Time) {
	w.Helper()
	if _, _, err := w.db.ChangeGate(w.Context(), string(p), func(g paylink.Gate) paylink.Gate {
		g.State, g.Opened, g.Until = state, 1, until
		return g
	}); err != nil {
		w.Fatal(err)
	}
}

// TestProbeOfADeadProcess leaves a gate as a process leaves it that died while it tested the water, and an empty queue.
// Another process must find that out.
func TestProbeOfADeadProcess(t *testing.T) {
	for _, p := range []jobs.Provider{jobs.ProviderCheckout, jobs.ProviderEmail} {
		t.Run(string(p), func(t *testing.T) {
			onBoth(t, func(w *world) {
				open(w, p, paylink.GateProbing, w.clock.Now().Add(2*time.Minute))
				w.restart()
				w.send(3)
				start := w.clock.Now()
				for range 40 {
					w.clock.Advance(10 * time.Second)
					w.queue.forget()
					for w.step() {
					}
				}
				if c := w.counts(1); c.Sent != 3 {
					t.Errorf("got %+v %v after the process died, want all sent", c, w.clock.Now().Sub(start))
				}
			})
		})
	}
}

// TestProbeThatAsksNobody gives the right to test the water to a task that has nothing to ask, because its row was called
// off or the rate limit is used up. The right passes on at once.
func TestProbeThatAsksNobody(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(*world, paylink.Wake)
	}{
		{"row called off", func(w *world, first paylink.Wake) {
			if _, err := w.db.CancelRequest(w.Context(), paylink.RequestID(first.ID), "clerk", "mistake"); err != nil {
				w.Fatal(err)
			}
		}},
		{"rate limit used up", func(w *world, _ paylink.Wake) { w.limit.set(time.Hour) }},
		{"worker dies", func(w *world, _ paylink.Wake) { w.ledger.watch(die(after, "ClaimSession")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				w.send(2)
				if _, err := w.worker.Feed(t.Context()); err != nil {
					t.Fatal(err)
				}
				wakes := w.queue.ready(w.clock.Now())
				open(w, jobs.ProviderCheckout, paylink.GateOpen, w.clock.Now())
				tt.make(w, wakes[0])
				w.restart()
				_ = w.do(wakes[0])
				w.limit.set(0)
				_ = w.do(wakes[1])
				if n := w.box.Counts().Sessions; n != 1 {
					t.Errorf("got %d sessions, want the second task's: the first kept the right to test the water", n)
				}
			})
		})
	}
}

// TestAnyAnswerClosesTheBreaker tests the water with each kind of task. When it is the last that the provider has to do,
// nobody else would close the breaker.
func TestAnyAnswerClosesTheBreaker(t *testing.T) {
	for _, tt := range []struct {
		name, routes string
		provider     jobs.Provider
		before       []sandbox.Rule
		until        func(*world) bool
		then         func(*world)
		refuse       *sandbox.Rule
	}{
		{"a look-up", "sms", jobs.ProviderSMS, []sandbox.Rule{{Provider: sandbox.Twilio, Op: "send", Nth: 1, Action: sandbox.LoseAnswer}},
			func(w *world) bool { return w.counts(1).Unknown == 1 }, nil, nil},
		{"the end of a session", "email", jobs.ProviderCheckout, nil, func(w *world) bool { return w.counts(1).Sent == 1 }, func(w *world) {
			if _, err := w.db.CancelRequest(w.Context(), paylink.NewRequestID(1, 1), "clerk", "mistake"); err != nil {
				w.Fatal(err)
			}
		}, nil},
		{"a send that is to slow down", "sms", jobs.ProviderSMS, nil, func(w *world) bool { return w.box.Counts().Sessions == 1 }, nil,
			&sandbox.Rule{Name: "slow down", Provider: sandbox.Twilio, Op: "send", Nth: 1, Action: sandbox.Refuse, Status: 429}},
		{"a refusal", "sms", jobs.ProviderSMS, nil, func(w *world) bool { return w.box.Counts().Sessions == 1 }, nil,
			&sandbox.Rule{Name: "slow down", Provider: sandbox.Twilio, Op: "send", Nth: 1, Action: sandbox.Refuse, Status: 400, Code: 21211}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				for _, r := range tt.before {
					w.fault(r)
				}
				w.send(1, ledgertest.Routes(tt.routes))
				w.settleUntil(func() bool { return tt.until(w) })
				open(w, tt.provider, paylink.GateOpen, w.clock.Now())
				w.restart()
				if tt.then != nil {
					tt.then(w)
				}
				if tt.refuse != nil {
					w.fault(*tt.refuse)
					w.settleUntil(func() bool { return w.box.Hits("slow down") > 0 })
				} else {
					w.settle()
				}
				if g := w.gate(tt.provider); g.State != paylink.GateClosed {
					t.Errorf("the gate is %s, want closed", g.State)
				}
			})
		})
	}
}

// TestStoppingIsNoFailure stops workers in the middle of calls. That says nothing about the provider.
func TestStoppingIsNoFailure(t *testing.T) {
	onBoth(t, func(w *world) {
		w.fault(sandbox.Rule{Name: "silence", Provider: sandbox.Ottu, Op: "create", Action: sandbox.Hang})
		w.send(8)
		if _, err := w.worker.Feed(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, wake := range w.queue.ready(w.clock.Now()) {
			w.prepare = func(paylink.Wake) (*jobs.Worker, func() bool) {
				return w.worker, func() bool { return w.box.Hits("silence") > i }
			}
			_ = w.do(wake)
		}
		w.prepare = nil
		if g := w.gate(jobs.ProviderCheckout); g.State != paylink.GateClosed {
			t.Errorf("the gate is %s, want closed", g.State)
		}
		w.box.ClearFaults()
		w.settle()
		if c := w.counts(1); c.Sent != 8 {
			t.Errorf("got %+v, want all sent", c)
		}
	})
}

// TestAlertsNameNobody looks at what operators are told.
func TestAlertsNameNobody(t *testing.T) {
	onBoth(t, func(w *world) {
		w.plugIn("anotherKey", "", "")
		w.restart()
		id := w.send(2)
		w.steps(10)
		l := w.lines(id)[0]
		for _, text := range slices.Concat(w.alerts.list(), []string{w.gate(jobs.ProviderCheckout).Why}) {
			for _, secret := range []string{l.Contact.Email, l.Contact.Phone, l.Contact.Name, "anotherKey"} {
				if strings.Contains(text, secret) {
					t.Errorf("an operator was told %q", text)
				}
			}
		}
	})
}
