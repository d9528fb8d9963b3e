package paylink_test

import (
	"errors"
	"fmt"
	"testing"

	"dunlin/paylink"
)

func TestFailureText(t *testing.T) {
	f := paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseBadAddress}
	for _, tt := range []struct{ name, code, detail, want string }{
		{"bare", "", "", "bad_address (permanent, row)"},
		{"code", "550 5.1.1", "", "bad_address (permanent, row) 550 5.1.1"},
		{"detail", "", "no such mailbox", "bad_address (permanent, row): no such mailbox"},
		{"both", "21211", "no such number", "bad_address (permanent, row) 21211: no such number"},
	} {
		f.Code, f.Detail = tt.code, tt.detail
		if got := f.Error(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestAsFailure(t *testing.T) {
	f := &paylink.Failure{Kind: paylink.Temporary, Scope: paylink.ScopeProvider, Cause: paylink.CauseUnavailable}
	for _, tt := range []struct {
		name string
		err  error
		want *paylink.Failure // nil = an unknown outcome
	}{
		{"itself", f, f},
		{"wrapped", fmt.Errorf("send: %w", f), f},
		{"wrapped twice", fmt.Errorf("job: %w", fmt.Errorf("send: %w", f)), f},
		{"beside another", fmt.Errorf("%w (%w)", errors.New("stopped"), f), f},
		{"joined", errors.Join(errors.New("stopped"), f), f},
		{"another error", errors.New("12345678 is no number"), nil},
		{"sentinel", paylink.ErrConflict, nil},
		{"none", nil, nil},
	} {
		got := paylink.AsFailure(tt.err)
		if tt.want != nil {
			if got != tt.want {
				t.Errorf("%s: got %v, want the failure inside", tt.name, got)
			}
			continue
		}
		// The text of an error of unknown origin may hold personal data: none of it is passed on.
		want := paylink.Failure{Kind: paylink.Unknown, Scope: paylink.ScopeRow, Cause: paylink.CauseInternal, Detail: "unclassified error"}
		if *got != want {
			t.Errorf("%s: got %+v, want %+v", tt.name, *got, want)
		}
	}
}
