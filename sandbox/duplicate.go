package sandbox

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
)

// The kinds of duplicates.
const (
	SameMessageID = "mail_message_id" // one mailbox got two mails with one Message-ID: the same mail sent again
	SameMailLink  = "mail_link"       // one mailbox got two mails with one link
	SameMessage   = "message"         // one number got the same link (or, without one, the same text) twice
)

// Duplicate is something that one recipient got more than once.
type Duplicate struct {
	Kind   string `json:"kind"`
	To     string `json:"to"`
	Mark   string `json:"mark"` // the Message-ID, link or text
	Copies int    `json:"copies"`
}

// Duplicates lists what was received more than once, by kind and recipient.
func (s *Sandbox) Duplicates() []Duplicate {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	out := make([]Duplicate, 0, len(s.store.dups.twice))
	for _, d := range s.store.dups.twice {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b Duplicate) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.To, b.To), cmp.Compare(a.Mark, b.Mark))
	})
	return out
}

// fingerprints remembers a million deliveries in a few bytes each: only a hash of what came once, and the thing itself
// from the second time on.
type fingerprints struct {
	seed  maphash.Seed
	once  map[uint64]struct{}
	twice map[uint64]*Duplicate
}

func newFingerprints() fingerprints {
	return fingerprints{maphash.MakeSeed(), map[uint64]struct{}{}, map[uint64]*Duplicate{}}
}

func (f fingerprints) add(kind, to, mark string) {
	if mark == "" {
		return
	}
	var h maphash.Hash
	h.SetSeed(f.seed)
	for _, part := range []string{kind, to, mark} {
		_, _ = h.WriteString(part)
		_ = h.WriteByte(0)
	}
	k := h.Sum64()
	if d, ok := f.twice[k]; ok {
		d.Copies++
	} else if _, ok := f.once[k]; ok {
		f.twice[k] = &Duplicate{kind, to, mark, 2}
	} else {
		f.once[k] = struct{}{}
	}
}

// links finds the web addresses in plain text.
func links(text string) []string {
	var out []string
	for _, seg := range segments(text) {
		if seg.Link {
			out = append(out, seg.Text)
		}
	}
	return out
}

// segment is a stretch of plain text that is, or is not, a link.
type segment struct {
	Text string
	Link bool
}

// segments cuts text into links and what stands between them.
func segments(text string) []segment {
	var out []segment
	for text != "" {
		i := nextLink(text)
		if i < 0 {
			return append(out, segment{Text: text})
		}
		if i > 0 {
			out = append(out, segment{Text: text[:i]})
		}
		n := strings.IndexAny(text[i:], " \t\r\n<>\"'\u00a0")
		if n < 0 {
			n = len(text) - i
		}
		link := strings.TrimRight(text[i:i+n], ".,;:!?)]}،؛")
		out = append(out, segment{link, true})
		text = text[i+len(link):]
	}
	return out
}

func nextLink(text string) int {
	for from := 0; ; {
		i := strings.Index(text[from:], "http")
		if i < 0 {
			return -1
		}
		at := from + i
		for _, scheme := range []string{"https://", "http://"} {
			if rest, ok := strings.CutPrefix(text[at:], scheme); ok && rest != "" && !strings.ContainsAny(rest[:1], " \t\r\n.,;:!?)]}<>\"'") {
				return at
			}
		}
		from = at + len("http")
	}
}
