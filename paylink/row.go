package paylink

import "time"

// Row is one good row of a payer file, checked and in canonical form.
type Row struct {
	// Number counts data rows from 1; Line is the line of the file on which the row starts (its element for JSON).
	Number int
	Line   int
	// Reference is the merchant's own name for the debt; may be empty.
	Reference string
	Amount    Money
	// Name is the full name, joined from first and last if the file has those.
	Name, FirstName, LastName string
	Email                     string // A-label domain, lower-case domain part
	Phone                     string // E.164
	Routes                    Routes
	Language                  string // "en" or "ar"
	Country                   string // ISO 3166-1 alpha-2; may be empty
	Timezone                  string // IANA; may be empty
	DueDate                   string // YYYY-MM-DD; may be empty
	ExpiresIn                 time.Duration
	Description               string
	CustomerID                string
	InvoiceNumber             string
	AttachmentURL             string
	// Extra holds the columns that Dunlin does not know, by the header's own words, for templates.
	Extra map[string]string
	// Origin names the rejected row that this one mends, when the file is the error file of an earlier batch.
	Origin RequestID
	// Recurrence is set by Ottu's own recurring columns; such rows belong in a schedule, not in a batch.
	Recurrence *Recurrence
}

// Recurrence is what Ottu's bulk file says about repeating a request.
type Recurrence struct{ Rule, Start, End string }

// Rejection is one row that was not taken, with what a person needs to mend it.
type Rejection struct {
	Number int    `json:"row"`
	Line   int    `json:"line"`
	Column string `json:"column"` // the file's own header, or "" when the row as a whole is wrong
	Kind   string `json:"kind"`   // stable word: amount, phone, email, duplicate, repeat, …
	Reason string `json:"reason"` // what is wrong
	Hint   string `json:"hint"`   // what to do
	// Raw is the record as it stood in the file, in the file's columns.
	Raw []string `json:"-"`
}

// RepeatKind and DuplicateKind are the kinds of rejection that depend on other rows: of earlier batches and of the same
// file.
const (
	RepeatKind    = "repeat"
	DuplicateKind = "duplicate"
)
