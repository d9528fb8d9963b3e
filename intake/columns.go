package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"dunlin/batchfile"
)

// Preview is the beginning of a file: what a person needs to say what its columns mean.
type Preview struct {
	Format  string
	Columns []Column
	// Samples are the first records, in the columns' order.
	Samples [][]string
	// Wrong is why no row of the file can be good as its columns are matched now; nil = rows may be.
	Wrong *batchfile.FileError
}

// HeaderKey is the same for files with the same columns in the same order: what a person said of one holds for the next.
func (p Preview) HeaderKey() string {
	names := make([]string, len(p.Columns))
	for i, c := range p.Columns {
		names[i] = c.Name
	}
	text, _ := json.Marshal(names) // strings can always be written
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// sampleRows are enough to recognise a column by.
const sampleRows = 3

// Look reads the beginning of a file. A file that cannot be opened as one of payers at all is a [*batchfile.FileError].
func Look(path string, rd Reading, now time.Time) (p Preview, err error) {
	opt, err := rd.batchfile(filepath.Base(path), now)
	if err != nil {
		return p, err
	}
	opt.AnyHeader = true
	r, err := batchfile.Open(path, opt)
	if err != nil {
		return p, err
	}
	p.Format = r.Format()
	for len(p.Samples) < sampleRows {
		if _, _, err := r.Next(); err != nil {
			if _, ok := AsFileError(err); !ok && !errors.Is(err, io.EOF) {
				_ = r.Close() // only read from
				return p, err
			}
			break
		}
		p.Samples = append(p.Samples, r.Raw())
	}
	p.Columns = columnsOf(r.Columns())
	if err := r.Close(); err != nil {
		return p, fmt.Errorf("closing the payer file: %w", err)
	}
	opt.AnyHeader = false
	strict, err := batchfile.Open(path, opt)
	if wrong, ok := AsFileError(err); ok {
		p.Wrong = wrong
		return p, nil
	}
	if err != nil {
		return p, err
	}
	return p, strict.Close()
}

// ColumnNames are the columns that a header can be matched with, as people write them.
func ColumnNames() []string {
	return []string{"reference", "amount", "currency", "name", "first_name", "last_name", "email", "phone", "channels", "language", "country",
		"timezone", "due_date", "expires_in", "description", "customer_id", "invoice_number", "attachment_url"}
}
