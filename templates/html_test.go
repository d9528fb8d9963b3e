package templates_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"dunlin/paylink"
	"dunlin/templates"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// TestHTML checks of the HTML mail what a reader's program relies on.
func TestHTML(t *testing.T) {
	s := load(t)
	for lang, dir := range map[string]string{"en": "ltr", "ar": "rtl"} {
		for size, data := range samples {
			t.Run(lang+"/"+size, func(t *testing.T) {
				d := data(lang)
				mail, err := s.Email(paylink.PurposeLink, lang, d)
				if err != nil {
					t.Fatal(err)
				}
				checkBalanced(t, mail.HTML)
				doc := parse(t, mail.HTML)
				root := elements(doc, "html")[0]
				if got := attr(root, "lang") + " " + attr(root, "dir"); got != lang+" "+dir {
					t.Errorf("html has lang and dir %q, want %q", got, lang+" "+dir)
				}
				links := elements(doc, "a")
				want := []string{d.Link, d.Link} // the button and the plain link
				if d.Stop != "" {
					want = append(want, d.Stop)
				}
				var hrefs []string
				for _, a := range links {
					hrefs = append(hrefs, attr(a, "href"))
				}
				if diff := cmp.Diff(want, hrefs); diff != "" {
					t.Errorf("links (-want +got):\n%s", diff)
				}
				isolated := map[string]string{}
				for _, n := range elements(doc, "bdi") {
					isolated[text(n)] = attr(n, "dir")
				}
				for _, want := range []string{d.Amount, d.Merchant, d.Name, d.Description, d.InvoiceNumber, d.Reference} {
					if _, ok := isolated[want]; !ok && want != "" {
						t.Errorf("%q is not isolated by <bdi>", want)
					}
				}
				if isolated[d.Link] != "ltr" {
					t.Error("the plain link is not isolated from left to right")
				}
				var pictures []string
				for _, n := range elements(doc, "img") {
					pictures = append(pictures, attr(n, "src"))
					if attr(n, "alt") == "" {
						t.Error("picture without alt")
					}
				}
				if want := strings.Fields(strings.Replace(d.QR, "qr.png", "cid:qr.png", 1)); !slices.Equal(pictures, want) {
					t.Errorf("pictures %q, want %q", pictures, want)
				}
				for _, n := range elements(doc, "td") {
					if strings.TrimSpace(text(n)) == "" && len(elements(n, "img")) == 0 && attr(n, "height") == "" {
						t.Errorf("empty cell in table")
					}
				}
				for _, bad := range []string{"ZgotmplZ", "no value", "http://", "<script", "@import", "url("} {
					if strings.Contains(mail.HTML, bad) {
						t.Errorf("HTML contains %q", bad)
					}
				}
			})
		}
	}
}

// TestInjection gives every field something that would break out of its place.
func TestInjection(t *testing.T) {
	s := load(t)
	const evil = "\u202e\"'<script>alert(1)</script><b>\r\nBcc: x@example.org\t{{.Link}}\u2066&amp;\x00"
	const tame = `"'<script>alert(1)</script><b> Bcc: x@example.org {{.Link}}&amp;`
	d := templates.LinkData{
		Merchant: evil, Name: evil, FirstName: evil, Amount: evil, Description: evil, DueDate: evil,
		InvoiceNumber: evil, Reference: evil, ShortRef: evil, Link: link, Stop: evil, QR: evil, Extra: map[string]string{"class": evil},
	}
	for _, lang := range []string{"en", "ar"} {
		mail, err := s.Email(paylink.PurposeLink, lang, d)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(mail.Subject, "\r\n") || !strings.Contains(mail.Subject, tame) {
			t.Errorf("%s: subject %q", lang, mail.Subject)
		}
		if !strings.Contains(mail.Text, tame) {
			t.Errorf("%s: text lacks the cleaned value:\n%s", lang, mail.Text)
		}
		checkBalanced(t, mail.HTML)
		doc := parse(t, mail.HTML)
		if n := len(elements(doc, "script")) + len(elements(doc, "b")); n != 0 {
			t.Errorf("%s: %d elements came out of the data", lang, n)
		}
		found := 0
		for _, n := range elements(doc, "bdi") {
			if text(n) == tame {
				found++
			}
		}
		if found < 6 {
			t.Errorf("%s: the value is shown %d times as it is, want at least 6", lang, found)
		}
		sms, err := s.SMS(paylink.PurposeLink, lang, d)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(sms, "\n") != 1 || strings.ContainsAny(sms, "\r\t\x00\u202e\u2066") {
			t.Errorf("%s: SMS %q", lang, sms)
		}
		vars, err := s.WhatsApp(paylink.PurposeLink, lang, d, "suffix\n")
		if err != nil {
			t.Fatal(err)
		}
		if len(vars) != 6 || vars["6"] != "suffix" {
			t.Errorf("%s: WhatsApp variables %q", lang, vars)
		}
	}
	if d.Extra["class"] != evil {
		t.Error("the caller's map was changed")
	}
}

