package bounce_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dunlin/notify/bounce"
	"dunlin/paylink"
)

// crlf makes of a readable text what goes over the wire.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// dsn is a report with these recipient blocks.
func dsn(blocks ...string) string {
	return crlf("From: MAILER-DAEMON@mx.example\nTo: x@example.com\nMIME-Version: 1.0\nAuto-Submitted: auto-replied\n" +
		"Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\n\n--b\nContent-Type: text/plain\n\nSorry, payer@customer.example!\n\n" +
		"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n" + strings.Join(blocks, "\n\n") + "\n\n" +
		"--b\nContent-Type: text/rfc822-headers\n\nReturn-Path: <somebody@example.com>\nSubject: a bill\n\n--b--\n")
}

const payer = "Final-Recipient: rfc822; payer@customer.example\n"

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name, mail string
		want       bounce.Report
	}{
		{"hard", dsn(payer + "Action: failed\nStatus: 5.1.1"), bounce.Report{Action: "failed", Status: "5.1.1"}},
		{"words", dsn(payer + "ACTION: Failed \nstatus: 5.2.2 (mailbox full)\nDiagnostic-Code: smtp; 552-5.2.2 payer@customer.example is over quota"),
			bounce.Report{Action: "failed", Status: "5.2.2", Reply: "552"}},
		{"real code in the words", dsn(payer + "Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550\n 5.7.1 refused"),
			bounce.Report{Action: "failed", Status: "5.7.1", Reply: "550"}},
		{"no codes", dsn(payer + "Action: failed\nDiagnostic-Code: x-unix; user unknown"), bounce.Report{Action: "failed"}},
		{"delayed", dsn(payer + "Action: delayed\nStatus: 4.4.1"), bounce.Report{Action: "delayed", Status: "4.4.1"}},
		{"delivered", dsn(payer + "Action: delivered\nStatus: 2.0.0"), bounce.Report{Action: "delivered", Status: "2.0.0"}},
		{"another recipient's address", dsn("Original-Recipient: rfc822;payer@customer.example\nFinal-Recipient: rfc822; boss@elsewhere.example\nAction: failed\nStatus: 5.1.1"),
			bounce.Report{Action: "failed", Status: "5.1.1", Passed: true}},
		{"the same in capitals", dsn("Original-Recipient: rfc822;Payer@Customer.example\n" + payer + "Action: failed\nStatus: 5.1.1"),
			bounce.Report{Action: "failed", Status: "5.1.1"}},
		{"one of a list", dsn(payer+"Action: failed\nStatus: 5.1.1", payer+"Action: relayed\nStatus: 2.0.0"), bounce.Report{Action: "relayed", Status: "2.0.0"}},
		{"all of a list", dsn(payer+"Action: failed\nStatus: 5.1.1", payer+"Action: failed\nStatus: 5.1.1"),
			bounce.Report{Action: "failed", Status: "5.1.1", Passed: true}},
		{"an action that nobody knows", dsn(payer + "Action: exploded\nStatus: 5.1.1"), bounce.Report{Action: bounce.Unreadable}},
		{"no blocks", dsn(), bounce.Report{Action: bounce.Unreadable}},
		{"a code that is none", dsn(payer + "Action: failed\nStatus: five"), bounce.Report{Action: "failed"}},
		{"qmail", crlf("From: MAILER-DAEMON@mx.example\nSubject: failure notice\n\nHi. This is the qmail-send program.\n<payer@customer.example>:\n550 no\n"),
			bounce.Report{Action: bounce.Unreadable}},
		{"vacation", crlf("From: payer@customer.example\nAuto-Submitted: auto-replied (vacation)\nSubject: away\n\nBack on Monday\n"), bounce.Report{Action: bounce.Reply}},
		{"vacation as the standard has it", crlf("From: payer@customer.example\nAuto-Submitted: auto-replied; x=y\nSubject: away\n\nBack\n"), bounce.Report{Action: bounce.Reply}},
		{"nothing", "", bounce.Report{Action: bounce.Unreadable}},
		{"no headers", "hello", bounce.Report{Action: bounce.Unreadable}},
		{"a report inside a mail", crlf("Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: message/rfc822\n\n" + dsn(payer+"Action: failed\nStatus: 5.1.1") + "\n--m--\n"),
			bounce.Report{Action: bounce.Unreadable}},
		{"cut off", strings.SplitAfter(dsn(payer+"Action: failed\nStatus: 5.1.1"), "Status: 5.1.1\r\n")[0],
			bounce.Report{Action: "failed", Status: "5.1.1"}},
		{"base64", crlf("Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n" +
			"UmVwb3J0aW5nLU1UQTogZG5zOyBteA0KDQpBY3Rpb246IGZhaWxlZA0KU3RhdHVzOiA1LjEuMQ0K\n--b--\n"), bounce.Report{Action: "failed", Status: "5.1.1"}},
	} {
		if diff := cmp.Diff(tt.want, bounce.Read(strings.NewReader(tt.mail))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestReceipt(t *testing.T) {
	for _, tt := range []struct {
		name     string
		report   bounce.Report
		cause    paylink.Cause
		suppress bool
	}{
		{"no such mailbox", bounce.Report{Action: "failed", Status: "5.1.1", Reply: "550"}, paylink.CauseBadAddress, true},
		{"no such domain", bounce.Report{Action: "failed", Status: "5.1.2"}, paylink.CauseBadAddress, true},
		{"switched off", bounce.Report{Action: "failed", Status: "5.2.1"}, paylink.CauseMailboxFull, true},
		{"full", bounce.Report{Action: "failed", Status: "5.2.2"}, paylink.CauseMailboxFull, false},
		{"full for days", bounce.Report{Action: "failed", Status: "4.2.2"}, paylink.CauseMailboxFull, false},
		{"unreachable for days", bounce.Report{Action: "failed", Status: "4.4.7"}, paylink.CauseUndelivered, false},
		{"unknown, given up", bounce.Report{Action: "failed", Status: "4.1.1"}, paylink.CauseUndelivered, false},
		{"our reputation", bounce.Report{Action: "failed", Status: "5.7.1"}, paylink.CauseAccount, false},
		{"our address", bounce.Report{Action: "failed", Status: "5.1.8"}, paylink.CauseAccount, false},
		{"too large", bounce.Report{Action: "failed", Status: "5.3.4"}, paylink.CauseRejectedContent, false},
		{"nothing in particular", bounce.Report{Action: "failed", Status: "5.0.0"}, paylink.CauseUndelivered, false},
		{"failed with a code of success", bounce.Report{Action: "failed", Status: "2.1.0"}, paylink.CauseUndelivered, false},
		{"no code", bounce.Report{Action: "failed"}, paylink.CauseUndelivered, false},
		{"passed on", bounce.Report{Action: "failed", Status: "5.1.1", Passed: true}, paylink.CauseBadAddress, false},
		{"delayed", bounce.Report{Action: "delayed", Status: "4.4.1"}, "", false},
		{"delivered", bounce.Report{Action: "delivered"}, "", false},
		{"unreadable", bounce.Report{Action: bounce.Unreadable}, "", false},
	} {
		m, ok := tt.report.Receipt("7.TOKEN")
		switch {
		case ok != (tt.cause != ""):
			t.Errorf("%s: a bounce is %t", tt.name, ok)
		case !ok:
		case m.Failure.Cause != tt.cause || m.Failure.Suppress != tt.suppress || m.State != paylink.MessageUndelivered || m.Token != "7.TOKEN" ||
			m.Failure.Kind != paylink.Permanent || m.Failure.Code != strings.TrimSpace(tt.report.Reply+" "+tt.report.Status):
			t.Errorf("%s: got %+v, %v", tt.name, m, m.Failure)
		}
	}
}

// FuzzRead: no mail breaks the reader, and none of its words but codes come through.
func FuzzRead(f *testing.F) {
	f.Add([]byte(dsn(payer + "Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no")))
	f.Add([]byte(dsn(payer+"Action: delayed", ": x", "Action failed", " folded")))
	f.Add([]byte(crlf("Content-Type: multipart/report; boundary=\n\n--\n\n--\n")))
	f.Add([]byte(crlf("Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\n--a--\n")))
	f.Fuzz(func(t *testing.T, mail []byte) {
		r := bounce.Read(strings.NewReader(string(mail)))
		switch r.Action {
		case bounce.Failed, bounce.Delayed, bounce.Delivered, bounce.Relayed, bounce.Expanded, bounce.Reply, bounce.Unreadable:
		default:
			t.Errorf("action %q", r.Action)
		}
		if len(r.Status) > 9 || strings.Trim(r.Status, "0123456789.") != "" || len(r.Reply) > 3 || strings.Trim(r.Reply, "0123456789") != "" {
			t.Errorf("codes %q, %q", r.Status, r.Reply)
		}
		if m, ok := r.Receipt("t"); ok && m.Failure.Suppress && !strings.HasPrefix(r.Status, "5.") {
			t.Errorf("%+v suppresses", r)
		}
		address(t).FindToken(mail)
	})
}

func TestReadMailbox(t *testing.T) {
	const one, two = "From: a\nSubject: 1\n\nbody\n>From quoted\n", "Subject: 2\n\nbody\n"
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("Maildir/cur/1:2,S", one)
	write("Maildir/new/2", two)
	write("Maildir/new/.hidden", two)
	write("Maildir/tmp/3", two)
	for _, tt := range []struct {
		name, path string
		want       []string
	}{
		{"mbox", write("mbox", "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n"+one+"\nFrom x Thu Jan  1 00:00:00 1970\n"+two), []string{strings.Replace(one, ">From", "From", 1) + "\n", two}},
		{"one message", write("one.eml", one), []string{one}},
		{"a paragraph that begins with From", write("two.eml", "Subject: x\n\nDear\n\nFrom now on\n"), []string{"Subject: x\n\nDear\n\nFrom now on\n"}},
		{"empty", write("empty", ""), nil},
		{"Maildir", filepath.Join(dir, "Maildir"), []string{one, two}},
	} {
		var got []string
		if err := bounce.ReadMailbox(t.Context(), tt.path, func(mail []byte) error { got = append(got, string(mail)); return nil }); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "missing")} {
		if err := bounce.ReadMailbox(t.Context(), path, nil); err == nil {
			t.Errorf("%s was read", path)
		}
	}
	long := write("long", "From x\nSubject: x\n\n"+strings.Repeat("a line of a very long mail\n", 60_000)+"\nFrom y\n"+two)
	var sizes []int
	if err := bounce.ReadMailbox(t.Context(), long, func(mail []byte) error { sizes = append(sizes, len(mail)); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{bounce.MaxMail, len(two)}, sizes); diff != "" {
		t.Errorf("sizes of a long mail and the one behind (-want +got):\n%s", diff)
	}
}

func TestFindToken(t *testing.T) {
	a := address(t)
	own := a.ReturnPath("7.TOKEN")
	report := dsn(payer + "Action: failed\nStatus: 5.1.1")
	for _, tt := range []struct {
		name, mail string
		want       bool
	}{
		{"X-Original-To", "X-Original-To: " + own + "\r\n" + report, true},
		{"Delivered-To in capitals", "Delivered-To: " + strings.ToUpper(own) + "\r\n" + report, true},
		{"To with a name", crlf("To: \"Bounces, of ours\" <" + own + ">, other@example.com\nSubject: x\n\n"), true},
		{"what the report carries", strings.Replace(report, "somebody@example.com", own, 1), true},
		{"a whole mail in the report", strings.Replace(strings.Replace(report, "text/rfc822-headers", "message/rfc822", 1), "somebody@example.com", own, 1), true},
		{"nobody's", report, false},
		{"forged", "X-Original-To: " + strings.Replace(own, own[8:10], "00", 1) + "\r\n" + report, false},
		{"in the text only", crlf("Subject: x\n\nTo: " + own + "\n"), false},
		{"no mail", "\x00", false},
	} {
		if token, ok := a.FindToken([]byte(tt.mail)); ok != tt.want || ok && token != "7.TOKEN" {
			t.Errorf("%s: got %q, %t, want %t", tt.name, token, ok, tt.want)
		}
	}
}
