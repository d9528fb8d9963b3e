package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"

	"dunlin/paylink"
)

// screen is a stream that people may look at: it knows whether they do, how wide it is and whether it takes colours.
type screen struct {
	io.Writer
	terminal bool
	color    bool
}

func newScreen(w io.Writer, terminal, noColor bool) *screen {
	return &screen{w, terminal, terminal && !noColor}
}

// width is how many characters fit a line; beyond 100 they no longer read well.
func (s *screen) width() int {
	if f, ok := s.Writer.(*os.File); ok && s.terminal {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 20 {
			return min(w, 100)
		}
	}
	return 80
}

func (s *screen) paint(code, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) bold(t string) string   { return s.paint("1", t) }
func (s *screen) red(t string) string    { return s.paint("31", t) }
func (s *screen) green(t string) string  { return s.paint("32", t) }
func (s *screen) yellow(t string) string { return s.paint("33", t) }

// wrap breaks text into lines that fit, each after the indent.
func (s *screen) wrap(indent, text string) string {
	return hang(s.width()-1, indent, indent, text)
}

// hang is wrap with a first line that begins otherwise.
func hang(width int, first, indent, text string) string {
	var b strings.Builder
	b.WriteString(first)
	at, begun := visible(first), false
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ' ' || r == '\n' }) {
		n := visible(word)
		if begun && at+1+n > width {
			b.WriteString("\n" + indent)
			at, begun = visible(indent), false
		}
		if begun {
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at, begun = at+n, true
	}
	return loose(b.String())
}

// glue keeps a number and its noun on one line; loose takes that back.
func glue(text string) string  { return strings.ReplaceAll(text, " ", "\u00a0") }
func loose(text string) string { return strings.ReplaceAll(text, "\u00a0", " ") }

// visible counts the characters that a terminal shows, colours left out.
func visible(s string) int {
	n, escape := 0, false
	for _, r := range s {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			n++
		}
	}
	return n
}

// fit cuts text to n characters and pads it to them.
func fit(text string, n int) string {
	r := []rune(clean(text))
	if len(r) > n {
		r = append(r[:n-1], '…')
	}
	return string(r) + strings.Repeat(" ", n-len(r))
}

// clean takes out what a payer file's text could do to a terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return ' '
		}
		return r
	}, text)
}

// group writes a number for people: 1,234,567.
func group(n int64) string { return groupDigits(strconv.FormatInt(n, 10)) }

func groupDigits(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	whole, frac, point := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + frac
	}
	return sign + whole
}

// money writes an amount for people: KWD 1,234.500.
func money(m paylink.Money) string { return m.Currency + " " + groupDigits(m.Decimal()) }

// count writes "1 row", "2,345 rows".
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return group(n) + " " + noun + "s"
}

// bar draws how much of a whole is done; thousandths beyond 1000 are 1000.
func bar(width, thousandths int) string {
	full := width * min(max(thousandths, 0), 1000) / 1000
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "] " + fmt.Sprintf("%3d %%", min(thousandths, 1000)/10)
}
