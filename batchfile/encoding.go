package batchfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"dunlin/paylink"
)

// bufferSize is both the read buffer and how much of a file is looked at to find delimiter, newline and format.
const bufferSize = 64 << 10

type encoding int

const (
	utf8Encoding encoding = iota
	utf16LE
	utf16BE
	windows1256
	latin1
)

// openText decodes the file to UTF-8, without byte order mark and with \n at line ends (a \r before it stays).
func openText(f io.ReaderAt, size int64, name string) (*bufio.Reader, error) {
	enc, bom, err := chooseEncoding(f, size, name)
	if err != nil {
		return nil, err
	}
	var r io.Reader = io.NewSectionReader(f, bom, size-bom)
	switch enc {
	case utf16LE:
		r = unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewDecoder().Reader(r)
	case utf16BE:
		r = unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewDecoder().Reader(r)
	case windows1256:
		r = charmap.Windows1256.NewDecoder().Reader(r)
	case latin1:
		// Files that call themselves Latin-1 are Windows-1252 in truth: browsers read them so, too.
		r = charmap.Windows1252.NewDecoder().Reader(r)
	}
	text := bufio.NewReaderSize(r, bufferSize)
	sample, err := text.Peek(bufferSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the file's start: %w", err)
	}
	if bytes.IndexByte(sample, '\r') >= 0 && bytes.IndexByte(sample, '\n') < 0 {
		// Excel for Mac still offers "CSV (Macintosh)", whose lines end in \r alone.
		text = bufio.NewReaderSize(carriageReturns{text}, bufferSize)
	}
	return text, nil
}

type carriageReturns struct{ r io.Reader }

func (c carriageReturns) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i, b := range p[:n] {
		if b == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// chooseEncoding gives the encoding and the length of the byte order mark.
func chooseEncoding(f io.ReaderAt, size int64, name string) (encoding, int64, error) {
	start := make([]byte, min(size, 4096))
	if _, err := f.ReadAt(start, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, fmt.Errorf("reading the file's start: %w", err)
	}
	name = strings.ToLower(strings.TrimSpace(name))
	wants16 := name == "utf-16" || name == "utf16"
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")) && (name == "" || name == "utf-8" || name == "utf8"):
		return utf8Encoding, 3, nil
	case bytes.HasPrefix(start, []byte("\xff\xfe")) && (name == "" || wants16):
		return utf16LE, 2, nil
	case bytes.HasPrefix(start, []byte("\xfe\xff")) && (name == "" || wants16):
		return utf16BE, 2, nil
	}
	switch name {
	case "":
		if enc, ok := guessUTF16(start); ok {
			return enc, 0, nil
		}
		c, err := takeCensus(io.NewSectionReader(f, 0, size))
		if err != nil {
			return 0, 0, fmt.Errorf("detecting the encoding: %w", err)
		}
		return c.verdict(), 0, nil
	case "utf-8", "utf8":
		return utf8Encoding, 0, nil
	case "utf-16", "utf16":
		if enc, ok := guessUTF16(start); ok {
			return enc, 0, nil
		}
		return utf16LE, 0, nil
	case "windows-1256", "cp1256":
		return windows1256, 0, nil
	case "latin-1", "latin1", "iso-8859-1", "windows-1252", "cp1252":
		return latin1, 0, nil
	}
	return 0, 0, fmt.Errorf("encoding %q is not one of utf-8, utf-16, windows-1256, latin-1: %w", clip(name), paylink.ErrInvalid)
}

// guessUTF16 recognises UTF-16 without its mark: a header is mostly ASCII, so every other byte is zero.
func guessUTF16(start []byte) (encoding, bool) {
	var zeros [2]int
	for i, b := range start {
		if b == 0 {
			zeros[i%2]++
		}
	}
	enough := len(start) / 5
	switch {
	case len(start) < 4:
		return 0, false
	case zeros[1] > enough && zeros[0] <= zeros[1]/8:
		return utf16LE, true
	case zeros[0] > enough && zeros[1] <= zeros[0]/8:
		return utf16BE, true
	}
	return 0, false
}

// census counts what tells the encodings apart. The whole file is read for it: the first Arabic name may stand in row
// 900,000, and a wrong guess would turn every later name into nonsense that is sent out.
type census struct {
	valid, invalid int // multi-byte UTF-8 sequences, and bytes that belong to none
	high, paired   int // bytes from 0x80 on, and those of them that have such a neighbour
}

func takeCensus(r io.Reader) (census, error) {
	var c census
	buf := make([]byte, bufferSize)
	kept := 0
	var before byte
	for {
		n, err := r.Read(buf[kept:])
		end := kept + n
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return c, err
		}
		i := 0
		for i < end {
			if buf[i] < utf8.RuneSelf {
				before = buf[i]
				i++
				continue
			}
			if !last && !utf8.FullRune(buf[i:end]) {
				break
			}
			ch, width := utf8.DecodeRune(buf[i:end])
			if ch == utf8.RuneError && width == 1 {
				c.invalid++
			} else {
				c.valid++
			}
			for j := i; j < i+width; j++ {
				c.high++
				if before >= 0x80 || (j+1 < end && buf[j+1] >= 0x80) {
					c.paired++
				}
				before = buf[j]
			}
			i += width
		}
		kept = copy(buf, buf[i:end])
		if last {
			return c, nil
		}
	}
}

// verdict lets UTF-8 win when its sequences outnumber the stray bytes four to one: then a few rows are damaged, and are
// rejected as such, which is better than misreading all the others.
func (c census) verdict() encoding {
	switch {
	case c.valid >= 4*c.invalid:
		return utf8Encoding
	case 2*c.paired >= c.high:
		return windows1256
	}
	return latin1
}

func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
