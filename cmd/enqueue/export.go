package main

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dunlin/ledger"
	"dunlin/paylink"
)

const exportHelp = `export writes one line a request: what was done about it, what the payer did,
and by which numbers the providers know it. It holds no names and addresses;
the reference leads back to your own books.

  enqueue export b7 -o b7.csv
  enqueue export b7 --json

The columns messages and receipts list channel:state:reference, separated by
" | ". Cells that a spreadsheet could take for a formula get an apostrophe
before them, also within a cell, where the spreadsheet may split it.`

// exportHeader is the header of the export. Columns are only ever added at its end.
var exportHeader = []string{"request", "row", "line", "reference", "customer_id", "invoice_number", "dispatch_state", "payment_state", "cause", "code",
	"currency", "amount", "paid", "left", "session", "session_state", "order_no", "messages",
	"refunded", "receipts", "updated_at"}

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
	var messages, receipts []string
	for _, m := range l.Messages {
		text := strings.TrimSuffix(string(m.Channel)+":"+string(m.State)+":"+m.ProviderRef, ":")
		if m.Purpose == paylink.PurposeReceipt {
			receipts = append(receipts, text)
			continue
		}
		messages = append(messages, text)
	}
	refunded := paylink.Money{Minor: l.Refunded, Currency: r.Amount.Currency}
	line := []string{r.ID.String(), strconv.Itoa(r.ID.Row()), strconv.Itoa(r.Line), r.Reference, r.CustomerID, r.InvoiceNumber, string(r.Dispatch), string(r.Payment),
		string(r.Cause), l.Code, r.Amount.Currency, r.Amount.Decimal(), paid(l).Decimal(), left(l).Decimal(), session, state, order, strings.Join(messages, " | "),
		refunded.Decimal(), strings.Join(receipts, " | "), r.UpdatedAt.UTC().Format(time.RFC3339)}
	for i := range line {
		line[i] = inert(line[i])
	}
	return line
}

// inert keeps a spreadsheet from running a cell as a formula (OWASP, "CSV injection"): an apostrophe goes before what would
// begin one, also in a cell that the spreadsheet makes by splitting at a separator of its own (";" where the comma is
// decimal, tabs, "|").
func inert(cell string) string {
	var b strings.Builder
	begins := true
	for i, r := range cell {
		switch r {
		case '\t', '\r', '\n':
			if i == 0 {
				b.WriteByte('\'')
			}
			begins = true
		case ';', '|':
			begins = true
		case ' ', '"', '\'':
		case '=', '+', '-', '@', '＝', '＋', '－', '＠':
			if begins {
				b.WriteByte('\'')
			}
			begins = false
		default:
			begins = false
		}
		b.WriteRune(r)
	}
	return b.String()
}
