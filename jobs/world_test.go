package jobs_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dunlin/checkout/ottu"
	"dunlin/internal/testenv"
	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/notify"
	"dunlin/notify/email"
	"dunlin/notify/twilio"
	"dunlin/paylink"
	"dunlin/sandbox"
	"dunlin/templates"
)

// database is one of the two that a ledger stands on.
type database struct {
	name string
	// open makes an empty database and returns its address for the ledger, and how plain SQL reaches it.
	open func(t *testing.T) (address, driver, dsn string)
}

var databases = []database{
	{"sqlite", func(t *testing.T) (string, string, string) {
		path := filepath.Join(t.TempDir(), "dunlin.db")
		return "sqlite:" + path, "sqlite", "file:" + path + "?_pragma=busy_timeout(10000)"
	}},
	{"postgres", func(t *testing.T) (string, string, string) {
		url := testenv.Postgres(t)
		return url, "pgx", url
	}},
}

// world is a worker on the real ledger and the real adapters, with the real stand-ins behind sockets. Only the queue is
// in memory, so that a test can lose and repeat what is in it, and time stands still until the test moves it.
type world struct {
	*testing.T
	// clock stands still; nil = the world goes by real time.
	clock *ledgertest.Clock
	now   func() time.Time
	// address is where the ledger is.
	address string
	db      *ledger.DB
	raw     *sql.DB
	box     *sandbox.Sandbox
	queue   *memoryQueue
	ledger  *watchedLedger
	limit   *pauses
	alerts  *alerts
	config  jobs.Config
	worker  *jobs.Worker
	texts   *templates.Set

	// mode is how the queue delivers.
	mode delivery
	// prepare is asked before each handler: with which worker it runs, and when its context is to end (nil = never).
	prepare func(paylink.Wake) (on *jobs.Worker, cut func() bool)
	// done is told after each handler.
	done  func(paylink.Wake)
	mails []sandbox.Mail // as last read
	// round is called after every round of handlers.
	round func()
}

// delivery is how the queue delivers.
type delivery int

const (
	once    delivery = iota
	twice            // each task is run by two at once
	stale            // whatever was ever delivered comes again in every later round
	swept            // only the sweeper's wakes arrive
	outages          // the queue does not answer but when the sweeper asks
)

// patience bounds every wait of a test for something that must happen.
const patience = time.Minute

var embeddedTexts = sync.OnceValues(func() (*templates.Set, error) { return templates.Load("") })

func newWorld(t *testing.T, on database) *world {
	t.Helper()
	clock := ledgertest.NewClock()
	w := newWorldAt(t, on, clock.Now)
	w.clock = clock
	w.restart()
	return w
}

// newWorldAt is newWorld by another clock, and without a worker.
func newWorldAt(t *testing.T, on database, now func() time.Time) *world {
	t.Helper()
	w := &world{T: t, now: now, queue: &memoryQueue{}, limit: &pauses{}, alerts: &alerts{}}
	var driver, dsn string
	w.address, driver, dsn = on.open(t)
	w.db = ledgertest.Open(t, w.address, w.now)
	var err error
	if w.raw, err = sql.Open(driver, dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.raw.Close() })
	w.raw.SetMaxOpenConns(1)
	if w.box, err = sandbox.Start(sandbox.Config{Now: w.now, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.box.Close() })
	if w.texts, err = embeddedTexts(); err != nil {
		t.Fatal(err)
	}
	w.ledger = &watchedLedger{Ledger: w.db}
	w.config = jobs.Config{
		Ledger: w.ledger, Queue: w.queue, Limiter: w.limit, Alerter: w.alerts, Name: "w1",
		Senders: map[paylink.Channel]notify.Sender{}, Finders: map[paylink.Channel]notify.Finder{},
		Builder: &notify.Builder{Merchant: "Al Noor School", MailDomain: "dunlin.example", Templates: w.texts,
			ContentSIDs: map[string]string{"link:en": sandbox.LinkTemplateEN, "link:ar": sandbox.LinkTemplateAR}},
		SessionLife: 2 * time.Hour,
		OnUnknown:   map[paylink.Channel]jobs.UnknownPolicy{paylink.Email: jobs.ResendOnce, paylink.SMS: jobs.Hold, paylink.WhatsApp: jobs.Hold},
	}
	w.plugIn("", "", "")
	return w
}

