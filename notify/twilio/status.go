package twilio

import (
	"strings"

	"github.com/twilio/twilio-go/client"

	"dunlin/paylink"
)

// states translates Twilio's words for an outbound message. Theirs may arrive late, doubled and in any order; the rank of
// ours decides which counts.
var states = map[string]paylink.MessageState{
	"accepted":  paylink.MessageAccepted, // by a Messaging Service, which has yet to choose the sender
	"scheduled": paylink.MessageAccepted,
	"queued":    paylink.MessageAccepted,
	"sending":   paylink.MessageAccepted,
	"sent":      paylink.MessageSent, // final if the carrier gives no receipts
	// Some parts arrived: no proof that it can be read.
	"partially_delivered": paylink.MessageSent,
	"delivered":           paylink.MessageDelivered,
	"read":                paylink.MessageRead,
	"undelivered":         paylink.MessageUndelivered, // the carrier says no
	"failed":              paylink.MessageFailed,      // never left Twilio
	"canceled":            paylink.MessageFailed,
}

// State translates a status of Twilio; ok is false for words that are new or about inbound messages.
func State(word string) (state paylink.MessageState, ok bool) {
	state, ok = states[word]
	return state, ok
}

// ValidSignature reports whether a webhook comes from Twilio. tokens are the account's auth tokens, two of them while one
// is being replaced; empty ones are ignored. url is the address that Twilio was given, with the query untouched (from
// the configured public address, never from the Host header), body the raw body, signature the header
// X-Twilio-Signature.
//
// The signature has no time in it, so that an old callback can be played again: whoever acts on one must not mind. A port
// may be missing on either side, and a fragment is tried with and without.
func ValidSignature(tokens []string, url string, body []byte, signature string) bool {
	if signature == "" {
		return false
	}
	bare, _, fragment := strings.Cut(url, "#")
	valid := false
	for _, token := range tokens {
		if token == "" {
			continue // anybody can sign with no key
		}
		validator := client.NewRequestValidator(token)
		valid = validator.ValidateBody(bare, body, signature) || valid
		valid = fragment && validator.ValidateBody(url, body, signature) || valid
	}
	return valid
}
