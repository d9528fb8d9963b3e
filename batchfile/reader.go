package batchfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dunlin/paylink"
)

// Defaults are what a row leaves out.
type Defaults struct {
	Currency string // ISO 4217; empty = each row must say
	Country  string // ISO 3166-1 alpha-2; empty = numbers need their country code
	Language string // "en" or "ar"; empty = "en"
	Timezone string // IANA
	Routes   paylink.Routes
}

// Options say how to read a file. The zero value detects all that can be detected.
type Options struct {
	Defaults     Defaults
	NumberFormat paylink.NumberFormat
	// Delimiter of CSV; 0 = the one that makes sense of the header.
	Delimiter rune
	// Encoding of text: utf-8, utf-16, windows-1256 or latin-1; empty = detected.
	Encoding string
	// Sheet of a workbook; empty = the first.
	Sheet string
	// Name is the file's name: its ending decides where the content leaves the format open.
	Name string
	// Now bounds due dates to ten years around it, against slips such as 2207; zero = no bound.
	Now time.Time
	// Mapping names our column for a header of the file; an empty value keeps the column as an extra.
	Mapping map[string]string
	// AnyHeader opens a file although columns are missing without which no row can be good: to show its header to who
	// can say what the columns mean.
	AnyHeader bool
}

// Reader reads one payer file. It is for one goroutine.
type Reader struct {
	src     source
	format  string
	columns *columns
	check   *checker
	escaped bool // an error file of ours: see WriteErrors
	chunk   chunk
	at      int   // next item of chunk
	number  int   // rows given so far
	err     error // what ends the reading, given once the chunk is through
	closers []io.Closer
}

// Open opens a payer file. Errors that concern the file as a whole are a [*FileError].
func Open(path string, opt Options) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the payer file: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &FileError{0, "this is not a regular file", "save it to disk first: it is read more than once"}
	}
	if err != nil {
		_ = f.Close() // only read from
		return nil, err
	}
	if opt.Name == "" {
		opt.Name = filepath.Base(path)
	}
	r, err := NewReader(f, info.Size(), opt)
	if err != nil {
		_ = f.Close() // only read from
		return nil, err
	}
	r.closers = append(r.closers, f)
	return r, nil
}

// NewReader reads a payer file of size bytes from f, which stays the caller's to close.
func NewReader(f io.ReaderAt, size int64, opt Options) (*Reader, error) {
	check, err := newChecker(opt)
	if err != nil {
		return nil, err
	}
	cols, err := newColumns(opt.Mapping)
	if err != nil {
		return nil, err
	}
	r := &Reader{columns: cols, check: check}
	check.columns = cols
	line, err := r.openSource(f, size, opt)
	if err != nil {
		return nil, err
	}
	if err := r.begin(line, opt); err != nil {
		_ = r.src.close() // the error at hand says more
		return nil, err
	}
	return r, nil
}

// begin understands the header. JSON has none: there the first rows are read to see their keys.
func (r *Reader) begin(line int, opt Options) error {
	if r.format == "json" || r.format == "ndjson" {
		r.fill()
		return nil
	}
	head := r.src.header()
	if r.escaped = isErrorFile(head); r.escaped {
		for i := range head {
			head[i] = unescape(head[i])
		}
	}
	if err := r.columns.add(head, line); err != nil {
		return err
	}
	if x, ok := r.src.(*xlsxSource); ok {
		x.understand(r.columns)
	}
	if opt.AnyHeader {
		return nil
	}
	return r.columns.require(opt.Defaults, line)
}

// openSource finds the format by content, then by the file's ending. line is that of the header.
func (r *Reader) openSource(f io.ReaderAt, size int64, opt Options) (line int, err error) {
	magic := make([]byte, min(size, 8))
	if _, err := f.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("reading the file's start: %w", err)
	}
	if bytes.HasPrefix(magic, []byte("PK\x03\x04")) {
		x, line, err := newXLSX(f, size, opt.Sheet)
		if err != nil {
			return 0, err
		}
		r.src, r.format = x, "xlsx"
		return line, nil
	}
	if err := refuseBinary(magic); err != nil {
		return 0, err
	}
	text, err := openText(f, size, opt.Encoding)
	if err != nil {
		return 0, err
	}
	sample, err := text.Peek(bufferSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("reading the file's start: %w", err)
	}
	first := bytes.TrimLeft(sample, " \t\r\n")
	ending := strings.ToLower(filepath.Ext(opt.Name))
	switch {
	case ending == ".csv" || ending == ".tsv" || ending == ".txt":
	case bytes.HasPrefix(first, []byte("[")):
		r.src, r.format = newJSON(text, false), "json"
		return 0, nil
	case bytes.HasPrefix(first, []byte("{")):
		r.src, r.format = newJSON(text, true), "ndjson"
		return 0, nil
	case ending == ".json" || ending == ".ndjson" || ending == ".jsonl":
		return 0, &FileError{0, "this is not JSON", "begin with [ for an array, or with { for one object a line"}
	}
	c, line, err := newCSV(text, opt.Delimiter, r.columns.score)
	if err != nil {
		return 0, err
	}
	r.src, r.format = c, "csv"
	return line, nil
}

