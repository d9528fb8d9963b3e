// Package templates renders every text that a person reads. These are the messages that carry a payment link (an email with
// subject, plain text and HTML, an SMS, the variables of a WhatsApp template) and the page behind that link, in English
// and Arabic.
//
// The wording lives in files beside the code, one set per purpose, language and channel, so that it can be reviewed and
// replaced by people who do not read Go: [Load] takes a folder whose files replace the embedded ones. Every template is
// parsed and executed at load, on full and on sparse sample data, so that a mistake in one is found at start and not in
// the middle of a batch.
//
// The package guarantees that a payer file's data cannot break out of its place: HTML is escaped by context, and line
// breaks, control and direction characters are taken out of every value. It leaves addressing, sending and the choice of
// language and channel to others, and does no I/O but reading that folder.
package templates

import (
	"bytes"
	"cmp"
	"fmt"
	htmltemplate "html/template"
	"io"
	"maps"
	"strconv"
	"strings"
	"sync"
	"text/template"

	"dunlin/paylink"
)

// Set is all templates of a program, parsed. It never changes and is safe for concurrent use.
type Set struct {
	messages map[key]*message
	sources  map[string]string
	pages    *pages
	buffers  sync.Pool
}

type key struct {
	purpose, lang string
	channel       paylink.Channel
}

type message struct {
	subject, text *template.Template
	html          *htmltemplate.Template
	hash          string
}

// Mail is a rendered email.
type Mail struct {
	Subject string // one line
	Text    string
	HTML    string // refers to the QR code as cid:LinkData.QR
}

// Email renders the mail of a purpose, such as [paylink.PurposeLink], in "en" or "ar".
func (s *Set) Email(purpose, lang string, d LinkData) (Mail, error) {
	m, err := s.message(purpose, lang, paylink.Email)
	if err != nil {
		return Mail{}, err
	}
	return s.email(m, d.clean())
}

func (s *Set) email(m *message, d LinkData) (mail Mail, err error) {
	if mail.Subject, err = s.execute(m.subject, d); err != nil {
		return Mail{}, err
	}
	if mail.Text, err = s.execute(m.text, d); err != nil {
		return Mail{}, err
	}
	if mail.HTML, err = s.execute(m.html, d); err != nil {
		return Mail{}, err
	}
	mail.Subject = oneLine(mail.Subject)
	return mail, nil
}

// SMS renders the SMS of a purpose, in GSM-7 if its words allow that (see [ForSMS]).
func (s *Set) SMS(purpose, lang string, d LinkData) (string, error) {
	m, err := s.message(purpose, lang, paylink.SMS)
	if err != nil {
		return "", err
	}
	return s.sms(m, d.clean())
}

func (s *Set) sms(m *message, d LinkData) (string, error) {
	text, err := s.execute(m.text, d)
	return ForSMS(strings.TrimSpace(text)), err
}

// WhatsApp gives the variables of the WhatsApp template that was approved for a purpose and language: line n of the
// file is variable n. In the embedded files these are name, amount, description, due date, short reference and
// linkSuffix, which stands in for d.Link: what follows PUBLIC_URL/p/ in the template's button, or the whole link if the
// template has it in its body. No value is empty ("-" instead), because Meta refuses those.
func (s *Set) WhatsApp(purpose, lang string, d LinkData, linkSuffix string) (map[string]string, error) {
	m, err := s.message(purpose, lang, paylink.WhatsApp)
	if err != nil {
		return nil, err
	}
	d.Link = linkSuffix
	return s.whatsApp(m, d.clean())
}

func (s *Set) whatsApp(m *message, d LinkData) (map[string]string, error) {
	text, err := s.execute(m.text, d)
	if err != nil {
		return nil, err
	}
	vars := make(map[string]string, 6)
	n := 0
	for line := range strings.Lines(text) {
		n++
		vars[strconv.Itoa(n)] = cmp.Or(oneLine(line), "-")
	}
	return vars, nil
}

// Hash is the SHA-256, in hex, of the wording that a message is rendered from; empty if there is no such message. It is
// stored with each attempt at sending, so that a message can be shown as it was sent after its template has changed.
func (s *Set) Hash(purpose, lang string, ch paylink.Channel) string {
	if m := s.messages[key{purpose, lang, ch}]; m != nil {
		return m.hash
	}
	return ""
}

// Source is the wording behind a hash of this set: the text of each file after a line with its name.
func (s *Set) Source(hash string) (text string, ok bool) {
	text, ok = s.sources[hash]
	return text, ok
}

// Sources are the texts of all messages by their hash.
func (s *Set) Sources() map[string]string { return maps.Clone(s.sources) }

func (s *Set) message(purpose, lang string, ch paylink.Channel) (*message, error) {
	if m := s.messages[key{purpose, lang, ch}]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("%s template for purpose %q in language %q: %w", ch, purpose, lang, paylink.ErrNotFound)
}

func (s *Set) execute(t interface{ Execute(io.Writer, any) error }, d LinkData) (string, error) {
	buf := s.buffers.Get().(*bytes.Buffer)
	defer s.buffers.Put(buf)
	buf.Reset()
	if err := t.Execute(buf, &d); err != nil {
		return "", fmt.Errorf("rendering: %w", err)
	}
	return buf.String(), nil
}
