package batchfile_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"dunlin/batchfile"
	"dunlin/paylink"
)

var gulf = batchfile.Options{
	Defaults: batchfile.Defaults{Currency: "KWD", Country: "KW", Language: "en", Timezone: "Asia/Kuwait", Routes: paylink.Routes{{paylink.Email}}},
	Now:      time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
}

// result is a file read to its end.
type result struct {
	Rows       []*paylink.Row
	Rejections []*paylink.Rejection
	Err        error
}

func readAll(r *batchfile.Reader) (res result) {
	for {
		row, rej, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return res
		case err != nil:
			res.Err = err
			return res
		case row != nil:
			res.Rows = append(res.Rows, row)
		default:
			res.Rejections = append(res.Rejections, rej)
		}
	}
}

func read(t *testing.T, content string, opt batchfile.Options) result {
	t.Helper()
	r, err := batchfile.NewReader(strings.NewReader(content), int64(len(content)), opt)
	if err != nil {
		return result{Err: err}
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("closing the reader: %v", err)
		}
	})
	return readAll(r)
}

// one reads a file of one good row.
func one(t *testing.T, content string, opt batchfile.Options) *paylink.Row {
	t.Helper()
	res := read(t, content, opt)
	if res.Err != nil || len(res.Rows) != 1 || len(res.Rejections) != 0 {
		t.Fatalf("got %d rows, rejections %s, error %v; want one row", len(res.Rows), describe(res.Rejections), res.Err)
	}
	return res.Rows[0]
}

func describe(rejections []*paylink.Rejection) string {
	var b strings.Builder
	for _, r := range rejections {
		fmt.Fprintf(&b, "[%+v]", *r)
	}
	return b.String()
}

func TestReaderFullRow(t *testing.T) {
	t.Parallel()
	got := one(t, "Reference,AMOUNT,Currency,First Name,last_name,E-mail,Mobile,channels,language,country,timezone,due_date,expires_in,"+
		"description,customer_id,invoice_number,attachment_url,Class\n"+
		" R-1 ,12.5,kwd,Layla,Example,layla@EXAMPLE.com,50001234,email+whatsapp>sms,Arabic,Kuwait,Asia/Kuwait,31/01/2027,7d,"+
		"\"Fees,\nsecond term\",C9,I7,https://example.com/a.pdf, 5B \n", gulf)
	want := &paylink.Row{
		Number: 1, Line: 2, Reference: "R-1", Amount: paylink.Money{Minor: 12500, Currency: "KWD"},
		Name: "Layla Example", FirstName: "Layla", LastName: "Example", Email: "layla@example.com", Phone: "+96550001234",
		Routes:   paylink.Routes{{paylink.Email}, {paylink.WhatsApp, paylink.SMS}},
		Language: "ar", Country: "KW", Timezone: "Asia/Kuwait", DueDate: "2027-01-31", ExpiresIn: 7 * 24 * time.Hour,
		Description: "Fees, second term", CustomerID: "C9", InvoiceNumber: "I7", AttachmentURL: "https://example.com/a.pdf",
		Extra: map[string]string{"Class": "5B"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row differs (-want +got):\n%s", diff)
	}
}

func TestReaderDefaults(t *testing.T) {
	t.Parallel()
	got := one(t, "amount,email\n1,a@example.com\n", gulf)
	want := &paylink.Row{Number: 1, Line: 2, Amount: paylink.Money{Minor: 1000, Currency: "KWD"}, Email: "a@example.com",
		Routes: paylink.Routes{{paylink.Email}}, Language: "en", Country: "KW", Timezone: "Asia/Kuwait"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row differs (-want +got):\n%s", diff)
	}
}

func TestReaderBadDefaults(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]batchfile.Defaults{
		"currency": {Currency: "XXK"}, "country": {Country: "Atlantis"}, "language": {Language: "fr"}, "timezone": {Timezone: "Mars/Base"},
	} {
		content := "amount,email\n"
		if _, err := batchfile.NewReader(strings.NewReader(content), int64(len(content)), batchfile.Options{Defaults: d}); !errors.Is(err, paylink.ErrInvalid) {
			t.Errorf("default %s: got error %v, want ErrInvalid", name, err)
		}
	}
}