func FuzzRender(f *testing.F) {
	s := load(f)
	f.Add("Noura", "School fees", "KWD 1.000", link)
	f.Add("", "", "", "")
	f.Add("<b>\u202e\n", "a    b\u2028c", "\xff\xfe", "javascript:alert(1)")
	f.Add(strings.Repeat("نورة ", 400), "]]>--><!--", "{{.}}", "https://x/p/a?b=c&d=\"<e>")
	plain, err := s.Email(paylink.PurposeLink, "en", templates.LinkData{
		Merchant: "x", Name: "x", Amount: "x", Description: "x", DueDate: "x", InvoiceNumber: "x", Reference: "x", ShortRef: "x", Link: "x", Stop: "x", QR: "x",
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, description, amount, target string) {
		// A letter in front keeps each value from being empty once cleaned, so that the mail has as many tags as the plain one.
		d := templates.LinkData{
			Merchant: "x" + name, Name: "x" + name, FirstName: name, Amount: "x" + amount, Description: "x" + description,
			DueDate: "x" + amount, InvoiceNumber: "x" + name, Reference: "x" + description, ShortRef: "x" + target, Link: "x" + target, Stop: "x" + target, QR: "x" + name,
		}
		mail, err := s.Email(paylink.PurposeLink, "en", d)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Count(mail.HTML, "<"), strings.Count(plain.HTML, "<"); got != want {
			t.Errorf("HTML has %d raw '<', want %d:\n%s", got, want, mail.HTML)
		}
		if strings.ContainsAny(mail.Subject, "\r\n\u2028\u2029") {
			t.Errorf("line break in subject %q", mail.Subject)
		}
		if got, want := strings.Count(mail.Text, "\n"), strings.Count(plain.Text, "\n"); got != want {
			t.Errorf("text has %d lines, want %d:\n%s", got, want, mail.Text)
		}
		if sms, err := s.SMS(paylink.PurposeLink, "ar", d); err != nil || strings.Count(sms, "\n") != 1 {
			t.Errorf("SMS %q, %v", sms, err)
		}
		vars, err := s.WhatsApp(paylink.PurposeLink, "ar", d, target)
		if err != nil || len(vars) != 6 {
			t.Errorf("%d WhatsApp variables, want 6: %v", len(vars), err)
		}
		for k, v := range vars {
			if v == "" || strings.ContainsAny(v, "\r\n\t") || strings.Contains(v, "  ") {
				t.Errorf("WhatsApp would refuse variable %s = %q", k, v)
			}
		}
	})
}

// checkBalanced fails if an element is not closed in its place; the parser would mend that silently.
func checkBalanced(t *testing.T, doc string) {
	t.Helper()
	void := []string{"meta", "img", "br"}
	var open []string
	for z := html.NewTokenizer(strings.NewReader(doc)); ; {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				t.Fatal(z.Err())
			}
			if len(open) != 0 {
				t.Errorf("not closed: %v", open)
			}
			return
		case html.StartTagToken:
			if name := z.Token().Data; !slices.Contains(void, name) {
				open = append(open, name)
			}
		case html.EndTagToken:
			name := z.Token().Data
			if len(open) == 0 || open[len(open)-1] != name {
				t.Fatalf("</%s> closes %v", name, open)
			}
			open = open[:len(open)-1]
		}
	}
}

func parse(t *testing.T, s string) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func elements(root *html.Node, name string) (found []*html.Node) {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			found = append(found, n)
		}
	}
	return found
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(root *html.Node) string {
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
	}
	return b.String()
}
