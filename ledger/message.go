package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dunlin/paylink"
)

// fallbackWindow is how long after the first message of a route its next channel may still be tried.
const fallbackWindow = 24 * time.Hour

// oweMessages makes a linked request owe its messages. Those that waited for the new session are woken, whatever their
// channel; if there are none, each route starts with the first channel that has an address, or with a failed message
// that says there is none. Messages of a channel in park are left to the sweeper.
func (t *tx) oweMessages(r paylink.Request, c paylink.Contact, park map[paylink.Channel]bool) ([]paylink.Wake, error) {
	var born, owed int
	if r.Epoch > 1 { // woken for the first time it has no messages yet
		if err := t.row(`SELECT count(*), count(CASE WHEN state = 'owed' THEN 1 END) FROM messages WHERE request_id = $1 AND purpose <> 'receipt'`, int64(r.ID)).
			Scan(&born, &owed); err != nil {
			return nil, err
		}
	}
	var all []paylink.Wake
	var err error
	if owed > 0 {
		all, err = t.wakeOwed(r.ID)
	} else {
		all, err = t.bearMessages(r, c, born > 0)
	}
	if err != nil {
		return nil, err
	}
	var wakes []paylink.Wake
	for _, w := range all {
		if park[w.Channel] {
			if _, err := t.exec(`UPDATE messages SET wake_at = $2 WHERE id = $1`, w.ID, t.now); err != nil {
				return nil, err
			}
			continue
		}
		wakes = append(wakes, w)
	}
	return wakes, nil
}

func (t *tx) wakeOwed(req paylink.RequestID) (wakes []paylink.Wake, err error) {
	err = t.each(`UPDATE messages SET epoch = epoch + 1, wake_at = $2 WHERE request_id = $1 AND state = 'owed' AND purpose <> 'receipt' RETURNING id, epoch, channel`,
		[]any{int64(req), t.now + wakeGrace.Milliseconds()}, func(r *sql.Rows) error {
			w := paylink.Wake{Task: paylink.TaskSend}
			err := r.Scan(&w.ID, &w.Epoch, &w.Channel)
			wakes = append(wakes, w)
			return err
		})
	return wakes, err
}

func (t *tx) bearMessages(r paylink.Request, c paylink.Contact, again bool) (wakes []paylink.Wake, err error) {
	for _, route := range r.Routes {
		ch := route[0]
		for _, next := range route {
			if c.Address(next) != "" {
				ch = next
				break
			}
		}
		n := 1
		if again {
			if n, err = t.nextN(r.ID, paylink.PurposeLink, ch); err != nil {
				return nil, err
			}
		}
		reachable := c.Address(ch) != ""
		if n == 0 || (n > 1 && !reachable) { // sent before its session died, or known to lead nowhere
			continue
		}
		w, err := t.bearMessage(r.ID, paylink.PurposeLink, ch, n, reachable)
		if err != nil {
			return nil, err
		}
		if w.ID != 0 {
			wakes = append(wakes, w)
		}
	}
	return wakes, nil
}

// bearMessage adds one message. Without an address it is born failed, and there is nothing to wake.
func (t *tx) bearMessage(req paylink.RequestID, purpose string, ch paylink.Channel, n int, reachable bool) (paylink.Wake, error) {
	state, cause, wake := paylink.MessageOwed, "", any(t.now+wakeGrace.Milliseconds())
	if !reachable {
		state, cause, wake = paylink.MessageFailed, string(paylink.CauseNoAddress), nil
	}
	w := paylink.Wake{Task: paylink.TaskSend, Channel: ch, Epoch: 1}
	var err error
	if w.ID, err = t.insert(`
		INSERT INTO messages (request_id, purpose, channel, n, state, epoch, next_at, wake_at, cause, created_at, updated_at, possible_duplicate)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $7, $7, (SELECT restored_at IS NOT NULL AND $2 = 'link' FROM requests WHERE id = $1))`,
		int64(req), purpose, string(ch), n, string(state), w.Epoch, t.now, wake, cause); err != nil {
		return w, err
	}
	t.event(event{batch: req.Batch(), request: req, entity: entityMessage, id: w.ID, to: string(state), why: strings.TrimSpace(string(ch) + " " + cause)})
	if !reachable {
		return paylink.Wake{}, nil
	}
	return w, nil
}

// moveMessage moves a message by compare-and-swap. set holds further assignments with arguments from $5 on; $4 is the
// time.
func (t *tx) moveMessage(id paylink.MessageID, req paylink.RequestID, from, to paylink.MessageState, why, set string, args ...any) error {
	if !paylink.MessageMachine.CanByCommand(from, to) {
		return paylink.MessageMachine.Check(from, to)
	}
	if set != "" {
		set = ", " + set
	}
	if err := t.one(`UPDATE messages SET state = $3, updated_at = $4`+set+` WHERE id = $1 AND state = $2`,
		append([]any{int64(id), string(from), string(to), t.now}, args...)...); err != nil {
		return fmt.Errorf("message %s: %w", id, err)
	}
	t.event(event{batch: req.Batch(), request: req, entity: entityMessage, id: int64(id), from: string(from), to: string(to), why: why})
	return t.delivered(id, req, from, to)
}