func TestReaderOttuBulkFile(t *testing.T) {
	t.Parallel()
	head := "amount,currency_code,language,customer_email,customer_phone,customer_first_name,customer_last_name,sms_notification,whatsapp_notification,rule,start,end_recurring_period\n"
	for _, tt := range []struct{ name, row, routes, rule string }{
		{"email and sms", "10,KWD,en,a@example.com,+96550001234,A,B,TRUE,FALSE,,,", "email+sms", ""},
		{"all", "10,KWD,en,a@example.com,+96550001234,A,B,TRUE,TRUE,,,", "email+whatsapp+sms", ""},
		{"sms alone", "10,KWD,ar,,+96550001234,A,B,TRUE,,,,", "sms", ""},
		{"recurring", "10,KWD,en,a@example.com,,A,B,FALSE,FALSE,Monthly,1/1/2027 12:50,1/1/2028 12:50", "email", "monthly"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := one(t, head+tt.row+"\n", batchfile.Options{})
			if got.Routes.String() != tt.routes {
				t.Errorf("got routes %s, want %s", got.Routes, tt.routes)
			}
			if got.Name != "A B" || got.Extra != nil {
				t.Errorf("got name %q and extras %v, want \"A B\" and none", got.Name, got.Extra)
			}
			rule := ""
			if got.Recurrence != nil {
				rule = got.Recurrence.Rule
				if got.Recurrence.Start != "1/1/2027 12:50" || got.Recurrence.End != "1/1/2028 12:50" {
					t.Errorf("got recurrence %+v", got.Recurrence)
				}
			}
			if rule != tt.rule {
				t.Errorf("got rule %q, want %q", rule, tt.rule)
			}
		})
	}
}

func TestReaderColumns(t *testing.T) {
	t.Parallel()
	content := "Total Due,start,Amount,amount_due,,Mail,المبلغ بالحروف\n"
	r, err := batchfile.NewReader(strings.NewReader(content), int64(len(content)), gulf)
	if err != nil {
		t.Fatal(err)
	}
	want := []batchfile.Column{{"Total Due", ""}, {"start", ""}, {"Amount", "amount"}, {"amount_due", ""}, {"", ""}, {"Mail", "email"}, {"المبلغ بالحروف", ""}}
	if diff := cmp.Diff(want, r.Columns()); diff != "" {
		t.Errorf("columns differ (-want +got):\n%s", diff)
	}
	if r.Format() != "csv" || len(r.Header()) != 7 {
		t.Errorf("got format %s and header %q", r.Format(), r.Header())
	}
}

func TestReaderMapping(t *testing.T) {
	t.Parallel()
	opt := gulf
	opt.Mapping = map[string]string{"To Pay": "amount", "amount": "", "Parent's mail": "email"}
	got := one(t, "amount,To Pay,parent's mail\nx,5,a@example.com\n", opt)
	if got.Amount.Minor != 5000 || got.Extra["amount"] != "x" || got.Email != "a@example.com" {
		t.Errorf("got row %+v", got)
	}
	opt.Mapping = map[string]string{"Amount": "", "amount": "amount"}
	for range 20 { // the order of a map must not show
		if got := one(t, "amount,Amount,email\n5,x,a@example.com\n", opt); got.Amount.Minor != 5000 || got.Extra["Amount"] != "x" {
			t.Fatalf("got row %+v", got)
		}
	}
	opt.Mapping = map[string]string{"a": "nonsense"}
	if res := read(t, "amount,email\n", opt); res.Err == nil || !strings.Contains(res.Err.Error(), `"nonsense"`) {
		t.Errorf("got error %v, want one that names the unknown column", res.Err)
	}
}

func TestReaderFileErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, content string
		line          int
		says          string
	}{
		{"empty", "", 0, "empty"},
		{"blank", "\n \n,,\n", 0, "empty"},
		{"no header", "R1,12.5,a@example.com\n", 1, "no header"},
		{"no amount", "\nreference,email\n", 2, "no column amount"},
		{"no address", "amount,name\n", 1, "neither a column email"},
		{"same header twice", "amount,email,class,class\n", 1, "columns 3 and 4"},
		{"amount twice", "amount,Amount,email\n", 1, `two columns are taken for "amount"`},
		{"two phones", "amount,mobile,tel\n", 1, `"phone" is there twice`},
		{"control in header", "amount,em\x00ail\n", 1, "control"},
		{"open quote", "amount,email\n1,a@example.com\n2,\"b@example.com\n3,c@example.com\n", 3, "never closed"},
		{"open quote meets the next", "amount,email,unit\n1,\"a@example.com,x\n2,b@example.com,\"y\"\n", 2, "never closed"},
		{"open quote at the end", "amount,email\n1,\"", 2, "never closed"},
		{"old workbook", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and so on", 0, "old Excel"},
		{"pdf", "%PDF-1.7 and so on", 0, "PDF"},
		{"zip", "PK\x03\x04 and so on", 0, "cannot be read"},
		{"array cut off", `[{"amount":1,"email":"a@example.com"},{"amount":2`, 2, "ends inside"},
		{"array and more", `[{"amount":1,"email":"a@example.com"}] x`, 0, "follows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := read(t, tt.content, gulf)
			var bad *batchfile.FileError
			if !errors.As(res.Err, &bad) {
				t.Fatalf("got %d rows and error %v, want a FileError", len(res.Rows), res.Err)
			}
			if bad.Line != tt.line || !strings.Contains(bad.Error(), tt.says) || bad.Hint == "" {
				t.Errorf("got line %d and %q, want line %d and a text with %q", bad.Line, bad, tt.line, tt.says)
			}
			if !errors.Is(res.Err, paylink.ErrInvalid) {
				t.Errorf("error %v is not ErrInvalid", res.Err)
			}
		})
	}
}

