package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"dunlin/paylink"
)

// ImportRow is one row of a file on its way into the ledger: exactly one of Row and Rejection is set.
type ImportRow struct {
	Row       *paylink.Row
	Rejection *paylink.Rejection
	// Raw is the record in the file's columns, kept if the ledger rejects the row as a repeat.
	Raw []string
	// DebtKey is the hash of what makes two rows the same debt.
	DebtKey uint64
}

func (r ImportRow) number() int {
	if r.Row != nil {
		return r.Row.Number
	}
	return r.Rejection.Number
}

// ImportOptions say what the importer does about repeats.
type ImportOptions struct {
	// AllowRepeat takes rows whose debt is already open.
	AllowRepeat bool
	Actor       string
}

// ImportChunk writes consecutive rows in one transaction, and says how many of them it rejected as repeats of an open
// debt. Rows that are already in are skipped, so that an import may be resumed from the beginning of the file.
func (db *DB) ImportChunk(ctx context.Context, id paylink.BatchID, rows []ImportRow, opt ImportOptions) (repeats []paylink.Rejection, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	err = db.change(ctx, func(t *tx) error {
		repeats = nil
		var imported int
		var state paylink.BatchState
		var test bool
		if err := t.row(`SELECT imported, state, test FROM batches WHERE id = $1`+t.db.dialect.forUpdate, int64(id)).Scan(&imported, &state, &test); err != nil {
			return notFound(err, id)
		}
		if state != paylink.BatchImporting {
			return fmt.Errorf("batch %s is %s, not importing: %w", id, state, paylink.ErrConflict)
		}
		todo := rows
		for len(todo) > 0 && todo[0].number() <= imported {
			todo = todo[1:]
		}
		if len(todo) == 0 {
			return nil
		}
		for i, r := range todo {
			if r.number() != imported+1+i {
				return fmt.Errorf("row %d follows row %d: %w", r.number(), imported+i, paylink.ErrInvalid)
			}
		}
		open := openDebts{}
		if !opt.AllowRepeat {
			if open, err = t.openDebts(todo, test); err != nil {
				return fmt.Errorf("look for open debts: %w", err)
			}
		}
		var good []ImportRow
		var bad []paylink.Rejection
		for _, r := range todo {
			if r.Rejection != nil {
				bad = append(bad, *r.Rejection)
				continue
			}
			if !opt.AllowRepeat {
				if other, ok := open.find(r); ok {
					rej := repeatOf(r, id, other)
					bad = append(bad, rej)
					repeats = append(repeats, rej)
					continue
				}
				open.add(r.DebtKey, paylink.NewRequestID(id, r.Row.Number), debtOf(r.Row))
			}
			good = append(good, r)
		}
		if err := t.insertRows(id, good); err != nil {
			return fmt.Errorf("write requests: %w", err)
		}
		if err := t.insertRejections(id, bad); err != nil {
			return fmt.Errorf("write rejections: %w", err)
		}
		if err := t.markFixed(id, good, test); err != nil {
			return fmt.Errorf("mark fixed rows: %w", err)
		}
		first, last := todo[0].number(), todo[len(todo)-1].number()
		if err := t.one(`UPDATE batches SET imported = $2 WHERE id = $1 AND imported = $3 AND state = 'importing'`, int64(id), last, imported); err != nil {
			return err
		}
		t.tally(id, tallyDispatch, string(paylink.DispatchPending), int64(len(good)))
		t.tally(id, tallyPayment, string(paylink.PaymentUnpaid), int64(len(good)))
		t.tally(id, tallyRejected, "", int64(len(bad)))
		for _, r := range good {
			t.tally(id, tallyAsked, r.Row.Amount.Currency, r.Row.Amount.Minor)
		}
		if len(good) > 0 {
			t.event(event{batch: id, entity: entityRows, to: string(paylink.DispatchPending), actor: opt.Actor, firstRow: first, lastRow: last, n: int64(len(good))})
		}
		if len(bad) > 0 {
			t.event(event{batch: id, entity: entityRejected, to: "rejected", actor: opt.Actor, firstRow: first, lastRow: last, n: int64(len(bad))})
		}
		return nil
	})
	return repeats, err
}

