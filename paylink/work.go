package paylink

import (
	"fmt"
	"time"
)

// Task names a kind of work that the queue can be asked to wake somebody for. The values are asynq task types.
type Task string

// The tasks. Each carries an id and an epoch and nothing else (law 8).
const (
	TaskFeed    Task = "batch:feed"      // look whether batches have rows to feed
	TaskCreate  Task = "checkout:create" // make a request's checkout session
	TaskSettle  Task = "checkout:settle" // settle a session: a lost create, a ghost, one to be ended
	TaskSend    Task = "message:send"    // send a message
	TaskInquire Task = "message:check"   // look for a message whose answer was lost
)

// Wake asks the queue to run a task. The ledger hands out wakes and owns what they mean: a wake that is lost is given
// again by the sweeper, one that arrives twice or late is stale by its epoch.
type Wake struct {
	Task    Task
	ID      int64
	Epoch   int64
	Channel Channel   // of a message
	At      time.Time // not before; zero = now
}

// SessionClaim is the right to make one checkout session, once.
type SessionClaim struct {
	Session SessionID
	OrderNo string
	Request Request
	Contact Contact
	// Cards: the session may show the customer's saved cards.
	Cards bool
	// Park names the channels whose queue is full: their messages wait in the ledger for the sweeper.
	Park     map[Channel]bool
	Deadline time.Time // after this the claim is no longer ours and nothing may be sent
}

// SettleMode says why a session must be settled.
type SettleMode string

// The modes of settling.
const (
	SettleLost   SettleMode = "lost"   // the create's answer was lost: expire the order number before the next attempt
	SettleGhost  SettleMode = "ghost"  // the create may yet land late: expire the order number again
	SettleEnding SettleMode = "ending" // canceled, replaced or renewed: end it at the provider
	SettleAmend  SettleMode = "amend"  // the request was amended: change it at the provider, or else end it
)

// SettleClaim is the right to settle one session.
type SettleClaim struct {
	Session Session
	Mode    SettleMode
	Ending  string // why, when Mode is SettleEnding: canceled, replaced, renewed
	Checks  int    // how often it was tried before

	// When Mode is SettleAmend: what the session is to become.
	Change SessionChange
	// Replace: an earlier change to another amount may still land at the provider, so that only a new session is sure.
	Replace bool
	// EngagedAt is when the payer was last sent on to pay; zero = never by us.
	EngagedAt time.Time
	// Lease and Check name this claim to the ledger, which may have been told of another amendment meanwhile.
	Lease, Check int64
}

// MessageClaim is the right to send one message, once.
type MessageClaim struct {
	Message   Message
	Attempt   AttemptID
	Token     string // comes back in status callbacks
	Request   Request
	Contact   Contact
	SessionID SessionID
	Left      Money     // what is still asked for
	Link      string    // the provider's own link
	LinkDies  time.Time // when that link stops working
	Date      time.Time // the same at each attempt, so that a message sent again has the same bytes
	// Attachment is the file of the request's attachment_url; nil = there is none, or a link to it must do.
	Attachment *Attachment
	Paid       *PaidNote // what a receipt says; nil for any other purpose
	// Frozen is the SHA-256 (hex) of the attempt whose answer was lost; a resend must match it. Empty on a first send.
	Frozen string
	// AddressHash is what the address is known by in the list of suppressions.
	AddressHash string
	Epoch       int64
	Deadline    time.Time
}

// ClaimOptions say who claims and for how long.
type ClaimOptions struct {
	Worker string
	// Lease is the call's own timeout plus a margin.
	Lease time.Duration
	// NeedsLink: the message will carry the provider's link, so the session must be alive. With a public address of our
	// own the link is ours and lives as long as the debt.
	NeedsLink bool
	// Cards: the payer has proven to be the customer whose saved cards the session may show.
	Cards bool
}

// CommitOptions describe what is about to be sent.
type CommitOptions struct {
	BytesHash    string // SHA-256, hex
	TemplateHash string
	// Timeout is how long the call may take: the lease must outlast it.
	Timeout time.Duration
	// Reveals: the message carries the provider's own link.
	Reveals bool
}

// InquiryClaim is the right to look for one message whose answer was lost.
type InquiryClaim struct {
	Message   Message
	Attempt   AttemptID
	Request   Request
	To        string
	Began     time.Time // when the lost attempt passed the point of no return
	Checks    int       // look-ups so far
	Deadline  time.Time
	Link      string // the provider's own link, which is in the body when there is no public address
	ShortRef  string
	LinkToken string
}

// ShortRef is the request's short reference: it stands in the body of every message, so that a lost one can be found
// again, and people can read it out on the telephone.
func ShortRef(id RequestID) string { return id.String() }

// ReceiptNo numbers the receipts of a request: b12.345/1. It stands in the body of every receipt, and in no other message.
func ReceiptNo(id RequestID, n int) string { return fmt.Sprintf("%s/%d", id, n) }

// Counts are the till of one batch: they add up to Rows at every moment (law 1).
type Counts struct {
	Rejected   int64 `json:"rejected"`
	Pending    int64 `json:"pending"`
	InFlight   int64 `json:"in_flight"`
	Sent       int64 `json:"sent"`
	Failed     int64 `json:"failed"`
	Suppressed int64 `json:"suppressed"`
	Skipped    int64 `json:"skipped"`
	Canceled   int64 `json:"canceled"`
	Unknown    int64 `json:"unknown"`
}

// Sum is what must equal the file's rows.
func (c Counts) Sum() int64 {
	return c.Rejected + c.Pending + c.InFlight + c.Sent + c.Failed + c.Suppressed + c.Skipped + c.Canceled + c.Unknown
}

// Done reports whether nothing is pending or in flight.
func (c Counts) Done() bool { return c.Pending == 0 && c.InFlight == 0 }

// Batch is one file of payers.
type Batch struct {
	ID          BatchID
	State       BatchState
	Name        string
	Hash        string // SHA-256 (hex) of the content
	Format      string
	Parent      BatchID
	Header      []string
	Imported    int   // rows up to this number are in the ledger
	Rows        int64 // 0 until the file was read whole
	Canary      int
	Priority    int
	Receipts    bool // who has paid is sent a receipt
	Why         string
	Plan        []byte // JSON
	CreatedAt   time.Time
	CreatedBy   string
	ConfirmedAt time.Time
	FinishedAt  time.Time
}

// Status is what `enqueue status` shows of a batch.
type Status struct {
	Batch      BatchID                `json:"batch"`
	Name       string                 `json:"name"`
	State      BatchState             `json:"state"`
	Why        string                 `json:"why,omitempty"`
	Done       bool                   `json:"done"`
	Rows       int64                  `json:"rows"`
	Counts     Counts                 `json:"counts"`
	ChecksDue  int64                  `json:"checks_due"`
	Payments   map[PaymentState]int64 `json:"payments"`
	CreatedAt  time.Time              `json:"created_at"`
	FinishedAt *time.Time             `json:"finished_at,omitempty"`
}
