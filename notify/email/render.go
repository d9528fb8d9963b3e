package email

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"net/url"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"dunlin/notify"
	"dunlin/paylink"
)

// Render returns the exact bytes of the mail, before the dot-stuffing of SMTP. They depend on nothing but from and m: two
// renders of an equal message are equal, which makes a mail sent again the same mail. An error is a [*paylink.Failure]
// of kind permanent: the address is not usable, the mail is empty, or a part is missing that would be made up at random.
func Render(from *mail.Address, m notify.Outgoing) ([]byte, error) {
	if f := unusable(m); f != nil {
		return nil, f
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithBoundary(m.Boundary))
	// Addresses go in as values, never as formatted text: only then are quotes and line breaks in a name encoded.
	msg.FromMailAddress(from)
	msg.ToMailAddress(&mail.Address{Name: strings.ToValidUTF8(m.ToName, "\uFFFD"), Address: m.To})
	msg.Subject(strings.ToValidUTF8(m.Subject, "\uFFFD"))
	msg.SetMessageIDWithValue(m.MessageID)
	msg.SetDateWithValue(m.Date)
	// Both keep vacation responders from answering a machine.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader(gomail.HeaderXAutoResponseSuppress, "All")
	if m.Language != "" {
		msg.SetGenHeader(gomail.HeaderContentLang, m.Language)
	}
	if m.Unsubscribe != "" {
		if u, err := url.Parse(m.Unsubscribe); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, invalid(paylink.CauseInternal, "the unsubscribe address is not https")
		}
		// Both lines (RFC 8058) as one: go-mail writes what is formatted already in the order of a map, and a mail that is
		// sent again must have the same bytes.
		msg.SetGenHeaderPreformatted(gomail.HeaderListUnsubscribe, "<"+m.Unsubscribe+">\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click")
	}
	if m.Text != "" && m.Attachment == nil {
		msg.AddAlternativeWriter(gomail.TypeTextPlain, writing(m.Text))
	}
	switch {
	case m.Attachment != nil:
		if err := attach(msg, m); err != nil {
			return nil, invalid(paylink.CauseInternal, "the attachment cannot be written")
		}
	case m.HTML == "":
	case len(m.Inline) == 0:
		msg.AddAlternativeWriter(gomail.TypeTextHTML, writing(m.HTML))
	default:
		// go-mail gives every nested multipart the same fixed boundary (which is broken mail) or random ones (which
		// differ with each render). So the inner one is written here, as one part of the outer.
		boundary := m.Boundary + "-r"
		msg.AddAlternativeWriter(gomail.ContentType(`multipart/related; type="text/html"; boundary=`+boundary),
			func(w io.Writer) (int64, error) { return 0, writeRelated(w, boundary, m) },
			gomail.WithPartEncoding(gomail.NoEncoding))
	}
	var b bytes.Buffer
	b.Grow(1024 + len(m.Text)*5/4 + len(m.HTML)*5/4)
	if _, err := msg.WriteTo(&b); err != nil {
		return nil, invalid(paylink.CauseInternal, "the mail cannot be written")
	}
	return b.Bytes(), nil
}

func writing(s string) func(io.Writer) (int64, error) {
	return func(w io.Writer) (int64, error) {
		n, err := io.WriteString(w, s)
		return int64(n), err
	}
}

