package ledgertest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/paylink"
)

// vitals: a batch of three, one row of it begun, one session due, one event that nobody applied.
func vitals(s *scene) {
	ctx := s.Context()
	read := func() paylink.Vitals {
		s.Helper()
		v, err := s.db.Vitals(ctx)
		s.ok(err)
		return v
	}
	if v := read(); !v.OldestPending.IsZero() || !v.OldestDue.IsZero() || v.Flags != 0 || v.Unapplied != 0 || len(v.Rows) != 0 {
		s.Errorf("an empty ledger: got %+v", v)
	}
	confirmed := s.clock.Now()
	b := s.send(3)
	s.linked(b)
	s.feed(b, 1)
	if _, _, err := s.db.StoreEvent(ctx, "ottu", "k", []byte(`{}`)); err != nil {
		s.Fatal(err)
	}
	s.clock.Advance(2 * grace)
	v := read()
	if diff := cmp.Diff(map[paylink.DispatchState]int64{paylink.DispatchPending: 1, paylink.DispatchInFlight: 2}, nonZero(v.Rows)); diff != "" {
		s.Errorf("rows (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[paylink.BatchState]int64{paylink.BatchRunning: 1}, v.Batches); diff != "" {
		s.Errorf("batches (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{"checkout": 1}, v.Used); diff != "" {
		s.Errorf("calls (-want +got):\n%s", diff)
	}
	if v.OldestPending.Before(confirmed) || v.OldestPending.After(confirmed.Add(time.Minute)) {
		s.Errorf("oldest pending: got %s, want about %s", v.OldestPending, confirmed)
	}
	if v.OldestDue.IsZero() || v.Unapplied != 1 {
		s.Errorf("got due since %s, %d unapplied; want the fed row's session due, and one event", v.OldestDue, v.Unapplied)
	}
	s.ok(s.db.CancelBatch(ctx, b, "tester", "enough"))
	if v := read(); !v.OldestPending.IsZero() || len(nonZero(v.Rows)) != 0 {
		s.Errorf("after the cancel: got %+v", v)
	}
}

func nonZero(in map[paylink.DispatchState]int64) map[paylink.DispatchState]int64 {
	out := map[paylink.DispatchState]int64{}
	for k, n := range in {
		if n != 0 {
			out[k] = n
		}
	}
	return out
}
