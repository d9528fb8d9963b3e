package main

import (
	"fmt"
	"strings"

	"dunlin/paylink"
)

// causeWords say what a cause means and, where it can be told, what helps.
func causeWords(c paylink.Cause) string {
	switch c {
	case paylink.CauseBadAddress:
		return "the number or mailbox does not exist; mend it at your end"
	case paylink.CauseNoAddress:
		return "the row has no address for its channel"
	case paylink.CauseMailboxFull:
		return "the mailbox is full; retry in some days"
	case paylink.CauseUnreachable:
		return "the handset was off or out of reach; retry later"
	case paylink.CauseOptedOut:
		return "the payer asked not to be written to"
	case paylink.CauseSuppressed:
		return "the address bounced before or was barred by a person"
	case paylink.CauseRejectedContent:
		return "the carrier refused the text; look at its wording and sender"
	case paylink.CauseTemplate:
		return "our template is broken or not approved"
	case paylink.CauseRefused:
		return "refused for this recipient; the code says why"
	case paylink.CauseCheckoutRefused:
		return "the payment provider made no link; the code says why"
	case paylink.CauseCurrency:
		return "the payment provider does not take this currency or amount"
	case paylink.CauseAccount:
		return "our key, account or sender is not accepted"
	case paylink.CauseRateLimited:
		return "told to slow down; retry"
	case paylink.CauseUnavailable:
		return "the provider was down; retry"
	case paylink.CauseLostAnswer:
		return "sent, but the answer was lost"
	case paylink.CauseExpired:
		return "the debt's own expiry passed before it was sent"
	case paylink.CauseUndelivered:
		return "taken by the provider, then not delivered"
	case paylink.CauseExhausted:
		return "temporary failures until the tries ran out; retry"
	case paylink.CausePaid:
		return "paid before anything was sent"
	case paylink.CauseCanceled:
		return "a person called it off"
	case paylink.CauseRestored:
		return "a backup was restored, and it may have been sent since; compare, then retry or cancel"
	case paylink.CauseAttachment:
		return "the file of attachment_url cannot be sent; mend its address, retry"
	case paylink.CauseInternal:
		return "our own mistake; the worker's log tells more"
	}
	return ""
}

// eventWords tell an event as a sentence. What is not in the tables is told by its states.
func eventWords(e paylink.Event, channels map[paylink.MessageID]paylink.Channel) string {
	switch e.Entity {
	case "rows", "request":
		if w := requestWords[paylink.DispatchState(e.To)]; w != "" {
			if e.From == "" {
				return "read in from the file"
			}
			return w
		}
	case "payment":
		if w := paymentWords[paylink.PaymentState(e.To)]; w != "" {
			return w
		}
	case "session":
		if e.From == e.To && e.Why != "" { // something was learnt of it
			return fmt.Sprintf("news of checkout session %s", paylink.SessionID(e.EntityID))
		}
		if w := sessionWords[paylink.SessionState(e.To)]; w != "" {
			return fmt.Sprintf(w, paylink.SessionID(e.EntityID))
		}
	case "money":
		if w := moneyWords[e.To]; w != "" {
			if !strings.Contains(w, "%s") {
				return w
			}
			return fmt.Sprintf(w, paylink.SessionID(e.EntityID))
		}
	case "amend":
		if e.From == "" || e.To == "" {
			return "amended: " + orElse(e.To, "taken away")
		}
		return fmt.Sprintf("amended: %s instead of %s", e.To, e.From)
	case "page":
		return "the payer's page was looked at"
	case "proof":
		if e.To == "right" {
			return "the digits for the saved cards were right"
		}
		return "wrong digits for the saved cards"
	case "redact":
		return "personal data was erased"
	case "message":
		if w := messageWords[paylink.MessageState(e.To)]; w != "" {
			what := paylink.MessageID(e.EntityID).String()
			if ch := channels[paylink.MessageID(e.EntityID)]; ch != "" {
				what = string(ch) + " " + what
			}
			if e.From == e.To && e.Why != "" { // of one of its copies
				return "news of " + what
			}
			return fmt.Sprintf(w, what)
		}
	case "suppression":
		return "the address is not written to any more: " + human(e.To)
	}
	return fmt.Sprintf("%s: %s → %s", e.Entity, orElse(e.From, "nothing"), e.To)
}

var requestWords = map[paylink.DispatchState]string{
	paylink.DispatchPending:    "waits to be begun",
	paylink.DispatchInFlight:   "begun: a link or a message is owed",
	paylink.DispatchSent:       "sent: nothing more is owed",
	paylink.DispatchFailed:     "failed: nothing was taken, nothing will be tried by itself",
	paylink.DispatchSuppressed: "not sent: the payer must not be written to",
	paylink.DispatchSkipped:    "not sent: no longer owed",
	paylink.DispatchCanceled:   "called off before anything was sent",
	paylink.DispatchUnknown:    "unknown: an answer was lost",
}

