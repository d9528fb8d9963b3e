package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

// note is a change that leaves a trace of its own.
func note(db *ledger.DB, ctx context.Context, name string, then func() error) error {
	return db.Change(ctx, func(do ledger.Statements) error {
		if err := do.Exec(`INSERT INTO template_texts (hash, text, created_at) VALUES ($1, '', 0)`, name); err != nil {
			return err
		}
		return then()
	})
}

func noted(t *testing.T, db *ledger.DB) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	query(t, db.SQL(), `SELECT hash FROM template_texts`, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		out[name] = true
		return err
	})
	return out
}

func nothing() error { return nil }

// sharing holds the writer in one change, "first", until the others wait in the order given, so that they share commits.
func sharing(db *ledger.DB, ctx context.Context, changes ...func() error) (errs []error, first error) {
	in, out := make(chan struct{}), make(chan struct{})
	var once sync.Once // a change may be done over
	var wg sync.WaitGroup
	wg.Go(func() {
		first = note(db, ctx, "first", func() error { once.Do(func() { close(in) }); <-out; return nil })
	})
	<-in
	errs = make([]error, len(changes))
	for i, change := range changes {
		wg.Go(func() { errs[i] = change() })
		db.AwaitWaiting(i + 1)
	}
	close(out)
	wg.Wait()
	return errs, first
}

func TestGroupMembersFailAlone(t *testing.T) {
	db, _ := ledgertest.New(t)
	own := errors.New("its own mistake")
	canceled, cancel := context.WithCancel(t.Context())
	errs, first := sharing(db, t.Context(),
		func() error { return note(db, t.Context(), "a", nothing) },
		func() error { return note(db, t.Context(), "failed", func() error { return own }) },
		func() error { return note(db, t.Context(), "b", nothing) },
		func() error { return note(db, t.Context(), "panicked", func() error { panic("oh") }) },
		func() error { return note(db, t.Context(), "c", func() error { cancel(); return nil }) },
		func() error { return note(db, t.Context(), "first", nothing) }, // refused by the database
		func() error { return note(db, t.Context(), "d", nothing) },
	)
	if first != nil || errs[0] != nil || errs[2] != nil || errs[4] != nil || errs[6] != nil {
		t.Errorf("got errors %v and %v of changes without fault", first, errs)
	}
	if errs[1] != own {
		t.Errorf("got error %v, want its own", errs[1])
	}
	if errs[3] == nil || !strings.Contains(errs[3].Error(), "panic") {
		t.Errorf("got error %v, want the panic", errs[3])
	}
	if errs[5] == nil {
		t.Error("the second of one name was taken")
	}
	got := noted(t, db)
	for _, name := range []string{"first", "a", "b", "c", "d"} {
		if !got[name] {
			t.Errorf("the change %q is lost", name)
		}
	}
	if len(got) != 5 {
		t.Errorf("got changes %v", got)
	}
	if err := note(db, canceled, "e", nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v of a change whose caller had left", err)
	}
}

