package main

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"dunlin/ledger"
)

const exportHelp = `export writes one line a request: what was done about it, what the payer did,
and by which numbers the providers know it. It holds no names and addresses;
the reference leads back to your own books.

  enqueue export b7 -o b7.csv
  enqueue export b7 --json

Cells that a spreadsheet could take for a formula get an apostrophe before
them.`

// exportHeader is the header of the export. Columns are only ever added at its end.
var exportHeader = []string{"request", "row", "line", "reference", "customer_id", "invoice_number", "dispatch_state", "payment_state", "cause", "code",
	"currency", "amount", "paid", "left", "session", "session_state", "order_no", "messages"}

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
				out := csv.NewWriter(w)
				_ = out.Write(exportHeader) // a csv.Writer keeps its first error for Error
				err := db.Requests(ctx, id, ledger.RequestFilter{}, func(l ledger.RequestLine) error { return out.Write(exportLine(l)) })
				out.Flush()
				if err == nil {
					err = out.Error()
				}
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&path, "output", "o", "", "write to a new file")
	return cmd
}

func exportLine(l ledger.RequestLine) []string {
	r := l.Request
	var session, state, order string
	if l.Session != nil {
		session, state, order = l.Session.ProviderID, string(l.Session.State), l.Session.OrderNo
	}
	messages := make([]string, len(l.Messages))
	for i, m := range l.Messages {
		messages[i] = strings.TrimSuffix(string(m.Channel)+":"+string(m.State)+":"+m.ProviderRef, ":")
	}
	line := []string{r.ID.String(), strconv.Itoa(r.ID.Row()), strconv.Itoa(r.Line), r.Reference, r.CustomerID, r.InvoiceNumber, string(r.Dispatch), string(r.Payment),
		string(r.Cause), l.Code, r.Amount.Currency, r.Amount.Decimal(), paid(l).Decimal(), left(l).Decimal(), session, state, order, strings.Join(messages, " ")}
	for i := range line {
		line[i] = inert(line[i])
	}
	return line
}

// inert keeps a spreadsheet from running a cell as a formula (OWASP, "CSV injection").
func inert(cell string) string {
	if strings.HasPrefix(cell, "＝") || strings.HasPrefix(cell, "＋") || strings.HasPrefix(cell, "－") || strings.HasPrefix(cell, "＠") {
		return "'" + cell
	}
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
