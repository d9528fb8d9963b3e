package batchfile_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dunlin/batchfile"
	"dunlin/paylink"
)

// TestExampleFile reads the example as a newcomer would, without defaults: its bad rows are bad for the reasons that
// examples/README.md gives, and all others are good. Its duplicate is for the ledger to find.
func TestExampleFile(t *testing.T) {
	t.Parallel()
	r, err := batchfile.Open("../examples/payers.csv", batchfile.Options{Now: gulf.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	res := readAll(r)
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	var got []string
	for _, rej := range res.Rejections {
		got = append(got, fmt.Sprintf("%d %s %s", rej.Number, rej.Column, rej.Kind))
	}
	want := []string{"14 phone phone", "29 amount amount", "42 amount amount", "55 amount amount", "68 email email", "77 email address",
		"109 phone phone", "117 currency currency", "131 due_date due_date", "149 channels channels", "158 amount amount",
		"166 phone address", "190 expires_in expires_in"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rejections differ (-want +got):\n%s", diff)
	}
	if len(res.Rows) != 187 {
		t.Errorf("got %d good rows, want 187", len(res.Rows))
	}
	currencies, channels, keys := map[string]int{}, map[paylink.Channel]int{}, map[uint64][]int{}
	for _, row := range res.Rows {
		currencies[row.Amount.Currency]++
		for _, c := range paylink.Channels {
			if row.Routes.Uses(c) {
				channels[c]++
			}
		}
		keys[batchfile.DebtKey(row)] = append(keys[batchfile.DebtKey(row)], row.Number)
		if row.Extra["unit"] == "" {
			t.Errorf("row %d has no unit", row.Number)
		}
	}
	if len(currencies) != 4 || len(channels) != 3 {
		t.Errorf("got currencies %v and channels %v, want four and three", currencies, channels)
	}
	for _, numbers := range keys {
		if len(numbers) > 1 && !cmp.Equal(numbers, []int{12, 96}) {
			t.Errorf("rows %v are one debt, want 12 and 96 only", numbers)
		}
	}
}
