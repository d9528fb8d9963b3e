package report

import (
	"time"

	"dunlin/ledger"
	"dunlin/paylink"
)

// Request is one request as programs get it.
type Request struct {
	ID           paylink.RequestID     `json:"id"`
	Row          int                   `json:"row"`
	Line         int                   `json:"line"`
	Reference    string                `json:"reference"`
	Dispatch     paylink.DispatchState `json:"dispatch_state"`
	Payment      paylink.PaymentState  `json:"payment_state"`
	Cause        paylink.Cause         `json:"cause"`
	Code         string                `json:"code,omitempty" doc:"The provider's own code"`
	Amount       string                `json:"amount" doc:"A decimal, never a float"`
	Paid         string                `json:"paid"`
	Left         string                `json:"left" doc:"What is still asked for"`
	Currency     string                `json:"currency"`
	Link         string                `json:"link" doc:"Where the payer pays; whoever has it sees what it asks for"`
	Session      string                `json:"session" doc:"The payment provider's id of the last checkout session"`
	SessionState paylink.SessionState  `json:"session_state,omitempty"`
	OrderNo      string                `json:"order_no,omitempty"`
	Messages     []ledger.MessageLine  `json:"messages" nullable:"false"`
	UpdatedAt    time.Time             `json:"updated_at"`
}

// NewRequest writes a line of the ledger. publicURL is where payers reach our pages; empty = they have the provider's.
func NewRequest(l ledger.RequestLine, publicURL string) Request {
	r := l.Request
	out := Request{
		ID: r.ID, Row: r.ID.Row(), Line: r.Line, Reference: r.Reference, Dispatch: r.Dispatch, Payment: r.Payment, Cause: r.Cause, Code: l.Code,
		Amount: r.Amount.Decimal(), Paid: Paid(l).Decimal(), Left: Left(l).Decimal(), Currency: r.Amount.Currency,
		Link: Link(l, publicURL), Messages: l.Messages, UpdatedAt: r.UpdatedAt,
	}
	if l.Session != nil {
		out.Session, out.SessionState, out.OrderNo = l.Session.ProviderID, l.Session.State, l.Session.OrderNo
	}
	if out.Messages == nil {
		out.Messages = []ledger.MessageLine{}
	}
	return out
}

// Link is where the payer pays. The provider's own is shown only if the payer has it: a link that nobody was given may
// still be replaced by another, and then there must be only one (law 4).
func Link(l ledger.RequestLine, publicURL string) string {
	if publicURL != "" {
		return publicURL + "/p/" + paylink.Token(l.Request.ID, l.Request.Secret)
	}
	if l.Session == nil || l.Session.RevealedAt.IsZero() {
		return ""
	}
	return l.Session.URL
}

// Paid is what has arrived.
func Paid(l ledger.RequestLine) paylink.Money {
	return paylink.Money{Minor: l.Paid, Currency: l.Request.Amount.Currency}
}

// Left is what is still asked for; nothing of a debt that is settled or no longer asked for.
func Left(l ledger.RequestLine) paylink.Money {
	m := paylink.Money{Currency: l.Request.Amount.Currency}
	switch l.Request.Payment {
	case paylink.PaymentUnpaid, paylink.PaymentPartiallyPaid, paylink.PaymentAuthorized, paylink.PaymentExpired:
		m.Minor = max(l.Request.Amount.Minor-l.Paid, 0)
	}
	return m
}
