package ottu

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config says which Ottu installation to speak to, and how.
type Config struct {
	// BaseURL is the merchant's own host, such as "https://merchant.example"; the host is never derived, since Ottu's
	// suffixes differ by installation. Plain http is taken for a loopback address only, because the key travels with
	// every request. Required.
	BaseURL string
	// APIKey is the private key (not the public one of the browser SDK). Required.
	APIKey string
	// PGCodes are the payment methods offered to payers, by the merchant's own codes. At least one.
	PGCodes []string
	// HTTP replaces the client's own connections. A copy is used, which follows no redirects. nil = own connections.
	HTTP *http.Client
	// Timeout bounds one call from dialing to the last byte of the answer. 0 = 30 s, as in Ottu's own client.
	Timeout time.Duration
	// MaxBody is how many bytes of an answer are read before it counts as unreadable. 0 = 1 MiB.
	MaxBody int64
	// Now is the clock by which a session's expiry and a Retry-After date are reckoned. nil = time.Now.
	Now func() time.Time
}

const (
	defaultTimeout = 30 * time.Second
	defaultMaxBody = 1 << 20
	// idleConns is how many connections are kept per host: as many as one worker process runs jobs.
	idleConns = 100
	// idleTime ends idle connections before the usual 60 s of balancers do: a write that meets a closing connection is
	// an unknown outcome, and each of those costs an expire call.
	idleTime = 30 * time.Second
)

// String describes the configuration without its key.
func (c Config) String() string {
	return fmt.Sprintf("ottu %s, payment methods %s", hostOf(c.BaseURL), strings.Join(c.PGCodes, ","))
}

// GoString keeps the key out of %#v as String does out of %v.
func (c Config) GoString() string { return "ottu.Config{" + c.String() + "}" }

// LogValue keeps the key out of logs.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON keeps the key out of whatever prints a configuration as JSON.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// hostOf leaves out what a mistaken BaseURL may hold besides: a user, a password, a query.
func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return "(no host)"
	}
	return u.Scheme + "://" + u.Host
}

// New checks the configuration and makes a client; the error names every mistake at once. It does not connect.
func New(cfg Config) (*Client, error) {
	base, err := baseURL(cfg.BaseURL)
	errs := []error{err}
	if key := strings.TrimSpace(cfg.APIKey); key == "" || strings.ContainsFunc(key, notPrintable) {
		errs = append(errs, errors.New("API key is missing or holds unprintable characters"))
	}
	if len(cfg.PGCodes) == 0 || slices.ContainsFunc(cfg.PGCodes, func(s string) bool { return !isSlug(s) }) {
		errs = append(errs, errors.New("payment method codes are missing or hold other characters than letters, digits, - and _"))
	}
	if cfg.Timeout < 0 || cfg.MaxBody < 0 {
		errs = append(errs, errors.New("timeout and body limit must not be negative"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("configuring ottu: %w", err)
	}
	c := &Client{
		base:    base,
		auth:    func() string { return "Api-Key " + strings.TrimSpace(cfg.APIKey) },
		pgCodes: slices.Clone(cfg.PGCodes),
		timeout: cfg.Timeout,
		maxBody: cfg.MaxBody,
		now:     cfg.Now,
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.maxBody == 0 {
		c.maxBody = defaultMaxBody
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.http = &http.Client{Transport: newTransport(c.timeout)}
	if cfg.HTTP != nil {
		own := *cfg.HTTP
		c.http = &own
	}
	// Followed, a redirect would turn a POST into a GET, or carry the key and the payer to another address.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

func newTransport(timeout time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: timeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          idleConns,
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       idleTime,
	}
}

func baseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", errors.New("base URL must be https:// and a host, with nothing after it")
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		return "", errors.New("base URL must be https (http is for a loopback address only)")
	}
	return u.Scheme + "://" + u.Host, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

func notPrintable(r rune) bool { return r <= ' ' || r > '~' }

// isSlug reports whether s has the form of Ottu's opaque identifiers and codes: [-\w]+, at most 128 characters. It keeps
// anything else out of a request's path.
func isSlug(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
