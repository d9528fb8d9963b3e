package ledger_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

// BenchmarkImport writes files of 10,000 rows in chunks of 5,000; one operation is one row.
func BenchmarkImport(b *testing.B) {
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			db := ledgertest.Open(b, d.make(b)(b), nil)
			used := cpu()
			b.ResetTimer()
			for done := 0; done < b.N; {
				b.StopTimer()
				f := ledgertest.NewFile(min(10_000, b.N-done), func(f *ledgertest.File) { f.Chunk = 5000 })
				b.StartTimer()
				ledgertest.Send(b, db, f)
				done += len(f.Rows)
			}
			report(b, used, "rows")
		})
	}
}

// BenchmarkLifeOfARow takes payers from the claim of their session to the accepted message, from 64 goroutines, with
// nobody to wait for: what is measured is the ledger. One operation is one payer.
func BenchmarkLifeOfARow(b *testing.B) {
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			db := ledgertest.Open(b, d.make(b)(b), nil)
			batch := ledgertest.Import(b, db, b.N)
			wakes, err := db.Feed(b.Context(), batch, b.N)
			if err != nil {
				b.Fatal(err)
			}
			used := cpu()
			b.ResetTimer()
			var g errgroup.Group
			g.SetLimit(64)
			for _, w := range wakes {
				g.Go(func() error { return oneLife(b, db, w) })
			}
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
			report(b, used, "payers")
			b.StopTimer()
			if s, err := db.Status(b.Context(), batch); err != nil || s.Counts.Sent != int64(b.N) {
				b.Fatalf("got %+v, error %v; want %d sent", s.Counts, err, b.N)
			}
		})
	}
}

func oneLife(b *testing.B, db *ledger.DB, w paylink.Wake) error {
	ctx, opt := b.Context(), paylink.ClaimOptions{Worker: "w", Lease: time.Minute}
	s, err := db.ClaimSession(ctx, paylink.RequestID(w.ID), w.Epoch, opt)
	if err != nil {
		return err
	}
	sends, err := db.RecordSession(ctx, s, paylink.CheckoutSession{ProviderID: fmt.Sprint(w.ID), URL: "https://pay.example/s/abcdef",
		State: paylink.SessionOpen, RawState: "created", ExpiresAt: time.Now().Add(48 * time.Hour)})
	if err != nil {
		return err
	}
	m, _, err := db.ClaimMessage(ctx, paylink.MessageID(sends[0].ID), sends[0].Epoch, opt)
	if err != nil {
		return err
	}
	return errors.Join(
		db.CommitMessage(ctx, m, paylink.CommitOptions{BytesHash: "b", TemplateHash: "t", Timeout: time.Second}),
		db.AcceptMessage(ctx, m, "<0123456789@mail.example>", 0))
}

func report(b *testing.B, used time.Duration, what string) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), what+"/s")
	b.ReportMetric(float64((cpu()-used).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
