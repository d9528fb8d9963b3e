// Command bench measures Dunlin against its own stand-ins, everything in one run on one machine, and writes what it finds
// to docs/benchmarks.md. What is measured runs in processes of its own (this program, called again), so that time on the
// processor and memory are those of the part alone. Nothing is faster or slower than a target by a test: numbers are for
// people, and a miss is reported with its cause.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 2 && os.Args[1] == childFlag {
		err = child(ctx, os.Args[2], os.Args[3:])
	} else {
		err = run(ctx, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the command line sets.
type options struct {
	payers, rows, runs int
	databases          string
	out                string
}

func run(ctx context.Context, args []string) error {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.IntVar(&o.payers, "payers", 10_000, "payers sent end to end")
	fs.IntVar(&o.rows, "rows", 1_000_000, "rows of the large import")
	fs.IntVar(&o.runs, "runs", 3, "runs end to end, of which the median counts")
	fs.StringVar(&o.databases, "databases", "sqlite,postgres", "ledgers to measure; postgres needs the address of a server in BENCH_POSTGRES_URL")
	fs.StringVar(&o.out, "out", filepath.Join("docs", "benchmarks.md"), "where the table is written; empty = nowhere")
	if err := fs.Parse(args); err != nil {
		return err
	}
	b, err := prepare(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.measure(ctx); err != nil {
		return err
	}
	text := b.report()
	fmt.Print("\n", text)
	if o.out == "" {
		return nil
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}