// The entities of events. entityRows covers a run of rows that moved together.
const (
	entityRows     = "rows"
	entityRejected = "rejected"
	entityRequest  = "request"
	entityPayment  = "payment"
	entitySession  = "session"
	entityMessage  = "message"
	entityGate     = "gate"
)

func repeatOf(r ImportRow, batch paylink.BatchID, other paylink.RequestID) paylink.Rejection {
	rej := paylink.Rejection{Number: r.Row.Number, Line: r.Row.Line, Raw: r.Raw}
	if other.Batch() == batch {
		rej.Kind = paylink.DuplicateKind
		rej.Reason = fmt.Sprintf("the same debt stands in row %d of this file", other.Row())
		rej.Hint = "delete one of the two, or give each its own reference"
	} else {
		rej.Kind = paylink.RepeatKind
		rej.Reason = fmt.Sprintf("the same debt is already being asked for as request %s", other)
		rej.Hint = "delete the row, or send the file with --allow-repeat if the payer really owes it twice"
	}
	return rej
}

// debt is what makes two rows the same debt; the contact and the money count where there is no reference.
type debt struct {
	reference, email, phone string
	amount                  paylink.Money
	due                     string
}

func debtOf(r *paylink.Row) debt {
	if r.Reference != "" {
		return debt{reference: r.Reference}
	}
	return debt{email: r.Email, phone: r.Phone, amount: r.Amount, due: r.DueDate}
}

// openDebts are the open debts by key. The 64-bit key only finds candidates: a match counts when what is behind it is
// equal, so that a collision rejects nobody's row.
type openDebts map[uint64][]openDebt

type openDebt struct {
	id   paylink.RequestID
	debt debt
}

func (o openDebts) add(key uint64, id paylink.RequestID, d debt) {
	o[key] = append(o[key], openDebt{id, d})
}

func (o openDebts) find(r ImportRow) (paylink.RequestID, bool) {
	candidates := o[r.DebtKey]
	if len(candidates) == 0 {
		return 0, false
	}
	want := debtOf(r.Row)
	for _, c := range candidates {
		if c.debt == want {
			return c.id, true
		}
	}
	return 0, false
}

