package templates_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dunlin/paylink"
	"dunlin/templates"
)

func overrides(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOverride(t *testing.T) {
	s, err := templates.Load(overrides(t, map[string]string{
		"messages/link.en.sms.txt":           "\ufeff{{.Extra.class}}/{{index .Extra \"Class name\"}}/{{.Extra.missing}}:\r\n{{.Link}}\r\n",
		"messages/link.en.email.subject.txt": "Your fees\nfor {{.Extra.class}}\n",
		"messages/link.en.whatsapp.txt":      "{{.Extra.class}}\n\n{{.Link}}\n",
		"messages/.DS_Store":                 "ignored",
		"..data/x":                           "ignored",
	}))
	if err != nil {
		t.Fatal(err)
	}
	d := sparse("en")
	d.Extra = map[string]string{"class": "4B", "Class name": "Fourth\nB"}
	got, err := s.SMS(paylink.PurposeLink, "en", d)
	if want := "4B/Fourth B/:\n" + link; err != nil || got != want {
		t.Errorf("SMS %q, %v, want %q", got, err, want)
	}
	mail, err := s.Email(paylink.PurposeLink, "en", d)
	if want := "Your fees for 4B"; err != nil || mail.Subject != want {
		t.Errorf("subject %q, %v, want %q", mail.Subject, err, want)
	}
	vars, err := s.WhatsApp(paylink.PurposeLink, "en", d, "abc")
	if err != nil || len(vars) != 3 || vars["1"] != "4B" || vars["2"] != "-" || vars["3"] != "abc" {
		t.Errorf("WhatsApp variables %q, %v", vars, err)
	}

	plain := load(t)
	for _, k := range []struct {
		lang    string
		channel paylink.Channel
		same    bool
	}{
		{"en", paylink.SMS, false}, {"en", paylink.Email, false}, {"en", paylink.WhatsApp, false},
		{"ar", paylink.SMS, true}, {"ar", paylink.Email, true}, {"ar", paylink.WhatsApp, true},
	} {
		a, b := s.Hash(paylink.PurposeLink, k.lang, k.channel), plain.Hash(paylink.PurposeLink, k.lang, k.channel)
		if (a == b) != k.same {
			t.Errorf("%s %s: hashes %s and %s, want same: %v", k.lang, k.channel, a, b, k.same)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	words, err := os.ReadFile("messages/link.en.email.html")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, file, text string
		want             []string // parts of the error
	}{
		{"a file that replaces nothing", "messages/link.en.smss.txt", "x", []string{"messages/link.en.smss.txt"}},
		{"a language we do not have", "messages/link.fr.sms.txt", "{{.Link}}", []string{"messages/link.fr.sms.txt"}},
		{"a file in the wrong place", "link.en.sms.txt", "{{.Link}}", []string{"link.en.sms.txt"}},
		{"a broken template", "messages/link.en.sms.txt", "a\n{{if}}", []string{"messages/link.en.sms.txt:2"}},
		{"a wrong field", "messages/link.en.sms.txt", "a\n{{.Nmae}} {{.Link}}", []string{"messages/link.en.sms.txt:2", "Nmae"}},
		{"a wrong field that few rows reach", "messages/link.ar.sms.txt", "{{.Link}}{{if .Extra.vip}}\n{{.Nmae}}{{end}}", []string{"messages/link.ar.sms.txt:2", "Nmae"}},
		{"a wrong field where something is empty", "messages/link.en.email.txt", "{{.Link}}{{if not .DueDate}}{{.Nmae}}{{end}}", []string{"messages/link.en.email.txt:1", "Nmae"}},
		{"a wrong field in the HTML", "messages/link.en.email.html", strings.Replace(string(words), "{{with .Name}}", "{{with .Nmae}}", 1), []string{"messages/link.en.email.html:6", "Nmae"}},
		{"a block that is not there", "messages/link.email.html", "<p>{{.Link}}</p>", []string{"messages/layout.email.html", "body"}},
		{"an SMS without the link", "messages/link.en.sms.txt", "Please pay {{.Amount}}", []string{"messages/link.en.sms", "payment link"}},
		{"WhatsApp without the link", "messages/link.en.whatsapp.txt", "{{.Name}}", []string{"messages/link.en.whatsapp", "payment link"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := templates.Load(overrides(t, map[string]string{tt.file: tt.text}))
			if err == nil {
				t.Fatal("loaded, want an error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
		})
	}
	if _, err := templates.Load(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("loaded from a folder that does not exist")
	}
}

// TestLoadNamesAll: whoever mends templates wants to see all mistakes at once.
func TestLoadNamesAll(t *testing.T) {
	_, err := templates.Load(overrides(t, map[string]string{
		"messages/link.en.sms.txt": "{{.A}}", "messages/link.ar.email.txt": "{{.B}}", "messages/link.en.email.subject.txt": "{{",
	}))
	for _, want := range []string{"link.en.sms.txt:1", "link.ar.email.txt:1", "link.en.email.subject.txt:1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not contain %q", err, want)
		}
	}
}

func TestHashOfSource(t *testing.T) {
	s := load(t)
	seen := map[string]bool{}
	for _, lang := range []string{"en", "ar"} {
		for _, ch := range paylink.Channels {
			hash := s.Hash(paylink.PurposeLink, lang, ch)
			source, ok := s.Source(hash)
			sum := sha256.Sum256([]byte(source))
			if !ok || hex.EncodeToString(sum[:]) != hash {
				t.Errorf("%s %s: hash %q is not that of its source", lang, ch, hash)
			}
			if seen[hash] {
				t.Errorf("%s %s: another message has the same hash", lang, ch)
			}
			seen[hash] = true
			if !strings.Contains(source, "== messages/link."+lang+"."+string(ch)) || !strings.Contains(source, "{{.Link}}") {
				t.Errorf("%s %s: source lacks its file name or its text:\n%s", lang, ch, source)
			}
		}
	}
	if _, ok := s.Source("none"); ok {
		t.Error("source of an unknown hash")
	}
}
