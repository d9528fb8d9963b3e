package paylink_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dunlin/paylink"
)

// machine is a state machine whose states have lost their type, so that one test walks them all.
type machine struct {
	name             string
	typ              string // of its states, in state.go
	states           []string
	edges, byCommand map[string][]string
}

func machines() []machine {
	return []machine{
		plain("BatchState", paylink.BatchMachine), plain("DispatchState", paylink.DispatchMachine),
		plain("PaymentState", paylink.PaymentMachine), plain("SessionState", paylink.SessionMachine),
		plain("MessageState", paylink.MessageMachine),
	}
}

func plain[S ~string](typ string, m *paylink.Machine[S]) machine {
	words := func(states []S) []string {
		out := make([]string, len(states))
		for i, s := range states {
			out[i] = string(s)
		}
		return out
	}
	moves := func(edges map[S][]S) map[string][]string {
		out := map[string][]string{}
		for from, to := range edges {
			out[string(from)] = words(to)
		}
		return out
	}
	return machine{m.Name, typ, words(m.States), moves(m.Edges), moves(m.ByCommand)}
}

// exits are all states that may follow, by whomever.
func (m machine) exits(s string) []string {
	return append(slices.Clone(m.edges[s]), m.byCommand[s]...)
}

func TestMachinesAreWhole(t *testing.T) {
	page := readStates(t)
	for _, m := range machines() {
		if diff := cmp.Diff(slices.Sorted(maps.Keys(page.meaning[m.typ])), slices.Sorted(slices.Values(m.states))); diff != "" {
			t.Errorf("%s: constants and listed states differ (-constants +listed):\n%s", m.name, diff)
		}
		for _, kind := range []struct {
			name  string
			edges map[string][]string
		}{{"edge", m.edges}, {"command", m.byCommand}} {
			for from, tos := range kind.edges {
				for i, to := range tos {
					switch {
					case !slices.Contains(m.states, from) || !slices.Contains(m.states, to):
						t.Errorf("%s: got %s %s → %s, want its ends among the states", m.name, kind.name, from, to)
					case from == to:
						t.Errorf("%s: got %s %s → itself", m.name, kind.name, from)
					case slices.Contains(tos[:i], to) || (kind.name == "command" && slices.Contains(m.edges[from], to)):
						t.Errorf("%s: got %s %s → %s twice", m.name, kind.name, from, to)
					}
				}
			}
		}
		seen := map[string]bool{m.states[0]: true}
		for todo := m.states[:1]; len(todo) > 0; todo = todo[1:] {
			for _, to := range m.exits(todo[0]) {
				if !seen[to] {
					seen[to], todo = true, append(slices.Clone(todo), to)
				}
			}
		}
		for _, s := range m.states {
			if !seen[s] {
				t.Errorf("%s: got no way from %s to %s", m.name, m.states[0], s)
			}
		}
	}
}

