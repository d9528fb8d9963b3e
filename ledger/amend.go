package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dunlin/paylink"
)

// entityAmend is the entity of events that tell of a person's change. Amounts and dates stand in from and to; of what is
// personal only the field's name.
const entityAmend = "amend"

// The endings of a session that this package tells apart; see the schema.
const (
	endingCanceled = "canceled"
	endingReplaced = "replaced"
	endingRenewed  = "renewed"
	endingAmended  = "amended"
)

// AmendOptions say who amends, and how a debt is known again.
type AmendOptions struct {
	Actor, Why string
	// DebtKey is the hash of what makes two rows the same debt; it is asked anew because it may follow from what changed.
	DebtKey func(*paylink.Row) uint64
	// If, when set, must say yes to the record as it stands; otherwise nothing is done and the error is ErrChanged.
	If func(paylink.Request, paylink.Contact) bool
}

// ErrChanged is the ErrConflict of an amendment to a record that is no longer what its author saw.
var ErrChanged = fmt.Errorf("the request has changed meanwhile: %w", paylink.ErrConflict)

// Amend changes what a request asks for or whom it reaches, and says which fields that were. The provider's session is
// changed afterwards by whoever comes first, the wake's worker or the payer's click; until then its link is given to
// nobody (law 4). Messages that are owed are made from the new record. ErrConflict: the debt is no longer asked for.
func (db *DB) Amend(ctx context.Context, id paylink.RequestID, a paylink.Amendment, opt AmendOptions) (fields []string, wakes []paylink.Wake, err error) {
	err = db.changeRequest(ctx, id, func(t *tx) error {
		fields, wakes, err = t.amend(id, a, opt)
		return err
	})
	return fields, wakes, err
}

func (t *tx) amend(id paylink.RequestID, a paylink.Amendment, opt AmendOptions) (fields []string, wakes []paylink.Wake, err error) {
	var rs requestScan
	var cs contactScan
	var had int64
	var redacted sql.NullInt64
	if err := t.row(`SELECT `+requestColumns+`, `+contactColumns+`, r.paid - r.refunded, c.redacted_at
		FROM requests r JOIN contacts c ON c.request_id = r.id WHERE r.id = $1`, int64(id)).
		Scan(append(append(rs.targets(), cs.targets()...), &had, &redacted)...); err != nil {
		return nil, nil, notFound(err, id)
	}
	r, err := rs.value()
	if err != nil {
		return nil, nil, err
	}
	c, err := cs.value()
	if err != nil {
		return nil, nil, err
	}
	switch {
	case opt.If != nil && !opt.If(r, c):
		return nil, nil, ErrChanged
	case !r.Payment.Owes():
		return nil, nil, fmt.Errorf("request %s is %s, and only a debt that is still asked for can be amended: %w", id, words(r.Payment), paylink.ErrConflict)
	case redacted.Valid:
		return nil, nil, fmt.Errorf("request %s was redacted: %w", id, paylink.ErrConflict)
	case a.Amount != nil && a.Amount.Currency != r.Amount.Currency:
		return nil, nil, fmt.Errorf("request %s is in %s and cannot become %s: %w", id, r.Amount.Currency, a.Amount.Currency, paylink.ErrInvalid)
	case a.Amount != nil && a.Amount.Minor <= max(had, 0):
		return nil, nil, fmt.Errorf("the new amount must be more than the %s of request %s that are paid already: %w",
			paylink.Money{Minor: max(had, 0), Currency: r.Amount.Currency}, id, paylink.ErrInvalid)
	}
	tell := func(field, from, to string) {
		fields = append(fields, field)
		if to == "" && from == "" {
			to = field
		}
		t.event(event{batch: id.Batch(), request: id, entity: entityAmend, id: int64(id), from: from, to: to, actor: opt.Actor,
			why: strings.TrimSpace(field + ": " + opt.Why)})
	}
	if a.Amount != nil && *a.Amount != r.Amount {
		tell(paylink.FieldAmount, r.Amount.String(), a.Amount.String())
		t.tally(id.Batch(), tallyAsked, r.Amount.Currency, a.Amount.Minor-r.Amount.Minor)
		r.Amount = *a.Amount
	}
	if a.DueDate != nil && *a.DueDate != r.DueDate {
		tell(paylink.FieldDueDate, r.DueDate, *a.DueDate)
		r.DueDate = *a.DueDate
	}
	for _, x := range []struct {
		field string
		to    *string
		at    *string
	}{{paylink.FieldDescription, a.Description, &r.Description}, {paylink.FieldEmail, a.Email, &c.Email},
		{paylink.FieldPhone, a.Phone, &c.Phone}, {paylink.FieldName, a.Name, &c.Name}} {
		if x.to != nil && *x.to != *x.at {
			tell(x.field, "", "")
			*x.at = *x.to
		}
	}
	if len(fields) == 0 {
		return nil, nil, nil
	}
	if slices.Contains(fields, paylink.FieldName) {
		c.FirstName, c.LastName = "", ""
	}
	if err := t.storeAmended(r, c, opt); err != nil {
		return nil, nil, err
	}
	wakes, err = t.amendSession(id, fields)
	return fields, wakes, err
}

