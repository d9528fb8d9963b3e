package batchfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// jsonSource reads a JSON array of flat objects, or one object a line (NDJSON). It finds the borders of the elements
// itself: so a broken one costs only itself, none is held in memory beyond the cap, and a file that was cut off is told
// from a whole one.
type jsonSource struct {
	in    *bufio.Reader
	lines bool // NDJSON
	line  int  // lines read so far
	count int  // elements read so far
	begun bool
	ended bool
	keys  []string
	index map[string]int
	buf   []byte
}

func newJSON(in *bufio.Reader, lines bool) *jsonSource {
	return &jsonSource{in: in, lines: lines, index: map[string]int{}}
}

func (s *jsonSource) header() []string { return s.keys }
func (s *jsonSource) close() error     { return nil }

func (s *jsonSource) next() (item, error) {
	s.buf = s.buf[:0]
	var rec item
	var size int
	var err error
	if s.lines {
		size, err = s.readLine()
		rec.line = s.line
	} else {
		size, err = s.readElement()
		rec.line = s.count
	}
	switch {
	case err != nil:
		return rec, err
	case size > maxRecord:
		s.buf = nil
		rec.problem = &problem{"size", "", "the record is larger than 1 MiB", "shorten it"}
	default:
		s.decode(&rec)
	}
	return rec, nil
}

// readLine reads the next line that is not empty.
func (s *jsonSource) readLine() (size int, err error) {
	for {
		part, err := s.in.ReadSlice('\n')
		if size += len(part); size <= maxRecord {
			s.buf = append(s.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return size, fmt.Errorf("reading line %d: %w", s.line+1, err)
		case err != nil && size == 0:
			return 0, io.EOF
		}
		s.line++
		if len(bytes.TrimSpace(s.buf)) > 0 {
			return size, nil
		}
		s.buf, size = s.buf[:0], 0
	}
}

// readElement reads up to the comma or bracket that ends the next element of the array.
func (s *jsonSource) readElement() (size int, err error) {
	if s.ended {
		return 0, s.expectEnd()
	}
	if !s.begun {
		s.begun = true
		if _, err := s.in.ReadSlice('['); err != nil { // detecting the format has seen it
			return 0, fmt.Errorf("reading the array's start: %w", err)
		}
	}
	depth, inString, escaped, seen := 0, false, false, false
	for {
		b, err := s.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return 0, &FileError{s.count + 1, "the file ends inside its array", "it was cut off, or a string in it is not closed"}
		case err != nil:
			return 0, fmt.Errorf("reading element %d: %w", s.count+1, err)
		case escaped:
			escaped = false
		case inString:
			escaped, inString = b == '\\', b != '"'
		case b == '"':
			inString = true
		case b == '{' || b == '[':
			depth++
		case depth > 0 && (b == '}' || b == ']'):
			depth--
		case depth == 0 && b == ']':
			s.ended = true
			if !seen && s.count == 0 {
				return 0, s.expectEnd()
			}
			s.count++
			return size, nil
		case depth == 0 && b == ',':
			s.count++
			return size, nil
		}
		seen = seen || !isSpace(b)
		if size++; size <= maxRecord {
			s.buf = append(s.buf, b)
		}
	}
}

// expectEnd gives io.EOF if nothing but blanks is left.
func (s *jsonSource) expectEnd() error {
	for {
		b, err := s.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return fmt.Errorf("reading the array's end: %w", err)
		case !isSpace(b):
			return &FileError{0, "something follows after the end of the array", "a JSON file holds one array; for one object a line, begin with an object"}
		}
	}
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' }

// decode takes the object in buf apart. Numbers keep their digits: they never pass through a float.
func (s *jsonSource) decode(rec *item) {
	dec := json.NewDecoder(bytes.NewReader(s.buf))
	var names, values []string
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		rec.problem = notJSON()
		return
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			rec.problem = notJSON()
			return
		}
		name, _ := key.(string)
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			rec.problem = notJSON()
			return
		}
		value, flat := plain(raw)
		if !flat && rec.problem == nil {
			rec.problem = &problem{"json", name, "the value is an object or a list", "use one plain value for each key"}
		}
		names, values = append(names, strings.TrimSpace(name)), append(values, value)
	}
	if _, err := dec.Token(); err != nil {
		rec.problem = notJSON()
		return
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		rec.problem = notJSON()
		return
	}
	s.place(rec, names, values)
}

// place puts the values under their columns; new keys become new columns.
func (s *jsonSource) place(rec *item, names, values []string) {
	fresh := 0
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] || checkHeaderName(name, 0) != nil {
			rec.problem = &problem{"json", "", "a key is there twice, or is not a usable name", "name every key once, in plain text"}
			return
		}
		seen[name] = true
		if _, known := s.index[name]; !known {
			fresh++
		}
	}
	if len(s.keys)+fresh > maxColumns {
		rec.problem = &problem{"json", "", fmt.Sprintf("the file has more than %d different keys", maxColumns), "use the same keys in every row"}
		return
	}
	for _, name := range names {
		if _, known := s.index[name]; !known {
			s.index[name] = len(s.keys)
			s.keys = append(s.keys, name)
		}
	}
	rec.cells = make([]string, len(s.keys))
	for i, name := range names {
		rec.cells[s.index[name]] = values[i]
	}
}

// plain is the text of a string, number, boolean or null; flat is false for anything else.
func plain(raw json.RawMessage) (text string, flat bool) {
	switch raw[0] {
	case '{', '[':
		return string(raw), false
	case '"':
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", false
		}
		return text, true
	case 'n':
		return "", true
	}
	return string(raw), true
}

func notJSON() *problem {
	return &problem{"json", "", "this is not a JSON object", "write each row as one object, for NDJSON on one line"}
}
