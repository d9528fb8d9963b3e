package batchfile_test

import (
	"slices"
	"strings"
	"testing"

	"dunlin/batchfile"
	"dunlin/paylink"
)

// TestOriginOfMendedRows: a mended row knows which rejected row it takes the place of, if its error cell still says so.
func TestOriginOfMendedRows(t *testing.T) {
	t.Parallel()
	const content = "amount,email,error,hint\n" +
		"5,a@example.com,b12.34: amount is zero,write more\n" +
		"5,b@example.com,amount is zero,write more\n" +
		"5,c@example.com,,\n" +
		"5,d@example.com,b0.1: x,\n"
	r, err := batchfile.NewReader(strings.NewReader(content), int64(len(content)), gulf)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []paylink.RequestID{paylink.NewRequestID(12, 34), 0, 0, 0} {
		row, rej, err := r.Next()
		if err != nil || row == nil {
			t.Fatalf("row %d: got %+v, %v", i+1, rej, err)
		}
		if row.Origin != want {
			t.Errorf("row %d: got origin %v, want %v", i+1, row.Origin, want)
		}
		if raw := r.Raw(); len(raw) != 4 || !slices.Contains(raw, row.Email) {
			t.Errorf("row %d: got raw record %q", i+1, raw)
		}
	}
}
