package twilio

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	api "github.com/twilio/twilio-go/rest/api/v2010"

	"dunlin/notify"
	"dunlin/paylink"
)

const (
	maxValidity  = 36000 // seconds, Twilio's own limit and default
	maxVariables = 1024  // characters; WhatsApp's limit for body and values together
)

// Send sends one SMS or WhatsApp message. commit is called with the SHA-256 of the encoded form directly before the POST;
// if it fails, nothing is sent and its error comes back unchanged. Every other error holds a [*paylink.Failure], and
// ctx.Err() too if the caller's context ended. The receipt may be filled beside an error: Twilio then made a message, with
// that SID, and gave it up at once.
func (c *Client) Send(ctx context.Context, m notify.Outgoing, commit notify.Commit) (notify.Receipt, error) {
	params, f := c.params(m)
	if f != nil {
		return notify.Receipt{}, f
	}
	callCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	call, service := c.begin(callCtx, commit)
	message, err := service.CreateMessage(params)
	switch {
	case call.commitErr != nil:
		return notify.Receipt{}, call.commitErr
	case err != nil || call.status/100 != 2:
		return notify.Receipt{}, because(ctx, call.classify(err))
	}
	receipt, ok := receiptOf(message)
	if !ok {
		return notify.Receipt{}, lost(call.status)
	}
	return receipt, endOf(message, receipt.State)
}

// params makes the form of a message, or says why it cannot be one.
func (c *Client) params(m notify.Outgoing) (*api.CreateMessageParams, error) {
	if !e164(m.To) {
		return nil, &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseBadAddress, Detail: "not a number in E.164"}
	}
	p := &api.CreateMessageParams{}
	var from, prefix string
	switch m.Channel {
	case paylink.SMS:
		if m.Text == "" {
			return nil, template("the text is empty")
		}
		from = c.smsFrom
		p.SetBody(m.Text)
		if m.ValidFor > 0 {
			p.SetValidityPeriod(min(max(int(m.ValidFor.Seconds()), 1), maxValidity))
		}
	case paylink.WhatsApp:
		if m.ContentSID == "" {
			return nil, template("no approved template for this message and language")
		}
		variables, f := contentVariables(m.Variables)
		if f != nil {
			return nil, f
		}
		from, prefix = c.whatsAppFrom, "whatsapp:"
		p.SetContentSid(m.ContentSID)
		if variables != "" {
			p.SetContentVariables(variables)
		}
	default:
		return nil, &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseInternal, Detail: "not a channel of this adapter"}
	}
	p.SetTo(prefix + m.To)
	switch {
	case from == "":
		return nil, &paylink.Failure{Kind: paylink.Temporary, Scope: paylink.ScopeAccount, Cause: paylink.CauseAccount, Detail: "no sender is configured for this channel"}
	case service(from):
		p.SetMessagingServiceSid(from)
	default:
		p.SetFrom(prefix + from)
	}
	if c.callback != nil {
		p.SetStatusCallback(callbackURL(*c.callback, m.AttemptToken))
	}
	return p, nil
}

// callbackURL adds the token behind whatever query the address has. The rest stays byte for byte as configured, since the
// signature of a callback is made over the address as Twilio was given it.
func callbackURL(u url.URL, token string) string {
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "a=" + url.QueryEscape(token)
	return u.String()
}

// contentVariables makes the JSON object of a template's values. Twilio refuses an empty value, a line break, a tab and
// more than four spaces in a row; a payer's name out of a file has them all. Values are never cut: one may be a link.
func contentVariables(values map[string]string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	clean, total := make(map[string]string, len(values)), 0
	for name, value := range values {
		value = tidy(value)
		clean[name] = value
		total += utf8.RuneCountInString(value)
	}
	if total > maxVariables {
		return "", &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseRejectedContent, Detail: "the template's values are too long"}
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(clean); err != nil {
		return "", template("the template's values cannot be written")
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// tidy folds every run of white space and control characters into one space.
func tidy(value string) string {
	value = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(value, "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
	if value == "" {
		return "-"
	}
	return value
}

func template(detail string) *paylink.Failure {
	return &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeTemplate, Cause: paylink.CauseTemplate, Detail: detail}
}

// receiptOf reads a message resource, in which every field may be missing; ok is false without a SID.
func receiptOf(m *api.ApiV2010Message) (r notify.Receipt, ok bool) {
	if m == nil || m.Sid == nil || !validSID(*m.Sid) {
		return notify.Receipt{}, false
	}
	r = notify.Receipt{Ref: *m.Sid, State: paylink.MessageAccepted}
	if m.Status != nil {
		if state, known := State(*m.Status); known {
			r.State = state
		}
	}
	if m.NumSegments != nil {
		// "0" until a Messaging Service has chosen the sender.
		if n, err := strconv.Atoi(*m.NumSegments); err == nil && n > 0 {
			r.Segments = n
		}
	}
	return r, true
}

// validSID reports whether s can be a SID; it becomes part of an address.
func validSID(s string) bool { return len(s) <= 64 && alphanumeric(s) }
