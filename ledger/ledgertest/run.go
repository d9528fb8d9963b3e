package ledgertest

import (
	"testing"
	"time"

	"dunlin/ledger"
)

// Run is the conformance suite. open makes an empty ledger of its own for each test and closes it with the test.
func Run(t *testing.T, open func(t *testing.T, now func() time.Time) *ledger.DB) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"import", importTests}, {"batch", batchTests}, {"session", sessionTests}, {"lost session", lostTests},
		{"message", messageTests}, {"fallback", fallbackTests}, {"unknown", unknownTests}, {"command", commandTests},
		{"cancel", cancelTests}, {"renew", renewTests}, {"money", moneyTests}, {"payment", paymentTests}, {"amend", amendTests}, {"sweep", sweepTests}, {"upkeep", upkeepTests},
		{"thanks", thanksTests}, {"attachment", attachmentTests},
		{"receipt", receiptTests},
		{"api", apiTests},
		{"reconcile", reconcileTests},
		{"console", consoleTests},
		{"look", lookTests},
		{"concurrency", concurrencyTests}, {"property", propertyTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, tt := range group.tests {
				t.Run(tt.name, func(t *testing.T) {
					clock := NewClock()
					s := &scene{T: t, db: open(t, clock.Now), clock: clock}
					tt.run(s)
					Audit(t, s.db)
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(*scene)
}
