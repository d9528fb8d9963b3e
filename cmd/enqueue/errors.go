package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"dunlin/paylink"
	"dunlin/report"
)

const errorsHelp = `errors gives the rejected rows of a batch back as a CSV file, in the columns
of the file that was sent, with what is wrong and what to do in two columns at
the end. Mend the cells and send it: the new batch knows which rows it mends,
and they are left out here from then on (--all shows them still). Leave the
column error alone: it begins with the name of the row.

  enqueue errors b7 -o fix.csv
  enqueue send fix.csv

It holds payers' data: a file that -o makes can be read by you alone.`

func (a *app) errorsCommand() *cobra.Command {
	var path string
	var all bool
	cmd := &cobra.Command{
		Use: "errors BATCH", Short: "give back the rejected rows, to be mended and sent again", Long: errorsHelp,
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
			b, err := db.Batch(ctx, id)
			if err != nil {
				return err
			}
			if a.json {
				return db.Rejections(ctx, id, all, func(r paylink.Rejection) error { return a.object(r) })
			}
			st, err := db.Status(ctx, id)
			if err != nil {
				return err
			}
			if st.Counts.Rejected == 0 {
				fmt.Fprintf(a.err, "No row of %s was rejected.\n", id)
				return nil
			}
			var n int64
			err = a.output(path, func(w io.Writer) error {
				n, err = report.Errors(ctx, w, db, b, all)
				return err
			})
			if err == nil && path != "" {
				fmt.Fprintf(a.err, "%s written to %s. Mend them and send that file: enqueue send %s\n", count(n, "row"), path, path)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&path, "output", "o", "", "write to a new file")
	cmd.Flags().BoolVar(&all, "all", false, "with those that were mended and sent")
	return cmd
}

// output writes to a new file that only its owner can read, or to stdout. A file that could not be written whole is
// taken away again.
func (a *app) output(path string, write func(io.Writer) error) error {
	if path == "" || path == "-" {
		return write(a.out)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already; name another file, or delete it first", path)
	}
	if err != nil {
		return err
	}
	err = write(f)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(path) // the error at hand says more
	}
	return err
}
