package paylink

import "time"

// Amendment is what a person changes about a request. nil leaves a field as it is; an empty text clears it.
type Amendment struct {
	// Amount is the whole debt, in the request's own currency. It must be more than what was paid already.
	Amount *Money
	// DueDate is YYYY-MM-DD.
	DueDate, Description *string
	// Email, Phone (E.164) and Name are in canonical form.
	Email, Phone, Name *string
}

// The fields of an amendment, as events and people name them.
const (
	FieldAmount      = "amount"
	FieldDueDate     = "due_date"
	FieldDescription = "description"
	FieldEmail       = "email"
	FieldPhone       = "phone"
	FieldName        = "name"
)

// SessionChange is what is changed about a checkout session in place; nil leaves a field as it is, and an empty text
// clears it.
type SessionChange struct {
	Amount                                      *Money
	Email, Phone, FirstName, LastName, Language *string
	// DueDate is YYYY-MM-DD.
	DueDate *string
	// ExpiresIn counts from the making of the session, not from the change.
	ExpiresIn *time.Duration
}

// OnlyAmount reports whether a look at the session tells all of the change.
func (c SessionChange) OnlyAmount() bool {
	amount := c.Amount
	c.Amount = nil
	return amount != nil && c == SessionChange{}
}
