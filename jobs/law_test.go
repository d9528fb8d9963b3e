package jobs_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/notify"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// onBoth runs a test in a world of its own over each database.
func onBoth(t *testing.T, test func(*world)) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			test(newWorld(t, on))
		})
	}
}

// onceAt is a hook that runs fn the first time a handler comes to the moment.
func onceAt(m moment, method string, fn func(paylink.RequestID)) hook {
	var ran atomic.Bool
	return func(at moment, name string, id paylink.RequestID) error {
		if at == m && name == method && ran.CompareAndSwap(false, true) {
			fn(id)
		}
		return nil
	}
}

// ends compares where the batch's only request stands, after an audit of everything.
func (w *world) ends(want string) {
	w.Helper()
	ledgertest.Audit(w.T, w.db)
	if got := w.stands(); got != want {
		w.Errorf("the request stands at\n\t%s, want\n\t%s", got, want)
	}
}

// sessionOf is the ledger's id of a request's session.
func (w *world) line(id paylink.RequestID) ledger.RequestLine {
	w.Helper()
	l, err := w.db.Request(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return l
}

// pay pays a request's session at the provider and lets the ledger know, as a webhook would.
func (w *world) pay(id paylink.RequestID, o sandbox.Outcome) {
	w.Helper()
	s := w.line(id).Session
	if _, err := w.box.Pay(w.Context(), s.ProviderID, o, false); err != nil {
		w.Error(err)
	}
	seen, err := w.config.Checkout.Retrieve(w.Context(), s.ProviderID)
	if err != nil {
		w.Error(err)
	}
	if err := w.db.AdoptState(w.Context(), s.ID, seen); err != nil {
		w.Error(err)
	}
}

// TestNothingIsSentAfter changes what a message depends on at the last moments before it would leave. Nobody who has paid
// is chased, and nobody else is who must not be.
func TestNothingIsSentAfter(t *testing.T) {
	type change struct {
		name string
		do   func(*world, paylink.RequestID)
		want string
		sent int // messages after the batch was resumed, if that is what follows
	}
	check := func(w *world, err error) {
		if err != nil {
			w.Error(err)
		}
	}
	changes := []change{
		{"paid", func(w *world, id paylink.RequestID) { w.pay(id, sandbox.PayFull) }, "skipped paid; paid; email canceled", 0},
		{"authorized", func(w *world, id paylink.RequestID) { w.pay(id, sandbox.PayAuthorize) }, "skipped authorized; authorized; email canceled", 0},
		{"canceled", func(w *world, id paylink.RequestID) {
			_, err := w.db.CancelRequest(w.Context(), id, "clerk", "mistake")
			check(w, err)
		}, "canceled canceled; canceled; email canceled", 0},
		{"batch canceled", func(w *world, id paylink.RequestID) {
			check(w, w.db.CancelBatch(w.Context(), id.Batch(), "clerk", "mistake"))
		}, "canceled canceled; canceled; email canceled", 0},
		{"suppressed", func(w *world, id paylink.RequestID) {
			_, err := w.raw.ExecContext(w.Context(), `INSERT INTO suppressions (channel, address_hash, reason, source, created_at) VALUES ('email', $1, 'complained', 'relay', 1)`,
				ledger.AddressHash(paylink.Email, w.line(id).Contact.Email))
			check(w, err)
		}, "suppressed unpaid; open; email suppressed", 0},
		{"paused", func(w *world, id paylink.RequestID) {
			check(w, w.db.Pause(w.Context(), id.Batch(), "clerk", "wait"))
		}, "in_flight unpaid; open; email owed", 1},
	}
	moments := []struct {
		name   string
		at     moment
		method string
	}{
		{"between create and send", after, "RecordSession"},
		{"between claim and commit", before, "CommitMessage"},
	}
	for _, c := range changes {
		for _, m := range moments {
			t.Run(c.name+"/"+m.name, func(t *testing.T) {
				onBoth(t, func(w *world) {
					id := w.send(1)
					w.ledger.watch(onceAt(m.at, m.method, func(r paylink.RequestID) { c.do(w, r) }))
					w.settle()
					w.ends(c.want)
					if n := w.box.Counts().Mails; n != 0 {
						t.Errorf("got %d mails, want none", n)
					}
					if c.sent == 0 {
						return
					}
					if err := w.db.Resume(w.Context(), id, "clerk", "go on"); err != nil {
						t.Fatal(err)
					}
					w.settle()
					w.ends("sent unpaid; open; email accepted")
					if n := w.box.Counts().Mails; n != c.sent {
						t.Errorf("got %d mails after resuming, want %d", n, c.sent)
					}
				})
			})
		}
	}
}

// TestWorkerThatSlept lets a worker sleep at the worst moments of a send. Whatever it does when it wakes, the payer gets
// one message.
func TestWorkerThatSlept(t *testing.T) {
	sweep := func(w *world) {
		room, err := w.worker.LookAtQueues(w.Context())
		if err == nil {
			_, err = w.worker.Sweep(w.Context(), room)
		}
		if err != nil {
			w.Error(err)
		}
	}
	for _, tt := range []struct {
		name  string
		at    moment
		sleep func(*world)
	}{
		{"before the commit, and nobody noticed", before, func(w *world) { w.clock.Advance(10 * time.Minute) }},
		{"before the commit, and the claim was taken from it", before, func(w *world) { w.clock.Advance(10 * time.Minute); sweep(w) }},
		{"before the commit, and a little longer than the call may take", before, func(w *world) { w.clock.Advance(31 * time.Second) }},
		{"after the commit, and it was declared lost", after, func(w *world) { w.clock.Advance(10 * time.Minute); sweep(w) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, ch := range paylink.Channels {
				t.Run(string(ch), func(t *testing.T) {
					onBoth(t, func(w *world) {
						w.send(1, ledgertest.Routes(string(ch)))
						w.ledger.watch(onceAt(tt.at, "CommitMessage", func(paylink.RequestID) { tt.sleep(w) }))
						w.settle()
						w.ends("sent unpaid; open; " + string(ch) + " accepted")
						if n := w.box.Counts().Mails + w.box.Counts().Messages; n != 1 {
							t.Errorf("got %d messages, want 1", n)
						}
					})
				})
			}
		})
	}
}

// TestStoppedBetweenCommitAndSend ends the handler's context when the commit has just been recorded. The adapters send
// nothing then, so the message is owed again; an unknown outcome would cost an SMS its delivery and an email a duplicate.
func TestStoppedBetweenCommitAndSend(t *testing.T) {
	for _, ch := range paylink.Channels {
		t.Run(string(ch), func(t *testing.T) {
			onBoth(t, func(w *world) {
				w.send(1, ledgertest.Routes(string(ch)))
				var committed atomic.Bool
				w.ledger.watch(func(at moment, method string, _ paylink.RequestID) error {
					if at == after && method == "CommitMessage" && committed.CompareAndSwap(false, true) {
						return context.Canceled // as the context's own error comes back
					}
					return nil
				})
				w.settle()
				w.ends("sent unpaid; open; " + string(ch) + " accepted")
				if n := w.box.Counts().Mails + w.box.Counts().Messages; n != 1 || !committed.Load() {
					t.Errorf("got %d messages, want 1", n)
				}
			})
		})
	}
}

// TestResentMailIsTheSameMail compares every byte that can be read back of a mail that was sent again after its answer was
// lost.
func TestResentMailIsTheSameMail(t *testing.T) {
	onBoth(t, func(w *world) {
		w.fault(sandbox.Rule{Provider: sandbox.SMTP, Op: "dot", Nth: 1, Action: sandbox.LoseAnswer})
		w.send(1)
		w.settle()
		w.ends("sent unpaid; open; email accepted (perhaps twice)")
		mails := w.box.Mails()
		if len(mails) != 2 {
			t.Fatalf("got %d mails, want 2", len(mails))
		}
		same := cmp.Options{cmpopts.IgnoreUnexported(sandbox.Mail{}), cmpopts.IgnoreFields(sandbox.Mail{}, "ID", "Received")}
		if diff := cmp.Diff(mails[0], mails[1], same); diff != "" {
			t.Errorf("the second mail differs (-first +second):\n%s", diff)
		}
		if mails[0].MessageID == "" || !mails[1].Received.After(mails[0].Received.Add(4*time.Minute)) {
			t.Errorf("got Message-ID %q, sent again after %v; want one, and the pause of the policy", mails[0].MessageID, mails[1].Received.Sub(mails[0].Received))
		}
	})
}

// TestChangedMailIsHeld changes the template between a mail whose answer was lost and its resend. Other bytes would be
// another message.
func TestChangedMailIsHeld(t *testing.T) {
	onBoth(t, func(w *world) {
		w.fault(sandbox.Rule{Provider: sandbox.SMTP, Op: "dot", Nth: 1, Action: sandbox.LoseAnswer})
		w.send(1)
		w.settleUntil(func() bool { return w.box.Counts().Mails == 1 })
		changed := *w.config.Builder.(*notify.Builder)
		changed.Merchant = "Al Noor International School"
		w.config.Builder = &changed
		w.restart()
		w.settle()
		w.ends("unknown unpaid; open; email held (perhaps twice)")
		if n := w.box.Counts().Mails; n != 1 {
			t.Errorf("got %d mails, want 1", n)
		}
	})
}

// TestLookUps hides a lost SMS from the provider's list for longer and longer. It is looked for three times and never sent
// again.
func TestLookUps(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lag   time.Duration
		looks int64
		want  string
	}{
		{"after 30 s", 0, 1, "sent unpaid; open; sms accepted"},
		{"after two minutes more", time.Minute, 2, "sent unpaid; open; sms accepted"},
		{"after ten minutes more", 5 * time.Minute, 3, "sent unpaid; open; sms accepted"},
		{"never", 24 * time.Hour, 3, "unknown unpaid; open; sms held"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				w.fault(sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Nth: 1, Action: sandbox.LoseAnswer})
				w.fault(sandbox.Rule{Provider: sandbox.Twilio, Op: "list", Action: sandbox.ListLag, Delay: tt.lag})
				w.send(1, ledgertest.Routes("sms"))
				w.settle()
				w.ends(tt.want)
				if got := w.box.Counts(); got.Calls["twilio.list"] != tt.looks || got.Messages != 1 {
					t.Errorf("got %d look-ups and %d messages, want %d and 1", got.Calls["twilio.list"], got.Messages, tt.looks)
				}
			})
		})
	}
}

