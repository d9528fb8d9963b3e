package ledger

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dunlin/paylink"
)

// ApplyReceipt applies what a provider told about a message that it took, once and by rank. id is the stored event that it
// came in, which is closed in the same transaction; 0 when nobody stored it: we asked, or mail came back.
//
// Late truth about an attempt whose answer was lost is attached wherever its message has come to meanwhile: a message that
// policy owes again is not sent again. After a certain end the route's next channel, if any, is in the returned wakes. A
// receipt that is for no attempt of ours is an outcome, not an error.
func (db *DB) ApplyReceipt(ctx context.Context, id paylink.EventID, r paylink.MessageReceipt) (outcome paylink.EventOutcome, wakes []paylink.Wake, err error) {
	if r.State.Rank() == 0 {
		return "", nil, fmt.Errorf("apply receipt: %q is not a provider's word: %w", r.State, paylink.ErrInvalid)
	}
	err = db.change(ctx, func(t *tx) error {
		x := &receiptTx{tx: t, r: r}
		outcome, err = x.applyOnce(id)
		wakes = x.wakes
		return err
	})
	if err != nil {
		return "", nil, fmt.Errorf("apply receipt: %w", err)
	}
	return outcome, wakes, nil
}

// receiptTx applies one receipt. A message has several attempts, and each that left us is a copy of its own.
type receiptTx struct {
	*tx
	r     paylink.MessageReceipt
	m     paylink.Message
	a     attemptRow
	wakes []paylink.Wake
}

type attemptRow struct {
	id                 paylink.AttemptID
	state, phase       string
	ref, cause, toHash string
}

// The states of an attempt.
const (
	attemptOpen     = "open"
	attemptAccepted = "accepted"
	attemptRefused  = "refused"
)

// refUnknown stands where a provider took a message and gave it no name.
const refUnknown = "accepted"

func (x *receiptTx) applyOnce(id paylink.EventID) (paylink.EventOutcome, error) {
	found, err := x.find()
	if err != nil {
		return "", err
	}
	if !found {
		return paylink.EventNoMessage, x.nobodys(id)
	}
	if err := x.lockOfMessage(x.m.ID); err != nil {
		return "", err
	}
	if id != 0 { // another process may have applied it before the lock was ours
		var before paylink.EventOutcome
		if err := x.row(`SELECT outcome FROM provider_events WHERE id = $1`, int64(id)).Scan(&before); err != nil || before != "" {
			return before, notFound(err, id)
		}
	}
	if err := x.read(); err != nil {
		return "", err
	}
	if x.a.phase != "committing" { // it never left us, so nobody can know of it
		return paylink.EventNoMessage, x.nobodys(id)
	}
	was := x.m.State
	changed, err := x.apply()
	if err != nil {
		return "", err
	}
	if x.m.State != was {
		if err := x.settle(x.m.RequestID, "", x.why(), false); err != nil {
			return "", err
		}
	}
	outcome := paylink.EventNothingNew
	if changed {
		outcome = paylink.EventApplied
	}
	return outcome, x.closeReceipt(id, x.m.ID, outcome)
}

