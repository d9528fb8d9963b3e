package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
)

const (
	// importTime is how long a file may take from its last byte to the ledger; a million rows take about a minute.
	importTime = 15 * time.Minute
	// maxUploads are taken in at once: each holds a temporary file.
	maxUploads = 4
	spoolName  = "dunlin-upload-*"
	// spoolAge is when a temporary file is taken for one that a killed server left.
	spoolAge = 24 * time.Hour
)

// kind is a content type that a file may have.
type kind struct {
	ending  string   // for a file without a name
	endings []string // that agree with it
	begins  string   // one of these characters stands first; "" = anything may
	hint    string
}

const multipartType = "multipart/form-data"

// kinds are the content types of files. The reader goes by content; the type is held to it, so that a mistake is told at
// once and not as a thousand bad rows.
func kinds() map[string]kind {
	csv := kind{".csv", []string{".csv", ".tsv", ".txt"}, "", ""}
	nd := kind{".ndjson", []string{".ndjson", ".jsonl"}, "{", "one JSON object a line"}
	return map[string]kind{
		"text/csv": csv, "text/tab-separated-values": csv,
		"application/json":     {".json", []string{".json"}, "[", "a JSON array of objects, one a row; one object a line is application/x-ndjson"},
		"application/x-ndjson": nd, "application/jsonl": nd,
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": {".xlsx", []string{".xlsx"}, "P", "a workbook (.xlsx)"},
	}
}

// upload is a file that came in.
type upload struct{ path, name, sum string }

func (u *upload) remove() { _ = os.Remove(u.path) } // what stays is cleared when a server starts

func uploadOf(ctx context.Context) *upload {
	u, _ := ctx.Value(uploadOfCall).(*upload)
	return u
}

// spool writes the file of a call to a temporary file, within the limits of size and time.
func (a *API) spool(w http.ResponseWriter, r *http.Request) (*upload, *Problem) {
	select {
	case a.uploads <- struct{}{}:
		defer func() { <-a.uploads }()
	default:
		p := problem(http.StatusServiceUnavailable, "too many files are coming in at once")
		p.retry = 5 * time.Second
		return nil, p
	}
	kinds := kinds()
	ct, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	k, known := kinds[ct]
	if err != nil || !known && ct != multipartType {
		w.Header().Set("Accept-Post", acceptPost)
		return nil, problem(http.StatusUnsupportedMediaType, "send "+acceptPost)
	}
	if r.ContentLength > a.UploadLimit {
		w.Header().Set("Connection", "close")
		return nil, a.tooLarge()
	}
	control := http.NewResponseController(w)
	// Where the connection has no deadlines (a test's recorder) none need moving.
	_ = control.SetReadDeadline(time.Now().Add(a.UploadTime))
	_ = control.SetWriteDeadline(time.Now().Add(a.UploadTime + importTime))
	r.Body = http.MaxBytesReader(w, r.Body, a.UploadLimit)
	name, from := r.URL.Query().Get("name"), io.Reader(r.Body)
	if ct == multipartType {
		parts, err := r.MultipartReader()
		if err != nil {
			return nil, problem(http.StatusBadRequest, "the form cannot be read")
		}
		part, err := parts.NextPart()
		if err != nil {
			return nil, tooLargeOr(err, problem(http.StatusUnprocessableEntity, "the form has no file", Detail{Message: "name the part with the file: file", Location: "body.file"}))
		}
		if part.FormName() != "file" {
			return nil, problem(http.StatusUnprocessableEntity, "the form must begin with the file; everything else stands in the query", Detail{Message: "name the part with the file: file", Location: "body.file"})
		}
		if name == "" {
			name = part.FileName()
		}
		from = part
		partType, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")) // browsers send all sorts; the content counts
		k = kinds[partType]
	}
	u, p := a.store(from)
	if p != nil {
		return nil, p
	}
	u.name = fileName(name, k)
	if p := k.fits(u.path); p != nil {
		u.remove()
		return nil, p
	}
	return u, nil
}

const acceptPost = "application/json, application/x-ndjson, text/csv, application/vnd.openxmlformats-officedocument.spreadsheetml.sheet, multipart/form-data"

func (a *API) tooLarge() *Problem {
	return problem(http.StatusRequestEntityTooLarge, fmt.Sprintf("the file is larger than %d MiB, the most that this server takes; split it", a.UploadLimit>>20))
}

func (a *API) store(from io.Reader) (*upload, *Problem) {
	f, err := os.CreateTemp(a.TempDir, spoolName)
	if err != nil {
		a.Log.Error("no temporary file for an upload", "error", err)
		return nil, problem(http.StatusInternalServerError, "the server has no room for the file")
	}
	u := &upload{path: f.Name()}
	h := sha256.New()
	in := &reading{r: from}
	_, err = io.Copy(io.MultiWriter(f, h), in)
	if e := f.Close(); err == nil {
		err = e
	}
	switch {
	case err == nil:
		u.sum = hex.EncodeToString(h.Sum(nil))
		return u, nil
	case in.err == nil:
		a.Log.Error("upload not written", "error", err)
		u.remove()
		return nil, problem(http.StatusInternalServerError, "the server has no room for the file")
	}
	u.remove()
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, a.tooLarge()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, problem(http.StatusRequestTimeout, "the file took too long to come in")
	}
	return nil, problem(http.StatusBadRequest, "the file was cut short")
}

// reading tells a sender's failure from our disk's.
type reading struct {
	r   io.Reader
	err error
}

func (r *reading) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// fits reports whether a file begins as its content type says.
func (k kind) fits(path string) *Problem {
	if k.begins == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return problem(http.StatusInternalServerError, "the file went away")
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := io.ReadFull(f, head) // a file may be shorter
	head = bytes.TrimLeft(bytes.TrimPrefix(head[:n], []byte("\ufeff")), " \t\r\n")
	if len(head) == 0 || !strings.ContainsRune(k.begins, rune(head[0])) {
		return problem(http.StatusUnprocessableEntity, "the content is not what its type says", Detail{Message: "this type is " + k.hint, Location: "body"})
	}
	return nil
}

// maxName is how long a batch's name may be, in bytes.
const maxName = 200

// fileName is the name that a batch gets: the last part of what the sender called it, with an ending that the reader
// takes for the content's type. It is for people and never names a file of ours.
func fileName(name string, k kind) string {
	name = strings.ToValidUTF8(name, "")
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ReplaceAll(name, `\`, "/"))
	name = strings.TrimSpace(path.Base(path.Clean("/" + name)))
	if name == "/" || name == "." || name == "" {
		name = "upload"
	}
	ending := path.Ext(name)
	stem := strings.TrimSuffix(name, ending)
	if k.ending != "" && !slices.Contains(k.endings, strings.ToLower(ending)) {
		stem, ending = name, k.ending
	}
	if len(ending) > 10 {
		stem, ending = name, ""
	}
	if n := maxName - len(ending); len(stem) > n {
		stem = strings.ToValidUTF8(stem[:n], "")
	}
	return stem + ending
}

// clearSpool removes what killed servers left: uploads hold payers' data.
func (a *API) clearSpool() {
	dir := a.TempDir
	if dir == "" {
		dir = os.TempDir()
	}
	left, _ := filepath.Glob(filepath.Join(dir, spoolName)) // the pattern is well formed
	for _, file := range left {
		if info, err := os.Lstat(file); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > spoolAge {
			_ = os.Remove(file) // somebody else's, or gone already
		}
	}
}