// writeRelated writes the HTML and the pictures that it shows as cid:Name.
func writeRelated(w io.Writer, boundary string, m notify.Outgoing) error {
	mw := multipart.NewWriter(w)
	if err := mw.SetBoundary(boundary); err != nil {
		return fmt.Errorf("set boundary: %w", err)
	}
	part, err := mw.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {"text/html; charset=UTF-8"},
		"Content-Transfer-Encoding": {"quoted-printable"},
	})
	if err != nil {
		return fmt.Errorf("start html part: %w", err)
	}
	qp := quotedprintable.NewWriter(part)
	if _, err := io.WriteString(qp, m.HTML); err != nil {
		return fmt.Errorf("write html part: %w", err)
	}
	if err := qp.Close(); err != nil {
		return fmt.Errorf("write html part: %w", err)
	}
	for _, picture := range m.Inline {
		part, err := mw.CreatePart(textproto.MIMEHeader{
			"Content-Type":              {picture.ContentType},
			"Content-Transfer-Encoding": {"base64"},
			"Content-Id":                {"<" + picture.Name + ">"},
			"Content-Disposition":       {"inline; filename=" + picture.Name},
		})
		if err != nil {
			return fmt.Errorf("start picture part: %w", err)
		}
		if _, err := part.Write(base64Lines(picture.Data)); err != nil {
			return fmt.Errorf("write picture part: %w", err)
		}
	}
	return mw.Close()
}

// base64Lines encodes in lines of 76 characters, the most that RFC 2045 allows.
func base64Lines(data []byte) []byte {
	const perLine = 57
	out := make([]byte, 0, (len(data)/perLine+1)*78)
	for len(data) > 0 {
		n := min(perLine, len(data))
		out = base64.StdEncoding.AppendEncode(out, data[:n])
		out = append(out, "\r\n"...)
		data = data[n:]
	}
	return out
}

// unusable says why a message cannot become a mail, or nil. What goes unencoded into headers is restricted here.
func unusable(m notify.Outgoing) *paylink.Failure {
	switch {
	case m.Channel != paylink.Email:
		return invalid(paylink.CauseInternal, "not an email")
	case !plainAddress(m.To):
		return invalid(paylink.CauseBadAddress, "not an address that can be written to")
	case !only(m.MessageID, "@.-", 200) || strings.Count(m.MessageID, "@") != 1:
		return invalid(paylink.CauseInternal, "message id missing or malformed")
	case m.Date.IsZero():
		return invalid(paylink.CauseInternal, "date missing")
	case m.Text == "" && m.HTML == "":
		return &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeTemplate, Cause: paylink.CauseTemplate, Detail: "the mail is empty"}
	case (m.HTML != "" || m.Attachment != nil) && !only(m.Boundary, ".-_", 60):
		return invalid(paylink.CauseInternal, "boundary missing or malformed")
	case m.Unsubscribe != "" && !only(m.Unsubscribe, ":/.-_[]", 900): // go-mail writes it as it is
		return invalid(paylink.CauseInternal, "unsubscribe address malformed")
	case len(m.Inline) > 0 && m.HTML == "":
		return invalid(paylink.CauseInternal, "pictures without html")
	}
	if a := m.Attachment; a != nil {
		if kind, _, err := mime.ParseMediaType(a.Type); err != nil || kind != a.Type || a.Name == "" {
			return invalid(paylink.CauseInternal, "attachment name or type malformed")
		}
	}
	for _, picture := range m.Inline {
		kind, _, err := mime.ParseMediaType(picture.ContentType)
		if err != nil || !strings.HasPrefix(kind, "image/") || kind != picture.ContentType || !only(picture.Name, ".-_@", 100) {
			return invalid(paylink.CauseInternal, "picture name or type malformed")
		}
	}
	return nil
}

func invalid(cause paylink.Cause, detail string) *paylink.Failure {
	return &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: cause, Detail: detail}
}

// plainAddress reports whether a is an ASCII address that needs no quoting. Quoted local parts and raw UTF-8 are legal in
// newer standards but are lost on the way too often, and in a command line they are a way to smuggle parameters.
func plainAddress(a string) bool {
	local, domain, ok := strings.Cut(a, "@")
	return ok && only(local, "!#$%&'*+-/=?^_`{|}~.", 64) && only(domain, ".-", 253) && !strings.Contains(a, "..") &&
		!strings.HasPrefix(a, ".") && !strings.HasSuffix(local, ".") && !strings.HasPrefix(domain, ".") && !strings.HasSuffix(domain, ".")
}

// only reports whether s has 1 to limit bytes, all of them ASCII letters, digits or one of extra.
func only(s, extra string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(extra, c) >= 0) {
			return false
		}
	}
	return true
}