func TestTerminalStates(t *testing.T) {
	want := map[string][]string{
		"batch": {"canceled"}, "dispatch": nil, "payment": nil, "session": {"voided", "refunded"}, "message": {"read"},
	}
	got := map[string][]string{}
	for _, m := range machines() {
		got[m.name] = nil
		for _, s := range m.states {
			if len(m.exits(s)) == 0 {
				got[m.name] = append(got[m.name], s)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("states without a way out (-want +got):\n%s", diff)
	}
}

func TestMachineWords(t *testing.T) {
	m := paylink.BatchMachine
	if err := m.Check(paylink.BatchRunning, paylink.BatchDone); err != nil {
		t.Errorf("running → done: got %v", err)
	}
	err := m.Check(paylink.BatchPaused, paylink.BatchRunning)
	if !errors.Is(err, paylink.ErrConflict) || !strings.Contains(fmt.Sprint(err), "batch cannot go from paused to running") {
		t.Errorf("paused → running by an event: got %v", err)
	}
	for _, tt := range []struct {
		from, to           paylink.BatchState
		byEvent, byCommand bool
	}{
		{paylink.BatchRunning, paylink.BatchDone, true, true},
		{paylink.BatchPaused, paylink.BatchRunning, false, true},
		{paylink.BatchCanceled, paylink.BatchRunning, false, false},
		{"odd", paylink.BatchRunning, false, false},
	} {
		if m.Can(tt.from, tt.to) != tt.byEvent || m.CanByCommand(tt.from, tt.to) != tt.byCommand {
			t.Errorf("%s → %s: got %v by event, %v by command", tt.from, tt.to, m.Can(tt.from, tt.to), m.CanByCommand(tt.from, tt.to))
		}
	}
}

// backwards lists the edges of a machine on which rank falls or stays.
func backwards[S ~string](m *paylink.Machine[S], rank func(S) int) []string {
	var out []string
	for _, from := range m.States {
		for _, to := range m.Edges[from] {
			if rank(to) <= rank(from) {
				out = append(out, string(from)+" → "+string(to))
			}
		}
	}
	return out
}

// Law 6, for the debt: an event takes back what the payer did only where the provider says that a hold was voided. The
// other edges down are a debt that ends unpaid by the merchant's rule, and money that arrives again after a refund.
func TestPaymentGoesUp(t *testing.T) {
	rank := map[paylink.PaymentState]int{ // by what the payer did; none = nothing
		paylink.PaymentAuthorized: 1, paylink.PaymentPartiallyPaid: 2, paylink.PaymentPaid: 3,
		paylink.PaymentPartiallyRefunded: 4, paylink.PaymentRefunded: 5,
	}
	want := []string{
		"unpaid → expired",
		"authorized → unpaid",
		"partially_paid → expired",
		"partially_refunded → paid",
		"refunded → partially_paid", "refunded → paid",
	}
	if diff := cmp.Diff(want, backwards(paylink.PaymentMachine, func(s paylink.PaymentState) int { return rank[s] })); diff != "" {
		t.Errorf("edges down (-want +got):\n%s", diff)
	}
	for _, s := range paylink.PaymentMachine.States {
		for _, word := range []paylink.PaymentState{paylink.PaymentCanceled, paylink.PaymentWrittenOff, paylink.PaymentPaidOutside} {
			if paylink.PaymentMachine.Can(s, word) {
				t.Errorf("%s → %s: got an event, want only a person's command", s, word)
			}
		}
		if rank[s] == 0 && !paylink.PaymentMachine.Can(s, paylink.PaymentPaid) {
			t.Errorf("%s: got no edge to paid, want late money to be counted", s)
		}
		// Law 5.
		if got, want := s.Owes(), s == paylink.PaymentUnpaid || s == paylink.PaymentPartiallyPaid; got != want {
			t.Errorf("%s: got owes %v, want %v", s, got, want)
		}
	}
}

// Law 6, for a message: the provider's word only moves up, but for late truth about one that was taken for failed.
func TestMessageGoesUp(t *testing.T) {
	m := paylink.MessageMachine
	var word []string
	for _, edge := range backwards(m, paylink.MessageState.Rank) {
		from, _, _ := strings.Cut(edge, " → ")
		if paylink.MessageState(from).Rank() > 0 {
			word = append(word, edge)
		}
	}
	if diff := cmp.Diff([]string{"failed → accepted", "failed → sent"}, word, cmp.Transformer("sorted", func(s []string) []string { return slices.Sorted(slices.Values(s)) })); diff != "" {
		t.Errorf("edges down (-want +got):\n%s", diff)
	}
	// Law 3: nothing is sent again by an event but what surely was not sent, or by the stated policy.
	for to, want := range map[paylink.MessageState][]paylink.MessageState{
		paylink.MessageOwed:       {paylink.MessageClaimed, paylink.MessageCommitting, paylink.MessageUnknown},
		paylink.MessageClaimed:    {paylink.MessageOwed},
		paylink.MessageCommitting: {paylink.MessageClaimed},
	} {
		var got []paylink.MessageState
		for _, s := range m.States {
			if m.Can(s, to) {
				got = append(got, s)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what leads to %s (-want +got):\n%s", to, diff)
		}
	}
}

// A message that was sent once, with its answer lost, takes the truth wherever it has come to by itself since then.
func TestLateTruth(t *testing.T) {
	m := paylink.MessageMachine
	seen := []paylink.MessageState{paylink.MessageUnknown}
	for i := 0; i < len(seen); i++ {
		for _, next := range m.Edges[seen[i]] {
			if !next.Accepted() && !slices.Contains(seen, next) {
				seen = append(seen, next)
			}
		}
	}
	for _, s := range seen {
		if s == paylink.MessageOwed || s == paylink.MessageClaimed {
			continue // about to be sent once more: that attempt tells
		}
		for _, truth := range []paylink.MessageState{paylink.MessageDelivered, paylink.MessageRead} {
			if !m.Can(s, truth) {
				t.Errorf("got no edge %s → %s", s, truth)
			}
		}
	}
}

func TestMessageKinds(t *testing.T) {
	open, accepted, ranks := []string{}, []string{}, map[string]int{}
	for _, s := range paylink.MessageMachine.States {
		if s.Open() {
			open = append(open, string(s))
		}
		if s.Accepted() {
			accepted = append(accepted, string(s))
		}
		if s.Rank() > 0 {
			ranks[string(s)] = s.Rank()
		}
	}
	got := []any{open, accepted, ranks}
	want := []any{[]string{"owed", "claimed", "committing"}, []string{"accepted", "sent", "delivered", "read"},
		map[string]int{"accepted": 10, "sent": 40, "failed": 50, "undelivered": 50, "delivered": 60, "read": 70}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("open, accepted and ranks (-want +got):\n%s", diff)
	}
}

// Law 4: a session that is dead never comes back to life, and money that reaches it all the same is recorded.
func TestDeadSessions(t *testing.T) {
	m := paylink.SessionMachine
	for _, s := range m.States {
		live := s == paylink.SessionOpen || s == paylink.SessionPending || s == paylink.SessionAttempted
		settled := s == paylink.SessionPaid || s == paylink.SessionAuthorized || s == paylink.SessionCOD
		if s.Live() != live || s.Settled() != settled {
			t.Errorf("%s: got live %v, settled %v, want %v, %v", s, s.Live(), s.Settled(), live, settled)
		}
		if !live && s != paylink.SessionIntent && slices.ContainsFunc(m.Edges[s], paylink.SessionState.Live) {
			t.Errorf("%s: got an edge to a live state", s)
		}
		over := s == paylink.SessionPaid || s == paylink.SessionRefunded || s == paylink.SessionVoided
		if !over && !m.Can(s, paylink.SessionPaid) {
			t.Errorf("%s: got no edge to paid", s)
		}
	}
}
