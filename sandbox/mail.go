package sandbox

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Mail is an accepted delivery to one mailbox.
type Mail struct {
	ID        int       `json:"id"` // counts from 1
	From      string    `json:"from"`
	To        string    `json:"to"`
	Received  time.Time `json:"received"`
	Size      int       `json:"size"` // bytes as they came, dots undone
	MessageID string    `json:"message_id"`
	Subject   string    `json:"subject"`
	Text      string    `json:"text"`
	HTML      string    `json:"html,omitempty"`
	Links     []string  `json:"links,omitempty"` // of the text part
	// Header has canonical names. Empty, like HTML, once the body was dropped; see Config.Keep.
	Header textproto.MIMEHeader `json:"header,omitempty"`

	raw    []byte
	inline map[string]part // by Content-ID
}

type part struct {
	contentType string
	data        []byte
}

// maxRaw bounds what is kept of one mail. What lies beyond still counts in Size.
const maxRaw = 1 << 20

// outline fills in what is cheap to keep: subject, Message-ID, text and links. It reads no further than the text part.
func (m *Mail) outline() {
	msg, err := mail.ReadMessage(bytes.NewReader(m.raw))
	if err != nil {
		m.Text = clip(string(m.raw))
		return
	}
	m.MessageID = strings.Trim(msg.Header.Get("Message-Id"), "<> ")
	m.Subject = decodeHeader(msg.Header.Get("Subject"))
	walk(textproto.MIMEHeader(msg.Header), msg.Body, 0, func(h textproto.MIMEHeader, kind string, body io.Reader) bool {
		if kind != "text/plain" {
			return true
		}
		b, _ := io.ReadAll(io.LimitReader(body, maxRaw))
		m.Text = clip(string(b))
		return false
	})
	m.Links = links(m.Text)
}

// full returns a copy with the HTML part, the headers and the inline pictures too.
func (m *Mail) full() Mail {
	out := *m
	out.Links = slices.Clone(m.Links)
	if m.raw == nil {
		return out
	}
	msg, err := mail.ReadMessage(bytes.NewReader(m.raw))
	if err != nil {
		return out
	}
	out.Header = textproto.MIMEHeader(msg.Header)
	out.inline = map[string]part{}
	walk(out.Header, msg.Body, 0, func(h textproto.MIMEHeader, kind string, body io.Reader) bool {
		id := strings.Trim(h.Get("Content-Id"), "<> ")
		if kind != "text/html" && id == "" {
			return true
		}
		b, _ := io.ReadAll(io.LimitReader(body, maxRaw)) // a broken encoding shows as what could be read
		if id != "" {
			out.inline[id] = part{kind, b}
		} else if out.HTML == "" {
			out.HTML = string(b)
		}
		return true
	})
	return out
}

// walk visits the leaves of a MIME tree, decoded, until visit returns false.
func walk(h textproto.MIMEHeader, body io.Reader, depth int, visit func(textproto.MIMEHeader, string, io.Reader) bool) bool {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		kind = "text/plain"
	}
	if !strings.HasPrefix(kind, "multipart/") {
		return visit(h, kind, decoded(h, body))
	}
	if depth > 8 {
		return true
	}
	r := multipart.NewReader(body, params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err != nil {
			return true
		}
		if !walk(p.Header, p, depth+1, visit) {
			return false
		}
	}
}

func decoded(h textproto.MIMEHeader, body io.Reader) io.Reader {
	switch strings.ToLower(h.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	}
	return body
}

func decodeHeader(v string) string {
	var d mime.WordDecoder
	if out, err := d.DecodeHeader(v); err == nil {
		return out
	}
	return v
}

// clip makes text fit for JSON and pages.
func clip(text string) string {
	if !utf8.ValidString(text) {
		return strings.ToValidUTF8(text, "\ufffd")
	}
	return text
}

// addMail keeps one delivery per recipient. raw is not used after the call in quiet mode.
func (s *Sandbox) addMail(from string, to []string, raw []byte, size int) {
	st := s.store
	m := Mail{From: from, Received: s.cfg.Now(), Size: size, raw: raw}
	m.outline()
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, rcpt := range to {
		st.nMails++
		st.dups.add(SameMessageID, rcpt, m.MessageID)
		if len(m.Links) > 0 {
			st.dups.add(SameMailLink, rcpt, m.Links[0])
		}
		if st.quiet {
			continue
		}
		one := m
		one.ID, one.To = st.nMails, rcpt
		st.mails = append(st.mails, &one)
		st.timeline = append(st.timeline, arrival{mail: &one})
		if old := len(st.mails) - 1 - st.keep; old >= 0 {
			st.mails[old].raw, st.mails[old].Text = nil, ""
		}
	}
	st.touch()
}

// Mails lists the accepted mails in order; none in quiet mode, which keeps counts only.
func (s *Sandbox) Mails() []Mail {
	out, _ := s.mailsAfter(0, 0, "")
	return out
}

func (s *Sandbox) mailsAfter(after, limit int, to string) ([]Mail, int) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return forward(s.store.mails, after, limit, func(m *Mail) (v Mail, ok bool) {
		if !strings.Contains(m.To, to) {
			return v, false
		}
		return m.full(), true
	})
}

func (s *Sandbox) mail(id int) (Mail, bool) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if id < 1 || id > len(s.store.mails) {
		return Mail{}, false
	}
	return s.store.mails[id-1].full(), true
}
