package paylink

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// MessageReceipt is what a provider told about a message after it had taken it: a status callback, an answer to a question
// of ours, or a bounce. An adapter has verified and read it; the ledger applies it by rank (law 6).
type MessageReceipt struct {
	// Token names the attempt, as [MessageClaim.Token] did: it comes back in Twilio's callbacks and in a mail's envelope
	// address. Empty when we asked about a message by its reference.
	Token string
	// Message is set instead of Token when we asked.
	Message MessageID
	// Ref is the provider's reference; empty in a bounce.
	Ref string
	// State is one of accepted, sent, delivered, read, failed and undelivered.
	State MessageState
	// RawState is the provider's own word.
	RawState string
	// Failure says why it failed or was not delivered, and whether the address is to be suppressed; nil otherwise.
	Failure *Failure
	// Segments is how many parts the provider billed; 0 = not told.
	Segments int
}

// EventNoMessage is the outcome of an event about a message that none of our attempts has sent.
const EventNoMessage EventOutcome = "unknown_message"

// The kinds of flags that receipts raise.
const (
	FlagNoMessage FlagKind = "unknown_message" // a verified receipt that is for no attempt of ours
	FlagSentTwice FlagKind = "sent_twice"      // an answer was lost, policy sent again, and both copies went out
)

// AddressHash is what an address is known by in the list of suppressions: enough to keep silent, and out of sight.
func AddressHash(ch Channel, address string) string {
	h := sha256.Sum256([]byte("dunlin suppression\x00" + string(ch) + "\x00" + address))
	return hex.EncodeToString(h[:])
}

// SuppressionReason says why an address must not be written to.
type SuppressionReason string

// The reasons, from weak to strong: one that a person or a complaint has set is not replaced by a weaker one.
const (
	SuppressedBounced    SuppressionReason = "bounced"    // it does not exist, or takes nothing
	SuppressedOptedOut   SuppressionReason = "opted_out"  // its owner said stop
	SuppressedComplained SuppressionReason = "complained" // its owner called us a nuisance
	SuppressedManual     SuppressionReason = "manual"     // a person of ours entered it
)

// SourceStop is the source of a suppression that the payer asked for by answering STOP; START takes it back.
const SourceStop = "stop"

// Suppression keeps one address of one channel from being written to.
type Suppression struct {
	Channel Channel
	// Address or Hash: the hash is for who has only that.
	Address, Hash string
	Reason        SuppressionReason
	// Source says in a word or code where it came from, without personal data.
	Source string
	// Request is the one by which we learnt of it; 0 = none.
	Request RequestID
	// Event is closed as applied with it; 0 = none.
	Event EventID
	// At is when it was written; filled by lists only.
	At time.Time
}

// Key is the address' hash.
func (s Suppression) Key() string {
	if s.Hash != "" {
		return s.Hash
	}
	return AddressHash(s.Channel, s.Address)
}
