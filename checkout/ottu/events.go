package ottu

import "dunlin/paylink"

// Events reads Ottu's webhooks as the ledger takes them.
type Events struct {
	// Keys are those that a signature may be made with: the present one, and the one before while both are in use.
	Keys []string
}

// Verify is [Verify] with the keys.
func (e Events) Verify(body []byte) bool { return Verify(e.Keys, body) }

// Redact is [Redact].
func (Events) Redact(body []byte) []byte { return Redact(body) }

// Read is [ParseWebhook], in the words of the domain.
func (Events) Read(body []byte) (paylink.PaymentEvent, error) {
	w, err := ParseWebhook(body)
	if err != nil {
		return paylink.PaymentEvent{}, err
	}
	ev := paylink.PaymentEvent{
		OrderNo: w.OrderNo, ProviderID: w.ProviderID, Amount: w.Amount, Settled: w.Settled, State: w.State, RawState: w.RawState,
		Result: w.Result, Reference: w.ReferenceNumber, Operation: w.Operation, IsOperation: w.IsOperation,
	}
	if w.Child != nil {
		ev.Child = w.Child.ProviderID
	}
	return ev, nil
}
