package paylink_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"dunlin/paylink"
)

const maxBatch = 1<<31 - 1

func TestRequestIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		batch := paylink.BatchID(rapid.Int64Range(1, maxBatch).Draw(t, "batch"))
		row := rapid.IntRange(1, paylink.MaxRows).Draw(t, "row")
		id := paylink.NewRequestID(batch, row)
		if id.Batch() != batch || id.Row() != row {
			t.Fatalf("got %s, row %d, want %s, row %d", id.Batch(), id.Row(), batch, row)
		}
		got, err := paylink.ParseRequestID(id.String())
		if err != nil || got != id {
			t.Fatalf("got %v, %v, want %v", got, err, id)
		}
	})
}

// A batch is a range of ids: its rows are neighbours, and the next batch's come after them.
func TestRequestIDsAreInFileOrder(t *testing.T) {
	for _, b := range []paylink.BatchID{1, 2, maxBatch - 1} {
		first, last, next := paylink.NewRequestID(b, 1), paylink.NewRequestID(b, paylink.MaxRows), paylink.NewRequestID(b+1, 1)
		if first <= 0 || first >= last || last >= next {
			t.Errorf("%s: got ids %d, %d and next %d, want them to rise from above zero", b, first, last, next)
		}
	}
}

func TestParseIDs(t *testing.T) {
	request := func(s string) (int64, error) { id, err := paylink.ParseRequestID(s); return int64(id), err }
	batch := func(s string) (int64, error) { id, err := paylink.ParseBatchID(s); return int64(id), err }
	message := func(s string) (int64, error) { id, err := paylink.ParseMessageID(s); return int64(id), err }
	for _, tt := range []struct {
		name  string
		parse func(string) (int64, error)
		in    string
		want  int64 // 0 = refused
	}{
		{"batch", batch, "b12", 12},
		{"batch without its letter", batch, "12", 12},
		{"batch in capitals", batch, "B12", 12},
		{"last batch", batch, "b2147483647", maxBatch},
		{"batch out of range", batch, "b2147483648", 0},
		{"batch beyond 64 bits", batch, "b9223372036854775808", 0},
		{"batch zero", batch, "b0", 0},
		{"negative batch", batch, "b-1", 0},
		{"signed batch", batch, "b+12", 0},
		{"batch letter twice", batch, "bb12", 0},
		{"batch with blanks", batch, " b12", 0},
		{"only the letter", batch, "b", 0},
		{"empty batch", batch, "", 0},
		{"message", message, "m7", 7},
		{"last message", message, "m9223372036854775807", 1<<63 - 1},
		{"message that is a session", message, "s7", 0},
		{"message zero", message, "m0", 0},
		{"request", request, "b12.345", 12<<32 | 345},
		{"request without its letter", request, "12.345", 12<<32 | 345},
		{"last request", request, "b2147483647.2147483647", maxBatch<<32 | paylink.MaxRows},
		{"row out of range", request, "b1.2147483648", 0},
		{"row beyond 32 bits", request, "b1.4294967297", 0},
		{"row zero", request, "b1.0", 0},
		{"signed row", request, "b1.+1", 0},
		{"negative row", request, "b1.-1", 0},
		{"no row", request, "b1.", 0},
		{"batch alone", request, "b1", 0},
		{"third part", request, "b1.2.3", 0},
		{"no batch", request, ".1", 0},
	} {
		got, err := tt.parse(tt.in)
		if got != tt.want || (tt.want == 0) != errors.Is(err, paylink.ErrInvalid) || (tt.want != 0 && err != nil) {
			t.Errorf("%s: got %d, %v, want %d", tt.name, got, err, tt.want)
		}
	}
}

func TestIDsInJSON(t *testing.T) {
	type ids struct {
		Batch   paylink.BatchID
		Request paylink.RequestID
		Session paylink.SessionID
		Message paylink.MessageID
	}
	want := ids{12, paylink.NewRequestID(12, 345), 7, 8}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(text), `{"Batch":"b12","Request":"b12.345","Session":"s7","Message":"m8"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var got ids
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	for _, bad := range []string{`{"Batch":"b"}`, `{"Batch":"b2147483648"}`, `{"Request":"b1"}`, `{"Session":"m7"}`, `{"Message":"s8"}`, `{"Message":8}`} {
		var got ids
		if err := json.Unmarshal([]byte(bad), &got); err == nil || got != (ids{}) {
			t.Errorf("%s: got %+v, %v, want an error and no id", bad, got, err)
		}
	}
	// Attempts are only ever shown.
	if got, err := json.Marshal(paylink.AttemptID(9)); err != nil || string(got) != `"a9"` {
		t.Errorf("got attempt %s, %v, want %q", got, err, `"a9"`)
	}
	// As a map's key, as in a report.
	if got, err := json.Marshal(map[paylink.RequestID]int{want.Request: 1}); err != nil || string(got) != `{"b12.345":1}` {
		t.Errorf("got map %s, %v", got, err)
	}
}

func TestShortRef(t *testing.T) {
	if got := paylink.ShortRef(paylink.NewRequestID(12, 345)); got != "b12.345" {
		t.Errorf("got %s, want the id as people type it", got)
	}
}

func FuzzParseRequestID(f *testing.F) {
	for _, s := range []string{"b12.345", "12.345", "B1.1", "b2147483647.2147483647", "b1.4294967297", "b-1.1", "b1", ".", "b1.١", "b01.01", "\u212a1.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := paylink.ParseRequestID(s)
		if err != nil {
			if id != 0 || !errors.Is(err, paylink.ErrInvalid) {
				t.Fatalf("got %v with error %v", id, err)
			}
			return
		}
		if id.Batch() < 1 || id.Batch() > maxBatch || id.Row() < 1 || id.Row() > paylink.MaxRows {
			t.Fatalf("%q is out of range: %v", s, id)
		}
		if again, err := paylink.ParseRequestID(id.String()); err != nil || again != id {
			t.Fatalf("%q is %v, but that reads back as %v, %v", s, id, again, err)
		}
	})
}