// plugIn connects the adapters to the sandbox. An argument that is not empty replaces the right key, token or relay.
func (w *world) plugIn(key, token, relay string) {
	w.Helper()
	cfg := w.box.Config()
	or := func(v, d string) string {
		if v == "" {
			return d
		}
		return v
	}
	wire := http.DefaultTransport.(*http.Transport).Clone()
	w.Cleanup(wire.CloseIdleConnections)
	checkout, err := ottu.New(ottu.Config{BaseURL: w.box.URL(), APIKey: or(key, cfg.APIKey), PGCodes: cfg.PGCodes, HTTP: &http.Client{Transport: wire}, Timeout: time.Hour, Now: w.now})
	if err != nil {
		w.Fatal(err)
	}
	phone, err := twilio.New(twilio.Config{AccountSID: cfg.AccountSID, AuthToken: or(token, cfg.AuthToken), BaseURL: w.box.URL(),
		SMSFrom: sandbox.SMSFrom, WhatsAppFrom: sandbox.WhatsAppFrom, Transport: wire, Timeout: time.Hour, Now: w.now})
	if err != nil {
		w.Fatal(err)
	}
	mail, err := email.New(email.Config{URL: or(relay, "smtp://"+w.box.SMTPAddr()+"?tls=none"), From: "payments@school.example"})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { mail.Close() })
	w.config.Checkout = ottuCheckout{checkout}
	w.config.Senders = map[paylink.Channel]notify.Sender{paylink.Email: mail, paylink.SMS: phone, paylink.WhatsApp: phone}
	w.config.Finders = map[paylink.Channel]notify.Finder{paylink.SMS: phone, paylink.WhatsApp: phone}
}

type ottuCheckout struct{ *ottu.Client }

func (o ottuCheckout) ExpireOrder(ctx context.Context, orderNo string) error {
	return o.Expire(ctx, ottu.Ref{OrderNo: orderNo})
}

// restart replaces the worker by a new one, as after the end of its process.
func (w *world) restart() {
	w.Helper()
	var err error
	if w.worker, err = jobs.New(w.config); err != nil {
		w.Fatal(err)
	}
}

// fault makes the sandbox misbehave.
func (w *world) fault(r sandbox.Rule) {
	w.Helper()
	if err := w.box.AddFault(r); err != nil {
		w.Fatal(err)
	}
}

// until polls for what nothing signals.
func (w *world) until(what string, cond func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	if !poll(ctx, cond) {
		w.Fatalf("gave up waiting until %s; the providers had %v", what, w.box.Counts())
	}
}

// poll asks until cond holds or ctx ends.
func poll(ctx context.Context, cond func() bool) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return cond()
		}
	}
	return true
}

// do runs one wake as a server would, and puts it back if the handler says later. A handler may die on the way.
func (w *world) do(wake paylink.Wake) error {
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	worker, cut := w.worker, func() bool { return false }
	if w.prepare != nil {
		on, c := w.prepare(wake)
		worker = on
		if c != nil {
			cut = c
		}
	}
	result := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		result <- worker.Do(ctx, wake)
	}()
	var over bool
	waiting, stop := context.WithTimeout(w.Context(), patience)
	defer stop()
	poll(waiting, func() bool {
		select {
		case <-ended:
			over = true
		default:
			if cut() {
				cancel()
			}
		}
		return over
	})
	if !over {
		w.Errorf("%s %d does not end", wake.Task, wake.ID)
		return nil
	}
	if w.done != nil {
		w.done(wake)
	}
	var err error
	select {
	case err = <-result:
	default: // it died
		return nil
	}
	var later *jobs.Later
	if errors.As(err, &later) {
		wake.At = later.At
	} else if err != nil {
		wake.At = w.clock.Now().Add(time.Second)
	}
	if err != nil {
		_ = w.queue.Enqueue(w.Context(), wake)
	}
	return err
}

