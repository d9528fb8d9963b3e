package templates

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"text/template"

	"dunlin/paylink"
)

//go:embed messages pages
var embedded embed.FS

// Load parses the embedded templates. If dir is not empty, its files replace the embedded ones of the same path
// ("messages/link.en.sms.txt"); a file there that would replace nothing is an error, since it is most likely a
// misspelt name. Names that begin with a dot are ignored.
//
// Every template is executed on sample data. The error names all files, with lines, that do not parse, name a field that
// does not exist, or render a message without the payment link.
func Load(dir string) (*Set, error) {
	files, err := readFiles(dir)
	if err != nil {
		return nil, err
	}
	s := &Set{messages: map[key]*message{}, sources: map[string]string{}}
	s.buffers.New = func() any { return new(bytes.Buffer) }
	var errs []error
	for _, lang := range []string{"en", "ar"} {
		for _, ch := range paylink.Channels {
			for _, purpose := range []string{paylink.PurposeLink, paylink.PurposeReceipt} {
				errs = append(errs, s.add(key{purpose, lang, ch}, files))
			}
		}
	}
	s.pages, err = loadPages(files)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("loading templates: %w", err)
	}
	return s, nil
}

func (s *Set) add(k key, files map[string]string) error {
	var m message
	var err error
	var parts []string // the files that the message is made of
	name := fmt.Sprintf("messages/%s.%s.%s", k.purpose, k.lang, k.channel)
	switch k.channel {
	case paylink.Email:
		layers := []string{"messages/layout.email.html", "messages/" + k.purpose + ".email.html", name + ".html"}
		parts = append([]string{name + ".subject.txt", name + ".txt"}, layers...)
		var errSubject, errText, errHTML error
		m.subject, errSubject = parseText(parts[0], files)
		m.text, errText = parseText(parts[1], files)
		m.html, errHTML = parseHTML(layers, files)
		err = errors.Join(errSubject, errText, errHTML)
	default:
		parts = []string{name + ".txt"}
		m.text, err = parseText(parts[0], files)
	}
	if err != nil {
		return err
	}
	var source strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&source, "== %s\n%s\n", p, files[p])
	}
	sum := sha256.Sum256([]byte(source.String()))
	m.hash = hex.EncodeToString(sum[:])
	if err := s.try(k, &m, source.String()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.messages[k], s.sources[m.hash] = &m, source.String()
	return nil
}

func parseText(name string, files map[string]string) (*template.Template, error) {
	return template.New(name).Funcs(template.FuncMap{"clip": clip}).Option("missingkey=zero").Parse(files[name])
}

// parseHTML parses layers from the outermost in; an inner one may define blocks that an outer one shows.
func parseHTML(layers []string, files map[string]string) (*htmltemplate.Template, error) {
	t := htmltemplate.New(layers[0]).Funcs(htmltemplate.FuncMap{"clip": clip}).Option("missingkey=zero")
	for _, name := range layers {
		part := t
		if name != layers[0] {
			part = t.New(name)
		}
		if _, err := part.Parse(files[name]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// extraKeys finds the extra columns that a template asks for, so that the samples have them and the branches that
// depend on them are tried.
var extraKeys = regexp.MustCompile(`\.Extra\.(\w+)|index\s+\$?\.Extra\s+"([^"]+)"`)

// try executes a message on sample data.
func (s *Set) try(k key, m *message, source string) error {
	full := LinkData{
		Merchant: "Al Noor School", Name: "Noura Al-Salem", FirstName: "Noura", Amount: "KWD 125.000",
		Description: "School fees", DueDate: "15 March 2026", InvoiceNumber: "INV-42", Reference: "STU-1001",
		ShortRef: "b1.1", Link: "https://pay.example/p/sample", AttachmentURL: "https://files.example/invoice.pdf", Stop: "https://pay.example/p/sample/stop", QR: "qr.png", Extra: map[string]string{},
	}
	for _, found := range extraKeys.FindAllStringSubmatch(source, -1) {
		full.Extra[found[1]+found[2]] = "sample"
	}
	sparse := LinkData{Merchant: full.Merchant, Amount: full.Amount, Link: full.Link, ShortRef: full.ShortRef}
	if k.purpose == paylink.PurposeReceipt {
		full.Received, full.Left, full.PaidOn, full.PaymentRef, full.ReceiptNo = "KWD 25.000", "KWD 100.000", "2 March 2026", "R1", "b1.1/1"
		sparse.Received, sparse.ReceiptNo, sparse.Link = full.Received, full.ReceiptNo, ""
	}
	for _, d := range []LinkData{full, sparse} {
		var rendered []string
		switch k.channel {
		case paylink.Email:
			mail, err := s.email(m, d)
			if err != nil {
				return err
			}
			rendered = []string{mail.Text, mail.HTML}
		case paylink.SMS:
			text, err := s.sms(m, d)
			if err != nil {
				return err
			}
			rendered = []string{text}
		case paylink.WhatsApp:
			vars, err := s.whatsApp(m, d)
			if err != nil {
				return err
			}
			rendered = []string{fmt.Sprint(vars)}
		}
		for _, text := range rendered {
			if !strings.Contains(text, d.Link) {
				return errors.New("the message does not contain the payment link; write {{.Link}} where it belongs")
			}
			if !strings.Contains(text, d.ReceiptNo) {
				return errors.New("the receipt does not contain its number; write {{.ReceiptNo}} where it belongs")
			}
		}
	}
	return nil
}

// readFiles reads the embedded files and lays those of dir over them.
func readFiles(dir string) (map[string]string, error) {
	files := map[string]string{}
	if err := readTree(embedded, func(name, text string) error {
		files[name] = text
		return nil
	}); err != nil {
		return nil, fmt.Errorf("reading embedded templates: %w", err)
	}
	if dir == "" {
		return files, nil
	}
	var errs []error
	err := readTree(os.DirFS(dir), func(name, text string) error {
		if _, ok := files[name]; !ok {
			errs = append(errs, fmt.Errorf("%s: there is no template of this name to replace", name))
		}
		files[name] = text
		return nil
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("reading templates from %s: %w", dir, err)
	}
	return files, nil
}

func readTree(tree fs.FS, use func(name, text string) error) error {
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		}
		b, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		// Editors on Windows write a byte order mark and CRLF; an SMS would show the one and pay for the other.
		text := strings.ReplaceAll(strings.TrimPrefix(string(b), "\ufeff"), "\r\n", "\n")
		return use(name, text)
	})
}
