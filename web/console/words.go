package console

import (
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"dunlin/ledger"
	"dunlin/paylink"
)

// didWords tell what was just done; the key stands in the address, the words do not.
var didWords = map[string]string{
	"signedout": "You are signed out.", "confirmed": "The batch is confirmed and on its way.", "held": "The batch is confirmed; it waits before anything is sent.",
	"approved": "The batch is approved.", "takeback": "Confirming was taken back. Nothing was sent.", "pause": "The batch is paused.",
	"resume": "The batch goes on.", "cancel": "It is called off.", "retry": "The requests are sent again.", "now": "The batch goes on now.",
	"resend": "The message is sent again.", "amend": "The request is amended.", "paid": "It is marked as paid.", "writeoff": "It is written off.", "unpaid": "It is asked for again; nothing is sent by itself.", "reopen": "It is asked for again; nothing is sent by itself.", "suppressed": "Nobody writes to that address any more.", "lifted": "That address may be written to again.", "closed": "Noted: it is off the list.", "provider": "The provider is tried again at once.",
	"user": "The user is changed; whoever was signed in by the old password or role is signed out.", "useradded": "The user is added.",
	"mended": "The mended rows are a batch of their own. Look at its plan, then confirm it.",
}

func (c *Console) funcs() template.FuncMap {
	return template.FuncMap{
		"asset": func(name string) string { return c.assets[name].path },
		"num":   number, "money": moneyText, "size": size,
		"when":       func(t time.Time) string { return c.when(t, "2 Jan 2006, 15:04") },
		"exactly":    func(t time.Time) string { return c.when(t, "2 Jan 2006, 15:04:05 MST") },
		"iso":        func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"day":        func(s string) string { return dayText(s) },
		"asBatch":    func(s string) paylink.BatchState { return paylink.BatchState(s) },
		"batchState": func(s paylink.BatchState) string { return first(batchWords[s], string(s)) },
		"tone":       tone, "sent": func(s paylink.DispatchState) string { return first(dispatchWords[s], string(s)) },
		"sentence": sentence, "paid": func(s paylink.PaymentState) string { return first(paymentWords[s], string(s)) },
		"message": func(s paylink.MessageState) string { return first(messageWords[s], string(s)) },
		"session": func(s paylink.SessionState) string { return first(sessionWords[s], string(s)) },
		"cause":   causeWords, "flagDo": func(k paylink.FlagKind) string { return first(flagWords[k], string(k)) },
		"role":     func(r ledger.Role) string { return roleWords[r] },
		"roles":    func() []ledger.Role { return ledger.Roles },
		"lang":     func(l string) string { return map[string]string{"ar": "Arabic", "en": "English"}[l] },
		"channel":  func(ch paylink.Channel) string { return channelWords[ch] },
		"barred":   func(r paylink.SuppressionReason) string { return first(barredWords[r], string(r)) },
		"provider": func(p any) string { return first(channelWords[paylink.Channel(fmt.Sprint(p))], "Payment provider") },
		"hint":     hintWords,
		"join":     strings.Join,
	}
}

func (c *Console) when(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.In(c.Zone).Format(layout)
}

func dayText(s string) string {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return s
	}
	return t.Format("2 Jan")
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// number groups thousands: 1,234,567.
func number(n int64) string { return group(fmt.Sprint(n)) }

func group(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	whole, frac, point := strings.Cut(digits, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + frac
	}
	return sign + whole
}

func moneyText(m paylink.Money) string { return m.Currency + " " + group(m.Decimal()) }

func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "ch") || strings.HasSuffix(one, "s") {
		return number(n) + " " + one + "es"
	}
	return number(n) + " " + one + "s"
}

// span says a duration as people do.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return plural(max(1, int64(d/time.Second)), "second")
	case d < 2*time.Hour:
		return plural(int64((d+30*time.Second)/time.Minute), "minute")
	case d < 48*time.Hour:
		return plural(int64((d+30*time.Minute)/time.Hour), "hour")
	}
	return plural(int64((d+12*time.Hour)/(24*time.Hour)), "day")
}

// tone is the colour of a state.
func tone(s any) string {
	switch fmt.Sprint(s) {
	case "sent", "done", "paid", "delivered", "read", "accepted", "paid_outside", "closed":
		return "good"
	case "failed", "halted", "undelivered", "unknown", "rejected", "open_gate":
		return "bad"
	case "held", "paused", "draft", "partially_paid", "authorized", "suppressed", "probing":
		return "warn"
	case "running", "in_flight", "importing", "claimed", "committing", "owed":
		return "busy"
	}
	return "calm"
}

var roleWords = map[ledger.Role]string{
	ledger.RoleViewer: "Viewer: looks, contacts masked", ledger.RoleOperator: "Operator: uploads and sends",
	ledger.RoleApprover: "Approver: approves what others send", ledger.RoleAdmin: "Administrator: everything, users too",
}

