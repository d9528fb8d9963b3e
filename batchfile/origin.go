package batchfile

import (
	"slices"
	"strings"

	"dunlin/paylink"
)

// Raw is the record behind what Next gave last, in the columns of Header; cells beyond them follow. It is the caller's.
func (r *Reader) Raw() []string {
	if r.at == 0 || r.at > len(r.chunk.items) {
		return nil
	}
	return slices.Clone(r.chunk.items[r.at-1].cells)
}

// IsErrorFile reports whether the file has the columns of one that WriteErrors wrote.
func (r *Reader) IsErrorFile() bool { return r.escaped }

// Origin names the rejected row that the record behind what Next gave last was made from, if this is an error file whose
// column error begins with that row's id, as in "b12.34: the amount is zero"; else it is 0.
func (r *Reader) Origin() paylink.RequestID {
	at, ok := r.columns.at["error"]
	if !r.escaped || !ok || r.at == 0 || r.at > len(r.chunk.items) {
		return 0
	}
	cells := r.chunk.items[r.at-1].cells
	if at >= len(cells) {
		return 0
	}
	id, _, found := strings.Cut(cells[at], ": ")
	if !found {
		return 0
	}
	origin, err := paylink.ParseRequestID(strings.TrimSpace(id))
	if err != nil {
		return 0
	}
	return origin
}
