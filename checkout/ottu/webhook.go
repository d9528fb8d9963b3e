package ottu

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"dunlin/paylink"
)

// Webhook is what an event of Ottu says, without the payer's personal data and the card. It comes in two sorts: a payment
// event tells the state of a session; an operation event tells of a refund, capture or void, which Ottu books as a child
// transaction without touching the session.
//
// Its figures are claims until [Verify] has passed, and partly afterwards too, as Verify explains.
type Webhook struct {
	// IsOperation tells the two sorts apart.
	IsOperation bool
	// OrderNo and ProviderID name the session; of an operation, the session that it was done on. One may be empty.
	OrderNo, ProviderID string
	// Amount is what the session asked for; of an operation, what it moved.
	Amount paylink.Money
	// Settled is what the payer has committed to of Amount, Paid the same with the payer's fee. nil = not told.
	Settled, Paid, Refunded, Remaining, Voided *paylink.Money
	// State is the session's; empty for an operation, and for a word that is not known (RawState keeps it).
	State    paylink.SessionState
	RawState string
	// Result is the attempt's own outcome: pending, success, failed, canceled, error, cod; of an operation success,
	// failed, queued, rejected. It may contradict State, which counts.
	Result string
	// ReferenceNumber names the attempt, GatewayAccount the payment method's code.
	ReferenceNumber, GatewayAccount string
	// At is Ottu's timestamp_utc; zero if it was not readable. It is not signed.
	At      time.Time
	Sandbox bool
	// Operation is refund, capture or void; empty if not told.
	Operation string
	// Child is the transaction that an operation made; nil if not told. It is not signed.
	Child *Transaction
	// Children are the session's child transactions, told with payment events.
	Children []Transaction
}

// Transaction is a child of a session: one refund, capture or void.
type Transaction struct {
	OrderNo, ProviderID string
	// Amount is zero without currency if it was not readable.
	Amount   paylink.Money
	State    paylink.SessionState
	RawState string
}

// ParseWebhook reads an event. Numbers may be texts and the other way round, and what is missing may be missing, but an
// event must name its session, its amount and its state (an operation: its result), and what it says of money must be
// readable. All else is an error ([paylink.ErrInvalid]) that quotes nothing of the body.
func ParseWebhook(body []byte) (Webhook, error) {
	o, err := object(body)
	if err != nil {
		return Webhook{}, fmt.Errorf("reading webhook: %w: %w", paylink.ErrInvalid, err)
	}
	if field := swallowing(o); field != "" {
		return Webhook{}, unreadable(field)
	}
	w := Webhook{
		OrderNo:         word(o["order_no"]),
		ProviderID:      word(o["session_id"]),
		RawState:        word(o["state"]),
		Result:          word(o["result"]),
		ReferenceNumber: word(o["reference_number"]),
		GatewayAccount:  word(o["gateway_account"]),
		At:              timestamp(o["timestamp_utc"]),
		Sandbox:         string(o["is_sandbox"]) == "true" || string(o["is_sandbox"]) == `"true"`,
	}
	for field, value := range map[string]string{"order_no": w.OrderNo, "session_id": w.ProviderID, "state": w.RawState} {
		if isSet(o[field]) && value == "" {
			return Webhook{}, unreadable(field)
		}
	}
	if w.OrderNo == "" && w.ProviderID == "" {
		return Webhook{}, unreadable("order_no and session_id")
	}
	// A payment event has a state. It may have an "operation" too, which then says purchase or authorize.
	_, hasTxn := o["txn"]
	_, hasOperation := o["operation"]
	if w.IsOperation = w.RawState == "" && (hasTxn || hasOperation); w.IsOperation {
		return operationEvent(w, o)
	}
	return paymentEvent(w, o)
}

