package bounce_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"dunlin/notify/bounce"
	"dunlin/paylink"
)

func TestHardBounce(t *testing.T) {
	each(t, func(w *world) {
		id := w.send("bounce-later@customer.example", "email>sms")
		w.reported(1)
		w.work() // what the bounce made
		w.stands(id, "sent | email undelivered bad_address 550 5.1.1 | sms accepted")
		w.silenced("email bounced 550 5.1.1")
		if n := len(w.box.Messages()); n != 1 {
			w.Errorf("%d SMS were sent, want the fallback", n)
		}
		mail := w.box.Mails()[0]
		if token, ok := w.address.Token(mail.From); !ok || token == "" {
			w.Errorf("the mail was sent from %q", mail.From)
		}
		if got := mail.Header.Get("List-Unsubscribe"); !strings.HasPrefix(got, "<https://pay.example/p/") || !strings.HasSuffix(got, "/stop>") {
			w.Errorf("List-Unsubscribe: %q", got)
		}
		again := w.send("bounce-later@customer.example", "email")
		w.stands(again, "suppressed | email suppressed suppressed")
		if n := len(w.box.Mails()); n != 1 {
			w.Errorf("%d mails were sent, want none after the bounce", n)
		}
		if text := w.log.String(); strings.Contains(text, "customer.example") || strings.Contains(text, "bounces+") {
			w.Errorf("the log tells addresses:\n%s", text)
		}
		w.stored(1, "customer.example")
	})
}

// stored counts what was kept and looks for what must not be in it.
func (w *world) stored(want int, never string) {
	w.Helper()
	w.shaky.mu.Lock()
	defer w.shaky.mu.Unlock()
	if text := strings.Join(w.shaky.raw, "\n"); len(w.shaky.raw) != want || strings.Contains(text, never) {
		w.Errorf("stored, want %d without %q:\n%s", want, never, text)
	}
}

// TestOptOutIsNotFollowed: who stops emails does not get an SMS instead.
func TestOptOutIsNotFollowed(t *testing.T) {
	each(t, func(w *world) {
		if err := w.db.Suppress(w.Context(), paylink.Suppression{Channel: paylink.Email, Address: "payer@customer.example",
			Reason: paylink.SuppressedOptedOut, Source: "unsubscribe"}); err != nil {
			w.Fatal(err)
		}
		id := w.send("payer@customer.example", "email>sms")
		w.stands(id, "suppressed | email suppressed opted_out")
		if n := len(w.box.Messages()) + len(w.box.Mails()); n != 0 {
			w.Errorf("%d messages were sent", n)
		}
	})
}

func TestOtherReports(t *testing.T) {
	each(t, func(w *world) {
		for i, tt := range []struct{ to, want string }{
			{"delay-later@customer.example", "sent | email accepted"},
			{"bounce-later-5.7.1@customer.example", "failed | email undelivered account 550 5.7.1"},
			{"bounce-later-4.4.7@customer.example", "failed | email undelivered undelivered 451 4.4.7"},
			{"bounce-later-5.2.2@customer.example", "failed | email undelivered mailbox_full 550 5.2.2"},
		} {
			id := w.send(tt.to, "email")
			if r := w.reported(i + 1); r[i].Err != nil {
				w.Fatal(r[i].Err)
			}
			w.stands(id, tt.want)
		}
		w.silenced()
		if got, want := w.intake.Stats(), (bounce.Stats{Bounced: 3, Ours: 1, NoBounce: 1}); got != want {
			w.Errorf("counted %+v, want %+v", got, want)
		}
		if got := w.alerts.Load(); got != 1 {
			w.Errorf("operators were told %d times that our mail is refused, want once", got)
		}
	})
}

// client is a mail server that brings something by itself.
func (w *world) client() *smtp.Client {
	w.Helper()
	conn, err := net.Dial("tcp", w.listener.Addr().String())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { conn.Close() })
	return smtp.NewClientLMTP(conn)
}

// brings is the reply code of the listener to a mail; 250 = taken.
func (w *world) brings(to, mail string) int {
	w.Helper()
	c := w.client()
	defer c.Close()
	err := c.SendMail("", []string{to}, strings.NewReader(mail))
	if err == nil {
		return 250
	}
	if e, ok := err.(*smtp.SMTPError); ok {
		return e.Code
	}
	if e, ok := err.(smtp.LMTPDataError); ok {
		for _, one := range e {
			return one.Code
		}
	}
	w.Fatalf("bringing a mail: %v", err)
	return 0
}

func TestOnlyOurAddresses(t *testing.T) {
	each(t, func(w *world) {
		id := w.send("payer@customer.example", "email")
		from := w.box.Mails()[0].From
		report := dsn(payer + "Action: failed\nStatus: 5.1.1")
		for name, to := range map[string]string{
			"another token":  strings.Replace(from, from[9:11], "00", 1),
			"another key":    address(t, "guessed").ReturnPath("1.SECRET"),
			"no tag":         "bounces@mail.example.com",
			"another domain": "payer@customer.example",
		} {
			if got := w.brings(to, report); got != 550 {
				w.Errorf("%s: answered %d, want 550", name, got)
			}
		}
		w.stored(0, "@")
		w.stands(id, "sent | email accepted")
		if got := w.brings(address(t).ReturnPath("1.NOBODYS"), report); got != 250 { // signed, but no attempt of this ledger
			w.Errorf("a signed address of nobody: %d", got)
		}
		w.stands(id, "sent | email accepted")
		c := w.client()
		if err := c.Mail("", nil); err != nil {
			w.Fatal(err)
		}
		if err := c.Rcpt(from, nil); err != nil {
			w.Fatal(err)
		}
		if err := c.Rcpt(from, nil); err == nil {
			w.Error("two recipients were taken at once")
		}
		c.Close()
		if got := w.brings(from, strings.Repeat("a line that goes on and on\r\n", 50_000)); got != 552 {
			w.Errorf("a mail above the limit: %d, want 552", got)
		}
		if got := w.brings(strings.ToUpper(from), report); got != 250 {
			w.Errorf("an address in capitals: %d", got)
		}
		w.stands(id, "failed | email undelivered bad_address 5.1.1")
	})
}