// openDebts finds the debts that are open under the rows' keys, here or in an earlier batch. Debts of test batches and
// others do not know of each other.
func (t *tx) openDebts(rows []ImportRow, test bool) (openDebts, error) {
	found := openDebts{}
	var keys []int64
	for _, r := range rows {
		if r.Row != nil {
			keys = append(keys, int64(r.DebtKey))
		}
	}
	slices.Sort(keys) // neighbours share index pages
	keys = slices.Compact(keys)
	for chunk := range slices.Chunk(keys, 100) {
		args := make([]any, 101)
		for i := range 100 {
			args[i] = chunk[min(i, len(chunk)-1)] // one text for every chunk: the statement is prepared once
		}
		args[100] = test
		err := t.each(openDebtsQuery, args, func(r *sql.Rows) error {
			var key int64
			var id paylink.RequestID
			var row paylink.Row
			if err := r.Scan(&key, &id, &row.Reference, &row.Amount.Minor, &row.Amount.Currency, &row.DueDate, &row.Email, &row.Phone); err != nil {
				return err
			}
			found.add(uint64(key), id, debtOf(&row))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

var openDebtsQuery = `SELECT r.debt_key, r.id, r.reference, r.amount, r.currency, r.due_date, c.email, c.phone
	FROM requests r JOIN contacts c ON c.request_id = r.id
	WHERE (r.payment = 'unpaid' OR r.payment = 'authorized' OR r.payment = 'partially_paid') AND r.debt_key IN (` + placeholders(1, 100) + `)
	AND EXISTS (SELECT 1 FROM batches b WHERE b.id = (r.id >> 32) AND b.test = $101)`

func placeholders(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", first+i)
	}
	return b.String()
}

var (
	requestImport = []string{"id", "line", "dispatch", "payment", "step", "reference", "debt_key", "amount", "currency", "language", "country",
		"timezone", "routes", "due_date", "expires_in", "description", "customer_id", "invoice_number", "attachment_url", "secret", "updated_at"}
	contactImport   = []string{"request_id", "name", "first_name", "last_name", "email", "phone", "extra"}
	rejectionImport = []string{"batch_id", "row_no", "line", "col", "kind", "reason", "hint", "raw"}
)

func (t *tx) insertRows(id paylink.BatchID, rows []ImportRow) error {
	requests := make([][]any, len(rows))
	contacts := make([][]any, len(rows))
	for i, ir := range rows {
		r := ir.Row
		extra := "{}"
		if len(r.Extra) > 0 {
			b, err := json.Marshal(r.Extra)
			if err != nil {
				return err
			}
			extra = string(b)
		}
		rid := int64(paylink.NewRequestID(id, r.Number))
		requests[i] = []any{rid, int64(r.Line), string(paylink.DispatchPending), string(paylink.PaymentUnpaid), "none", r.Reference,
			int64(ir.DebtKey), r.Amount.Minor, r.Amount.Currency, r.Language, r.Country, r.Timezone, r.Routes.String(), r.DueDate,
			int64(r.ExpiresIn / time.Second), r.Description, r.CustomerID, r.InvoiceNumber, r.AttachmentURL, paylink.NewSecret(), t.now}
		contacts[i] = []any{rid, r.Name, r.FirstName, r.LastName, r.Email, r.Phone, extra}
	}
	if err := t.bulk("requests", requestImport, requests); err != nil {
		return err
	}
	return t.bulk("contacts", contactImport, contacts)
}

func (t *tx) insertRejections(id paylink.BatchID, rejections []paylink.Rejection) error {
	rows := make([][]any, len(rejections))
	for i, r := range rejections {
		raw, err := json.Marshal(r.Raw)
		if err != nil {
			return err
		}
		rows[i] = []any{int64(id), int64(r.Number), int64(r.Line), r.Column, r.Kind, r.Reason, r.Hint, string(raw)}
	}
	return t.bulk("rejections", rejectionImport, rows)
}

// bulk inserts many rows: COPY on PostgreSQL; on SQLite, where there is no round trip to spare, one prepared statement
// again and again, which is faster than statements of several rows.
func (t *tx) bulk(table string, columns []string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	if t.db.dialect == &postgresDialect {
		return t.copyIn(table, columns, rows)
	}
	query := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table, strings.Join(columns, ", "), placeholders(1, len(columns)))
	for _, r := range rows {
		if _, err := t.exec(query, r...); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) copyIn(table string, columns []string, rows [][]any) error {
	conn, ok := t.q.(*pgTx)
	if !ok {
		return fmt.Errorf("copy into %s outside a PostgreSQL transaction", table)
	}
	return conn.conn.Raw(func(driver any) error {
		_, err := driver.(*stdlib.Conn).Conn().CopyFrom(t.ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
		return err
	})
}

// markFixed notes on the rejected rows of an earlier batch which request took their place. An error file names them.
func (t *tx) markFixed(id paylink.BatchID, rows []ImportRow, test bool) error {
	for _, r := range rows {
		if r.Row.Origin == 0 {
			continue
		}
		if _, err := t.exec(`UPDATE rejections SET fixed_in = $3 WHERE batch_id = $1 AND row_no = $2 AND fixed_in IS NULL
			AND EXISTS (SELECT 1 FROM batches b WHERE b.id = $1 AND b.test = $4)`,
			int64(r.Row.Origin.Batch()), r.Row.Origin.Row(), int64(paylink.NewRequestID(id, r.Row.Number)), test); err != nil {
			return err
		}
	}
	return nil
}