const messageColumns = `m.id, m.request_id, m.purpose, m.channel, m.n, m.state, m.epoch, m.tries, m.provider_ref, m.cause, m.possible_duplicate`

func messageTargets(m *paylink.Message) []any {
	return []any{&m.ID, &m.RequestID, &m.Purpose, &m.Channel, &m.N, &m.State, &m.Epoch, &m.Attempts, &m.ProviderRef, &m.Cause, &m.PossibleDuplicate}
}

// ClaimMessage claims a message for sending. ErrConflict means that there is nothing to send: the task is stale, the
// batch stands still, the debt is no longer owed, the address is suppressed, or the link died. Whatever follows from
// that (a fallback channel, a new session) is in the returned wakes.
func (db *DB) ClaimMessage(ctx context.Context, id paylink.MessageID, epoch int64, opt paylink.ClaimOptions) (c paylink.MessageClaim, wakes []paylink.Wake, err error) {
	var refused *refusal
	err = db.change(ctx, func(t *tx) error {
		c, wakes, refused = paylink.MessageClaim{}, nil, nil
		if err := t.lockOfMessage(id); err != nil {
			return err
		}
		w, err := t.claimMessage(&c, id, epoch, opt)
		if errors.As(err, &refused) {
			wakes, err = w, nil
		}
		return err
	})
	if err == nil && refused != nil {
		err = refused
	}
	return c, wakes, err
}

// refusal is the ErrConflict of a claim that decided something else instead, which must be kept. Any other error undoes
// what the claim did.
type refusal struct{ words string }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

func (r *refusal) Error() string { return r.words + ": " + paylink.ErrConflict.Error() }
func (r *refusal) Unwrap() error { return paylink.ErrConflict }

func (t *tx) claimMessage(c *paylink.MessageClaim, id paylink.MessageID, epoch int64, opt paylink.ClaimOptions) ([]paylink.Wake, error) {
	var rs requestScan
	var cs contactScan
	var batch paylink.BatchState
	var nextAt, created, dies int64
	var attempts int
	var sessionID int64
	var sessionState, ending, paid string
	var redacted sql.NullInt64
	var had int64
	targets := append(append(messageTargets(&c.Message), rs.targets()...), cs.targets()...)
	targets = append(targets, &batch, &nextAt, &created, &attempts, &sessionID, &sessionState, &c.Link, &dies, &ending, &had, &paid, &redacted)
	if err := t.row(`SELECT `+messageColumns+`, `+requestColumns+`, `+contactColumns+`, `+t.db.actingColumn()+`, m.next_at, m.created_at, m.attempts,
			COALESCE(s.id, 0), COALESCE(s.state, ''), COALESCE(s.url, ''), COALESCE(s.expires_at, 0),
			COALESCE(s.ending, ''), r.paid - r.refunded, m.paid, c.redacted_at
		FROM messages m JOIN requests r ON r.id = m.request_id JOIN contacts c ON c.request_id = r.id
			JOIN batches b ON b.id = (m.request_id >> 32)
			LEFT JOIN sessions s ON s.request_id = r.id AND (s.state = 'intent' OR s.state = 'open' OR s.state = 'pending' OR s.state = 'attempted')
		WHERE m.id = $1`, int64(id)).Scan(targets...); err != nil {
		return nil, notFound(err, id)
	}
	var err error
	if c.Request, err = rs.value(); err != nil {
		return nil, err
	}
	if c.Contact, err = cs.value(); err != nil {
		return nil, err
	}
	c.SessionID, c.Date, c.LinkDies = paylink.SessionID(sessionID), toTime(created), toTime(dies)
	m, req := &c.Message, c.Request.ID
	c.Left = c.Request.Amount
	c.Left.Minor -= had
	switch {
	case m.State != paylink.MessageOwed || epoch != m.Epoch || nextAt > t.now:
		return nil, fmt.Errorf("message %s is not waiting to be sent: %w", id, paylink.ErrConflict)
	case m.Purpose == paylink.PurposeReceipt:
		if err := t.mayThank(c, batch, paid, redacted.Valid); err != nil {
			return nil, err
		}
		opt.NeedsLink = false
	case !c.Request.Payment.Owes(): // before the batch's state: what a canceled batch still owes must end, not wait
		if err := t.dropOwed(req, dropCause(c.Request.Payment)); err != nil {
			return nil, err
		}
		return nil, refuse("request %s is %s", req, c.Request.Payment)
	case !acting(batch):
		if _, err := t.exec(`UPDATE messages SET wake_at = NULL WHERE id = $1`, int64(id)); err != nil {
			return nil, err
		}
		return nil, refuse("batch %s is %s", req.Batch(), batch)
	}
	address := c.Contact.Address(m.Channel)
	c.AddressHash = AddressHash(m.Channel, address)
	if reason, err := t.suppressed(m.Channel, c.AddressHash); err != nil {
		return nil, err
	} else if reason != "" {
		return t.suppressMessage(*m, c.Request, c.Contact, reason)
	}
	if opt.NeedsLink && ending == endingAmended { // its link asks for the old amount; the change wakes the message
		if _, err := t.exec(`UPDATE messages SET wake_at = NULL WHERE id = $1`, int64(id)); err != nil {
			return nil, err
		}
		return nil, refuse("session %s is being amended", c.SessionID)
	}
	dying := ending != "" || dies != 0 && dies < t.now+linkMargin.Milliseconds() // 0: the provider did not say
	if opt.NeedsLink && (sessionID == 0 || sessionState == string(paylink.SessionIntent) || dying) {
		return t.renew(*m, paylink.SessionID(sessionID), sessionState)
	}
	return nil, t.openAttempt(c, attempts+1, opt)
}

