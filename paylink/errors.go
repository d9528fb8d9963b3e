package paylink

import (
	"errors"
	"fmt"
	"time"
)

// The sentinels that all packages share. Test for them with errors.Is.
var (
	// ErrNotFound: no such batch, request, session or message.
	ErrNotFound = errors.New("not found")
	// ErrConflict: somebody else changed it first, or its state does not allow this. Nothing was done.
	ErrConflict = errors.New("conflict")
	// ErrInvalid: what was given cannot mean anything, whatever the state.
	ErrInvalid = errors.New("invalid")
	// ErrUnconfirmed: an event names a session that its attempt is not known to have; the provider must be asked.
	ErrUnconfirmed = errors.New("not confirmed by the provider")
	// ErrTooLarge: a file is larger than is sent along; a link to it will do.
	ErrTooLarge = errors.New("too large")
	// ErrFrozen: a message may be sent again only with the bytes of the attempt whose answer was lost.
	ErrFrozen = errors.New("the bytes differ from what was sent before")
)

// Kind says what is known about an outside call that did not simply succeed.
type Kind string

// The three answers of the outside world that are not "done".
const (
	// Permanent: refused for good; asking again in the same way cannot succeed.
	Permanent Kind = "permanent"
	// Temporary: certainly not done this time; asking again may succeed.
	Temporary Kind = "temporary"
	// Unknown: we asked and lost the answer; it may have been done. Never retried blindly (law 3).
	Unknown Kind = "unknown"
)

// Scope says whose fault a failure is, and with that how far its consequence reaches.
type Scope string

// The scopes, from narrow to wide.
const (
	// ScopeRow: this payer's data (a dead number, a full mailbox).
	ScopeRow Scope = "row"
	// ScopeTemplate: our text or its variables; every row of the batch would fail alike, so the batch halts.
	ScopeTemplate Scope = "template"
	// ScopeProvider: the provider is down or tells us to slow down; no row's retry is spent on it.
	ScopeProvider Scope = "provider"
	// ScopeAccount: our key, account or sender is not accepted; the channel halts until a person acts.
	ScopeAccount Scope = "account"
)

// Failure is how every adapter reports an outside call that did not succeed. Its text carries no address, name, link or
// key, because it reaches logs, Redis and the queue dashboard (law 8).
type Failure struct {
	Kind  Kind
	Scope Scope
	// Cause is the stable word under which people count failures.
	Cause Cause
	// Code is the provider's own code, such as "21610", "550 5.1.1" or "http 502". Empty when there was none.
	Code string
	// Detail says in a few words what happened, scrubbed of personal data.
	Detail string
	// RetryAfter is how long the provider asked us to wait; 0 when it did not say.
	RetryAfter time.Duration
	// Suppress asks that this address be written to nobody again on this channel (an opt-out, a hard bounce).
	Suppress bool
}

func (f *Failure) Error() string {
	s := fmt.Sprintf("%s (%s, %s)", f.Cause, f.Kind, f.Scope)
	if f.Code != "" {
		s += " " + f.Code
	}
	if f.Detail != "" {
		s += ": " + f.Detail
	}
	return s
}

// AsFailure returns the Failure inside err. An error that is none becomes an unknown outcome: who cannot say what
// happened must not claim that nothing did.
func AsFailure(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return &Failure{Kind: Unknown, Scope: ScopeRow, Cause: CauseInternal, Detail: "unclassified error"}
}

// Cause is the stable word for why something failed: counted in reports, given to `enqueue retry --cause`, kept for ever.
type Cause string

// The causes.
const (
	CauseBadAddress      Cause = "bad_address"      // the number or mailbox does not exist or cannot take this channel
	CauseNoAddress       Cause = "no_address"       // the row has no address for the channel
	CauseMailboxFull     Cause = "mailbox_full"     // the mailbox is full or switched off
	CauseUnreachable     Cause = "unreachable"      // handset off, carrier gave up
	CauseOptedOut        Cause = "opted_out"        // the payer said STOP, unsubscribed or blocked the sender
	CauseSuppressed      Cause = "suppressed"       // an earlier bounce or a person's entry keeps us from writing
	CauseRejectedContent Cause = "rejected_content" // the provider or the carrier refused the text
	CauseTemplate        Cause = "template"         // our template or its variables are broken
	CauseRefused         Cause = "refused"          // refused for this recipient for another reason
	CauseCheckoutRefused Cause = "checkout_refused" // the payment provider refused to make the session
	CauseCurrency        Cause = "currency"         // the payment provider does not take this currency or amount
	CauseAccount         Cause = "account"          // bad key, suspended account, unknown sender
	CauseRateLimited     Cause = "rate_limited"     // told to slow down
	CauseUnavailable     Cause = "unavailable"      // the provider is down or unreachable
	CauseLostAnswer      Cause = "lost_answer"      // sent, but the answer was lost
	CauseExpired         Cause = "expired"          // too late: the debt's own expiry passed
	CauseUndelivered     Cause = "undelivered"      // accepted first, then reported as not delivered
	CauseExhausted       Cause = "exhausted"        // temporary failures until the retries ran out
	CausePaid            Cause = "paid"             // paid before anything was sent
	CauseCanceled        Cause = "canceled"         // a person canceled it
	CauseRestored        Cause = "restored"         // a backup was restored; it may have been sent since the backup
	CauseAttachment      Cause = "attachment"       // the file of attachment_url is not public, not there or no document
	CauseInternal        Cause = "internal"         // our own mistake
)
