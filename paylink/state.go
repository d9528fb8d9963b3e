package paylink

import "fmt"

// Machine is a state machine as data: which state may follow which. A state that is missing as a key has no way out.
type Machine[S ~string] struct {
	// Name is the machine's name in docs/states.md.
	Name string
	// States lists every state, in the order of documents and reports.
	States []S
	// Edges says which states may follow by an event of ours or of the outside world.
	Edges map[S][]S
	// ByCommand says which further moves only a person may command; each is recorded with who and why.
	ByCommand map[S][]S
}

// Can reports whether an event may move from one state to the other.
func (m *Machine[S]) Can(from, to S) bool { return contains(m.Edges[from], to) }

// CanByCommand reports whether a person may move from one state to the other.
func (m *Machine[S]) CanByCommand(from, to S) bool {
	return m.Can(from, to) || contains(m.ByCommand[from], to)
}

// Check returns [ErrConflict] in words if an event may not move from one state to the other.
func (m *Machine[S]) Check(from, to S) error {
	if m.Can(from, to) {
		return nil
	}
	return fmt.Errorf("%s cannot go from %s to %s: %w", m.Name, from, to, ErrConflict)
}

func contains[S comparable](list []S, s S) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// BatchState is where a batch as a whole stands.
type BatchState string

// The states of a batch.
const (
	BatchImporting BatchState = "importing" // rows are being read in; a killed import goes on from here
	BatchDraft     BatchState = "draft"     // read whole and checked; waits for somebody to confirm the plan
	BatchHeld      BatchState = "held"      // confirmed, but waits: for approval, for its hold window, for the canary's verdict
	BatchRunning   BatchState = "running"   // rows are being fed, linked and sent
	BatchPaused    BatchState = "paused"    // a person stopped it for now
	BatchHalted    BatchState = "halted"    // a brake stopped it: bad rate, broken template, account error; a person resumes
	BatchDone      BatchState = "done"      // nothing is pending or in flight
	BatchCanceled  BatchState = "canceled"  // a person called it off
)

// BatchMachine is the life of a batch.
var BatchMachine = &Machine[BatchState]{
	Name:   "batch",
	States: []BatchState{BatchImporting, BatchDraft, BatchHeld, BatchRunning, BatchPaused, BatchHalted, BatchDone, BatchCanceled},
	Edges: map[BatchState][]BatchState{
		BatchImporting: {BatchDraft},
		BatchDraft:     {BatchHeld, BatchRunning},
		BatchHeld:      {BatchRunning},
		BatchRunning:   {BatchDone, BatchHalted, BatchHeld},
		BatchPaused:    {},
		BatchHalted:    {},
	},
	ByCommand: map[BatchState][]BatchState{
		BatchImporting: {BatchCanceled},
		BatchDraft:     {BatchCanceled},
		BatchHeld:      {BatchCanceled, BatchPaused, BatchDraft},
		BatchRunning:   {BatchPaused, BatchCanceled},
		BatchPaused:    {BatchRunning, BatchCanceled},
		BatchHalted:    {BatchRunning, BatchCanceled, BatchPaused},
		BatchDone:      {BatchRunning, BatchCanceled}, // retry and resend wake it; cancel ends the links that are still open
	},
}

// DispatchState is what we did about one request: the till's column. See [Dispatch] for how it follows from the parts.
type DispatchState string

// The dispatch states. Together with the rejected rows they add up to the rows of the file (law 1).
const (
	DispatchPending    DispatchState = "pending"    // not yet fed
	DispatchInFlight   DispatchState = "in_flight"  // something is still owed to this payer
	DispatchSent       DispatchState = "sent"       // nothing owed, at least one message accepted
	DispatchFailed     DispatchState = "failed"     // nothing owed, nothing accepted
	DispatchSuppressed DispatchState = "suppressed" // the payer opted out or bounced before
	DispatchSkipped    DispatchState = "skipped"    // paid, written off or amended away before anything was sent
	DispatchCanceled   DispatchState = "canceled"   // called off before anything was sent
	DispatchUnknown    DispatchState = "unknown"    // an answer was lost and is not resolved
)

