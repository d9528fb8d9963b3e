// Package ledgertest holds what a ledger must do, and gives tests a ledger to work on. [Run] is the conformance suite:
// the same named tests over every database, each on a ledger of its own, and after every single step the till is added
// up and verified. [New] and [Import] are for the tests of other packages. The package is for tests only; it knows the
// ledger by its exported methods alone, so that what it asserts is what callers can rely on.
package ledgertest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dunlin/ledger"
	"dunlin/paylink"
)

// Clock is a clock that moves only by hand. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at a whole second of an ordinary day.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)} }

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// New opens an empty SQLite ledger that ends with the test, and the clock that it goes by.
func New(t testing.TB) (*ledger.DB, *Clock) {
	t.Helper()
	clock := NewClock()
	return Open(t, "sqlite:"+filepath.Join(t.TempDir(), "dunlin.db"), clock.Now), clock
}

// Open opens the ledger at an address and closes it when the test ends. now may be nil: the real clock.
func Open(t testing.TB, address string, now func() time.Time) *ledger.DB {
	t.Helper()
	db, err := ledger.Open(t.Context(), address, ledger.Options{Now: now})
	if err != nil {
		t.Fatalf("opening the ledger: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("closing the ledger: %v", err)
		}
	})
	return db
}

// File is a payer file as the ledger gets it. Options change it before it is imported.
type File struct {
	Batch  ledger.NewBatch
	Rows   []ledger.ImportRow
	Import ledger.ImportOptions
	// Chunk is how many rows go in one transaction.
	Chunk int
	// Draft leaves the batch unconfirmed.
	Draft bool
}

// Option changes a file before it is imported.
type Option func(*File)

// Routes sends every row by the routes, such as "whatsapp>sms".
func Routes(s string) Option {
	return Each(func(r *paylink.Row) {
		var err error
		if r.Routes, err = paylink.ParseRoutes(s); err != nil {
			panic(err)
		}
	})
}

// Each changes every good row.
func Each(fn func(*paylink.Row)) Option {
	return func(f *File) {
		for _, r := range f.Rows {
			if r.Row != nil {
				fn(r.Row)
			}
		}
	}
}

// Rejected makes the numbered rows bad ones.
func Rejected(numbers ...int) Option {
	return func(f *File) {
		for _, n := range numbers {
			f.Rows[n-1] = ledger.ImportRow{Rejection: &paylink.Rejection{Number: n, Line: n + 1, Column: "amount", Kind: "amount",
				Reason: "not an amount", Hint: "write 12.500", Raw: []string{"x"}}}
		}
	}
}

// Draft leaves the batch unconfirmed.
func Draft(f *File) { f.Draft = true }

// Canary makes the batch send n rows first.
func Canary(n int) Option { return func(f *File) { f.Batch.Canary = n } }

// Receipts sends who has paid a receipt.
func Receipts(f *File) { f.Batch.Receipts = true }

// Brake halts the batch when more than rows and more than percent of the rows failed.
func Brake(percent, rows int) Option {
	return func(f *File) { f.Batch.BrakePercent, f.Batch.BrakeRows = percent, rows }
}

var files atomic.Int64

// NewFile makes a file of n good rows by email whose debts nobody else has. The debt's key is the hash of the reference.
func NewFile(n int, opts ...Option) *File {
	k := files.Add(1)
	sum := sha256.Sum256(fmt.Appendf(nil, "file %d", k))
	f := &File{
		Batch: ledger.NewBatch{Name: fmt.Sprintf("payers-%d.csv", k), Hash: hex.EncodeToString(sum[:]), Format: "csv",
			Header: []string{"reference", "amount"}, Options: "{}", Actor: "clerk"},
		Rows:   make([]ledger.ImportRow, n),
		Import: ledger.ImportOptions{Actor: "clerk"},
		Chunk:  1000,
	}
	for i := range f.Rows {
		f.Rows[i] = NewRow(i+1, fmt.Sprintf("INV-%d-%d", k, i+1))
	}
	for _, o := range opts {
		o(f)
	}
	return f
}