// swallowing names a signed field whose text holds the name of another. Neither scheme quotes values, so whoever can put
// "order_no…" into a name or an address could have another order's event read under a signature that Ottu made for theirs.
func swallowing(o map[string]json.RawMessage) string {
	for _, field := range flatFields {
		value, _ := text(o[field])
		for _, name := range flatFields {
			// No underscore: an ordinary word; what swallows a result or a state is caught by their being missing.
			if strings.Contains(name, "_") && strings.Contains(value, name) {
				return field
			}
		}
	}
	return ""
}

func paymentEvent(w Webhook, o map[string]json.RawMessage) (Webhook, error) {
	if w.RawState == "" {
		return Webhook{}, unreadable("state")
	}
	w.State, _ = SessionState(w.RawState)
	currency := word(o["currency_code"])
	var ok bool
	if w.Amount, ok = money(o["amount"], currency); !ok {
		return Webhook{}, unreadable("amount and currency_code")
	}
	for field, to := range map[string]**paylink.Money{
		"settled_amount":   &w.Settled,
		"paid_amount":      &w.Paid,
		"refunded_amount":  &w.Refunded,
		"remaining_amount": &w.Remaining,
		"voided_amount":    &w.Voided,
	} {
		if !isSet(o[field]) {
			continue
		}
		m, ok := money(o[field], currency)
		if !ok {
			return Webhook{}, unreadable(field)
		}
		*to = &m
	}
	var children []json.RawMessage
	if isSet(o["transactions"]) && json.Unmarshal(o["transactions"], &children) != nil {
		return Webhook{}, unreadable("transactions")
	}
	for _, c := range children {
		t, ok := transaction(c)
		if !ok {
			return Webhook{}, unreadable("transactions")
		}
		w.Children = append(w.Children, t)
	}
	return w, nil
}

func operationEvent(w Webhook, o map[string]json.RawMessage) (Webhook, error) {
	// With neither a state nor a known result, a payment event whose last signed fields were run into one value would
	// pass for an operation, and the child that it tells of is not signed at all.
	switch w.Result {
	case "success", "failed", "queued", "rejected":
	default:
		return Webhook{}, unreadable("result")
	}
	w.Operation = word(o["operation"])
	if w.GatewayAccount == "" {
		w.GatewayAccount = word(o["pg_code"])
	}
	// The currency stands with the child only.
	currency := word(o["currency_code"])
	if isSet(o["txn"]) {
		t, ok := transaction(o["txn"])
		if !ok {
			return Webhook{}, unreadable("txn")
		}
		w.Child = &t
		if currency == "" {
			currency = t.Amount.Currency
		}
		if w.Operation == "" {
			// Ottu's own sample has null here; the child's state tells the same.
			w.Operation = operations[t.RawState]
		}
	}
	var ok bool
	if w.Amount, ok = money(o["amount"], currency); !ok {
		return Webhook{}, unreadable("amount and currency")
	}
	return w, nil
}

// operations is which operation leaves a child in which state.
var operations = map[string]string{
	"paid":            "capture",
	"refunded":        "refund",
	"refund_queued":   "refund",
	"refund_rejected": "refund",
	"voided":          "void",
}

func transaction(raw json.RawMessage) (Transaction, bool) {
	o, err := object(raw)
	if err != nil {
		return Transaction{}, false
	}
	t := Transaction{OrderNo: word(o["order_no"]), ProviderID: word(o["session_id"]), RawState: word(o["state"])}
	t.State, _ = SessionState(t.RawState)
	t.Amount, _ = money(o["amount"], word(o["currency_code"]))
	return t, true
}

// timestamp reads "2023-11-02 09:00:07" (no zone, but UTC by the field's name) and, as the schema says, RFC 3339.
func timestamp(raw json.RawMessage) time.Time {
	s, _ := text(raw)
	for _, layout := range []string{time.DateTime, time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

func unreadable(what string) error {
	return fmt.Errorf("reading webhook: %s missing or not readable: %w", what, paylink.ErrInvalid)
}
