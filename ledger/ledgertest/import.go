package ledgertest

import (
	"errors"
	"fmt"

	"github.com/google/go-cmp/cmp"

	"dunlin/ledger"
	"dunlin/paylink"
)

var importTests = []test{
	{"chunks", importChunks},
	{"a killed import goes on", importResumes},
	{"gaps are refused", importGaps},
	{"only while importing", importState},
	{"the same file", sameFile},
	{"a canceled batch is no obstacle", sameFileCanceled},
	{"repeats", repeats},
	{"duplicates", duplicates},
	{"equal keys of different debts", collisions},
	{"a mended row", mended},
}

// begin creates the file's batch.
func (s *scene) begin(f *File) paylink.BatchID {
	s.Helper()
	b, resumed, err := s.db.CreateBatch(s.Context(), f.Batch)
	s.ok(err)
	if resumed || b.State != paylink.BatchImporting {
		s.Fatalf("got resumed %t and state %s of a new batch", resumed, b.State)
	}
	return b.ID
}

func (s *scene) chunk(b paylink.BatchID, rows []ledger.ImportRow) []paylink.Rejection {
	s.Helper()
	rejected, err := s.db.ImportChunk(s.Context(), b, rows, ledger.ImportOptions{Actor: "clerk"})
	s.ok(err)
	return rejected
}

func (s *scene) lines(b paylink.BatchID) (lines []ledger.RequestLine) {
	s.Helper()
	s.ok(s.db.Requests(s.Context(), b, ledger.RequestFilter{}, func(l ledger.RequestLine) error {
		lines = append(lines, l)
		return nil
	}))
	return lines
}

func (s *scene) rejections(b paylink.BatchID, all bool) (rejections []paylink.Rejection) {
	s.Helper()
	s.ok(s.db.Rejections(s.Context(), b, all, func(r paylink.Rejection) error {
		rejections = append(rejections, r)
		return nil
	}))
	return rejections
}

