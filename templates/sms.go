package templates

import "strings"

// The GSM 03.38 alphabet: characters of one septet, and those behind an escape that take two.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmTwo   = "\f^{}\\[~]|€"
)

// Sizes of an SMS: alone, and as part of a longer message, which spends room on a header.
const (
	gsmAlone, gsmPart   = 160, 153 // septets
	ucs2Alone, ucs2Part = 70, 67   // UTF-16 code units
)

// Segments counts the SMS segments that carriers bill for a text, and reports whether a character outside the GSM-7
// alphabet makes all of it UCS-2. Escape and surrogate pairs are not split over two segments. An empty text has none.
func Segments(text string) (n int, unicode bool) {
	if text == "" {
		return 0, false
	}
	width, alone, part := gsmWidth, gsmAlone, gsmPart
	if !isGSM(text) {
		width, alone, part, unicode = ucs2Width, ucs2Alone, ucs2Part, true
	}
	total, n, used := 0, 1, 0
	for _, r := range text {
		w := width(r)
		total += w
		if used+w > part {
			n, used = n+1, 0
		}
		used += w
	}
	if total <= alone {
		n = 1
	}
	return n, unicode
}

// gsmWidth is the number of septets of r, 0 if the alphabet lacks it.
func gsmWidth(r rune) int {
	switch {
	case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == ' ':
		return 1
	case strings.ContainsRune(gsmTwo, r):
		return 2
	case strings.ContainsRune(gsmBasic, r):
		return 1
	}
	return 0
}

func ucs2Width(r rune) int {
	if r > 0xffff {
		return 2
	}
	return 1
}

func isGSM(text string) bool {
	for _, r := range text {
		if gsmWidth(r) == 0 {
			return false
		}
	}
	return true
}

// ForSMS replaces typography by its plain form (no-break spaces, curly quotes, dashes, ellipses, direction marks) where
// that makes the whole text GSM-7: one such character would double or triple its price. A text whose letters need UCS-2
// anyway keeps them, direction marks above all, and has only its no-break spaces replaced. Letters are never changed.
func ForSMS(text string) string {
	if isGSM(text) {
		return text
	}
	if plain := typography.Replace(text); isGSM(plain) {
		return plain
	}
	return spaces.Replace(text)
}

var spaces = strings.NewReplacer("\u00a0", " ", "\u202f", " ", "\u2007", " ", "\u2009", " ", "\t", " ")

var typography = strings.NewReplacer(
	"\u00a0", " ", "\u202f", " ", "\u2007", " ", "\u2009", " ", "\t", " ",
	"‘", "'", "’", "'", "‚", "'", "‛", "'", "`", "'", "´", "'", "′", "'",
	"“", `"`, "”", `"`, "„", `"`, "«", `"`, "»", `"`, "″", `"`,
	"‐", "-", "\u2011", "-", "‒", "-", "–", "-", "—", "-", "−", "-", "•", "-", "·", "-",
	"…", "...",
	"\u00ad", "", "\u061c", "", "\u200b", "", "\u200e", "", "\u200f", "", "\u2060", "", "\ufeff", "",
	"\u202a", "", "\u202b", "", "\u202c", "", "\u202d", "", "\u202e", "",
	"\u2066", "", "\u2067", "", "\u2068", "", "\u2069", "",
)