var channelWords = map[paylink.Channel]string{paylink.Email: "Email", paylink.SMS: "SMS", paylink.WhatsApp: "WhatsApp"}

var batchWords = map[paylink.BatchState]string{
	paylink.BatchImporting: "Being read", paylink.BatchDraft: "Waits for your confirmation", paylink.BatchHeld: "Waiting", paylink.BatchRunning: "Sending",
	paylink.BatchPaused: "Paused", paylink.BatchHalted: "Stopped by itself", paylink.BatchDone: "All sent", paylink.BatchCanceled: "Called off",
}

var dispatchWords = map[paylink.DispatchState]string{
	paylink.DispatchPending: "Waiting", paylink.DispatchInFlight: "Being sent", paylink.DispatchSent: "Sent", paylink.DispatchFailed: "Not sent",
	paylink.DispatchSuppressed: "Must not be written to", paylink.DispatchSkipped: "No longer owed", paylink.DispatchCanceled: "Called off", paylink.DispatchUnknown: "Unclear",
}

var paymentWords = map[paylink.PaymentState]string{
	paylink.PaymentUnpaid: "Unpaid", paylink.PaymentAuthorized: "Money held", paylink.PaymentPartiallyPaid: "Partly paid", paylink.PaymentPaid: "Paid",
	paylink.PaymentPartiallyRefunded: "Partly refunded", paylink.PaymentRefunded: "Refunded", paylink.PaymentExpired: "Expired", paylink.PaymentCanceled: "Not asked for",
	paylink.PaymentWrittenOff: "Written off", paylink.PaymentPaidOutside: "Paid in another way",
}

var messageWords = map[paylink.MessageState]string{
	paylink.MessageOwed: "To be sent", paylink.MessageClaimed: "Being prepared", paylink.MessageCommitting: "Being handed over", paylink.MessageAccepted: "Taken by the provider",
	paylink.MessageSent: "Left the provider", paylink.MessageDelivered: "Delivered", paylink.MessageRead: "Read", paylink.MessageFailed: "Failed",
	paylink.MessageUndelivered: "Not delivered", paylink.MessageSuppressed: "Must not be sent", paylink.MessageUnknown: "Answer lost, being looked up",
	paylink.MessageHeld: "Answer lost, waits for you", paylink.MessageCanceled: "No longer wanted",
}

var sessionWords = map[paylink.SessionState]string{
	paylink.SessionIntent: "About to be made", paylink.SessionOpen: "Made, not opened", paylink.SessionPending: "Opened by the payer", paylink.SessionAttempted: "Payment tried",
	paylink.SessionAuthorized: "Holds the money", paylink.SessionPaid: "Paid", paylink.SessionCOD: "Cash on delivery", paylink.SessionFailed: "Failed",
	paylink.SessionExpired: "Expired", paylink.SessionCanceled: "Canceled", paylink.SessionInvalid: "No longer payable", paylink.SessionVoided: "Hold let go",
	paylink.SessionRefunded: "Refunded", paylink.SessionGhost: "Answer lost; nobody has its link", paylink.SessionSuperseded: "Replaced by another",
}

var causes = map[paylink.Cause]string{
	paylink.CauseBadAddress: "The number or mailbox does not exist. Correct it in your books.", paylink.CauseNoAddress: "The row has no address for this channel.",
	paylink.CauseMailboxFull: "The mailbox is full. Try again in some days.", paylink.CauseUnreachable: "The phone was off or out of reach. Try again later.",
	paylink.CauseOptedOut: "The payer asked not to be written to.", paylink.CauseSuppressed: "The address bounced before, or was barred by a person.",
	paylink.CauseRejectedContent: "The carrier refused the text. Have its wording and sender looked at.", paylink.CauseTemplate: "Our text is broken or not approved. Tell your administrator.",
	paylink.CauseRefused: "Refused for this recipient; the code says why.", paylink.CauseCheckoutRefused: "The payment provider made no link; the code says why.",
	paylink.CauseCurrency: "The payment provider does not take this currency or amount.", paylink.CauseAccount: "Our account or sender is not accepted. Tell your administrator.",
	paylink.CauseRateLimited: "We were told to slow down. Try again.", paylink.CauseUnavailable: "The provider was down. Try again.",
	paylink.CauseLostAnswer: "It was sent, but the answer was lost.", paylink.CauseExpired: "Its time was over before it was sent.",
	paylink.CauseUndelivered: "Taken by the provider, then not delivered.", paylink.CauseExhausted: "It failed for now until the tries ran out. Try again.",
	paylink.CausePaid: "It was paid before anything was sent.", paylink.CauseCanceled: "A person called it off.", paylink.CauseInternal: "Our own mistake. Tell your administrator.",
}

