package intake

import (
	"time"

	"dunlin/batchfile"
	"dunlin/paylink"
)

// Plan is what sending a file will mean. It is what a person confirms, and what the ledger keeps with the batch.
type Plan struct {
	File   string `json:"file"`
	Hash   string `json:"hash"` // SHA-256 of the content, hex
	Format string `json:"format"`
	// Columns say how each column was understood: "as" is empty for those kept as extras.
	Columns []Column `json:"columns"`

	Rows     int64 `json:"rows"`
	Good     int64 `json:"good"`
	Rejected int64 `json:"rejected"`
	// Duplicates and Repeats are among the rejected: the same debt twice in the file, or already asked for.
	Duplicates int64 `json:"duplicates"`
	Repeats    int64 `json:"repeats"`
	// Kinds counts the rejected rows by kind.
	Kinds map[string]int64 `json:"kinds,omitempty"`
	// Rejections are the first of them.
	Rejections []paylink.Rejection `json:"rejections,omitempty"`

	Totals   []Total    `json:"totals"`   // by currency
	Routes   []Routes   `json:"routes"`   // how the channels of the rows were read
	Messages []Messages `json:"messages"` // by channel and language
	SMS      *SMS       `json:"sms,omitempty"`
	Costs    []Cost     `json:"costs,omitempty"`
	Finish   Finish     `json:"finish"`
	// Receipts: who has paid is sent a receipt, beside the messages that are counted here.
	Receipts bool `json:"receipts,omitempty"`
	// Warnings are whole sentences for the person who confirms.
	Warnings []string `json:"warnings,omitempty"`
}

// Column is how one column of the file was understood.
type Column struct {
	Name string `json:"name"`
	As   string `json:"as"`
}

// Total is what the good rows of one currency ask for.
type Total struct {
	Currency string `json:"currency"`
	Rows     int64  `json:"rows"`
	Amount   string `json:"amount"` // decimal
	Minor    int64  `json:"minor"`
}

// Money is the total as an amount.
func (t Total) Money() paylink.Money { return paylink.Money{Minor: t.Minor, Currency: t.Currency} }

// Routes is how many rows are to be reached in one way.
type Routes struct {
	Channels string `json:"channels"` // as in the file: email+whatsapp>sms
	Words    string `json:"words"`
	Rows     int64  `json:"rows"`
}

// Messages is how many messages go out by one channel in one language, and how many more would go out by it if every
// channel before it on a route failed.
type Messages struct {
	Channel  paylink.Channel `json:"channel"`
	Language string          `json:"language"`
	First    int64           `json:"first"`
	Fallback int64           `json:"fallback"`
}

// SMS is what the texts of a batch are billed as. The counts come from rendering each row's own text.
type SMS struct {
	Messages int64 `json:"messages"`
	Segments int64 `json:"segments"`
	// Unicode is how many of the messages are not GSM-7 and hold 70 instead of 160 characters a segment.
	Unicode int64 `json:"unicode"`
	// Longest is the most segments that one message has.
	Longest int `json:"longest"`
	// FallbackSegments come on top if every fallback to SMS is needed.
	FallbackSegments int64 `json:"fallback_segments"`
}

// Cost is the estimated price of a channel's messages, fallbacks left out.
type Cost struct {
	Channel  paylink.Channel `json:"channel"`
	Amount   string          `json:"amount"`
	Currency string          `json:"currency"`
}

// Finish is how long sending takes at least under the limits, if nothing else is being sent.
type Finish struct {
	Seconds int64  `json:"seconds"`
	Slowest string `json:"slowest"` // the provider that sets the pace
}

// Duration is the time to finish.
func (f Finish) Duration() time.Duration { return time.Duration(f.Seconds) * time.Second }

// shownRejections is how many rejections a plan carries; all of them are in the ledger once the file was sent.
const shownRejections = 20

func columnsOf(cols []batchfile.Column) []Column {
	out := make([]Column, len(cols))
	for i, c := range cols {
		out[i] = Column(c)
	}
	return out
}