// TestPolicies resends an SMS once where the policy says so, and never a third time.
func TestPolicies(t *testing.T) {
	onBoth(t, func(w *world) {
		w.config.OnUnknown = map[paylink.Channel]jobs.UnknownPolicy{paylink.SMS: jobs.ResendOnce}
		w.restart()
		w.fault(sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Action: sandbox.LoseAnswer})
		w.fault(sandbox.Rule{Provider: sandbox.Twilio, Op: "list", Action: sandbox.ListLag, Delay: 24 * time.Hour})
		w.send(1, ledgertest.Routes("sms"))
		w.settle()
		w.ends("unknown unpaid; open; sms held (perhaps twice)")
		if n := w.box.Counts().Messages; n != 2 {
			t.Errorf("got %d messages, want 2", n)
		}
	})
}

// TestFallback refuses a message for certain: the route's next channel follows, but not on those who said stop.
func TestFallback(t *testing.T) {
	code := func(n int) *sandbox.Rule {
		return &sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Contains: "whatsapp:", Action: sandbox.Refuse, Status: 400, Code: n}
	}
	for _, tt := range []struct {
		name, routes, phone string
		rule                *sandbox.Rule
		want                string
	}{
		{"not on WhatsApp (63003)", "whatsapp>sms", "", code(63003), "sent unpaid; open; whatsapp failed, sms accepted"},
		{"not on WhatsApp (63024)", "whatsapp>sms", "", code(63024), "sent unpaid; open; whatsapp failed, sms accepted"},
		{"blocked us on WhatsApp (63014)", "whatsapp>sms", "", code(63014), "failed unpaid; open; whatsapp failed"},
		{"not a number (21211)", "sms>email", "+15005550001", nil, "sent unpaid; open; sms failed, email accepted"},
		{"cannot be reached from here (21612)", "sms>email", "+15005550002", nil, "sent unpaid; open; sms failed, email accepted"},
		{"country not switched on (21408)", "sms>email", "+15005550003", nil, "sent unpaid; open; sms failed, email accepted"},
		{"said stop (21610)", "sms>email", "+15005550004", nil, "failed unpaid; open; sms failed"},
		{"a landline (21614)", "sms>email", "+15005550009", nil, "sent unpaid; open; sms failed, email accepted"},
		{"all the way", "whatsapp>sms>email", "+15005550009", nil, "sent unpaid; open; whatsapp failed, sms failed, email accepted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				if tt.rule != nil {
					w.fault(*tt.rule)
				}
				w.send(1, ledgertest.Routes(tt.routes), ledgertest.Each(func(r *paylink.Row) {
					if tt.phone != "" {
						r.Phone = tt.phone
					}
				}))
				w.settle()
				w.ends(tt.want)
			})
		})
	}
}

