package sandbox

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

// returning mailboxes take the mail and report later that it did not arrive.
var returning = regexp.MustCompile(`^(bounce|delay)-later(?:-(\d\.\d{1,3}\.\d{1,3}))?(?:[+.].*)?@`)

// bounceTime bounds bringing one report.
const bounceTime = 10 * time.Second

// reportLater sends the report that the meaning of a mailbox asks for, once, to the sender of the envelope. Where no
// address for reports is configured they are lost, as those of many mail systems are.
func (s *Sandbox) reportLater(from, to string, raw []byte) {
	m := returning.FindStringSubmatch(strings.ToLower(to))
	if m == nil || s.cfg.BounceTo == "" || from == "" {
		return
	}
	action, status := "failed", cmp.Or(m[2], "5.1.1")
	if m[1] == "delay" {
		action, status = "delayed", cmp.Or(m[2], "4.4.1")
	}
	report := s.report(from, to, action, status, raw)
	s.tasks.Go(func() {
		code, err := s.bringReport(from, report)
		s.store.mu.Lock()
		defer s.store.mu.Unlock()
		s.store.reports = append(s.store.reports, Report{From: from, To: to, Action: action, Status: status, Code: code, Err: err})
		s.store.touch()
	})
}

// Report is a delivery status notification that the mail server has sent.
type Report struct {
	From, To       string // of the mail that it is about
	Action, Status string
	Code           int   // what the receiver of the report answered; 0 = nothing
	Err            error // why it was not taken
}

// Reports lists the delivery status notifications that were sent, in order.
func (s *Sandbox) Reports() []Report {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return append([]Report(nil), s.store.reports...)
}

// report writes a notification as Postfix does (RFC 3464), with the headers of the mail that came back.
func (s *Sandbox) report(from, to, action, status string, raw []byte) []byte {
	headers, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	boundary, code := "report-"+s.newID(16), "550"
	if status[0] == '4' {
		code = "451"
	}
	var b bytes.Buffer
	w := func(format string, args ...any) { fmt.Fprintf(&b, strings.ReplaceAll(format, "\n", "\r\n"), args...) }
	w("From: Mail Delivery System <MAILER-DAEMON@sandbox.test>\nTo: %s\nSubject: Delivery Status Notification (%s)\n", from, action)
	w("Date: %s\nMessage-ID: <%s@sandbox.test>\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n", s.cfg.Now().Format(time.RFC1123Z), s.newID(20))
	w("Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"%s\"\n\n", boundary)
	w("--%s\nContent-Type: text/plain; charset=us-ascii\n\nThis is the mail system. Your message to <%s> was %s.\n\n", boundary, to, action)
	w("--%s\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; sandbox.test\nArrival-Date: %s\n\n", boundary, s.cfg.Now().Format(time.RFC1123Z))
	w("Final-Recipient: rfc822; %s\nOriginal-Recipient: rfc822;%s\nAction: %s\nStatus: %s\n", to, to, action, status)
	w("Diagnostic-Code: smtp; %s %s <%s>: Recipient address rejected\n\n", code, status, to)
	w("--%s\nContent-Type: text/rfc822-headers\n\nReturn-Path: <%s>\n%s\n\n--%s--\n", boundary, from, headers, boundary)
	return b.Bytes()
}

// bringReport hands a report to the configured server, with the empty sender that reports have.
func (s *Sandbox) bringReport(to string, report []byte) (code int, err error) {
	network, address := "tcp", s.cfg.BounceTo
	path, isSocket := strings.CutPrefix(address, "unix:")
	address, isSMTP := strings.CutPrefix(address, "smtp:")
	if isSocket {
		network, address = "unix", path
	}
	raw, err := (&net.Dialer{Timeout: bounceTime}).DialContext(s.ctx, network, address)
	if err != nil {
		return 0, fmt.Errorf("reaching the server for reports: %w", err)
	}
	if err := raw.SetDeadline(time.Now().Add(bounceTime)); err != nil {
		return 0, err
	}
	c := smtp.NewClientLMTP(raw)
	if isSMTP {
		c = smtp.NewClient(raw)
	}
	defer c.Close()
	if err := c.SendMail("", []string{to}, bytes.NewReader(report)); err != nil {
		if e, ok := err.(*smtp.SMTPError); ok {
			code = e.Code
		}
		return code, fmt.Errorf("handing over a report: %w", err)
	}
	return 250, c.Quit()
}
