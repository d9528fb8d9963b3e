package sandbox_test

import (
	"errors"
	"fmt"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"dunlin/sandbox"

	"github.com/google/go-cmp/cmp"
)

// letter is a mail as Dunlin's look: text, HTML and an inline picture.
const letter = "From: =?utf-8?q?Caf=C3=A9?= <pay@example.test>\r\nTo: sara@example.test\r\nSubject: =?utf-8?b?2K/Zgdi5?=\r\n" +
	"Message-ID: <d-1.link@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=R\r\n\r\n" +
	"--R\r\nContent-Type: multipart/alternative; boundary=A\r\n\r\n" +
	"--A\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
	"Pay here:\r\nhttps://pay.example.test/p/abc?x=3D1.\r\n..dots\r\n\r\n" +
	"--A\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><head></head><body><script>alert(1)</script><img src=\"cid:qr.png\"><b>Pay</b></body></html>\r\n" +
	"--A--\r\n--R\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <qr.png>\r\n\r\niVBORw0KGgo=\r\n--R--\r\n"

// dial opens a session past EHLO.
func dial(t testing.TB, s *sandbox.Sandbox) *smtp.Client {
	t.Helper()
	c, err := smtp.Dial(s.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Hello("client.test"); err != nil {
		t.Fatal(err)
	}
	return c
}

// mail sends one mail and returns the first error and the verb that met it.
func mail(c *smtp.Client, to, body string) (verb string, err error) {
	if err := c.Mail("bounce@example.test"); err != nil {
		return "mail", err
	}
	if err := c.Rcpt(to); err != nil {
		return "rcpt", err
	}
	w, err := c.Data()
	if err != nil {
		return "data", err
	}
	if _, err := w.Write([]byte(body)); err != nil {
		return "body", err
	}
	if err := w.Close(); err != nil {
		return "dot", err
	}
	return "", nil
}

func reply(err error) string {
	var e *textproto.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%d %s", e.Code, strings.Fields(e.Msg)[0])
	}
	if err != nil {
		return "no reply"
	}
	return "ok"
}

func TestMailIsKept(t *testing.T) {
	s := start(t, sandbox.Config{})
	if _, err := mail(dial(t, s), "sara@example.test", letter); err != nil {
		t.Fatal(err)
	}
	m := s.Mails()[0]
	got := map[string]any{
		"from": m.From, "to": m.To, "id": m.MessageID, "subject": m.Subject, "text": m.Text, "links": m.Links,
		"html": strings.Contains(m.HTML, "<b>Pay</b>"), "header": m.Header.Get("Mime-Version"), "size": m.Size,
	}
	want := map[string]any{
		"from": "bounce@example.test", "to": "sara@example.test", "id": "d-1.link@example.test", "subject": "دفع",
		"text": "Pay here:\r\nhttps://pay.example.test/p/abc?x=1.\r\n..dots\r\n", "links": []string{"https://pay.example.test/p/abc?x=1"},
		"html": true, "header": "1.0", "size": len(letter),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mail (-want +got):\n%s", diff)
	}
}

