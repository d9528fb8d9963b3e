package ledger

import (
	"context"
	"database/sql"
	"fmt"

	"dunlin/paylink"
)

// Sweep finds what should be woken by now and was not, and what was left behind by somebody who died: claims whose lease
// ran out are released if nothing can have been sent and become unknown if something may have. It hands out wakes with a
// new epoch, so that an old task that turns up later is stale. Small batches are not kept waiting behind large ones: each
// batch gets an equal share of the room.
func (db *DB) Sweep(ctx context.Context, opt paylink.SweepOptions) (wakes []paylink.Wake, err error) {
	for _, ch := range paylink.Channels {
		w, err := db.sweepMessages(ctx, ch, opt)
		wakes = append(wakes, w...)
		if err != nil {
			return wakes, fmt.Errorf("sweep %s: %w", ch, err)
		}
	}
	w, err := db.sweepRequests(ctx, opt.Requests)
	wakes = append(wakes, w...)
	if err != nil {
		return wakes, fmt.Errorf("sweep requests: %w", err)
	}
	w, err = db.sweepSessions(ctx, opt.Sessions)
	wakes = append(wakes, w...)
	if err != nil {
		err = fmt.Errorf("sweep sessions: %w", err)
	}
	return wakes, err
}

// The sweeper's looks, several times a second however large the ledger is; a test holds them to their indexes.
const (
	awakeQuery = `SELECT (request_id >> 32) FROM messages WHERE channel = $1 AND (request_id >> 32) > $2
		AND wake_at IS NOT NULL ORDER BY (request_id >> 32) LIMIT 1`
	dueRequestsQuery = `SELECT id, id FROM requests WHERE wake_at <= $1 AND wake_at IS NOT NULL ORDER BY wake_at LIMIT $2`
	dueSessionsQuery = `SELECT id, request_id FROM sessions WHERE check_at <= $1 AND check_at IS NOT NULL ORDER BY check_at LIMIT $2`
)

// awake lists the batches that have a message of the channel to wake, by hopping through the index.
func (db *DB) awake(ctx context.Context, ch paylink.Channel) ([]paylink.BatchID, error) {
	var out []paylink.BatchID
	for last := int64(0); ; {
		err := db.read.QueryRowContext(ctx, awakeQuery, string(ch), last).Scan(&last)
		if err == sql.ErrNoRows {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, paylink.BatchID(last))
	}
}

type dueMessage struct {
	m       paylink.Message
	attempt paylink.AttemptID
}

func (db *DB) sweepMessages(ctx context.Context, ch paylink.Channel, opt paylink.SweepOptions) (wakes []paylink.Wake, err error) {
	batches, err := db.awake(ctx, ch)
	if err != nil || len(batches) == 0 {
		return nil, err
	}
	for room := opt.Room[ch]; len(batches) > 0; {
		var hungry []paylink.BatchID // what the others leave goes to those who could use more
		for i, b := range batches {
			share := max(0, (room+len(batches)-i-1)/(len(batches)-i))
			w, err := db.sweepBatch(ctx, ch, b, share, opt)
			wakes = append(wakes, w...)
			if err != nil {
				return wakes, err
			}
			if room -= len(w); share > 0 && len(w) >= share {
				hungry = append(hungry, b)
			}
		}
		if room <= 0 {
			break
		}
		batches = hungry
	}
	return wakes, nil
}

// leftBehind is how many stale claims one sweep takes up at once, beside the window for owed messages and the one for
// look-ups. Look-ups have a window too: each is a task in the queue, and a channel that stands still would gather them.
const leftBehind = 500

func (db *DB) sweepBatch(ctx context.Context, ch paylink.Channel, b paylink.BatchID, share int, opt paylink.SweepOptions) (wakes []paylink.Wake, err error) {
	err = db.change(ctx, func(t *tx) error {
		wakes = nil
		share, inquiries := share, share // look-ups go on while the batch stands still
		state, err := t.batchState(b)
		if err != nil {
			return err
		}
		if !acting(state) {
			_, err := t.exec(`UPDATE messages SET wake_at = NULL WHERE channel = $1 AND (request_id >> 32) = $2 AND wake_at <= $3 AND state = 'owed'
				AND NOT (purpose = 'receipt' AND $4)`, string(ch), int64(b), t.now, thanking(state))
			if err != nil {
				return err
			}
			if !thanking(state) {
				share = 0
			}
		}
		parts := []struct {
			where string
			limit int
		}{{`m.state = 'owed'`, share}, {`m.state = 'unknown'`, inquiries}, {`m.state NOT IN ('owed', 'unknown')`, leftBehind}}
		var due []dueMessage
		collect := func(where string, limit int) error {
			if limit <= 0 {
				return nil
			}
			return t.each(`SELECT `+messageColumns+`, COALESCE((SELECT a.id FROM attempts a WHERE a.message_id = m.id AND a.state = 'open'), 0)
				FROM messages m WHERE m.channel = $1 AND (m.request_id >> 32) = $2 AND m.wake_at <= $3 AND m.wake_at IS NOT NULL AND `+where+`
				ORDER BY m.wake_at LIMIT $4`, []any{string(ch), int64(b), t.now, limit}, func(r *sql.Rows) error {
				var d dueMessage
				err := r.Scan(append(messageTargets(&d.m), &d.attempt)...)
				due = append(due, d)
				return err
			})
		}
		for _, p := range parts {
			if err := collect(p.where, p.limit); err != nil {
				return err
			}
		}
		for _, d := range due {
			w, err := t.sweepMessage(d, opt)
			if err != nil {
				return err
			}
			if w.ID != 0 {
				wakes = append(wakes, w)
			}
		}
		return nil
	})
	return wakes, err
}

