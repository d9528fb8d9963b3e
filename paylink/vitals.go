package paylink

import "time"

// Vitals is the state of the whole, in numbers that a monitor watches. It holds nothing of any payer.
type Vitals struct {
	// Batches counts the batches by state.
	Batches map[BatchState]int64
	// Rows counts the rows of batches that are not yet done or canceled, by dispatch state.
	Rows map[DispatchState]int64
	// OldestPending is since when the oldest running batch has had rows that were not begun; zero = there are none.
	OldestPending time.Time
	// OldestDue is since when the oldest owed session has been due; zero = nothing is.
	OldestDue time.Time
	// Flags counts what waits for a person.
	Flags int64
	// Unapplied counts the verified events of providers that were stored and not yet applied.
	Unapplied int64
	// ReceiptsDue counts the messages whose provider should have been asked about by now.
	ReceiptsDue int64
	// Used counts today's calls (UTC) by provider.
	Used map[string]int64
	// Gates are the breakers that are not simply closed.
	Gates []Gate
}
