package batchfile_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/charmap"

	"dunlin/batchfile"
)

func utf16Of(s string, order binary.ByteOrder, mark bool) string {
	var b []byte
	if mark {
		s = "\ufeff" + s
	}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, 0, 0)
		order.PutUint16(b[len(b)-2:], u)
	}
	return string(b)
}

func charmapOf(t *testing.T, c *charmap.Charmap, s string) string {
	t.Helper()
	out, err := c.NewEncoder().String(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	const arabic = "amount,email,name\n5,a@example.com,ليلى المثال\n6,b@example.com,سالم العينة\n"
	const french = "amount,email,name\n5,a@example.com,Hélène Léger\n6,b@example.com,Zoë Français\n"
	many := strings.Repeat("5,a@example.com,Plain Name\n", 5000)
	for _, tt := range []struct{ name, content, encoding, want string }{
		{"utf-8", arabic, "", "ليلى المثال"},
		{"utf-8 with mark", "\ufeff" + arabic, "", "ليلى المثال"},
		{"utf-16 little-endian", utf16Of(arabic, binary.LittleEndian, true), "", "ليلى المثال"},
		{"utf-16 big-endian", utf16Of(arabic, binary.BigEndian, true), "", "ليلى المثال"},
		{"utf-16 without mark", utf16Of(arabic, binary.LittleEndian, false), "", "ليلى المثال"},
		{"utf-16 big-endian without mark", utf16Of(arabic, binary.BigEndian, false), "utf-16", "ليلى المثال"},
		{"windows-1256", charmapOf(t, charmap.Windows1256, arabic), "", "ليلى المثال"},
		{"latin-1", charmapOf(t, charmap.Windows1252, french), "", "Hélène Léger"},
		{"windows-1256 declared", charmapOf(t, charmap.Windows1256, french), "windows-1256", "Hélène Léger"},
		{"latin-1 declared", charmapOf(t, charmap.ISO8859_1, french), "latin-1", "Hélène Léger"},
		{"arabic far down", charmapOf(t, charmap.Windows1256, "amount,email,name\n"+many+strings.TrimPrefix(arabic, "amount,email,name\n")), "", "ليلى المثال"},
		{"lines end in carriage returns", strings.ReplaceAll(arabic, "\n", "\r"), "", "ليلى المثال"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opt := gulf
			opt.Encoding = tt.encoding
			res := read(t, tt.content, opt)
			if res.Err != nil || len(res.Rows) < 2 || len(res.Rejections) > 0 {
				t.Fatalf("got %d rows, rejections %s, error %v", len(res.Rows), describe(res.Rejections), res.Err)
			}
			if got := res.Rows[len(res.Rows)-2].Name; got != tt.want {
				t.Errorf("got name %q, want %q", got, tt.want)
			}
		})
	}
}

// TestDamagedUTF8 keeps a file with one broken byte from being read as Windows-1256, which would garble all its names.
func TestDamagedUTF8(t *testing.T) {
	t.Parallel()
	res := read(t, "amount,email,name\n5,a@example.com,ليلى\n5,b@example.com,Jos\xe9\n", gulf)
	if len(res.Rows) != 1 || res.Rows[0].Name != "ليلى" || len(res.Rejections) != 1 || res.Rejections[0].Kind != "encoding" {
		t.Errorf("got %d rows and %s, want the Arabic row and one rejection for its encoding", len(res.Rows), describe(res.Rejections))
	}
	opt := gulf
	opt.Encoding = "ebcdic"
	if res := read(t, "amount,email\n", opt); res.Err == nil {
		t.Error("an unknown encoding gave no error")
	}
}

func TestDelimiters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, content string }{
		{"comma", "amount,email,note\n5,a@example.com,\"x;y|z\"\n"},
		{"semicolon", "amount;email;note\n5;a@example.com;x,y\n"},
		{"tab", "amount\temail\tnote\n5\ta@example.com\tx,y\n"},
		{"bar", "amount|email|note\n5|a@example.com|x,y\n"},
		{"semicolon with commas in a quoted header", "amount;email;\"note, long, with, many, commas\"\n5;a@example.com;x\n"},
		{"semicolon with commas in an unquoted header", "amount;email;note, long, with, many, commas\n5;a@example.com;x\n"},
		{"declared by excel", "sep=;\r\namount;email;note\r\n5;a@example.com;x\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := one(t, tt.content, gulf)
			if got.Email != "a@example.com" || len(got.Extra) != 1 {
				t.Errorf("got email %q and extras %v", got.Email, got.Extra)
			}
		})
	}
	opt := gulf
	opt.Delimiter = '~'
	if got := one(t, "amount~email\n5~a@example.com\n", opt); got.Amount.Minor != 5000 {
		t.Errorf("got %v by a declared delimiter", got.Amount)
	}
	for _, bad := range []rune{'"', '\n', 'ا'} {
		opt.Delimiter = bad
		if res := read(t, "amount,email\n", opt); res.Err == nil {
			t.Errorf("delimiter %q gave no error", bad)
		}
	}
}

