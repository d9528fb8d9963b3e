package ottu

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// reply is an answer of the 2xx kind, read whole.
type reply struct {
	status int
	body   []byte
}

// How far a request got, as the transport tells through httptrace.
const (
	stageNone   = iota // the transport tells nothing (it is not net/http's)
	stageAsked         // it looks for a connection
	stageHanded        // it has handed the request to a connection
)

// exchange sends one request and reads its answer; whatever is not a whole 2xx is a *paylink.Failure.
//
// "Surely not sent" is claimed only while no connection had been handed over. The later mark, that the request was
// written, proves less: the transport writes in a goroutine of its own, which may go on after the call was given up.
func (c *Client) exchange(ctx context.Context, k call, method, path string, payload any) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	if ctx.Err() != nil {
		return reply{}, failure(k, "unsent", 0, reason(ctx.Err()))
	}
	var stage atomic.Int32
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { stage.Store(stageAsked) },
		GotConn: func(httptrace.GotConnInfo) { stage.Store(stageHanded) },
	})
	req, err := c.request(ctx, method, path, payload)
	if err != nil {
		return reply{}, failure(k, "invalid", 0, "the request cannot be written")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if stage.Load() == stageAsked {
			return reply{}, failure(k, "unsent", 0, reason(err))
		}
		return reply{}, failure(k, "lost", 0, reason(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.maxBody+1))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		// The status has said it; the body, whole or not, only adds which fields are meant.
		return reply{}, refusal(k, resp, body, c.now())
	}
	switch {
	case err != nil:
		return reply{}, failure(k, "unreadable", resp.StatusCode, "the answer broke off: "+reason(err))
	case int64(len(body)) > c.maxBody:
		return reply{}, failure(k, "unreadable", resp.StatusCode, "the answer is too long")
	}
	return reply{resp.StatusCode, body}, nil
}

func (c *Client) request(ctx context.Context, method, path string, payload any) (*http.Request, error) {
	var body io.Reader
	if payload != nil {
		b, err := json.Marshal(payload)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	// Without GetBody the transport cannot send a request a second time by itself when a connection breaks. It would do
	// so only where it believes the server did nothing, but whether to repeat is the caller's to decide.
	req.GetBody = nil
	req.Header.Set("Authorization", c.auth())
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "dunlin")
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// reason says in fixed words what went wrong on the way. The error's own text is not used: it holds the address.
func reason(err error) string {
	var timeout net.Error
	var noName *net.DNSError
	var badCert *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	case errors.As(err, &noName):
		return "host name not resolved"
	case errors.As(err, &badCert):
		return "the server's certificate is not trusted"
	case errors.As(err, &noTLS), errors.As(err, &alert):
		return "TLS handshake refused"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	}
	return "connection broken"
}

// retryAfter reads the header's two forms, seconds and a date. Nonsense and the past count as absent, and a day is the
// most that is believed: a mistaken header must not park a batch for a year.
func retryAfter(h http.Header, now time.Time) time.Duration {
	const most = 24 * time.Hour
	v := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(seconds, 0), int(most/time.Second))) * time.Second
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(t.Sub(now), 0), most)
}