// find sets the ids of the attempt and its message.
func (x *receiptTx) find() (bool, error) {
	var err error
	if x.r.Token == "" {
		err = x.row(`SELECT id, message_id FROM attempts WHERE message_id = $1 AND phase = 'committing' AND (provider_ref = $2 OR $2 = '') ORDER BY n DESC LIMIT 1`,
			int64(x.r.Message), x.r.Ref).Scan(&x.a.id, &x.m.ID)
	} else {
		number, secret, _ := strings.Cut(x.r.Token, ".")
		id, bad := strconv.ParseInt(number, 36, 64)
		if bad != nil {
			return false, nil
		}
		var own string
		err = x.row(`SELECT id, message_id, secret FROM attempts WHERE id = $1`, id).Scan(&x.a.id, &x.m.ID, &own)
		if err == nil && subtle.ConstantTimeCompare([]byte(own), []byte(secret)) != 1 {
			return false, nil
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// nobodys closes an event that is for none of our attempts.
func (x *receiptTx) nobodys(id paylink.EventID) error {
	if id == 0 {
		return nil
	}
	if err := x.flag(0, paylink.FlagNoMessage, "first by event "+id.String()); err != nil {
		return err
	}
	return x.closeReceipt(id, 0, paylink.EventNoMessage)
}

func (x *receiptTx) read() error {
	if err := x.row(`SELECT `+messageColumns+` FROM messages m WHERE m.id = $1`, int64(x.m.ID)).Scan(messageTargets(&x.m)...); err != nil {
		return err
	}
	return x.row(`SELECT state, phase, provider_ref, cause, address_hash FROM attempts WHERE id = $1`, int64(x.a.id)).
		Scan(&x.a.state, &x.a.phase, &x.a.ref, &x.a.cause, &x.a.toHash)
}

// apply does what the receipt says, as far as it is news.
func (x *receiptTx) apply() (changed bool, err error) {
	named := x.a.state == attemptAccepted && x.a.ref != refUnknown
	switch {
	case named && x.r.Ref != "" && x.r.Ref != x.a.ref: // one request of ours, two messages at the provider
		return x.another()
	case x.r.State.Accepted():
		return x.arrived()
	}
	return x.ended()
}

// arrived applies a word that the copy is on its way or there.
func (x *receiptTx) arrived() (bool, error) {
	late := x.a.state != attemptAccepted
	if !late && x.a.cause != "" && x.r.State.Rank() <= paylink.MessageFailed.Rank() {
		return false, nil // this copy is known to have come to nothing
	}
	news := late || x.a.cause != "" || x.a.ref == refUnknown && x.r.Ref != ""
	if news {
		if err := x.attach(nil); err != nil {
			return false, err
		}
		if err := x.doubled(); err != nil {
			return false, err
		}
	}
	moves := late || x.r.State.Rank() > x.m.State.Rank()
	if moves && paylink.MessageMachine.Can(x.m.State, x.r.State) {
		return true, x.move("", "")
	}
	if news {
		x.note()
	}
	return news, nil
}

// ended applies a word that the copy came to nothing.
func (x *receiptTx) ended() (bool, error) {
	late := x.a.state != attemptAccepted
	known := x.a.cause != "" || x.m.State.Rank() > paylink.MessageFailed.Rank()
	if x.a.state == attemptRefused || !late && known {
		return false, nil
	}
	f := x.r.Failure
	if f == nil {
		f = &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseUndelivered}
	}
	if err := x.attach(f); err != nil {
		return false, err
	}
	if f.Suppress && x.a.toHash != "" {
		if err := x.suppressFor(x.m, x.a.toHash, f); err != nil {
			return false, err
		}
	}
	other, err := x.otherCopy()
	if err != nil {
		return false, err
	}
	if other || !paylink.MessageMachine.Can(x.m.State, x.r.State) {
		x.note()
		return true, nil
	}
	if err := x.move(string(f.Cause), f.Code); err != nil {
		return false, err
	}
	// What the provider itself is not sure of is no reason to write by another channel, and who said stop is let alone.
	if f.Kind == paylink.Unknown || f.Cause == paylink.CauseOptedOut {
		return true, nil
	}
	x.wakes, err = x.nextChannel()
	return true, err
}

// another notes a second message of one attempt. Its bad end is not the first one's.
func (x *receiptTx) another() (bool, error) {
	if err := x.flag(x.m.RequestID, paylink.FlagSentTwice, x.m.ID.String()+": "+x.a.ref+" "+x.r.Ref); err != nil {
		return false, err
	}
	if x.r.State.Accepted() && x.r.State.Rank() > x.m.State.Rank() && paylink.MessageMachine.Can(x.m.State, x.r.State) {
		return true, x.move("", "")
	}
	return false, nil
}

// attach settles the attempt with what the provider says of it.
func (x *receiptTx) attach(f *paylink.Failure) error {
	ref := x.a.ref
	if x.r.Ref != "" {
		ref = x.r.Ref
	}
	if ref == "" {
		ref = refUnknown
	}
	var kind, cause, code string
	if f != nil {
		kind, cause, code = string(f.Kind), string(f.Cause), f.Code
	}
	x.a.ref, x.a.cause = ref, cause
	return x.one(`UPDATE attempts SET state = 'accepted', ended_at = COALESCE(ended_at, $2), provider_ref = $3, kind = $4, cause = $5, code = $6 WHERE id = $1`,
		int64(x.a.id), x.now, ref, kind, cause, code)
}

// doubled marks a message of which a second copy has turned out to have left, by policy or against all promises.
func (x *receiptTx) doubled() error {
	n, err := x.exec(`UPDATE messages SET possible_duplicate = TRUE WHERE id = $1 AND NOT possible_duplicate
		AND (SELECT count(*) FROM attempts WHERE message_id = $1 AND state = 'accepted') > 1`, int64(x.m.ID))
	if err != nil {
		return err
	}
	x.m.PossibleDuplicate = x.m.PossibleDuplicate || n > 0
	return x.flagTwice(x.m)
}

// move moves the message to the receipt's state. Whoever prepares to send it once more loses the claim.
func (x *receiptTx) move(cause, code string) error {
	var ask any
	if x.r.State.Rank() < paylink.MessageFailed.Rank() {
		ask = x.firstAsk(x.m.Channel)
	}
	if x.m.State == paylink.MessageClaimed {
		if _, err := x.exec(`UPDATE attempts SET state = 'released', ended_at = $2 WHERE message_id = $1 AND state = 'open' AND phase = 'prepared'`,
			int64(x.m.ID), x.now); err != nil {
			return err
		}
	}
	ref := x.m.ProviderRef
	if ref == "" || ref == refUnknown {
		ref = x.a.ref
	}
	if err := x.moveMessage(x.m.ID, x.m.RequestID, x.m.State, x.r.State, x.why(),
		`wake_at = NULL, receipt_at = $5, provider_ref = $6, cause = $7, code = $8, segments = CASE WHEN segments = 0 THEN $9 ELSE segments END`,
		ask, ref, cause, code, x.r.Segments); err != nil {
		return err
	}
	x.m.State = x.r.State
	return nil
}

// note records what became of a copy whose message stays where it is.
func (x *receiptTx) note() {
	x.event(event{batch: x.m.RequestID.Batch(), request: x.m.RequestID, entity: entityMessage, id: int64(x.m.ID),
		from: string(x.m.State), to: string(x.m.State), why: x.a.id.String() + ": " + x.why()})
}

func (x *receiptTx) why() string {
	why := "receipt " + x.r.RawState
	if f := x.r.Failure; f != nil {
		why += " " + string(f.Cause) + " " + f.Code
	}
	return strings.TrimSpace(why)
}

// otherCopy reports whether another copy of the message may arrive yet.
func (x *receiptTx) otherCopy() (other bool, err error) {
	err = x.row(`SELECT count(*) > 0 FROM attempts WHERE message_id = $1 AND id <> $2
		AND (state = 'unknown' OR (state = 'open' AND phase = 'committing') OR (state = 'accepted' AND cause = ''))`,
		int64(x.m.ID), int64(x.a.id)).Scan(&other)
	return other, err
}

// nextChannel starts the route's next channel after the message's certain end.
func (x *receiptTx) nextChannel() ([]paylink.Wake, error) {
	var rs requestScan
	var cs contactScan
	if err := x.row(`SELECT `+requestColumns+`, `+contactColumns+` FROM requests r JOIN contacts c ON c.request_id = r.id WHERE r.id = $1`,
		int64(x.m.RequestID)).Scan(append(rs.targets(), cs.targets()...)...); err != nil {
		return nil, err
	}
	r, err := rs.value()
	if err != nil {
		return nil, err
	}
	c, err := cs.value()
	if err != nil {
		return nil, err
	}
	return x.fallBack(x.m, r, c)
}

// flagTwice tells a person of a message that policy sent again and whose copies both went out.
func (t *tx) flagTwice(m paylink.Message) error {
	if !m.PossibleDuplicate {
		return nil
	}
	var refs []string
	if err := t.each(`SELECT provider_ref FROM attempts WHERE message_id = $1 AND state = 'accepted' AND cause = '' ORDER BY n`, []any{int64(m.ID)}, func(r *sql.Rows) error {
		var ref string
		err := r.Scan(&ref)
		refs = append(refs, ref)
		return err
	}); err != nil || len(refs) < 2 {
		return err
	}
	return t.flag(m.RequestID, paylink.FlagSentTwice, m.ID.String()+": "+strings.Join(refs, " "))
}

// closeReceipt records the outcome of an event about a message, or about none.
func (t *tx) closeReceipt(id paylink.EventID, m paylink.MessageID, outcome paylink.EventOutcome) error {
	var of any
	if m != 0 {
		of = int64(m)
	}
	_, err := t.exec(`UPDATE provider_events SET applied_at = $2, outcome = $3, message_id = $4 WHERE id = $1 AND applied_at IS NULL`,
		int64(id), t.now, string(outcome), of)
	return err
}

// receiptPatience is how long the provider's own word is waited for before it is asked.
const receiptPatience = 10 * time.Minute

// firstAsk is when a provider is first asked about a message that it took. Nobody can be asked about an email.
func (t *tx) firstAsk(ch paylink.Channel) any {
	if ch == paylink.Email {
		return nil
	}
	return t.now + receiptPatience.Milliseconds()
}