func TestMailboxesWithAMeaning(t *testing.T) {
	tests := []struct {
		to   string
		want []string // of successive tries
	}{
		{"sara@example.test", []string{"ok", "ok"}},
		{"nobody@example.test", []string{"550 5.1.1", "550 5.1.1"}},
		{"Nobody.1@example.test", []string{"550 5.1.1"}},
		{"full.7@example.test", []string{"452 4.2.2", "452 4.2.2", "ok"}},
		{"deferred+x@example.test", []string{"451 4.7.1", "ok"}},
		{"no-domain", []string{"501 5.5.2"}},
	}
	s := start(t, sandbox.Config{})
	for _, tt := range tests {
		t.Run(tt.to, func(t *testing.T) {
			c := dial(t, s)
			for i, want := range tt.want {
				verb, err := mail(c, tt.to, letter)
				if got := reply(err); got != want || want != "ok" && verb != "rcpt" {
					t.Errorf("try %d: got %s at %s, want %s at rcpt", i+1, got, verb, want)
				}
				if err := c.Reset(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestSMTPFaults(t *testing.T) {
	type rule = sandbox.Rule
	tests := []struct {
		name      string
		rule      rule
		verb      string // that meets it
		want      string // the reply
		delivered int
		goesOn    bool // the connection lives
	}{
		{"refuse mail", rule{Op: "mail", Action: sandbox.Refuse, Status: 451, Enhanced: "4.7.0"}, "mail", "451 4.7.0", 0, true},
		{"refuse rcpt", rule{Op: "rcpt", Contains: "sara", Action: sandbox.Refuse, Status: 550, Enhanced: "5.7.1"}, "rcpt", "550 5.7.1", 0, true},
		{"refuse data", rule{Op: "data", Action: sandbox.Refuse}, "data", "451 4.3.0", 0, true},
		{"refuse dot", rule{Op: "dot", Action: sandbox.Refuse, Status: 554}, "dot", "554 5.3.0", 0, true},
		{"421 at mail", rule{Op: "mail", Action: sandbox.Refuse, Status: 421}, "mail", "421 4.3.0", 0, false},
		{"421 at rcpt", rule{Op: "rcpt", Action: sandbox.Refuse, Status: 421}, "rcpt", "421 4.3.0", 0, false},
		{"421 at data", rule{Op: "data", Action: sandbox.Refuse, Status: 421}, "data", "421 4.3.0", 0, false},
		{"drop at mail", rule{Op: "mail", Action: sandbox.FailBefore}, "mail", "no reply", 0, false},
		{"drop at rcpt", rule{Op: "rcpt", Action: sandbox.FailBefore}, "rcpt", "no reply", 0, false},
		{"drop at data", rule{Op: "data", Action: sandbox.FailBefore}, "data", "no reply", 0, false},
		{"drop after the dot, not taken", rule{Op: "dot", Action: sandbox.FailBefore}, "dot", "no reply", 0, false},
		{"drop after the dot, taken", rule{Op: "dot", Action: sandbox.LoseAnswer}, "dot", "no reply", 1, false},
		{"slow dot", rule{Op: "dot", Action: sandbox.Slow, Delay: time.Millisecond}, "", "ok", 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, sandbox.Config{})
			tt.rule.Provider, tt.rule.Times = sandbox.SMTP, 1
			addFault(t, s, tt.rule)
			c := dial(t, s)
			verb, err := mail(c, "sara@example.test", letter)
			if got := reply(err); got != tt.want || verb != tt.verb {
				t.Errorf("got %s at %q, want %s at %q", got, verb, tt.want, tt.verb)
			}
			if got := len(s.Mails()); got != tt.delivered {
				t.Errorf("delivered: got %d, want %d", got, tt.delivered)
			}
			err = c.Reset()
			if (err == nil) != tt.goesOn {
				t.Fatalf("RSET afterwards: %v, want the connection to live: %v", err, tt.goesOn)
			}
			if !tt.goesOn {
				return
			}
			if verb, err := mail(c, "sara@example.test", letter); err != nil {
				t.Errorf("the next mail: %v at %s", err, verb)
			}
			if got := len(s.Mails()); got != tt.delivered+1 {
				t.Errorf("delivered with the next mail: got %d, want %d", got, tt.delivered+1)
			}
		})
	}
}

func TestSMTPFaultsAroundMails(t *testing.T) {
	type rule = sandbox.Rule
	refuse := func(op string) rule {
		return rule{Provider: sandbox.SMTP, Op: op, Action: sandbox.Refuse, Status: 421}
	}
	drop := func(op string) rule { return rule{Provider: sandbox.SMTP, Op: op, Action: sandbox.FailBefore} }
	t.Run("refused connection", func(t *testing.T) {
		s := start(t, sandbox.Config{})
		addFault(t, s, refuse("connect"))
		if _, err := smtp.Dial(s.SMTPAddr()); reply(err) != "421 4.3.0" {
			t.Errorf("got %s, want 421", reply(err))
		}
	})
	t.Run("dropped connection", func(t *testing.T) {
		s := start(t, sandbox.Config{})
		addFault(t, s, drop("connect"))
		if _, err := smtp.Dial(s.SMTPAddr()); reply(err) != "no reply" {
			t.Errorf("got %s, want no reply", reply(err))
		}
	})
	t.Run("refused EHLO", func(t *testing.T) {
		s := start(t, sandbox.Config{})
		addFault(t, s, refuse("ehlo"))
		c, err := smtp.Dial(s.SMTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Hello("client.test"); err == nil {
			t.Error("EHLO was accepted")
		}
	})
	for _, op := range []string{"rset", "quit"} {
		t.Run("drop at "+op, func(t *testing.T) {
			s := start(t, sandbox.Config{})
			addFault(t, s, drop(op))
			c := dial(t, s)
			if _, err := mail(c, "sara@example.test", letter); err != nil {
				t.Fatal(err)
			}
			verb := map[string]func() error{"rset": c.Reset, "quit": c.Quit}[op]
			if err := verb(); reply(err) != "no reply" {
				t.Errorf("got %s, want no reply", reply(err))
			}
			if got := len(s.Mails()); got != 1 {
				t.Errorf("delivered: got %d, want 1", got)
			}
		})
	}
}

func TestSMTPHang(t *testing.T) {
	for _, op := range []string{"connect", "mail", "data", "dot", "rset"} {
		t.Run("released at "+op, func(t *testing.T) {
			s := start(t, sandbox.Config{})
			addFault(t, s, sandbox.Rule{Name: "h", Provider: sandbox.SMTP, Op: op, Action: sandbox.Hang, Times: 1})
			sent := make(chan error)
			go func() {
				c, err := smtp.Dial(s.SMTPAddr())
				if err == nil {
					defer c.Close()
					_, err = mail(c, "sara@example.test", letter)
				}
				if err == nil {
					err = c.Reset()
				}
				sent <- err
			}()
			wait(t, s, "the hang", func() bool { return s.Hits("h") == 1 })
			s.Release("h")
			if err := <-sent; err != nil {
				t.Errorf("after the release: %v", err)
			}
			if got := len(s.Mails()); got != 1 {
				t.Errorf("delivered: got %d, want 1", got)
			}
		})
	}
	for name, done := range map[string]bool{"left, not taken": false, "left, taken": true} {
		t.Run(name, func(t *testing.T) {
			s := start(t, sandbox.Config{})
			addFault(t, s, sandbox.Rule{Name: "h", Provider: sandbox.SMTP, Op: "dot", Action: sandbox.Hang, Done: done, Times: 1})
			c := dial(t, s)
			sent := make(chan error)
			go func() {
				_, err := mail(c, "sara@example.test", letter)
				sent <- err
			}()
			wait(t, s, "the hang", func() bool { return s.Hits("h") == 1 })
			c.Close()
			if err := <-sent; err == nil {
				t.Error("the client got an answer")
			}
			if want := map[bool]int{true: 1}[done]; want == 1 {
				wait(t, s, "the mail", func() bool { return len(s.Mails()) == want })
			}
			if _, err := mail(dial(t, s), "other@example.test", letter); err != nil {
				t.Fatal(err)
			}
			if got, want := len(s.Mails()), map[bool]int{true: 2, false: 1}[done]; got != want {
				t.Errorf("delivered with one more mail: got %d, want %d", got, want)
			}
		})
	}
}

func TestSMTPLate(t *testing.T) {
	s := start(t, sandbox.Config{})
	addFault(t, s, sandbox.Rule{Name: "l", Provider: sandbox.SMTP, Op: "dot", Action: sandbox.Late, Times: 1})
	if verb, err := mail(dial(t, s), "sara@example.test", letter); reply(err) != "no reply" || verb != "dot" {
		t.Fatalf("got %v at %s, want no reply at dot", err, verb)
	}
	if got := len(s.Mails()); got != 0 {
		t.Fatalf("before the release: got %d mails, want 0", got)
	}
	s.Release("l")
	wait(t, s, "the late mail", func() bool { return len(s.Mails()) == 1 })
}

func TestSMTPRate(t *testing.T) {
	c := newClock()
	s := start(t, sandbox.Config{Rate: 1, Now: c.now})
	conn := dial(t, s)
	if _, err := mail(conn, "a@example.test", letter); err != nil {
		t.Fatal(err)
	}
	if verb, err := mail(conn, "b@example.test", letter); reply(err) != "451 4.7.1" || verb != "mail" {
		t.Errorf("second in a second: got %v at %s, want 451 4.7.1 at mail", err, verb)
	}
}

func TestDuplicates(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		t.Run(fmt.Sprintf("quiet %v", quiet), func(t *testing.T) {
			s := start(t, sandbox.Config{Quiet: quiet})
			c := dial(t, s)
			for _, to := range []string{"sara@example.test", "sara@example.test", "omar@example.test"} {
				if _, err := mail(c, to, letter); err != nil {
					t.Fatal(err)
				}
			}
			reminder := strings.Replace(letter, "d-1.link", "d-1.reminder", 1)
			if _, err := mail(c, "sara@example.test", reminder); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				send(t, s, sms("+96550001234"))
			}
			send(t, s, sms("+96550001235"))
			link := "https://pay.example.test/p/abc?x=1"
			want := []sandbox.Duplicate{
				{Kind: sandbox.SameMailLink, To: "sara@example.test", Mark: link, Copies: 3},
				{Kind: sandbox.SameMessageID, To: "sara@example.test", Mark: "d-1.link@example.test", Copies: 2},
				{Kind: sandbox.SameMessage, To: "+96550001234", Mark: "https://pay.example.test/p/abc", Copies: 3},
			}
			if diff := cmp.Diff(want, s.Duplicates()); diff != "" {
				t.Errorf("duplicates (-want +got):\n%s", diff)
			}
			n := s.Counts()
			if n.Mails != 4 || n.Messages != 4 {
				t.Errorf("counts: got %d mails, %d messages, want 4 and 4", n.Mails, n.Messages)
			}
			if kept := len(s.Mails()) + len(s.Messages()); quiet && kept != 0 || !quiet && kept != 8 {
				t.Errorf("kept: got %d", kept)
			}
		})
	}
}

func TestOldBodiesAreDropped(t *testing.T) {
	s := start(t, sandbox.Config{Keep: 1})
	c := dial(t, s)
	for range 2 {
		if _, err := mail(c, "sara@example.test", letter); err != nil {
			t.Fatal(err)
		}
		send(t, s, sms("+96550001234"))
	}
	if m := s.Mails(); m[0].Text != "" || m[0].HTML != "" || m[0].MessageID == "" || m[1].Text == "" {
		t.Errorf("mails: the first should have lost its body only, the second nothing")
	}
	if m := s.Messages(); m[0].Body != "" || m[1].Body == "" {
		t.Errorf("messages: got bodies %q and %q, want the second's only", m[0].Body, m[1].Body)
	}
}