// deliver runs tasks in the world's mode.
func (w *world) deliver(wakes []paylink.Wake) {
	if w.mode == stale {
		wakes = append(w.queue.history(), wakes...)
	}
	for _, wake := range wakes {
		if w.mode != twice {
			_ = w.do(wake)
			continue
		}
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { _ = w.do(wake) })
		}
		both.Wait()
	}
}

// step runs one round: what is queued, or else what feeding and sweeping find. It reports whether anything was done.
func (w *world) step() bool {
	w.Helper()
	wakes := w.queue.ready(w.clock.Now())
	if len(wakes) == 0 {
		w.upkeep()
		wakes = w.queue.ready(w.clock.Now())
	}
	if len(wakes) == 0 {
		return false
	}
	w.deliver(wakes)
	if w.round != nil {
		w.round()
	}
	return true
}

func (w *world) upkeep() {
	w.Helper()
	ctx := w.Context()
	w.queue.set(w.mode == outages, w.mode == swept)
	if _, err := w.worker.Feed(ctx); err != nil && !errors.Is(err, errAway) {
		w.Fatalf("feeding: %v", err)
	}
	w.queue.set(false, false)
	room, err := w.worker.LookAtQueues(ctx)
	if err != nil {
		w.Fatalf("looking at the queues: %v", err)
	}
	if w.mode == outages {
		// Rows are fed while the queue answers, and lost with it.
		w.queue.set(false, true)
		if _, err := w.worker.Feed(ctx); err != nil {
			w.Fatalf("feeding: %v", err)
		}
		w.queue.set(false, false)
	}
	if _, err := w.worker.Sweep(ctx, room); err != nil {
		w.Fatalf("sweeping: %v", err)
	}
	if err := w.worker.Advance(ctx); err != nil {
		w.Fatalf("advancing: %v", err)
	}
	w.queue.set(w.mode == outages, w.mode == swept)
}

