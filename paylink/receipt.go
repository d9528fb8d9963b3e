package paylink

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
