package api_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"dunlin/examples"
	"dunlin/ledger"
	"dunlin/web/api"
)

// endless is a file of rows without an end.
type endless struct{ row, left []byte }

// Read fills b whole: each small piece would be a chunk of its own on the wire, and garbage of the test's.
func (e *endless) Read(b []byte) (n int, err error) {
	for n < len(b) {
		if len(e.left) == 0 {
			e.left = e.row
		}
		k := copy(b[n:], e.left)
		e.left = e.left[k:]
		n += k
	}
	return n, nil
}

// TestHugeUpload sends a gigabyte: what the header admits is refused unread, what it does not is cut at the limit, and
// neither sits in memory.
func TestHugeUpload(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.UploadLimit = 64 << 20 })
	defer w.end()
	send := w.key(ledger.ScopeSend)
	row := []byte("INV-1,12.500,payer@example.com\n")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, announced := range []bool{true, false} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", w.server.URL+"/api/v1/batches", io.LimitReader(&endless{row: row}, 1<<30))
		if err != nil {
			t.Fatal(err)
		}
		if announced {
			req.ContentLength = 1 << 30
		}
		req.Header.Set("Authorization", "Bearer "+send)
		req.Header.Set("Content-Type", "text/csv")
		res, err := w.server.Client().Do(req)
		if err != nil {
			continue // the server hung up while we were still sending, which is as good
		}
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("announced %v: got %d", announced, res.StatusCode)
		}
		res.Body.Close()
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 32<<20 { // half of the limit; the race detector and the ledger's own work take some
		t.Errorf("%d MiB were allocated for uploads that were refused", grown>>20)
	}
	if list, err := w.db.Batches(t.Context(), 1); err != nil || len(list) > 0 {
		t.Errorf("got batches %v, %v", list, err)
	}
}

// TestSlowUpload: who sends a byte now and then is cut off.
func TestSlowUpload(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.UploadTime = 50 * time.Millisecond })
	defer w.end()
	in, out := io.Pipe()
	defer out.Close()
	go func() { _, _ = io.WriteString(out, "reference,amount\n") }()
	a := w.is(w.do("POST", "/api/v1/batches", w.key(ledger.ScopeSend), "text/csv", in), http.StatusRequestTimeout)
	if a.field(t, "detail") == "" {
		t.Errorf("got %s", a.body)
	}
}

func TestContentTypes(t *testing.T) {
	w := newWorld(t)
	defer w.end()
	send := w.key(ledger.ScopeSend)
	n := 0
	row := func(format string) string { n++; return fmt.Sprintf(format, n) }
	const header = "reference,amount,email\n"
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"csv", "text/csv; charset=utf-8", header + row("A%d,1.000,a@example.com\n"), 201},
		{"json", "application/json", row(`[{"reference":"A%d","amount":"1","email":"a@example.com"}]`), 201},
		{"json with a mark", "application/json", "\ufeff" + row(` [{"reference":"A%d","amount":"1","email":"a@example.com"}]`), 201},
		{"ndjson", "application/x-ndjson", row(`{"reference":"A%d","amount":"1","email":"a@example.com"}`) + "\n", 201},
		{"tabs", "text/tab-separated-values", "reference\tamount\temail\n" + row("A%d\t1.000\ta@example.com\n"), 201},
		{"no type", "", header, 415},
		{"html", "text/html", header, 415},
		{"form", "application/x-www-form-urlencoded", "a=b", 415},
		{"a broken type", "text/;", header, 415},
		{"form without a boundary", "multipart/form-data", "x", 400},
		{"form without parts", "multipart/form-data; boundary=x", "--x--\r\n", 422},
		{"object instead of a list", "application/json", `{"rows":[]}`, 422},
		{"csv told to be json", "application/json", header, 422},
		{"text told to be a workbook", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "PK is not enough", 422},
		{"nothing", "application/json", "", 422},
		{"an empty list", "application/json", "[]", 422},
		{"cut off", "application/json", `[{"reference":"A`, 422},
		{"a wrong column", "text/csv", "a,b\n1,2\n", 422},
		{"a wrong parameter", "text/csv", header, 422},
	} {
		path := "/api/v1/batches"
		if tt.name == "a wrong parameter" {
			path += "?timezone=Mars/Base"
		}
		w.is(w.do("POST", path, send, tt.contentType, strings.NewReader(tt.body)), tt.status)
	}
}

