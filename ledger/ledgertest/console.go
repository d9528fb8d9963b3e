package ledgertest

import (
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/ledger"
	"dunlin/paylink"
)

var consoleTests = []test{{"holds", testHolds}, {"totals", testTotals}, {"pages", testPages}, {"users", testUsers}}

// testHolds confirms batches that must wait: for a while, for a second person, for both.
func testHolds(s *scene) {
	t, ctx := s.T, s.Context()
	state := func(id paylink.BatchID, want paylink.BatchState) {
		t.Helper()
		if b, err := s.db.Batch(ctx, id); err != nil || b.State != want {
			t.Fatalf("got %s, %v, want %s", b.State, err, want)
		}
	}
	advance := func() {
		t.Helper()
		_, err := s.db.Advance(ctx)
		s.ok(err)
	}

	id := s.send(3, Draft)
	s.ok(s.db.ConfirmHeld(ctx, id, ledger.Hold{For: time.Minute}, "clerk"))
	state(id, paylink.BatchHeld)
	advance()
	state(id, paylink.BatchHeld)
	s.ok(s.db.TakeBack(ctx, id, "clerk", "wrong list"))
	state(id, paylink.BatchDraft)
	s.ok(s.db.ConfirmHeld(ctx, id, ledger.Hold{For: time.Minute}, "clerk"))
	s.clock.Advance(time.Minute)
	advance()
	state(id, paylink.BatchRunning)
	s.conflict(s.db.TakeBack(ctx, id, "clerk", ""))
	if got := len(s.feed(id, 10)); got != 3 {
		t.Errorf("fed %d rows, want 3", got)
	}

	id = s.send(3, Draft, Canary(1))
	s.ok(s.db.ConfirmHeld(ctx, id, ledger.Hold{For: time.Minute, Approval: true}, "clerk"))
	s.clock.Advance(time.Hour)
	advance()
	state(id, paylink.BatchHeld)
	s.conflict(s.db.Resume(ctx, id, "clerk", ""))
	if err := s.db.Approve(ctx, id, time.Minute, "clerk", ""); !errors.Is(err, ledger.ErrOwnBatch) {
		t.Errorf("approved by who confirmed: got %v, want ErrOwnBatch", err)
	}
	s.ok(s.db.Pause(ctx, id, "clerk", ""))
	s.conflict(s.db.Resume(ctx, id, "clerk", ""))
	s.ok(s.db.CancelBatch(ctx, id, "clerk", ""))

	id = s.send(3, Draft, Canary(1))
	s.ok(s.db.ConfirmHeld(ctx, id, ledger.Hold{For: time.Minute, Approval: true}, "clerk"))
	s.ok(s.db.Approve(ctx, id, time.Minute, "boss", "seen"))
	state(id, paylink.BatchHeld)
	s.conflict(s.db.Approve(ctx, id, time.Minute, "boss", "twice"))
	s.ok(s.db.Resume(ctx, id, "clerk", "now"))
	state(id, paylink.BatchRunning)
	if b, err := s.db.Batch(ctx, id); err != nil || b.Canary != 1 {
		t.Errorf("got canary %d, %v: going on before the first row must leave it to come", b.Canary, err)
	}
	d, err := s.db.Detail(ctx, id)
	s.ok(err)
	if d.ConfirmedBy != "clerk" || d.ApprovedBy != "boss" || d.NeedsApproval || !d.HoldUntil.IsZero() {
		t.Errorf("got detail %+v", d)
	}
}

