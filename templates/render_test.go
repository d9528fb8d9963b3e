package templates_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dunlin/paylink"
	"dunlin/templates"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const link = "https://pay.alnoorschool.example/p/3xK9mPq7RtV"

func load(t testing.TB) *templates.Set {
	t.Helper()
	s, err := templates.Load("")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// full is a request with everything set, in the words of its language.
func full(lang string) templates.LinkData {
	r := paylink.Request{
		ID: paylink.NewRequestID(12, 345), Reference: "STU-1001", Country: "KW", DueDate: "2026-03-15",
		Amount: paylink.Money{Minor: 125000, Currency: "KWD"}, Description: "School fees, term 2", InvoiceNumber: "INV-2026-0042",
	}
	merchant, c := "Al Noor School", paylink.Contact{Name: "Noura Al-Salem", FirstName: "Noura"}
	if lang == "ar" {
		merchant, c = "مدرسة النور", paylink.Contact{Name: "نورة السالم", FirstName: "نورة"}
		r.Description = "رسوم الفصل الثاني"
	}
	d := templates.NewLinkData(merchant, r, c, link, lang)
	d.QR, d.Stop = "qr.png", link+"/stop"
	return d
}

// sparse is a request that has nothing but what it must have.
func sparse(lang string) templates.LinkData {
	d := full(lang)
	return templates.LinkData{Merchant: d.Merchant, Amount: d.Amount, ShortRef: d.ShortRef, Link: d.Link}
}

var samples = map[string]func(lang string) templates.LinkData{"full": full, "sparse": sparse}

// TestGolden pins every message byte for byte.
func TestGolden(t *testing.T) {
	s := load(t)
	for _, lang := range []string{"en", "ar"} {
		for size, data := range samples {
			t.Run(lang+"/"+size, func(t *testing.T) {
				mail, err := s.Email(paylink.PurposeLink, lang, data(lang))
				if err != nil {
					t.Fatal(err)
				}
				golden(t, "email", lang, size, "Subject: "+mail.Subject+"\n\n"+mail.Text)
				golden(t, "email.html", lang, size, mail.HTML)
				sms, err := s.SMS(paylink.PurposeLink, lang, data(lang))
				if err != nil {
					t.Fatal(err)
				}
				golden(t, "sms", lang, size, sms)
				vars, err := s.WhatsApp(paylink.PurposeLink, lang, data(lang), "3xK9mPq7RtV")
				if err != nil {
					t.Fatal(err)
				}
				var b strings.Builder
				for _, k := range slices.Sorted(maps.Keys(vars)) {
					fmt.Fprintf(&b, "%s: %s\n", k, vars[k])
				}
				golden(t, "whatsapp", lang, size, b.String())
			})
		}
	}
}

func golden(t *testing.T, channel, lang, size, got string) {
	t.Helper()
	goldenFile(t, filepath.Join("testdata", strings.Join([]string{"link", lang, channel, size, "golden"}, ".")), got)
}

func goldenFile(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v (go test ./templates -update writes it)", err)
	}
	if !bytes.Equal(want, []byte(got)) {
		t.Errorf("%s differs (-want +got):\n%s", name, cmp.Diff(string(want), got))
	}
}

// TestSMSPrice holds the messages to what they may cost: one segment in English, two in Arabic, with a link of 45
// characters on a line of its own at the end.
func TestSMSPrice(t *testing.T) {
	s := load(t)
	for lang, want := range map[string]struct {
		n       int
		unicode bool
	}{"en": {1, false}, "ar": {2, true}} {
		d := full(lang)
		d.Link = "https://pay.alnoorschool.com/p/3xK9mPq7RtVw2Z"
		if len(d.Link) != 45 {
			t.Fatalf("link has %d characters", len(d.Link))
		}
		text, err := s.SMS(paylink.PurposeLink, lang, d)
		if err != nil {
			t.Fatal(err)
		}
		if n, unicode := templates.Segments(text); n != want.n || unicode != want.unicode {
			t.Errorf("%s: %d segments, UCS-2 %v; want %v\n%s", lang, n, unicode, want, text)
		}
		if !strings.HasSuffix(text, "\n"+d.Link) {
			t.Errorf("%s: the link is not alone at the end:\n%s", lang, text)
		}
	}
}

func TestUnknownMessage(t *testing.T) {
	s := load(t)
	for _, k := range [][2]string{{"link", "fr"}, {"love", "en"}, {"", ""}} {
		_, mailErr := s.Email(k[0], k[1], full("en"))
		_, smsErr := s.SMS(k[0], k[1], full("en"))
		_, waErr := s.WhatsApp(k[0], k[1], full("en"), "x")
		if mailErr == nil || smsErr == nil || waErr == nil {
			t.Errorf("%v: errors %v, %v, %v; want three", k, mailErr, smsErr, waErr)
		}
		if h := s.Hash(k[0], k[1], paylink.Email); h != "" {
			t.Errorf("%v: hash %q of a message that does not exist", k, h)
		}
	}
}

func BenchmarkEmail(b *testing.B) {
	s := load(b)
	d := full("ar")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Email(paylink.PurposeLink, "ar", d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEmailWithQR(b *testing.B) {
	s := load(b)
	d := full("en")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Email(paylink.PurposeLink, "en", d); err != nil {
			b.Fatal(err)
		}
		if _, err := templates.QR(d.Link); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSMS(b *testing.B) {
	s := load(b)
	d := full("en")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.SMS(paylink.PurposeLink, "en", d); err != nil {
			b.Fatal(err)
		}
	}
}
