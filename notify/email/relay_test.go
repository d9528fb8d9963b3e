package email_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"dunlin/notify"
	"dunlin/notify/email"
	"dunlin/paylink"
)

// The payer of all tests; no error text may contain any part of it.
const (
	payer  = "payer.person@customer.example"
	sender = "Dunlin School <billing@school.example>"
	token  = "attempt-token-1"
)

func outgoing() notify.Outgoing {
	return notify.Outgoing{
		Channel:      paylink.Email,
		To:           payer,
		ToName:       "Payer Person",
		Subject:      "Your invoice",
		Text:         "Please pay: https://pay.example/p/abc\n.\nA line that begins with a dot is above.\n",
		HTML:         "<p>Please <a href=\"https://pay.example/p/abc\">pay</a></p>\n",
		Language:     "en",
		MessageID:    "m-12.link@school.example",
		Date:         time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC),
		Boundary:     "b0123456789abcdef",
		AttemptToken: token,
	}
}

// inbox is a mail server in this process: a real SMTP implementation that stores what it accepts.
type inbox struct {
	url string
	// onMail, onRcpt and onData refuse when they return an error; they are set before the first use.
	onMail, onRcpt, onData func() error
	password               string

	mu          sync.Mutex
	mails       []stored // under mu
	connections int      // under mu
}

type stored struct{ from, to, body string }

func newInbox(t testing.TB, configure func(*inbox, *smtp.Server)) *inbox {
	t.Helper()
	box := &inbox{}
	server := smtp.NewServer(box)
	server.Domain = "mx.test"
	server.ErrorLog = quiet{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	box.url = "smtp://" + l.Addr().String() + "?tls=none"
	if configure != nil {
		configure(box, server)
	}
	serve(t, server, l)
	return box
}

// tlsInbox is an inbox that speaks TLS from the first byte.
func tlsInbox(t testing.TB, config *tls.Config, password string) *inbox {
	t.Helper()
	box := &inbox{password: password}
	server := smtp.NewServer(box)
	server.ErrorLog = quiet{}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	box.url = "smtp://" + l.Addr().String()
	serve(t, server, l)
	return box
}

func serve(t testing.TB, server *smtp.Server, l net.Listener) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func (b *inbox) NewSession(*smtp.Conn) (smtp.Session, error) {
	b.mu.Lock()
	b.connections++
	b.mu.Unlock()
	return &session{box: b}, nil
}

func (b *inbox) stored() []stored {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]stored(nil), b.mails...)
}

type session struct {
	box *inbox
	at  stored
}

func ask(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

func (s *session) Reset()        { s.at = stored{} }
func (s *session) Logout() error { return nil }
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.at.from = from
	return ask(s.box.onMail)
}
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.at.to = to
	return ask(s.box.onRcpt)
}
func (s *session) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := ask(s.box.onData); err != nil {
		return err
	}
	s.at.body = string(body)
	s.box.mu.Lock()
	s.box.mails = append(s.box.mails, s.at)
	s.box.mu.Unlock()
	return nil
}
func (s *session) AuthMechanisms() []string {
	if s.box.password == "" {
		return nil
	}
	return []string{sasl.Plain}
}
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "user" || password != s.box.password {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

// certificate returns TLS settings for a server at 127.0.0.1 and for a client that trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	client = s.Client().Transport.(*http.Transport).TLSClientConfig
	return &tls.Config{Certificates: s.TLS.Certificates}, client
}

// wire is one conversation with a relay that follows a script.
type wire struct {
	net.Conn
	r *bufio.Reader
}

func (w *wire) say(line string) { _, _ = io.WriteString(w, line+"\r\n") }

// read returns the next command, or "" at the end.
func (w *wire) read() string {
	line, _ := w.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n")
}

// greet goes through the greeting and EHLO.
func (w *wire) greet() {
	w.say("220 mx.test ready")
	w.read()
	w.say("250-mx.test")
	w.say("250 8BITMIME")
}

// until answers every command with 250 (354 to DATA) up to the one that begins with verb, which it leaves unanswered.
func (w *wire) until(verb string) {
	for {
		line := w.read()
		switch {
		case line == "" || strings.HasPrefix(line, verb):
			return
		case line == "DATA":
			w.say("354 go on")
			if verb == "." {
				w.body()
				return
			}
			w.body()
			w.say("250 2.0.0 queued as X")
		case line == "QUIT":
			w.say("221 bye")
			return
		default:
			w.say("250 ok")
		}
	}
}

// body reads up to the final dot and reports whether it came.
func (w *wire) body() bool {
	for {
		line, err := w.r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			return true
		}
	}
}

// scripted listens and gives each connection, counted from 1, to the script; the connection ends with it.
func scripted(t *testing.T, script func(n int, w *wire)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				script(n, &wire{Conn: c, r: bufio.NewReader(c)})
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return "smtp://" + l.Addr().String() + "?tls=none"
}

func newSender(t testing.TB, c email.Config) *email.Sender {
	t.Helper()
	if c.From == "" {
		c.From = sender
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	s, err := email.New(c)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// committed is a commit that counts.
type committed struct {
	mu    sync.Mutex
	times int
	hash  [32]byte
	err   error
}

func (c *committed) commit(_ context.Context, hash [32]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times++
	c.hash = hash
	return c.err
}

func proceed(context.Context, [32]byte) error { return nil }

// failure returns the classification of err, which must not tell anything about the payer or the message.
func failure(t *testing.T, err error) paylink.Failure {
	t.Helper()
	f, ok := errors.AsType[*paylink.Failure](err)
	if !ok {
		t.Fatalf("error is no *paylink.Failure: %v", err)
	}
	for _, secret := range []string{payer, "payer.person", "customer", "Payer", "billing@", token, "abc", "secret"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error text tells %q: %v", secret, err)
		}
	}
	return *f
}

func from(t testing.TB) *mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(sender)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
