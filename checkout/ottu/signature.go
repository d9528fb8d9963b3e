package ottu

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// flatFields are what the first scheme signs, in its order.
var flatFields = []string{
	"amount", "currency_code", "customer_address_city", "customer_address_country", "customer_address_line1",
	"customer_address_line2", "customer_address_postal_code", "customer_address_state", "customer_email",
	"customer_first_name", "customer_last_name", "customer_phone", "gateway_account", "gateway_name", "order_no",
	"reference_number", "result", "state",
}

// pathFields are what the second scheme signs, in its order; a dot leads into a nested object.
var pathFields = []string{
	"agreement.id", "amount", "currency_code", "customer_address_city", "customer_address_country",
	"customer_address_line1", "customer_address_line2", "customer_address_postal_code", "customer_address_state",
	"customer_email", "customer_first_name", "customer_last_name", "customer_phone", "extra.autopay.subscription_id",
	"extra.merchant_id", "gateway_account", "gateway_name", "order_no", "payment_type", "reference_number", "result",
	"session_id", "state", "token.customer_id", "token.pg_code", "token.token",
}

// Verify reports whether body, a payment or operation webhook as it came, was signed with one of the keys. Several keys
// let an old and a new one be valid side by side; empty keys never are.
//
// Ottu signs some fields only, by HMAC-SHA256 in lower-case hex in the body's own field "signature", and it has two
// schemes, of which an installation uses one: key and value of 18 fields run together (the older), or 26 paths as lines
// of path=value (announced in its manual for every merchant). Under the older one session_id is not signed; under neither
// are the settled amount, the time and an operation's child, and nothing hinders a replay. So bind the event to its
// order_no, compare the session_id with the stored one, apply it once, and let figures that matter be confirmed by
// [Client.Retrieve]. Nor does the older scheme mark where a value ends: a verified body must still pass [ParseWebhook],
// whose strict forms a shifted value does not have.
func Verify(keys []string, body []byte) (ok bool) {
	o, err := object(body)
	if err != nil {
		return false
	}
	given, isText := text(o["signature"])
	signature, err := hex.DecodeString(given)
	if !isText || err != nil || len(signature) != sha256.Size || given != strings.ToLower(given) {
		return false
	}
	var messages [][]byte
	for _, sign := range []func(map[string]json.RawMessage) ([]byte, bool){flatMessage, pathMessage} {
		if m, ok := sign(o); ok && len(m) > 0 {
			messages = append(messages, m)
		}
	}
	for _, key := range keys {
		if key == "" {
			continue
		}
		for _, m := range messages {
			mac := hmac.New(sha256.New, []byte(key))
			mac.Write(m)
			// No early way out: how long this takes tells nothing about which key or scheme it was.
			ok = hmac.Equal(mac.Sum(nil), signature) || ok
		}
	}
	return ok
}

// flatMessage is what the first scheme signs. It skips null and empty texts, and nothing else: "0" counts.
func flatMessage(o map[string]json.RawMessage) ([]byte, bool) {
	var m []byte
	for _, field := range flatFields {
		if !isSet(o[field]) {
			continue
		}
		// All these are texts in every known body. A number is taken by its literal; how Ottu would write anything else
		// into the message is not known, so it fits no signature.
		v, ok := text(o[field])
		if !ok {
			return nil, false
		}
		m = append(append(m, field...), v...)
	}
	return m, true
}

// pathMessage is what the second scheme signs. It skips whatever Python finds false.
func pathMessage(o map[string]json.RawMessage) ([]byte, bool) {
	var lines []string
	for _, path := range pathFields {
		raw, ok := at(o, path)
		if !ok {
			return nil, false
		}
		if isFalsy(raw) {
			continue
		}
		v, ok := text(raw)
		if !ok {
			return nil, false
		}
		lines = append(lines, path+"="+v)
	}
	return []byte(strings.Join(lines, "\n")), true
}

// at follows a dotted path. What is missing, or leads through something that is no object, is nil; ok is false for an
// object with two equal keys.
func at(o map[string]json.RawMessage, path string) (v json.RawMessage, ok bool) {
	for {
		name, rest, deeper := strings.Cut(path, ".")
		v = o[name]
		if !deeper || len(v) == 0 || v[0] != '{' {
			if deeper {
				v = nil
			}
			return v, true
		}
		inner, err := object(v)
		if err != nil {
			return nil, false
		}
		o, path = inner, rest
	}
}

func isFalsy(v json.RawMessage) bool {
	if !isSet(v) || string(v) == "false" {
		return true
	}
	if v[0] == '-' || v[0] == '0' {
		return strings.Trim(string(v), "-0.") == ""
	}
	bare := strings.Join(strings.Fields(string(v)), "")
	return bare == "{}" || bare == "[]"
}
