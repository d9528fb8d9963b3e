package jobs_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
)

var update = flag.Bool("update", false, "write the golden files anew")

// outside is one step that the outside world may spoil.
type outside struct {
	name     string
	routes   string
	provider sandbox.Provider
	op       string
	// tasks are those in which the step is taken.
	tasks []paylink.Task
	// key tells the step's calls of one payer from others'.
	key func(paylink.Row) string
	// before lists faults that bring the step about.
	before []sandbox.Rule
	// cancel calls the request off once it is sent, which is what ends a session.
	cancel bool
	// claims and records are the ledger's methods before and after the step.
	claims, commits, records []string
	// rounds is how many rounds after the call the work of a late one is done: after that which was to prevent it.
	rounds int
	// permanent and temporary are how this provider refuses.
	permanent, temporary sandbox.Rule
}

func byReference(r paylink.Row) string { return r.Reference }
func byEmail(r paylink.Row) string     { return r.Email }
func byPhone(r paylink.Row) string     { return r.Phone }

var (
	messageRecords = []string{"AcceptMessage", "FailMessage", "LoseMessage", "ReleaseMessage"}
	inquiryRecords = []string{"InquiryFound", "InquiryOpen", "InquiryHold", "InquiryResend"}
	badNumber      = sandbox.Rule{Status: 400, Code: 21211}
	tooMany        = sandbox.Rule{Status: 429}
	unavailable    = sandbox.Rule{Status: 503}
)

var steps = []outside{
	{name: "create", tasks: []paylink.Task{paylink.TaskCreate}, routes: "email", provider: sandbox.Ottu, op: "create", key: byReference, rounds: 1,
		claims: []string{"ClaimSession"}, records: []string{"RecordSession", "FailSession", "LoseSession"},
		permanent: sandbox.Rule{Status: 400, Body: `{"customer_email":["Enter a valid email address."]}`}, temporary: tooMany},
	{name: "expire a lost session", tasks: []paylink.Task{paylink.TaskCreate, paylink.TaskSettle}, routes: "email", provider: sandbox.Ottu, op: "expire", key: byReference, rounds: 2,
		before: []sandbox.Rule{{Provider: sandbox.Ottu, Op: "create", Nth: 1, Action: sandbox.LoseAnswer}},
		claims: []string{"ClaimSettle"}, records: []string{"Settled"},
		permanent: sandbox.Rule{Status: 400, Body: `{"detail":"Operation is not available for this transaction."}`}, temporary: unavailable},
	{name: "look at a session to end", tasks: []paylink.Task{paylink.TaskSettle}, routes: "email", provider: sandbox.Ottu, op: "retrieve", key: byReference, cancel: true, rounds: 2,
		claims: []string{"ClaimSettle"}, records: []string{"Settled"},
		permanent: sandbox.Rule{Status: 404, Body: `{"detail":"Not found."}`}, temporary: unavailable},
	{name: "expire a session to end", tasks: []paylink.Task{paylink.TaskSettle}, routes: "email", provider: sandbox.Ottu, op: "expire", key: byReference, cancel: true, rounds: 2,
		claims: []string{"ClaimSettle"}, records: []string{"Settled"},
		permanent: sandbox.Rule{Status: 400, Body: `{"detail":"Operation is not available for this transaction."}`}, temporary: unavailable},
	{name: "send email", tasks: []paylink.Task{paylink.TaskSend}, routes: "email", provider: sandbox.SMTP, op: "dot", key: byEmail, rounds: 3,
		claims: []string{"ClaimMessage"}, commits: []string{"CommitMessage"}, records: messageRecords,
		permanent: sandbox.Rule{Status: 550, Enhanced: "5.1.1"}, temporary: sandbox.Rule{Status: 451, Enhanced: "4.3.0"}},
	{name: "send sms", tasks: []paylink.Task{paylink.TaskSend}, routes: "sms", provider: sandbox.Twilio, op: "send", key: byPhone, rounds: 2,
		claims: []string{"ClaimMessage"}, commits: []string{"CommitMessage"}, records: messageRecords, permanent: badNumber, temporary: tooMany},
	{name: "send whatsapp", tasks: []paylink.Task{paylink.TaskSend}, routes: "whatsapp>sms", provider: sandbox.Twilio, op: "send", key: byWhatsApp, rounds: 2,
		claims: []string{"ClaimMessage"}, commits: []string{"CommitMessage"}, records: messageRecords,
		permanent: sandbox.Rule{Status: 400, Code: 63024}, temporary: tooMany},
	{name: "look for sms", tasks: []paylink.Task{paylink.TaskInquire}, routes: "sms", provider: sandbox.Twilio, op: "list", key: byPhone, rounds: 2,
		before: []sandbox.Rule{{Provider: sandbox.Twilio, Op: "send", Nth: 1, Action: sandbox.LoseAnswer}},
		claims: []string{"ClaimInquiry"}, records: inquiryRecords, permanent: sandbox.Rule{Status: 400, Code: 20001}, temporary: unavailable},
	{name: "look for whatsapp", tasks: []paylink.Task{paylink.TaskInquire}, routes: "whatsapp>sms", provider: sandbox.Twilio, op: "list", key: byPhone, rounds: 2,
		before: []sandbox.Rule{{Provider: sandbox.Twilio, Op: "send", Nth: 1, Action: sandbox.LoseAnswer}},
		claims: []string{"ClaimInquiry"}, records: inquiryRecords, permanent: sandbox.Rule{Status: 400, Code: 20001}, temporary: unavailable},
}