// TestStopIsRemembered sends to somebody who said stop, twice. The provider is asked once.
func TestStopIsRemembered(t *testing.T) {
	for _, tt := range []struct{ name, routes, phone, email, first, second string }{
		{"opted out", "sms", "+15005550004", "", "failed unpaid; open; sms failed", "suppressed unpaid; open; sms suppressed"},
		{"bounced", "email", "", "nobody@example.com", "failed unpaid; open; email failed", "suppressed unpaid; open; email suppressed"},
		{"bounced, and there is another way", "email>sms", "", "nobody@example.com", "sent unpaid; open; email failed, sms accepted",
			"sent unpaid; open; email suppressed, sms accepted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				address := ledgertest.Each(func(r *paylink.Row) {
					if tt.phone != "" {
						r.Phone = tt.phone
					}
					if tt.email != "" {
						r.Email = tt.email
					}
				})
				w.send(1, ledgertest.Routes(tt.routes), address)
				w.settle()
				w.ends(tt.first)
				before := w.box.Counts().Calls
				w.send(1, ledgertest.Routes(tt.routes), address)
				w.settle()
				w.ends(tt.second)
				after := w.box.Counts().Calls
				if tt.routes == "sms" && after["twilio.send"] != before["twilio.send"] || after["smtp.rcpt"] != before["smtp.rcpt"] {
					t.Errorf("the provider was asked again: %v, then %v", before, after)
				}
			})
		})
	}
}

