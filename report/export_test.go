package report

import "testing"

func TestInert(t *testing.T) {
	for cell, want := range map[string]string{
		"": "", "R1": "R1", "12.500": "12.500", "a=b": "a=b",
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "\tx": "'\tx", "\rx": "'\rx", "＝x": "'＝x",
	} {
		if got := inert(cell); got != want {
			t.Errorf("%q: got %q, want %q", cell, got, want)
		}
	}
}
