package ottu

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"dunlin/paylink"
)

// ErrNotEnded: Ottu answered that it did not expire or cancel the session, because it knows none such or because its
// state does not allow it. That proves neither; see [Rules].
var ErrNotEnded = errors.New("session not ended")

// failure makes the failure that the rules have for an answer; detail must hold nothing that came from outside.
func failure(k call, answer string, status int, detail string) error {
	return ruleFor(k, answer).failure(status, detail)
}

func (r Rule) failure(status int, detail string) *paylink.Failure {
	f := &paylink.Failure{Kind: r.Kind, Scope: r.Scope, Cause: r.Cause, Detail: detail}
	if status != 0 {
		f.Code = fmt.Sprintf("http %d", status)
	}
	return f
}

// refusal reads an answer that is not 2xx.
func refusal(k call, resp *http.Response, body []byte, now time.Time) error {
	code, class := fmt.Sprint(resp.StatusCode), fmt.Sprintf("%dxx", resp.StatusCode/100)
	fields, isJSON := refusedFields(body)
	answers := []string{code, class}
	switch {
	case resp.StatusCode == http.StatusBadRequest:
		for _, f := range [][]string{{"order_no"}, {"amount", "currency_code"}, {"pg_codes"}} {
			if slices.ContainsFunc(f, func(name string) bool { return slices.Contains(fields, name) }) {
				answers = slices.Insert(answers, len(answers)-2, code+" "+f[0])
			}
		}
	case resp.StatusCode == http.StatusNotFound && !isJSON:
		answers = slices.Insert(answers, 0, "foreign")
	}
	detail := http.StatusText(resp.StatusCode)
	if resp.StatusCode/100 == 4 {
		switch {
		case len(fields) > 0:
			detail = strings.Join(fields, ", ") + " refused"
		case isJSON:
			detail += ", no field named"
		default:
			detail += ", not in Ottu's form"
		}
	}
	f := ruleFor(k, answers...).failure(resp.StatusCode, detail)
	f.RetryAfter = retryAfter(resp.Header, now)
	return f
}

// fieldNames are the only words of a refusal that are repeated. Its texts may quote a payer's data, and so may keys that
// we do not know.
var fieldNames = []string{
	"amount", "attachment", "billing_address", "currency_code", "customer_email", "customer_first_name", "customer_id",
	"customer_last_name", "customer_phone", "due_datetime", "expiration_time", "extra", "language", "non_field_errors",
	"notifications", "operation", "order_no", "payment_type", "pg_codes", "redirect_url", "session_id",
	"shipping_address", "shortify_checkout_url", "type", "webhook_url",
}

// refusedFields finds the names of the refused fields in any of the forms in which Ottu's pages show a refusal: a map of
// fields (whose values may be nested), an envelope {"error": {"field": …}}, a lone {"detail": …} or no JSON at all. The
// names are sorted; isJSON tells whether it was a JSON object.
func refusedFields(body []byte) (names []string, isJSON bool) {
	o, err := object(body)
	if err != nil {
		return nil, false
	}
	var envelope struct{ Field string }
	if json.Unmarshal(o["error"], &envelope) == nil && envelope.Field != "" {
		name, _, _ := strings.Cut(envelope.Field, ".")
		o[name] = nil
	}
	for name := range o {
		if slices.Contains(fieldNames, name) {
			names = append(names, name)
		}
	}
	// {"detail": …, "operation": "expire", "result": "failed"} repeats the operation; it does not refuse it.
	if _, generic := o["detail"]; generic {
		names = slices.DeleteFunc(names, func(s string) bool { return s == "operation" })
	}
	slices.Sort(names)
	return names, true
}