func byWhatsApp(r paylink.Row) string { return "whatsapp:" + r.Phone }

// outcome is how a call to the outside ends.
type outcome struct {
	name string
	// fault makes it so.
	fault func(outside) sandbox.Rule
	// late: the work is done when the rule is released.
	late bool
	// slow: the call is ended by its timeout.
	slow bool
	// canceled: the call is ended by its handler's context.
	canceled bool
	httpOnly bool
	// tricky: the outcome is also tried with a queue that plays tricks.
	tricky bool
}

func doing(a sandbox.Action, done bool) func(outside) sandbox.Rule {
	return func(outside) sandbox.Rule { return sandbox.Rule{Action: a, Done: done} }
}

var outcomes = []outcome{
	{name: "refused for good", fault: func(o outside) sandbox.Rule { return o.permanent }},
	{name: "refused for now", fault: func(o outside) sandbox.Rule { return o.temporary }, tricky: true},
	{name: "failed before", fault: doing(sandbox.FailBefore, false)},
	{name: "answer lost", fault: doing(sandbox.LoseAnswer, true), tricky: true},
	{name: "half an answer", fault: doing(sandbox.CutBody, true), httpOnly: true},
	{name: "proxy error though done", fault: doing(sandbox.HTML502, true), httpOnly: true},
	{name: "done late", fault: doing(sandbox.Late, false), late: true, tricky: true},
	{name: "slow and not done", fault: doing(sandbox.Hang, false), slow: true},
	{name: "slow and done", fault: doing(sandbox.Hang, true), slow: true},
	{name: "canceled and not done", fault: doing(sandbox.Hang, false), canceled: true},
	{name: "canceled and done", fault: doing(sandbox.Hang, true), canceled: true},
}

// trouble is what becomes of the handler, or of the wakes.
type trouble struct {
	name    string
	methods func(outside) []string // at which the handler dies
	when    moment
	mode    delivery
}

var troubles = []trouble{
	{name: "no crash"},
	{name: "dies after the claim", methods: func(o outside) []string { return o.claims }, when: after},
	{name: "dies after the commit", methods: func(o outside) []string { return o.commits }, when: after},
	{name: "dies before recording", methods: func(o outside) []string { return o.records }, when: before},
	{name: "dies after recording", methods: func(o outside) []string { return o.records }, when: after},
	{name: "every wake twice", mode: twice},
	{name: "old wakes again", mode: stale},
	{name: "only the sweeper", mode: swept},
	{name: "no queue", mode: outages},
}

const (
	// quickTimeout ends the calls that are meant to be slow; calmTimeout is for those that are not.
	quickTimeout = 700 * time.Millisecond
	calmTimeout  = 15 * time.Second
)

