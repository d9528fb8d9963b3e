package mailstatus_test

import (
	"testing"

	"dunlin/notify/mailstatus"
)

func TestPermanent(t *testing.T) {
	for code, want := range map[string]mailstatus.Verdict{
		"5.1.1": mailstatus.Gone, "5.1.10": mailstatus.Gone, "5.1.7": mailstatus.Account, "5.1.8": mailstatus.Account, "5.2.1": mailstatus.Off,
		"5.2.2": mailstatus.Full, "5.2.10": mailstatus.Refused, "5.3.4": mailstatus.Content, "5.4.1": mailstatus.Doubtful, "5.7.26": mailstatus.Account,
	} {
		if got, ok := mailstatus.Permanent(code); !ok || got != want {
			t.Errorf("%s: got %+v, %t, want %+v", code, got, ok, want)
		}
	}
	for _, code := range []string{"", "5.0.0", "5.3.0", "5.5.1", "4.1.1", "2.1.0", "5"} {
		if got, ok := mailstatus.Permanent(code); ok {
			t.Errorf("%q: got %+v, want no verdict", code, got)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text  string
		class int
		want  string
	}{
		{"5.1.1 no such user", 5, "5.1.1"}, {"5.1.1\nsecond", 5, "5.1.1"}, {"5.1.1", 0, "5.1.1"}, {"4.2.2", 0, "4.2.2"},
		{"5.1.1", 4, ""}, {"3.1.1", 0, ""}, {"5.1", 0, ""}, {"5.1.1.1", 0, ""}, {"5.+1.1", 0, ""}, {"5.1.1000", 0, ""}, {"", 0, ""}, {"no 5.1.1", 0, ""},
	} {
		if got := mailstatus.Parse(tt.text, tt.class); got != tt.want {
			t.Errorf("Parse(%q, %d) = %q, want %q", tt.text, tt.class, got, tt.want)
		}
	}
}
