package batchfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxRecord caps one record, so that neither a forgotten quotation mark nor a hostile file fills the memory.
const maxRecord = 1 << 20

// source yields the records of a file in order, the header apart.
type source interface {
	// header is the columns so far; JSON may add to them.
	header() []string
	// next gives io.EOF at the end and a *FileError for what ends the reading early. A record that is bad in itself has
	// its problem set.
	next() (item, error)
	close() error
}

// item is one record as it stands in the file.
type item struct {
	cells   []string
	line    int
	problem *problem
}

// csvSource splits records by RFC 4180, more leniently in one thing: a quotation mark inside an unquoted cell is itself.
// It stands in for encoding/csv because that loses the place after a bad quote, and reads to the end of the file after
// an open one.
type csvSource struct {
	in     *bufio.Reader
	delim  byte
	line   int // lines read so far
	head   []string
	buf    []byte // the record's cells end to end
	ends   []int  // where each ends in buf
	width  int    // bytes of the record in the file
	strict bool   // set once the header is read: cells are counted
}

func newCSV(in *bufio.Reader, delimiter rune, score func([]string) int) (*csvSource, int, error) {
	s := &csvSource{in: in}
	if delimiter > 0x7e || (delimiter != 0 && delimiter < ' ' && delimiter != '\t') || delimiter == '"' {
		return nil, 0, &FileError{0, fmt.Sprintf("%q cannot be a delimiter", delimiter), "use a comma, semicolon, tab or bar"}
	}
	sample, err := in.Peek(bufferSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, fmt.Errorf("reading the header: %w", err)
	}
	s.delim = byte(delimiter)
	if rest, ok := bytes.CutPrefix(sample, []byte("sep=")); ok && len(rest) > 0 {
		// Excel's own way to name the delimiter in the first line.
		if after := bytes.TrimPrefix(rest[1:], []byte("\r")); len(after) > 0 && after[0] == '\n' {
			if s.delim == 0 && strings.IndexByte(",;\t|", rest[0]) >= 0 {
				s.delim = rest[0]
			}
			_, _ = in.Discard(len(sample) - len(after) + 1) // within what Peek has buffered: cannot fail
			s.line++
			sample = after[1:]
		}
	}
	if s.delim == 0 {
		s.delim = detectDelimiter(sample, score)
	}
	for {
		head, err := s.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, 0, &FileError{0, "the file is empty", "the first row must name the columns, the payers follow below"}
		case err != nil:
			return nil, 0, err
		case head.problem != nil:
			return nil, 0, &FileError{head.line, "in the header, " + head.problem.reason, head.problem.hint}
		case blank(head.cells):
			continue
		}
		s.head = trimEmpty(head.cells)
		s.strict = true
		return s, head.line, nil
	}
}

// detectDelimiter takes the delimiter that makes the header's columns known, or failing that, most numerous.
func detectDelimiter(sample []byte, score func([]string) int) byte {
	best, most := byte(','), -1
	for _, delim := range []byte(",;\t|") {
		try := &csvSource{in: bufio.NewReader(bytes.NewReader(sample)), delim: delim}
		for {
			head, err := try.next()
			if err != nil {
				break
			}
			if blank(head.cells) {
				continue
			}
			known, n := score(head.cells), len(head.cells)
			if points := known*maxColumns + min(n, maxColumns-1); points > most && (known > 0 || n > 1) {
				best, most = delim, points
			}
			break
		}
	}
	return best
}

func (s *csvSource) header() []string { return s.head }
func (s *csvSource) close() error     { return nil }

type scanState int

const (
	atStart   scanState = iota // of a cell
	bare                       // in an unquoted cell
	quoted                     // between quotation marks
	quoteSeen                  // after a quotation mark that may be the closing one or half of a doubled one
)

// next reads one record.
func (s *csvSource) next() (item, error) {
	s.buf, s.ends, s.width = s.buf[:0], s.ends[:0], 0
	rec := item{line: s.line + 1}
	state, opened := atStart, 0
	for {
		part, err := s.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return rec, fmt.Errorf("reading line %d: %w", s.line+1, err)
		}
		ended := errors.Is(err, io.EOF)
		if ended && s.width+len(part) == 0 {
			return rec, io.EOF
		}
		newline := len(part) > 0 && part[len(part)-1] == '\n'
		s.width += len(part)
		if newline {
			part = part[:len(part)-1]
		}
		if state, opened, err = s.scan(part, state, opened, &rec); err != nil {
			return rec, err
		}
		if newline {
			s.line++
		}
		switch {
		case state == quoted && newline:
			s.put('\n')
			continue
		case state == quoted && ended:
			return rec, openQuote(opened)
		case !newline && !ended:
			continue
		}
		// A \r before the newline belongs to the line's end; a cell that was quoted has put it aside already.
		if n := len(s.buf); state == bare && n > 0 && s.buf[n-1] == '\r' {
			s.buf = s.buf[:n-1]
		}
		s.endCell()
		s.finish(&rec)
		return rec, nil
	}
}

