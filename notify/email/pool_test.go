package email_test

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"dunlin/notify/email"
	"dunlin/paylink"
)

// clock is a clock that tests turn.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func send(t *testing.T, s *email.Sender) {
	t.Helper()
	if _, err := s.Send(t.Context(), outgoing(), proceed); err != nil {
		t.Fatalf("Send: %v", err)
	}
}

func TestConnectionsAreKeptAndReplaced(t *testing.T) {
	box := newInbox(t, nil)
	c := &clock{at: time.Unix(1e9, 0)}
	s := newSender(t, email.Config{URL: box.url, MaxPerConn: 3, MaxIdle: time.Minute, Now: c.now})
	count := func(want int, why string) {
		t.Helper()
		box.mu.Lock()
		defer box.mu.Unlock()
		if box.connections != want {
			t.Errorf("%d connections, want %d: %s", box.connections, want, why)
		}
	}
	for range 3 {
		send(t, s)
	}
	count(1, "kept between mails")
	send(t, s)
	count(2, "replaced after three mails")
	c.add(30 * time.Second)
	send(t, s)
	count(2, "kept while idle for less than a minute")
	c.add(time.Minute)
	send(t, s)
	count(3, "replaced after a minute")
}

// TestBusyConnectionsSpendNoExtraRoundTrips reads what goes over the wire for two mails and a refused one.
func TestBusyConnectionsSpendNoExtraRoundTrips(t *testing.T) {
	var mu sync.Mutex
	var verbs []string
	url := scripted(t, func(_ int, w *wire) {
		w.greet()
		for rcpt := 0; ; {
			line := w.read()
			if line == "" {
				return
			}
			verb, _, _ := strings.Cut(line, " ")
			mu.Lock()
			verbs = append(verbs, verb)
			mu.Unlock()
			if verb == "RCPT" {
				if rcpt++; rcpt == 2 {
					w.say("550 5.1.1 no")
					continue
				}
			}
			if verb == "DATA" {
				w.say("354 go")
				w.body()
			}
			w.say("250 ok")
		}
	})
	c := &clock{at: time.Unix(1e9, 0)}
	s := newSender(t, email.Config{URL: url, Now: c.now})
	send(t, s)
	if _, err := s.Send(t.Context(), outgoing(), proceed); err == nil {
		t.Fatal("the second mail was not refused")
	}
	send(t, s)
	c.add(2 * time.Second)
	send(t, s)
	mu.Lock()
	defer mu.Unlock()
	if got, want := strings.Join(verbs, " "), "MAIL RCPT DATA MAIL RCPT RSET MAIL RCPT DATA NOOP MAIL RCPT DATA"; got != want {
		t.Errorf("verbs = %s\nwant    %s", got, want)
	}
}

