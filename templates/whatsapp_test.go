package templates_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"dunlin/paylink"
	"dunlin/templates"
)

// TestWhatsAppTexts holds the texts that docs/whatsapp.md tells people to submit to Meta's and Twilio's rules, with the
// longest values that we send.
func TestWhatsAppTexts(t *testing.T) {
	doc, err := os.ReadFile("../docs/whatsapp.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := regexp.MustCompile("(?s)```text\n(.*?)\n```").FindAllStringSubmatch(string(doc), -1)
	if len(texts) != 6 {
		t.Fatalf("%d texts, want two variants and a receipt in two languages", len(texts))
	}
	s := load(t)
	for i, m := range texts {
		body, lang, inBody := m[1], []string{"en", "ar"}[i%2], i == 2 || i == 3
		d, purpose := full(lang), paylink.PurposeLink
		if i >= 4 {
			d, purpose = receipt(lang, "full"), paylink.PurposeReceipt
		}
		d.Name, d.Description = strings.Repeat("نورة ", 100), strings.Repeat("رسوم ", 200)
		vars, err := s.WhatsApp(purpose, lang, d, strings.Repeat("x", 200))
		if err != nil {
			t.Fatal(err)
		}
		variable := regexp.MustCompile(`\{\{(\d+)\}\}`)
		var found []string
		for _, v := range variable.FindAllStringSubmatch(body, -1) {
			found = append(found, v[1])
		}
		want, limit := "[1 2 3 4 5]", 640
		if inBody {
			want, limit = "[1 2 3 4 5 6]", 1024
		}
		if fmt.Sprint(found) != want {
			t.Errorf("text %d has variables %v, want %s", i, found, want)
		}
		if strings.HasPrefix(body, "{{") || strings.HasSuffix(body, "}}") || strings.Contains(body, "}}{{") || strings.Contains(body, "}} {{") {
			t.Errorf("text %d begins or ends with a variable, or has two side by side", i)
		}
		if n := len(strings.Fields(variable.ReplaceAllString(body, ""))); n < 13 {
			t.Errorf("text %d has %d fixed words, want at least 13", i, n)
		}
		filled := variable.ReplaceAllStringFunc(body, func(v string) string { return vars[strings.Trim(v, "{}")] })
		if n := utf8.RuneCountInString(filled); n > limit {
			t.Errorf("text %d has %d characters when filled, want at most %d", i, n, limit)
		}
	}
}

func TestWhatsAppVariables(t *testing.T) {
	s := load(t)
	d := templates.LinkData{
		Merchant: "M", Name: "  Noura\n\tAl-Salem      ", Amount: "KWD 1.000", InvoiceNumber: "INV-1", ShortRef: "b1.1", Link: "https://x.example/p/abc",
	}
	got, err := s.WhatsApp(paylink.PurposeLink, "en", d, "abc")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"1": "Noura Al-Salem", "2": "KWD 1.000", "3": "INV-1", "4": "-", "5": "b1.1", "6": "abc"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	if d.Link != "https://x.example/p/abc" {
		t.Error("the caller's data was changed")
	}
}
