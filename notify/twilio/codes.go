package twilio

import (
	"fmt"
	"time"

	"dunlin/paylink"
)

// meaning is what an error code of Twilio says about a message.
type meaning struct {
	kind     paylink.Kind
	scope    paylink.Scope
	cause    paylink.Cause
	suppress bool
	wait     time.Duration // before another try makes sense; 0 = as the caller likes
}

func account() meaning {
	return meaning{kind: paylink.Temporary, scope: paylink.ScopeAccount, cause: paylink.CauseAccount}
}

func slowDown(wait time.Duration) meaning {
	return meaning{kind: paylink.Temporary, scope: paylink.ScopeProvider, cause: paylink.CauseRateLimited, wait: wait}
}

func again(cause paylink.Cause, wait time.Duration) meaning {
	return meaning{kind: paylink.Temporary, scope: paylink.ScopeRow, cause: cause, wait: wait}
}

func never(cause paylink.Cause) meaning {
	return meaning{kind: paylink.Permanent, scope: paylink.ScopeRow, cause: cause}
}

func stop(cause paylink.Cause) meaning {
	return meaning{kind: paylink.Permanent, scope: paylink.ScopeRow, cause: cause, suppress: true}
}

func broke() meaning {
	return meaning{kind: paylink.Permanent, scope: paylink.ScopeTemplate, cause: paylink.CauseTemplate}
}

// codes is Twilio's error dictionary as far as we act on it; https://www.twilio.com/docs/api/errors. Twilio warns that
// causes move between codes, so this is a table to be mended, and a code that is missing has a cautious meaning.
var codes = map[int]meaning{
	// The account, its credentials and its senders: nothing can be sent until a person acts, and no payer is to blame.
	20003: account(), // credentials wrong
	20005: account(), // account not active
	20006: account(), // access denied
	20008: account(), // test credentials
	20404: account(), // no such account at this address
	21212: account(), // sender invalid
	21603: account(), // no sender
	21606: account(), // sender is not ours
	21609: account(), // status callback refused
	21701: account(), // no such Messaging Service
	21703: account(), // Messaging Service without a sender that fits
	21704: account(), // Messaging Service without senders
	21705: account(), // Messaging Service invalid
	30002: account(), // suspended
	30034: account(), // sender not registered for the country
	63002: account(), // no such WhatsApp sender
	63007: account(), // no such WhatsApp sender

	// Sending to this country is not switched on. One such number must not halt a channel on which everybody else can be
	// reached, so the row fails, and its route goes on; the cause is the account's so that a person who has switched the
	// country on can send those again by cause.
	21408: never(paylink.CauseAccount),

	20429: slowDown(0),               // too many requests at once
	21611: slowDown(time.Minute),     // the sender's queue is full
	30001: slowDown(time.Minute),     // as 21611, found later
	63018: slowDown(5 * time.Minute), // WhatsApp's limit for the sender

	30036: again(paylink.CauseRateLimited, 0),              // waited in the queue longer than allowed
	30003: again(paylink.CauseUnreachable, 30*time.Minute), // handset off or away
	30008: again(paylink.CauseUnreachable, 30*time.Minute), // the carrier does not say
	30047: again(paylink.CauseUnavailable, 5*time.Minute),  // neither queued nor sent
	30610: again(paylink.CauseRefused, time.Hour),          // quiet hours at the recipient

	// The carrier did not answer in time. Twilio itself does not repeat it, for fear of a duplicate.
	30410: {kind: paylink.Unknown, scope: paylink.ScopeRow, cause: paylink.CauseLostAnswer},

	21211: never(paylink.CauseBadAddress), // not a number
	21214: never(paylink.CauseBadAddress), // cannot be reached
	21217: never(paylink.CauseBadAddress), // not a number
	21604: never(paylink.CauseBadAddress), // no number
	21614: never(paylink.CauseBadAddress), // not a mobile
	21635: never(paylink.CauseBadAddress), // landline
	30005: never(paylink.CauseBadAddress), // unknown to the carrier
	30006: never(paylink.CauseBadAddress), // landline
	63003: never(paylink.CauseBadAddress), // not on WhatsApp
	63024: never(paylink.CauseBadAddress), // not on WhatsApp, or its terms not accepted
	21612: never(paylink.CauseRefused),    // this sender cannot reach this number
	63001: never(paylink.CauseRefused),
	63005: never(paylink.CauseRefused),
	63032: never(paylink.CauseRefused),
	63033: never(paylink.CauseRefused),

	21610: stop(paylink.CauseOptedOut), // STOP
	63014: stop(paylink.CauseOptedOut), // blocked the sender

	21617: never(paylink.CauseRejectedContent), // too long
	30004: never(paylink.CauseRejectedContent), // blocked
	30007: never(paylink.CauseRejectedContent), // filtered as spam
	63049: never(paylink.CauseRejectedContent), // Meta declined a marketing template

	21602: broke(), // no body
	21656: broke(), // bad variables
	63013: broke(), // against WhatsApp's policy
	63016: broke(), // free text instead of a template
	63021: broke(), // bad content
	63027: broke(), // no template in this language
	63028: broke(), // wrong number of variables
	92007: broke(), // bad variables
}

// Reported is what Twilio's error code means that came after acceptance, in a status callback or in a fetched message. An
// unknown code, and 0, is the end on this channel for this message only.
func Reported(code int) *paylink.Failure {
	m, ok := codes[code]
	if !ok {
		m = never(paylink.CauseUndelivered)
	}
	return m.failure(code, "reported by Twilio")
}

func (m meaning) failure(code int, detail string) *paylink.Failure {
	f := &paylink.Failure{Kind: m.kind, Scope: m.scope, Cause: m.cause, Detail: detail, RetryAfter: m.wait, Suppress: m.suppress}
	if code != 0 {
		f.Code = fmt.Sprint(code)
	}
	return f
}
