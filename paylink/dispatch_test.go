package paylink_test

import (
	"slices"
	"testing"

	"dunlin/paylink"
)

// dispatchRule is the rule in its own words: the first line that holds. It shares nothing with the code but the states.
var dispatchRule = []struct {
	state paylink.DispatchState
	holds func(p paylink.DispatchParts, has func(...paylink.MessageState) bool) bool
}{
	// something is still owed to this payer
	{"in_flight", func(p paylink.DispatchParts, has func(...paylink.MessageState) bool) bool {
		return has("owed", "claimed", "committing")
	}},
	{"in_flight", func(p paylink.DispatchParts, has func(...paylink.MessageState) bool) bool {
		return p.SessionOwed && !p.SessionUnknown // a next session is made only when the lost one is settled
	}},
	// any outcome unknown
	{"unknown", func(p paylink.DispatchParts, has func(...paylink.MessageState) bool) bool {
		return p.SessionUnknown || has("unknown", "held")
	}},
	// any message accepted
	{"sent", func(p paylink.DispatchParts, has func(...paylink.MessageState) bool) bool {
		return has("accepted", "sent", "delivered", "read")
	}},
	{"failed", func(p paylink.DispatchParts, has func(...paylink.MessageState) bool) bool {
		return p.SessionFailed || has("failed", "undelivered")
	}},
	{"suppressed", func(p paylink.DispatchParts, has func(...paylink.MessageState) bool) bool { return has("suppressed") }},
	// paid, written off or amended away before anything was sent
	{"skipped", func(p paylink.DispatchParts, has func(...paylink.MessageState) bool) bool {
		return p.Settled && !p.Canceled
	}},
	{"canceled", func(p paylink.DispatchParts, has func(...paylink.MessageState) bool) bool {
		return p.Canceled || has("canceled")
	}},
	// fed, and nothing has happened yet
	{"in_flight", func(paylink.DispatchParts, func(...paylink.MessageState) bool) bool { return true }},
}

func ruled(p paylink.DispatchParts) paylink.DispatchState {
	for _, line := range dispatchRule {
		if line.holds(p, func(states ...paylink.MessageState) bool {
			return slices.ContainsFunc(p.Messages, func(m paylink.MessageState) bool { return slices.Contains(states, m) })
		}) {
			return line.state
		}
	}
	return ""
}

// everyParts yields all combinations of the flags with up to n messages.
func everyParts(n int, yield func(paylink.DispatchParts)) {
	lists := [][]paylink.MessageState{nil}
	for from := 0; n > 0; n-- {
		for _, list := range lists[from:] {
			from++
			for _, s := range paylink.MessageMachine.States {
				lists = append(lists, append(slices.Clone(list), s))
			}
		}
	}
	for _, messages := range lists {
		for flags := range 1 << 5 {
			yield(paylink.DispatchParts{
				SessionOwed: flags&1 > 0, SessionUnknown: flags&2 > 0, SessionFailed: flags&4 > 0,
				Settled: flags&8 > 0, Canceled: flags&16 > 0, Messages: messages,
			})
		}
	}
}

func TestDispatch(t *testing.T) {
	n, reached := 0, map[paylink.DispatchState]bool{}
	everyParts(3, func(p paylink.DispatchParts) {
		n++
		got, want := paylink.Dispatch(p), ruled(p)
		reached[got] = true
		if got != want {
			t.Errorf("%+v: got %s, want %s", p, got, want)
		}
	})
	if want := 32 * (1 + 13 + 13*13 + 13*13*13); n != want {
		t.Errorf("got %d combinations, want %d", n, want)
	}
	for _, s := range paylink.DispatchMachine.States {
		if reached[s] != (s != paylink.DispatchPending) {
			t.Errorf("%s: got derived %v, want every state but pending", s, reached[s])
		}
	}
}

// Whatever may happen to one message must be a move that the dispatch machine allows, or the ledger could not record it.
func TestDispatchFollowsMessages(t *testing.T) {
	told := map[[2]paylink.DispatchState]bool{}
	everyParts(3, func(p paylink.DispatchParts) {
		from := paylink.Dispatch(p)
		for i, m := range p.Messages {
			for _, next := range paylink.MessageMachine.Edges[m] {
				after := p
				after.Messages = slices.Clone(p.Messages)
				after.Messages[i] = next
				to := paylink.Dispatch(after)
				if move := [2]paylink.DispatchState{from, to}; from != to && !paylink.DispatchMachine.Can(from, to) && !told[move] {
					told[move] = true
					t.Errorf("got no edge %s → %s, wanted when %+v goes on to %v", from, to, p, after.Messages)
				}
			}
		}
	})
}

// A session that is lost, found, refused or owed again moves the row as well.
func TestDispatchFollowsSession(t *testing.T) {
	owed, lost := paylink.DispatchParts{SessionOwed: true}, paylink.DispatchParts{SessionUnknown: true}
	refused, settled := paylink.DispatchParts{SessionFailed: true}, paylink.DispatchParts{Settled: true}
	canceled := paylink.DispatchParts{Settled: true, Canceled: true}
	for _, tt := range []struct {
		name     string
		from, to paylink.DispatchParts
	}{
		{"answer lost", owed, lost},
		{"settled and owed again", lost, owed},
		{"refused for good", owed, refused},
		{"paid while it was made", owed, settled},
		{"paid while it was lost", lost, settled},
		{"canceled while it was made", owed, canceled},
		{"canceled while it was lost", lost, canceled},
		{"lost after it was canceled", canceled, paylink.DispatchParts{SessionUnknown: true, Settled: true, Canceled: true}},
		{"lost after it was paid", settled, paylink.DispatchParts{SessionUnknown: true, Settled: true}},
	} {
		from, to := paylink.Dispatch(tt.from), paylink.Dispatch(tt.to)
		if err := paylink.DispatchMachine.Check(from, to); from != to && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
