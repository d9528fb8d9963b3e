package email_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"dunlin/notify"
	"dunlin/notify/email"
	"dunlin/paylink"
)

func TestSendDelivers(t *testing.T) {
	box := newInbox(t, nil)
	s := newSender(t, email.Config{URL: box.url, ReturnPath: func(token string) string { return "bounce+" + token + "@school.example" }})
	m := outgoing()
	var c committed
	got, err := s.Send(t.Context(), m, c.commit)
	if err != nil {
		t.Fatalf("Send: %v", err)
	}
	if got.State != paylink.MessageAccepted || got.Ref == "" || len(got.Ref) > 200 {
		t.Errorf("receipt = %+v", got)
	}
	body := render(t, m)
	want := []stored{{from: "bounce+" + token + "@school.example", to: payer, body: string(body)}}
	if diff := cmp.Diff(want, box.stored(), cmp.AllowUnexported(stored{})); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if c.times != 1 || c.hash != sha256.Sum256(body) {
		t.Errorf("commit was called %d times with %x", c.times, c.hash)
	}
}

func TestReturnPathIsTheSenderUnlessSaidOtherwise(t *testing.T) {
	box := newInbox(t, nil)
	if _, err := newSender(t, email.Config{URL: box.url}).Send(t.Context(), outgoing(), proceed); err != nil {
		t.Fatal(err)
	}
	if got := box.stored()[0].from; got != "billing@school.example" {
		t.Errorf("return path = %q", got)
	}
	s := newSender(t, email.Config{URL: box.url, ReturnPath: func(string) string { return "a b@c" }})
	_, err := s.Send(t.Context(), outgoing(), proceed)
	if f := failure(t, err); f.Scope != paylink.ScopeAccount || f.Kind != paylink.Temporary {
		t.Errorf("bad return path: %+v", f)
	}
}