// scan takes in one piece of a line. opened is the line of the quotation mark last opened.
func (s *csvSource) scan(part []byte, state scanState, opened int, rec *item) (scanState, int, error) {
	for i := 0; i < len(part); {
		switch state {
		case atStart:
			if part[i] == '"' && s.delim != '"' {
				state, opened = quoted, s.line+1
				i++
				continue
			}
			state = bare
		case bare:
			n := bytes.IndexByte(part[i:], s.delim)
			if n < 0 {
				s.put(part[i:]...)
				return state, opened, nil
			}
			s.put(part[i : i+n]...)
			s.endCell()
			state = atStart
			i += n + 1
		case quoted:
			n := bytes.IndexByte(part[i:], '"')
			if n < 0 {
				s.put(part[i:]...)
				return state, opened, nil
			}
			s.put(part[i : i+n]...)
			state = quoteSeen
			i += n + 1
		case quoteSeen:
			switch {
			case part[i] == '"':
				s.put('"')
				state = quoted
				i++
			case part[i] == s.delim:
				s.endCell()
				state = atStart
				i++
			case part[i] == '\r' && i == len(part)-1:
				i++ // of the line's end
			case opened != s.line+1:
				// Text after the closing mark, lines below the opening one: most likely the opening one was never closed and
				// rows were swallowed.
				return state, opened, openQuote(opened)
			default:
				rec.problem = &problem{"quote", "", "there is text after a closing quotation mark",
					"a quotation mark inside a quoted cell must be doubled"}
				s.put('"')
				state = bare
			}
		}
	}
	return state, opened, nil
}

func openQuote(line int) error {
	return &FileError{line, "a quotation mark is opened and never closed", `close it, or write "" for a mark inside a quoted cell`}
}

// put adds to the current cell, unless the record is too long to be kept.
func (s *csvSource) put(b ...byte) {
	if s.width <= maxRecord {
		s.buf = append(s.buf, b...)
	}
}

func (s *csvSource) endCell() {
	if s.width <= maxRecord {
		s.ends = append(s.ends, len(s.buf))
	}
}

// finish turns buffer and ends into the record's cells.
func (s *csvSource) finish(rec *item) {
	if s.width > maxRecord {
		rec.problem = &problem{"size", "", "the record is larger than 1 MiB", "shorten it, or look for a quotation mark that is not closed"}
		s.buf = nil // do not hold on to the memory
		return
	}
	all := string(s.buf)
	rec.cells = make([]string, len(s.ends))
	start := 0
	for i, end := range s.ends {
		rec.cells[i] = all[start:end]
		start = end
	}
	if !s.strict || rec.problem != nil || blank(rec.cells) {
		return
	}
	n := len(rec.cells)
	if n > len(s.head) {
		n = max(len(trimEmpty(rec.cells)), len(s.head))
	}
	if n != len(s.head) {
		rec.problem = miscount(n, len(s.head), s.line-rec.line+1)
	}
}

func miscount(cells, columns, span int) *problem {
	p := &problem{"cells", "", fmt.Sprintf("the row has %d cells, the header has %d", cells, columns),
		"put a cell that holds the delimiter into quotation marks; leave unused cells empty, but keep their delimiters"}
	if span > 1 {
		p.reason += fmt.Sprintf(", and spans %d lines", span)
		p.hint = "look for a quotation mark that is not closed: it swallows the rows below it"
	}
	return p
}

// blank reports whether all cells are empty; such lines are not rows.
func blank(cells []string) bool {
	for _, c := range cells {
		if strings.TrimSpace(c) != "" {
			return false
		}
	}
	return true
}

// trimEmpty drops empty cells from the end: spreadsheets write them for columns that were once used.
func trimEmpty(cells []string) []string {
	n := len(cells)
	for n > 0 && strings.TrimSpace(cells[n-1]) == "" {
		n--
	}
	return cells[:n]
}
