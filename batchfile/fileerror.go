package batchfile

import (
	"fmt"

	"dunlin/paylink"
)

// FileError says why a file as a whole cannot be used, and what to do about it. Both texts are for the person who made
// the file.
type FileError struct {
	// Line is the line where the trouble starts (the element for a JSON array); 0 when it concerns the whole file.
	Line         int
	Reason, Hint string
}

func (e *FileError) Error() string {
	if e.Line == 0 {
		return e.Reason + "; " + e.Hint
	}
	return fmt.Sprintf("line %d: %s; %s", e.Line, e.Reason, e.Hint)
}

// Unwrap makes errors.Is(err, paylink.ErrInvalid) hold.
func (e *FileError) Unwrap() error { return paylink.ErrInvalid }

// problem is one thing wrong with one record. column is one of our names, or the file's own header for an extra.
type problem struct{ kind, column, reason, hint string }