// TestRefusals has a row for each answer of a relay at each command.
func TestRefusals(t *testing.T) {
	reply := func(code int, enhanced smtp.EnhancedCode) func() error {
		return func() error {
			return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: "<" + payer + "> was refused, secret abc"}
		}
	}
	bare := smtp.NoEnhancedCode
	temp, perm := paylink.Temporary, paylink.Permanent
	row, provider, account := paylink.ScopeRow, paylink.ScopeProvider, paylink.ScopeAccount
	tests := []struct {
		name string
		at   string
		say  func() error
		want paylink.Failure
	}{
		{"451 at MAIL", "mail", reply(451, smtp.EnhancedCode{4, 3, 0}), paylink.Failure{Kind: temp, Scope: provider, Cause: paylink.CauseUnavailable, Code: "451 4.3.0"}},
		{"421 too fast", "mail", reply(421, smtp.EnhancedCode{4, 7, 0}), paylink.Failure{Kind: temp, Scope: provider, Cause: paylink.CauseRateLimited, Code: "421 4.7.0"}},
		{"530 at MAIL", "mail", reply(530, smtp.EnhancedCode{5, 7, 0}), paylink.Failure{Kind: temp, Scope: account, Cause: paylink.CauseAccount, Code: "530 5.7.0"}},
		{"sender unknown", "mail", reply(550, smtp.EnhancedCode{5, 1, 8}), paylink.Failure{Kind: temp, Scope: account, Cause: paylink.CauseAccount, Code: "550 5.1.8"}},
		{"too big at MAIL", "mail", reply(552, smtp.EnhancedCode{5, 3, 4}), paylink.Failure{Kind: perm, Scope: row, Cause: paylink.CauseRejectedContent, Code: "552 5.3.4"}},

		{"no such user", "rcpt", reply(550, smtp.EnhancedCode{5, 1, 1}), paylink.Failure{Kind: perm, Scope: row, Cause: paylink.CauseBadAddress, Code: "550 5.1.1", Suppress: true}},
		{"no such domain", "rcpt", reply(550, smtp.EnhancedCode{5, 1, 2}), paylink.Failure{Kind: perm, Scope: row, Cause: paylink.CauseBadAddress, Code: "550 5.1.2", Suppress: true}},
		{"our address at RCPT", "rcpt", reply(550, smtp.EnhancedCode{5, 1, 8}), paylink.Failure{Kind: temp, Scope: account, Cause: paylink.CauseAccount, Code: "550 5.1.8"}},
		{"550 alone", "rcpt", reply(550, bare), paylink.Failure{Kind: perm, Scope: row, Cause: paylink.CauseBadAddress, Code: "550"}},
		{"disabled", "rcpt", reply(550, smtp.EnhancedCode{5, 2, 1}), paylink.Failure{Kind: perm, Scope: row, Cause: paylink.CauseMailboxFull, Suppress: true, Code: "550 5.2.1"}},
		{"full for good", "rcpt", reply(552, smtp.EnhancedCode{5, 2, 2}), paylink.Failure{Kind: perm, Scope: row, Cause: paylink.CauseMailboxFull, Code: "552 5.2.2"}},
		{"full for now", "rcpt", reply(452, smtp.EnhancedCode{4, 2, 2}), paylink.Failure{Kind: temp, Scope: row, Cause: paylink.CauseMailboxFull, Code: "452 4.2.2"}},
		{"452 alone", "rcpt", reply(452, bare), paylink.Failure{Kind: temp, Scope: row, Cause: paylink.CauseUnavailable, Code: "452"}},
		{"greylisted", "rcpt", reply(451, smtp.EnhancedCode{4, 7, 1}), paylink.Failure{Kind: temp, Scope: row, Cause: paylink.CauseRateLimited, Code: "451 4.7.1"}},
		{"policy", "rcpt", reply(554, smtp.EnhancedCode{5, 7, 1}), paylink.Failure{Kind: temp, Scope: account, Cause: paylink.CauseAccount, Code: "554 5.7.1"}},
		{"unknown in other words", "rcpt", reply(550, smtp.EnhancedCode{5, 4, 1}), paylink.Failure{Kind: perm, Scope: row, Cause: paylink.CauseBadAddress, Code: "550 5.4.1"}},
		{"class contradicts", "rcpt", reply(550, smtp.EnhancedCode{4, 1, 1}), paylink.Failure{Kind: perm, Scope: row, Cause: paylink.CauseBadAddress, Code: "550"}},
		{"421 at RCPT", "rcpt", reply(421, smtp.EnhancedCode{4, 3, 2}), paylink.Failure{Kind: temp, Scope: provider, Cause: paylink.CauseUnavailable, Code: "421 4.3.2"}},

		{"451 to the dot", "data", reply(451, smtp.EnhancedCode{4, 3, 0}), paylink.Failure{Kind: temp, Scope: row, Cause: paylink.CauseUnavailable, Code: "451 4.3.0"}},
		{"554 to the dot", "data", reply(554, bare), paylink.Failure{Kind: perm, Scope: row, Cause: paylink.CauseRejectedContent, Code: "554"}},
		{"550 to the dot", "data", reply(550, smtp.EnhancedCode{5, 0, 0}), paylink.Failure{Kind: perm, Scope: row, Cause: paylink.CauseRefused, Code: "550 5.0.0"}},
		{"too big", "data", reply(552, smtp.EnhancedCode{5, 3, 4}), paylink.Failure{Kind: perm, Scope: row, Cause: paylink.CauseRejectedContent, Code: "552 5.3.4"}},
		{"reputation", "data", reply(550, smtp.EnhancedCode{5, 7, 1}), paylink.Failure{Kind: temp, Scope: account, Cause: paylink.CauseAccount, Code: "550 5.7.1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refuse := true
			say := func() error {
				if refuse {
					return tt.say()
				}
				return nil
			}
			box := newInbox(t, func(b *inbox, _ *smtp.Server) {
				switch tt.at {
				case "mail":
					b.onMail = say
				case "rcpt":
					b.onRcpt = say
				case "data":
					b.onData = say
				}
			})
			s := newSender(t, email.Config{URL: box.url, Pool: 1})
			_, err := s.Send(t.Context(), outgoing(), proceed)
			got := failure(t, err)
			got.Detail = ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
			if n := len(box.stored()); n != 0 {
				t.Errorf("%d mails were stored", n)
			}
			refuse = false
			if _, err := s.Send(t.Context(), outgoing(), proceed); err != nil {
				t.Errorf("the next mail: %v", err)
			}
		})
	}
}

