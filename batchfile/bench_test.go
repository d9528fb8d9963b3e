package batchfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"dunlin/batchfile"
	"dunlin/paylink"
)

// payers makes a plain CSV file of n good rows.
func payers(n int, phone func(i int) string) []byte {
	var b bytes.Buffer
	b.WriteString("reference,amount,currency,name,email,phone,channels,language,due_date,description,unit\n")
	for i := range n {
		fmt.Fprintf(&b, "INV-%07d,%d.%03d,KWD,Payer %d,payer%d@example.com,%s,email+whatsapp>sms,en,2027-01-31,Second term fees,Unit %d\n",
			i, 10+i%90, i%1000, i, i, phone(i), i%40)
	}
	return b.Bytes()
}

// liveHeap is what is reachable: the same for a hundred thousand rows and a million.
func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkReader(b *testing.B) {
	for _, bm := range []struct {
		name  string
		rows  int
		phone func(i int) string
	}{
		{"international", 100_000, func(i int) string { return fmt.Sprintf("+9655%07d", i) }},
		{"national", 100_000, func(i int) string { return fmt.Sprintf("5%07d", i) }},
		{"spaced", 100_000, func(i int) string { return fmt.Sprintf("+965 5%03d %04d", i/10000, i%10000) }},
		{"us", 100_000, func(i int) string { return fmt.Sprintf("+1212555%04d", i%10000) }},
		{"million", 1_000_000, func(i int) string { return fmt.Sprintf("+9655%07d", i) }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "payers.csv")
			content := payers(bm.rows, bm.phone)
			if err := os.WriteFile(file, content, 0o600); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(content)))
			content = nil
			var live uint64
			for b.Loop() {
				r, err := batchfile.Open(file, batchfile.Options{
					Defaults: batchfile.Defaults{Country: "KW", Routes: paylink.Routes{{paylink.Email}}},
				})
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for {
					_, rej, err := r.Next()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil || rej != nil {
						b.Fatal(rej, err)
					}
					if n++; n%(bm.rows/2) == 0 {
						live = max(live, liveHeap())
					}
				}
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
				if n != bm.rows {
					b.Fatalf("got %d rows, want %d", n, bm.rows)
				}
			}
			b.ReportMetric(float64(live)/1024, "live-KiB")
			b.ReportMetric(float64(bm.rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