func importChunks(s *scene) {
	f := NewFile(25, Rejected(3, 14))
	b := s.begin(f)
	for from := 0; from < 25; from += 10 {
		none(s, s.chunk(b, f.Rows[from:min(25, from+10)]))
	}
	if got, want := s.counts(b), (paylink.Counts{Pending: 23, Rejected: 2}); got != want {
		s.Errorf("got counts %+v, want %+v", got, want)
	}
	s.conflict(s.db.FinishImport(s.Context(), b, 26, nil, "clerk")) // a row is missing
	s.ok(s.db.FinishImport(s.Context(), b, 25, []byte(`{"total":1}`), "clerk"))
	s.batchIs(b, paylink.BatchDraft)
	if got := s.batch(b); got.Rows != 25 || got.Imported != 25 || string(got.Plan) != `{"total":1}` || got.CreatedBy != "clerk" {
		s.Errorf("got batch %+v", got)
	}
	lines := s.lines(b)
	if len(lines) != 23 || lines[2].Request.ID.Row() != 4 {
		s.Fatalf("got %d requests, the third of row %d; want 23 and row 4", len(lines), lines[2].Request.ID.Row())
	}
	want, got := *f.Rows[0].Row, lines[0].Request
	if got.Reference != want.Reference || got.Amount != want.Amount || got.Routes.String() != "email" || got.ExpiresIn != want.ExpiresIn ||
		got.Line != 2 || len(got.Secret) != 10 || got.DueDate != want.DueDate || got.Timezone != want.Timezone {
		s.Errorf("got request %+v, want the row %+v", got, want)
	}
	contact := paylink.Contact{Name: want.Name, Email: want.Email, Phone: want.Phone, Extra: want.Extra}
	if diff := cmp.Diff(contact, lines[0].Contact); diff != "" {
		s.Errorf("contact (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]paylink.Rejection{*f.Rows[2].Rejection, *f.Rows[13].Rejection}, s.rejections(b, false)); diff != "" {
		s.Errorf("rejections (-want +got):\n%s", diff)
	}
}

func importResumes(s *scene) {
	f := NewFile(25)
	b := s.begin(f)
	s.chunk(b, f.Rows[:10])
	// The sender dies. The next one begins at the top of the file, with chunks of another size.
	again, resumed, err := s.db.CreateBatch(s.Context(), f.Batch)
	s.ok(err)
	if !resumed || again.ID != b || again.Imported != 10 {
		s.Fatalf("got batch %s, resumed %t at row %d; want %s at row 10", again.ID, resumed, again.Imported, b)
	}
	for from := 0; from < 25; from += 7 {
		none(s, s.chunk(b, f.Rows[from:min(25, from+7)]))
	}
	lines := s.lines(b)
	if len(lines) != 25 {
		s.Fatalf("got %d requests, want 25", len(lines))
	}
	for i, l := range lines {
		if want := f.Rows[i].Row; l.Request.ID.Row() != want.Number || l.Request.Reference != want.Reference {
			s.Errorf("row %d holds %s, want %s", l.Request.ID.Row(), l.Request.Reference, want.Reference)
		}
	}
}

func importGaps(s *scene) {
	f := NewFile(6)
	b := s.begin(f)
	for _, rows := range [][]ledger.ImportRow{f.Rows[1:], {f.Rows[0], f.Rows[2]}, {f.Rows[0], f.Rows[0]}} {
		_, err := s.db.ImportChunk(s.Context(), b, rows, f.Import)
		s.refused(err, paylink.ErrInvalid)
	}
	if got := s.counts(b); got != (paylink.Counts{}) {
		s.Errorf("got counts %+v of refused rows", got)
	}
	none(s, s.chunk(b, nil))
	_, err := s.db.ImportChunk(s.Context(), b+1, f.Rows, f.Import)
	s.refused(err, paylink.ErrNotFound)
}

func importState(s *scene) {
	f := NewFile(4, Draft)
	b := Send(s.T, s.db, f)
	_, err := s.db.ImportChunk(s.Context(), b, f.Rows, f.Import)
	s.conflict(err)
	s.conflict(s.db.FinishImport(s.Context(), b, 4, nil, "clerk"))
}

func sameFile(s *scene) {
	f := NewFile(3, Draft)
	b := Send(s.T, s.db, f)
	draft, resumed, err := s.db.CreateBatch(s.Context(), f.Batch)
	s.ok(err)
	if !resumed || draft.ID != b || draft.State != paylink.BatchDraft {
		s.Errorf("got %+v, resumed %t; want the draft %s", draft, resumed, b)
	}
	other := f.Batch
	other.Options = `{"sheet":"2"}`
	_, _, err = s.db.CreateBatch(s.Context(), other)
	s.conflict(err)

	s.ok(s.db.Confirm(s.Context(), b, "clerk", ""))
	_, _, err = s.db.CreateBatch(s.Context(), f.Batch)
	s.conflict(err)
	if before, ok := errors.AsType[*ledger.SentBeforeError](err); !ok || before.Batch != b || before.State != paylink.BatchRunning {
		s.Errorf("got error %#v, want that %s is running", err, b)
	}
	f.Batch.Again = true
	second := s.begin(f)
	if again, resumed, err := s.db.CreateBatch(s.Context(), f.Batch); err != nil || !resumed || again.ID != second {
		s.Errorf("sending again twice: got %s, resumed %t, error %v; want %s", again.ID, resumed, err, second)
	}
	if newest, err := s.db.FindHash(s.Context(), f.Batch.Hash); err != nil || newest.ID != second {
		s.Errorf("newest of the hash: got %s, error %v; want %s", newest.ID, err, second)
	}
	_, err = s.db.FindHash(s.Context(), "none")
	s.refused(err, paylink.ErrNotFound)
}

func sameFileCanceled(s *scene) {
	f := NewFile(3)
	running := Send(s.T, s.db, f)
	f.Batch.Again = true
	again := s.begin(f)
	s.ok(s.db.CancelBatch(s.Context(), again, "clerk", "mistake"))
	f.Batch.Again = false
	_, _, err := s.db.CreateBatch(s.Context(), f.Batch) // the canceled one must not hide the running one
	if before, ok := errors.AsType[*ledger.SentBeforeError](err); !ok || before.Batch != running {
		s.Errorf("got error %v, want that %s was sent", err, running)
	}
	s.ok(s.db.CancelBatch(s.Context(), running, "clerk", "mistake"))
	if third := s.begin(f); third == running || third == again {
		s.Errorf("got the canceled batch %s", third)
	}
}

func repeats(s *scene) {
	first := NewFile(3)
	old := Send(s.T, s.db, first)
	f := NewFile(3)
	f.Rows[1] = NewRow(2, first.Rows[2].Row.Reference)
	open, err := s.db.OpenDebts(s.Context(), f.Rows)
	s.ok(err)
	if want := (map[uint64]paylink.RequestID{f.Rows[1].DebtKey: paylink.NewRequestID(old, 3)}); !cmp.Equal(open, want) {
		s.Errorf("got open debts %v, want %v", open, want)
	}
	b := s.begin(f)
	rej := one(s, s.chunk(b, f.Rows))
	want := fmt.Sprintf("the same debt is already being asked for as request %s", paylink.NewRequestID(old, 3))
	if rej.Kind != paylink.RepeatKind || rej.Number != 2 || rej.Reason != want || !cmp.Equal(rej.Raw, f.Rows[1].Raw) {
		s.Errorf("got rejection %+v", rej)
	}
	if got, want := s.counts(b), (paylink.Counts{Pending: 2, Rejected: 1}); got != want {
		s.Errorf("got counts %+v, want %+v", got, want)
	}
	// The same with leave is taken, and a debt that is no longer asked for is free.
	allowed := NewFile(1, func(f *File) { f.Import.AllowRepeat = true })
	allowed.Rows[0] = NewRow(1, first.Rows[0].Row.Reference)
	if got := s.counts(Send(s.T, s.db, allowed)); got.Pending != 1 {
		s.Errorf("got counts %+v of an allowed repeat", got)
	}
	s.ok(s.db.CancelBatch(s.Context(), old, "clerk", "wrong month"))
	free := NewFile(1)
	free.Rows[0] = NewRow(1, first.Rows[1].Row.Reference)
	if got := s.counts(Send(s.T, s.db, free)); got.Pending != 1 {
		s.Errorf("got counts %+v of a debt that was canceled before", got)
	}
}

func duplicates(s *scene) {
	f := NewFile(6)
	f.Rows[2] = NewRow(3, f.Rows[0].Row.Reference) // in its chunk
	f.Rows[5] = NewRow(6, f.Rows[0].Row.Reference) // in a later one
	b := s.begin(f)
	for _, from := range []int{0, 3} {
		rej := one(s, s.chunk(b, f.Rows[from:from+3]))
		if rej.Kind != paylink.DuplicateKind || rej.Reason != "the same debt stands in row 1 of this file" {
			s.Errorf("got rejection %+v", rej)
		}
	}
	s.ok(s.db.FinishImport(s.Context(), b, 6, nil, "clerk"))
}

func collisions(s *scene) {
	unnamed := func(r *paylink.Row) { r.Reference = "" }
	first := NewFile(1)
	Send(s.T, s.db, first)
	f := NewFile(8)
	for i := range f.Rows {
		f.Rows[i].DebtKey = first.Rows[0].DebtKey
	}
	for i := 2; i < 8; i++ {
		unnamed(f.Rows[i].Row)
		f.Rows[i].Row.Email, f.Rows[i].Row.Phone = "a@example.com", "+96550000000"
	}
	f.Rows[3].Row.Phone = "+96550000001"
	f.Rows[4].Row.Amount.Minor++
	f.Rows[5].Row.Amount.Currency = "USD"
	f.Rows[6].Row.DueDate = "2026-05-01"
	b := s.begin(f)
	none(s, s.chunk(b, f.Rows[:2]))
	rej := one(s, s.chunk(b, f.Rows[2:])) // the last is the third once more
	if rej.Number != 8 || rej.Reason != "the same debt stands in row 3 of this file" {
		s.Errorf("got rejection %+v, want row 8 for row 3", rej)
	}
	same := NewRow(1, "")
	same.Row.Email, same.Row.Phone, same.DebtKey = "a@example.com", "+96550000001", first.Rows[0].DebtKey
	open, err := s.db.OpenDebts(s.Context(), []ledger.ImportRow{same})
	s.ok(err)
	if got, want := open[same.DebtKey], paylink.NewRequestID(b, 4); got != want {
		s.Errorf("got debt %s, want %s", got, want)
	}
}

func mended(s *scene) {
	bad := s.send(4, Rejected(2, 3))
	f := NewFile(1, Each(func(r *paylink.Row) { r.Origin = paylink.NewRequestID(bad, 3) }))
	f.Batch.Parent = bad
	b := Send(s.T, s.db, f)
	if got := s.batch(b).Parent; got != bad {
		s.Errorf("got parent %s, want %s", got, bad)
	}
	if left := one(s, s.rejections(bad, false)); left.Number != 2 {
		s.Errorf("got row %d left to mend, want 2", left.Number)
	}
	if all := s.rejections(bad, true); len(all) != 2 {
		s.Errorf("got %d rejections in all, want 2", len(all))
	}
	if got := s.counts(bad); got.Rejected != 2 {
		s.Errorf("got %d rejected, want them to stay 2", got.Rejected)
	}
}