func TestRefusedBySize(t *testing.T) {
	box := newInbox(t, func(_ *inbox, s *smtp.Server) { s.MaxMessageBytes = 500 })
	s := newSender(t, email.Config{URL: box.url})
	var c committed
	_, err := s.Send(t.Context(), outgoing(), c.commit)
	f := failure(t, err)
	if f.Kind != paylink.Permanent || f.Cause != paylink.CauseRejectedContent || c.times != 0 {
		t.Errorf("got %+v, committed %d times", f, c.times)
	}
}

func TestCommitErrorDeliversNothing(t *testing.T) {
	box := newInbox(t, nil)
	s := newSender(t, email.Config{URL: box.url, Pool: 1})
	no := errors.New("the lease is gone")
	if _, err := s.Send(t.Context(), outgoing(), (&committed{err: no}).commit); err != no {
		t.Fatalf("err = %v, want commit's own, unchanged", err)
	}
	if _, err := s.Send(t.Context(), outgoing(), proceed); err != nil {
		t.Fatalf("the next mail: %v", err)
	}
	if n := len(box.stored()); n != 1 {
		t.Errorf("%d mails were stored, want the second only", n)
	}
}

// TestBrokenConversations has a row for each point at which a relay may vanish, hang or stammer.
func TestBrokenConversations(t *testing.T) {
	hang := func(w *wire) { w.read() }
	tests := []struct {
		name      string
		script    func(w *wire)
		timeout   time.Duration // 0 = long
		kind      paylink.Kind
		scope     paylink.Scope
		committed int
	}{
		{"gone at once", func(w *wire) {}, 0, paylink.Temporary, paylink.ScopeProvider, 0},
		{"greeting 554", func(w *wire) { w.say("554 5.7.1 blocked"); w.read() }, 0, paylink.Temporary, paylink.ScopeAccount, 0},
		{"greeting 421", func(w *wire) { w.say("421 busy"); w.read() }, 0, paylink.Temporary, paylink.ScopeProvider, 0},
		{"greeting is no SMTP", func(w *wire) { w.say("HTTP/1.1 400 Bad Request"); w.read() }, 0, paylink.Temporary, paylink.ScopeProvider, 0},
		{"hang at greeting", hang, 50 * time.Millisecond, paylink.Temporary, paylink.ScopeProvider, 0},
		{"gone at EHLO", func(w *wire) { w.say("220 hi"); w.read() }, 0, paylink.Temporary, paylink.ScopeProvider, 0},
		{"gone at MAIL", func(w *wire) { w.greet(); w.until("MAIL") }, 0, paylink.Temporary, paylink.ScopeProvider, 0},
		{"gone at RCPT", func(w *wire) { w.greet(); w.until("RCPT") }, 0, paylink.Temporary, paylink.ScopeProvider, 0},
		{"gone at DATA", func(w *wire) { w.greet(); w.until("DATA") }, 0, paylink.Temporary, paylink.ScopeProvider, 0},
		{"hang at RCPT", func(w *wire) { w.greet(); w.until("RCPT"); hang(w) }, 50 * time.Millisecond, paylink.Temporary, paylink.ScopeProvider, 0},
		{"gone after the dot", func(w *wire) { w.greet(); w.until(".") }, 0, paylink.Unknown, paylink.ScopeRow, 1},
		{"nonsense after the dot", func(w *wire) { w.greet(); w.until("."); w.say("what?") }, 0, paylink.Unknown, paylink.ScopeRow, 1},
		{"250 too late", func(w *wire) { w.greet(); w.until("."); hang(w) }, 50 * time.Millisecond, paylink.Unknown, paylink.ScopeRow, 1},
		{"421 to the dot", func(w *wire) { w.greet(); w.until("."); w.say("421 4.3.2 shutting down") }, 0, paylink.Temporary, paylink.ScopeProvider, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSender(t, email.Config{URL: scripted(t, func(_ int, w *wire) { tt.script(w) }), Timeout: tt.timeout})
			var c committed
			_, err := s.Send(t.Context(), outgoing(), c.commit)
			f := failure(t, err)
			if f.Kind != tt.kind || f.Scope != tt.scope || c.times != tt.committed {
				t.Errorf("got %v, committed %d times; want %s, %s, %d", &f, c.times, tt.kind, tt.scope, tt.committed)
			}
			if f.Kind == paylink.Unknown && f.Cause != paylink.CauseLostAnswer {
				t.Errorf("cause = %s", f.Cause)
			}
		})
	}
}

