package jobs_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dunlin/jobs"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

// TestAfterRestore restores a backup that was made in the middle of a run: rows were pending, fed, linked, claimed, at the
// point of no return and done. Work went on after the backup. Nothing is sent again by itself; what a person then sends
// again is marked as a possible duplicate.
func TestAfterRestore(t *testing.T) {
	w := newWorld(t, databases[0])
	b := w.send(12, ledgertest.Routes("email+sms"))
	w.config.InFlight = 6
	w.restart()
	w.ledger.watch(die(after, "ClaimMessage"))
	var commits int
	w.settleUntil(func() bool {
		commits = w.box.Counts().Mails
		return commits >= 2
	})
	w.ledger.watch(die(before, "AcceptMessage"))
	w.step()
	w.ledger.watch(nil)
	if c := w.counts(b); c.Pending == 0 || c.InFlight == 0 {
		t.Fatalf("got %+v, want a batch in the middle", c)
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	if _, err := w.raw.ExecContext(t.Context(), `VACUUM INTO '`+backup+`'`); err != nil {
		t.Fatal(err)
	}
	w.settle()
	done := w.received()
	if c := w.counts(b); !c.Done() {
		t.Fatalf("got %+v, want the batch through before its ledger is lost", c)
	}

	w.lose(backup)
	r, err := w.db.AfterRestore(t.Context(), "clerk", "")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Paused) != 1 || r.Requests == 0 || r.Messages == 0 {
		t.Errorf("got %+v, want a paused batch with doubtful rows and messages", r)
	}
	ledgertest.Audit(t, w.db)
	if c := w.counts(b); c.Pending+c.InFlight != 0 || c.Unknown == 0 {
		t.Errorf("got %+v, want nothing that would go on by itself", c)
	}
	w.sameAs(done)
	if err := w.db.Resume(t.Context(), b, "clerk", "looked at"); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.sameAs(done)
	if again, err := w.db.AfterRestore(t.Context(), "clerk", ""); err != nil || again.Requests+again.Messages != 0 {
		t.Errorf("given again: got %+v, %v; want nothing left to do", again, err)
	}
	if n, err := w.db.Retry(t.Context(), b, "", "clerk", ""); err != nil || n != 0 {
		t.Errorf("a retry without a name: got %d, %v; want none", n, err)
	}
	_ = w.db.Resume(t.Context(), b, "clerk", "")
	doubtful := w.counts(b).Unknown
	if n, err := w.db.Retry(t.Context(), b, paylink.CauseRestored, "clerk", "the relay has no record"); err != nil || int64(n) != doubtful {
		t.Errorf("got %d of %d sent again, %v", n, doubtful, err)
	}
	w.settle()
	ledgertest.Audit(t, w.db)
	if c := w.counts(b); c.Sent != 12 {
		t.Errorf("got %+v, want all 12 sent", c)
	}
	all := w.received()
	for _, l := range w.lines(b) {
		for _, m := range l.Messages {
			address := l.Contact.Address(m.Channel)
			if n := all[address].byChannel[m.Channel]; n > 1 && m.State.Accepted() && !m.PossibleDuplicate {
				t.Errorf("%s: %d messages by %s, and %s is not marked", l.Request.ID, n, m.Channel, m.ID)
			}
		}
	}
}

// lose puts a backup in the place of the world's ledger, and empties the queue.
func (w *world) lose(backup string) {
	w.Helper()
	if err := w.db.Close(); err != nil {
		w.Fatal(err)
	}
	path := strings.TrimPrefix(w.address, "sqlite:")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !os.IsNotExist(err) {
			w.Fatal(err)
		}
	}
	text, err := os.ReadFile(backup)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		w.Fatal(err)
	}
	w.raw.Close()
	if w.raw, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)"); err != nil {
		w.Fatal(err)
	}
	raw := w.raw
	w.Cleanup(func() { raw.Close() })
	w.db = ledgertest.Open(w.T, w.address, w.now)
	w.ledger = &watchedLedger{Ledger: w.db}
	w.config.Ledger = w.ledger
	w.queue.forget()
	w.restart()
}

// sameAs fails if anybody got a message since.
func (w *world) sameAs(before map[string]*received) {
	w.Helper()
	for address, r := range w.received() {
		for ch, n := range r.byChannel {
			was := 0
			if before[address] != nil {
				was = before[address].byChannel[ch]
			}
			if n != was {
				w.Errorf("%s got %d messages by %s by themselves, and had %d", address, n, ch, was)
			}
		}
	}
}

// TestTidy erases what was kept long enough, and nothing else.
func TestTidy(t *testing.T) {
	onBoth(t, func(w *world) {
		w.config.Retention = 30 * 24 * time.Hour
		w.restart()
		paid, _ := w.asked()
		open, _ := w.asked()
		if _, wakes, err := w.db.MarkPaid(t.Context(), paid, paylink.Money{}, "clerk", "cash"); err != nil {
			t.Fatal(err)
		} else {
			_ = w.queue.Enqueue(t.Context(), wakes...)
		}
		w.settle()
		name := func(id paylink.RequestID) string { return w.line(id).Contact.Name }
		for _, step := range []struct {
			wait time.Duration
			kept bool
		}{{29 * 24 * time.Hour, true}, {2 * 24 * time.Hour, false}} {
			w.clock.Advance(step.wait)
			if err := w.worker.Tidy(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := name(paid) != ""; got != step.kept {
				t.Errorf("after %v more the paid one's name is kept: %v, want %v", step.wait, got, step.kept)
			}
			if name(open) == "" {
				t.Errorf("the name of one that is still asked for was erased")
			}
		}
		ledgertest.Audit(t, w.db)
		w.press(paid, jobs.AnswerStored)
	})
}
