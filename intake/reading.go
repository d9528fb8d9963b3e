package intake

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"dunlin/batchfile"
	"dunlin/paylink"
)

// Reading says how a file is to be read and what its batch is to be. Its JSON is stored with the batch: a file that is
// sent again after a killed send must be read as it was the first time.
type Reading struct {
	Currency     string               `json:"currency,omitempty"`
	Country      string               `json:"country,omitempty"`
	Language     string               `json:"language,omitempty"`
	Timezone     string               `json:"timezone,omitempty"`
	Routes       paylink.Routes       `json:"channels,omitempty"`
	NumberFormat paylink.NumberFormat `json:"number_format,omitempty"`
	Delimiter    string               `json:"delimiter,omitempty"` // one character; empty = detected
	Encoding     string               `json:"encoding,omitempty"`
	Sheet        string               `json:"sheet,omitempty"`
	// Mapping names our column for a header of the file; an empty value keeps the column as an extra.
	Mapping map[string]string `json:"mapping,omitempty"`
	// AllowRepeat takes rows whose debt is already being asked for, here or in an earlier batch.
	AllowRepeat bool `json:"allow_repeat,omitempty"`
	// Canary and BrakePercent are those of the batch; 0 = none, and the ledger's own brake.
	Canary       int `json:"canary,omitempty"`
	BrakePercent int `json:"brake_percent,omitempty"`
	// Receipts sends who has paid a receipt.
	Receipts bool `json:"receipts,omitempty"`
}

// Options is the form in which the ledger keeps a Reading.
func (r Reading) Options() (string, error) {
	b, err := json.Marshal(r)
	return string(b), err
}

func (r Reading) batchfile(name string, now time.Time) (batchfile.Options, error) {
	opt := batchfile.Options{
		Defaults: batchfile.Defaults{Currency: r.Currency, Country: r.Country, Language: r.Language, Timezone: r.Timezone, Routes: r.Routes},
		Encoding: r.Encoding, Mapping: r.Mapping, Sheet: r.Sheet, NumberFormat: r.NumberFormat, Name: name, Now: now,
	}
	switch d := []rune(r.Delimiter); {
	case r.Delimiter == `\t` || r.Delimiter == "tab":
		opt.Delimiter = '\t'
	case len(d) == 1:
		opt.Delimiter = d[0]
	case len(d) > 1:
		return opt, fmt.Errorf("delimiter %q is more than one character: %w", r.Delimiter, paylink.ErrInvalid)
	}
	return opt, nil
}

// source is an open payer file.
type source struct {
	*batchfile.Reader
	name string
	file *os.File
	size int64
	at   *position
}

// position is how far the file has been read. Reading runs ahead of what is given out by a buffer's size, which a
// progress bar forgives.
type position struct {
	file io.ReaderAt
	end  atomic.Int64
}

func (p *position) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.file.ReadAt(b, off)
	p.end.Store(off + int64(n))
	return n, err
}

func open(path, name string, r Reading, now time.Time) (*source, error) {
	if name == "" {
		name = filepath.Base(path)
	}
	opt, err := r.batchfile(name, now)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the payer file: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &batchfile.FileError{Reason: "this is not a regular file", Hint: "save it to disk first: it is read more than once"}
	}
	if err != nil {
		_ = f.Close() // only read from
		return nil, err
	}
	s := &source{name: opt.Name, file: f, size: info.Size(), at: &position{file: f}}
	if s.Reader, err = batchfile.NewReader(s.at, s.size, opt); err != nil {
		_ = f.Close() // only read from
		return nil, err
	}
	return s, nil
}

func (s *source) Close() error {
	err := s.Reader.Close()
	if e := s.file.Close(); err == nil {
		err = e
	}
	return err
}