// dropCause says why a message for a debt in this state is no longer wanted.
func dropCause(s paylink.PaymentState) paylink.Cause {
	if s == paylink.PaymentCanceled {
		return paylink.CauseCanceled
	}
	return paylink.CausePaid
}

// giveBack moves a message that was claimed to owed again, or ends it if nobody wants it any more: with its batch
// canceled there would be no later claim to find that out. set is as in moveMessage.
func (t *tx) giveBack(m paylink.Message, from paylink.MessageState, why, set string, args ...any) error {
	if err := t.moveMessage(m.ID, m.RequestID, from, paylink.MessageOwed, why, set, args...); err != nil {
		return err
	}
	var payment paylink.PaymentState
	if err := t.row(`SELECT payment FROM requests WHERE id = $1`, int64(m.RequestID)).Scan(&payment); err != nil {
		return err
	}
	if payment.Owes() {
		return t.settle(m.RequestID, "", why, false)
	}
	return t.dropOwed(m.RequestID, dropCause(payment))
}

// linkMargin is how long a link must still live when it is sent.
const linkMargin = 10 * time.Minute

// renew parks a message whose link has died until the request has a new session. The old one is ended at the provider
// first (law 4).
func (t *tx) renew(m paylink.Message, session paylink.SessionID, state string) ([]paylink.Wake, error) {
	conflict := refuse("request %s needs a new session first", m.RequestID)
	if _, err := t.exec(`UPDATE messages SET wake_at = NULL WHERE id = $1`, int64(m.ID)); err != nil {
		return nil, err
	}
	switch {
	case state == string(paylink.SessionIntent):
		return nil, conflict
	case session == 0:
		w, err := t.oweSession(m.RequestID, stepMessages)
		if err != nil {
			return nil, err
		}
		if w.ID == 0 {
			return nil, conflict
		}
		return []paylink.Wake{w}, conflict
	}
	n, err := t.exec(`UPDATE sessions SET ending = 'renewed', check_at = $2 WHERE id = $1 AND ending <> 'renewed'`, int64(session), t.now)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, conflict
	}
	return []paylink.Wake{{Task: paylink.TaskSettle, ID: int64(session), Epoch: t.now}}, conflict
}

