package paylink

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// PaymentEvent is what a payment provider told about one session and what an adapter has verified and read. It comes in
// two sorts: the state of a session, or (with an Operation) a refund, capture or void that was done on it.
type PaymentEvent struct {
	// OrderNo binds the event to an attempt: it is signed. ProviderID is not signed everywhere and is compared only.
	OrderNo, ProviderID string
	// Amount is what the session asked for; of an operation, what it moved.
	Amount Money
	// Settled is what the payer has committed to of Amount, without the payer's fee; nil = not told.
	Settled *Money
	// State is the session's; empty for an operation and for a word that is not known.
	State    SessionState
	RawState string
	// Result is the attempt's own outcome, in the provider's word. It may contradict State, which counts.
	Result string
	// Reference names the payer's attempt, or the operation.
	Reference string
	// Operation is refund, capture or void; IsOperation holds also for one of an unknown kind.
	Operation   string
	IsOperation bool
	// Child is the provider's id of the transaction that an operation made; empty if not told.
	Child string
}

// Done reports whether an operation moved money.
func (e PaymentEvent) Done() bool { return e.Result == "success" }

// Key is the same for two deliveries that say the same: it holds everything that applying looks at.
func (e PaymentEvent) Key() string {
	settled := ""
	if e.Settled != nil {
		settled = e.Settled.String()
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%q", []string{e.OrderNo, e.ProviderID, e.Reference, e.RawState, e.Result, e.Amount.String(), settled,
		e.Operation, e.Child}))
	return hex.EncodeToString(h[:16])
}

// EventID numbers the stored events of providers: e17.
type EventID int64

func (id EventID) String() string { return fmt.Sprintf("e%d", int64(id)) }

// MarshalText is as [BatchID.MarshalText].
func (id EventID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// EventOutcome says what became of a stored event. It is kept for ever and shown to people.
type EventOutcome string

// The outcomes of payment events.
const (
	EventApplied     EventOutcome = "applied"         // something moved or was counted
	EventNothingNew  EventOutcome = "nothing_new"     // doubled, late or out of order: the record is further already
	EventUnknown     EventOutcome = "unknown_order"   // no attempt of ours has this order number
	EventOther       EventOutcome = "session_differs" // the order number is ours, the session is not the one we know
	EventUnreadable  EventOutcome = "unreadable"      // signed, but not an event that we can read
	EventUnsupported EventOutcome = "unsupported"     // a state or operation that we do not know
)

// StoredEvent is a provider's event as it was kept.
type StoredEvent struct {
	ID         EventID
	Raw        []byte
	ReceivedAt time.Time
	Outcome    EventOutcome // empty until it was applied
}

// Flag is something that a person should look at.
type Flag struct {
	Batch   BatchID   `json:"batch,omitempty"`
	Request RequestID `json:"request,omitempty"`
	Kind    FlagKind  `json:"kind"`
	Detail  string    `json:"detail"`
	At      time.Time `json:"at"`
}

// FlagKind is why.
type FlagKind string

// The kinds of flags that payments raise. The money is counted all the same, but for another currency's.
const (
	FlagSuperseded FlagKind = "money_on_superseded" // paid on a session that another had replaced
	FlagGhost      FlagKind = "money_on_ghost"      // paid on a session whose create was lost; nobody was given its link
	FlagLate       FlagKind = "money_on_late"       // paid on a dead session, or for a debt that was no longer asked for
	FlagTwice      FlagKind = "paid_twice"          // more arrived than was asked for
	FlagAmount     FlagKind = "amount_differs"      // the event speaks of another amount than the session had
	FlagCurrency   FlagKind = "currency_differs"    // … of another currency: recorded, not counted
	FlagOther      FlagKind = "session_differs"     // signed for our order number, but about another session
	FlagUnknown    FlagKind = "unknown_order"       // signed, but not for any order number of ours
	FlagNotEnded   FlagKind = "session_not_ended"   // the provider would not end a session that must be replaced
	FlagRefund     FlagKind = "refund_unexplained"  // the session is refunded, but no refund was told of
)

// PayerView is what a payer's page is made from.
type PayerView struct {
	Request        Request
	Contact        Contact
	Paid, Refunded int64
	// Live is the session by which the debt can be paid, or the one that is being made; nil = none.
	Live *LiveSession
	// Last is the newest session that the provider has; nil = none.
	Last *Session
	// EngagedAt is when the payer was last sent on to the provider; zero = never.
	EngagedAt time.Time
	// ViewedAt is when the page was first looked at by a browser that runs scripts, perhaps a machine's; zero = never.
	ViewedAt time.Time
	// Replaced: the debt is no longer asked for by this request, but by a newer one.
	Replaced bool
	Receipts []Receipt
}

// Left is what is still asked for.
func (v PayerView) Left() Money {
	left := v.Request.Amount
	left.Minor = max(0, left.Minor-v.Paid+v.Refunded)
	return left
}

// LiveSession is a session with what is planned for it.
type LiveSession struct {
	Session
	Ending string    // why it is to be ended; empty = it is not
	Lost   bool      // the answer to its create was lost
	Check  int64     // the planned time of its settling, as a wake's epoch
	Asked  time.Time // when the provider was last asked about it for a payer
}

// Receipt is money that arrived or went back.
type Receipt struct {
	Kind   string // settled, authorized, refunded, voided, outside
	Amount Money
	Ref    string
	At     time.Time
}
