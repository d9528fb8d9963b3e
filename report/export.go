package report

import (
	"context"
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"

	"dunlin/ledger"
	"dunlin/paylink"
)

// Requests is what an export reads.
type Requests interface {
	Requests(ctx context.Context, id paylink.BatchID, f ledger.RequestFilter, fn func(ledger.RequestLine) error) error
}

// exportHeader is the header of the export. Columns are only ever added at its end.
func exportHeader() []string {
	return []string{"request", "row", "line", "reference", "customer_id", "invoice_number", "dispatch_state", "payment_state", "cause", "code",
		"currency", "amount", "paid", "left", "session", "session_state", "order_no", "messages",
		"refunded", "receipts", "updated_at"}
}

// Export writes one line a request of a batch as CSV, without names, addresses and links. Cells that a spreadsheet could
// take for a formula get an apostrophe before them. Its memory does not grow with the batch.
func Export(ctx context.Context, w io.Writer, db Requests, id paylink.BatchID) error {
	out := csv.NewWriter(w)
	_ = out.Write(exportHeader()) // a csv.Writer keeps its first error for Error
	err := db.Requests(ctx, id, ledger.RequestFilter{}, func(l ledger.RequestLine) error { return out.Write(exportLine(l)) })
	out.Flush()
	if err == nil {
		err = out.Error()
	}
	return err
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
		string(r.Cause), l.Code, r.Amount.Currency, r.Amount.Decimal(), Paid(l).Decimal(), Left(l).Decimal(), session, state, order, strings.Join(messages, " | "),
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
