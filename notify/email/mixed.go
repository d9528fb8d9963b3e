package email

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"

	gomail "github.com/wneessen/go-mail"

	"dunlin/notify"
)

// attach makes msg a multipart/mixed of the message's texts and its attachment. The boundaries of the three levels differ
// in their last letter: none may be the beginning of another.
func attach(msg *gomail.Msg, m notify.Outgoing) error {
	msg.SetBoundary(m.Boundary + "-m")
	inner := m.Boundary + "-a"
	msg.SetBodyWriter(gomail.ContentType("multipart/alternative; boundary="+inner),
		func(w io.Writer) (int64, error) { return 0, writeAlternative(w, inner, m) }, gomail.WithPartEncoding(gomail.NoEncoding))
	return msg.AttachReader(m.Attachment.Name, bytes.NewReader(m.Attachment.Data), gomail.WithFileContentType(gomail.ContentType(m.Attachment.Type)))
}

// writeAlternative writes the plain text and the HTML, with its pictures if it has any.
func writeAlternative(w io.Writer, boundary string, m notify.Outgoing) error {
	mw := multipart.NewWriter(w)
	if err := mw.SetBoundary(boundary); err != nil {
		return fmt.Errorf("set boundary: %w", err)
	}
	if m.Text != "" {
		if err := writeText(mw, "text/plain; charset=UTF-8", m.Text); err != nil {
			return err
		}
	}
	switch {
	case m.HTML == "":
	case len(m.Inline) == 0:
		if err := writeText(mw, "text/html; charset=UTF-8", m.HTML); err != nil {
			return err
		}
	default:
		related := m.Boundary + "-r"
		part, err := mw.CreatePart(textproto.MIMEHeader{"Content-Type": {`multipart/related; type="text/html"; boundary=` + related}})
		if err != nil {
			return fmt.Errorf("start related part: %w", err)
		}
		if err := writeRelated(part, related, m); err != nil {
			return err
		}
	}
	return mw.Close()
}

func writeText(mw *multipart.Writer, contentType, text string) error {
	part, err := mw.CreatePart(textproto.MIMEHeader{"Content-Type": {contentType}, "Content-Transfer-Encoding": {"quoted-printable"}})
	if err != nil {
		return fmt.Errorf("start text part: %w", err)
	}
	qp := quotedprintable.NewWriter(part)
	if _, err := io.WriteString(qp, text); err != nil {
		return fmt.Errorf("write text part: %w", err)
	}
	if err := qp.Close(); err != nil {
		return fmt.Errorf("write text part: %w", err)
	}
	return nil
}
