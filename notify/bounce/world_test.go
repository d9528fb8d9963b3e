package bounce_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dunlin/checkout/ottu"
	"dunlin/internal/testenv"
	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/notify"
	"dunlin/notify/bounce"
	"dunlin/notify/email"
	"dunlin/notify/twilio"
	"dunlin/paylink"
	"dunlin/sandbox"
	"dunlin/templates"
)

// each runs a test over both databases.
func each(t *testing.T, run func(*world)) {
	for name, open := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "dunlin.db") },
		"postgres": func(t *testing.T) string { return testenv.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, open(t))
			run(w)
			ledgertest.Audit(t, w.db)
		})
	}
}

// shaky is a ledger that can be away. It remembers what was stored.
type shaky struct {
	*ledger.DB
	noStore, noApply atomic.Bool
	mu               sync.Mutex
	raw              []string
}

var errAway = errors.New("the ledger is away")

func (s *shaky) StoreEvent(ctx context.Context, provider, key string, raw []byte) (paylink.StoredEvent, bool, error) {
	if s.noStore.Load() {
		return paylink.StoredEvent{}, false, errAway
	}
	e, fresh, err := s.DB.StoreEvent(ctx, provider, key, raw)
	if fresh {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.raw = append(s.raw, string(raw))
	}
	return e, fresh, err
}

func (s *shaky) ApplyReceipt(ctx context.Context, id paylink.EventID, r paylink.MessageReceipt) (paylink.EventOutcome, []paylink.Wake, error) {
	if s.noApply.Load() {
		return "", nil, errAway
	}
	return s.DB.ApplyReceipt(ctx, id, r)
}

// hand is a queue of one hand.
type hand struct {
	mu    sync.Mutex
	wakes []paylink.Wake
}

func (h *hand) Enqueue(_ context.Context, w ...paylink.Wake) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wakes = append(h.wakes, w...)
	return nil
}

func (h *hand) Depth(context.Context, jobs.Provider) (int, error) { return 0, nil }

func (h *hand) take() []paylink.Wake {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.wakes
	h.wakes = nil
	return out
}

// world is a worker that sends real mail through a mail server that reports what does not arrive, and the listener that
// takes these reports.
type world struct {
	*testing.T
	clock    *ledgertest.Clock
	db       *ledger.DB
	shaky    *shaky
	address  *bounce.Address
	intake   *bounce.Intake
	listener *bounce.Listener
	box      *sandbox.Sandbox
	queue    *hand
	worker   *jobs.Worker
	log      strings.Builder
	alerts   atomic.Int64
}

func newWorld(t *testing.T, database string) *world {
	t.Helper()
	w := &world{T: t, clock: ledgertest.NewClock(), queue: &hand{}, address: address(t)}
	w.db = ledgertest.Open(t, database, w.clock.Now)
	w.shaky = &shaky{DB: w.db}
	w.intake = &bounce.Intake{Ledger: w.shaky, Wake: w.queue.Enqueue, Alert: func(context.Context, string, string) { w.alerts.Add(1) }, Log: slog.New(slog.NewTextHandler(&w.log, nil))}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.listener, err = bounce.Listen("127.0.0.1:0", w.address, w.intake)
	must(err)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- w.listener.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	w.box, err = sandbox.Start(sandbox.Config{Now: w.clock.Now, Seed: 1, BounceTo: w.listener.Addr().String()})
	must(err)
	t.Cleanup(func() { w.box.Close() })
	cfg := w.box.Config()
	checkout, err := ottu.New(ottu.Config{BaseURL: w.box.URL(), APIKey: cfg.APIKey, PGCodes: cfg.PGCodes, Now: w.clock.Now})
	must(err)
	mail, err := email.New(email.Config{URL: "smtp://" + w.box.SMTPAddr() + "?tls=none", From: "School <fees@example.com>", ReturnPath: w.address.ReturnPath})
	must(err)
	t.Cleanup(func() { mail.Close() })
	sms, err := twilio.New(twilio.Config{AccountSID: cfg.AccountSID, AuthToken: cfg.AuthToken, BaseURL: w.box.URL(), SMSFrom: sandbox.SMSFrom})
	must(err)
	texts, err := templates.Load("")
	must(err)
	w.worker, err = jobs.New(jobs.Config{Ledger: w.db, Queue: w.queue, Checkout: ottuCheckout{checkout},
		Senders: map[paylink.Channel]notify.Sender{paylink.Email: mail, paylink.SMS: sms},
		Builder: &notify.Builder{Merchant: "School", PublicURL: "https://pay.example", MailDomain: "example.com", Templates: texts}})
	must(err)
	return w
}

type ottuCheckout struct{ *ottu.Client }

func (o ottuCheckout) ExpireOrder(ctx context.Context, orderNo string) error {
	return o.Expire(ctx, ottu.Ref{OrderNo: orderNo})
}

// send sends a link to an address and works until there is nothing more to do.
func (w *world) send(to, routes string) paylink.RequestID {
	w.Helper()
	b := ledgertest.Import(w.T, w.db, 1, ledgertest.Routes(routes), ledgertest.Each(func(r *paylink.Row) { r.Email = to }))
	wakes, err := w.db.Feed(w.Context(), b, 1)
	if err != nil {
		w.Fatal(err)
	}
	id := paylink.RequestID(wakes[0].ID)
	w.work(wakes...)
	return id
}

func (w *world) work(wakes ...paylink.Wake) {
	w.Helper()
	for wakes = append(wakes, w.queue.take()...); len(wakes) > 0; wakes = w.queue.take() {
		for _, wake := range wakes {
			if err := w.worker.Do(w.Context(), wake); err != nil {
				w.Fatal(err)
			}
		}
	}
}

// reported waits until the mail server has brought n reports.
func (w *world) reported(n int) []sandbox.Report {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	if err := w.box.Wait(ctx, func() bool { return len(w.box.Reports()) >= n }); err != nil {
		w.Fatal(err)
	}
	return w.box.Reports()
}

// stands describes a request: its dispatch state and its messages.
func (w *world) stands(id paylink.RequestID, want string) {
	w.Helper()
	l, err := w.db.Request(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	got := string(l.Request.Dispatch)
	for _, m := range l.Messages {
		got += strings.TrimRight(fmt.Sprintf(" | %s %s %s %s", m.Channel, m.State, m.Cause, m.Code), " ")
	}
	if got != want {
		w.Errorf("%s stands at\n  %s, want\n  %s", id, got, want)
	}
}

// silenced lists the reasons of suppressions.
func (w *world) silenced(want ...string) {
	w.Helper()
	list, err := w.db.Suppressions(w.Context(), 100)
	if err != nil {
		w.Fatal(err)
	}
	var got []string
	for _, s := range list {
		got = append(got, string(s.Channel)+" "+string(s.Reason)+" "+s.Source)
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		w.Errorf("suppressed: %q, want %q", got, want)
	}
}