// TestNoAddress leaves out what a channel needs.
func TestNoAddress(t *testing.T) {
	for _, tt := range []struct{ name, routes, want string }{
		{"none at all", "sms", "failed unpaid; open; sms failed"},
		{"for one of two routes", "sms+email", "sent unpaid; open; sms failed, email accepted"},
		{"for the first of a route", "whatsapp>email", "sent unpaid; open; email accepted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				id := w.send(1, ledgertest.Routes(tt.routes), ledgertest.Each(func(r *paylink.Row) { r.Phone = "" }))
				w.settle()
				w.ends(tt.want)
				if l := w.lines(id)[0]; l.Request.Dispatch == paylink.DispatchFailed && l.Request.Cause != paylink.CauseNoAddress {
					t.Errorf("got cause %s, want %s", l.Request.Cause, paylink.CauseNoAddress)
				}
			})
		})
	}
}

// TestDyingLink lets a link come close to its end before it is sent: the payer gets that of a new session, and the old
// one is dead at the provider before.
func TestDyingLink(t *testing.T) {
	onBoth(t, func(w *world) {
		w.send(1, ledgertest.Each(func(r *paylink.Row) { r.ExpiresIn = time.Hour }))
		w.ledger.watch(onceAt(after, "RecordSession", func(paylink.RequestID) { w.clock.Advance(55 * time.Minute) }))
		w.settle()
		w.ends("sent unpaid; open; email accepted")
		r := w.receivedBy(w.lines(1)[0].Contact)
		if r.sessions != 2 || len(r.live) != 1 || len(r.revealed) != 1 {
			t.Errorf("got %d sessions, %d live, %d of them shown; want 2, 1, 1", r.sessions, len(r.live), len(r.revealed))
		}
	})
}

