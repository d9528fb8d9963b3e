// Package ottu speaks to Ottu, a payment provider: it makes, reads, changes and ends hosted checkout sessions, and reads
// the webhooks that tell what became of them. It follows Ottu's published Checkout API (paths under /b/) and, where
// Ottu's pages contradict each other, the machine-made schema and the official Python client.
//
// Every call that does not succeed ends as a [paylink.Failure] that says what is known: refused, certainly not done, or
// unknown. Ottu has no idempotency key for making a session, so a create whose answer was lost may have made a payable
// link; the table behind [Rules] decides each case and says why. No failure text carries a payer's data, a link or a
// key: Ottu's refusals may quote what was sent, so only the names of fields are kept.
//
// The package keeps no state, waits for nobody and repeats nothing. Rates, retries, ghosts of lost creates and the
// replacing of sessions belong to its callers.
package ottu
