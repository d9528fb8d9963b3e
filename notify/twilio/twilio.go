// Package twilio sends SMS and WhatsApp messages through Twilio and asks Twilio about them. It drives the official client
// library, and adds what that lacks: a context per call, the response's status and headers, another base address, and an
// outcome that can be relied on.
//
// Twilio knows no idempotency keys: a POST whose answer is lost may have sent a message. So the package calls commit
// directly before the request leaves and distinguishes three ends: refused for certain, not sent for certain (no
// connection was made), and unknown. What is unknown is settled by a status callback, which carries the attempt's token,
// or by [Client.Find].
//
// Nothing is ever sent twice here; retrying, pacing and suppression lists are left to the callers.
package twilio

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config says with which account and senders to send. AccountSID and AuthToken are required.
type Config struct {
	// AccountSID and AuthToken are the account's credentials. Both must be plain letters and digits.
	AccountSID, AuthToken string
	// BaseURL replaces https://api.twilio.com; "" = Twilio's, in the region that TWILIO_EDGE and TWILIO_REGION name.
	BaseURL string
	// SMSFrom and WhatsAppFrom are a number in E.164, an alphanumeric sender (SMS only), or the SID of a Messaging Service
	// (MG…). A channel without a sender fails with scope account.
	SMSFrom, WhatsAppFrom string
	// StatusCallback is where Twilio reports what becomes of a message; the attempt's token is added as ?a=. "" = nowhere.
	StatusCallback string
	// Timeout bounds one call; 0 = 20 s.
	Timeout time.Duration
	// Transport carries the requests; nil = one of its own with kept connections.
	Transport http.RoundTripper
	// Now is the clock that a Retry-After date is read by; nil = time.Now.
	Now func() time.Time
}

// Client sends through one account. It is safe for concurrent use and implements notify.Sender and notify.Finder.
type Client struct {
	sid, token            string
	base                  *url.URL // nil = Twilio's
	smsFrom, whatsAppFrom string
	callback              *url.URL // nil = none
	timeout               time.Duration
	transport             http.RoundTripper
	now                   func() time.Time
}

// New checks the configuration and returns a Client. It sends nothing.
func New(c Config) (*Client, error) {
	if !alphanumeric(c.AccountSID) || !alphanumeric(c.AuthToken) {
		return nil, errors.New("twilio: account SID and auth token must be set and made of letters and digits only; " +
			"Twilio's library refuses anything else before it sends (codes 21222, 21224)")
	}
	if c.Timeout < 0 {
		return nil, errors.New("twilio: timeout must not be negative")
	}
	client := &Client{
		sid: c.AccountSID, token: c.AuthToken,
		smsFrom: c.SMSFrom, whatsAppFrom: strings.TrimPrefix(c.WhatsAppFrom, "whatsapp:"),
		timeout: c.Timeout, transport: c.Transport, now: c.Now,
	}
	if client.whatsAppFrom != "" && !service(client.whatsAppFrom) && !e164(client.whatsAppFrom) {
		return nil, errors.New("twilio: the WhatsApp sender must be a number such as +15551234567 or a Messaging Service SID (MG…)")
	}
	var err error
	if client.base, err = address("base address", c.BaseURL); err != nil {
		return nil, err
	}
	if client.base != nil {
		client.base.Path = strings.TrimRight(client.base.Path, "/")
	}
	if client.callback, err = address("status callback", c.StatusCallback); err != nil {
		return nil, err
	}
	if client.callback != nil && strings.Contains(client.callback.Host, "_") {
		return nil, errors.New("twilio: status callback: Twilio refuses a host with an underscore")
	}
	if client.timeout == 0 {
		client.timeout = 20 * time.Second
	}
	if client.now == nil {
		client.now = time.Now
	}
	if client.transport == nil {
		client.transport = newTransport()
	}
	return client, nil
}

// newTransport keeps connections for less than a load balancer does: one that is closed just when a request leaves makes
// an unknown outcome of it.
func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 64, 64
	t.IdleConnTimeout = 25 * time.Second
	t.MaxResponseHeaderBytes = 64 << 10
	return t
}

func address(what, s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("twilio: %s: want http:// or https:// and a host, without a user", what)
	}
	return u, nil
}

// service reports whether a sender is a Messaging Service.
func service(s string) bool { return strings.HasPrefix(s, "MG") && len(s) == 34 && alphanumeric(s) }

// e164 reports whether s is a number in E.164.
func e164(s string) bool {
	if len(s) < 8 || len(s) > 16 || s[0] != '+' || s[1] == '0' {
		return false
	}
	return strings.Trim(s[1:], "0123456789") == ""
}

func alphanumeric(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') {
			return false
		}
	}
	return s != ""
}
