package report

import (
	"context"
	"encoding/csv"
	"io"
	"strconv"
	"strings"

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
		"currency", "amount", "paid", "left", "session", "session_state", "order_no", "messages"}
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
	messages := make([]string, len(l.Messages))
	for i, m := range l.Messages {
		messages[i] = strings.TrimSuffix(string(m.Channel)+":"+string(m.State)+":"+m.ProviderRef, ":")
	}
	line := []string{r.ID.String(), strconv.Itoa(r.ID.Row()), strconv.Itoa(r.Line), r.Reference, r.CustomerID, r.InvoiceNumber, string(r.Dispatch), string(r.Payment),
		string(r.Cause), l.Code, r.Amount.Currency, r.Amount.Decimal(), Paid(l).Decimal(), Left(l).Decimal(), session, state, order, strings.Join(messages, " ")}
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
