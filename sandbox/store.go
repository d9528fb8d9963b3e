package sandbox

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// store is everything that the sandbox remembers. One lock is enough: what is done under it takes a few microseconds at
// most, far less than a request through a socket.
type store struct {
	quiet bool
	keep  int

	mu       sync.Mutex
	sessions []*session // in order of creation; its index + 1 is a session's seq
	byID     map[string]*session
	byOrder  map[string]*session // the newest; older ones hang on its before
	repeated int                 // creates of an order number that was used before

	// Of messages and mails, quiet mode keeps the numbers only.
	messages  []*message
	bySID     map[string]*message
	byTo      map[string][]*message
	mails     []*Mail
	timeline  []arrival
	statuses  map[string]int
	nMessages int
	nMails    int

	reports []Report // of mail that came back

	tries map[string]int // of mailboxes that refuse at first
	dups  fingerprints
	calls map[string]int64

	waiters atomic.Int32
	change  chan struct{} // closed and replaced at each change while somebody waits
}

func newStore(quiet bool, keep int) *store {
	st := &store{quiet: quiet, keep: keep}
	st.clear()
	return st
}

// forward collects what view picks of items after the first after ones, at most limit (0 = all), and where to go on.
func forward[T, V any](items []T, after, limit int, view func(T) (V, bool)) (out []V, next int) {
	out = []V{}
	for next = min(max(after, 0), len(items)); next < len(items); next++ {
		if limit > 0 && len(out) == limit {
			break
		}
		if v, ok := view(items[next]); ok {
			out = append(out, v)
		}
	}
	return out, next
}

// backward is forward from the end: before is where the newer part begins (0 = at the end), next is 0 at the start.
func backward[T, V any](items []T, before, limit int, view func(T) (V, bool)) (out []V, next int) {
	next = len(items)
	if before > 0 {
		next = min(before, next)
	}
	for ; next > 0 && len(out) < limit; next-- {
		if v, ok := view(items[next-1]); ok {
			out = append(out, v)
		}
	}
	return out, next
}

// arrival is one entry of the inbox: one of the two is set.
type arrival struct {
	message *message
	mail    *Mail
}

// clear forgets everything; the caller holds the lock or is alone.
func (st *store) clear() {
	st.sessions, st.messages, st.mails, st.timeline, st.reports = nil, nil, nil, nil, nil
	st.repeated, st.nMessages, st.nMails = 0, 0, 0
	st.byID, st.byOrder = map[string]*session{}, map[string]*session{}
	st.bySID, st.byTo = map[string]*message{}, map[string][]*message{}
	st.statuses = map[string]int{}
	st.tries, st.calls = map[string]int{}, map[string]int64{}
	st.dups = newFingerprints()
}

// touch wakes those who wait for a change; the caller holds the lock.
func (st *store) touch() {
	if st.waiters.Load() > 0 && st.change != nil {
		close(st.change)
		st.change = nil
		st.waiters.Store(0)
	}
}

// changed is closed at the next change.
func (st *store) changed() <-chan struct{} {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.waiters.Add(1)
	if st.change == nil {
		st.change = make(chan struct{})
	}
	return st.change
}

func (st *store) called(c call) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.calls[c.name()]++
	st.touch()
}

func (c call) name() string { return string(c.provider) + "." + c.op }

// Counts says in numbers what was taken since the start or the last reset.
type Counts struct {
	Sessions       int              `json:"sessions"`
	SessionStates  map[string]int   `json:"session_states"`
	RepeatedOrders int              `json:"repeated_orders"` // sessions beyond the first of their order number
	Messages       int              `json:"messages"`        // accepted SMS and WhatsApp messages
	MessageStates  map[string]int   `json:"message_states"`
	Mails          int              `json:"mails"`      // accepted deliveries, one per recipient
	Duplicates     map[string]int   `json:"duplicates"` // surplus copies by kind; see Duplicate
	Calls          map[string]int64 `json:"calls"`      // by provider and op, "ottu.create"; what failed is counted too
}

// Counts takes the numbers now. Session states are as stored: a session whose time is over counts as expired once
// somebody has looked at it.
func (s *Sandbox) Counts() Counts {
	st := s.store
	st.mu.Lock()
	defer st.mu.Unlock()
	c := Counts{
		Sessions: len(st.sessions), SessionStates: map[string]int{}, RepeatedOrders: st.repeated,
		Messages: st.nMessages, MessageStates: map[string]int{}, Mails: st.nMails,
		Duplicates: map[string]int{}, Calls: maps.Clone(st.calls),
	}
	for _, x := range st.sessions {
		c.SessionStates[x.state]++
	}
	for status, n := range st.statuses {
		if n > 0 {
			c.MessageStates[status] = n
		}
	}
	for _, d := range st.dups.twice {
		c.Duplicates[d.Kind] += d.Copies - 1
	}
	return c
}

// Reset forgets sessions, messages, mails and counters; rules stay.
func (s *Sandbox) Reset() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.clear()
	s.store.touch()
}

// bucket is a token bucket that holds a second's worth.
type bucket struct {
	rate float64

	mu    sync.Mutex
	level float64
	last  time.Time
}

func (b *bucket) allow(now time.Time) bool {
	if b.rate == 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last.IsZero() {
		b.level = max(b.rate, 1)
	} else if d := now.Sub(b.last); d > 0 {
		b.level = min(b.level+d.Seconds()*b.rate, max(b.rate, 1))
	}
	b.last = now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}