// TestFailures walks the failure table: every step outside, every way it may end, every death of the handler around it
// and every trick of the queue, over both databases. After each round the till must add up and no payer may have two live
// links; in the end nothing is owed, verify finds nothing, and nobody got a message twice but who is marked so. What each
// cell ends in stands in testdata/failures.golden, one for both databases.
//
// A cell is a payer. The cells of one step that the queue treats alike are the rows of one batch; each has its own fault
// and its own death.
func TestFailures(t *testing.T) {
	var mu sync.Mutex
	ends := map[string]map[string]string{}
	t.Run("table", func(t *testing.T) {
		for _, on := range databases {
			ends[on.name] = map[string]string{}
			for _, step := range steps {
				t.Run(on.name+"/"+step.name, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, on)
					for mode := once; mode <= outages; mode++ {
						x := w.table(step, mode)
						x.run()
						x.checkBatch(t)
						for i := range x.cells {
							c := &x.cells[i]
							t.Run(c.name(), func(t *testing.T) {
								end := x.check(t, c)
								mu.Lock()
								defer mu.Unlock()
								ends[on.name][step.name+"/"+c.name()] = end
							})
						}
					}
				})
			}
		}
	})
	compareEnds(t, ends)
}

// compareEnds compares how the cells ended with the golden file. A run of some of the table is compared as far as it
// goes.
func compareEnds(t *testing.T, ends map[string]map[string]string) {
	path := filepath.Join("testdata", "failures.golden")
	if *update {
		if err := os.WriteFile(path, []byte(goldenEnds(ends["sqlite"])), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	heading := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "  ") {
			heading = line
			continue
		}
		names, end, _ := strings.Cut(strings.TrimSpace(line), ": ")
		for name := range strings.SplitSeq(names, ", ") {
			want[heading+"/"+name] = end
		}
	}
	for database, got := range ends {
		for name, end := range got {
			if end != want[name] {
				t.Errorf("%s/%s ended in\n\t%s, want\n\t%s", database, name, end, want[name])
			}
		}
	}
}

// goldenEnds writes the ends by step and outcome, and below each the troubles that end alike.
func goldenEnds(ends map[string]string) string {
	var b strings.Builder
	for _, step := range steps {
		for _, out := range outcomes {
			var order []string
			names := map[string][]string{}
			for _, tr := range troubles {
				end, ok := ends[step.name+"/"+out.name+"/"+tr.name]
				if !ok {
					continue
				}
				if names[end] == nil {
					order = append(order, end)
				}
				names[end] = append(names[end], tr.name)
			}
			if len(order) > 0 {
				fmt.Fprintf(&b, "%s/%s\n", step.name, out.name)
			}
			for _, end := range order {
				fmt.Fprintf(&b, "  %s: %s\n", strings.Join(names[end], ", "), end)
			}
		}
	}
	return b.String()
}

// cell is one payer's trouble.
type cell struct {
	step     outside
	outcome  outcome
	trouble  trouble
	row      paylink.Row
	id       paylink.RequestID
	die      hook
	died     bool
	since    int // handlers of this payer that ran since the fault struck, the struck one included
	released bool
}

func (c *cell) name() string { return c.outcome.name + "/" + c.trouble.name }

// fault is the name of the cell's rule.
func (c *cell) fault() string { return "fault of " + c.row.Reference }

// table is the cells of one step that the queue treats alike.
type table struct {
	*world
	step  outside
	cells []cell
	batch paylink.BatchID

	mu sync.Mutex
}

var payers atomic.Int64

func (w *world) table(step outside, mode delivery) *table {
	x := &table{world: w, step: step}
	for _, out := range outcomes {
		for _, tr := range troubles {
			switch {
			case tr.mode != mode, mode != once && !out.tricky:
				continue
			case out.httpOnly && step.provider == sandbox.SMTP, tr.methods != nil && len(tr.methods(step)) == 0:
				continue // there is no such thing
			}
			c := cell{step: step, outcome: out, trouble: tr}
			if tr.methods != nil {
				c.die = die(tr.when, tr.methods(step)...)
			}
			x.cells = append(x.cells, c)
		}
	}
	w.mode, w.prepare, w.done, w.round = once, nil, nil, nil
	w.ledger.watch(nil)
	w.queue.forget()
	w.queue.set(false, false)
	w.box.ClearFaults()
	w.box.Reset()
	w.mails = nil
	x.batch = w.send(len(x.cells), ledgertest.Routes(step.routes), ledgertest.Each(func(r *paylink.Row) {
		n := payers.Add(1)
		r.Reference, r.Email, r.Phone = fmt.Sprintf("R%06d", n), fmt.Sprintf("payer%06d@example.com", n), fmt.Sprintf("+965%08d", 50_000_000+n)
		x.cells[r.Number-1].row = *r
	}))
	for i := range x.cells {
		x.cells[i].id = paylink.NewRequestID(x.batch, i+1)
	}
	if step.cancel {
		w.settle()
		for _, c := range x.cells {
			if _, err := w.db.CancelRequest(w.Context(), c.id, "clerk", "mistake"); err != nil {
				w.Fatal(err)
			}
		}
	}
	w.mode = mode
	return x
}