// DispatchMachine is the dispatch column. sent → in_flight is a fallback or a resend; sent → failed is a receipt that
// says the only accepted message was not delivered.
var DispatchMachine = &Machine[DispatchState]{
	Name: "dispatch",
	States: []DispatchState{DispatchPending, DispatchInFlight, DispatchSent, DispatchFailed, DispatchSuppressed,
		DispatchSkipped, DispatchCanceled, DispatchUnknown},
	Edges: map[DispatchState][]DispatchState{
		DispatchPending:  {DispatchInFlight, DispatchSkipped},
		DispatchInFlight: {DispatchSent, DispatchFailed, DispatchSuppressed, DispatchSkipped, DispatchCanceled, DispatchUnknown},
		DispatchUnknown:  {DispatchInFlight, DispatchSent, DispatchFailed, DispatchSuppressed, DispatchSkipped, DispatchCanceled},
		DispatchSent:     {DispatchInFlight, DispatchFailed, DispatchUnknown},
		DispatchFailed:   {DispatchSent, DispatchUnknown}, // late truth: a lost or failed message was accepted after all
		// Between these two when what was dropped after a part of the money is paid in whole, or a hold is voided.
		DispatchCanceled: {DispatchSent, DispatchUnknown, DispatchFailed, DispatchSkipped},
		DispatchSkipped:  {DispatchSent, DispatchUnknown, DispatchCanceled},
		// Late truth about a message that was suppressed or dropped after its answer was lost.
		DispatchSuppressed: {DispatchSent},
	},
	ByCommand: map[DispatchState][]DispatchState{
		DispatchPending:    {DispatchCanceled, DispatchUnknown}, // unknown: a backup was restored
		DispatchFailed:     {DispatchInFlight, DispatchCanceled},
		DispatchSuppressed: {DispatchInFlight, DispatchCanceled},
		DispatchSkipped:    {DispatchInFlight},
		DispatchCanceled:   {DispatchInFlight},
	},
}

// PaymentState is what became of the debt; a property of the request, not of any one session.
type PaymentState string

// The payment states. "processing" is derived, never stored.
const (
	PaymentUnpaid            PaymentState = "unpaid"             // asked for, no money yet
	PaymentAuthorized        PaymentState = "authorized"         // money is held, not captured; also cash on delivery
	PaymentPartiallyPaid     PaymentState = "partially_paid"     // less than the debt arrived; the rest is still asked for
	PaymentPaid              PaymentState = "paid"               // the debt is settled
	PaymentPartiallyRefunded PaymentState = "partially_refunded" // some of the money went back
	PaymentRefunded          PaymentState = "refunded"           // all of the money went back
	PaymentExpired           PaymentState = "expired"            // by the merchant's own rule for the debt, never by a dead session
	PaymentCanceled          PaymentState = "canceled"           // the merchant no longer asks for it
	PaymentWrittenOff        PaymentState = "written_off"        // the merchant gave it up
	PaymentPaidOutside       PaymentState = "paid_outside"       // cash or transfer, marked by a person
)

// PaymentMachine is the payment column. Events only move up; late money reaches even a canceled or expired debt.
var PaymentMachine = &Machine[PaymentState]{
	Name: "payment",
	States: []PaymentState{PaymentUnpaid, PaymentAuthorized, PaymentPartiallyPaid, PaymentPaid, PaymentPartiallyRefunded,
		PaymentRefunded, PaymentExpired, PaymentCanceled, PaymentWrittenOff, PaymentPaidOutside},
	Edges: map[PaymentState][]PaymentState{
		PaymentUnpaid:            {PaymentAuthorized, PaymentPartiallyPaid, PaymentPaid, PaymentExpired},
		PaymentAuthorized:        {PaymentPartiallyPaid, PaymentPaid, PaymentUnpaid}, // back to unpaid: the hold was voided
		PaymentPartiallyPaid:     {PaymentPaid, PaymentPartiallyRefunded, PaymentRefunded, PaymentExpired},
		PaymentPaid:              {PaymentPartiallyRefunded, PaymentRefunded},
		PaymentPartiallyRefunded: {PaymentRefunded, PaymentPaid},
		PaymentRefunded:          {PaymentPartiallyPaid, PaymentPaid},
		PaymentExpired:           {PaymentAuthorized, PaymentPartiallyPaid, PaymentPaid},
		PaymentCanceled:          {PaymentAuthorized, PaymentPartiallyPaid, PaymentPaid},
		PaymentWrittenOff:        {PaymentAuthorized, PaymentPartiallyPaid, PaymentPaid},
		PaymentPaidOutside:       {PaymentAuthorized, PaymentPartiallyPaid, PaymentPaid},
	},
	ByCommand: map[PaymentState][]PaymentState{
		PaymentUnpaid:        {PaymentCanceled, PaymentWrittenOff, PaymentPaidOutside},
		PaymentPartiallyPaid: {PaymentCanceled, PaymentWrittenOff, PaymentPaidOutside, PaymentUnpaid},
		PaymentExpired:       {PaymentUnpaid, PaymentCanceled, PaymentWrittenOff, PaymentPaidOutside},
		PaymentCanceled:      {PaymentUnpaid},
		PaymentWrittenOff:    {PaymentUnpaid, PaymentPaidOutside},
		PaymentPaidOutside:   {PaymentUnpaid},
	},
}