func refuseBinary(magic []byte) error {
	for _, m := range []struct{ magic, reason, hint string }{
		{"\xd0\xcf\x11\xe0", "this is an old Excel workbook (.xls), or one with a password", "save it as .xlsx without a password, or as CSV"},
		{"\x1f\x8b", "the file is compressed (gzip)", "unpack it first"},
		{"%PDF", "this is a PDF", "send the table as CSV or XLSX"},
	} {
		if bytes.HasPrefix(magic, []byte(m.magic)) {
			return &FileError{0, m.reason, m.hint}
		}
	}
	return nil
}

// Format is csv, xlsx, json or ndjson.
func (r *Reader) Format() string { return r.format }

// Header is the file's own columns in order; for JSON the keys met so far, which may become more.
func (r *Reader) Header() []string { return slices.Clone(r.src.header()) }

// Columns says how each column of Header was understood.
func (r *Reader) Columns() []Column { return slices.Clone(r.columns.list) }

// Next gives the next row of the file, either as row or as rej; io.EOF after the last. A [*FileError] means that the
// rest of the file cannot be read: rows given before it must not be used either. After an error it gives the same again.
func (r *Reader) Next() (row *paylink.Row, rej *paylink.Rejection, err error) {
	if r.at == len(r.chunk.items) {
		if r.err == nil {
			r.fill()
		}
		if r.at == len(r.chunk.items) {
			return nil, nil, r.err
		}
	}
	it, rec := &r.chunk.items[r.at], r.chunk.records[r.at]
	r.at++
	r.number++
	if row = r.check.row(it, rec); row != nil {
		row.Number, row.Line, row.Origin = r.number, it.line, r.origin(it.cells)
		return row, nil, nil
	}
	rej = r.check.rejection()
	rej.Number, rej.Line, rej.Raw = r.number, it.line, it.cells
	return nil, rej, nil
}

// fill reads the next chunk and has gocsv map it. At the end, or at what ends the reading, it sets err.
func (r *Reader) fill() {
	r.chunk.items, r.at = r.chunk.items[:0], 0
	size := 0
	for r.err == nil && len(r.chunk.items) < chunkRows && size < chunkBytes {
		it, err := r.src.next()
		switch {
		case err != nil:
			r.err = err
			continue
		case it.problem == nil && r.format != "json" && r.format != "ndjson" && blank(it.cells):
			continue
		case r.number+len(r.chunk.items) == paylink.MaxRows:
			r.err = &FileError{it.line, "the file has too many rows", "split it"}
			continue
		}
		for i, cell := range it.cells {
			size += len(cell)
			if r.escaped {
				it.cells[i] = unescape(cell)
			}
		}
		r.chunk.items = append(r.chunk.items, it)
	}
	if len(r.src.header()) > len(r.columns.list) {
		if err := r.columns.add(r.src.header(), 0); err != nil {
			r.err, r.chunk.items = err, r.chunk.items[:0]
			return
		}
	}
	if len(r.chunk.items) == 0 {
		return
	}
	r.chunk.names = r.columns.gocsv
	if err := r.chunk.bind(); err != nil {
		r.err, r.chunk.items = fmt.Errorf("mapping rows to columns: %w", err), r.chunk.items[:0]
	}
}

// Close frees what the reader holds: temporary files of a workbook, and the file if Open opened it.
func (r *Reader) Close() error {
	err := r.src.close()
	for _, c := range r.closers {
		err = errors.Join(err, c.Close())
	}
	r.closers = nil
	return err
}

// Hash is the SHA-256 of the file's bytes in hexadecimal: the same content is the same batch.
func Hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("opening the payer file: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hashing the payer file: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
