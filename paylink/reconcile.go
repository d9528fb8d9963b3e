package paylink

import "time"

// Look is a planned question to the payment provider: how does this session stand? Webhooks get lost, and a provider need
// not tell of everything.
type Look struct {
	Session    SessionID
	Request    RequestID
	ProviderID string
	Amount     Money
	// Due is when it was to be asked; a claim of the look moves it, which keeps others away.
	Due time.Time
}

// LooksBehind says what could not be asked in time.
type LooksBehind struct {
	N      int64
	Oldest time.Time // when the first of them was due; zero if there is none
}