// Owes reports whether the payer should still be asked: nobody who has paid is chased (law 5).
func (s PaymentState) Owes() bool { return s == PaymentUnpaid || s == PaymentPartiallyPaid }

// SessionState is where one checkout session stands, in Ottu's words mapped to one each.
type SessionState string

// The session states.
const (
	SessionIntent     SessionState = "intent"     // the order number is stored, the create may be under way
	SessionOpen       SessionState = "open"       // made, not opened (Ottu: created)
	SessionPending    SessionState = "pending"    // the payer opened it
	SessionAttempted  SessionState = "attempted"  // a payment was tried and did not succeed; another try may
	SessionAuthorized SessionState = "authorized" // the money is held, not captured
	SessionPaid       SessionState = "paid"       // the money was captured
	SessionCOD        SessionState = "cod"        // the payer chose to pay cash on delivery
	SessionFailed     SessionState = "failed"     // it was not made for certain, or the provider closed it as failed
	SessionExpired    SessionState = "expired"    // its time ran out, or it was ended before anybody saw it
	SessionCanceled   SessionState = "canceled"   // called off, by us or at the provider
	SessionInvalid    SessionState = "invalid"    // a change at the provider made it unpayable (Ottu: invalided, invalid)
	SessionVoided     SessionState = "voided"     // the hold was let go
	SessionRefunded   SessionState = "refunded"   // the money went back
	SessionGhost      SessionState = "ghost"      // its create was lost; it may exist, nobody was given its link
	SessionSuperseded SessionState = "superseded" // ended at the provider so that another could take its place
)

// SessionMachine is the life of a session. Money may still arrive on a dead one: it is recorded and flagged (law 4).
var SessionMachine = &Machine[SessionState]{
	Name: "session",
	States: []SessionState{SessionIntent, SessionOpen, SessionPending, SessionAttempted, SessionAuthorized, SessionPaid,
		SessionCOD, SessionFailed, SessionExpired, SessionCanceled, SessionInvalid, SessionVoided, SessionRefunded,
		SessionGhost, SessionSuperseded},
	Edges: map[SessionState][]SessionState{
		SessionIntent: {SessionOpen, SessionGhost, SessionFailed, SessionCanceled, SessionExpired, SessionPending,
			SessionAttempted, SessionAuthorized, SessionPaid, SessionCOD},
		SessionOpen: {SessionPending, SessionAttempted, SessionAuthorized, SessionPaid, SessionCOD, SessionFailed,
			SessionExpired, SessionCanceled, SessionInvalid, SessionSuperseded},
		SessionPending: {SessionAttempted, SessionAuthorized, SessionPaid, SessionCOD, SessionFailed, SessionExpired,
			SessionCanceled, SessionInvalid, SessionSuperseded},
		SessionAttempted: {SessionPending, SessionAuthorized, SessionPaid, SessionCOD, SessionFailed, SessionExpired,
			SessionCanceled, SessionInvalid, SessionSuperseded},
		SessionAuthorized: {SessionPaid, SessionVoided, SessionRefunded},
		SessionCOD:        {SessionPaid, SessionCanceled},
		SessionPaid:       {SessionRefunded, SessionVoided},
		SessionFailed:     {SessionAuthorized, SessionPaid, SessionCOD},
		SessionExpired:    {SessionAuthorized, SessionPaid, SessionCOD},
		SessionCanceled:   {SessionAuthorized, SessionPaid, SessionCOD},
		SessionInvalid:    {SessionAuthorized, SessionPaid, SessionCOD},
		SessionGhost:      {SessionAuthorized, SessionPaid, SessionCOD},
		SessionSuperseded: {SessionAuthorized, SessionPaid, SessionCOD},
	},
}

// Live reports whether a payer who holds the link could pay by it: at most one such session per debt has a revealed
// link (law 4).
func (s SessionState) Live() bool {
	return s == SessionOpen || s == SessionPending || s == SessionAttempted
}

// Settled reports whether the session stops replacement and chasing: paid, authorized or cash on delivery.
func (s SessionState) Settled() bool {
	return s == SessionPaid || s == SessionAuthorized || s == SessionCOD
}

