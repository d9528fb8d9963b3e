package email_test

import (
	"strconv"
	"strings"
	"testing"

	"dunlin/notify/email"
	"dunlin/paylink"
)

// FuzzClassify gives the relay's words to the classification: whatever they are, none of them comes out again, and a
// reply with a code is never of unknown outcome.
func FuzzClassify(f *testing.F) {
	f.Add(2, 550, "5.1.1 <payer@customer.example> unknown")
	f.Add(2, 550, "5.1.1")
	f.Add(5, 554, "5.7.1\n5.7.1 second line")
	f.Add(5, 250, "2.0.0 fine")
	f.Add(1, 451, "4.7.999 slow")
	f.Add(2, 550, "5.+1.1 x")
	f.Add(2, 550, "5..1 x")
	f.Add(0, 421, "")
	f.Add(2, 550, "5.١.1 x")
	f.Fuzz(func(t *testing.T, at, code int, text string) {
		if at < 0 || at > 5 {
			return
		}
		got := email.Classify(at, code, text)
		if definite := code >= 400 && code < 600; definite == (got.Kind == paylink.Unknown) && (definite || at == 5) {
			t.Errorf("%d at %d is %s", code, at, got.Kind)
		}
		number, enhanced, _ := strings.Cut(got.Code, " ")
		if got.Code != "" && number != strconv.Itoa(code) || strings.Trim(enhanced, "0123456789.") != "" {
			t.Errorf("code = %q", got.Code)
		}
		if strings.Contains(text, "@") && strings.Contains(got.Error(), "@") {
			t.Errorf("the text came through: %s", got)
		}
		if got.Suppress && (at < 2 || code < 500) {
			t.Errorf("%d at %d suppresses the address", code, at)
		}
	})
}