func causeWords(c paylink.Cause) string {
	return first(causes[c], strings.ReplaceAll(string(c), "_", " "))
}

var flagWords = map[paylink.FlagKind]string{
	paylink.FlagSuperseded: "Paid by a link that another had replaced. The money is counted; see whether it was paid twice.",
	paylink.FlagGhost:      "Paid by a link whose making was lost. The money is counted.",
	paylink.FlagLate:       "Paid by a dead link, or after the debt was no longer asked for. The money is counted; refund it if it is not owed.",
	paylink.FlagTwice:      "More arrived than was asked for. Refund what is too much.",
	paylink.FlagAmount:     "The payment provider tells another amount than was asked for. Compare both.",
	paylink.FlagCurrency:   "Money of another currency arrived. It is recorded and not counted.",
	paylink.FlagOther:      "The payment provider tells of another payment under this order number. Look at both there.",
	paylink.FlagUnknown:    "The payment provider told of orders that are not ours. Does another system share this webhook?",
	paylink.FlagNotEnded:   "The payment provider would not end a payment session that must be replaced. The payer cannot pay until it does.",
	paylink.FlagRefund:     "The payment provider shows a refund that it did not tell the amount of.",
	"unreadable":           "A signed notice of the payment provider could not be read. Nothing was done about it.",
	"unsupported":          "A signed notice tells of something that is not known here.",
}

var barredWords = map[paylink.SuppressionReason]string{
	paylink.SuppressedOptedOut: "asked not to be written to", paylink.SuppressedBounced: "the address is dead", paylink.SuppressedComplained: "complained",
	paylink.SuppressedManual: "entered by a person",
}

// eventWords tell an event as a sentence.
func eventWords(e paylink.Event, channels map[paylink.MessageID]paylink.Channel) string {
	switch e.Entity {
	case "rows", "request":
		if e.From == "" {
			return "Read in from the file"
		}
		if e.To == string(paylink.DispatchInFlight) {
			return "Sending began"
		}
		return first(dispatchWords[paylink.DispatchState(e.To)], e.To)
	case "payment":
		return first(paymentWords[paylink.PaymentState(e.To)], e.To)
	case "session":
		what := "Payment session " + paylink.SessionID(e.EntityID).String() + ": "
		if e.From == e.To {
			return what + "news"
		}
		return what + strings.ToLower(first(sessionWords[paylink.SessionState(e.To)], e.To))
	case "money":
		return map[string]string{"settled": "Money arrived", "authorized": "Money is held", "refunded": "Money was sent back", "voided": "Held money was let go",
			"outside": "Money came in another way"}[e.To]
	case "message":
		id := paylink.MessageID(e.EntityID)
		return first(channelWords[channels[id]], "Message") + " " + id.String() + ": " + strings.ToLower(first(messageWords[paylink.MessageState(e.To)], e.To))
	case "batch":
		if e.From == e.To {
			return "Noted"
		}
		return first(batchWords[paylink.BatchState(e.To)], e.To)
	case "amend":
		return "Amended"
	case "suppression":
		return "Address barred or let go on"
	case "flag":
		return "Looked at by a person"
	}
	return strings.ReplaceAll(fmt.Sprintf("%s: %s", e.Entity, e.To), "_", " ")
}

// masked hides who a contact is from those whose work does not need it, and leaves enough to tell two apart.
func masked(c paylink.Contact) paylink.Contact {
	hide := func(s string) string {
		words := strings.Fields(s)
		for i, w := range words {
			r := []rune(w)
			words[i] = string(r[0]) + "•••"
		}
		return strings.Join(words, " ")
	}
	out := paylink.Contact{Name: hide(c.Name), FirstName: hide(c.FirstName), LastName: hide(c.LastName)}
	if box, domain, ok := strings.Cut(c.Email, "@"); ok && box != "" {
		out.Email = string([]rune(box)[0]) + "•••@" + domain
	}
	if n := len(c.Phone); n > 4 {
		out.Phone = c.Phone[:min(4, n-2)] + "•••••" + c.Phone[n-2:]
	}
	return out
}

// sentence begins with a capital and ends with a stop.
func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(unicode.ToUpper(r)) + strings.TrimSuffix(s[n:], ".") + "."
}

// hintWords turns what the command line would be told into what can be done on these pages.
func hintWords(s string) string {
	return strings.NewReplacer(", or map it", ", or say below what the columns mean", ", or set a default", ", or say below what holds for rows that do not say",
		"declare the file's format with --number-format '1,234.5' or '1.234,5'", "say how amounts are written where the columns are corrected",
		"send the file with --allow-repeat if the payer really owes it twice", "say, where the columns are corrected, that such rows are taken, if the payer really owes it twice").Replace(s)
}
