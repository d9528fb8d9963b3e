package ledgertest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/ledger"
	"dunlin/paylink"
)

var upkeepTests = []test{
	{"gates", gates},
	{"leases", leases},
	{"usage", usage},
	{"templates", templates},
	{"walks", walks},
	{"vitals", vitals},
}

func gates(s *scene) {
	ctx := s.Context()
	change := func(fn func(paylink.Gate) paylink.Gate) (paylink.Gate, bool) {
		s.Helper()
		g, changed, err := s.db.ChangeGate(ctx, "sms", fn)
		s.ok(err)
		return g, changed
	}
	if g, changed := change(func(g paylink.Gate) paylink.Gate { return g }); changed || g.State != paylink.GateClosed || g.Provider != "sms" {
		s.Errorf("got %+v, changed %t; want a closed gate", g, changed)
	}
	until := s.clock.Now().Add(time.Minute)
	open := paylink.Gate{Provider: "sms", State: paylink.GateOpen, Opened: 1, Until: until, Why: "down"}
	if _, changed := change(func(paylink.Gate) paylink.Gate { return open }); !changed {
		s.Error("opening it changed nothing")
	}
	listed, err := s.db.Gates(ctx)
	s.ok(err)
	if diff := cmp.Diff([]paylink.Gate{open}, listed); diff != "" {
		s.Errorf("gates (-want +got):\n%s", diff)
	}
	if _, changed := change(func(g paylink.Gate) paylink.Gate { g.Opened++; return g }); changed {
		s.Error("counting is no change of state")
	}
	if g, changed := change(func(g paylink.Gate) paylink.Gate { g.State = paylink.GateClosed; return g }); !changed || g.Opened != 2 {
		s.Errorf("got %+v, changed %t", g, changed)
	}
	if listed, err = s.db.Gates(ctx); err != nil || len(listed) != 0 {
		s.Errorf("got %+v, error %v; want no gate that is not closed", listed, err)
	}
}

func leases(s *scene) {
	take := func(holder string, want bool) {
		s.Helper()
		mine, err := s.db.TakeLease(s.Context(), "upkeep", holder, time.Minute)
		s.ok(err)
		if mine != want {
			s.Errorf("%s: got %t, want %t", holder, mine, want)
		}
	}
	take("w1", true)
	take("w2", false)
	s.clock.Advance(time.Minute)
	take("w1", true) // its own, again
	s.clock.Advance(time.Minute)
	take("w2", false) // it ends after its last moment
	s.clock.Advance(time.Millisecond)
	take("w2", true)
	take("w1", false)
	s.ok(s.db.DropLease(s.Context(), "upkeep", "w1")) // not its own
	take("w1", false)
	s.ok(s.db.DropLease(s.Context(), "upkeep", "w2"))
	take("w1", true)
}

func usage(s *scene) {
	used := func(provider string, want int64) {
		s.Helper()
		n, err := s.db.Used(s.Context(), provider, s.clock.Now())
		s.ok(err)
		if n != want {
			s.Errorf("%s: got %d calls, want %d", provider, n, want)
		}
	}
	b := s.send(3, Routes("sms"))
	_, wakes := s.linked(b)
	s.accept(one(s, wakes))
	_, wakes = s.linked(b)
	s.claimMessage(one(s, wakes)) // not sent
	used("checkout", 2)
	used("sms", 1)
	used("email", 0)
	s.clock.Advance(24 * time.Hour)
	used("checkout", 0)
	_, w := s.loses(b)
	s.claimSettle(w, paylink.SettleLost) // every call counts, not only creates
	used("checkout", 2)
}

func templates(s *scene) {
	for range 2 { // every worker saves them at its start
		s.ok(s.db.SaveTemplates(s.Context(), map[string]string{"h1": "Dear {{.Name}}", "h2": "Pay"}))
	}
}

func walks(s *scene) {
	b := s.send(1203, Rejected(7))
	_, err := s.db.CancelRequest(s.Context(), paylink.NewRequestID(b, 600), "clerk", "")
	s.ok(err)
	lines := s.lines(b) // more than two pages
	if len(lines) != 1202 || lines[1201].Request.ID.Row() != 1203 {
		s.Errorf("got %d requests, want 1202", len(lines))
	}
	for name, tt := range map[string]struct {
		filter ledger.RequestFilter
		want   int
	}{
		"reference":      {ledger.RequestFilter{Reference: lines[900].Request.Reference}, 1},
		"canceled":       {ledger.RequestFilter{Dispatch: paylink.DispatchCanceled}, 1},
		"unpaid":         {ledger.RequestFilter{Payment: paylink.PaymentUnpaid}, 1201},
		"cause":          {ledger.RequestFilter{Cause: paylink.CauseCanceled}, 1},
		"nothing so far": {ledger.RequestFilter{Dispatch: paylink.DispatchSent}, 0},
	} {
		n := 0
		s.ok(s.db.Requests(s.Context(), b, tt.filter, func(ledger.RequestLine) error { n++; return nil }))
		if n != tt.want {
			s.Errorf("%s: got %d requests, want %d", name, n, tt.want)
		}
	}
}
