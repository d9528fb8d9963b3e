package batchfile

import (
	"strings"

	"dunlin/paylink"
)

// Raw is the record behind what Next gave last, in the columns of Header; cells beyond them follow. The ledger may yet
// reject a good row as a repeat, and then its author wants it back. The slice stays as it is when reading goes on.
func (r *Reader) Raw() []string {
	if r.at == 0 {
		return nil
	}
	return r.chunk.items[r.at-1].cells
}

// origin names the rejected row that a record of an error file was made from: its column error begins with that row's
// id, as in "b12.34: the amount is zero". It is 0 in another file, or if somebody wiped that out.
func (r *Reader) origin(cells []string) paylink.RequestID {
	at, ok := r.columns.at["error"]
	if !r.escaped || !ok || at >= len(cells) {
		return 0
	}
	name, _, found := strings.Cut(cells[at], ":")
	if !found {
		return 0
	}
	id, err := paylink.ParseRequestID(strings.TrimSpace(name))
	if err != nil {
		return 0
	}
	return id
}
