package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Provider is one of the stand-ins.
type Provider string

// The providers.
const (
	Ottu   Provider = "ottu"
	Twilio Provider = "twilio"
	SMTP   Provider = "smtp"
)

// ops lists what can be done with each provider. "dot" is the end of a mail's data, the point of no return; "callback"
// is the series of status callbacks that follows an accepted message.
var ops = map[Provider][]string{
	Ottu:   {"create", "retrieve", "update", "expire", "cancel", "operation", "methods"},
	Twilio: {"send", "fetch", "list", "account", "callback"},
	SMTP:   {"connect", "ehlo", "mail", "rcpt", "data", "dot", "rset", "quit"},
}

// Action is how a provider misbehaves.
type Action string

// The actions. "Done" in their descriptions is literal: the session, message or mail exists (or has changed) afterwards.
const (
	// Refuse answers Status (SMTP: the reply code) and does nothing. A reply of 421 also ends the SMTP connection.
	Refuse Action = "refuse"
	// FailBefore closes the connection; nothing is done.
	FailBefore Action = "fail_before"
	// LoseAnswer does it, then closes the connection without an answer.
	LoseAnswer Action = "lose_answer"
	// Late closes the connection (or, with Hold, keeps it silent until the client leaves) and does it afterwards: when
	// Delay is over or the rule is released. Delay 0 waits for the release.
	Late Action = "late"
	// CutBody does it and sends half of the answer under the full Content-Length. HTTP only.
	CutBody Action = "cut_body"
	// HTML502 answers as a broken proxy does; with Done it is done all the same. HTTP only.
	HTML502 Action = "html_502"
	// Hang is silent until the rule is released, then goes on as usual; a client that leaves before has not had it done,
	// unless Done.
	Hang Action = "hang"
	// Slow waits for Delay and goes on as usual, whether or not the client has left; with Done it waits after doing it.
	Slow Action = "slow"
	// ReceiptFirst posts all of a message's status callbacks before it answers the send. Twilio send only.
	ReceiptFirst Action = "receipt_before_answer"
	// ListLag hides messages younger than Delay. Twilio list only.
	ListLag Action = "list_lag"
	// CreatedAfterExpiry sees a session as not expired although its time is over. Ottu only.
	CreatedAfterExpiry Action = "created_after_expiry"
	// RefuseDuplicate refuses an order number that was used before; by default there will be a second session. Ottu create only.
	RefuseDuplicate Action = "refuse_duplicate"
	// Double posts each status callback twice. Twilio callback only.
	Double Action = "double"
	// Shuffle posts the status callbacks in another order. Twilio callback only.
	Shuffle Action = "shuffle"
	// Drop posts no status callbacks. Twilio callback only.
	Drop Action = "drop"
)

// reach says where an action makes sense; actions that are missing work everywhere but on callbacks.
var reach = map[Action]struct {
	providers []Provider
	op        string
}{
	CutBody:            {providers: []Provider{Ottu, Twilio}},
	HTML502:            {providers: []Provider{Ottu, Twilio}},
	ReceiptFirst:       {[]Provider{Twilio}, "send"},
	ListLag:            {[]Provider{Twilio}, "list"},
	CreatedAfterExpiry: {providers: []Provider{Ottu}},
	RefuseDuplicate:    {[]Provider{Ottu}, "create"},
	Double:             {[]Provider{Twilio}, "callback"},
	Shuffle:            {[]Provider{Twilio}, "callback"},
	Drop:               {[]Provider{Twilio}, "callback"},
}

var everywhere = []Action{Refuse, FailBefore, LoseAnswer, Late, Hang, Slow}

// Rule makes the calls that it matches misbehave. All conditions that are set must hold; of several rules the first
// that fires is the one that acts.
type Rule struct {
	Name     string   `json:"name,omitempty"` // for Release and Hits; need not be unique
	Provider Provider `json:"provider"`
	Op       string   `json:"op,omitempty"`       // empty: all of the provider's but callback
	Contains string   `json:"contains,omitempty"` // part of the recipient, the order number or the session id
	// Nth is the first matching call, from 1, on which the rule fires; 0 is 1.
	Nth int `json:"nth,omitempty"`
	// Times is how often it fires; 0 = always, but once when Nth is set.
	Times int `json:"times,omitempty"`
	// Probability that it fires on a call; 0 = certain.
	Probability float64 `json:"probability,omitempty"`

	Action     Action        `json:"action"`
	Status     int           `json:"status,omitempty"`      // of Refuse: HTTP status [503] or SMTP reply [451]
	Code       int           `json:"code,omitempty"`        // of Refuse: Twilio's error code
	Enhanced   string        `json:"enhanced,omitempty"`    // of Refuse: SMTP's enhanced code, such as 4.7.1
	Body       string        `json:"body,omitempty"`        // of Refuse, instead of the provider's usual form
	RetryAfter int           `json:"retry_after,omitempty"` // of Refuse: header Retry-After in seconds; 0 = none
	Delay      time.Duration `json:"-"`                     // "delay" in JSON, such as "250ms"
	Done       bool          `json:"done,omitempty"`
	Hold       bool          `json:"hold,omitempty"`
}

// MarshalJSON writes Delay in Go's notation.
func (r Rule) MarshalJSON() ([]byte, error) {
	type plain Rule
	v := struct {
		plain
		Delay string `json:"delay,omitempty"`
	}{plain: plain(r)}
	if r.Delay != 0 {
		v.Delay = r.Delay.String()
	}
	return json.Marshal(v)
}

