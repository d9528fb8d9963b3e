package templates_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dunlin/paylink"
	"dunlin/templates"
)

// receipt is a receipt for a part with everything set, or for all of it with nothing but what it must have.
func receipt(lang, size string) templates.LinkData {
	kwd := func(minor int64) paylink.Money { return paylink.Money{Minor: minor, Currency: "KWD"} }
	r := paylink.Request{ID: paylink.NewRequestID(12, 345), Amount: kwd(125000), Country: "KW", Timezone: "Asia/Kuwait"}
	merchant, c, note, to := "Al Noor School", paylink.Contact{}, paylink.PaidNote{Received: kwd(125000), Left: kwd(0)}, ""
	if lang == "ar" {
		merchant = "مدرسة النور"
	}
	if size == "full" {
		r.Reference, r.InvoiceNumber, r.Description = "STU-1001", "INV-2026-0042", "School fees, term 2"
		c = paylink.Contact{Name: "Noura Al-Salem", FirstName: "Noura"}
		if lang == "ar" {
			r.Description, c = "رسوم الفصل الثاني", paylink.Contact{Name: "نورة السالم", FirstName: "نورة"}
		}
		note, to = paylink.PaidNote{Received: kwd(25000), Left: kwd(100000), Reference: "201923000001"}, link+"/receipt"
	}
	at := time.Date(2026, 3, 2, 22, 30, 0, 0, time.UTC) // the next day where the payer is
	return templates.NewReceiptData(merchant, r, c, note, 1, at, to, lang)
}

// TestReceiptGolden pins every receipt byte for byte.
func TestReceiptGolden(t *testing.T) {
	s := load(t)
	for _, lang := range []string{"en", "ar"} {
		for _, size := range []string{"full", "sparse"} {
			t.Run(lang+"/"+size, func(t *testing.T) {
				d := receipt(lang, size)
				pin := func(channel, got string) {
					t.Helper()
					goldenFile(t, filepath.Join("testdata", strings.Join([]string{"receipt", lang, channel, size, "golden"}, ".")), got)
					for _, want := range []string{d.Received, d.Left, d.ReceiptNo} {
						if !strings.Contains(got, want) {
							t.Errorf("%s does not say %q", channel, want)
						}
					}
				}
				mail, err := s.Email(paylink.PurposeReceipt, lang, d)
				if err != nil {
					t.Fatal(err)
				}
				checkBalanced(t, mail.HTML)
				pin("email", "Subject: "+mail.Subject+"\n\n"+mail.Text)
				pin("email.html", mail.HTML)
				sms, err := s.SMS(paylink.PurposeReceipt, lang, d)
				if err != nil {
					t.Fatal(err)
				}
				pin("sms", sms)
				if n, _ := templates.Segments(sms); n > map[string]int{"en": 1, "ar": 3}[lang] {
					t.Errorf("%d segments:\n%s", n, sms)
				}
				vars, err := s.WhatsApp(paylink.PurposeReceipt, lang, d, "3xK9mPq7RtV/receipt")
				if err != nil {
					t.Fatal(err)
				}
				var b strings.Builder
				for _, k := range slices.Sorted(maps.Keys(vars)) {
					fmt.Fprintf(&b, "%s: %s\n", k, vars[k])
				}
				pin("whatsapp", b.String())
			})
		}
	}
}

func TestReceiptRefused(t *testing.T) {
	for name, text := range map[string]string{
		"messages/receipt.en.sms.txt":      "Thank you for {{.Received}} {{.Link}}",
		"messages/receipt.ar.whatsapp.txt": "{{.Received}}\n{{.ReceiptNo}}",
	} {
		if _, err := templates.Load(overrides(t, map[string]string{name: text})); err == nil {
			t.Errorf("%s: loaded without its number or its link", name)
		}
	}
}
