package email

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/textproto"
	"strconv"
	"strings"

	gomail "github.com/wneessen/go-mail"

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

// verdict is what a refusal means.
type verdict struct {
	kind     paylink.Kind
	scope    paylink.Scope
	cause    paylink.Cause
	suppress bool
}

var (
	// account keeps the row: it can be sent once a person has mended the account, sender or reputation.
	account  = verdict{paylink.Temporary, paylink.ScopeAccount, paylink.CauseAccount, false}
	gone     = verdict{paylink.Permanent, paylink.ScopeRow, paylink.CauseBadAddress, true}
	doubtful = verdict{paylink.Permanent, paylink.ScopeRow, paylink.CauseBadAddress, false}
	full     = verdict{paylink.Permanent, paylink.ScopeRow, paylink.CauseMailboxFull, false}
	content  = verdict{paylink.Permanent, paylink.ScopeRow, paylink.CauseRejectedContent, false}
	refused  = verdict{paylink.Permanent, paylink.ScopeRow, paylink.CauseRefused, false}
)

// byStatus judges a 5xx by its enhanced status code (RFC 3463) without the leading class; the first prefix that fits wins.
var byStatus = []struct {
	prefix string
	verdict
}{
	{"1.7.", account}, // our own address is malformed
	{"1.8.", account}, // or unknown
	{"1.", gone},
	{"2.1.", full}, // switched off
	{"2.2.", full},
	{"2.3.", content}, // longer than this mailbox takes
	{"2.", refused},
	{"3.4.", content},
	{"4.1.", doubtful}, // what a large provider says of unknown users
	{"4.4.", doubtful}, // the domain cannot be routed to
	{"6.", content},
	{"7.", account},
}

// byReply judges a 5xx that came without an enhanced code, by where it came and what it said.
var byReply = map[phase]map[int]verdict{
	atRcpt: {550: doubtful, 551: doubtful, 552: full, 553: doubtful},
	atData: {552: content},
	atDot:  {552: content, 554: content},
}

// classify turns what happened into a Failure. It uses codes only: the relay's text often repeats the address.
func classify(at phase, err error) *paylink.Failure {
	reply, ok := errors.AsType[*textproto.Error](err)
	if !ok || reply.Code < 400 || reply.Code > 599 {
		return broken(at, err)
	}
	enhanced := enhancedStatus(reply)
	f := &paylink.Failure{Detail: "refused " + string(at), Code: strconv.Itoa(reply.Code)}
	if enhanced != "" {
		f.Code += " " + enhanced
	}
	status := ""
	if enhanced != "" {
		status = enhanced[2:] + "."
	}
	v := permanent(at, reply.Code, status)
	if reply.Code < 500 {
		v = temporary(at, reply.Code, status)
	}
	f.Kind, f.Scope, f.Cause, f.Suppress = v.kind, v.scope, v.cause, v.suppress
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
func permanent(at phase, code int, status string) verdict {
	tooBig := code == 552 || strings.HasPrefix(status, "3.4.")
	switch {
	case code == 530 || code == 534 || code == 535 || code == 538:
		return account
	case at == atMail && tooBig:
		return content
	case at == atConnect || at == atMail:
		return account
	}
	for _, rule := range byStatus {
		if strings.HasPrefix(status, rule.prefix) {
			return rule.verdict
		}
	}
	if v, ok := byReply[at][code]; ok && (status == "" || status == "0.0.") {
		return v
	}
	return refused
}

// temporary judges a 4xx. Before RCPT it is about us or the relay, later about this mail; 421 always ends the connection.
func temporary(at phase, code int, status string) verdict {
	v := verdict{kind: paylink.Temporary, scope: paylink.ScopeRow, cause: paylink.CauseUnavailable}
	if code == 421 || at == atConnect || at == atMail {
		v.scope = paylink.ScopeProvider
	}
	switch {
	case strings.HasPrefix(status, "7."):
		v.cause = paylink.CauseRateLimited // greylisted, or too fast
	case strings.HasPrefix(status, "2.") && v.scope == paylink.ScopeRow:
		v.cause = paylink.CauseMailboxFull
	}
	return v
}

// enhancedStatus returns the code such as 5.1.1 at the start of the relay's text, or "". One whose class contradicts the
// reply code is not believed.
func enhancedStatus(reply *textproto.Error) string {
	word, _, _ := strings.Cut(strings.ReplaceAll(reply.Msg, "\n", " "), " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 || parts[0] != strconv.Itoa(reply.Code/100) {
		return ""
	}
	for _, part := range parts[1:] {
		if n, err := strconv.Atoi(part); err != nil || n < 0 || len(part) > 3 || part[0] == '+' {
			return ""
		}
	}
	return word
}