func (t *tx) sweepMessage(d dueMessage, opt paylink.SweepOptions) (paylink.Wake, error) {
	m := d.m
	if mine, err := t.stillDue(d); err != nil || !mine {
		return paylink.Wake{}, err
	}
	switch m.State {
	case paylink.MessageClaimed:
		if err := t.closeAttempt(d.attempt, "released", "", nil); err != nil {
			return paylink.Wake{}, err
		}
		if err := t.giveBack(m, paylink.MessageClaimed, "lease ran out; surely not sent", ""); err != nil {
			return paylink.Wake{}, err
		}
	case paylink.MessageCommitting:
		f := &paylink.Failure{Kind: paylink.Unknown, Cause: paylink.CauseLostAnswer, Code: "lease"}
		return paylink.Wake{}, t.loseMessage(m, d.attempt, f, opt.FirstCheck(m.Channel))
	}
	w := paylink.Wake{Task: paylink.TaskSend, ID: int64(m.ID), Epoch: m.Epoch + 1, Channel: m.Channel}
	if m.State == paylink.MessageUnknown {
		w.Task = paylink.TaskInquire
	}
	n, err := t.exec(`UPDATE messages SET epoch = $2, wake_at = $3 WHERE id = $1 AND epoch = $4 AND state IN ('owed', 'unknown')`,
		int64(m.ID), w.Epoch, t.now+wakeGrace.Milliseconds(), m.Epoch)
	if err != nil || n == 0 {
		return paylink.Wake{}, err
	}
	return w, nil
}

// stillDue locks the message's request and looks whether the message is as it was found. Where several write at once, a
// worker may have been faster, or may hold it now: then it is not left behind.
func (t *tx) stillDue(d dueMessage) (bool, error) {
	if t.db.dialect.forUpdate == "" {
		return true, nil
	}
	if mine, err := t.tryLock(d.m.RequestID); err != nil || !mine {
		return false, err
	}
	var same bool
	err := t.row(`SELECT state = $2 AND epoch = $3 AND wake_at <= $4 FROM messages WHERE id = $1`,
		int64(d.m.ID), string(d.m.State), d.m.Epoch, t.now).Scan(&same)
	return same, err
}

func (db *DB) sweepRequests(ctx context.Context, limit int) (wakes []paylink.Wake, err error) {
	if limit <= 0 {
		return nil, nil
	}
	var due []paylink.RequestID
	if err := db.dueIDs(ctx, dueRequestsQuery, limit,
		func(_ int64, id paylink.RequestID) { due = append(due, id) }); err != nil || len(due) == 0 {
		return nil, err
	}
	err = db.change(ctx, func(t *tx) error {
		wakes = nil
		states := map[paylink.BatchID]paylink.BatchState{}
		for _, id := range due {
			state, ok := states[id.Batch()]
			if !ok {
				var err error
				if state, err = t.batchState(id.Batch()); err != nil {
					return err
				}
				states[id.Batch()] = state
			}
			if !acting(state) {
				if _, err := t.exec(`UPDATE requests SET wake_at = NULL WHERE id = $1`, int64(id)); err != nil {
					return err
				}
				continue
			}
			if mine, err := t.tryLock(id); err != nil {
				return err
			} else if !mine {
				continue
			}
			w := paylink.Wake{Task: paylink.TaskCreate, ID: int64(id)}
			err := t.row(`UPDATE requests SET epoch = epoch + 1, wake_at = $2 WHERE id = $1 AND step = 'session' AND wake_at <= $3 RETURNING epoch`,
				int64(id), t.now+wakeGrace.Milliseconds(), t.now).Scan(&w.Epoch)
			if err == sql.ErrNoRows {
				continue
			}
			if err != nil {
				return err
			}
			wakes = append(wakes, w)
		}
		return nil
	})
	return wakes, err
}

func (db *DB) dueIDs(ctx context.Context, query string, limit int, add func(int64, paylink.RequestID)) error {
	return each(ctx, db.read, query, []any{db.Now().UnixMilli(), limit}, func(r *sql.Rows) error {
		var id int64
		var req paylink.RequestID
		err := r.Scan(&id, &req)
		add(id, req)
		return err
	})
}

func (db *DB) sweepSessions(ctx context.Context, limit int) (wakes []paylink.Wake, err error) {
	if limit <= 0 {
		return nil, nil
	}
	var due []paylink.SessionID
	var of []paylink.RequestID
	if err := db.dueIDs(ctx, dueSessionsQuery, limit,
		func(id int64, req paylink.RequestID) { due, of = append(due, paylink.SessionID(id)), append(of, req) }); err != nil || len(due) == 0 {
		return nil, err
	}
	err = db.change(ctx, func(t *tx) error {
		wakes = nil
		for i, id := range due {
			if mine, err := t.tryLock(of[i]); err != nil {
				return err
			} else if !mine {
				continue
			}
			s, err := scanSession(t.row(`SELECT `+sessionColumns+` FROM sessions WHERE id = $1`, int64(id)))
			if err != nil {
				return err
			}
			if s.checkAt == 0 || s.checkAt > t.now {
				continue
			}
			if s.State == paylink.SessionIntent && !s.lost { // its maker died: the create may have been sent
				w, err := t.loseSession(id, s.RequestID, "lease ran out")
				if err != nil {
					return err
				}
				wakes = append(wakes, w)
				continue
			}
			w := paylink.Wake{Task: paylink.TaskSettle, ID: int64(id), Epoch: t.now + wakeGrace.Milliseconds()}
			if _, err := t.exec(`UPDATE sessions SET check_at = $2 WHERE id = $1`, int64(id), w.Epoch); err != nil {
				return err
			}
			wakes = append(wakes, w)
		}
		return nil
	})
	return wakes, err
}