func TestAnswersOtherThan250AreSuccess(t *testing.T) {
	for answer, ref := range map[string]string{"251 2.0.0 fine": "2.0.0 fine", "250-2.0.0 Ok\r\n250 queued  as 4ABC": "2.0.0 Ok queued as 4ABC"} {
		url := scripted(t, func(_ int, w *wire) { w.greet(); w.until("."); w.say(answer); w.read() })
		got, err := newSender(t, email.Config{URL: url}).Send(t.Context(), outgoing(), proceed)
		if err != nil || got.Ref != ref {
			t.Errorf("%q: %+v, %v; want ref %q", answer, got, err, ref)
		}
	}
}

func TestUnreachable(t *testing.T) {
	s := newSender(t, email.Config{URL: "smtp://127.0.0.1:1?tls=none"})
	_, err := s.Send(t.Context(), outgoing(), proceed)
	if f := failure(t, err); f.Kind != paylink.Temporary || f.Scope != paylink.ScopeProvider || f.Cause != paylink.CauseUnavailable {
		t.Errorf("got %+v", f)
	}
}

// TestContextBreaksOff cancels at a point that the relay announces.
func TestContextBreaksOff(t *testing.T) {
	for _, tt := range []struct {
		verb string
		kind paylink.Kind
	}{{"MAIL", paylink.Temporary}, {"RCPT", paylink.Temporary}, {"DATA", paylink.Temporary}, {".", paylink.Unknown}} {
		t.Run(tt.verb, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			url := scripted(t, func(_ int, w *wire) { w.greet(); w.until(tt.verb); cancel(); w.read() })
			_, err := newSender(t, email.Config{URL: url}).Send(ctx, outgoing(), proceed)
			if f := failure(t, err); f.Kind != tt.kind || !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %s and context.Canceled", err, tt.kind)
			}
		})
	}
	t.Run("greeting", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		url := scripted(t, func(_ int, w *wire) { cancel(); w.read() })
		_, err := newSender(t, email.Config{URL: url}).Send(ctx, outgoing(), proceed)
		if f := failure(t, err); f.Kind != paylink.Temporary || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("commit", func(t *testing.T) {
		box := newInbox(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := newSender(t, email.Config{URL: box.url}).Send(ctx, outgoing(), func(context.Context, [32]byte) error { cancel(); return nil })
		if f := failure(t, err); f.Kind != paylink.Temporary || len(box.stored()) != 0 {
			t.Errorf("got %v, %d stored; want nothing sent", err, len(box.stored()))
		}
	})
}

func TestManyInParallel(t *testing.T) {
	box := newInbox(t, nil)
	s := newSender(t, email.Config{URL: box.url, Pool: 8, MaxPerConn: 7})
	const workers, each = 8, 50
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range each {
				if _, err := s.Send(t.Context(), outgoing(), proceed); err != nil {
					t.Errorf("Send: %v", err)
				}
			}
		})
	}
	all.Wait()
	want := string(render(t, outgoing()))
	mails := box.stored()
	if len(mails) != workers*each {
		t.Fatalf("%d mails arrived, want %d", len(mails), workers*each)
	}
	for _, m := range mails {
		if m.body != want {
			t.Fatal("a mail arrived changed")
		}
	}
}

var _ notify.Sender = (*email.Sender)(nil)