// due is when the ledger or the queue has something to do next; zero if never.
func (w *world) due() time.Time {
	w.Helper()
	var ms sql.NullInt64
	if err := w.raw.QueryRowContext(w.Context(), `SELECT MIN(at) FROM (SELECT MIN(wake_at) AS at FROM requests
		UNION ALL SELECT MIN(wake_at) FROM messages UNION ALL SELECT MIN(check_at) FROM sessions) x`).Scan(&ms); err != nil {
		w.Fatalf("asking what is due: %v", err)
	}
	at := w.queue.next()
	if ms.Valid {
		if t := time.UnixMilli(ms.Int64); at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}

// settle runs until nothing is owed and no check is due.
func (w *world) settle() {
	w.Helper()
	w.settleUntil(func() bool { return false })
}

// settleUntil is settle, which also ends as soon as enough holds.
func (w *world) settleUntil(enough func() bool) {
	w.Helper()
	var last time.Time
	for range 400 {
		if enough() {
			return
		}
		if w.step() {
			continue
		}
		at := w.due()
		if at.IsZero() {
			return
		}
		d := max(at.Sub(w.clock.Now()), 0) + time.Millisecond
		if at.Equal(last) { // it is due and yet nobody may do it: a breaker is open
			d = 5 * time.Second
		}
		last = at
		w.clock.Advance(d)
	}
	w.Errorf("it does not settle: %s", w.stands())
}

// send imports a batch of n rows and confirms it.
func (w *world) send(n int, opts ...ledgertest.Option) paylink.BatchID {
	w.Helper()
	return ledgertest.Import(w.T, w.db, n, opts...)
}

// lines are the requests of a batch.
func (w *world) lines(id paylink.BatchID) (out []ledger.RequestLine) {
	w.Helper()
	if err := w.db.Requests(w.Context(), id, ledger.RequestFilter{}, func(l ledger.RequestLine) error {
		out = append(out, l)
		return nil
	}); err != nil {
		w.Fatal(err)
	}
	return out
}

func (w *world) counts(id paylink.BatchID) paylink.Counts {
	w.Helper()
	s, err := w.db.Status(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return s.Counts
}

// stands says in words where the newest batch stands.
func (w *world) stands() string {
	w.Helper()
	batches, err := w.db.Batches(w.Context(), 1)
	if err != nil || len(batches) == 0 {
		w.Fatalf("listing batches: %v", err)
	}
	return describe(w.lines(batches[0].ID)[0])
}

// describe says all that is known of a request in words such as "sent unpaid; open; email accepted".
func describe(l ledger.RequestLine) string {
	session := "-"
	if l.Session != nil {
		session = string(l.Session.State)
	}
	var messages []string
	for _, m := range l.Messages {
		name := string(m.Channel)
		if m.Purpose != paylink.PurposeLink {
			name = m.Purpose + " by " + name
		}
		if m.N > 1 {
			name += fmt.Sprintf("#%d", m.N)
		}
		name += " " + string(m.State)
		if m.PossibleDuplicate {
			name += " (perhaps twice)"
		}
		messages = append(messages, name)
	}
	if len(messages) == 0 {
		messages = []string{"-"}
	}
	return fmt.Sprintf("%s %s; %s; %s", l.Request.Dispatch, l.Request.Payment, session, strings.Join(messages, ", "))
}

// shortCode is the end of the sandbox's short link to its n-th session.
func shortCode(n int) string { return "s" + strconv.FormatInt(int64(n)+46_655, 36) }

// received is what the stand-ins have for one payer.
type received struct {
	byChannel map[paylink.Channel]int
	sessions  int
	live      []string // ids of sessions that can still be paid
	revealed  []string // those of them whose link was in a message
	text      string   // all that the payer can read
}

// received gathers it for everybody, by email address and, for what came by telephone, by number.
func (w *world) received() map[string]*received {
	all := map[string]*received{}
	of := func(address string) *received {
		if all[address] == nil {
			all[address] = &received{byChannel: map[paylink.Channel]int{}}
		}
		return all[address]
	}
	if w.box.Counts().Mails != len(w.mails) { // reading them back is dear
		w.mails = w.box.Mails()
	}
	for _, m := range w.mails {
		r := of(m.To)
		r.byChannel[paylink.Email]++
		r.text += strings.Join(m.Links, " ") + " "
	}
	for _, m := range w.box.Messages() {
		r := of(m.Number())
		if m.WhatsApp() {
			r.byChannel[paylink.WhatsApp]++
		} else {
			r.byChannel[paylink.SMS]++
		}
		r.text += m.Body + " "
	}
	for i, s := range w.box.Sessions() {
		r := of(s.Email)
		r.sessions++
		if !slices.Contains([]string{"created", "pending", "attempted"}, s.State) {
			continue
		}
		r.live = append(r.live, s.ID)
		if text := r.text + of(s.Phone).text; strings.Contains(text, s.ID) || strings.Contains(text, "/b/"+shortCode(i+1)) {
			r.revealed = append(r.revealed, s.ID)
		}
	}
	return all
}

// receivedBy is what one payer has.
func (w *world) receivedBy(c paylink.Contact) received {
	all := w.received()
	r := received{byChannel: map[paylink.Channel]int{}}
	if x := all[c.Email]; x != nil {
		r = *x
	}
	if x := all[c.Phone]; x != nil && c.Phone != "" {
		for ch, n := range x.byChannel {
			r.byChannel[ch] += n
		}
	}
	return r
}
