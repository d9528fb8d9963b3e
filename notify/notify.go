// Package notify turns a payment request into messages: it builds what an adapter sends and says which channel follows
// when one has failed for certain.
//
// The adapters stand below: notify/email speaks SMTP, notify/twilio sends SMS and WhatsApp. They share the contract of
// [Sender]: everything is rendered before the call, commit is called once at the point of no return, and an error says
// what is known of the outcome ([paylink.Failure]).
package notify

import (
	"context"
	"time"

	"dunlin/paylink"
)

// Outgoing is one rendered message. Two sends of an equal Outgoing put equal bytes on the wire, so that a message sent
// again after a lost answer is the same message (same Message-ID, same date, same boundary).
type Outgoing struct {
	Channel paylink.Channel
	To      string // E.164 number or mailbox
	ToName  string // display name for email; may be empty

	// Text is the SMS, or the plain part of an email.
	Text string

	// For email.
	Subject   string
	HTML      string
	Language  string
	MessageID string // without angle brackets; characters A-Z a-z 0-9 . - and one @
	Date      time.Time
	Boundary  string
	Inline    []Inline
	// Attachment goes with an email; nil = none.
	Attachment *paylink.Attachment
	// Unsubscribe is the address, https, at which a POST stops emails to this payer (RFC 8058). It must be the same each
	// time the message is sent. Empty = the mail offers none.
	Unsubscribe string

	// For WhatsApp: an approved template and its variables, never free text.
	ContentSID string
	Variables  map[string]string

	// AttemptToken is unguessable and comes back with status callbacks; an unknown send is settled by it.
	AttemptToken string
	// ValidFor is how long the provider may queue the message; 0 = its default.
	ValidFor time.Duration
}

// Inline is a picture shown inside an HTML mail as cid:Name.
type Inline struct {
	Name        string
	ContentType string
	Data        []byte
}

// Commit records, in the ledger, that the message is about to pass the point of no return; hash is the SHA-256 of what
// will be sent. If it returns an error the adapter sends nothing and returns that error unchanged.
type Commit func(ctx context.Context, hash [32]byte) error

// Receipt is the provider's answer to an accepted message.
type Receipt struct {
	// Ref is the provider's reference: a Twilio SID, or what the mail server said after the final dot.
	Ref string
	// State is accepted, or further along if the provider already said so.
	State paylink.MessageState
	// Segments is how many SMS segments were billed; 0 when not known.
	Segments int
}

// Sender sends one message and must classify every failure as a [*paylink.Failure]; errors of commit pass unchanged.
// Before commit has been called no failure may be of kind unknown.
type Sender interface {
	Send(ctx context.Context, m Outgoing, commit Commit) (Receipt, error)
}

// Lookup describes a message whose answer was lost.
type Lookup struct {
	Channel paylink.Channel
	To      string
	// After is when the send began; older messages are not it.
	After time.Time
	// Mark occurs in the body of the message and in no other: the link's token, or the short reference.
	Mark string
}

// Finder looks a message up at the provider. Not found is no proof that it was not sent: lists lag.
type Finder interface {
	Find(ctx context.Context, l Lookup) (r Receipt, found bool, err error)
}
