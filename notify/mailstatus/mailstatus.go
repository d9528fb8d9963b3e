// Package mailstatus is the one table of what enhanced mail status codes (RFC 3463) mean for a payer's message. A relay
// gives such a code in the middle of a conversation, a bounce gives it hours later, and both must lead to the same
// verdict. The package looks at codes only, never at a server's words, which often repeat an address.
package mailstatus

import (
	"strconv"
	"strings"

	"dunlin/paylink"
)

// Verdict is what a refusal means.
type Verdict struct {
	Kind  paylink.Kind
	Scope paylink.Scope
	Cause paylink.Cause
	// Suppress: the address is dead, nobody is to write to it again.
	Suppress bool
}

// The verdicts on a permanent refusal.
var (
	// Account keeps the row: it can be sent once a person has mended the account, sender or reputation.
	Account  = Verdict{paylink.Temporary, paylink.ScopeAccount, paylink.CauseAccount, false}
	Gone     = Verdict{paylink.Permanent, paylink.ScopeRow, paylink.CauseBadAddress, true}
	Doubtful = Verdict{paylink.Permanent, paylink.ScopeRow, paylink.CauseBadAddress, false}
	Full     = Verdict{paylink.Permanent, paylink.ScopeRow, paylink.CauseMailboxFull, false}
	Off      = Verdict{paylink.Permanent, paylink.ScopeRow, paylink.CauseMailboxFull, true}
	Content  = Verdict{paylink.Permanent, paylink.ScopeRow, paylink.CauseRejectedContent, false}
	Refused  = Verdict{paylink.Permanent, paylink.ScopeRow, paylink.CauseRefused, false}
)

// permanent judges by the code without its leading class; the first prefix that fits wins.
var permanent = []struct {
	prefix  string
	verdict Verdict
}{
	{"1.7.", Account}, // our own address is malformed
	{"1.8.", Account}, // or unknown
	{"1.", Gone},
	{"2.1.", Off}, // switched off
	{"2.2.", Full},
	{"2.3.", Content}, // longer than this mailbox takes
	{"2.", Refused},
	{"3.4.", Content},
	{"4.1.", Doubtful}, // what a large provider says of unknown users
	{"4.4.", Doubtful}, // the domain cannot be routed to
	{"6.", Content},
	{"7.", Account},
}

// Permanent judges a code of class 5, such as 5.1.1. ok is false for any other and for one that says nothing in particular.
func Permanent(code string) (v Verdict, ok bool) {
	rest, ok := strings.CutPrefix(code, "5.")
	for _, rule := range permanent {
		if ok && strings.HasPrefix(rest+".", rule.prefix) {
			return rule.verdict, true
		}
	}
	return Verdict{}, false
}

// Parse returns the code at the start of a server's text, such as 5.1.1, or "". One whose class is not the given one
// (the first digit of the reply) is not believed; class 0 takes 2, 4 and 5.
func Parse(text string, class int) string {
	word, _, _ := strings.Cut(strings.ReplaceAll(text, "\n", " "), " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 || class != 0 && parts[0] != strconv.Itoa(class) || class == 0 && parts[0] != "2" && parts[0] != "4" && parts[0] != "5" {
		return ""
	}
	for _, part := range parts[1:] {
		if n, err := strconv.Atoi(part); err != nil || n < 0 || len(part) > 3 || part[0] == '+' {
			return ""
		}
	}
	return word
}
