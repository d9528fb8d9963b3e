package attachment

import (
	"archive/zip"
	"bytes"
	"net/url"
	"path"
	"strings"
	"unicode"
)

// kind is a sort of document that may be attached.
type kind struct{ mime, ext string }

var (
	pdf  = kind{"application/pdf", ".pdf"}
	png  = kind{"image/png", ".png"}
	jpeg = kind{"image/jpeg", ".jpg"}
	docx = kind{"application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx"}
	xlsx = kind{"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"}
)

// sniff tells the kind by the bytes.
func sniff(data []byte) (kind, bool) {
	for magic, k := range map[string]kind{"%PDF-": pdf, "\x89PNG\r\n\x1a\n": png, "\xff\xd8\xff": jpeg} {
		if bytes.HasPrefix(data, []byte(magic)) {
			return k, true
		}
	}
	if !bytes.HasPrefix(data, []byte("PK\x03\x04")) {
		return kind{}, false
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return kind{}, false
	}
	var found kind
	for _, f := range z.File {
		switch f.Name {
		case "word/document.xml":
			found = docx
		case "xl/workbook.xml":
			found = xlsx
		}
		if strings.EqualFold(path.Base(f.Name), "vbaProject.bin") { // macros, under whatever name
			return kind{}, false
		}
	}
	return found, found != kind{}
}

// maxName is the longest name of an attachment, in characters, without its ending.
const maxName = 60

// name makes the attachment's name from the last part of its address, with the ending that its bytes deserve.
func name(u *url.URL, ext string) string {
	base := path.Base(u.Path)
	base = strings.TrimSuffix(base, path.Ext(base))
	out := make([]rune, 0, maxName)
	for _, r := range base {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' {
			r = ' '
		}
		if len(out) < maxName {
			out = append(out, r)
		}
	}
	clean := strings.Join(strings.Fields(string(out)), " ")
	if strings.Trim(clean, "-_ ") == "" {
		clean = "invoice"
	}
	return clean + ext
}