// UnmarshalJSON reads Delay in Go's notation.
func (r *Rule) UnmarshalJSON(b []byte) error {
	type plain Rule
	var v struct {
		plain
		Delay string `json:"delay"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*r = Rule(v.plain)
	if v.Delay == "" {
		return nil
	}
	d, err := time.ParseDuration(v.Delay)
	if err != nil {
		return fmt.Errorf("delay: %w", err)
	}
	r.Delay = d
	return nil
}

func (r Rule) check() error {
	known, ok := ops[r.Provider]
	if !ok {
		return fmt.Errorf("unknown provider %q", r.Provider)
	}
	if r.Op != "" && !slices.Contains(known, r.Op) {
		return fmt.Errorf("%s has no op %q; it has %s", r.Provider, r.Op, strings.Join(known, ", "))
	}
	if where, ok := reach[r.Action]; ok {
		if !slices.Contains(where.providers, r.Provider) || where.op != "" && r.Op != where.op {
			return fmt.Errorf("action %q needs provider %v, op %q", r.Action, where.providers, where.op)
		}
	} else if !slices.Contains(everywhere, r.Action) {
		return fmt.Errorf("unknown action %q", r.Action)
	} else if r.Op == "callback" {
		return fmt.Errorf("action %q does not apply to callbacks", r.Action)
	}
	if r.Probability < 0 || r.Probability > 1 {
		return errors.New("probability is outside 0 to 1")
	}
	if r.Nth < 0 || r.Times < 0 || r.Delay < 0 || r.RetryAfter < 0 {
		return errors.New("nth, times, delay and retry_after must not be negative")
	}
	if r.Status != 0 && (r.Status < 400 || r.Status > 599) {
		return errors.New("status is outside 400 to 599")
	}
	if r.Enhanced != "" {
		if _, err := enhancedCode(r.Enhanced); err != nil {
			return err
		}
	}
	return nil
}

// call is one thing asked of a provider, as rules see it.
type call struct {
	provider Provider
	op       string
	keys     []string // recipient, order number, session id
}

func (r *rule) matches(c call) bool {
	if r.Provider != c.provider {
		return false
	}
	if r.Op != c.op && (r.Op != "" || c.op == "callback") {
		return false
	}
	return r.Contains == "" || slices.ContainsFunc(c.keys, func(k string) bool { return strings.Contains(k, r.Contains) })
}

type rule struct {
	Rule
	matched, hits int
	rng           *rand.Rand
	gate          chan struct{} // closed and replaced by Release
}

// fired is a rule at the moment at which it acts.
type fired struct {
	Rule
	gate <-chan struct{}
}

func (f *fired) is(a Action) bool { return f != nil && f.Action == a }

type faults struct {
	seed  uint64
	armed atomic.Bool // lets calls pass without the lock while there are no rules

	mu    sync.Mutex
	rules []*rule
	added uint64
}

func newFaults(seed uint64) *faults { return &faults{seed: seed} }

// take returns the rule that acts on c, or nil.
func (fs *faults) take(c call) *fired {
	if !fs.armed.Load() {
		return nil
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, r := range fs.rules {
		if !r.matches(c) {
			continue
		}
		r.matched++
		times := r.Times
		if r.Nth > 0 && times == 0 {
			times = 1
		}
		if r.matched < r.Nth || times > 0 && r.hits >= times {
			continue
		}
		if r.Probability > 0 && r.rng.Float64() >= r.Probability {
			continue
		}
		r.hits++
		return &fired{Rule: r.Rule, gate: r.gate}
	}
	return nil
}

// arrive counts a call and returns the rule that acts on it, or nil. Those who wait for a change are woken by the count,
// so the rule's own comes first.
func (s *Sandbox) arrive(c call) *fired {
	f := s.faults.take(c)
	s.store.called(c)
	return f
}

// AddFault puts a rule behind those there are.
func (s *Sandbox) AddFault(r Rule) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("fault rule %q: %w", r.Name, err)
	}
	fs := s.faults
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.added++
	fs.rules = append(fs.rules, &rule{Rule: r, rng: rand.New(rand.NewPCG(fs.seed, fs.added)), gate: make(chan struct{})})
	fs.armed.Store(true)
	return nil
}

// ClearFaults removes all rules and lets go what they hold back.
func (s *Sandbox) ClearFaults() {
	s.Release("")
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.rules = nil
	s.faults.armed.Store(false)
}

// Release lets go what the rules of that name hold back now (all rules for ""), and reports how many rules that were.
func (s *Sandbox) Release(name string) int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	n := 0
	for _, r := range s.faults.rules {
		if name == "" || r.Name == name {
			close(r.gate)
			r.gate = make(chan struct{})
			n++
		}
	}
	return n
}

// FaultHits is a rule and how often it was matched and has acted.
type FaultHits struct {
	Rule    Rule `json:"rule"`
	Matched int  `json:"matched"`
	Hits    int  `json:"hits"`
}

// Faults lists the rules in order.
func (s *Sandbox) Faults() []FaultHits {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	out := make([]FaultHits, len(s.faults.rules))
	for i, r := range s.faults.rules {
		out[i] = FaultHits{r.Rule, r.matched, r.hits}
	}
	return out
}

// Hits is how often the rules of that name have acted; with [Sandbox.Wait] a test waits for it.
func (s *Sandbox) Hits(name string) int {
	n := 0
	for _, f := range s.Faults() {
		if f.Rule.Name == name {
			n += f.Hits
		}
	}
	return n
}
