package ottu

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	"dunlin/paylink"
)

// states is what Ottu's words for a transaction mean. Its schema spells the last but one of the first group "invalided",
// a page of its manual "invalid". The words of the second group stand on child transactions, as refunds are.
var states = map[string]paylink.SessionState{
	"created":    paylink.SessionOpen,
	"pending":    paylink.SessionPending,
	"attempted":  paylink.SessionAttempted,
	"authorized": paylink.SessionAuthorized,
	"paid":       paylink.SessionPaid,
	"cod":        paylink.SessionCOD,
	"failed":     paylink.SessionFailed,
	"expired":    paylink.SessionExpired,
	"canceled":   paylink.SessionCanceled,
	"invalided":  paylink.SessionInvalid,
	"invalid":    paylink.SessionInvalid,
	"refunded":   paylink.SessionRefunded,

	"voided":          paylink.SessionVoided,
	"refund_queued":   paylink.SessionPaid, // the money has not gone back yet
	"refund_rejected": paylink.SessionPaid, // nor will it
}

// SessionState is what Ottu's word for a transaction's state means; ok is false for a word that is not known, which must
// not be taken for any state, least of all for a dead one.
func SessionState(word string) (s paylink.SessionState, ok bool) {
	s, ok = states[strings.ToLower(strings.TrimSpace(word))]
	return s, ok
}

// decodeSession reads the answer that create, retrieve and update share. It needs the id, the amount and the currency;
// State is empty for an unknown word, URL when there is no usable address. Unknown fields are left alone. Errors name
// fields and quote nothing.
func decodeSession(body []byte) (paylink.CheckoutSession, error) {
	o, err := object(body)
	if err != nil {
		return paylink.CheckoutSession{}, err
	}
	s := paylink.CheckoutSession{
		ProviderID: word(o["session_id"]),
		OrderNo:    word(o["order_no"]),
		RawState:   word(o["state"]),
		URL:        link(o["checkout_short_url"]),
	}
	if !isSlug(s.ProviderID) {
		return paylink.CheckoutSession{}, errors.New("the answer holds no usable session_id")
	}
	var ok bool
	if s.Amount, ok = money(o["amount"], word(o["currency_code"])); !ok {
		return paylink.CheckoutSession{}, errors.New("the answer holds no usable amount and currency_code")
	}
	if s.URL == "" {
		// The short address is missing without the installation's shortener.
		s.URL = link(o["checkout_url"])
	}
	s.State, _ = SessionState(s.RawState)
	return s, nil
}

// link reads an absolute web address; "" if it is none. What it returns is shown to payers.
func link(v json.RawMessage) string {
	s, ok := text(v)
	if !ok || strings.ContainsFunc(s, notPrintable) {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		return ""
	}
	return s
}