// run lays the traps and runs the batch until nothing is owed.
func (x *table) run() {
	x.Helper()
	for i := range x.cells {
		x.arm(&x.cells[i])
	}
	x.ledger.watch(func(at moment, method string, id paylink.RequestID) error {
		c := x.cell(id)
		if c == nil || c.die == nil {
			return nil
		}
		alive := true
		defer func() {
			if !alive {
				x.mu.Lock()
				defer x.mu.Unlock()
				c.died = true
			}
		}()
		alive = false // unless die returns
		err := c.die(at, method, id)
		alive = true
		return err
	})
	x.world.prepare, x.world.done, x.world.round = x.prepareHandler, x.handlerDone, x.audit
	x.settle()
	for i := range x.cells {
		if c := &x.cells[i]; c.outcome.late && !c.released && x.box.Hits(c.fault()) > 0 {
			x.release(c)
		}
	}
	x.settle()
}

// arm gives the cell its fault.
func (x *table) arm(c *cell) {
	for _, r := range c.step.before {
		r.Contains = c.row.Phone
		if r.Provider == sandbox.Ottu {
			r.Contains = c.row.Reference
		}
		x.fault(r)
	}
	r := c.outcome.fault(c.step)
	r.Name, r.Provider, r.Op, r.Nth, r.Contains = c.fault(), c.step.provider, c.step.op, 1, c.step.key(c.row)
	if r.Action == "" {
		r.Action = sandbox.Refuse
	}
	x.fault(r)
}

func (x *table) cell(id paylink.RequestID) *cell {
	if id.Batch() != x.batch || id.Row() < 1 || id.Row() > len(x.cells) {
		return nil
	}
	return &x.cells[id.Row()-1]
}

// cellOf finds whose wake it is.
func (x *table) cellOf(wake paylink.Wake) *cell {
	id := wake.ID
	table := ""
	switch wake.Task {
	case paylink.TaskSettle:
		table = "sessions"
	case paylink.TaskSend, paylink.TaskInquire:
		table = "messages"
	}
	if table != "" {
		if err := x.raw.QueryRowContext(x.Context(), `SELECT request_id FROM `+table+` WHERE id = $1`, wake.ID).Scan(&id); err != nil {
			x.Fatalf("finding whose %s %d is: %v", wake.Task, wake.ID, err)
		}
	}
	return x.cell(paylink.RequestID(id))
}

// prepareHandler gives each handler that the fault may strike a worker of its own, as if it ran in another process: rows
// that fail one after the other would open the breaker, which has tests of its own.
func (x *table) prepareHandler(wake paylink.Wake) (*jobs.Worker, func() bool) {
	c := x.cellOf(wake)
	if c == nil || x.box.Hits(c.fault()) > 0 {
		return x.worker, nil
	}
	config, timeout := x.config, calmTimeout
	var cut func() bool
	if c.outcome.slow && slices.Contains(c.step.tasks, wake.Task) {
		timeout = quickTimeout
	}
	if c.outcome.canceled {
		cut = func() bool { return x.box.Hits(c.fault()) > 0 }
	}
	config.CheckoutTimeout = timeout
	config.SendTimeouts = map[paylink.Channel]time.Duration{paylink.Email: timeout, paylink.SMS: timeout, paylink.WhatsApp: timeout}
	worker, err := jobs.New(config)
	if err != nil {
		x.Fatal(err)
	}
	return worker, cut
}

func (x *table) handlerDone(wake paylink.Wake) {
	c := x.cellOf(wake)
	if c == nil || !c.outcome.late || x.box.Hits(c.fault()) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if c.since++; c.since >= c.step.rounds && !c.released {
		x.release(c)
	}
}

