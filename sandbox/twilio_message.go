package sandbox

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Message is an accepted SMS or WhatsApp message.
type Message struct {
	SID        string    `json:"sid"`
	To         string    `json:"to"` // with whatsapp: in front for WhatsApp
	From       string    `json:"from,omitempty"`
	ServiceSID string    `json:"messaging_service_sid,omitempty"`
	Body       string    `json:"body"` // a template's text is filled in; empty in quiet mode
	ContentSID string    `json:"content_sid,omitempty"`
	Variables  string    `json:"content_variables,omitempty"`
	Status     string    `json:"status"`
	ErrorCode  int       `json:"error_code,omitempty"`
	Segments   int       `json:"segments"`
	Callback   string    `json:"status_callback,omitempty"`
	Created    time.Time `json:"created"`
	Updated    time.Time `json:"updated"`
	Sent       time.Time `json:"sent,omitzero"`
}

// WhatsApp reports which of the two it is.
func (m Message) WhatsApp() bool { return strings.HasPrefix(m.To, whatsapp) }

// Number is the recipient without the channel's prefix.
func (m Message) Number() string { return strings.TrimPrefix(m.To, whatsapp) }

const whatsapp = "whatsapp:"

type message struct {
	Message
	scheduled bool
	linkVar   string // the variable that makes a template's link
}

// mark is what makes two messages to one number the same: the link, else all of it.
func (m *message) mark() string {
	if m.linkVar != "" {
		return m.linkVar
	}
	if l := links(m.Body); len(l) > 0 {
		return l[0]
	}
	return m.Body
}

type refusal struct {
	code int
	text string
}

var (
	e164       = regexp.MustCompile(`^\+[1-9]\d{6,14}$`)
	senderID   = regexp.MustCompile(`^[A-Za-z0-9 ]{1,11}$`)
	shortSMS   = regexp.MustCompile(`^\d{3,8}$`)
	letter     = regexp.MustCompile(`[A-Za-z]`)
	serviceSID = regexp.MustCompile(`^MG[0-9a-f]{32}$`)
	slot       = regexp.MustCompile(`\{\{(\w+)\}\}`)
)

// The refusals of Twilio's test numbers.
var (
	magicTo = map[string]refusal{
		"+15005550001": {21211, "Invalid 'To' Phone Number"},
		"+15005550002": {21612, "Message cannot be sent with the current combination of 'To' and/or 'From' parameters"},
		"+15005550003": {21408, "Permission to send an SMS or MMS has not been enabled for the region indicated by the 'To' number"},
		"+15005550004": {21610, "Attempt to send to unsubscribed recipient"},
		"+15005550009": {21614, "'To' number is not a valid mobile number"},
	}
	magicFrom = map[string]refusal{
		"+15005550001": {21212, "Invalid 'From' Number"},
		"+15005550007": {21606, "The 'From' phone number provided is not a valid message-capable phone number for this account"},
		"+15005550008": {21611, "This 'From' number has exceeded the maximum number of queued messages"},
	}
)

// AsyncErrors are the delivery errors that a number asks for by its last five digits, with the status each ends in. The
// codes from 63000 on apply to WhatsApp, the others to SMS.
var AsyncErrors = map[int]string{
	30001: "failed", 30003: "undelivered", 30004: "undelivered", 30005: "undelivered", 30006: "undelivered",
	30007: "undelivered", 30008: "undelivered", 30036: "failed", 30410: "undelivered",
	63003: "failed", 63014: "undelivered", 63018: "failed", 63024: "undelivered", 63049: "undelivered",
}

// checkMessage reads the form of a send, in the order in which Twilio misses parameters.
func (s *Sandbox) checkMessage(form url.Values) (*message, *refusal) {
	m := &message{Message: Message{
		To: form.Get("To"), From: form.Get("From"), ServiceSID: form.Get("MessagingServiceSid"), Body: form.Get("Body"),
		ContentSID: form.Get("ContentSid"), Variables: form.Get("ContentVariables"), Callback: form.Get("StatusCallback"),
	}}
	for _, check := range []func(*message, url.Values) *refusal{s.checkAddresses, s.checkContent, checkOptions} {
		if refused := check(m, form); refused != nil {
			return nil, refused
		}
	}
	m.Status = "queued"
	m.Segments = segmentCount(m.Body)
	if m.ServiceSID != "" {
		m.Status, m.Segments = "accepted", 0
		// Scheduling works through a Messaging Service only; without one Twilio drops the parameters and sends at once.
		if form.Get("ScheduleType") == "fixed" {
			m.Status, m.scheduled = "scheduled", true
		}
	}
	return m, nil
}

