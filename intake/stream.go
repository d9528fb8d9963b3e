package intake

import (
	"context"
	"errors"
	"io"

	"dunlin/batchfile"
	"dunlin/ledger"
	"dunlin/paylink"
)

// A chunk is what is written in one transaction: enough rows that its commit does not count, few enough that it is over
// in some tens of milliseconds and that a few chunks in memory do not matter.
const (
	chunkRows  = 4000
	chunkBytes = 4 << 20
)

// stream reads the rows of a file in chunks and hands them to out, which it closes at the end.
func stream(ctx context.Context, r *source, out chan<- []ledger.ImportRow) error {
	defer close(out)
	for done := false; !done; {
		chunk := make([]ledger.ImportRow, 0, chunkRows)
		for size := 0; len(chunk) < chunkRows && size < chunkBytes; {
			row, rej, err := r.Next()
			if errors.Is(err, io.EOF) {
				done = true
				break
			}
			if err != nil {
				return err
			}
			for _, cell := range r.Raw() {
				size += len(cell)
			}
			chunk = append(chunk, importRow(r.Reader, row, rej))
		}
		if len(chunk) == 0 {
			break
		}
		select {
		case out <- chunk:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func importRow(r *batchfile.Reader, row *paylink.Row, rej *paylink.Rejection) ledger.ImportRow {
	if rej != nil {
		return ledger.ImportRow{Rejection: rej}
	}
	if row.Recurrence != nil {
		// Sending it once would leave a merchant waiting for the next time.
		return ledger.ImportRow{Rejection: &paylink.Rejection{
			Number: row.Number, Line: row.Line, Column: headerOf(r, "rule"), Kind: "recurrence",
			Reason: "the row asks to be repeated " + row.Recurrence.Rule + ", and a batch is sent once",
			Hint:   "empty rule, start and end_recurring_period to ask once", Raw: r.Raw(),
		}}
	}
	return ledger.ImportRow{Row: row, Raw: r.Raw(), DebtKey: batchfile.DebtKey(row)}
}

func headerOf(r *batchfile.Reader, as string) string {
	for _, c := range r.Columns() {
		if c.As == as {
			return c.Name
		}
	}
	return ""
}

// look reads what must be known of a file before its batch is made: its whole header, which a JSON file shows only to
// who reads it to its end, and the batch whose error file it is, if it is one.
func look(path, name string, rd Reading, s Settings) (header []string, parent paylink.BatchID, err error) {
	r, err := open(path, name, rd, s.Now)
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	json := r.Format() == "json" || r.Format() == "ndjson"
	mended := headerOf(r.Reader, "error") != "" && headerOf(r.Reader, "hint") != ""
	for json || (mended && parent == 0) {
		row, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		if row != nil && row.Origin != 0 && parent == 0 {
			parent = row.Origin.Batch()
		}
	}
	return r.Header(), parent, nil
}
