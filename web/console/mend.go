package console

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/report"
)

const mendOnPage = 10

type mendView struct {
	Batch paylink.Batch
	Rows  []mendRow
	After int
	Next  int
	Left  int64
	Wrong string
}

type mendRow struct {
	paylink.Rejection
	Cells []mendCell
	Fixed bool // mending a cell does not help
}

type mendCell struct {
	Name, Field, Value string
	Bad                bool
}

func cellField(row, i int) string { return fmt.Sprintf("c-%d-%d", row, i) }

func (c *Console) mendPage(w http.ResponseWriter, r *http.Request) error {
	return c.showMend(w, r, http.StatusOK, "")
}

func (c *Console) showMend(w http.ResponseWriter, r *http.Request, status int, wrong string) error {
	id, err := c.batchOf(r)
	if err != nil {
		return err
	}
	v := mendView{Wrong: wrong, After: intOf(r.FormValue("after"))}
	if v.Batch, err = c.Ledger.Batch(r.Context(), id); err != nil {
		return err
	}
	if v.Batch.State == paylink.BatchImporting {
		return say(http.StatusConflict, "The file is still being read.")
	}
	rows, err := c.Ledger.OpenRejections(r.Context(), id, v.After, mendOnPage+1)
	if err != nil {
		return err
	}
	if len(rows) > mendOnPage {
		rows = rows[:mendOnPage]
		v.Next = rows[mendOnPage-1].Number
	}
	for _, rej := range rows {
		row := mendRow{Rejection: rej, Fixed: rej.Kind == paylink.RepeatKind || rej.Kind == paylink.DuplicateKind}
		for i, name := range v.Batch.Header {
			if isNote(name) {
				continue
			}
			cell := mendCell{Name: name, Field: cellField(rej.Number, i), Bad: rej.Column != "" && name == rej.Column}
			if i < len(rej.Raw) {
				cell.Value = rej.Raw[i]
			}
			if told, ok := r.PostForm[cell.Field]; ok {
				cell.Value = told[0]
			}
			row.Cells = append(row.Cells, cell)
		}
		v.Rows = append(v.Rows, row)
	}
	return c.render(w, r, status, "mend", "batches", "Rejected rows of "+v.Batch.Name, v)
}

// isNote reports a column that an error file adds.
func isNote(name string) bool {
	return strings.EqualFold(name, "error") || strings.EqualFold(name, "hint")
}

func intOf(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// mended are rows that a person has mended, as the ledger would give rejected ones.
type mended []paylink.Rejection

func (m mended) Rejections(_ context.Context, _ paylink.BatchID, _ bool, fn func(paylink.Rejection) error) error {
	for _, r := range m {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// mend makes a batch of the rows whose cells were changed: they go out as the error file would, mended, and come in as
// that file does.
func (c *Console) mend(w http.ResponseWriter, r *http.Request) error {
	id, err := c.batchOf(r)
	if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, 4<<20)
	if err := r.ParseForm(); err != nil {
		return say(http.StatusBadRequest, "The form could not be read.")
	}
	b, err := c.Ledger.Batch(r.Context(), id)
	if err != nil {
		return err
	}
	d, err := c.Ledger.Detail(r.Context(), id)
	if err != nil {
		return err
	}
	rd, err := readingOf(d)
	if err != nil {
		return err
	}
	rows, err := c.Ledger.OpenRejections(r.Context(), id, intOf(r.PostForm.Get("after")), mendOnPage)
	if err != nil {
		return err
	}
	var fixed mended
	for _, rej := range rows {
		raw := slices.Clone(rej.Raw)
		for len(raw) < len(b.Header) {
			raw = append(raw, "")
		}
		changed := false
		for i := range b.Header {
			if told, ok := r.PostForm[cellField(rej.Number, i)]; ok && told[0] != raw[i] {
				raw[i], changed = told[0], true
			}
		}
		if changed {
			rej.Raw = raw
			fixed = append(fixed, rej)
		}
	}
	if len(fixed) == 0 {
		return c.showMend(w, r, http.StatusUnprocessableEntity, "No cell was changed. Correct what is marked, then send the rows.")
	}
	path, err := c.mendedFile(r.Context(), b, fixed)
	if err != nil {
		return err
	}
	// What is written is a CSV of our own, whatever the file was.
	rd.Delimiter, rd.Encoding, rd.Sheet, rd.Canary = "", "", "", 0
	child, err := c.bringIn(r, intake.Order{Path: path, Reading: rd}, func() {
		if err := os.RemoveAll(filepath.Dir(path)); err != nil {
			c.Log.Error("a mended file was not removed", "error", err)
		}
	})
	var before *ledger.SentBeforeError
	if errors.As(err, &before) {
		return c.showMend(w, r, http.StatusConflict, "Exactly these rows were sent before, as batch "+before.Batch.String()+".")
	}
	if err != nil {
		if _, ok := intake.AsFileError(err); ok {
			return c.showMend(w, r, http.StatusUnprocessableEntity, fileWords(err))
		}
		return err
	}
	return to(w, "/console/batches/"+child.String(), "mended")
}

func (c *Console) mendedFile(ctx context.Context, b paylink.Batch, rows mended) (path string, err error) {
	dir := filepath.Join(c.Spool, "new-"+rand.Text())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make room in the spool: %w", err)
	}
	name := strings.TrimSuffix(fileName(b.Name), filepath.Ext(b.Name))
	path = filepath.Join(dir, name+"-mended.csv")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("write the mended rows: %w", err)
	}
	_, err = report.Errors(ctx, f, rows, b, true)
	if e := f.Close(); err == nil {
		err = e
	}
	return path, err
}