var paymentWords = map[paylink.PaymentState]string{
	paylink.PaymentUnpaid:            "the debt is unpaid",
	paylink.PaymentAuthorized:        "the payer's money is held, not taken yet",
	paylink.PaymentPartiallyPaid:     "a part was paid",
	paylink.PaymentPaid:              "paid",
	paylink.PaymentPartiallyRefunded: "a part was refunded",
	paylink.PaymentRefunded:          "refunded",
	paylink.PaymentExpired:           "the debt expired",
	paylink.PaymentCanceled:          "the debt is no longer asked for",
	paylink.PaymentWrittenOff:        "written off",
	paylink.PaymentPaidOutside:       "marked as paid in another way",
}

var moneyWords = map[string]string{
	"settled":    "money arrived in checkout session %s",
	"authorized": "money is held in checkout session %s",
	"refunded":   "money of checkout session %s was sent back",
	"outside":    "money came another way",
	"voided":     "the money held in checkout session %s was let go",
}

// flagWords say what a person should look at, and what to do.
var flagWords = map[paylink.FlagKind]string{
	paylink.FlagSuperseded: "paid on a session that another had replaced; the money is counted, see whether it was paid twice",
	paylink.FlagGhost:      "paid on a session whose making was lost; the money is counted",
	paylink.FlagLate:       "paid on a dead session, or after the debt was no longer asked for; the money is counted",
	paylink.FlagTwice:      "more arrived than was asked for; refund what is too much",
	paylink.FlagAmount:     "the payment provider tells another amount than was asked for",
	paylink.FlagCurrency:   "money of another currency arrived; it is recorded and not counted",
	paylink.FlagOther:      "an event was signed for this order but tells of another session; look at both at the provider",
	paylink.FlagUnknown:    "signed events came for orders that are not ours; does another system share this webhook?",
	paylink.FlagNotEnded:   "the payment provider would not end a session that must be replaced; the payer cannot pay until it does",
	paylink.FlagRefund:     "the provider shows a refund that it did not tell the amount of",
	paylink.FlagNoMessage:  "receipts came for messages that are not ours; does another system share this callback address?",
	paylink.FlagSentTwice:  "an answer was lost, the message was sent again by policy, and the payer has both",
	"unreadable":           "a signed event could not be read; nothing was done about it",
	"unsupported":          "a signed event tells of a state or operation that is not known here",
}

var sessionWords = map[paylink.SessionState]string{
	paylink.SessionIntent:     "checkout session %s is about to be made",
	paylink.SessionOpen:       "checkout session %s was made: there is a link",
	paylink.SessionPending:    "the payer opened checkout session %s",
	paylink.SessionAttempted:  "the payer tried to pay in checkout session %s",
	paylink.SessionAuthorized: "checkout session %s holds the payer's money",
	paylink.SessionPaid:       "checkout session %s was paid",
	paylink.SessionCOD:        "in checkout session %s the payer chose cash on delivery",
	paylink.SessionFailed:     "checkout session %s failed",
	paylink.SessionExpired:    "checkout session %s expired",
	paylink.SessionCanceled:   "checkout session %s was canceled",
	paylink.SessionInvalid:    "checkout session %s became invalid",
	paylink.SessionVoided:     "checkout session %s was voided",
	paylink.SessionRefunded:   "checkout session %s was refunded",
	paylink.SessionGhost:      "the answer for checkout session %s was lost; nobody gets its link",
	paylink.SessionSuperseded: "checkout session %s was ended for another",
}

var messageWords = map[paylink.MessageState]string{
	paylink.MessageOwed:        "%s is to be sent",
	paylink.MessageClaimed:     "%s is being prepared",
	paylink.MessageCommitting:  "%s is being handed to the provider",
	paylink.MessageAccepted:    "%s was taken by the provider",
	paylink.MessageSent:        "%s left the provider",
	paylink.MessageDelivered:   "%s was delivered",
	paylink.MessageRead:        "%s was read",
	paylink.MessageFailed:      "%s failed",
	paylink.MessageUndelivered: "%s was not delivered",
	paylink.MessageSuppressed:  "%s must not be sent to this address",
	paylink.MessageUnknown:     "the answer to %s was lost",
	paylink.MessageHeld:        "%s waits for a person: its answer was lost and not found",
	paylink.MessageCanceled:    "%s is no longer wanted",
}