// words are a state's as people read it.
func words(s paylink.PaymentState) string { return strings.ReplaceAll(string(s), "_", " ") }

func (t *tx) storeAmended(r paylink.Request, c paylink.Contact, opt AmendOptions) error {
	key := opt.DebtKey(&paylink.Row{Reference: r.Reference, Email: c.Email, Phone: c.Phone, Amount: r.Amount, DueDate: r.DueDate})
	if err := t.one(`UPDATE requests SET amount = $2, due_date = $3, description = $4, debt_key = $5, amended_at = $6, updated_at = $6 WHERE id = $1`,
		int64(r.ID), r.Amount.Minor, r.DueDate, r.Description, int64(key), t.now); err != nil {
		return err
	}
	if err := t.one(`UPDATE contacts SET name = $2, first_name = $3, last_name = $4, email = $5, phone = $6 WHERE request_id = $1`,
		int64(r.ID), c.Name, c.FirstName, c.LastName, c.Email, c.Phone); err != nil {
		return err
	}
	// What is being prepared from the old record must not be sent: the commit compares the epoch.
	_, err := t.exec(`UPDATE messages SET epoch = epoch + 1 WHERE request_id = $1 AND state = 'claimed'`, int64(r.ID))
	return err
}

// amendSession has the request's session, which may be in the making, changed at the provider. One that is on its way to
// its end anyway is left to that.
func (t *tx) amendSession(id paylink.RequestID, fields []string) ([]paylink.Wake, error) {
	fields = slices.DeleteFunc(slices.Clone(fields), func(f string) bool { return f == paylink.FieldDescription }) // ours alone
	if len(fields) == 0 {
		return nil, nil
	}
	var session int64
	var state paylink.SessionState
	var amend string
	err := t.row(`SELECT id, state, amend FROM sessions WHERE request_id = $1 AND (state = 'intent' OR state = 'open' OR state = 'pending' OR state = 'attempted')
		AND (ending = '' OR ending = 'amended')`, int64(id)).Scan(&session, &state, &amend)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, f := range strings.Split(amend, ",") {
		if f != "" && !slices.Contains(fields, f) {
			fields = append(fields, f)
		}
	}
	if err := t.one(`UPDATE sessions SET ending = 'amended', amend = $2, checks = 0 WHERE id = $1`, session, strings.Join(fields, ",")); err != nil {
		return nil, err
	}
	if !state.Live() { // its create is under way; the change follows when that is recorded
		return nil, nil
	}
	if _, err := t.exec(`UPDATE sessions SET check_at = $2 WHERE id = $1`, session, t.now); err != nil {
		return nil, err
	}
	return []paylink.Wake{{Task: paylink.TaskSettle, ID: session, Epoch: t.now}}, nil
}

