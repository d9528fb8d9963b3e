package paylink

// DispatchParts is what the dispatch state of a fed request follows from.
type DispatchParts struct {
	// SessionOwed: a session must still be made before anything can be sent.
	SessionOwed bool
	// SessionUnknown: the answer to a create was lost and the order number is not yet known to be dead.
	SessionUnknown bool
	// SessionFailed: the payment provider refused the session for good.
	SessionFailed bool
	// Settled: paid, authorized, written off or otherwise no longer owed.
	Settled bool
	// Canceled: a person called the request off.
	Canceled bool
	// Messages are the states of the request's messages of purpose "link".
	Messages []MessageState
}

// Dispatch derives the till's state of a fed request, by the first rule that holds: owed → in flight; any outcome
// unknown → unknown; any message accepted → sent; else failed, suppressed, skipped, canceled.
func Dispatch(p DispatchParts) DispatchState {
	n := map[MessageState]int{}
	owed, accepted := 0, 0
	for _, m := range p.Messages {
		n[m]++
		if m.Open() {
			owed++
		}
		if m.Accepted() {
			accepted++
		}
	}
	switch {
	case owed > 0 || (p.SessionOwed && !p.SessionUnknown):
		return DispatchInFlight
	case p.SessionUnknown || n[MessageUnknown]+n[MessageHeld] > 0:
		return DispatchUnknown
	case accepted > 0:
		return DispatchSent
	case p.SessionFailed || n[MessageFailed]+n[MessageUndelivered] > 0:
		return DispatchFailed
	case n[MessageSuppressed] > 0:
		return DispatchSuppressed
	case p.Settled && !p.Canceled:
		return DispatchSkipped
	case p.Canceled || n[MessageCanceled] > 0:
		return DispatchCanceled
	}
	return DispatchInFlight
}