// testTotals follows the till's sums from import to payment; every step is verified against the rows.
func testTotals(s *scene) {
	t, ctx := s.T, s.Context()
	id := s.send(3)
	totals := func() ledger.Totals {
		t.Helper()
		got, err := s.db.Totals(ctx, id)
		s.ok(err)
		return got
	}
	if diff := cmp.Diff([]paylink.Money{{Minor: 37500, Currency: "KWD"}}, totals().Asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	rid, wakes := s.linked(id)
	s.accept(one(s, wakes))
	s.clock.Advance(48 * time.Hour)
	_, _, err := s.db.MarkPaid(ctx, rid, paylink.Money{Minor: 500, Currency: "KWD"}, "clerk", "cash")
	s.ok(err)
	s.clock.Advance(24 * time.Hour)
	_, _, err = s.db.MarkPaid(ctx, rid, paylink.Money{Currency: "KWD"}, "clerk", "cash")
	s.ok(err)
	got := totals()
	if diff := cmp.Diff([]ledger.DaySum{{Day: "2026-03-04", Money: paylink.Money{Minor: 500, Currency: "KWD"}},
		{Day: "2026-03-05", Money: paylink.Money{Minor: 12000, Currency: "KWD"}}}, got.Days); diff != "" {
		t.Errorf("by day (-want +got):\n%s", diff)
	}
	if got.Counts.Sent != 1 || got.Payments[paylink.PaymentPaidOutside] != 1 {
		t.Errorf("got %+v", got)
	}
	_, _, err = s.db.UndoOutside(ctx, rid, "clerk", "the cheque bounced")
	s.ok(err)
	if got := totals().Collected; len(got) != 1 || got[0].Minor != 0 {
		t.Errorf("collected after taking it back: got %v", got)
	}
}

// testPages walks a batch page by page, by rare states and by what must be looked through.
func testPages(s *scene) {
	t, ctx := s.T, s.Context()
	id := s.send(30, Rejected(4, 5))
	for _, row := range []int{3, 7, 29} {
		_, err := s.db.CancelRequest(ctx, paylink.NewRequestID(id, row), "clerk", "")
		s.ok(err)
	}
	walk := func(f ledger.PageFilter, limit int) (rows []int) {
		t.Helper()
		for after := 0; ; {
			lines, next, err := s.db.RowPage(ctx, id, f, after, limit)
			s.ok(err)
			for _, l := range lines {
				rows = append(rows, l.Request.ID.Row())
			}
			if next == 0 {
				return rows
			}
			if next <= after {
				t.Fatalf("after %d comes %d", after, next)
			}
			after = next
		}
	}
	for name, x := range map[string]struct {
		filter ledger.PageFilter
		want   int
	}{
		"all":             {ledger.PageFilter{}, 28},
		"called off":      {ledger.PageFilter{Dispatch: paylink.DispatchCanceled}, 3},
		"not asked for":   {ledger.PageFilter{Payment: paylink.PaymentCanceled}, 3},
		"pending, unpaid": {ledger.PageFilter{Dispatch: paylink.DispatchPending, Payment: paylink.PaymentUnpaid}, 25},
		"both":            {ledger.PageFilter{Dispatch: paylink.DispatchCanceled, Payment: paylink.PaymentUnpaid}, 0},
		"by name":         {ledger.PageFilter{Text: "PAYER 2"}, 11}, // 2, 20 to 29
		"a wildcard":      {ledger.PageFilter{Text: "%"}, 0},
		"by cause":        {ledger.PageFilter{Dispatch: paylink.DispatchCanceled, Cause: paylink.CauseCanceled}, 3},
	} {
		for _, limit := range []int{1, 2, 28, 100} {
			if got := len(walk(x.filter, limit)); got != x.want {
				t.Errorf("%s by %d: got %d rows, want %d", name, limit, got, x.want)
			}
		}
	}
	l, err := s.db.Request(ctx, paylink.NewRequestID(id, 2))
	s.ok(err)
	for name, q := range map[string]ledger.Search{"reference": {Reference: l.Request.Reference}, "name": {Name: "payer 2"}, "mailbox": {Email: "Payer2@ex"}, "phone": {Phone: l.Contact.Phone}} {
		found, err := s.db.Find(ctx, q, 50)
		s.ok(err)
		if len(found) == 0 || found[0].Request.ID != l.Request.ID {
			t.Errorf("by %s: got %d found", name, len(found))
		}
	}
	open, err := s.db.OpenRejections(ctx, id, 4, 10)
	s.ok(err)
	if len(open) != 1 || open[0].Number != 5 {
		t.Errorf("got rejections %+v, want row 5", open)
	}
	lines, err := s.db.BatchLines(ctx, 0, 5)
	s.ok(err)
	if len(lines) != 1 || lines[0].Totals.Counts.Sum() != 30 {
		t.Errorf("got %+v", lines)
	}
}

// testUsers lets people in and keeps them out.
func testUsers(s *scene) {
	t, ctx := s.T, s.Context()
	s.ok(s.db.AddUser(ctx, " Layla@Example.com", ledger.RoleAdmin, "hash", "root"))
	s.conflict(s.db.AddUser(ctx, "layla@example.com", ledger.RoleViewer, "hash", "root"))
	s.refused(s.db.AddUser(ctx, "two words", ledger.RoleViewer, "hash", "root"), paylink.ErrInvalid)
	s.refused(s.db.AddUser(ctx, "x", "king", "hash", "root"), paylink.ErrInvalid)
	u, err := s.db.User(ctx, "LAYLA@example.com")
	s.ok(err)
	s.ok(s.db.SignIn(ctx, u.ID, "h1", time.Hour))
	l, err := s.db.Login(ctx, "h1")
	s.ok(err)
	if l.User.Name != "layla@example.com" || !l.Expires.Equal(s.clock.Now().Add(time.Hour)) {
		t.Errorf("got %+v", l)
	}
	s.conflict(s.db.ChangeUser(ctx, u.Name, "", "", true, "root", ""))
	s.ok(s.db.AddUser(ctx, "second", ledger.RoleAdmin, "hash", "root"))
	s.ok(s.db.ChangeUser(ctx, u.Name, ledger.RoleViewer, "", false, "second", "moved on"))
	_, err = s.db.Login(ctx, "h1")
	s.refused(err, paylink.ErrNotFound)
	s.ok(s.db.SignIn(ctx, u.ID, "h2", time.Hour))
	s.clock.Advance(time.Hour)
	_, err = s.db.Login(ctx, "h2")
	s.refused(err, paylink.ErrNotFound)
	s.ok(s.db.SaveColumnMap(ctx, "k", map[string]string{"Summe": "amount"}, "layla"))
	s.ok(s.db.SaveColumnMap(ctx, "k", map[string]string{"Post": ""}, "layla"))
	m, err := s.db.ColumnMap(ctx, "k")
	s.ok(err)
	if diff := cmp.Diff(map[string]string{"Post": ""}, m); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	s.ok(s.db.SaveColumnMap(ctx, "k", nil, "layla"))
	if m, err := s.db.ColumnMap(ctx, "k"); err != nil || m != nil {
		t.Errorf("forgotten columns: got %v, %v", m, err)
	}
}