// claimAmend adds to the claim what the session is to be changed to. The request's row is locked. Of two who would change
// it one waits: an older amount must not land on a newer one.
func (t *tx) claimAmend(c *paylink.SettleClaim, s sessionRow, opt paylink.ClaimOptions) error {
	if s.leaseUntil > t.now {
		return fmt.Errorf("session %s is being changed: %w", s.ID, paylink.ErrConflict)
	}
	var rs requestScan
	var cs contactScan
	var had, engaged int64
	if err := t.row(`SELECT `+requestColumns+`, `+contactColumns+`, r.paid - r.refunded, COALESCE(r.engaged_at, 0)
		FROM requests r JOIN contacts c ON c.request_id = r.id WHERE r.id = $1`, int64(s.RequestID)).
		Scan(append(append(rs.targets(), cs.targets()...), &had, &engaged)...); err != nil {
		return notFound(err, s.RequestID)
	}
	r, err := rs.value()
	if err != nil {
		return err
	}
	contact, err := cs.value()
	if err != nil {
		return err
	}
	want := r.Amount
	want.Minor -= had
	if !r.Payment.Owes() || want.Minor <= 0 { // nobody is to pay by it any more
		_, err := t.exec(`UPDATE sessions SET ending = 'canceled' WHERE id = $1`, int64(s.ID))
		c.Mode, c.Ending = paylink.SettleEnding, endingCanceled
		return err
	}
	c.Mode, c.Ending, c.EngagedAt = paylink.SettleAmend, s.ending, toTime(engaged)
	c.Change = sessionChange(strings.Split(s.amend, ","), r, contact, want)
	carried := strings.Fields(s.carried)
	if n := len(carried); n > 0 {
		last := carried[n-1]
		c.Replace = last != minor(want) && last != minor(s.Amount)
	} else {
		carried = append(carried, minor(s.Amount))
	}
	if carried[len(carried)-1] != minor(want) {
		carried = append(carried, minor(want))
	}
	c.Lease = t.now + opt.Lease.Milliseconds()
	_, err = t.exec(`UPDATE sessions SET lease_until = $2, carried = $3 WHERE id = $1`, int64(s.ID), c.Lease, strings.Join(carried, " "))
	return err
}

func minor(m paylink.Money) string { return strconv.FormatInt(m.Minor, 10) }

// sessionChange is what the fields say of a session. The amount always goes along: it is what a look can confirm.
func sessionChange(fields []string, r paylink.Request, c paylink.Contact, want paylink.Money) paylink.SessionChange {
	ch := paylink.SessionChange{Amount: &want}
	for _, f := range fields {
		switch f {
		case paylink.FieldDueDate:
			ch.DueDate = &r.DueDate
		case paylink.FieldEmail:
			ch.Email = &c.Email
		case paylink.FieldPhone:
			ch.Phone = &c.Phone
		case paylink.FieldName:
			first, last, _ := strings.Cut(c.Name, " ")
			ch.FirstName, ch.LastName = &first, &last
		}
	}
	return ch
}

// Amended records that the provider has changed a session as the claim asked. Its link may be shown again, and messages
// that waited for that are in the wakes; if it was amended again meanwhile, the wake goes on with that.
func (db *DB) Amended(ctx context.Context, c paylink.SettleClaim) (wakes []paylink.Wake, err error) {
	err = db.changeRequest(ctx, c.Session.RequestID, func(t *tx) error {
		wakes = nil
		s, err := scanSession(t.row(`SELECT `+sessionColumns+` FROM sessions WHERE id = $1`, int64(c.Session.ID)))
		if err != nil {
			return err
		}
		if !s.State.Live() { // paid or dead meanwhile, which was told with its amount
			return t.dropLease(c)
		}
		if s.Amount != *c.Change.Amount {
			t.event(event{batch: s.RequestID.Batch(), request: s.RequestID, entity: entitySession, id: int64(s.ID), from: string(s.State), to: string(s.State),
				why: "changed at the provider from " + s.Amount.String() + " to " + c.Change.Amount.String()})
		}
		if _, err := t.exec(`UPDATE sessions SET amount = $2 WHERE id = $1`, int64(s.ID), c.Change.Amount.Minor); err != nil {
			return err
		}
		switch {
		case s.ending != endingAmended: // called off meanwhile
			return t.dropLease(c)
		case s.checkAt != c.Check: // amended again meanwhile, or our lease ran out
			wakes = []paylink.Wake{{Task: paylink.TaskSettle, ID: int64(s.ID), Epoch: t.now}}
			_, err := t.exec(`UPDATE sessions SET check_at = $2, lease_until = NULL WHERE id = $1`, int64(s.ID), t.now)
			return err
		}
		if _, err := t.exec(`UPDATE sessions SET ending = '', amend = '', check_at = NULL, checks = 0, lease_until = NULL WHERE id = $1`, int64(s.ID)); err != nil {
			return err
		}
		wakes, err = t.wakeOwed(s.RequestID)
		return err
	})
	return wakes, err
}

// dropLease lets the next claimer in, unless there is one already.
func (t *tx) dropLease(c paylink.SettleClaim) error {
	_, err := t.exec(`UPDATE sessions SET lease_until = NULL WHERE id = $1 AND lease_until = $2`, int64(c.Session.ID), c.Lease)
	return err
}