// release lets the late work be done, and waits until it is, where it leaves a trace.
func (x *table) release(c *cell) {
	x.Helper()
	c.released = true
	total := func() int { n := x.box.Counts(); return n.Sessions + n.Messages + n.Mails }
	had := total()
	x.box.Release(c.fault())
	if c.step.op == "create" || c.step.op == "dot" || c.step.op == "send" {
		x.until("the late work is done", func() bool { return total() > had })
	}
}

// audit is what must hold at every moment.
func (x *table) audit() {
	x.Helper()
	if counts := x.counts(x.batch); counts.Sum() != int64(len(x.cells)) {
		x.Errorf("the till adds up to %d rows, want %d: %+v", counts.Sum(), len(x.cells), counts)
	}
	for address, r := range x.received() {
		if len(r.revealed) > 1 {
			x.Errorf("%s has %d live links", address, len(r.revealed))
		}
	}
}

// check is what must hold in the end; it says in one line how the cell ended.
func (x *table) check(t *testing.T, c *cell) string {
	if c.die != nil && !c.died {
		t.Errorf("nobody came to %v, so nobody died", c.trouble.methods(c.step))
	}
	struck := x.box.Hits(c.fault()) > 0
	if c.die == nil && !struck {
		t.Error("the fault never struck")
	}
	line, err := x.db.Request(t.Context(), c.id)
	if err != nil {
		t.Fatal(err)
	}
	r := x.receivedBy(line.Contact)
	for _, live := range r.live {
		if line.Session == nil || line.Session.ProviderID != live {
			t.Errorf("a session that the ledger does not hold for live can be paid: %+v", r)
		}
	}
	if len(r.live) > 1 {
		t.Errorf("%d sessions can be paid", len(r.live))
	}
	checkMessages(t, line, r)
	ends := []string{fmt.Sprintf("%d sessions, %d live", r.sessions, len(r.live))}
	for _, ch := range paylink.Channels {
		if n := r.byChannel[ch]; n > 0 || line.Request.Routes.Uses(ch) {
			ends = append(ends, fmt.Sprintf("%d by %s", n, ch))
		}
	}
	if !struck {
		ends = append(ends, "never asked")
	}
	stands := describe(line)
	if c.step.cancel {
		// Who hears of the session's end, the one that brought it about or the one that finds it ended, is a matter of
		// timing: a read that broke off on a kept connection is repeated by the transport.
		stands = strings.NewReplacer("; expired;", "; ended;", "; canceled;", "; ended;").Replace(stands)
	}
	return stands + " | " + strings.Join(ends, ", ")
}

// checkMessages compares what the ledger says of a payer's messages with what arrived.
func checkMessages(t testing.TB, line ledger.RequestLine, r received) {
	t.Helper()
	allowed := map[paylink.Channel]int{}
	for _, m := range line.Messages {
		least, most := 0, 1
		if m.PossibleDuplicate {
			most = 2
		}
		switch {
		case m.State.Accepted():
			least = 1
		case m.State == paylink.MessageFailed && !m.PossibleDuplicate, m.State == paylink.MessageSuppressed, m.State == paylink.MessageCanceled:
			most = 0
		}
		allowed[m.Channel] += most
		if got := r.byChannel[m.Channel]; got < least {
			t.Errorf("the payer got %d messages by %s, which is %s in the ledger", got, m.Channel, m.State)
		}
	}
	for ch, n := range r.byChannel {
		if n > allowed[ch] {
			t.Errorf("the payer got %d messages by %s, the ledger knows of at most %d", n, ch, allowed[ch])
		}
	}
}

// checkBatch is what must hold of the whole in the end.
func (x *table) checkBatch(t *testing.T) {
	report, err := x.db.Verify(t.Context(), x.batch)
	if err != nil || report.Differences != 0 {
		t.Errorf("verify found %d differences, error %v: %+v", report.Differences, err, report.Found)
	}
	if counts := x.counts(x.batch); counts.InFlight+counts.Pending != 0 {
		t.Errorf("something is owed still: %+v", counts)
	}
	gates, err := x.db.Gates(t.Context())
	if err != nil || len(gates) > 0 {
		t.Errorf("a payer's trouble left gates that are not closed: %v, error %v", gates, err)
	}
	if batch, err := x.db.Batch(t.Context(), x.batch); err != nil || batch.State != paylink.BatchDone {
		t.Errorf("the batch is %s, error %v; want done", batch.State, err)
	}
}
