package paylink

import "time"

// Gate is the circuit breaker of one outside provider, shared by all processes through the ledger.
type Gate struct {
	Provider string
	State    GateState
	// Opened is how many times in a row it opened: the wait doubles.
	Opened int
	Until  time.Time
	Why    string
	// Actor is who makes a change, for its event; empty = we by ourselves. It is not kept.
	Actor string
}

// GateState says whether a provider may be called.
type GateState string

// The states of a gate.
const (
	GateClosed  GateState = "closed"  // calls flow
	GateOpen    GateState = "open"    // none until its time is up
	GateProbing GateState = "probing" // one call tests the water
	GateHalted  GateState = "halted"  // none until a person acts
)

// FeedState is what a feeder must know of one batch to share its window fairly.
type FeedState struct {
	Batch    BatchID
	Pending  int64
	InFlight int64
	Priority int
}

// SweepOptions bound one sweep.
type SweepOptions struct {
	// Room is how many messages of each channel may be woken now: the queue's window less what it holds. A channel that
	// is missing gets none.
	Room map[Channel]int
	// Requests and Sessions are how many of those may be woken now.
	Requests, Sessions int
	// FirstCheck is how long after its loss a message is looked up first, by channel.
	FirstCheck func(Channel) time.Duration
}