func (s *Sandbox) checkAddresses(m *message, _ url.Values) *refusal {
	if m.To == "" {
		return &refusal{21604, "A 'To' phone number is required."}
	}
	if m.From == "" && m.ServiceSID == "" {
		return &refusal{21603, "A 'From' phone number is required."}
	}
	to, toWhatsApp := strings.CutPrefix(m.To, whatsapp)
	if !e164.MatchString(to) {
		return &refusal{21211, "Invalid 'To' Phone Number"}
	}
	if m.ServiceSID != "" && !serviceSID.MatchString(m.ServiceSID) {
		return &refusal{21701, "The Messaging Service does not exist"}
	}
	if m.From != "" {
		from, fromWhatsApp := strings.CutPrefix(m.From, whatsapp)
		switch {
		case fromWhatsApp && !e164.MatchString(from):
			return &refusal{63007, "Twilio could not find a Channel with the specified From address"}
		case !fromWhatsApp && !e164.MatchString(from) && !shortSMS.MatchString(from) && !(senderID.MatchString(from) && letter.MatchString(from)):
			return &refusal{21212, "Invalid 'From' Number"}
		case fromWhatsApp != toWhatsApp:
			return &refusal{21910, "Invalid From and To pair. From and To should be of the same channel"}
		}
		if bad, ok := magicFrom[from]; ok {
			return &bad
		}
		if from == to {
			return &refusal{21266, "'To' and 'From' number cannot be the same"}
		}
	}
	if bad, ok := magicTo[to]; ok {
		return &bad
	}
	return nil
}

func (s *Sandbox) checkContent(m *message, form url.Values) *refusal {
	switch {
	case m.ContentSID != "" && (m.Body != "" || form.Has("MediaUrl")):
		return &refusal{20001, "ContentSid excludes Body and MediaUrl"}
	case m.ContentSID != "":
		return s.fillTemplate(m)
	case form.Has("ContentVariables"):
		return &refusal{21654, "ContentSid Required"}
	case m.Body == "":
		return &refusal{21602, "Message body is required."}
	case m.WhatsApp():
		return &refusal{63016, "Failed to send freeform message because you are outside the allowed window. Please use a Message Template."}
	case utf8.RuneCountInString(m.Body) > 1600:
		return &refusal{21617, "The concatenated message body exceeds the 1600 character limit"}
	}
	return nil
}

// fillTemplate checks the variables as WhatsApp does and makes the text that the recipient sees.
func (s *Sandbox) fillTemplate(m *message) *refusal {
	text, ok := s.cfg.Templates[m.ContentSID]
	if !contentSID.MatchString(m.ContentSID) || !ok {
		return &refusal{21655, "The ContentSid is Invalid"}
	}
	bad := &refusal{21656, "The ContentVariables Parameter is invalid"}
	vars := map[string]string{}
	if m.Variables != "" && json.Unmarshal([]byte(m.Variables), &vars) != nil {
		return bad
	}
	for _, v := range vars {
		if strings.TrimSpace(v) == "" || strings.ContainsAny(v, "\n\r\t") || strings.Contains(v, "     ") {
			return bad
		}
	}
	used := map[string]bool{}
	m.Body = slot.ReplaceAllStringFunc(text, func(hole string) string {
		name := strings.Trim(hole, "{}")
		used[name] = true
		v := vars[name]
		if name == "6" {
			m.linkVar = v
			if s.cfg.PayBase != "" && !pageURL(v) {
				v = s.cfg.PayBase + v
			}
		}
		return v
	})
	for name := range used {
		if _, ok := vars[name]; !ok {
			return bad
		}
	}
	if len(vars) != len(used) || utf8.RuneCountInString(m.Body) > 1024 {
		return bad
	}
	return nil
}

func checkOptions(m *message, form url.Values) *refusal {
	if m.Callback != "" {
		u, err := url.Parse(m.Callback)
		if err != nil || u.Hostname() == "" || strings.Contains(u.Hostname(), "_") || u.Scheme != "http" && u.Scheme != "https" {
			return &refusal{21609, "The 'StatusCallback' URL is not a valid URL"}
		}
	}
	if v := form.Get("ValidityPeriod"); v != "" {
		if n, err := strconv.Atoi(v); err != nil || n < 1 || n > 36000 {
			return &refusal{20001, "ValidityPeriod must be between 1 and 36000 seconds"}
		}
	}
	return nil
}

// asyncError is the delivery error that the recipient's number asks for, or 0.
func (m Message) asyncError() int {
	if len(m.To) < 5 {
		return 0
	}
	code, err := strconv.Atoi(m.To[len(m.To)-5:])
	if _, ok := AsyncErrors[code]; err != nil || !ok || m.WhatsApp() != (code >= 63000) {
		return 0
	}
	return code
}

const (
	gsm7 = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿" +
		"abcdefghijklmnopqrstuvwxyzäöñüà"
	gsm7Double = "^{}\\[~]|€\f"
)

// segmentCount is how many SMS the text makes: by GSM 7-bit if all of it fits that alphabet, else by UCS-2.
func segmentCount(text string) int {
	septets, units, plain := 0, 0, true
	for _, r := range text {
		units++
		if r > 0xffff {
			units++
		}
		switch {
		case strings.ContainsRune(gsm7, r):
			septets++
		case strings.ContainsRune(gsm7Double, r):
			septets += 2
		default:
			plain = false
		}
	}
	count := func(n, one, more int) int {
		if n <= one {
			return 1
		}
		return (n + more - 1) / more
	}
	if plain {
		return count(septets, 160, 153)
	}
	return count(units, 70, 67)
}

// Messages lists the accepted messages in order; none in quiet mode, which keeps counts only.
func (s *Sandbox) Messages() []Message {
	out, _ := s.messagesAfter(0, 0, "")
	return out
}

func (s *Sandbox) messagesAfter(after, limit int, to string) ([]Message, int) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return forward(s.store.messages, after, limit, func(m *message) (Message, bool) {
		return m.Message, strings.Contains(m.To, to)
	})
}