// TestStaleConnectionIsReplacedSilently lets the relay end kept connections in the ways that relays do.
func TestStaleConnectionIsReplacedSilently(t *testing.T) {
	one := func(w *wire) { w.greet(); w.until("."); w.say("250 ok") }
	for name, end := range map[string]func(w *wire){
		"closed":          func(w *wire) {},
		"closed at MAIL":  func(w *wire) { w.read() },
		"421 at MAIL":     func(w *wire) { w.read(); w.say("421 4.7.0 too many mails on this connection") },
		"421 and no wait": func(w *wire) { w.say("421 4.4.2 idle for too long") },
	} {
		t.Run(name, func(t *testing.T) {
			url := scripted(t, func(n int, w *wire) {
				if one(w); n == 1 {
					end(w)
					return
				}
				w.until("QUIT")
			})
			s := newSender(t, email.Config{URL: url})
			send(t, s)
			var c committed
			if _, err := s.Send(t.Context(), outgoing(), c.commit); err != nil || c.times != 1 {
				t.Errorf("Send: %v, committed %d times", err, c.times)
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		url := scripted(t, func(n int, w *wire) {
			if n == 1 {
				one(w)
				return
			}
			w.greet()
			w.until("MAIL")
		})
		s := newSender(t, email.Config{URL: url})
		send(t, s)
		_, err := s.Send(t.Context(), outgoing(), proceed)
		if f := failure(t, err); f.Kind != paylink.Temporary || f.Scope != paylink.ScopeProvider {
			t.Errorf("got %+v", f)
		}
	})
}

// TestAcceptedStaysAcceptedWhateverFollows: neither a relay that vanishes at QUIT nor one that vanishes at RSET changes
// what was said before.
func TestAcceptedStaysAcceptedWhateverFollows(t *testing.T) {
	url := scripted(t, func(_ int, w *wire) { w.greet(); w.until("."); w.say("250 ok"); w.read() })
	s := newSender(t, email.Config{URL: url, MaxPerConn: 1})
	send(t, s)
	send(t, s)

	url = scripted(t, func(n int, w *wire) {
		w.greet()
		if n > 1 {
			w.until("QUIT")
			return
		}
		w.until("RCPT")
		w.say("550 5.1.1 no")
		w.until("RSET")
	})
	s = newSender(t, email.Config{URL: url})
	_, err := s.Send(t.Context(), outgoing(), proceed)
	if f := failure(t, err); f.Code != "550 5.1.1" {
		t.Errorf("first: %v", err)
	}
	send(t, s)
}

// TestTruncatedMailIsNeverEnded cuts the conversation inside DATA in every way that we know of and looks for a final dot.
func TestTruncatedMailIsNeverEnded(t *testing.T) {
	dotted := make(chan bool, 1)
	url := scripted(t, func(_ int, w *wire) {
		w.greet()
		for {
			switch line := w.read(); {
			case line == "DATA":
				w.say("354 go")
				dotted <- w.body()
				return
			case line == "":
				return
			default:
				w.say("250 ok")
			}
		}
	})
	s := newSender(t, email.Config{URL: url})
	m := outgoing()
	m.HTML = strings.Repeat("<p>long enough to leave the buffer before the end</p>\n", 2000)
	no := errors.New("no")
	if _, err := s.Send(t.Context(), m, (&committed{err: no}).commit); err != no {
		t.Errorf("err = %v", err)
	}
	if <-dotted {
		t.Error("refused commit: the relay saw a final dot")
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = s.Send(t.Context(), m, func(context.Context, [32]byte) error { panic("crash in the ledger") })
	}()
	if <-dotted {
		t.Error("panic in commit: the relay saw a final dot")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestWaitingForASlotEndsWithTheContext(t *testing.T) {
	box := newInbox(t, nil)
	s := newSender(t, email.Config{URL: box.url, Pool: 1})
	entered, leave := make(chan struct{}), make(chan struct{})
	var first sync.WaitGroup
	first.Go(func() {
		_, err := s.Send(t.Context(), outgoing(), func(context.Context, [32]byte) error { close(entered); <-leave; return nil })
		if err != nil {
			t.Errorf("first: %v", err)
		}
	})
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := s.Send(ctx, outgoing(), proceed)
	if f := failure(t, err); f.Kind != paylink.Temporary || f.Scope != paylink.ScopeProvider || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	close(leave)
	first.Wait()
	send(t, s)
}

func TestClosedSenderSendsNothing(t *testing.T) {
	box := newInbox(t, nil)
	s := newSender(t, email.Config{URL: box.url})
	send(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Send(t.Context(), outgoing(), proceed)
	if f := failure(t, err); f.Kind != paylink.Temporary || len(box.stored()) != 1 {
		t.Errorf("got %+v, %d stored", f, len(box.stored()))
	}
}

func TestEncryptionAndLogin(t *testing.T) {
	serverTLS, clientTLS := certificate(t)
	secured := func(b *inbox, s *smtp.Server) { s.TLSConfig = serverTLS }
	locked := func(b *inbox, s *smtp.Server) { s.TLSConfig, b.password = serverTLS, "secret" }
	at := func(box *inbox, user, options string) string {
		host := strings.TrimSuffix(strings.TrimPrefix(box.url, "smtp://"), "?tls=none")
		return "smtp://" + user + host + options
	}
	tests := []struct {
		name    string
		server  func(*inbox, *smtp.Server)
		user    string
		options string
		tls     *tls.Config
		scope   paylink.Scope // "" = delivered
	}{
		{"STARTTLS", secured, "", "", clientTLS, ""},
		{"STARTTLS with login", locked, "user:secret@", "", clientTLS, ""},
		{"wrong password", locked, "user:wrong@", "", clientTLS, paylink.ScopeAccount},
		{"authority unknown", secured, "", "", nil, paylink.ScopeProvider},
		{"no STARTTLS offered", nil, "", "", clientTLS, paylink.ScopeProvider},
		{"opportunistic without", nil, "", "?tls=opportunistic", clientTLS, ""},
		{"opportunistic with", secured, "", "?tls=opportunistic", clientTLS, ""},
		{"login demanded by us only", secured, "user:secret@", "", clientTLS, paylink.ScopeAccount},
		{"password stays home without TLS", nil, "user:secret@", "?tls=opportunistic", clientTLS, paylink.ScopeAccount},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			box := newInbox(t, tt.server)
			s := newSender(t, email.Config{URL: at(box, tt.user, tt.options), TLS: tt.tls})
			_, err := s.Send(t.Context(), outgoing(), proceed)
			if tt.scope == "" {
				if err != nil || len(box.stored()) != 1 {
					t.Errorf("Send: %v, %d stored", err, len(box.stored()))
				}
				return
			}
			if f := failure(t, err); f.Scope != tt.scope || f.Kind != paylink.Temporary || len(box.stored()) != 0 {
				t.Errorf("got %v, want temporary, %s", err, tt.scope)
			}
		})
	}
}

func TestImplicitTLS(t *testing.T) {
	serverTLS, clientTLS := certificate(t)
	relay := tlsInbox(t, serverTLS, "secret")
	s := newSender(t, email.Config{URL: strings.Replace(relay.url, "smtp://", "smtps://user:secret@", 1), TLS: clientTLS})
	send(t, s)
	if n := len(relay.stored()); n != 1 {
		t.Errorf("%d stored", n)
	}
	s = newSender(t, email.Config{URL: strings.Replace(relay.url, "smtp://", "smtps://", 1)})
	_, err := s.Send(t.Context(), outgoing(), proceed)
	if f := failure(t, err); f.Scope != paylink.ScopeProvider || !strings.Contains(f.Detail, "certificate") {
		t.Errorf("unknown authority: %+v", f)
	}
}

func TestNew(t *testing.T) {
	for name, c := range map[string]email.Config{
		"empty":                 {From: sender},
		"scheme":                {From: sender, URL: "http://relay.example"},
		"no host":               {From: sender, URL: "smtp://:25"},
		"port":                  {From: sender, URL: "smtp://relay.example:99999"},
		"path":                  {From: sender, URL: "smtp://relay.example/secret"},
		"option":                {From: sender, URL: "smtp://relay.example?ssl=secret"},
		"tls":                   {From: sender, URL: "smtp://relay.example?tls=maybe"},
		"smtps without":         {From: sender, URL: "smtps://relay.example?tls=none"},
		"password without TLS":  {From: sender, URL: "smtp://user:secret@relay.example?tls=none"},
		"user without password": {From: sender, URL: "smtp://user@relay.example"},
		"bad escape":            {From: sender, URL: "smtp://user:secret%zz@relay.example"},
		"no sender":             {URL: "smtp://relay.example"},
		"sender":                {URL: "smtp://relay.example", From: "Dunlin"},
		"negative":              {URL: "smtp://relay.example", From: sender, Pool: -1},
	} {
		s, err := email.New(c)
		if err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
	for _, url := range []string{"smtp://relay.example", "smtp://u:p%40ss@relay.example", "smtps://[::1]:1465", "smtp://127.0.0.1:25?tls=none"} {
		if _, err := email.New(email.Config{URL: url, From: "a@b.example"}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
