package paylink

import "time"

// Request is one debt asked of one payer. Whom it reaches stands apart, in [Contact].
type Request struct {
	ID            RequestID
	Line          int
	Dispatch      DispatchState
	Payment       PaymentState
	Reference     string
	Amount        Money
	Language      string
	Country       string
	Timezone      string
	Routes        Routes
	DueDate       string
	ExpiresIn     time.Duration // how long a session may live; 0 = the default
	Description   string
	CustomerID    string
	InvoiceNumber string
	AttachmentURL string
	// Secret makes the payer's link unguessable; see [Token].
	Secret []byte
	// Cause says why dispatch is failed, suppressed or skipped; empty otherwise.
	Cause Cause
	// Epoch is the ledger's count of wake-ups; an older task is stale.
	Epoch int64
	// Attempts counts tries at making a session that were the row's own fault.
	Attempts  int
	UpdatedAt time.Time
}

// Contact is the personal data of one request: the only place it is kept, so that redaction has one place to go.
type Contact struct {
	Name      string
	FirstName string
	LastName  string
	Email     string
	Phone     string
	Extra     map[string]string
}

// Address is where the channel reaches the contact; empty if it cannot.
func (c Contact) Address(ch Channel) string {
	if ch == Email {
		return c.Email
	}
	return c.Phone
}

// Session is one checkout session, from the stored intent on.
type Session struct {
	ID         SessionID
	RequestID  RequestID
	State      SessionState
	OrderNo    string
	ProviderID string
	URL        string
	Amount     Money
	ExpiresAt  time.Time
	RevealedAt time.Time // when its link was first given to somebody; zero = nobody has it
	Cards      bool      // made with the customer's id, so that it may show saved cards
}

// Message is one purpose to one payer by one channel.
type Message struct {
	ID          MessageID
	RequestID   RequestID
	Purpose     string
	Channel     Channel
	N           int // 1, or more by a recorded command
	State       MessageState
	Epoch       int64
	Attempts    int
	ProviderRef string
	Cause       Cause
	// PossibleDuplicate marks a message that policy sent again after its answer was lost.
	PossibleDuplicate bool
}

// Attachment is a file that goes with a mail.
type Attachment struct {
	Name string // without path; letters, digits, blanks, - and _, and an ending
	Type string // media type
	Data []byte
}

// PurposeLink is the purpose of the message that carries a payment link for the first time.
const PurposeLink = "link"

// PurposeReceipt is the purpose of the message that thanks for money. It asks for nothing: dispatch and its till do not
// count it, and it is sent although the debt is paid.
const PurposeReceipt = "receipt"

// PaidNote is what a receipt says. It is fixed when the receipt is owed: sums that move on must not change the bytes of a
// message that may have been sent.
type PaidNote struct {
	Received  Money  `json:"received"` // by this payment
	Left      Money  `json:"left"`     // of the debt, after it
	Reference string `json:"reference,omitempty"`
}

// Event is one recorded change of state. Events are only ever added.
type Event struct {
	At       time.Time
	Batch    BatchID
	Request  RequestID // 0 for an event of the batch
	Entity   string    // batch, request, payment, session, message, gate
	EntityID int64
	From, To string
	Actor    string
	Why      string
}

// CheckoutOrder is what a checkout session is made from. It carries no message settings: Ottu's own notifications stay
// off, Dunlin sends.
type CheckoutOrder struct {
	OrderNo    string
	Amount     Money
	Language   string
	FirstName  string
	LastName   string
	Email      string
	Phone      string
	CustomerID string
	DueDate    string
	ExpiresIn  time.Duration
	// ReturnURL and WebhookURL are where the provider sends the payer and its events; empty without a public address.
	ReturnURL, WebhookURL string
}

// CheckoutSession is the provider's view of a session.
type CheckoutSession struct {
	ProviderID string
	OrderNo    string
	URL        string // the address for the payer: the short one when the provider gave one
	State      SessionState
	RawState   string // the provider's own word
	Amount     Money
	ExpiresAt  time.Time // zero if the provider did not say
}