// MessageState is where one message stands.
type MessageState string

// The message states, by rank.
const (
	MessageOwed        MessageState = "owed"        // to be sent when its time comes
	MessageClaimed     MessageState = "claimed"     // a worker prepares it; surely not sent
	MessageCommitting  MessageState = "committing"  // at the point of no return
	MessageAccepted    MessageState = "accepted"    // the provider took it
	MessageSent        MessageState = "sent"        // the provider says it left
	MessageDelivered   MessageState = "delivered"   // the provider says it arrived
	MessageRead        MessageState = "read"        // the provider says it was opened
	MessageFailed      MessageState = "failed"      // refused for good, or the retries ran out; born so without an address
	MessageUndelivered MessageState = "undelivered" // accepted first, then reported as not delivered
	MessageSuppressed  MessageState = "suppressed"  // the address must not be written to
	MessageUnknown     MessageState = "unknown"     // the answer was lost
	MessageHeld        MessageState = "held"        // the answer was lost and policy says: wait for a person
	MessageCanceled    MessageState = "canceled"    // no longer wanted
)

// MessageMachine is the life of a message. Late truth about an attempt whose answer was lost reaches it wherever it has
// come to meanwhile: suppressed, canceled or failed.
var MessageMachine = &Machine[MessageState]{
	Name: "message",
	States: []MessageState{MessageOwed, MessageClaimed, MessageCommitting, MessageAccepted, MessageSent, MessageDelivered,
		MessageRead, MessageFailed, MessageUndelivered, MessageSuppressed, MessageUnknown, MessageHeld, MessageCanceled},
	Edges: map[MessageState][]MessageState{
		// From owed and claimed to the provider's word: late truth stops a message that policy was about to send again.
		MessageOwed: {MessageClaimed, MessageSuppressed, MessageCanceled, MessageFailed,
			MessageAccepted, MessageSent, MessageDelivered, MessageRead, MessageUndelivered},
		MessageClaimed: {MessageOwed, MessageCommitting, MessageSuppressed, MessageCanceled, MessageFailed, MessageHeld,
			MessageAccepted, MessageSent, MessageDelivered, MessageRead, MessageUndelivered},
		MessageCommitting: {MessageAccepted, MessageSent, MessageDelivered, MessageRead, MessageFailed, MessageUndelivered, MessageOwed, MessageUnknown,
			MessageHeld}, // refused, but its first copy may have arrived
		MessageAccepted:    {MessageSent, MessageDelivered, MessageRead, MessageFailed, MessageUndelivered},
		MessageSent:        {MessageDelivered, MessageRead, MessageFailed, MessageUndelivered},
		MessageFailed:      {MessageDelivered, MessageRead, MessageAccepted, MessageSent},
		MessageUndelivered: {MessageDelivered, MessageRead},
		MessageDelivered:   {MessageRead},
		MessageUnknown:     {MessageAccepted, MessageSent, MessageDelivered, MessageRead, MessageFailed, MessageUndelivered, MessageOwed, MessageHeld, MessageCanceled},
		MessageHeld:        {MessageAccepted, MessageSent, MessageDelivered, MessageRead, MessageFailed, MessageUndelivered},
		MessageSuppressed:  {MessageAccepted, MessageSent, MessageDelivered, MessageRead},
		MessageCanceled:    {MessageAccepted, MessageSent, MessageDelivered, MessageRead},
	},
	ByCommand: map[MessageState][]MessageState{
		MessageOwed:   {MessageHeld}, // a backup was restored: it may have been sent since
		MessageHeld:   {MessageOwed, MessageCanceled},
		MessageFailed: {MessageOwed},
	},
}

// Open reports whether the message still owes work.
func (s MessageState) Open() bool {
	return s == MessageOwed || s == MessageClaimed || s == MessageCommitting
}

// Accepted reports whether the provider has taken the message, whatever came after.
func (s MessageState) Accepted() bool {
	switch s {
	case MessageAccepted, MessageSent, MessageDelivered, MessageRead:
		return true
	}
	return false
}

// Rank orders the provider's word about a message; a status only moves up (law 6). States that are not the provider's
// word rank 0.
func (s MessageState) Rank() int {
	switch s {
	case MessageAccepted:
		return 10
	case MessageSent:
		return 40
	case MessageFailed, MessageUndelivered:
		return 50
	case MessageDelivered:
		return 60
	case MessageRead:
		return 70
	}
	return 0
}