// TestLinkThatIsBeingEnded asks for the end of a session between the claim of a message and its commit. A link that is on
// its way to its end is shown to nobody.
func TestLinkThatIsBeingEnded(t *testing.T) {
	onBoth(t, func(w *world) {
		w.send(1)
		w.ledger.watch(onceAt(before, "CommitMessage", func(id paylink.RequestID) {
			if _, err := w.raw.ExecContext(w.Context(), `UPDATE sessions SET ending = 'renewed', check_at = $2 WHERE request_id = $1`,
				int64(id), w.clock.Now().UnixMilli()); err != nil {
				w.Error(err)
			}
		}))
		w.settle()
		w.ends("sent unpaid; open; email accepted")
		r := w.receivedBy(w.lines(1)[0].Contact)
		if r.sessions != 2 || len(r.live) != 1 || len(r.revealed) != 1 || r.byChannel[paylink.Email] != 1 {
			t.Errorf("got %d sessions, %d live, %d of them shown in %d mails; want 2, 1, 1, 1", r.sessions, len(r.live), len(r.revealed), r.byChannel[paylink.Email])
		}
	})
}

// TestPayerAtTheBank renews a session while its payer is in the middle of paying: it is left alone for a quarter of an
// hour.
func TestPayerAtTheBank(t *testing.T) {
	onBoth(t, func(w *world) {
		w.send(1)
		w.settle()
		s := w.lines(1)[0].Session
		if _, err := w.box.Open(s.ProviderID); err != nil {
			t.Fatal(err)
		}
		if _, err := w.raw.ExecContext(t.Context(), `UPDATE sessions SET ending = 'renewed', check_at = $1`, w.clock.Now().UnixMilli()); err != nil {
			t.Fatal(err)
		}
		asked := w.clock.Now()
		w.settleUntil(func() bool { return w.box.Counts().Calls["ottu.expire"] > 0 })
		if waited := w.clock.Now().Sub(asked); waited < 15*time.Minute {
			t.Errorf("the session was ended after %v, want a quarter of an hour", waited)
		}
	})
}

// TestOutageOfTheLedger loses the ledger between the provider's answer and its record. The outcome is held until the
// ledger is back, even if the claim is taken for lost meanwhile.
func TestOutageOfTheLedger(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tries  int32
		during func(*world)
		want   string
		mails  int
	}{
		{"short", 3, func(*world) {}, "sent unpaid; open; email accepted", 1},
		{"longer than the lease", 20, func(w *world) {
			w.clock.Advance(20 * time.Second)
			if _, err := w.db.Sweep(w.Context(), paylink.SweepOptions{FirstCheck: jobs.FirstCheck}); err != nil {
				w.Error(err)
			}
		}, "sent unpaid; open; email accepted", 1},
		{"too long to be remembered", 1000, func(*world) {}, "sent unpaid; open; email accepted (perhaps twice)", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(w *world) {
				var slept time.Duration
				w.worker.SetSleep(func(d time.Duration) { slept += d })
				var failed, gone atomic.Int32
				w.ledger.watch(func(at moment, method string, _ paylink.RequestID) error {
					if at != before || method != "AcceptMessage" || gone.Load() > 0 {
						return nil
					}
					if failed.Add(1) > tt.tries {
						return nil
					}
					tt.during(w)
					if failed.Load() == 30 { // given up
						gone.Store(1)
					}
					return errAway
				})
				w.send(1)
				w.settle()
				w.ends(tt.want)
				if n := w.box.Counts().Mails; n != tt.mails {
					t.Errorf("got %d mails, want %d", n, tt.mails)
				}
				if tt.tries >= 1000 && slept < 90*time.Second {
					t.Errorf("the outcome was given up after %v, want some two minutes", slept)
				}
			})
		})
	}
}

// TestDeadHandlerHoldsNothing ends a handler without its defers having anything to say: what it held, it holds no longer
// than its lease.
func TestDeadHandlerHoldsNothing(t *testing.T) {
	onBoth(t, func(w *world) {
		w.send(3)
		w.ledger.watch(func(at moment, method string, id paylink.RequestID) error {
			if at == after && method == "ClaimMessage" && id.Row() == 2 {
				w.ledger.watch(nil)
				runtime.Goexit()
			}
			return nil
		})
		w.settle()
		ledgertest.Audit(t, w.db)
		if c := w.counts(1); c.Sent != 3 || w.box.Counts().Mails != 3 {
			t.Errorf("got %+v and %d mails, want 3 sent", c, w.box.Counts().Mails)
		}
	})
}
