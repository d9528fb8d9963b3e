// Package email sends messages through a mail relay over SMTP. It keeps a small pool of connections, builds each mail
// with go-mail and drives the SMTP transaction itself, because only then does it know at which command a conversation
// broke off.
//
// It guarantees that a mail is whole or absent: every byte is rendered before the first command, and whenever something
// goes wrong inside DATA the socket is closed instead of the conversation being ended politely, which would queue the half
// mail. A failure before the final dot is therefore never of unknown outcome; a lost answer after it always is.
//
// Retrying, pacing, suppression lists and bounces are left to the callers.
package email

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// Config says through which relay and in whose name to send. Only URL and From are required.
type Config struct {
	// URL is the relay: smtp://user:password@host:587 or smtps://host:465. The ports shown are the defaults. smtp://
	// demands STARTTLS; ?tls=opportunistic takes it when offered, ?tls=none never does (a relay on the same machine) and
	// allows no password.
	URL string
	// From is the sender, "Name <a@b.example>" or "a@b.example".
	From string
	// HELO is the name we greet the relay with; empty = the domain of From. The machine's own name is never told.
	HELO string
	// Timeout bounds reaching the relay, the conversation up to the commit, and the wait for the final answer, each on its
	// own; 0 = 120 s. RFC 5321 wants patience after the final dot: a short timeout manufactures unknown outcomes.
	Timeout time.Duration
	// Pool is how many connections may be open at once; 0 = 4.
	Pool int
	// MaxPerConn is after how many mails a connection is replaced; 0 = 100. Relays drop connections that never end.
	MaxPerConn int
	// MaxIdle is how long an unused connection is kept; 0 = 20 s. It must stay below the relay's own limit.
	MaxIdle time.Duration
	// ReturnPath makes the envelope sender of one attempt from its token, so that a bounce names the attempt; nil = the
	// address of From.
	ReturnPath func(attemptToken string) string
	// Now is the clock that idle connections are judged by; nil = time.Now.
	Now func() time.Time
	// TLS replaces the TLS settings; nil = the system's certificate authorities and TLS 1.2 or newer.
	TLS *tls.Config
}

// Sender sends mail through one relay. It is safe for concurrent use and implements notify.Sender.
type Sender struct {
	from       *mail.Address
	returnPath func(string) string
	now        func() time.Time
	timeout    time.Duration
	maxPerConn int
	maxIdle    time.Duration
	relay      relay
	client     *gomail.Client

	slots chan struct{} // one is held for as long as a connection is in use or being ended
	quits sync.WaitGroup

	mu      sync.Mutex
	idle    []*conn // under mu; the most recently used is last
	reaping bool    // under mu; a timer is set that ends idle connections
	closed  bool    // under mu
}

// New checks the configuration and returns a Sender. It opens no connection.
func New(c Config) (*Sender, error) {
	r, err := parseURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("mail relay: %w", err)
	}
	from, err := mail.ParseAddress(c.From)
	if err != nil || !plainAddress(from.Address) {
		return nil, errors.New(`mail sender: want "Name <a@b.example>" or "a@b.example" in ASCII`)
	}
	if c.Timeout < 0 || c.Pool < 0 || c.MaxPerConn < 0 || c.MaxIdle < 0 {
		return nil, errors.New("mail relay: timeout, pool, messages per connection and idle time must not be negative")
	}
	s := &Sender{
		from:       from,
		returnPath: c.ReturnPath,
		now:        c.Now,
		timeout:    cmp.Or(c.Timeout, 120*time.Second),
		maxPerConn: cmp.Or(c.MaxPerConn, 100),
		maxIdle:    cmp.Or(c.MaxIdle, 20*time.Second),
		slots:      make(chan struct{}, cmp.Or(c.Pool, 4)),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.returnPath == nil {
		s.returnPath = func(string) string { return from.Address }
	}
	r.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLS != nil {
		r.tls = c.TLS.Clone()
	}
	r.tls.ServerName = cmp.Or(r.tls.ServerName, r.host)
	s.relay = r

	_, domain, _ := strings.Cut(from.Address, "@")
	options := []gomail.Option{
		gomail.WithPort(r.port),
		gomail.WithTimeout(s.timeout),
		gomail.WithHELO(cmp.Or(c.HELO, domain)),
		gomail.WithTLSConfig(r.tls),
		gomail.WithTLSPolicy(r.policy),
		gomail.WithDialContextFunc(dialCaptured(r)),
		gomail.WithoutSMTPUTF8(),
	}
	if r.user != "" {
		options = append(options, gomail.WithUsername(r.user), gomail.WithPassword(r.password),
			gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover))
	}
	if s.client, err = gomail.NewClient(r.host, options...); err != nil {
		return nil, errors.New("mail relay: the host or HELO name is not usable")
	}
	return s, nil
}

// relay is what Config.URL says.
type relay struct {
	host           string
	port           int
	user, password string
	implicit       bool // TLS from the first byte
	policy         gomail.TLSPolicy
	tls            *tls.Config
}

// parseURL reads Config.URL. Its errors never quote the address, which holds a password.
func parseURL(s string) (relay, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return relay{}, errors.New("want smtp://user:password@host:port or smtps://host:port; escape special characters of the password")
	}
	r := relay{host: u.Hostname(), user: u.User.Username()}
	r.password, _ = u.User.Password()
	if (r.user == "") != (r.password == "") {
		return relay{}, errors.New("user and password go together")
	}
	query := u.Query()
	mode := query.Get("tls")
	if query.Del("tls"); len(query) > 0 {
		return relay{}, errors.New("the only option of the address is tls")
	}
	switch {
	case u.Scheme == "smtps" && (mode == "" || mode == "mandatory"):
		// go-mail is told "opportunistic" here: with a dialer of ours it learns that the connection is already
		// encrypted, and that a password may be sent, only on the way on which it looks for STARTTLS.
		r.port, r.implicit, r.policy = 465, true, gomail.TLSOpportunistic
	case u.Scheme == "smtp" && (mode == "" || mode == "mandatory"):
		r.port, r.policy = 587, gomail.TLSMandatory
	case u.Scheme == "smtp" && mode == "opportunistic":
		r.port, r.policy = 587, gomail.TLSOpportunistic
	case u.Scheme == "smtp" && mode == "none" && r.user != "":
		return relay{}, errors.New("no password is sent over a connection without TLS: drop it, or drop tls=none")
	case u.Scheme == "smtp" && mode == "none":
		r.port, r.policy = 587, gomail.NoTLS
	default:
		return relay{}, errors.New("want smtp:// with tls=mandatory, opportunistic or none, or smtps://")
	}
	if p := u.Port(); p != "" {
		if r.port, err = strconv.Atoi(p); err != nil || r.port < 1 || r.port > 65535 {
			return relay{}, errors.New("the port is not between 1 and 65535")
		}
	}
	return r, nil
}
