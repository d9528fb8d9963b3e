package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"strconv"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"
)

// maxMail is the server's SIZE.
const maxMail = 25 << 20

func (s *Sandbox) newMailServer() *smtp.Server {
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		sess := &mailSession{s: s, conn: c, wire: c.Conn().(*smtpConn)}
		if err := sess.act(call{SMTP, "ehlo", []string{c.Hostname()}}, nothing); err != nil {
			return nil, err
		}
		return sess, nil
	}))
	srv.Domain = "sandbox.test"
	srv.MaxMessageBytes = maxMail
	srv.MaxRecipients = 50
	srv.ErrorLog = log.New(io.Discard, "", 0)
	return srv
}

// mailSession is one connection's dialogue after EHLO.
type mailSession struct {
	s    *Sandbox
	conn *smtp.Conn
	wire *smtpConn
	from string
	to   []string
}

// nothing is the work of a verb that only checks.
func nothing() error { return nil }

// act carries out one verb under the rules. An error is the reply; a dropped connection replies to nobody.
func (m *mailSession) act(c call, do func() error) error {
	f := m.s.arrive(c)
	if f == nil {
		return do()
	}
	switch f.Action {
	case Refuse:
		if f.smtpStatus() == 421 {
			m.wire.closeAfterReply()
		}
		return f.smtpRefusal()
	case FailBefore:
		m.wire.Close()
		return nil
	case LoseAnswer:
		err := do()
		m.wire.Close()
		return err
	case Late:
		if c.op == "dot" { // the other verbs leave nothing behind once the connection is gone
			m.s.later(f, func() { _ = do() })
		}
		if f.Hold {
			m.wire.awaitGone(nil)
		}
		m.wire.Close()
		return nil
	case Hang:
		return m.hang(f, do)
	case Slow:
		if !f.Done {
			m.s.pause(f.Delay)
			return do()
		}
		err := do()
		m.s.pause(f.Delay)
		return err
	}
	return do()
}

func (m *mailSession) hang(f *fired, do func() error) error {
	var err error
	if f.Done {
		err = do()
	}
	if m.wire.awaitGone(f.gate) {
		m.wire.Close()
		return err
	}
	if !f.Done {
		err = do()
	}
	return err
}

// Mail is the verb MAIL FROM.
func (m *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	if !m.s.limits[SMTP].allow(m.s.cfg.Now()) {
		return smtpError(451, "4.7.1", "Too many messages, slow down")
	}
	return m.act(call{SMTP, "mail", []string{from}}, func() error {
		m.from, m.to = from, nil
		return nil
	})
}

// Rcpt is the verb RCPT TO.
func (m *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	return m.act(call{SMTP, "rcpt", []string{to}}, func() error {
		if err := m.s.checkMailbox(to); err != nil {
			return err
		}
		m.to = append(m.to, to)
		m.wire.setRecipient(to)
		return nil
	})
}

// checkMailbox gives the mailboxes their meaning; see the package comment.
func (s *Sandbox) checkMailbox(to string) error {
	local := strings.ToLower(to)
	refusals, status, enhanced, text := 0, 0, "", ""
	switch {
	case strings.HasPrefix(local, "nobody"):
		return smtpError(550, "5.1.1", "No such user here")
	case strings.HasPrefix(local, "full"):
		refusals, status, enhanced, text = 2, 452, "4.2.2", "Mailbox full"
	case strings.HasPrefix(local, "deferred"):
		refusals, status, enhanced, text = 1, 451, "4.7.1", "Greylisted, try again later"
	default:
		return nil
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.tries[to]++
	if s.store.tries[to] <= refusals {
		return smtpError(status, enhanced, text)
	}
	return nil
}

// buffers are reused from mail to mail: at thousands a second they would be most of the garbage.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *bytes.Buffer {
	if v, ok := b.pool.Get().(*bytes.Buffer); ok {
		v.Reset()
		return v
	}
	return new(bytes.Buffer)
}

// Data is the verb DATA after its 354, to the final dot.
func (m *mailSession) Data(r io.Reader) error {
	if m.wire.dataRefused() {
		return nil
	}
	buf := m.s.mailBuffers.get()
	defer m.s.mailBuffers.pool.Put(buf)
	if _, err := io.Copy(buf, io.LimitReader(r, maxRaw)); err != nil {
		return fmt.Errorf("reading the mail: %w", err)
	}
	beyond, err := io.Copy(io.Discard, r)
	if err != nil {
		return fmt.Errorf("reading the mail: %w", err)
	}
	raw, size := bytes.Clone(buf.Bytes()), buf.Len()+int(beyond)
	from, to := m.from, m.to
	m.s.pause(m.s.cfg.Latency)
	return m.act(call{SMTP, "dot", append([]string{from}, to...)}, func() error {
		m.s.addMail(from, to, raw, size)
		for _, rcpt := range to {
			m.s.reportLater(from, rcpt, raw)
		}
		return nil
	})
}

// Reset follows RSET and each mail.
func (m *mailSession) Reset() { m.from, m.to = "", nil }

// Logout follows the end of the connection.
func (m *mailSession) Logout() error { return nil }

func (f *fired) smtpStatus() int {
	if f.Status == 0 {
		return 451
	}
	return f.Status
}

func (f *fired) smtpRefusal() *smtp.SMTPError {
	text, enhanced := f.Body, f.Enhanced
	if text == "" {
		text = "Refused by a rule of the sandbox"
	}
	if enhanced == "" {
		enhanced = strconv.Itoa(f.smtpStatus()/100) + ".3.0"
	}
	return smtpError(f.smtpStatus(), enhanced, text)
}

func smtpError(status int, enhanced, text string) *smtp.SMTPError {
	code, err := enhancedCode(enhanced)
	if err != nil {
		code = smtp.EnhancedCodeNotSet
	}
	return &smtp.SMTPError{Code: status, EnhancedCode: code, Message: text}
}

func enhancedCode(v string) (code smtp.EnhancedCode, err error) {
	parts := strings.Split(v, ".")
	if len(parts) != 3 {
		return code, fmt.Errorf("enhanced code %q is not of the form 4.7.1", v)
	}
	for i, p := range parts {
		if code[i], err = strconv.Atoi(p); err != nil {
			return code, fmt.Errorf("enhanced code %q: %w", v, err)
		}
	}
	return code, nil
}
