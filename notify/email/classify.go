package email

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/textproto"
	"strconv"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"dunlin/notify/mailstatus"
	"dunlin/paylink"
)

// phase is the point that a conversation had reached when it failed; its text is for people.
type phase string

const (
	atConnect phase = "connecting"
	atMail    phase = "at MAIL"
	atRcpt    phase = "at RCPT"
	atData    phase = "at DATA"
	atBody    phase = "in the body"
	atDot     phase = "after the final dot"
)

// byReply judges a 5xx that came without an enhanced code, by where it came and what it said.
var byReply = map[phase]map[int]mailstatus.Verdict{
	atRcpt: {550: mailstatus.Doubtful, 551: mailstatus.Doubtful, 552: mailstatus.Full, 553: mailstatus.Doubtful},
	atData: {552: mailstatus.Content},
	atDot:  {552: mailstatus.Content, 554: mailstatus.Content},
}

// classify turns what happened into a Failure. It uses codes only: the relay's text often repeats the address.
func classify(at phase, err error) *paylink.Failure {
	reply, ok := errors.AsType[*textproto.Error](err)
	if !ok || reply.Code < 400 || reply.Code > 599 {
		return broken(at, err)
	}
	enhanced := mailstatus.Parse(reply.Msg, reply.Code/100)
	f := &paylink.Failure{Detail: "refused " + string(at), Code: strconv.Itoa(reply.Code)}
	if enhanced != "" {
		f.Code += " " + enhanced
	}
	v := permanent(at, reply.Code, enhanced)
	if reply.Code < 500 {
		v = temporary(at, reply.Code, enhanced)
	}
	f.Kind, f.Scope, f.Cause, f.Suppress = v.Kind, v.Scope, v.Cause, v.Suppress
	return f
}

// broken judges a conversation that ended without an answer.
func broken(at phase, err error) *paylink.Failure {
	if at == atDot {
		return &paylink.Failure{Kind: paylink.Unknown, Scope: paylink.ScopeRow, Cause: paylink.CauseLostAnswer,
			Detail: "the answer to the final dot was lost"}
	}
	if at != atConnect {
		return notSent(paylink.CauseUnavailable, "the connection broke "+string(at))
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return notSent(paylink.CauseUnavailable, "the relay's certificate is not accepted")
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return notSent(paylink.CauseUnavailable, "the relay's certificate is for another name")
	}
	switch text := err.Error(); {
	case errors.Is(err, gomail.ErrNoSupportedAuthDiscovered), strings.Contains(text, "does not support SMTP AUTH"):
		// Only the text tells the second one apart.
		return &paylink.Failure{Kind: paylink.Temporary, Scope: paylink.ScopeAccount, Cause: paylink.CauseAccount,
			Detail: "the relay offers no login that we can use"}
	case strings.Contains(text, "does not support STARTTLS"):
		return notSent(paylink.CauseUnavailable, "the relay offers no STARTTLS")
	}
	return notSent(paylink.CauseUnavailable, "no connection to the relay")
}

func notSent(cause paylink.Cause, detail string) *paylink.Failure {
	return &paylink.Failure{Kind: paylink.Temporary, Scope: paylink.ScopeProvider, Cause: cause, Detail: detail}
}

// permanent judges a 5xx. Up to MAIL nothing was said of the recipient, so it is we who are not wanted.
func permanent(at phase, code int, status string) mailstatus.Verdict {
	tooBig := code == 552 || status == "5.3.4"
	switch {
	case code == 530 || code == 534 || code == 535 || code == 538:
		return mailstatus.Account
	case at == atMail && tooBig:
		return mailstatus.Content
	case at == atConnect || at == atMail:
		return mailstatus.Account
	}
	if v, ok := mailstatus.Permanent(status); ok {
		return v
	}
	if v, ok := byReply[at][code]; ok && (status == "" || status == "5.0.0") {
		return v
	}
	return mailstatus.Refused
}

// temporary judges a 4xx. Before RCPT it is about us or the relay, later about this mail; 421 always ends the connection.
func temporary(at phase, code int, status string) mailstatus.Verdict {
	v := mailstatus.Verdict{Kind: paylink.Temporary, Scope: paylink.ScopeRow, Cause: paylink.CauseUnavailable}
	if code == 421 || at == atConnect || at == atMail {
		v.Scope = paylink.ScopeProvider
	}
	switch {
	case strings.HasPrefix(status, "4.7."):
		v.Cause = paylink.CauseRateLimited // greylisted, or too fast
	case strings.HasPrefix(status, "4.2.") && v.Scope == paylink.ScopeRow:
		v.Cause = paylink.CauseMailboxFull
	}
	return v
}
