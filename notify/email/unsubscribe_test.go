package email_test

import (
	"bytes"
	"net/mail"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dunlin/notify/email"
	"dunlin/paylink"
)

// TestUnsubscribe checks the two headers of RFC 8058, and that nothing but a plain https address comes into them.
func TestUnsubscribe(t *testing.T) {
	m := outgoing()
	m.Unsubscribe = "https://pay.school.example/p/3xK9mPq7RtV/stop"
	first := render(t, m)
	got, err := mail.ReadMessage(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"List-Unsubscribe": "<https://pay.school.example/p/3xK9mPq7RtV/stop>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} {
		if got := got.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	m.AttemptToken = "another attempt"
	for range 20 { // what goes by the order of a map is right half of the time
		if diff := cmp.Diff(string(first), string(render(t, m))); diff != "" {
			t.Fatalf("another attempt has other bytes (-first +second):\n%s", diff)
		}
	}
	m.Unsubscribe = ""
	without, err := mail.ReadMessage(bytes.NewReader(render(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	if got := without.Header["List-Unsubscribe"]; got != nil {
		t.Errorf("List-Unsubscribe: %q, want none", got)
	}
	for _, bad := range []string{"http://pay.school.example/stop", "https://x/\r\nBcc: x@example.org", "https://x/>, <mailto:x@example.org", "https://", "stop"} {
		m.Unsubscribe = bad
		_, err := email.Render(from(t), m)
		if f := failure(t, err); f.Cause != paylink.CauseInternal {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
