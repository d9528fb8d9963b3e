package ledger

import "dunlin/paylink"

const sessionColumns = `id, request_id, state, order_no, COALESCE(provider_id, ''), url, amount, currency, COALESCE(expires_at, 0),
	COALESCE(revealed_at, 0), cards, lost, ending, COALESCE(check_at, 0), checks, amend, carried, COALESCE(lease_until, 0)`

type sessionRow struct {
	paylink.Session
	lost    bool
	ending  string
	checkAt int64
	checks  int
	// Of an amendment: see the schema.
	amend, carried string
	leaseUntil     int64
}

func scanSession(r interface{ Scan(...any) error }) (s sessionRow, err error) {
	var expires, revealed int64
	err = r.Scan(&s.ID, &s.RequestID, &s.State, &s.OrderNo, &s.ProviderID, &s.URL, &s.Amount.Minor, &s.Amount.Currency, &expires,
		&revealed, &s.Cards, &s.lost, &s.ending, &s.checkAt, &s.checks, &s.amend, &s.carried, &s.leaseUntil)
	s.ExpiresAt, s.RevealedAt = toTime(expires), toTime(revealed)
	return s, err
}
