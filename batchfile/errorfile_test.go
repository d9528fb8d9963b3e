package batchfile_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dunlin/batchfile"
	"dunlin/paylink"
)

func writeErrors(t *testing.T, header []string, rejections ...*paylink.Rejection) string {
	t.Helper()
	var b bytes.Buffer
	i := 0
	err := batchfile.WriteErrors(&b, header, func() (*paylink.Rejection, bool, error) {
		if i == len(rejections) {
			return nil, false, nil
		}
		i++
		return rejections[i-1], true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWriteErrors(t *testing.T) {
	t.Parallel()
	got := writeErrors(t, []string{"amount", "phone", "=note"},
		&paylink.Rejection{Reason: "amount is zero", Hint: "ask for more; or for nothing", Raw: []string{"0", "+96550001234", "=cmd|' /C calc'!A0"}},
		&paylink.Rejection{Reason: "the row has 4 cells", Hint: "quote", Raw: []string{"-1", "'x", "'@y", "@z"}},
		&paylink.Rejection{Reason: "too large", Hint: "shorten"})
	want := "\ufeffamount,phone,'=note,error,hint\n" +
		"0,'+96550001234,\"'=cmd|' /C calc'!A0\",amount is zero,\"ask for more; or for nothing\"\n" +
		"'-1,'x,''@y,the row has 4 cells,quote,'@z\n" +
		",,,too large,shorten\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("error file differs (-want +got):\n%s", diff)
	}
}

// TestErrorFileIsMended goes the way of a clerk: a file with bad rows, the error file, one cell mended, sent again.
func TestErrorFileIsMended(t *testing.T) {
	t.Parallel()
	content := "Ref;Amount;Mobile;channels;Note\nR1;0;+96550001234;sms;=SUM(A1)\nR2;5;+96550001234;sms;\nR3;x;50001234;sms;\"a\nb\"\n"
	r, err := batchfile.NewReader(strings.NewReader(content), int64(len(content)), gulf)
	if err != nil {
		t.Fatal(err)
	}
	res := readAll(r)
	if len(res.Rows) != 1 || len(res.Rejections) != 2 {
		t.Fatalf("got %d rows and %s", len(res.Rows), describe(res.Rejections))
	}
	again := writeErrors(t, r.Header(), res.Rejections...)
	second := read(t, strings.Replace(again, "R1,0,", "R1,7,", 1), gulf)
	if second.Err != nil || len(second.Rows) != 1 || len(second.Rejections) != 1 {
		t.Fatalf("got %d rows, %s, error %v; want the mended row", len(second.Rows), describe(second.Rejections), second.Err)
	}
	if got := second.Rows[0]; got.Phone != "+96550001234" || got.Extra["Note"] != "=SUM(A1)" || len(got.Extra) != 1 {
		t.Errorf("got row %+v", *got)
	}
	if rej := second.Rejections[0]; !slices.Equal(rej.Raw[:5], []string{"R3", "x", "50001234", "sms", "a\nb"}) {
		t.Errorf("got raw record %q", rej.Raw)
	}
}

// TestErrorFileKeepsEmptyRows: a record that was too large to keep must not vanish on the second reading.
func TestErrorFileKeepsEmptyRows(t *testing.T) {
	t.Parallel()
	res := read(t, writeErrors(t, []string{"amount", "email"}, &paylink.Rejection{Reason: "too large", Hint: "shorten"}), gulf)
	if len(res.Rejections) != 1 {
		t.Errorf("got %d rejections, want 1", len(res.Rejections))
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrorsFails(t *testing.T) {
	t.Parallel()
	none := func() (*paylink.Rejection, bool, error) { return nil, false, nil }
	if err := batchfile.WriteErrors(fullDisk{}, []string{"amount"}, none); err == nil {
		t.Error("a full disk gave no error")
	}
	broken := func() (*paylink.Rejection, bool, error) { return nil, false, paylink.ErrNotFound }
	if err := batchfile.WriteErrors(&bytes.Buffer{}, nil, broken); !errors.Is(err, paylink.ErrNotFound) {
		t.Errorf("got error %v, want the one of the source", err)
	}
}

// FuzzErrorRoundTrip: whatever a rejected row's cells hold, writing and reading gives them back, twice over.
func FuzzErrorRoundTrip(f *testing.F) {
	for _, s := range []string{"", "plain", "+96550001234", "=1+1", "'=1+1", "''@", "'", "a,b", "a\"b", "a\nb", "a\r\nb", "\r", "\t", "＝x", "ليلى", "\xff", "\ufeff", "\x00", " x "} {
		f.Add(s, s, "Note")
		f.Add("x", s, "=Note")
	}
	f.Fuzz(func(t *testing.T, a, b, name string) {
		header := []string{"amount", "email", "aa", name}
		if len(name) > 50 || len(a)+len(b) > 1000 {
			return
		}
		raw := []string{"0", "nobody", a, b}
		file := writeErrors(t, header, &paylink.Rejection{Reason: "=bad", Hint: "mend\nit", Raw: raw})
		for range 2 {
			r, err := batchfile.NewReader(strings.NewReader(file), int64(len(file)), gulf)
			if err != nil {
				if errors.As(err, new(*batchfile.FileError)) {
					return // the header was not one
				}
				t.Fatal(err)
			}
			res := readAll(r)
			if res.Err != nil || len(res.Rejections) != 1 {
				t.Fatalf("got %d rows, %d rejections, error %v; want one rejection", len(res.Rows), len(res.Rejections), res.Err)
			}
			got := res.Rejections[0].Raw
			if head := r.Header(); slices.Contains(head[:4], "error") || slices.Contains(head[:4], "hint") {
				return
			}
			if !slices.Equal(got[:4], raw) {
				t.Fatalf("got cells %q, want %q", got[:4], raw)
			}
			file = writeErrors(t, r.Header(), res.Rejections...)
		}
	})
}

// FuzzReader: any bytes are read to the end, or to an error, without a panic and without a gap in the numbers.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		"amount,email\n1,a@example.com\n", "amount;phone\r\n1;50001234\r\n", "amount,email\n\"1,a", "amount,email,error,hint\n'=1,'+5,x,y\n",
		"[{\"amount\":1,\"email\":\"a@example.com\"},]", "{\"amount\":1}\n{\"Amount\":2}\n", "\xff\xfea\x00m\x00", "PK\x03\x04", "sep=;\namount;email\n",
		"amount,email\n1,\"a\"\"b\" c\n", "amount\tphone\tchannels\n٥\t9.655E+10\tsms\n", "[", "{", "amount,email\r1,a@example.com\r",
		"amount,name\xc7\xe1,email\n5,\xc7\xe1\xe3\xcb\xc7\xe1,a@example.com\n",
	} {
		f.Add([]byte(s), "")
		f.Add([]byte(s), "utf-16")
	}
	f.Fuzz(func(t *testing.T, content []byte, encoding string) {
		opt := gulf
		opt.Encoding = encoding
		r, err := batchfile.NewReader(bytes.NewReader(content), int64(len(content)), opt)
		if err != nil {
			return
		}
		defer r.Close()
		for n := 1; ; n++ {
			row, rej, err := r.Next()
			switch {
			case err != nil && (row != nil || rej != nil), err == nil && (row == nil) == (rej == nil):
				t.Fatalf("got row %v, rejection %v, error %v", row, rej, err)
			case err != nil:
				return
			case row != nil && row.Number != n, rej != nil && rej.Number != n:
				t.Fatalf("row %d is numbered otherwise: %+v %+v", n, row, rej)
			case n > len(content):
				t.Fatalf("more rows than bytes")
			case row != nil && (row.Amount.Minor <= 0 || len(row.Routes) == 0):
				t.Fatalf("got row %+v", *row)
			case rej != nil && (rej.Kind == "" || rej.Reason == "" || rej.Hint == ""):
				t.Fatalf("got rejection %+v", *rej)
			}
		}
	})
}
