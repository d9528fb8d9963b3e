package email_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/notify"
	"dunlin/notify/email"
	"dunlin/paylink"
)

func pictured() notify.Outgoing {
	m := outgoing()
	m.HTML = `<p dir="rtl">ادفع <img src="cid:logo.png"></p>`
	m.Inline = []notify.Inline{
		{Name: "logo.png", ContentType: "image/png", Data: bytes.Repeat([]byte{0, 1, 250}, 100)},
		{Name: "qr.png", ContentType: "image/png", Data: []byte("q")},
	}
	return m
}

func TestRenderIsDeterministic(t *testing.T) {
	text := outgoing()
	text.HTML = ""
	for name, m := range map[string]notify.Outgoing{"text": text, "both": outgoing(), "pictures": pictured()} {
		t.Run(name, func(t *testing.T) {
			first := render(t, m)
			for range 20 {
				if diff := cmp.Diff(string(first), string(render(t, m))); diff != "" {
					t.Fatalf("a second render differs (-first +second):\n%s", diff)
				}
			}
		})
	}
}

func TestRenderHeaders(t *testing.T) {
	got, err := mail.ReadMessage(bytes.NewReader(render(t, outgoing())))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"From":                     `"Dunlin School" <billing@school.example>`,
		"To":                       `"Payer Person" <` + payer + `>`,
		"Subject":                  "Your invoice",
		"Message-Id":               "<m-12.link@school.example>",
		"Date":                     "Sun, 01 Mar 2026 09:30:00 +0000",
		"Mime-Version":             "1.0",
		"Auto-Submitted":           "auto-generated",
		"X-Auto-Response-Suppress": "All",
		"Content-Language":         "en",
		"Content-Type":             "multipart/alternative; boundary=b0123456789abcdef",
	}
	have := map[string]string{}
	for name, values := range got.Header {
		have[name] = strings.Join(values, " | ")
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestRenderNamesAndSubjectsCannotInject(t *testing.T) {
	for _, nasty := range []string{
		"a\r\nBcc: thief@evil.example", "a\nBcc: thief@evil.example", `O"Neil \ <x@y.example>, z`, "شركة الكهرباء والماء",
		"\x00\x7f", strings.Repeat("طويل ", 60), "=?utf-8?q?faked?=", "ends with \r\n", "\xff\xfe",
	} {
		m := outgoing()
		m.ToName, m.Subject, m.Language = nasty, nasty, nasty
		got, err := mail.ReadMessage(bytes.NewReader(render(t, m)))
		if err != nil {
			t.Fatalf("%q: %v", nasty, err)
		}
		if v := got.Header.Get("Bcc"); v != "" {
			t.Errorf("%q injected a header: Bcc: %s", nasty, v)
		}
		to, err := got.Header.AddressList("To")
		if err != nil || len(to) != 1 || to[0].Address != payer {
			t.Fatalf("%q: To = %v, %v", nasty, to, err)
		}
		valid := strings.ToValidUTF8(nasty, "\uFFFD")
		if !strings.Contains(nasty, "=?") && to[0].Name != valid {
			t.Errorf("name = %q, want %q", to[0].Name, valid)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
		if err != nil || !strings.Contains(nasty, "=?") && subject != valid {
			t.Errorf("subject = %q (%v), want %q", subject, err, valid)
		}
		for line := range strings.SplitSeq(string(render(t, m)), "\r\n") {
			if len(line) > 998 {
				t.Errorf("%q: a line of %d bytes", nasty, len(line))
			}
		}
	}
}

// TestRenderParts reads a mail with pictures back: the outer alternatives are text and a related part of HTML and pictures.
func TestRenderParts(t *testing.T) {
	m := pictured()
	outer := parts(t, render(t, m), "multipart/alternative", m.Boundary)
	if len(outer) != 2 {
		t.Fatalf("got %d alternatives, want 2", len(outer))
	}
	if got, want := string(outer[0].body), strings.ReplaceAll(m.Text, "\n", "\r\n"); got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
	kind, params, err := mime.ParseMediaType(outer[1].kind)
	if err != nil || kind != "multipart/related" || params["type"] != "text/html" || params["boundary"] == m.Boundary {
		t.Fatalf("second alternative is %q (%v)", outer[1].kind, err)
	}
	inner := read(t, bytes.NewReader(outer[1].body), params["boundary"])
	if len(inner) != 3 {
		t.Fatalf("got %d related parts, want 3", len(inner))
	}
	if got := string(inner[0].body); got != m.HTML || inner[0].kind != "text/html; charset=UTF-8" {
		t.Errorf("html = %q, %q", inner[0].kind, got)
	}
	for i, picture := range m.Inline {
		got := inner[i+1]
		if got.id != "<"+picture.Name+">" || got.kind != "image/png" {
			t.Errorf("picture %d is %q, %q", i, got.id, got.kind)
		}
		data, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(got.body), "\r\n", ""))
		if err != nil || !bytes.Equal(data, picture.Data) {
			t.Errorf("picture %d differs (%v)", i, err)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	tests := []struct {
		name  string
		edit  func(*notify.Outgoing)
		cause paylink.Cause
	}{
		{"another channel", func(m *notify.Outgoing) { m.Channel = paylink.SMS }, paylink.CauseInternal},
		{"no address", func(m *notify.Outgoing) { m.To = "" }, paylink.CauseBadAddress},
		{"no domain", func(m *notify.Outgoing) { m.To = "payer.person" }, paylink.CauseBadAddress},
		{"two at signs", func(m *notify.Outgoing) { m.To = "payer@x@customer.example" }, paylink.CauseBadAddress},
		{"raw UTF-8", func(m *notify.Outgoing) { m.To = "بريد@customer.example" }, paylink.CauseBadAddress},
		{"parameter smuggling", func(m *notify.Outgoing) { m.To = "payer.person@customer.example> SIZE=1" }, paylink.CauseBadAddress},
		{"line break", func(m *notify.Outgoing) { m.To = payer + "\r\nDATA" }, paylink.CauseBadAddress},
		{"quoted local part", func(m *notify.Outgoing) { m.To = `"payer person"@customer.example` }, paylink.CauseBadAddress},
		{"dot at the end", func(m *notify.Outgoing) { m.To = "payer.@customer.example" }, paylink.CauseBadAddress},
		{"no message id", func(m *notify.Outgoing) { m.MessageID = "" }, paylink.CauseInternal},
		{"message id with brackets", func(m *notify.Outgoing) { m.MessageID = "<a@b>" }, paylink.CauseInternal},
		{"no date", func(m *notify.Outgoing) { m.Date = time.Time{} }, paylink.CauseInternal},
		{"no boundary", func(m *notify.Outgoing) { m.Boundary = "" }, paylink.CauseInternal},
		{"boundary with a space", func(m *notify.Outgoing) { m.Boundary = "a b" }, paylink.CauseInternal},
		{"picture name", func(m *notify.Outgoing) { m.Inline = []notify.Inline{{Name: "a\r\nb", ContentType: "image/png"}} }, paylink.CauseInternal},
		{"picture type", func(m *notify.Outgoing) { m.Inline = []notify.Inline{{Name: "a", ContentType: "text/html"}} }, paylink.CauseInternal},
		{"picture without html", func(m *notify.Outgoing) { m.HTML, m.Inline = "", pictured().Inline }, paylink.CauseInternal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := outgoing()
			tt.edit(&m)
			_, err := email.Render(from(t), m)
			f := failure(t, err)
			if f.Kind != paylink.Permanent || f.Scope != paylink.ScopeRow || f.Cause != tt.cause || f.Suppress {
				t.Errorf("got %+v, want permanent, row, %s", f, tt.cause)
			}
		})
	}
}

func TestRenderOnePart(t *testing.T) {
	text, html := outgoing(), outgoing()
	text.HTML, html.Text = "", ""
	for kind, m := range map[string]notify.Outgoing{"text/plain": text, "text/html": html} {
		got, err := mail.ReadMessage(bytes.NewReader(render(t, m)))
		if err != nil || got.Header.Get("Content-Type") != kind+"; charset=UTF-8" {
			t.Errorf("%s: Content-Type = %q, %v", kind, got.Header.Get("Content-Type"), err)
		}
	}
	empty := text
	empty.Text = ""
	_, err := email.Render(from(t), empty)
	if f := failure(t, err); f.Kind != paylink.Permanent || f.Scope != paylink.ScopeTemplate {
		t.Errorf("empty mail: %+v", f)
	}
}

func render(t testing.TB, m notify.Outgoing) []byte {
	t.Helper()
	b, err := email.Render(from(t), m)
	if err != nil {
		t.Fatalf("Render: %v", err)
	}
	return b
}

type part struct {
	kind, id string
	body     []byte
}

func parts(t *testing.T, raw []byte, kind, boundary string) []part {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	got, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || got != kind || params["boundary"] != boundary {
		t.Fatalf("Content-Type = %q (%v)", m.Header.Get("Content-Type"), err)
	}
	return read(t, m.Body, boundary)
}

func read(t *testing.T, r io.Reader, boundary string) []part {
	t.Helper()
	var all []part
	mr := multipart.NewReader(r, boundary)
	for {
		p, err := mr.NextPart() // decodes quoted-printable
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, part{p.Header.Get("Content-Type"), p.Header.Get("Content-Id"), body})
	}
}
