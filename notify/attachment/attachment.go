// Package attachment fetches the file that a row names by attachment_url, so that a mail can carry it.
//
// The address comes out of a payer file, so whoever writes that file chooses what this process connects to. Therefore only
// https is spoken, and only with public addresses; that is checked on the address that is dialed, after the name was
// resolved and again for every redirect, so that no name can point inside. What comes back must be of a few kinds of
// document, by its bytes and not by what the server says.
package attachment

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"dunlin/paylink"
)

// Config is what a fetcher is made from; the zero value is for production.
type Config struct {
	// MaxBytes is the largest file that is attached. 0 = 2.5 MB, which is 3.4 MB in a mail.
	MaxBytes int64
	// Timeout bounds one fetch, redirects included. 0 = 20 s; it must be shorter than a claim's margin.
	Timeout time.Duration
	// Permit says whether an address may be dialed; nil = [Public].
	Permit func(netip.Addr) error
	// RootCAs are trusted instead of the system's; nil = those.
	RootCAs *x509.CertPool
}

const (
	defaultMax     = 2_500_000
	defaultTimeout = 20 * time.Second
	maxRedirects   = 5
)

// Fetcher fetches files. It is safe for concurrent use.
type Fetcher struct {
	client *http.Client
	max    int64
}

// New makes a fetcher.
func New(c Config) *Fetcher {
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMax
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Permit == nil {
		c.Permit = Public
	}
	dialer := &net.Dialer{Timeout: c.Timeout, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return errRefused
		}
		return c.Permit(at.Addr())
	}}
	return &Fetcher{max: c.MaxBytes, client: &http.Client{
		Timeout:       c.Timeout,
		CheckRedirect: follow,
		// No proxy: it would dial in our place, unchecked.
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: c.Timeout, ForceAttemptHTTP2: true, MaxIdleConns: 10, MaxIdleConnsPerHost: 4, MaxConnsPerHost: 8,
			IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 32 << 10},
	}}
}

// Close closes the connections that are kept.
func (f *Fetcher) Close() error {
	f.client.CloseIdleConnections()
	return nil
}

var (
	errRefused   = errors.New("not a public address")
	errRedirects = errors.New("redirected elsewhere")
)

func follow(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || !fit(r.URL) {
		return errRedirects
	}
	r.Header.Del("Referer") // the address may be a secret
	return nil
}

func fit(u *url.URL) bool { return u.Scheme == "https" && u.Host != "" && u.User == nil }

// Fetch fetches one file. It returns [paylink.ErrTooLarge] for a file beyond the limit; any other error is a
// [*paylink.Failure] of cause attachment: temporary if another try may succeed, permanent if the address is refused, is not
// there, or holds no kind of document that is attached. No error names the address.
func (f *Fetcher) Fetch(ctx context.Context, address string) (paylink.Attachment, error) {
	u, err := url.Parse(address)
	if err != nil || !fit(u) {
		return paylink.Attachment{}, failure(paylink.Permanent, "address", "not an https address")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return paylink.Attachment{}, failure(paylink.Permanent, "address", "not an https address")
	}
	req.Header.Set("User-Agent", "Dunlin")
	req.Header.Set("Accept", "application/pdf, image/png, image/jpeg, application/*;q=0.5")
	resp, err := f.client.Do(req)
	if err != nil {
		return paylink.Attachment{}, unreached(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return paylink.Attachment{}, answered(resp.StatusCode)
	}
	if resp.ContentLength > f.max {
		return paylink.Attachment{}, paylink.ErrTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, f.max+1))
	switch {
	case err != nil:
		return paylink.Attachment{}, failure(paylink.Temporary, "", "the answer broke off")
	case int64(len(data)) > f.max:
		return paylink.Attachment{}, paylink.ErrTooLarge
	}
	kind, ok := sniff(data)
	if !ok {
		return paylink.Attachment{}, failure(paylink.Permanent, "type", "not a PDF, PNG, JPEG, DOCX or XLSX file")
	}
	return paylink.Attachment{Name: name(u, kind.ext), Type: kind.mime, Data: data}, nil
}

func failure(kind paylink.Kind, code, detail string) *paylink.Failure {
	scope := paylink.ScopeRow
	if kind == paylink.Temporary {
		scope = paylink.ScopeProvider // the payer pays no try for it
	}
	return &paylink.Failure{Kind: kind, Scope: scope, Cause: paylink.CauseAttachment, Code: code, Detail: detail}
}

func answered(status int) *paylink.Failure {
	kind := paylink.Permanent
	switch {
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		kind = paylink.Temporary
	}
	return failure(kind, fmt.Sprintf("http %d", status), "the file's server refused")
}

// unreached reads why there was no answer. Its words are ours: those of the error name the address.
func unreached(err error) *paylink.Failure {
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errRefused):
		return failure(paylink.Permanent, "private", "the address is not a public one")
	case errors.Is(err, errRedirects):
		return failure(paylink.Permanent, "redirect", "it leads on too often, or away from https")
	case errors.As(err, &cert):
		return failure(paylink.Permanent, "tls", "the server's certificate is not valid")
	}
	return failure(paylink.Temporary, "", "the file's server does not answer")
}
