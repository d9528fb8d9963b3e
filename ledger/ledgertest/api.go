package ledgertest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/ledger"
	"dunlin/paylink"
)

var apiTests = []test{
	{"keys", apiKeys},
	{"a call is done once", callOnce},
	{"a call that was abandoned", callAbandoned},
	{"one of many begins a call", callRace},
	{"test batches stand still", testBatchStands},
	{"test and live debts", testDebts},
	{"pages of batches", batchPages},
	{"pages of requests", requestPages},
	{"pages of rejections", rejectionPages},
	{"the feed of events", eventFeed},
}

func testFile(f *File) { f.Batch.Test, f.Draft = true, true }

func apiKeys(s *scene) {
	ctx := s.Context()
	k, err := s.db.AddKey(ctx, ledger.APIKey{Name: "erp", Hash: "h1", Hint: "dk_abcd", Scope: ledger.ScopeSend, CreatedBy: "clerk",
		ExpiresAt: s.clock.Now().Add(time.Hour)})
	s.ok(err)
	got, err := s.db.Key(ctx, "h1")
	s.ok(err)
	if diff := cmp.Diff(k, got); diff != "" {
		s.Errorf("the key came back otherwise (-added +got):\n%s", diff)
	}
	if !got.Live(s.clock.Now()) || got.Live(s.clock.Now().Add(time.Hour)) {
		s.Error("want the key to live until it expires")
	}
	_, err = s.db.Key(ctx, "h2")
	s.refused(err, paylink.ErrNotFound)
	_, err = s.db.AddKey(ctx, ledger.APIKey{Name: "x", Hash: "h3", Scope: "root"})
	s.refused(err, paylink.ErrInvalid)

	used := func() time.Time {
		s.ok(s.db.UseKey(ctx, got))
		got, err = s.db.Key(ctx, "h1")
		s.ok(err)
		return got.LastUsedAt
	}
	first := used()
	s.clock.Advance(59 * time.Minute)
	if again := used(); first.IsZero() || !again.Equal(first) {
		s.Errorf("used at %s, then %s: want the first for an hour", first, again)
	}
	s.clock.Advance(time.Minute)
	if again := used(); !again.Equal(first.Add(time.Hour)) {
		s.Errorf("used at %s an hour later, want that noted", again)
	}

	s.ok(s.db.RevokeKey(ctx, k.ID, "boss", "left"))
	s.conflict(s.db.RevokeKey(ctx, k.ID, "boss", ""))
	s.refused(s.db.RevokeKey(ctx, 99, "boss", ""), paylink.ErrNotFound)
	list, err := s.db.Keys(ctx)
	s.ok(err)
	if k := one(s, list); k.Live(s.clock.Now()) || k.RevokedBy != "boss" {
		s.Errorf("got %+v, want it revoked", k)
	}
}

// caller is a key and a call under it.
func (s *scene) caller() ledger.Call {
	s.Helper()
	k, err := s.db.AddKey(s.Context(), ledger.APIKey{Name: "erp", Hash: fmt.Sprint("hash ", s.steps), Scope: ledger.ScopeSend})
	s.ok(err)
	return ledger.Call{Key: k.ID, Name: "n1", Fingerprint: "f1", Lease: time.Minute}
}

func (s *scene) call(c ledger.Call, redo bool, want ledger.OnceState) ledger.Answer {
	s.Helper()
	state, a, err := s.db.BeginCall(s.Context(), c, redo)
	s.ok(err)
	if state != want {
		s.Fatalf("the call is %s, want %s", state, want)
	}
	return a
}

func callOnce(s *scene) {
	ctx := s.Context()
	c := s.caller()
	s.call(c, true, ledger.OnceFresh)
	s.call(c, true, ledger.OnceBusy)
	other := c
	other.Fingerprint = "f2"
	s.call(other, true, ledger.OnceOther)
	want := ledger.Answer{Status: 201, Headers: map[string]string{"Location": "/x"}, Body: []byte(`{"a":1}`)}
	s.ok(s.db.EndCall(ctx, c, want))
	if diff := cmp.Diff(want, s.call(c, true, ledger.OnceDone)); diff != "" {
		s.Errorf("the answer came back otherwise (-want +got):\n%s", diff)
	}
	s.ok(s.db.EndCall(ctx, c, ledger.Answer{Status: 500}))
	if a := s.call(c, true, ledger.OnceDone); a.Status != 201 {
		s.Errorf("the answer became %d", a.Status)
	}
	s.call(other, true, ledger.OnceOther)

	stranger := s.caller() // the same name under another key is another call
	s.call(stranger, true, ledger.OnceFresh)
	s.ok(s.db.EndCall(ctx, stranger, ledger.Answer{})) // it failed
	s.call(stranger, true, ledger.OnceFresh)

	s.clock.Advance(47 * time.Hour)
	s.call(c, true, ledger.OnceDone)
	s.clock.Advance(2 * time.Hour)
	s.call(c, true, ledger.OnceFresh)
}

