package jobs_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// files stands in for the servers of attachments: it answers by the end of the address.
type files struct {
	mu    sync.Mutex
	asked int
	heal  int // after so many questions a tired one answers; 0 = never
}

func (f *files) Fetch(_ context.Context, url string) (paylink.Attachment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	a := paylink.Attachment{Name: "invoice.pdf", Type: "application/pdf", Data: []byte("%PDF-" + strings.Repeat("x", f.asked))}
	switch {
	case strings.HasSuffix(url, "large"):
		return paylink.Attachment{}, paylink.ErrTooLarge
	case strings.HasSuffix(url, "gone"):
		return paylink.Attachment{}, &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseAttachment, Code: "http 404"}
	case strings.HasSuffix(url, "tired") && (f.heal == 0 || f.asked < f.heal):
		return paylink.Attachment{}, &paylink.Failure{Kind: paylink.Temporary, Scope: paylink.ScopeProvider, Cause: paylink.CauseAttachment, Code: "http 503"}
	}
	return a, nil
}

// TestAttachments sends rows with every kind of file. A mail that is sent again is the same mail, although the file has
// changed meanwhile.
func TestAttachments(t *testing.T) {
	for _, tt := range []struct {
		name, end, routes string
		heal              int
		fault             bool
		want              string
		asked             int // 0 = more than ten times
		mails             int
		attached          bool
	}{
		{name: "attached", end: "a.pdf", routes: "email", want: "sent unpaid; open; email accepted", asked: 1, mails: 1, attached: true},
		{name: "sent again", end: "a.pdf", routes: "email", fault: true, want: "sent unpaid; open; email accepted (perhaps twice)", asked: 1, mails: 2, attached: true},
		{name: "too large", end: "large", routes: "email", want: "sent unpaid; open; email accepted", asked: 1, mails: 1},
		{name: "gone", end: "gone", routes: "email", want: "failed unpaid; open; email failed", asked: 1},
		{name: "gone, else sms", end: "gone", routes: "email>sms", want: "sent unpaid; open; email failed, sms accepted", asked: 1},
		{name: "not just now", end: "tired", heal: 10, routes: "email", want: "sent unpaid; open; email accepted", asked: 10, mails: 1, attached: true},
		{name: "not for a day", end: "tired", routes: "email", want: "failed unpaid; open; email failed", mails: 0},
		{name: "none for sms", end: "gone", routes: "sms", want: "sent unpaid; open; sms accepted", asked: -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, databases[0])
			f := &files{heal: tt.heal}
			w.config.Attachments, w.config.SessionLife = f, 72*time.Hour
			w.restart()
			if tt.fault {
				w.fault(sandbox.Rule{Provider: sandbox.SMTP, Op: "dot", Nth: 1, Action: sandbox.LoseAnswer})
			}
			w.send(1, ledgertest.Routes(tt.routes), ledgertest.Each(func(r *paylink.Row) { r.AttachmentURL = "https://files.example.com/" + tt.end }))
			w.settle()
			w.ends(tt.want)
			if f.asked != max(tt.asked, 0) && tt.asked != 0 || tt.asked == 0 && f.asked <= 10 {
				t.Errorf("it was asked for %d times, want %d", f.asked, tt.asked)
			}
			mails := w.box.Mails()
			if len(mails) != tt.mails {
				t.Fatalf("got %d mails, want %d", len(mails), tt.mails)
			}
			for _, m := range mails {
				if got := strings.HasPrefix(m.Header.Get("Content-Type"), "multipart/mixed"); got != tt.attached {
					t.Errorf("got a mail of type %s, want attached %t", m.Header.Get("Content-Type"), tt.attached)
				}
				if got := strings.Contains(m.Text, "Document: https://files.example.com/"+tt.end); got == tt.attached {
					t.Errorf("got a mail that links to the file: %t", got)
				}
				if m.Size != mails[0].Size {
					t.Errorf("the mail sent again has %d bytes, want %d", m.Size, mails[0].Size)
				}
			}
		})
	}
}