// TestGroupUndoesEveryWrite: a change that fails is undone however it wrote, alone or beside others.
func TestGroupUndoesEveryWrite(t *testing.T) {
	db, _ := ledgertest.New(t)
	own := errors.New("its own mistake")
	const insert = `INSERT INTO template_texts (hash, text, created_at) VALUES ($1, '', 0)`
	for name, write := range map[string]func(ledger.Statements) error{
		"exec": func(do ledger.Statements) error { return do.Exec(insert, "exec") },
		"row":  func(do ledger.Statements) error { return do.Row(insert+` RETURNING hash`, "row") },
		"each": func(do ledger.Statements) error { return do.Each(insert+` RETURNING hash`, "each") },
	} {
		failing := func() error {
			return db.Change(t.Context(), func(do ledger.Statements) error { return errors.Join(write(do), own) })
		}
		if err := failing(); !errors.Is(err, own) {
			t.Errorf("%s: got error %v", name, err)
		}
		beside := func() error { return note(db, t.Context(), "beside "+name, nothing) }
		if errs, _ := sharing(db, t.Context(), failing, beside, failing); !errors.Is(errs[0], own) || errs[1] != nil || !errors.Is(errs[2], own) {
			t.Errorf("%s: got errors %v", name, errs)
		}
		if got := noted(t, db); got[name] || !got["beside "+name] {
			t.Errorf("%s: got changes %v", name, got)
		}
		if _, err := db.SQL().Exec(`DELETE FROM template_texts`); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGroupCanceledWhileWaiting: whoever leaves before his turn is told so, and nothing of his is done.
func TestGroupCanceledWhileWaiting(t *testing.T) {
	db, _ := ledgertest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	errs, first := sharing(db, t.Context(),
		func() error { return note(db, t.Context(), "before", func() error { cancel(); return nil }) },
		func() error { return note(db, ctx, "left", nothing) })
	if first != nil || errs[0] != nil || !errors.Is(errs[1], context.Canceled) {
		t.Errorf("got errors %v and %v, want the last to be canceled", first, errs)
	}
	if got := noted(t, db); got["left"] || !got["first"] {
		t.Errorf("got changes %v", got)
	}
}

// TestGroupCommitFails: when the shared commit itself fails nobody is told that it went well, and the next goes well.
func TestGroupCommitFails(t *testing.T) {
	db, _ := ledgertest.New(t)
	errs, first := sharing(db, t.Context(),
		func() error { return note(db, t.Context(), "a", nothing) },
		func() error {
			return db.Change(t.Context(), func(do ledger.Statements) error {
				if err := do.Exec(`PRAGMA defer_foreign_keys = ON`); err != nil {
					return err
				}
				return do.Exec(`INSERT INTO sessions (request_id, state, order_no, amount, currency, created_at) VALUES (77, 'failed', 'x', 1, 'KWD', 1)`)
			})
		},
	)
	got := noted(t, db)
	if (first == nil) != got["first"] || (errs[0] == nil) != got["a"] {
		t.Errorf("got errors %v and %v, but what is there is %v", first, errs[0], got)
	}
	if errs[1] == nil {
		t.Error("the commit of what the database refuses went well")
	}
	if err := note(db, t.Context(), "after", nothing); err != nil {
		t.Errorf("got error %v of the change after", err)
	}
}

func TestGroupClose(t *testing.T) {
	address := sqliteFile(t)
	db, err := ledger.Open(t.Context(), address, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 50
	changes := make([]func() error, n)
	var closing sync.WaitGroup
	var once sync.Once
	for i := range changes {
		changes[i] = func() error {
			return note(db, t.Context(), fmt.Sprint(i), func() error {
				if i == n/2 {
					once.Do(func() {
						closing.Go(func() {
							if err := db.Close(); err != nil {
								t.Errorf("closing: %v", err)
							}
						})
					})
				}
				return nil
			})
		}
	}
	errs, first := sharing(db, t.Context(), changes...)
	closing.Wait()
	if first != nil {
		t.Errorf("the first: %v", first)
	}
	if err := note(db, t.Context(), "late", nothing); err == nil {
		t.Error("a closed ledger took a change")
	}
	got := noted(t, ledgertest.Open(t, address, nil))
	for i, err := range errs {
		if (err == nil) != got[fmt.Sprint(i)] {
			t.Errorf("change %d: got error %v, but its being there is %t", i, err, got[fmt.Sprint(i)])
		}
	}
	if got["late"] {
		t.Error("the late change is there")
	}
}

// TestTwoProcessesOneFile: a command line and a worker write to one SQLite file.
func TestTwoProcessesOneFile(t *testing.T) {
	address := sqliteFile(t)
	a, b := ledgertest.Open(t, address, nil), ledgertest.Open(t, address, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		db := []*ledger.DB{a, b}[i%2]
		wg.Go(func() {
			batch := ledgertest.Import(t, db, 30, func(f *ledgertest.File) { f.Chunk = 3 })
			for range 10 {
				wakes, err := db.Feed(t.Context(), batch, 3)
				if err != nil {
					t.Error(err)
				}
				for _, w := range wakes {
					other := []*ledger.DB{b, a}[i%2] // claimed there, lost here
					c, err := other.ClaimSession(t.Context(), paylink.RequestID(w.ID), w.Epoch, paylink.ClaimOptions{Lease: time.Minute})
					if err != nil {
						t.Error(err)
						continue
					}
					if _, err := db.LoseSession(t.Context(), c); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	ledgertest.Audit(t, a)
	ledgertest.Audit(t, b)
}