func TestCSVRecords(t *testing.T) {
	t.Parallel()
	type rejected struct {
		Number, Line int
		Kind         string
		Raw          []string
	}
	big := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name, content string
		lines         []int // of good rows
		rejections    []rejected
	}{
		{"lines after quoted newlines", "amount,email,note\n1,a@example.com,\"x\n\r\ny\"\n2,a@example.com,\n", []int{2, 5}, nil},
		{"blank lines do not count", "amount,email,note\n\n1,a@example.com,\n,,\n  \n2,a@example.com,\n\n", []int{3, 6}, nil},
		{"no newline at the end", "amount,email\n1,a@example.com", []int{2}, nil},
		{"windows newlines", "amount,email\r\n1,a@example.com\r\n2,\"a@example.com\"\r\n", []int{2, 3}, nil},
		{"marks inside a bare cell", "amount,email,note\n1,a@example.com,5\" pipe\n", []int{2}, nil},
		{"doubled marks", "amount,email,note\n1,a@example.com,\"5\"\" pipe\"\n", []int{2}, nil},
		{"empty cells too many", "amount,email\n1,a@example.com,,,\n", []int{2}, nil},
		{"too many cells", "amount,email\n1,a@example.com,x\n2,a@example.com\n", []int{3},
			[]rejected{{1, 2, "cells", []string{"1", "a@example.com", "x"}}}},
		{"too few cells", "amount,email,note\n1,a@example.com\n2,a@example.com,\n", []int{3},
			[]rejected{{1, 2, "cells", []string{"1", "a@example.com"}}}},
		{"text after a mark", "amount,email,note\n1,a@example.com,\"x\" y\n2,a@example.com,\n", []int{3},
			[]rejected{{1, 2, "quote", []string{"1", "a@example.com", `x" y`}}}},
		{"record too long", "amount,email,note\n1,a@example.com," + big + "\n2,a@example.com,\n", []int{3},
			[]rejected{{1, 2, "size", nil}}},
		{"quoted record too long", "amount,email,note\n1,a@example.com,\"" + big + "\n,\"\n2,a@example.com,\n", []int{4},
			[]rejected{{1, 2, "size", nil}}},
		{"delimiters without end", "amount,email\n" + strings.Repeat(",", 3<<20) + "x\n2,a@example.com\n", []int{3},
			[]rejected{{1, 2, "size", nil}}},
		{"nul", "amount,email\n1\x00,a@example.com\n2,a@example.com\n", []int{3},
			[]rejected{{1, 2, "control", []string{"1\x00", "a@example.com"}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := read(t, tt.content, gulf)
			if res.Err != nil {
				t.Fatal(res.Err)
			}
			var lines []int
			for _, r := range res.Rows {
				lines = append(lines, r.Line)
			}
			var rejections []rejected
			for _, r := range res.Rejections {
				rejections = append(rejections, rejected{r.Number, r.Line, r.Kind, r.Raw})
			}
			if diff := cmp.Diff(tt.lines, lines); diff != "" {
				t.Errorf("lines of good rows differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.rejections, rejections); diff != "" {
				t.Errorf("rejections differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSwallowedRowsAreHinted(t *testing.T) {
	t.Parallel()
	res := read(t, "amount,email,note\n1,\"a@example.com,x\n2,b@example.com,5\"\n3,c@example.com,\n", gulf)
	if len(res.Rejections) != 1 || !strings.Contains(res.Rejections[0].Reason, "spans 2 lines") || !strings.Contains(res.Rejections[0].Hint, "quotation mark") {
		t.Errorf("got %s, want a hint that rows were swallowed", describe(res.Rejections))
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, content, format string
		rows                  []string // number, line, amount
		rejections            []string // number, line, kind, column
		header                string
	}{
		{"array", `[{"amount":"12.500","email":"a@example.com","unit":7},` + "\n" + `{"email":"b@example.com","amount":1.1,"floor":null,"vip":true}]`, "json",
			[]string{"1 1 12.500", "2 2 1.100"}, nil, "amount email unit floor vip"},
		{"empty array", " [ ] ", "json", nil, nil, ""},
		{"numbers keep their digits", `[{"amount":0.1234567890123,"email":"a@example.com"},{"amount":1e3,"email":"a@example.com"}]`, "json",
			nil, []string{"1 1 amount amount", "2 2 amount amount"}, "amount email"},
		{"bad elements", `[1,{"amount":1,"email":"a@example.com"},{"amount":01},{"amount":{"x":[1]},"email":"]"},[{}],null,"],[",{"a":1,"a":2},]`, "json",
			[]string{"2 2 1.000"}, []string{"1 1 json ", "3 3 json ", "4 4 json amount", "5 5 json ", "6 6 json ", "7 7 json ", "8 8 json ", "9 9 json "}, "amount email"},
		{"too large", `[{"amount":1,"email":"` + strings.Repeat("x", 1<<20) + `"},{"amount":1,"email":"a@example.com"}]`, "json",
			[]string{"2 2 1.000"}, []string{"1 1 size "}, "amount email"},
		{"ndjson", "{\"amount\":5,\"email\":\"a@example.com\"}\n\n{\"amount\":6,\"email\":\"a@example.com\"}", "ndjson",
			[]string{"1 1 5.000", "2 3 6.000"}, nil, "amount email"},
		{"ndjson with a bad line", "{\"amount\":5,\"email\":\"a@example.com\"}\r\n{\"amount\":\n{\"dueDate\":\"2027-01-31\",\"amount\":6,\"email\":\"a@example.com\"}\n{} {}\n", "ndjson",
			[]string{"1 1 5.000", "3 3 6.000"}, []string{"2 2 json ", "4 4 json "}, "amount email dueDate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := batchfile.NewReader(strings.NewReader(tt.content), int64(len(tt.content)), gulf)
			if err != nil {
				t.Fatal(err)
			}
			res := readAll(r)
			if res.Err != nil || r.Format() != tt.format {
				t.Fatalf("got format %s, error %v", r.Format(), res.Err)
			}
			var rows, rejections []string
			for _, r := range res.Rows {
				rows = append(rows, fmt.Sprint(r.Number, r.Line, " ", r.Amount.Decimal()))
			}
			for _, r := range res.Rejections {
				rejections = append(rejections, fmt.Sprintf("%d %d %s %s", r.Number, r.Line, r.Kind, r.Column))
			}
			if diff := cmp.Diff(tt.rows, rows); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.rejections, rejections); diff != "" {
				t.Errorf("rejections differ (-want +got):\n%s", diff)
			}
			if got := strings.Join(r.Header(), " "); got != tt.header {
				t.Errorf("got header %q, want %q", got, tt.header)
			}
		})
	}
}

func TestJSONKeysThatCollide(t *testing.T) {
	t.Parallel()
	res := read(t, `[{"amount":1,"email":"a@example.com"},{"Amount":1,"email":"a@example.com"}]`, gulf)
	if res.Err == nil || len(res.Rows) != 0 {
		t.Errorf("got %d rows and error %v, want the error that two keys mean one column", len(res.Rows), res.Err)
	}
}

func TestFormatByEnding(t *testing.T) {
	t.Parallel()
	opt := gulf
	opt.Name = "payers.CSV"
	if got := one(t, "{x},amount,email\nx,5,a@example.com\n", opt); got.Extra["{x}"] != "x" {
		t.Errorf("got extras %v", got.Extra)
	}
	opt.Name = "payers.json"
	if res := read(t, "amount,email\n", opt); res.Err == nil {
		t.Error("a .json file that is none gave no error")
	}
}

func workbook(t *testing.T, build func(f *excelize.File)) string {
	t.Helper()
	f := excelize.NewFile()
	build(f)
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func set(t *testing.T, f *excelize.File, sheet, cell string, value any) {
	t.Helper()
	if err := f.SetCellValue(sheet, cell, value); err != nil {
		t.Fatal(err)
	}
}

func TestXLSX(t *testing.T) {
	t.Parallel()
	content := workbook(t, func(f *excelize.File) {
		date := "dd mmm yyyy"
		style, err := f.NewStyle(&excelize.Style{CustomNumFmt: &date})
		if err != nil {
			t.Fatal(err)
		}
		money := `#,##0.0 "KD"`
		round, err := f.NewStyle(&excelize.Style{CustomNumFmt: &money})
		if err != nil {
			t.Fatal(err)
		}
		for i, h := range []string{"amount", "phone", "due_date", "Civil ID", "Lease start", "email", "Paid", "Sum"} {
			cell, _ := excelize.CoordinatesToCellName(i+1, 2)
			set(t, f, "Sheet1", cell, h)
		}
		set(t, f, "Sheet1", "A3", 1234.567)
		set(t, f, "Sheet1", "B3", 96550001234)
		set(t, f, "Sheet1", "C3", 46418) // 2027-01-31
		set(t, f, "Sheet1", "D3", 285010112345)
		set(t, f, "Sheet1", "E3", 46418)
		set(t, f, "Sheet1", "F3", "a@example.com")
		set(t, f, "Sheet1", "G3", true)
		if err := f.SetCellFormula("Sheet1", "H3", "A3*2"); err != nil {
			t.Fatal(err)
		}
		set(t, f, "Sheet1", "A5", "١٫٥")
		set(t, f, "Sheet1", "C5", "28/02/2027")
		set(t, f, "Sheet1", "F5", "b@example.com")
		set(t, f, "Sheet1", "A6", 5)
		set(t, f, "Sheet1", "F6", "c@example.com")
		set(t, f, "Sheet1", "J6", "a note beside the table")
		for _, s := range []struct {
			cell  string
			style int
		}{{"C3", style}, {"E3", style}, {"A3", round}} {
			if err := f.SetCellStyle("Sheet1", s.cell, s.cell, s.style); err != nil {
				t.Fatal(err)
			}
		}
	})
	res := read(t, content, gulf)
	if res.Err != nil || len(res.Rows) != 2 || len(res.Rejections) != 1 {
		t.Fatalf("got %d rows, rejections %s, error %v", len(res.Rows), describe(res.Rejections), res.Err)
	}
	got := res.Rows[0]
	if got.Line != 3 || got.Amount.Decimal() != "1234.567" || got.Phone != "+96550001234" || got.DueDate != "2027-01-31" {
		t.Errorf("got row %+v", *got)
	}
	if diff := cmp.Diff(map[string]string{"Civil ID": "285010112345", "Lease start": "31 Jan 2027", "Paid": "TRUE", "Sum": ""}, got.Extra); diff != "" {
		t.Errorf("extras differ (-want +got):\n%s", diff)
	}
	if got := res.Rows[1]; got.Number != 2 || got.Line != 5 || got.Amount.Minor != 1500 || got.DueDate != "2027-02-28" {
		t.Errorf("got row %+v", *got)
	}
	if rej := res.Rejections[0]; rej.Number != 3 || rej.Line != 6 || rej.Kind != "cells" {
		t.Errorf("got rejection %+v", *rej)
	}
}

func TestXLSXStoredDecimals(t *testing.T) {
	t.Parallel()
	for held, want := range map[string]string{
		"1.1000000000000001": "1.1", "1E-3": "0.001", "0.30000000000000004": "0.3", "12.5": "12.5", "1E+3": "1E+3",
		"1234567890123456789": "1234567890123456789", "x.1234567890123456": "x.1234567890123456", "12.345678": "12.345678",
	} {
		if got := batchfile.Decimal(held); got != want {
			t.Errorf("decimal %s: got %s, want %s", held, got, want)
		}
	}
}

func TestXLSXSheets(t *testing.T) {
	t.Parallel()
	content := workbook(t, func(f *excelize.File) {
		if _, err := f.NewSheet("Payers"); err != nil {
			t.Fatal(err)
		}
		set(t, f, "Payers", "A1", "amount")
		set(t, f, "Payers", "B1", "email")
		set(t, f, "Payers", "A2", 5)
		set(t, f, "Payers", "B2", "a@example.com")
	})
	if res := read(t, content, gulf); res.Err == nil || !strings.Contains(res.Err.Error(), "empty") {
		t.Errorf("got error %v for an empty first sheet", res.Err)
	}
	opt := gulf
	opt.Sheet = "Payers"
	if got := one(t, content, opt); got.Amount.Minor != 5000 {
		t.Errorf("got %v", got.Amount)
	}
	opt.Sheet = "None"
	if res := read(t, content, opt); res.Err == nil || !strings.Contains(res.Err.Error(), "Payers") {
		t.Errorf("got error %v, want one that lists the sheets", res.Err)
	}
	if res := read(t, content[:len(content)/2], gulf); res.Err == nil {
		t.Error("half a workbook gave no error")
	}
}

// TestSameFileSameNumbers reads a mixed file twice: an import resumes by number.
func TestSameFileSameNumbers(t *testing.T) {
	t.Parallel()
	content := "amount,email\n\n1,a@example.com\n0,b@example.com\n\n2\n3,c@example.com\n"
	if diff := cmp.Diff(read(t, content, gulf), read(t, content, gulf)); diff != "" {
		t.Errorf("two readings differ:\n%s", diff)
	}
}