func TestDoubled(t *testing.T) {
	each(t, func(w *world) {
		id := w.send("bounce-later@customer.example", "email>sms")
		w.reported(1)
		w.work()
		from := w.box.Mails()[0].From
		for range 3 {
			w.brings(from, dsn("Original-Recipient: rfc822;bounce-later@customer.example\nFinal-Recipient: rfc822; bounce-later@customer.example\n"+
				"Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 whatever words"))
		}
		w.work()
		w.stands(id, "sent | email undelivered bad_address 550 5.1.1 | sms accepted")
		w.stored(1, "customer.example")
		if got := w.intake.Stats(); got.Bounced != 1 || got.Doubled != 3 {
			w.Errorf("counted %+v", got)
		}
		w.brings(from, crlf("From: MAILER-DAEMON@mx.example\nSubject: failure notice\n\nHi. This is the qmail-send program.\n"))
		if got := w.intake.Stats(); got.Unreadable != 1 {
			w.Errorf("counted %+v, want one unreadable", got)
		}
		w.stored(2, "qmail")
	})
}

func TestLedgerAway(t *testing.T) {
	each(t, func(w *world) {
		id := w.send("payer@customer.example", "email>sms")
		from, report := w.box.Mails()[0].From, dsn(payer+"Action: failed\nStatus: 5.1.1")
		w.shaky.noStore.Store(true)
		if got := w.brings(from, report); got != 451 {
			w.Errorf("while nothing can be stored: %d, want 451", got)
		}
		w.shaky.noStore.Store(false)
		w.shaky.noApply.Store(true)
		if got := w.brings(from, report); got != 250 {
			w.Errorf("stored, not applied: %d, want 250", got)
		}
		w.stands(id, "sent | email accepted")
		w.shaky.noApply.Store(false)
		if err := w.intake.Sweep(w.Context(), -time.Hour); err != nil {
			w.Fatal(err)
		}
		w.work()
		w.stands(id, "sent | email undelivered bad_address 5.1.1 | sms accepted")
		if err := w.intake.Sweep(w.Context(), -time.Hour); err != nil {
			w.Fatal(err)
		}
		w.silenced("email bounced 5.1.1")
	})
}

// plainLedger is for tests of the wire alone.
type plainLedger struct{ taken chan string }

func (l plainLedger) StoreEvent(context.Context, string, string, []byte) (paylink.StoredEvent, bool, error) {
	return paylink.StoredEvent{ID: 1}, true, nil
}
func (l plainLedger) UnappliedEvents(context.Context, string, paylink.EventID, int) ([]paylink.StoredEvent, error) {
	return nil, nil
}
func (l plainLedger) CloseEvent(context.Context, paylink.EventID, paylink.EventOutcome) error {
	return nil
}
func (l plainLedger) ApplyReceipt(_ context.Context, _ paylink.EventID, r paylink.MessageReceipt) (paylink.EventOutcome, []paylink.Wake, error) {
	l.taken <- r.Token
	return paylink.EventApplied, nil, nil
}

func TestListen(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "bounces")
	for _, tt := range []struct{ name, where string }{{"SMTP", "smtp:127.0.0.1:0"}, {"LMTP", "127.0.0.1:0"}, {"socket", "unix:" + socket}} {
		t.Run(tt.name, func(t *testing.T) {
			taken := make(chan string, 1)
			if path, ok := strings.CutPrefix(tt.where, "unix:"); ok { // of a process that was killed
				dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
				if err != nil {
					t.Fatal(err)
				}
				dead.SetUnlinkOnClose(false)
				dead.Close()
			}
			b, err := bounce.Listen(tt.where, address(t), &bounce.Intake{Ledger: plainLedger{taken}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- b.Serve(ctx) }()
			idle, err := net.Dial(b.Addr().Network(), b.Addr().String()) // must not keep it from stopping
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close()
			conn, err := net.Dial(b.Addr().Network(), b.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			c := smtp.NewClientLMTP(conn)
			if tt.name == "SMTP" {
				c = smtp.NewClient(conn)
			}
			defer c.Close()
			if err := c.SendMail("", []string{address(t).ReturnPath("7.TOKEN")}, strings.NewReader(dsn(payer+"Action: failed\nStatus: 5.1.1"))); err != nil {
				t.Fatal(err)
			}
			if got := <-taken; got != "7.TOKEN" {
				t.Errorf("took a bounce of %q", got)
			}
			stop()
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{"", "127.0.0.1", "smtp:", "unix:relative", "unix:" + socket, "lmtp:127.0.0.1:0"} {
		if _, err := bounce.Listen(where, address(t), &bounce.Intake{}); err == nil {
			t.Errorf("%q was listened at", where)
		}
	}
}
