package main

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
)

// TestDemo runs the whole demo as it runs where there is no terminal.
func TestDemo(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-exit", "-rate", "1000/s"}, &out, io.Discard, false); err != nil {
		t.Fatalf("demo: %v\n%s", err, out.String())
	}
	for _, want := range []string{
		`The file: 200 rows, 186 good, 14 rejected\.`,
		`console +http://127\.0\.0\.1:\d+/console/ +\(sign in as demo, \w{15,}\)`,
		`payers reached +183 `,
		`known delivered +[1-9]`, // their receipts come from the stand-in, signed
		`2  bad_address`, `1  opted_out`,
		`The till: 200 rows = 14 rejected \+ 183 sent \+ 3 failed \+ 0 suppressed \+ 0 skipped \+ 0 canceled \+ 0 unknown`,
		`verify: +0 differences`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the demo did not say %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b[") {
		t.Error("the demo drew for a terminal where there is none")
	}
}

func TestDemoRefusesAMissingFile(t *testing.T) {
	if err := run(t.Context(), []string{"-exit", "-file", "no such file.csv"}, io.Discard, io.Discard, false); err == nil {
		t.Error("a missing file was taken")
	}
}
