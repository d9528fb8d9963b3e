package twilio

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"dunlin/notify"
)

// maxBody is how much of a response is read, in bytes: enough for a page of messages.
const maxBody = 1 << 20

// call is one request to Twilio. The library knows neither contexts nor the response's status and headers once it has
// made an error of it; so each call gets its own (cheap) service whose transport is the call itself.
type call struct {
	c      *Client
	ctx    context.Context
	commit notify.Commit // nil = the request changes nothing

	commitErr error
	committed bool
	handed    bool // to the transport
	status    int  // 0 = no answer
	header    http.Header
	dialing   atomic.Bool // a connection was asked for, so that the trace is known to work
	wrote     atomic.Bool // the request's head may have left
}

func (c *Client) begin(ctx context.Context, commit notify.Commit) (*call, *api.ApiService) {
	k := &call{c: c, ctx: ctx, commit: commit}
	base := &client.Client{
		Credentials: client.NewCredentials(c.sid, c.token),
		// Following a redirect would repeat a POST as a GET, elsewhere. An http.Client of ours must say so itself.
		HTTPClient: &http.Client{Transport: k, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	base.SetAccountSid(c.sid)
	return k, api.NewApiServiceWithClient(base)
}

// errAgain guards against a library that would send a message twice.
var errAgain = errors.New("twilio: a second request in one send")

// RoundTrip adds the context, another base address and the commit, and keeps what the library forgets.
func (k *call) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.WithContext(httptrace.WithClientTrace(k.ctx, &httptrace.ClientTrace{
		// The transport asks for another connection only when the one before took nothing of the request.
		GetConn:      func(string) { k.dialing.Store(true); k.wrote.Store(false) },
		WroteHeaders: func() { k.wrote.Store(true) },
	}))
	if k.c.base != nil {
		u := *r.URL
		u.Scheme, u.Host, u.Path = k.c.base.Scheme, k.c.base.Host, k.c.base.Path+u.Path
		r.URL, r.Host = &u, ""
	}
	if k.commit != nil && k.ctx.Err() == nil {
		if err := k.pass(r); err != nil {
			return nil, err
		}
	}
	if err := k.ctx.Err(); err != nil {
		return nil, err // the commit took too long; what has not begun is certain
	}
	k.handed = true
	resp, err := k.c.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	k.status, k.header = resp.StatusCode, resp.Header
	// Read whole, so that the connection is kept whatever the library leaves unread.
	body, readErr := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	resp.Body.Close()
	rest := io.Reader(bytes.NewReader(body))
	if readErr != nil {
		rest = io.MultiReader(rest, broken{readErr})
	}
	resp.Body = io.NopCloser(rest)
	return resp, nil
}

// pass takes the request over the point of no return.
func (k *call) pass(r *http.Request) error {
	if k.committed {
		return errAgain
	}
	form, err := r.GetBody()
	if err != nil {
		return fmt.Errorf("read form: %w", err)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, form); err != nil {
		return fmt.Errorf("read form: %w", err)
	}
	k.committed = true
	k.commitErr = k.commit(k.ctx, [32]byte(hash.Sum(nil)))
	return k.commitErr
}

// unsent reports whether the request certainly never left: no transport got it, or no connection took its head. A transport
// that tells nothing proves nothing.
func (k *call) unsent() bool {
	return !k.handed || k.status == 0 && k.dialing.Load() && !k.wrote.Load()
}

// broken is the end of a body that could not be read.
type broken struct{ error }

func (b broken) Read([]byte) (int, error) { return 0, b.error }
