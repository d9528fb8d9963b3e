package intake_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/templates"
)

// BenchmarkImport reports rows per second of a whole import, over every channel and both languages.
func BenchmarkImport(b *testing.B) {
	const rows = 20_000
	dir := b.TempDir()
	path := filepath.Join(dir, "payers.csv")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprintln(f, "reference,amount,currency,name,email,phone,channels,language,country,description")
	channels := []string{"email", "sms", "email+sms", "whatsapp>sms"}
	for i := range rows {
		fmt.Fprintf(f, "INV-%07d,%d.250,KWD,Payer Number %d,payer%d@example.com,+9655%07d,%s,%s,KW,Invoice for the month %d\n",
			i, 1+i%900, i, i, i, channels[i%4], []string{"ar", "en", "en"}[i%3], i%12)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	texts, err := templates.Load("")
	if err != nil {
		b.Fatal(err)
	}
	set := intake.Settings{Merchant: "Dunlin", ProviderLink: "https://pay.example.com/b/aB3dE6", Texts: texts, Now: time.Now()}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		db, err := ledger.Open(b.Context(), "sqlite:"+filepath.Join(dir, fmt.Sprintf("ledger%d.db", n)), ledger.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, p, err := intake.Import(b.Context(), db, set, intake.Order{Path: path, Actor: "bench"}); err != nil || p.Good != rows {
			b.Fatalf("got %d good rows, %v", p.Good, err)
		}
		db.Close()
		n++
	}
	b.ReportMetric(float64(n)*rows/b.Elapsed().Seconds(), "rows/s")
}