func (t *tx) openAttempt(c *paylink.MessageClaim, n int, opt paylink.ClaimOptions) error {
	lease := t.now + opt.Lease.Milliseconds()
	secret := rand.Text()[:12]
	if c.Message.PossibleDuplicate {
		// The attempt whose answer was lost says what the bytes must be.
		err := t.row(`SELECT bytes_hash FROM attempts WHERE message_id = $1 AND bytes_hash <> '' ORDER BY n DESC LIMIT 1`, int64(c.Message.ID)).Scan(&c.Frozen)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	if err := t.moveMessage(c.Message.ID, c.Request.ID, paylink.MessageOwed, paylink.MessageClaimed, "", `wake_at = $5, attempts = $6`, lease, n); err != nil {
		return err
	}
	attempt, err := t.insert(`
		INSERT INTO attempts (message_id, n, state, phase, worker, secret, lease_until, started_at)
		VALUES ($1, $2, 'open', 'prepared', $3, $4, $5, $6)`,
		int64(c.Message.ID), n, opt.Worker, secret, lease, t.now)
	if err != nil {
		if t.db.dialect.unique(err) {
			return fmt.Errorf("message %s has an attempt open: %w", c.Message.ID, paylink.ErrConflict)
		}
		return err
	}
	c.Attempt = paylink.AttemptID(attempt)
	c.Message.State, c.Epoch, c.Deadline = paylink.MessageClaimed, c.Message.Epoch, toTime(lease)
	c.Token = strconv.FormatInt(int64(c.Attempt), 36) + "." + secret
	return nil
}

func (t *tx) suppressed(ch paylink.Channel, hash string) (reason string, err error) {
	err = t.row(`SELECT reason FROM suppressions WHERE channel = $1 AND address_hash = $2 AND lifted_at IS NULL`, string(ch), hash).Scan(&reason)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return reason, err
}

// suppressMessage ends an owed message whose address must not be written to. A bounce before lets the route go on; an
// opt-out does not: who said stop on one channel is not followed to the next.
func (t *tx) suppressMessage(m paylink.Message, r paylink.Request, c paylink.Contact, reason string) ([]paylink.Wake, error) {
	cause := paylink.CauseSuppressed
	if reason == "opted_out" || reason == "complained" {
		cause = paylink.CauseOptedOut
	}
	if err := t.moveMessage(m.ID, m.RequestID, paylink.MessageOwed, paylink.MessageSuppressed, reason, `wake_at = NULL, cause = $5`, string(cause)); err != nil {
		return nil, err
	}
	var wakes []paylink.Wake
	if cause == paylink.CauseSuppressed {
		w, err := t.fallBack(m, r, c)
		if err != nil {
			return nil, err
		}
		wakes = w
	}
	if err := t.settle(m.RequestID, "", reason, false); err != nil {
		return nil, err
	}
	return wakes, refuse("message %s is suppressed (%s)", m.ID, reason)
}

// CommitMessage is the last look before the point of no return: one compare-and-swap that holds only if the claim is
// still ours for longer than the call may take, the debt is owed, nobody called it off, the address is not suppressed
// and the batch runs. ErrConflict means: do not send.
func (db *DB) CommitMessage(ctx context.Context, c paylink.MessageClaim, opt paylink.CommitOptions) error {
	if c.Frozen != "" && c.Frozen != opt.BytesHash {
		return fmt.Errorf("message %s would be sent again with other bytes: %w", c.Message.ID, paylink.ErrFrozen)
	}
	return db.change(ctx, func(t *tx) error {
		clock := `$4`
		if db.clock == nil && db.dialect.clock != "" {
			clock = db.dialect.clock
		}
		shown := int64(0) // the session whose link the message shows, which must not be dead or on its way there
		may := mayAsk
		if c.Message.Purpose == paylink.PurposeReceipt {
			may, opt.Reveals = mayThank, false
		}
		if opt.Reveals {
			shown = int64(c.SessionID)
		}
		err := t.one(`
			UPDATE messages SET state = 'committing', updated_at = $4
			WHERE id = $1 AND state = 'claimed' AND epoch = $2
				AND EXISTS (SELECT 1 FROM attempts a WHERE a.id = $3 AND a.state = 'open' AND a.phase = 'prepared' AND a.lease_until - $5 > `+clock+`)
				`+may+`
				AND NOT EXISTS (SELECT 1 FROM suppressions s WHERE s.channel = $7 AND s.address_hash = $8 AND s.lifted_at IS NULL)
				AND (CAST($9 AS BIGINT) = 0 OR EXISTS (SELECT 1 FROM sessions s WHERE s.id = CAST($9 AS BIGINT)
					AND (s.state = 'open' OR s.state = 'pending' OR s.state = 'attempted') AND s.ending = ''))`,
			int64(c.Message.ID), c.Epoch, int64(c.Attempt), t.now, opt.Timeout.Milliseconds(),
			int64(c.Request.ID.Batch()), string(c.Message.Channel), c.AddressHash, shown)
		if err != nil {
			return fmt.Errorf("message %s may not be sent any more: %w", c.Message.ID, err)
		}
		if err := t.one(`UPDATE attempts SET phase = 'committing', committing_at = $2, bytes_hash = $3, template_hash = $4, address_hash = $5 WHERE id = $1 AND state = 'open'`,
			int64(c.Attempt), t.now, opt.BytesHash, opt.TemplateHash, c.AddressHash); err != nil {
			return err
		}
		if opt.Reveals {
			if _, err := t.exec(`UPDATE sessions SET revealed_at = $2, look_at = `+quietLook+` WHERE id = $1 AND revealed_at IS NULL`,
				int64(c.SessionID), t.now, t.now+quietGap.Milliseconds()); err != nil {
				return err
			}
		}
		t.use(string(c.Message.Channel), classDispatch)
		t.event(event{batch: c.Request.ID.Batch(), request: c.Request.ID, entity: entityMessage, id: int64(c.Message.ID),
			from: string(paylink.MessageClaimed), to: string(paylink.MessageCommitting)})
		return nil
	})
}