func callAbandoned(s *scene) {
	c := s.caller()
	s.call(c, false, ledger.OnceFresh)
	s.clock.Advance(2 * time.Minute)
	s.call(c, false, ledger.OnceAbandoned)
	s.call(c, true, ledger.OnceFresh)
	s.call(c, true, ledger.OnceBusy)
}

func callRace(s *scene) {
	c := s.caller()
	var mu sync.Mutex
	got := map[ledger.OnceState]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			state, _, err := s.db.BeginCall(s.Context(), c, true)
			if err != nil {
				state = ledger.OnceState(err.Error())
			}
			mu.Lock()
			defer mu.Unlock()
			got[state]++
		})
	}
	wg.Wait()
	if diff := cmp.Diff(map[ledger.OnceState]int{ledger.OnceFresh: 1, ledger.OnceBusy: 7}, got); diff != "" {
		s.Errorf("(-want +got):\n%s", diff)
	}
}

func testBatchStands(s *scene) {
	ctx := s.Context()
	b := Send(s.T, s.db, NewFile(2, testFile))
	err := s.db.Confirm(ctx, b, "clerk", "")
	s.conflict(err)
	if !errors.Is(err, ledger.ErrTestBatch) {
		s.Errorf("got %v, want it to say that it is a test batch", err)
	}
	s.batchIs(b, paylink.BatchDraft)
	if got := s.counts(b); got.Pending != 2 {
		s.Errorf("got %+v, want both rows pending", got)
	}
	s.ok(s.db.CancelBatch(ctx, b, "clerk", ""))
}

// testDebts: the same file is another batch for a test key, and neither sees the other's debts.
func testDebts(s *scene) {
	ctx := s.Context()
	f := NewFile(2)
	live := Send(s.T, s.db, f)
	f.Batch.Test, f.Draft = true, true
	test := Send(s.T, s.db, f)
	if live == test {
		s.Fatal("the test file resumed the live batch")
	}
	for _, b := range []paylink.BatchID{live, test} {
		if got := s.counts(b); got.Pending != 2 || got.Rejected != 0 {
			s.Errorf("%s: got %+v, want two rows and no repeat", b, got)
		}
	}
	if found, err := s.db.FindHash(ctx, f.Batch.Hash); err != nil || found.ID != live {
		s.Errorf("got batch %s, %v for the file; want the live one", found.ID, err)
	}
	_, resumed, err := s.db.CreateBatch(ctx, f.Batch)
	s.ok(err)
	if !resumed {
		s.Error("the test draft was not resumed")
	}
}

