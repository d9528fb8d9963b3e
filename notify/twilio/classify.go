package twilio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"dunlin/paylink"
)

// maxWait bounds a Retry-After, which anything between Twilio and us may have written.
const maxWait = time.Hour

// classify says what is known after a call that did not succeed. It uses the status, the code and the trace of the
// request; Twilio's words often repeat the number, and the library's the whole address.
func (k *call) classify(err error) *paylink.Failure {
	code := 0
	if rest, ok := errors.AsType[*client.TwilioRestError](err); ok {
		code = rest.Code // its Status is read from the body, and not to be trusted
	}
	f := k.judge(code)
	if wait := retryAfter(k.header, k.c.now()); wait > 0 {
		f.RetryAfter = wait
	}
	return f
}

func (k *call) judge(code int) *paylink.Failure {
	status := k.status
	switch {
	case k.unsent():
		return &paylink.Failure{Kind: paylink.Temporary, Scope: paylink.ScopeProvider, Cause: paylink.CauseUnavailable, Detail: "no connection to Twilio"}
	case status == 0 || status >= 500 || status < 300:
		return lost(status)
	case status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect || status == http.StatusPermanentRedirect:
		// These say that the request was not taken here, and Twilio never says so: the configured address is wrong.
		return account().failure(0, "the configured address answers with http "+strconv.Itoa(status))
	case status < 400:
		return lost(status)
	}
	if m, ok := codes[code]; ok {
		return m.failure(code, "refused by Twilio")
	}
	m := never(paylink.CauseRefused)
	switch status {
	case http.StatusTooManyRequests:
		m = slowDown(0)
	case http.StatusRequestTimeout:
		m = meaning{kind: paylink.Temporary, scope: paylink.ScopeProvider, cause: paylink.CauseUnavailable}
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired:
		m = account() // every message would be answered alike
	}
	f := m.failure(code, "refused with http "+strconv.Itoa(status))
	if code == 0 {
		f.Code = "http " + strconv.Itoa(status)
	}
	return f
}

// lost is a request that Twilio may have acted on. A status of 5xx says nothing about that, nor does an unreadable success.
func lost(status int) *paylink.Failure {
	f := &paylink.Failure{Kind: paylink.Unknown, Scope: paylink.ScopeRow, Cause: paylink.CauseLostAnswer, Detail: "no usable answer from Twilio"}
	if status != 0 {
		f.Code = "http " + strconv.Itoa(status)
	}
	return f
}

// onlyRead turns the failure of a call that changes nothing into one that can be repeated.
func onlyRead(f *paylink.Failure) *paylink.Failure {
	if f.Kind == paylink.Unknown {
		f.Scope, f.Cause = paylink.ScopeProvider, paylink.CauseUnavailable
	}
	f.Kind = paylink.Temporary
	return f
}

// endOf returns why a message came to a bad end, or nil while it has not.
func endOf(m *api.ApiV2010Message, state paylink.MessageState) error {
	if state != paylink.MessageFailed && state != paylink.MessageUndelivered {
		return nil
	}
	code := 0
	if m.ErrorCode != nil {
		code = *m.ErrorCode
	}
	return Reported(code)
}

// because adds the end of the caller's context to what no answer was received for, so that a caller that shuts down does
// not take it for a fault of Twilio.
func because(ctx context.Context, f *paylink.Failure) error {
	if err := ctx.Err(); err != nil && f.Code == "" {
		return fmt.Errorf("%w (%w)", f, err)
	}
	return f
}

// retryAfter reads the header, in seconds or as a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return min(time.Duration(max(0, min(seconds, 1<<20)))*time.Second, maxWait)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, at.Sub(now)), maxWait)
	}
	return 0
}
