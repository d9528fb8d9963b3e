package attachment_test

import (
	"archive/zip"
	"bytes"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dunlin/notify/attachment"
	"dunlin/paylink"
)

func archive(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, n := range names {
		if _, err := z.Create(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// host is a server of files on this machine, and a fetcher that is let to it.
func host(t *testing.T, c attachment.Config) (*http.ServeMux, string, *attachment.Fetcher) {
	t.Helper()
	mux := http.NewServeMux()
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	c.RootCAs = x509.NewCertPool()
	c.RootCAs.AddCert(s.Certificate())
	f := attachment.New(c)
	t.Cleanup(func() { f.Close() })
	return mux, s.URL, f
}

func anywhere(netip.Addr) error { return nil }

func TestFetch(t *testing.T) {
	mux, at, f := host(t, attachment.Config{Permit: anywhere, MaxBytes: 2000})
	give := func(path string, body []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/pdf") // whatever it is
			_, _ = w.Write(body)
		})
	}
	give("/inv/INV-42.pdf", []byte("%PDF-1.7\nx"))
	give("/a.PNG", []byte("\x89PNG\r\n\x1a\nx"))
	give("/download", []byte("\xff\xd8\xff\xe0x"))
	give("/letter", archive(t, "[Content_Types].xml", "word/document.xml"))
	give("/sheet.docx", archive(t, "xl/workbook.xml"))
	give("/macro.xlsx", archive(t, "xl/workbook.xml", "xl/vbaProject.bin"))
	give("/other.zip", archive(t, "run.exe"))
	give("/page.html", []byte("<html>"))
	give("/broken.docx", []byte("PK\x03\x04 nothing"))
	give("/empty", nil)
	give("/large.pdf", append([]byte("%PDF-"), make([]byte, 2000)...))
	mux.HandleFunc("/unmeasured.pdf", func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			_, _ = w.Write(append([]byte("%PDF-"), make([]byte, 100)...))
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/inv/INV-42.pdf", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.Host+"/inv/INV-42.pdf", http.StatusFound)
	})
	mux.HandleFunc("/tired", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/broken-off", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("%PDF-"))
	})
	for _, tt := range []struct {
		path, name, mime string
		kind             paylink.Kind
		code             string
		err              error
	}{
		{path: "/inv/INV-42.pdf?key=secret", name: "INV-42.pdf", mime: "application/pdf"},
		{path: "/a.PNG", name: "a.png", mime: "image/png"},
		{path: "/download", name: "download.jpg", mime: "image/jpeg"},
		{path: "/letter", name: "letter.docx", mime: "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
		{path: "/sheet.docx", name: "sheet.xlsx", mime: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
		{path: "/moved", name: "moved.pdf", mime: "application/pdf"},
		{path: "/macro.xlsx", kind: paylink.Permanent, code: "type"},
		{path: "/other.zip", kind: paylink.Permanent, code: "type"},
		{path: "/page.html", kind: paylink.Permanent, code: "type"},
		{path: "/broken.docx", kind: paylink.Permanent, code: "type"},
		{path: "/empty", kind: paylink.Permanent, code: "type"},
		{path: "/none", kind: paylink.Permanent, code: "http 404"},
		{path: "/loop", kind: paylink.Permanent, code: "redirect"},
		{path: "/plain", kind: paylink.Permanent, code: "redirect"},
		{path: "/tired", kind: paylink.Temporary, code: "http 503"},
		{path: "/broken-off", kind: paylink.Temporary},
		{path: "/large.pdf", err: paylink.ErrTooLarge},
		{path: "/unmeasured.pdf", err: paylink.ErrTooLarge},
	} {
		t.Run(strings.TrimPrefix(tt.path, "/"), func(t *testing.T) {
			a, err := f.Fetch(t.Context(), at+tt.path)
			switch {
			case tt.err != nil:
				if !errors.Is(err, tt.err) {
					t.Errorf("got error %v, want %v", err, tt.err)
				}
			case tt.kind != "":
				if got := paylink.AsFailure(err); err == nil || got.Kind != tt.kind || got.Cause != paylink.CauseAttachment || got.Code != tt.code {
					t.Errorf("got %v, want a %s failure with code %q", err, tt.kind, tt.code)
				}
				if err != nil && strings.Contains(err.Error(), "127.0.0.1") {
					t.Errorf("the error names the address: %v", err)
				}
			case err != nil || a.Name != tt.name || a.Type != tt.mime || len(a.Data) == 0:
				t.Errorf("got %q of type %q, %v; want %q of type %q", a.Name, a.Type, err, tt.name, tt.mime)
			}
		})
	}
}

// TestNoInside: by name, by number or by redirect, nothing that is not public is reached.
func TestNoInside(t *testing.T) {
	mux, at, f := host(t, attachment.Config{Timeout: 5 * time.Second})
	reached := 0
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { reached++ })
	for _, address := range []string{at, strings.Replace(at, "127.0.0.1", "localhost", 1), strings.Replace(at, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		_, err := f.Fetch(t.Context(), address+"/a.pdf")
		if got := paylink.AsFailure(err); got.Kind != paylink.Permanent || got.Code != "private" {
			t.Errorf("%s: got %v, want it refused", address, err)
		}
	}
	first := true // a redirect leads inside
	mux2, at2, g := host(t, attachment.Config{Permit: func(a netip.Addr) error {
		if first {
			first = false
			return nil
		}
		return attachment.Public(a)
	}})
	mux2.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, at+"/a.pdf", http.StatusFound) })
	if _, err := g.Fetch(t.Context(), at2+"/a.pdf"); paylink.AsFailure(err).Code != "private" {
		t.Errorf("got %v, want the redirect refused", err)
	}
	if reached > 0 {
		t.Errorf("it was reached %d times", reached)
	}
	for _, address := range []string{"http://example.com/a.pdf", "https://me:pw@example.com/a.pdf", "file:///etc/passwd", "https:///a", "%"} {
		if _, err := f.Fetch(t.Context(), address); paylink.AsFailure(err).Code != "address" {
			t.Errorf("%s: got %v, want it refused", address, err)
		}
	}
}

func TestPublic(t *testing.T) {
	for address, public := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700:4700::1111": true, "100.63.255.255": true, "172.32.0.1": true,
		"127.0.0.1": false, "127.9.9.9": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "100.100.100.200": false, "168.63.129.16": false, "0.0.0.0": false, "0.1.2.3": false, "255.255.255.255": false,
		"224.0.0.1": false, "240.0.0.1": false, "192.0.0.192": false, "198.18.0.1": false, "203.0.113.5": false,
		"::1": false, "::": false, "::ffff:10.0.0.1": false, "::ffff:8.8.8.8": true, "::7f00:1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false,
		"fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false, "ff02::1": false, "2001::1": false, "2001:db8::1": false,
	} {
		if got := attachment.Public(netip.MustParseAddr(address)) == nil; got != public {
			t.Errorf("%s: got public %t, want %t", address, got, public)
		}
	}
}
