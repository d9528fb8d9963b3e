package ledger

import (
	"database/sql"
	"time"

	"dunlin/paylink"
)

// The states of tallyReach.
const (
	reachDelivered = "delivered" // a provider or a reader said that a message arrived
	reachOpened    = "opened"    // the payer pressed the button of the page
)

// collected counts money that came in (or went back) for a request, under the day on which it was told.
func (t *tx) collected(id paylink.RequestID, currency string, minor int64) {
	if minor != 0 {
		t.tally(id.Batch(), tallyCollected, currency+" "+toTime(t.now).Format(time.DateOnly), minor)
	}
}

// delivered counts the request when the first of its messages is known to have arrived. No message goes back from there.
func (t *tx) delivered(id paylink.MessageID, req paylink.RequestID, from, to paylink.MessageState) error {
	if to != paylink.MessageDelivered && to != paylink.MessageRead || from == paylink.MessageDelivered {
		return nil
	}
	n, own := 0, false
	err := t.each(`SELECT id FROM messages WHERE request_id = $1 AND purpose = 'link' AND state IN ('delivered', 'read') LIMIT 2`, []any{int64(req)},
		func(r *sql.Rows) error {
			var m paylink.MessageID
			err := r.Scan(&m)
			n, own = n+1, own || m == id
			return err
		})
	if err == nil && n == 1 && own {
		t.tally(req.Batch(), tallyReach, reachDelivered, 1)
	}
	return err
}