// NewRow makes one good row by email; its addresses follow from its number.
func NewRow(number int, reference string) ledger.ImportRow {
	return ledger.ImportRow{
		Row: &paylink.Row{
			Number: number, Line: number + 1, Reference: reference, Amount: paylink.Money{Minor: 12500, Currency: "KWD"},
			Name: fmt.Sprintf("Payer %d", number), Email: fmt.Sprintf("payer%d@example.com", number), Phone: fmt.Sprintf("+9655%07d", number),
			Routes: paylink.Routes{{paylink.Email}}, Language: "en", Country: "KW", Timezone: "Asia/Kuwait", DueDate: "2026-04-01",
			ExpiresIn: 48 * time.Hour, Description: "School fee", Extra: map[string]string{"class": "4B"},
		},
		Raw:     []string{reference, "12.500"},
		DebtKey: DebtKey(reference),
	}
}

// DebtKey is the key that [NewRow] gives a debt.
func DebtKey(s string) uint64 {
	sum := sha256.Sum256([]byte(s))
	return binary.BigEndian.Uint64(sum[:8])
}

// Import imports a new file of n rows and confirms it: the batch runs.
func Import(t testing.TB, db *ledger.DB, n int, opts ...Option) paylink.BatchID {
	t.Helper()
	return Send(t, db, NewFile(n, opts...))
}

// Send imports a file and, unless it is to stay a draft, confirms it.
func Send(t testing.TB, db *ledger.DB, f *File) paylink.BatchID {
	t.Helper()
	ctx := t.Context()
	b, _, err := db.CreateBatch(ctx, f.Batch)
	if err != nil {
		t.Fatalf("creating a batch: %v", err)
	}
	for rows := f.Rows; len(rows) > 0; {
		n := min(f.Chunk, len(rows))
		if _, err := db.ImportChunk(ctx, b.ID, rows[:n], f.Import); err != nil {
			t.Fatalf("importing: %v", err)
		}
		rows = rows[n:]
	}
	if err := db.FinishImport(ctx, b.ID, len(f.Rows), []byte(`{}`), "clerk"); err != nil {
		t.Fatalf("finishing the import: %v", err)
	}
	if !f.Draft {
		if err := db.Confirm(ctx, b.ID, "clerk", ""); err != nil {
			t.Fatalf("confirming: %v", err)
		}
	}
	return b.ID
}

// Audit adds up the till of every batch and verifies it. It is what law 1 says, at this moment.
func Audit(t testing.TB, db *ledger.DB) {
	t.Helper()
	batches, err := db.Batches(t.Context(), 100)
	if err != nil {
		t.Fatalf("listing batches: %v", err)
	}
	for _, b := range batches {
		s, err := db.Status(t.Context(), b.ID)
		if err != nil {
			t.Fatalf("status of %s: %v", b.ID, err)
		}
		if got, want := s.Counts.Sum(), int64(b.Imported); got != want {
			t.Errorf("%s: the till adds up to %d rows, %d were read: %+v", b.ID, got, want, s.Counts)
		}
		var payments int64
		for state, n := range s.Payments {
			payments += n
			if n < 0 {
				t.Errorf("%s: %d payments are %s", b.ID, n, state)
			}
		}
		if want := s.Counts.Sum() - s.Counts.Rejected; payments != want {
			t.Errorf("%s: the payment column adds up to %d, want %d: %v", b.ID, payments, want, s.Payments)
		}
		r, err := db.Verify(t.Context(), b.ID)
		if err != nil {
			t.Fatalf("verifying %s: %v", b.ID, err)
		}
		if r.Differences != 0 {
			t.Errorf("%s: verify found %d differences: %+v", b.ID, r.Differences, r.Found)
		}
	}
}
