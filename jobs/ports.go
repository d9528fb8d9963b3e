package jobs

import (
	"context"
	"time"

	"dunlin/notify"
	"dunlin/paylink"
)

// Ledger is what the handlers need of the record. Each method is one transaction; [paylink.ErrConflict] means that there
// is nothing to do.
type Ledger interface {
	Now() time.Time
	Defer(ctx context.Context, w paylink.Wake, until time.Time) error

	ClaimSession(ctx context.Context, id paylink.RequestID, epoch int64, opt paylink.ClaimOptions) (paylink.SessionClaim, error)
	RecordSession(ctx context.Context, c paylink.SessionClaim, s paylink.CheckoutSession) ([]paylink.Wake, error)
	FailSession(ctx context.Context, c paylink.SessionClaim, f *paylink.Failure, retryAt time.Time, countTry bool) error
	LoseSession(ctx context.Context, c paylink.SessionClaim) (paylink.Wake, error)
	ClaimSettle(ctx context.Context, id paylink.SessionID, epoch int64, opt paylink.ClaimOptions) (paylink.SettleClaim, error)
	Settled(ctx context.Context, c paylink.SettleClaim, ended, absent bool, retryAt time.Time, life time.Duration) ([]paylink.Wake, error)
	Amended(ctx context.Context, c paylink.SettleClaim) ([]paylink.Wake, error)
	AdoptState(ctx context.Context, id paylink.SessionID, seen paylink.CheckoutSession) error

	ClaimMessage(ctx context.Context, id paylink.MessageID, epoch int64, opt paylink.ClaimOptions) (paylink.MessageClaim, []paylink.Wake, error)
	CommitMessage(ctx context.Context, c paylink.MessageClaim, opt paylink.CommitOptions) error
	AcceptMessage(ctx context.Context, c paylink.MessageClaim, ref string, segments int) error
	FailMessage(ctx context.Context, c paylink.MessageClaim, f *paylink.Failure, retryAt time.Time, countTry bool) ([]paylink.Wake, error)
	LoseMessage(ctx context.Context, c paylink.MessageClaim, f *paylink.Failure, checkIn time.Duration) error
	ReleaseMessage(ctx context.Context, c paylink.MessageClaim, nextAt time.Time) error
	HoldMessage(ctx context.Context, c paylink.MessageClaim, why string) error
	ClaimInquiry(ctx context.Context, id paylink.MessageID, epoch int64, opt paylink.ClaimOptions) (paylink.InquiryClaim, error)
	InquiryFound(ctx context.Context, c paylink.InquiryClaim, ref string) error
	InquiryOpen(ctx context.Context, c paylink.InquiryClaim, nextIn time.Duration, counted bool) error
	InquiryHold(ctx context.Context, c paylink.InquiryClaim) error
	InquiryResend(ctx context.Context, c paylink.InquiryClaim) (paylink.Wake, error)

	Feedable(ctx context.Context) ([]paylink.FeedState, error)
	Feed(ctx context.Context, id paylink.BatchID, n int) ([]paylink.Wake, error)
	Sweep(ctx context.Context, opt paylink.SweepOptions) ([]paylink.Wake, error)
	Advance(ctx context.Context) ([]paylink.Batch, error)
	Halt(ctx context.Context, id paylink.BatchID, why string) error
	Gates(ctx context.Context) ([]paylink.Gate, error)
	ChangeGate(ctx context.Context, provider string, fn func(paylink.Gate) paylink.Gate) (paylink.Gate, bool, error)
	TakeLease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error)
	DropLease(ctx context.Context, name, holder string) error
	Used(ctx context.Context, provider string, at time.Time) (int64, error)
	TidyLedger
	ReceiptLedger

	// Attachment returns the kept file of an address; SaveAttachment keeps one and returns what is kept, which is another's
	// if that was faster; DropAttachments deletes those that were kept long enough.
	Attachment(ctx context.Context, id paylink.BatchID, url string) (a paylink.Attachment, found bool, err error)
	DropAttachments(ctx context.Context) error
	SaveAttachment(ctx context.Context, id paylink.BatchID, url string, a paylink.Attachment) (paylink.Attachment, error)
}

// Attachments fetches the files that rows name by attachment_url. Errors are [paylink.ErrTooLarge] or
// [*paylink.Failure]s.
type Attachments interface {
	Fetch(ctx context.Context, url string) (paylink.Attachment, error)
}

// Checkout is what the handlers need of the payment provider. Errors are [*paylink.Failure]s.
type Checkout interface {
	Create(ctx context.Context, o paylink.CheckoutOrder) (paylink.CheckoutSession, error)
	// Retrieve reads a session; for one that the provider does not have errors.Is(err, paylink.ErrNotFound) holds.
	Retrieve(ctx context.Context, providerID string) (paylink.CheckoutSession, error)
	// Update changes a session in place; only a permanent failure is a refusal of the change.
	Update(ctx context.Context, providerID string, ch paylink.SessionChange) (paylink.CheckoutSession, error)
	// ExpireOrder ends the session of an order number; a permanent failure is the answer "absent or not allowed".
	ExpireOrder(ctx context.Context, orderNo string) error
}

// Builder renders a claimed message.
type Builder interface {
	Build(c paylink.MessageClaim) (out notify.Outgoing, templateHash string, err error)
	Mark(c paylink.InquiryClaim) string
	Reveals() bool
}

// Queue wakes handlers. It may lose, repeat and delay; the ledger does not depend on it.
type Queue interface {
	// Enqueue hands wakes to the queue. A wake that is queued already is success.
	Enqueue(ctx context.Context, wakes ...paylink.Wake) error
	// Depth is how many tasks wait or run in the queue of a provider.
	Depth(ctx context.Context, provider Provider) (int, error)
}

// Limiter paces calls to a provider, across all processes.
type Limiter interface {
	// Wait blocks until a call may be made, at most for atMost. If it would take longer it says how long, and takes
	// nothing.
	Wait(ctx context.Context, p Provider, atMost time.Duration) (later time.Duration, err error)
	// Pause keeps everybody from calling for a while: the provider asked for it.
	Pause(ctx context.Context, p Provider, d time.Duration) error
}

// Alerter tells operators of something that a person must act on.
type Alerter interface {
	// Alert is called once per cause, not once per payer; key names the cause.
	Alert(ctx context.Context, key, text string)
}

// Provider names an outside service by what it does for us. Each has a queue, a server, limits and a breaker of its own.
type Provider string

// The providers.
const (
	ProviderCheckout Provider = "checkout"
	ProviderEmail    Provider = "email"
	ProviderSMS      Provider = "sms"
	ProviderWhatsApp Provider = "whatsapp"
)

// Providers lists every provider.
var Providers = []Provider{ProviderCheckout, ProviderEmail, ProviderSMS, ProviderWhatsApp}

// providerOf says which provider a wake's handler calls; "" for none.
func providerOf(w paylink.Wake) Provider {
	switch w.Task {
	case paylink.TaskCreate, paylink.TaskSettle:
		return ProviderCheckout
	case paylink.TaskSend, paylink.TaskInquire:
		return Provider(w.Channel)
	}
	return ""
}

func channelOf(p Provider) paylink.Channel {
	if p == ProviderCheckout {
		return ""
	}
	return paylink.Channel(p)
}
