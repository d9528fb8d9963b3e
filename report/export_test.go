package report

import "testing"

func TestInert(t *testing.T) {
	for cell, want := range map[string]string{
		"":                     "",
		"INV-2026-0042":        "INV-2026-0042",
		"b1.1":                 "b1.1",
		"5.500":                "5.500",
		"=1+1":                 "'=1+1",
		"+96550000000":         "'+96550000000",
		"-2":                   "'-2",
		"@SUM(A1)":             "'@SUM(A1)",
		"\t=1":                 "'\t'=1",
		"\r\n=1":               "'\r\n'=1",
		"＝1+1":                 "'＝1+1",
		`"=1`:                  `"'=1`,
		" =1":                  " '=1",
		`x;=HYPERLINK("http")`: `x;'=HYPERLINK("http")`,
		`x"; =1`:               `x"; '=1`,
		"x|@a":                 "x|'@a",
		"a,-b":                 "a,-b",
		"عمر;=1":               "عمر;'=1",
	} {
		if got := inert(cell); got != want {
			t.Errorf("inert(%q) = %q, want %q", cell, got, want)
		}
	}
}

// FuzzInert: whatever a spreadsheet splits a cell into, no part begins a formula.
func FuzzInert(f *testing.F) {
	for _, s := range []string{"=1", ";=1", "a|\t+", "\"';-@", "＝"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := inert(s)
		parts := []rune{}
		start := true
		for _, r := range once {
			switch r {
			case ';', '|', '\n', '\r', '\t':
				start = true
				continue
			case '=', '+', '-', '@', '＝', '＋', '－', '＠':
				if start {
					t.Fatalf("inert(%q) = %q begins a formula after %q", s, once, string(parts))
				}
			}
			if r != ' ' && r != '"' { // an apostrophe ends it
				start = false
			}
			parts = append(parts, r)
		}
	})
}
