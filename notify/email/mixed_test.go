package email_test

import (
	"bytes"
	"encoding/base64"
	"mime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dunlin/notify"
	"dunlin/notify/email"
	"dunlin/paylink"
)

func attached() notify.Outgoing {
	m := pictured()
	m.Attachment = &paylink.Attachment{Name: "فاتورة 42.pdf", Type: "application/pdf", Data: bytes.Repeat([]byte("%PDF-\x00\xff\r\n"), 200)}
	return m
}

// TestRenderAttachment reads a mail with all its levels back: both texts, the pictures and the file.
func TestRenderAttachment(t *testing.T) {
	m := attached()
	raw := render(t, m)
	for range 20 {
		if diff := cmp.Diff(string(raw), string(render(t, m))); diff != "" {
			t.Fatalf("a second render differs (-first +second):\n%s", diff)
		}
	}
	outer := parts(t, raw, "multipart/mixed", m.Boundary+"-m")
	if len(outer) != 2 || !strings.HasPrefix(outer[0].kind, "multipart/alternative") {
		t.Fatalf("got %d parts, the first %q; want the texts and the file", len(outer), outer[0].kind)
	}
	inner := read(t, bytes.NewReader(outer[0].body), m.Boundary+"-a")
	if len(inner) != 2 || strings.ReplaceAll(string(inner[0].body), "\r\n", "\n") != strings.ReplaceAll(m.Text, "\r\n", "\n") || !strings.HasPrefix(inner[1].kind, "multipart/related") {
		t.Fatalf("got %d parts with text %q, want the text and the HTML", len(inner), inner[0].body)
	}
	related := read(t, bytes.NewReader(inner[1].body), m.Boundary+"-r")
	if len(related) != 3 || string(related[0].body) != m.HTML || related[1].id != "<logo.png>" {
		t.Errorf("got %d parts, want the HTML and two pictures", len(related))
	}
	file, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\r", "", "\n", "").Replace(string(outer[1].body)))
	if err != nil || !bytes.Equal(file, m.Attachment.Data) {
		t.Errorf("the file came out as %d bytes, %v", len(file), err)
	}
	kind, params, err := mime.ParseMediaType(outer[1].kind)
	name, _ := new(mime.WordDecoder).DecodeHeader(params["name"])
	if err != nil || kind != "application/pdf" || name != m.Attachment.Name {
		t.Errorf("got a file %q of type %q, %v", name, kind, err)
	}
	for line := range strings.Lines(string(raw)) {
		if len(line) > 998 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

func TestRenderAttachmentRefuses(t *testing.T) {
	for name, change := range map[string]func(*notify.Outgoing){
		"no name":     func(m *notify.Outgoing) { m.Attachment.Name = "" },
		"no type":     func(m *notify.Outgoing) { m.Attachment.Type = "" },
		"type breaks": func(m *notify.Outgoing) { m.Attachment.Type = "application/pdf\r\nBcc: x@example.com" },
		"no boundary": func(m *notify.Outgoing) { m.Boundary, m.HTML, m.Inline = "", "", nil },
	} {
		m := attached()
		change(&m)
		_, err := email.Render(from(t), m)
		if f := failure(t, err); f.Cause != paylink.CauseInternal {
			t.Errorf("%s: got %+v, want it refused", name, f)
		}
	}
	m := attached()
	m.Attachment.Name = "a\"\r\nBcc: x@example.com.pdf"
	if raw := render(t, m); bytes.Contains(raw, []byte("\nBcc")) {
		t.Error("a name broke out of its header")
	}
}
