package templates_test

import (
	"strings"
	"testing"
	"unicode/utf16"

	"dunlin/templates"
)

func TestSegments(t *testing.T) {
	rep := strings.Repeat
	tests := []struct {
		name, text string
		n          int
		unicode    bool
	}{
		{"empty", "", 0, false},
		{"short", "Pay here", 1, false},
		{"160 alone", rep("a", 160), 1, false},
		{"161 in parts of 153", rep("a", 161), 2, false},
		{"two full parts", rep("a", 306), 2, false},
		{"one more than two parts", rep("a", 307), 3, false},
		{"80 two-septet characters", rep("€", 80), 1, false},
		{"81 of them", rep("{", 81), 2, false},
		{"an escape pair is not split", rep("a", 152) + "€" + rep("a", 152), 3, false},
		{"a pair that fits", rep("a", 151) + "€" + rep("a", 153), 2, false},
		{"all of the second table", "\f^{}\\[~]|€", 1, false},
		{"Greek capitals and umlauts are GSM-7", "ΔΦΓΛΩΠΨΣΘΞ ÄÖÑÜ äöñüà £¥ \r\n", 1, false},
		{"ç is not, Ç is", "Ç", 1, false},
		{"small c cedilla", "ç", 1, true},
		{"backtick", "`", 1, true},
		{"no-break space", "KWD\u00a012.500", 1, true},
		{"70 Arabic letters", rep("ن", 70), 1, true},
		{"71", rep("ن", 71), 2, true},
		{"two full parts of 67", rep("ن", 134), 2, true},
		{"135", rep("ن", 135), 3, true},
		{"35 surrogate pairs", rep("😀", 35), 1, true},
		{"36: a pair is not split, 33 to a part", rep("😀", 36), 2, true},
		{"67 pairs", rep("😀", 67), 3, true},
		{"one such character makes all of it UCS-2", rep("a", 70) + "ن", 2, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if n, unicode := templates.Segments(tt.text); n != tt.n || unicode != tt.unicode {
				t.Errorf("%d, UCS-2 %v; want %d, %v", n, unicode, tt.n, tt.unicode)
			}
		})
	}
}

// gsm is the default alphabet of GSM 03.38 in the order of its codes; code 0x1b, the escape, stands as NUL.
const gsm = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x00ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"

// naive counts by filling segments one unit group at a time.
func naive(text string) (n int, unicode bool) {
	var groups []int
	for _, r := range text {
		switch {
		case r != 0 && strings.ContainsRune(gsm, r):
			groups = append(groups, 1)
		case strings.ContainsRune("^{}\\[~]|€\f", r):
			groups = append(groups, 2)
		default:
			unicode = true
		}
	}
	alone, part := 160, 153
	if unicode {
		alone, part, groups = 70, 67, nil
		for _, r := range text {
			groups = append(groups, utf16.RuneLen(r))
		}
	}
	total := 0
	for _, g := range groups {
		total += g
	}
	if total == 0 {
		return 0, unicode
	}
	if total <= alone {
		return 1, unicode
	}
	for len(groups) > 0 {
		n++
		for room := part; len(groups) > 0 && groups[0] <= room; groups = groups[1:] {
			room -= groups[0]
		}
	}
	return n, unicode
}

func FuzzSegments(f *testing.F) {
	for _, s := range []string{"", "a", "€", "ن", "😀", "\xff", "\x1b", "\x00", strings.Repeat("a€", 77), strings.Repeat("aن😀", 40)} {
		f.Add(s, 1)
		f.Add(s, 50)
	}
	f.Fuzz(func(t *testing.T, text string, times int) {
		text = strings.Repeat(text, max(0, min(times, 100)))
		n, unicode := templates.Segments(text)
		if wantN, wantUnicode := naive(text); n != wantN || unicode != wantUnicode {
			t.Errorf("%d, UCS-2 %v; counted by hand %d, %v", n, unicode, wantN, wantUnicode)
		}
		if plain, _ := templates.Segments(templates.ForSMS(text)); plain > n && !unicode {
			t.Errorf("ForSMS made %d segments of %d", plain, n)
		}
		if once := templates.ForSMS(text); templates.ForSMS(once) != once {
			t.Errorf("ForSMS is not settled after one turn: %q", once)
		}
	})
}

func TestForSMS(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "Pay KWD 1.000 at https://x/p/[a]", "Pay KWD 1.000 at https://x/p/[a]"},
		{"no-break spaces", "KWD\u00a01\u202f000", "KWD 1 000"},
		{"typography", "“Fees” – term 2… it’s `due`", `"Fees" - term 2... it's 'due'`},
		{"direction marks", "\u200fKWD 1\u2069", "KWD 1"},
		{"the euro sign is in the alphabet", "€ 5", "€ 5"},
		{"Arabic keeps its marks and quotes", "\u200fرسوم «الفصل» – ١", "\u200fرسوم «الفصل» – ١"},
		{"but not its no-break spaces", "١\u00a0د.ك.", "١ د.ك."},
		{"letters are never changed", "João’s fees", "João’s fees"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := templates.ForSMS(tt.in); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