func TestReaderErrorStays(t *testing.T) {
	t.Parallel()
	content := "amount,email\n1,a@example.com\n2,\"b"
	r, err := batchfile.NewReader(strings.NewReader(content), int64(len(content)), gulf)
	if err != nil {
		t.Fatal(err)
	}
	if row, _, err := r.Next(); row == nil || err != nil {
		t.Fatalf("got row %v, error %v before the open quote, want the row", row, err)
	}
	for range 3 {
		if _, _, err := r.Next(); !errors.As(err, new(*batchfile.FileError)) {
			t.Errorf("got error %v, want the FileError again", err)
		}
	}
}

func TestReaderNeedsCurrencyAndChannels(t *testing.T) {
	t.Parallel()
	for content, says := range map[string]string{
		"amount,email\n":          "no default currency",
		"amount,currency,email\n": "no column channels",
	} {
		if res := read(t, content, batchfile.Options{}); res.Err == nil || !strings.Contains(res.Err.Error(), says) {
			t.Errorf("header %q: got error %v, want one with %q", content, res.Err, says)
		}
	}
}

func TestOpenAndHash(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "payers.csv")
	if err := os.WriteFile(path, []byte("amount,email\n1,a@example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := batchfile.Open(path, gulf)
	if err != nil {
		t.Fatal(err)
	}
	if res := readAll(r); len(res.Rows) != 1 || res.Err != nil {
		t.Errorf("got %d rows and error %v, want one row", len(res.Rows), res.Err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	got, err := batchfile.Hash(path)
	if want := "514d67aeee86c72c7560f2ae462b2d716a704597c41b7b1cc33ca768ea720c79"; err != nil || got != want {
		t.Errorf("got hash %s, error %v, want %s", got, err, want)
	}
	if _, err := batchfile.Open(filepath.Join(t.TempDir(), "none.csv"), gulf); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got error %v for a missing file, want os.ErrNotExist", err)
	}
	if _, err := batchfile.Open(t.TempDir(), gulf); err == nil {
		t.Error("opening a folder gave no error")
	}
}

func TestDebtKey(t *testing.T) {
	t.Parallel()
	base := paylink.Row{Email: "a@example.com", Phone: "+96550001234", Amount: paylink.Money{Minor: 5, Currency: "KWD"}, DueDate: "2027-01-31"}
	key := batchfile.DebtKey(&base)
	if again := batchfile.DebtKey(&base); again != key {
		t.Errorf("got %x and %x for the same row", key, again)
	}
	// Keys are stored: this value may never change.
	if want := uint64(0x53d92ef140613d22); key != want {
		t.Errorf("got key %#x, want %#x", key, want)
	}
	other := base
	other.Name, other.Number = "B", 7
	if got := batchfile.DebtKey(&other); got != key {
		t.Error("the name and number change the key, want only the debt's fields to count")
	}
	other.Amount.Minor = 6
	if batchfile.DebtKey(&other) == key {
		t.Error("another amount has the same key")
	}
	a, b := base, other
	a.Reference, b.Reference = "R1", "R1"
	if batchfile.DebtKey(&a) != batchfile.DebtKey(&b) {
		t.Error("the same reference has two keys")
	}
	if batchfile.DebtKey(&a) == key {
		t.Error("the reference does not change the key")
	}
}

// TestReaderStreams makes sure that numbers are stable and without gaps over several chunks.
func TestReaderStreams(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("amount,email\n")
	for i := range 2000 {
		switch i % 3 {
		case 0:
			b.WriteString("1,a@example.com\n")
		case 1:
			b.WriteString("0,a@example.com\n\n")
		default:
			b.WriteString("1\n")
		}
	}
	res := read(t, b.String(), gulf)
	if res.Err != nil || len(res.Rows) != 667 || len(res.Rejections) != 1333 {
		t.Fatalf("got %d rows, %d rejections, error %v", len(res.Rows), len(res.Rejections), res.Err)
	}
	if last := res.Rejections[1332]; last.Number != 2000 || last.Line != 2001+666 {
		t.Errorf("got last rejection %+v", *last)
	}
	seen := map[int]bool{}
	for _, r := range res.Rows {
		seen[r.Number] = true
	}
	for _, r := range res.Rejections {
		seen[r.Number] = true
	}
	for n := 1; n <= 2000; n++ {
		if !seen[n] {
			t.Errorf("row %d is missing", n)
		}
	}
}
