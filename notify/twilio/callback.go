package twilio

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"dunlin/paylink"
)

// Signed verifies what Twilio posts to one address.
type Signed struct {
	// URL is that address as Twilio was given it, without its query: from the configured public address, since a Host header
	// is anybody's to write.
	URL string
	// Tokens are the account's auth tokens, two while one replaces the other.
	Tokens []string
}

// Verify reports whether a delivery is signed with one of the tokens, over our address with the delivery's query.
func (s Signed) Verify(r *http.Request, body []byte) bool {
	target, fragment, given := strings.Cut(s.URL, "#")
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	if given {
		target += "#" + fragment
	}
	return ValidSignature(s.Tokens, target, body, r.Header.Get("X-Twilio-Signature"))
}

// StatusCallbacks reads callbacks about messages that Twilio took; see Config.StatusCallback.
type StatusCallbacks struct{ Signed }

// maxWord bounds a status, a code or a token, which are stored.
const maxWord = 64

// Keep is what of a callback is stored: the attempt's token, Twilio's SID, the status and its error code, in one order. It
// is nil without SID or status.
func (StatusCallbacks) Keep(r *http.Request, body []byte) []byte {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil
	}
	first := func(names ...string) string {
		for _, name := range names {
			if v := form.Get(name); v != "" {
				return v
			}
		}
		return ""
	}
	sid, status, token := first("MessageSid", "SmsSid"), first("MessageStatus", "SmsStatus"), r.URL.Query().Get("a")
	if !validSID(sid) || status == "" || len(status) > maxWord || len(token) > maxWord {
		return nil
	}
	kept := url.Values{"MessageSid": {sid}, "MessageStatus": {status}}
	if token != "" {
		kept.Set("a", token)
	}
	if code := form.Get("ErrorCode"); code != "" && len(code) <= maxWord {
		kept.Set("ErrorCode", code)
	}
	return []byte(kept.Encode())
}

// Read reads what Keep returned. The state is empty for a status that is new or about no message of ours.
func (StatusCallbacks) Read(kept []byte) (paylink.MessageReceipt, error) {
	form, err := url.ParseQuery(string(kept))
	if err != nil || !validSID(form.Get("MessageSid")) {
		return paylink.MessageReceipt{}, errors.New("twilio: not a status callback")
	}
	r := paylink.MessageReceipt{Token: form.Get("a"), Ref: form.Get("MessageSid"), RawState: form.Get("MessageStatus")}
	r.State, _ = State(r.RawState)
	if r.State == paylink.MessageFailed || r.State == paylink.MessageUndelivered {
		code, _ := strconv.Atoi(form.Get("ErrorCode")) // a code that is none says nothing more than the status
		r.Failure = Reported(code)
	}
	return r, nil
}

// Replies reads payers' answers as far as they ask to be let alone, or no longer to be.
type Replies struct{ Signed }

// stopWords and startWords are what Twilio itself acts on for SMS, and what an Arabic reader would write instead. On
// WhatsApp nobody acts on them but us, unless the account has Advanced Opt-Out, which says so in OptOutType.
var (
	stopWords  = words("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "OPTOUT", "REVOKE", "إيقاف", "ايقاف", "توقف", "الغاء", "إلغاء")
	startWords = words("START", "UNSTOP")
)

func words(list ...string) map[string]bool {
	set := map[string]bool{}
	for _, w := range list {
		set[w] = true
	}
	return set
}

// The two wishes of a payer that are acted on, as stored.
const wishStop, wishStart = "STOP", "START"

func wish(form url.Values) string {
	switch said := form.Get("OptOutType"); said {
	case wishStop, wishStart:
		return said
	case "HELP":
		return ""
	}
	word := strings.ToUpper(strings.Trim(form.Get("Body"), " \t\r\n\u00a0.!\"'"))
	switch {
	case stopWords[word]:
		return wishStop
	case startWords[word]:
		return wishStart
	}
	return ""
}

// Keep is what of an answer is stored, under a key that is the same for two deliveries: the wish, the channel, and a hash
// of the address; no text and no number. It is nil for an answer that wishes neither.
func (Replies) Keep(_ *http.Request, body []byte) (key string, kept []byte) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", nil
	}
	channel, from, sid := paylink.SMS, form.Get("From"), form.Get("MessageSid")
	if number, is := strings.CutPrefix(from, "whatsapp:"); is {
		channel, from = paylink.WhatsApp, number
	}
	w := wish(form)
	if w == "" || !e164(from) || !validSID(sid) {
		return "", nil
	}
	out := url.Values{"Wish": {w}, "Channel": {string(channel)}, "Address": {paylink.AddressHash(channel, from)}}
	return sid, []byte(out.Encode())
}

// Read reads what Keep returned.
func (Replies) Read(kept []byte) (s paylink.Suppression, lift bool, err error) {
	form, err := url.ParseQuery(string(kept))
	channel, hash, w := paylink.Channel(form.Get("Channel")), form.Get("Address"), form.Get("Wish")
	if err != nil || channel != paylink.SMS && channel != paylink.WhatsApp || hash == "" || w != wishStop && w != wishStart {
		return paylink.Suppression{}, false, errors.New("twilio: not a wish that was kept")
	}
	s = paylink.Suppression{Channel: channel, Hash: hash, Reason: paylink.SuppressedOptedOut, Source: paylink.SourceStop}
	if w == wishStart {
		s.Source = "start"
	}
	return s, w == wishStart, nil
}

// LiftSources are the sources of suppressions that a START takes back: a STOP that we read ourselves, and one that
// Twilio told us of by refusing to send.
func LiftSources() []string { return []string{paylink.SourceStop, "21610"} }