func TestWorkbook(t *testing.T) {
	w := newWorld(t)
	defer w.end()
	book := excelize.NewFile()
	for i, row := range [][]any{{"reference", "amount", "email"}, {"A", "12.500", "a@example.com"}} {
		if err := book.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &row); err != nil {
			t.Fatal(err)
		}
	}
	file, err := book.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	a := w.is(w.do("POST", "/api/v1/batches?name=march", w.key(ledger.ScopeSend), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", file), http.StatusCreated)
	if a.field(t, "plan.format") != "xlsx" || a.field(t, "plan.file") != "march.xlsx" {
		t.Errorf("got %s", a.body)
	}
}

// TestPathTricks: a file's name is for people and leads nowhere.
func TestPathTricks(t *testing.T) {
	const csv = "text/csv"
	for _, tt := range []struct{ name, contentType, want string }{
		{"payers.csv", csv, "payers.csv"}, {"payers.TSV", csv, "payers.TSV"}, {"", csv, "upload.csv"}, {"..", csv, "upload.csv"}, {".", csv, "upload.csv"},
		{"../../etc/passwd", csv, "passwd.csv"}, {`C:\payers\march.csv`, csv, "march.csv"}, {"/abs/olute.csv", csv, "olute.csv"}, {"a/../b.csv", csv, "b.csv"},
		{"payers.exe", csv, "payers.exe.csv"}, {"x\x00\x1b[2J\u202e.csv", csv, "x[2J.csv"}, {"\xff\xfe", csv, "upload.csv"}, {"payers.csv", "application/json", "payers.csv.json"},
		{strings.Repeat("ä", 200) + ".csv", csv, strings.Repeat("ä", 98) + ".csv"}, {"no type", "", "no type"}, {"a." + strings.Repeat("b", 300), "", "a." + strings.Repeat("b", 198)},
	} {
		if got := api.FileName(tt.name, tt.contentType); got != tt.want {
			t.Errorf("%q as %s: got %q, want %q", tt.name, tt.contentType, got, tt.want)
		}
	}
	w := newWorld(t)
	defer w.end()
	send := w.key(ledger.ScopeSend)
	body := "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../../../evil.json\"\r\n\r\n" + twoRows + "\r\n--x--\r\n"
	a := w.is(w.do("POST", "/api/v1/batches", send, "multipart/form-data; boundary=x", strings.NewReader(body)), http.StatusCreated)
	if a.field(t, "plan.file") != "evil.json" {
		t.Errorf("got %s", a.body)
	}
	for _, path := range []string{"/api/v1/../../etc/passwd", "/api/v1/batches/..%2f..%2fetc", "/api/v1/batches/b1/%2e%2e", "/api/v1/nothing", "/api/"} {
		if a := w.get(path, send); a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: got %d: %.80s", path, a.StatusCode, a.body)
		}
	}
	if a := w.is(w.do("DELETE", "/api/v1/batches", send, "", nil), http.StatusMethodNotAllowed); a.Header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("got Allow %q", a.Header.Get("Allow"))
	}
	if a := w.is(w.post("/api/v1/batches/b1/pause", send, strings.Repeat(" ", 1<<17)), http.StatusRequestEntityTooLarge); a.field(t, "title") == "" {
		t.Errorf("got %s", a.body)
	}
}

// TestLeftFiles: what a killed server left of payers' files goes when the next one starts.
func TestLeftFiles(t *testing.T) {
	dir := t.TempDir()
	old, fresh, other := filepath.Join(dir, "dunlin-upload-1"), filepath.Join(dir, "dunlin-upload-2"), filepath.Join(dir, "somebody-else")
	for _, file := range []string{old, fresh, other} {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	day := time.Now().Add(-25 * time.Hour)
	for _, file := range []string{old, other} {
		if err := os.Chtimes(file, day, day); err != nil {
			t.Fatal(err)
		}
	}
	newWorld(t, func(c *api.Config) { c.TempDir = dir })
	for file, want := range map[string]bool{old: false, fresh: true, other: true} {
		if _, err := os.Stat(file); (err == nil) != want {
			t.Errorf("%s: got %v, want it there: %v", filepath.Base(file), err, want)
		}
	}
}

// FuzzUpload: whatever comes in, the answer is one that the document knows, and nothing is left behind.
func FuzzUpload(f *testing.F) {
	f.Add("application/json", []byte(twoRows), "name=x")
	f.Add("text/csv", examples.Payers, "strict=true&channels=email%2Bsms")
	f.Add("application/x-ndjson", []byte("{\"amount\":1e400}\n{}"), "currency=ZZZ")
	f.Add("multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\na"), "")
	f.Add("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", []byte("PK\x03\x04"), "sheet=1")
	f.Fuzz(func(t *testing.T, contentType string, body []byte, query string) {
		w := newWorld(t)
		defer w.end()
		req, err := http.NewRequestWithContext(context.Background(), "POST", w.server.URL+"/api/v1/batches", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.URL.RawQuery = query
		req.Header["Content-Type"] = []string{contentType}
		req.Header.Set("Authorization", "Bearer "+w.key(ledger.ScopeSend))
		res, err := w.server.Client().Do(req)
		if err != nil {
			return // not a call that HTTP can carry
		}
		defer res.Body.Close()
		switch res.StatusCode {
		case 200, 201, 400, 409, 413, 415, 422:
		default:
			t.Errorf("got %d", res.StatusCode)
		}
	})
}
