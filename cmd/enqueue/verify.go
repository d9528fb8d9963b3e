package main

import (
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"dunlin/ledger"
	"dunlin/paylink"
)

const verifyHelp = `verify proves a batch's books: it compares four records that were written
apart, the number of rows that the file had, the events, the rows themselves
and the counters, and checks what must hold besides: one live link a debt, no
message accepted without a provider's reference, and more. Without a batch it
verifies all.

Exit code 1 says that something differs. It changes nothing.`

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify [BATCH]", Short: "prove that the books of a batch add up", Long: verifyHelp,
		Args: args(0, 1, ""), ValidArgsFunction: a.completeBatches,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			var ids []paylink.BatchID
			if len(args) > 0 {
				id, err := batchArg(args[0])
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				list, err := db.Batches(ctx, math.MaxInt32)
				if err != nil {
					return err
				}
				for _, b := range list {
					ids = append(ids, b.ID)
				}
			}
			all := struct {
				Differences int             `json:"differences"`
				Batches     []ledger.Report `json:"batches"`
			}{Batches: []ledger.Report{}}
			for _, id := range ids {
				r, err := db.Verify(ctx, id)
				if err != nil {
					return err
				}
				all.Differences += r.Differences
				all.Batches = append(all.Batches, r)
				if !a.json {
					a.printReport(r)
				}
			}
			switch {
			case a.json && len(args) > 0:
				err = a.object(all.Batches[0])
			case a.json:
				err = a.object(all)
			}
			if err == nil && all.Differences > 0 {
				err = &exitError{exitFailed, fmt.Errorf("%s found", count(int64(all.Differences), "difference"))}
			}
			return err
		},
	}
}

func (a *app) printReport(r ledger.Report) {
	if r.Differences == 0 {
		fmt.Fprintf(a.out, "%s: %s, %s\n", r.Batch, count(r.Rows, "row"), a.out.green("no difference"))
		return
	}
	fmt.Fprintf(a.out, "%s: %s, %s\n", r.Batch, count(r.Rows, "row"), a.out.red(count(int64(r.Differences), "difference")))
	for _, d := range r.Found {
		fmt.Fprintln(a.out, hang(a.out.width()-1, "  ", "      ", fmt.Sprintf("%s %s: %s", d.Kind, d.Where, d.Detail)))
	}
	if more := r.Differences - len(r.Found); more > 0 {
		fmt.Fprintf(a.out, "  … and %s more\n", group(int64(more)))
	}
}