func batchPages(s *scene) {
	ctx := s.Context()
	var want []paylink.BatchID
	for range 5 {
		want = append([]paylink.BatchID{s.send(1)}, want...)
	}
	test := Send(s.T, s.db, NewFile(1, testFile))
	var got []paylink.BatchID
	for before := paylink.BatchID(0); ; {
		page, err := s.db.BatchPage(ctx, false, before, 2)
		s.ok(err)
		for _, b := range page {
			got = append(got, b.ID)
			before = b.ID
		}
		if len(page) == 0 {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("batches by pages (-want +got):\n%s", diff)
	}
	page, err := s.db.BatchPage(ctx, true, 0, 10)
	s.ok(err)
	if b := one(s, page); b.ID != test || !b.Test {
		s.Errorf("got %+v, want the test batch", b)
	}
}

// pages walks to the end by pages of two.
func (s *scene) pages(q ledger.RequestQuery) (got []paylink.RequestID) {
	s.Helper()
	q.Limit = 2
	for {
		lines, next, err := s.db.RequestPage(s.Context(), q)
		s.ok(err)
		for _, l := range lines {
			got = append(got, l.Request.ID)
		}
		if len(lines) > 2 {
			s.Fatalf("a page of two has %d", len(lines))
		}
		if next == 0 {
			return got
		}
		if next <= q.After {
			s.Fatalf("from %s to %s: the pages do not go on", q.After, next)
		}
		q.After = next
	}
}

func requestPages(s *scene) {
	ctx := s.Context()
	a, b := s.send(5), s.send(3)
	test := Send(s.T, s.db, NewFile(1, testFile))
	row := paylink.NewRequestID
	id, wakes := s.linked(a)
	s.accept(one(s, wakes))
	bad, wakes := s.linked(a)
	none(s, s.fail(s.committed(one(s, wakes)), permanent))
	_, err := s.db.CancelRequest(ctx, row(b, 2), "clerk", "")
	s.ok(err)
	reference := s.line(row(a, 4)).Request.Reference
	for _, tt := range []struct {
		name string
		q    ledger.RequestQuery
		want []paylink.RequestID
	}{
		{"all", ledger.RequestQuery{}, []paylink.RequestID{row(a, 1), row(a, 2), row(a, 3), row(a, 4), row(a, 5), row(b, 1), row(b, 2), row(b, 3)}},
		{"of a batch", ledger.RequestQuery{Batch: b}, []paylink.RequestID{row(b, 1), row(b, 2), row(b, 3)}},
		{"of a batch, further on", ledger.RequestQuery{Batch: a, After: row(a, 4)}, []paylink.RequestID{row(a, 5)}},
		{"behind the batch", ledger.RequestQuery{Batch: a, After: row(b, 1)}, nil},
		{"sent", ledger.RequestQuery{RequestFilter: ledger.RequestFilter{Dispatch: paylink.DispatchSent}}, []paylink.RequestID{id}},
		{"failed", ledger.RequestQuery{RequestFilter: ledger.RequestFilter{Dispatch: paylink.DispatchFailed}}, []paylink.RequestID{bad}},
		{"failed in another batch", ledger.RequestQuery{Batch: b, RequestFilter: ledger.RequestFilter{Dispatch: paylink.DispatchFailed}}, nil},
		{"canceled payments", ledger.RequestQuery{RequestFilter: ledger.RequestFilter{Payment: paylink.PaymentCanceled}}, []paylink.RequestID{row(b, 2)}},
		{"unpaid", ledger.RequestQuery{Batch: b, RequestFilter: ledger.RequestFilter{Payment: paylink.PaymentUnpaid}}, []paylink.RequestID{row(b, 1), row(b, 3)}},
		{"cause", ledger.RequestQuery{RequestFilter: ledger.RequestFilter{Cause: paylink.CauseBadAddress}}, []paylink.RequestID{bad}},
		{"reference", ledger.RequestQuery{RequestFilter: ledger.RequestFilter{Reference: reference}}, []paylink.RequestID{row(a, 4)}},
		{"reference and state", ledger.RequestQuery{RequestFilter: ledger.RequestFilter{Reference: reference, Dispatch: paylink.DispatchFailed}}, nil},
		{"of test keys", ledger.RequestQuery{Test: true}, []paylink.RequestID{row(test, 1)}},
		{"a live batch of test keys", ledger.RequestQuery{Test: true, Batch: a}, nil},
	} {
		if diff := cmp.Diff(tt.want, s.pages(tt.q)); diff != "" {
			s.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	lines, _, err := s.db.RequestPage(ctx, ledger.RequestQuery{Batch: a, Limit: 5})
	s.ok(err)
	for _, l := range lines {
		if diff := cmp.Diff(s.line(l.Request.ID), l); diff != "" {
			s.Errorf("a line of a page differs from the request alone (-alone +page):\n%s", diff)
		}
	}
}

func rejectionPages(s *scene) {
	b := s.send(6, Rejected(1, 3, 4, 6))
	var got []int
	for after, next := 0, 1; next != 0; after = next {
		page, n, err := s.db.RejectionPage(s.Context(), b, false, after, 2)
		s.ok(err)
		for _, r := range page {
			got = append(got, r.Number)
		}
		next = n
		if next == 0 {
			break
		}
	}
	if diff := cmp.Diff([]int{1, 3, 4, 6}, got); diff != "" {
		s.Errorf("rejected rows by pages (-want +got):\n%s", diff)
	}
}

func eventFeed(s *scene) {
	ctx := s.Context()
	a := s.send(2)
	test := Send(s.T, s.db, NewFile(1, testFile))
	id, wakes := s.linked(a)
	s.accept(one(s, wakes))
	seen := map[paylink.BatchID]int{}
	told := ""
	for _, isTest := range []bool{false, true} {
		for after, last := int64(0), int64(-1); after != last; {
			last = after
			page, next, err := s.db.EventPage(ctx, isTest, after, 3)
			s.ok(err)
			for _, e := range page {
				seen[e.Batch]++
				if (e.Batch == test) != isTest {
					s.Errorf("an event of %s in the feed for test %v", e.Batch, isTest)
				}
				if e.Request == id && e.Entity == "request" {
					told += e.From + ">" + e.To + " "
				}
			}
			after = next
		}
	}
	if seen[a] == 0 || seen[test] == 0 || told != "in_flight>sent " {
		s.Errorf("got %v events and %q of %s", seen, told, id)
	}
}
