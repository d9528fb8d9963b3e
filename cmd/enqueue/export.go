package main

import (
	"io"

	"github.com/spf13/cobra"

	"dunlin/ledger"
	"dunlin/report"
)

const exportHelp = `export writes one line a request: what was done about it, what the payer did,
and by which numbers the providers know it. It holds no names and addresses;
the reference leads back to your own books.

  enqueue export b7 -o b7.csv
  enqueue export b7 --json

The columns messages and receipts list channel:state:reference, separated by
" | ". Cells that a spreadsheet could take for a formula get an apostrophe
before them, also within a cell, where the spreadsheet may split it.`

func (a *app) exportCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "export BATCH", Short: "write one line a request, as CSV", Long: exportHelp,
		Args: args(1, 1, "the batch"), ValidArgsFunction: a.completeBatches,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			id, err := batchArg(args[0])
			if err != nil {
				return err
			}
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			if _, err := db.Batch(ctx, id); err != nil {
				return err
			}
			if a.json {
				return db.Requests(ctx, id, ledger.RequestFilter{}, func(l ledger.RequestLine) error { return a.object(a.requestJSON(l)) })
			}
			return a.output(path, func(w io.Writer) error {
				return report.Export(ctx, w, db, id)
			})
		},
	}
	cmd.Flags().StringVarP(&path, "output", "o", "", "write to a new file")
	return cmd
}
