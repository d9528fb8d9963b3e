package batchfile

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"dunlin/paylink"
)

// WriteErrors writes rejected rows as a CSV file in the user's own columns, with the columns error and hint behind them,
// to be mended and sent again. It is UTF-8 with a byte order mark, which is how Excel knows.
//
// A cell that a spreadsheet could take for a formula (it begins with = + - @, a tab, a newline, or a full-width form of
// those signs) gets an apostrophe before it, and so does a cell that has apostrophes before such a sign. [Reader] takes
// exactly one away again in a file that has both columns, so every cell comes back as it was: a phone number as
// '+96550001234 is read as +96550001234, and so is one that somebody typed without the apostrophe. Of an earlier error
// file the old columns error and hint are left out. Cells beyond the header follow behind the hint; a row with too few
// is filled up with empty ones.
//
// next gives the rejections, ok false at the end.
func WriteErrors(w io.Writer, header []string, next func() (rej *paylink.Rejection, ok bool, err error)) error {
	out := bufio.NewWriter(w)
	var own []int
	var cells []string
	for i, name := range header {
		if norm := normalizeHeader(name); norm != "error" && norm != "hint" {
			own = append(own, i)
			cells = append(cells, name)
		}
	}
	_, _ = out.WriteString("\ufeff") // a bufio.Writer keeps its first error for Flush
	writeRecord(out, append(cells, "error", "hint"))
	for {
		rej, ok, err := next()
		if err != nil {
			return fmt.Errorf("reading rejected rows: %w", err)
		}
		if !ok {
			break
		}
		cells = cells[:0]
		for _, i := range own {
			cell := ""
			if i < len(rej.Raw) {
				cell = rej.Raw[i]
			}
			cells = append(cells, cell)
		}
		cells = append(cells, rej.Reason, rej.Hint)
		if len(rej.Raw) > len(header) {
			cells = append(cells, rej.Raw[len(header):]...)
		}
		writeRecord(out, cells)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the error file: %w", err)
	}
	return nil
}

// isErrorFile reports whether the header is that of a file by WriteErrors, whose cells are escaped.
func isErrorFile(header []string) bool {
	found := 0
	for _, name := range header {
		if norm := normalizeHeader(name); norm == "error" || norm == "hint" {
			found++
		}
	}
	return found == 2
}

func writeRecord(out *bufio.Writer, cells []string) {
	for i, cell := range cells {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		cell = escape(cell)
		if !strings.ContainsAny(cell, ",;\t|\"\r\n") {
			_, _ = out.WriteString(cell)
			continue
		}
		_ = out.WriteByte('"')
		_, _ = out.WriteString(strings.ReplaceAll(cell, `"`, `""`))
		_ = out.WriteByte('"')
	}
	_ = out.WriteByte('\n')
}

func escape(cell string) string {
	if formula(strings.TrimLeft(cell, "'")) {
		return "'" + cell
	}
	return cell
}

func unescape(cell string) string {
	if rest, ok := strings.CutPrefix(cell, "'"); ok && formula(strings.TrimLeft(rest, "'")) {
		return rest
	}
	return cell
}

func formula(cell string) bool {
	if cell == "" {
		return false
	}
	switch cell[0] {
	case '=', '+', '-', '@', '\t', '\r', '\n':
		return true
	}
	for _, wide := range []string{"＝", "＋", "－", "＠"} {
		if strings.HasPrefix(cell, wide) {
			return true
		}
	}
	return false
}
