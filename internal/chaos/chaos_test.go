package chaos_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"dunlin/internal/testenv"
	_ "dunlin/ledger" // registers the drivers by which the test looks into the ledger
	"dunlin/paylink"
	"dunlin/sandbox"
)

const (
	payers      = 5000
	importKills = 8
	workerKills = 20
	callTimeout = 4 * time.Second
	leaseMargin = 30 * time.Second // of every claim, beyond the call's timeout
	patience    = 6 * time.Minute
)

// TestChaos kills the enqueuer and the workers at random moments, holds a worker longer than its lease, restarts Redis
// and empties it, over both databases. DUNLIN_CHAOS_SEED repeats a run's choices.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("DUNLIN_CHAOS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("DUNLIN_CHAOS_SEED: %v", err)
		}
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "dunlin/cmd/worker", "dunlin/cmd/enqueue")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	for _, db := range []struct {
		name, driver string
		open         func(t *testing.T) (url, dsn string)
	}{
		{"sqlite", "sqlite", func(t *testing.T) (string, string) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			return "sqlite:" + path, "file:" + path + "?_pragma=busy_timeout(30000)"
		}},
		{"postgres", "pgx", func(t *testing.T) (string, string) {
			url := testenv.Postgres(t)
			return url, url
		}},
	} {
		t.Run(db.name, func(t *testing.T) {
			t.Logf("DUNLIN_CHAOS_SEED=%d", seed)
			url, dsn := db.open(t)
			c := start(t, bin, url, rand.New(rand.NewPCG(seed, 1)))
			c.importing(t, db.driver, dsn)
			c.sending(t)
			c.settle(t)
			c.judge(t)
		})
	}
}

// chaos is one run.
type chaos struct {
	bin     string
	env     []string
	rand    *rand.Rand
	sandbox *sandbox.Sandbox
	redis   *testenv.RedisServer
	file    string
	db      *sql.DB
	workers []*worker
	// phases counts what the kills left behind: the proof that they hit every phase.
	phases map[string]int
	kills  int
}

type worker struct {
	cmd *exec.Cmd
	log *bytes.Buffer
}

func start(t *testing.T, bin, url string, r *rand.Rand) *chaos {
	t.Helper()
	sb, err := sandbox.Start(sandbox.Config{Latency: 10 * time.Millisecond, Keep: 4 * payers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sb.Close() })
	c := &chaos{bin: bin, rand: r, sandbox: sb, redis: testenv.StartRedis(t), file: writePayers(t), phases: map[string]int{}}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "DUNLIN_") && !strings.HasPrefix(kv, "TWILIO_") {
			c.env = append(c.env, kv)
		}
	}
	c.env = append(c.env, sb.Env()...)
	c.env = append(c.env, "DUNLIN_DATABASE_URL="+url, "DUNLIN_REDIS_URL="+c.redis.URL(), "DUNLIN_DEFAULT_COUNTRY=KW",
		"DUNLIN_LIMIT_CHECKOUT=140/s", "DUNLIN_LIMIT_EMAIL=1000/s", "DUNLIN_LIMIT_SMS=1000/s", "DUNLIN_LIMIT_WHATSAPP=1000/s", "DUNLIN_LOG_LEVEL=warn")
	t.Cleanup(func() {
		for _, w := range c.workers {
			w.cmd.Process.Kill()
			w.cmd.Wait()
		}
		if t.Failed() {
			for i, w := range c.workers {
				t.Logf("log of worker %d:\n%s", i, tail(w.log.String()))
			}
		}
	})
	return c
}

func tail(s string) string {
	if len(s) > 4000 {
		return "…" + s[len(s)-4000:]
	}
	return s
}

func writePayers(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "payers.csv")
	var b bytes.Buffer
	b.WriteString("reference,amount,currency,name,email,phone,channels,description\n")
	for i := range payers {
		channels := []string{"email", "email", "email", "sms", "whatsapp>sms", "email+whatsapp>sms"}[i%6]
		fmt.Fprintf(&b, "C%05d,%d.250,KWD,Payer %d,payer%d@example.com,+9655%07d,%s,School fees\n", i, 5+i%50, i, i, 1000000+i, channels)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (c *chaos) enqueue(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, "enqueue"), args...)
	cmd.Env = c.env
	return cmd
}

// importing kills the enqueuer while it imports, then lets it finish.
func (c *chaos) importing(t *testing.T, driver, dsn string) {
	t.Helper()
	var err error
	if c.db, err = sql.Open(driver, dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.db.Close() })
	for i := range importKills {
		cmd := c.enqueue("send", c.file, "--yes")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		// Every other kill waits for the import to begin, so that some hit it however fast the machine is.
		for i%2 == 0 && len(ended) == 0 && !c.found(`SELECT count(*) FROM batches WHERE state = 'importing'`) {
			runtime.Gosched()
		}
		select {
		case <-time.After(time.Duration(c.rand.IntN(1+60*(i/2)+i%2*100)) * time.Millisecond):
			cmd.Process.Kill()
			<-ended
			c.kills++
		case <-ended:
		}
		c.note("import begun", `SELECT count(*) FROM batches WHERE state = 'importing'`)
		c.note("import half done", `SELECT count(*) FROM batches WHERE state = 'importing' AND imported > 0`)
		c.note("draft", `SELECT count(*) FROM batches WHERE state = 'draft'`)
	}
	var out []byte
	out, err = c.enqueue("send", c.file, "--yes", "--json").CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("sent before")) {
		t.Fatalf("send: %v\n%s", err, out)
	}
	var batches, rows int
	if err := c.db.QueryRow(`SELECT count(*), MAX(imported) FROM batches`).Scan(&batches, &rows); err != nil {
		t.Fatal(err)
	}
	if batches != 1 || rows != payers {
		t.Fatalf("%d batches, %d rows after the killed imports; want 1 and %d", batches, rows, payers)
	}
}

// found reports whether the query counts something. An error is nothing found: the schema may not be there yet.
func (c *chaos) found(query string) bool {
	var n int
	return c.db.QueryRow(query).Scan(&n) == nil && n > 0
}

func (c *chaos) note(phase, query string) {
	if c.found(query) {
		c.phases[phase]++
	}
}

func (c *chaos) noteAll() {
	c.note("session intended", `SELECT count(*) FROM sessions WHERE state = 'intent'`)
	c.note("message owed", `SELECT count(*) FROM messages WHERE state = 'owed'`)
	c.note("message claimed", `SELECT count(*) FROM messages WHERE state = 'claimed'`)
	c.note("message at the point of no return", `SELECT count(*) FROM messages WHERE state = 'committing'`)
	c.note("rows fed, not all linked", `SELECT count(*) FROM requests WHERE dispatch = 'in_flight' AND step = 'session'`)
}

func (c *chaos) startWorker(t *testing.T) *worker {
	t.Helper()
	w := &worker{cmd: exec.Command(filepath.Join(c.bin, "worker"), "-call-timeout", callTimeout.String(), "-drain", "20s"), log: &bytes.Buffer{}}
	w.cmd.Env, w.cmd.Stderr = c.env, w.log
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.workers = append(c.workers, w)
	return w
}

// sending kills workers at random moments, and in between robs them of Redis and holds one longer than its lease.
func (c *chaos) sending(t *testing.T) {
	t.Helper()
	rdb := redis.NewClient(redisOptions(t, c.redis.URL()))
	defer rdb.Close()
	alive := []*worker{c.startWorker(t), c.startWorker(t)}
	var sleeper *worker
	var woken <-chan time.Time
	for i := range workerKills {
		pause := time.After(time.Duration(300+c.rand.IntN(2200)) * time.Millisecond)
		select {
		case <-pause:
		case <-woken:
			sleeper.cmd.Process.Signal(syscall.SIGCONT)
			woken = nil
			<-pause
		}
		victim := c.rand.IntN(2)
		if alive[victim] == sleeper && woken != nil {
			victim = 1 - victim
		}
		alive[victim].cmd.Process.Kill()
		alive[victim].cmd.Wait()
		c.kills++
		c.noteAll()
		alive[victim] = c.startWorker(t)
		switch i {
		case 3:
			sleeper = alive[1-victim]
			sleeper.cmd.Process.Signal(syscall.SIGSTOP)
			woken = time.After(callTimeout + leaseMargin + 5*time.Second)
			alive[1-victim] = c.startWorker(t)
		case 7:
			if err := rdb.FlushAll(context.Background()).Err(); err != nil {
				t.Fatal(err)
			}
			t.Log("Redis was emptied")
		case 12:
			c.redis.Kill()
			c.redis.Restart()
			t.Log("Redis was killed and restarted")
		}
	}
	if woken != nil {
		<-woken
		sleeper.cmd.Process.Signal(syscall.SIGCONT)
	}
}

func redisOptions(t *testing.T, url string) *redis.Options {
	t.Helper()
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return opt
}

// settle waits until nothing is pending or in flight.
func (c *chaos) settle(t *testing.T) {
	t.Helper()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		st := c.status(t)
		if st.Done {
			t.Logf("%d kills; till %+v; checks due %d", c.kills, st.Counts, st.ChecksDue)
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not done after %v: %+v", patience, st.Counts)
		}
	}
}

func (c *chaos) status(t *testing.T) (st paylink.Status) {
	t.Helper()
	out, err := c.enqueue("status", "b1", "--json").Output()
	if err != nil {
		t.Fatalf("status: %v\n%s", err, stderrOf(err))
	}
	if err := json.Unmarshal(out, &st); err != nil {
		t.Fatalf("status said %q: %v", out, err)
	}
	if st.Counts.Sum() != st.Rows || st.Rows != payers {
		t.Fatalf("the till does not add up: %+v, %d rows", st.Counts, st.Rows)
	}
	return st
}

func stderrOf(err error) string {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(e.Stderr)
	}
	return ""
}

// judge compares the ledger with what the stand-ins received.
func (c *chaos) judge(t *testing.T) {
	t.Helper()
	if out, err := c.enqueue("verify", "b1", "--json").CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, tail(string(out)))
	}
	if c.kills < 20 {
		t.Errorf("only %d kills hit a running program, want at least 20", c.kills)
	}
	t.Logf("phases hit: %v", c.phases)
	for _, phase := range []string{"import begun", "session intended", "message owed", "message claimed", "message at the point of no return", "rows fed, not all linked"} {
		if c.phases[phase] == 0 {
			t.Errorf("no kill left behind: %s", phase)
		}
	}
	c.judgeMessages(t)
	c.judgeSessions(t)
}

// judgeMessages: nobody got more by one channel than the ledger admits to.
func (c *chaos) judgeMessages(t *testing.T) {
	t.Helper()
	got := map[string]int{}
	for _, m := range c.sandbox.Mails() {
		got["email "+m.To]++
	}
	for _, m := range c.sandbox.Messages() {
		channel := "sms "
		if m.WhatsApp() {
			channel = "whatsapp "
		}
		got[channel+m.Number()]++
	}
	type known struct{ accepted, doubled, lost int }
	told := map[string]*known{}
	rows, err := c.db.Query(`SELECT m.channel, CASE WHEN m.channel = 'email' THEN c.email ELSE c.phone END, m.state, m.possible_duplicate
		FROM messages m JOIN contacts c ON c.request_id = m.request_id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var channel, address, state string
		var doubled bool
		if err := rows.Scan(&channel, &address, &state, &doubled); err != nil {
			t.Fatal(err)
		}
		k := told[channel+" "+address]
		if k == nil {
			k = &known{}
			told[channel+" "+address] = k
		}
		switch paylink.MessageState(state) {
		case paylink.MessageAccepted, paylink.MessageSent, paylink.MessageDelivered, paylink.MessageRead:
			k.accepted++
		case paylink.MessageUnknown, paylink.MessageHeld:
			k.lost++
		}
		if doubled {
			k.doubled++
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	doubles := 0
	for who, n := range got {
		k := told[who]
		switch {
		case k == nil:
			t.Errorf("%s got %d messages that the ledger knows nothing of", who, n)
		case n > k.accepted+k.lost+k.doubled:
			t.Errorf("%s got %d messages; the ledger admits to %+v", who, n, *k)
		case n > 1:
			doubles++
		}
	}
	for who, k := range told {
		if k.accepted > 0 && got[who] == 0 {
			t.Errorf("%s got nothing, but the ledger says accepted", who)
		}
	}
	t.Logf("%d addresses got a message, %d of them twice and marked so", len(got), doubles)
}

// judgeSessions: of the sessions whose link somebody was given, one per payer is alive.
func (c *chaos) judgeSessions(t *testing.T) {
	t.Helper()
	state := map[string]string{}
	created := map[string]int{}
	for _, s := range c.sandbox.Sessions() {
		state[s.ID] = s.State
		created[s.OrderNo]++
	}
	for order, n := range created {
		if n > 1 {
			t.Errorf("order number %s was used %d times", order, n)
		}
	}
	rows, err := c.db.Query(`SELECT request_id, provider_id FROM sessions WHERE revealed_at IS NOT NULL AND provider_id IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	live := map[int64]int{}
	for rows.Next() {
		var request int64
		var id string
		if err := rows.Scan(&request, &id); err != nil {
			t.Fatal(err)
		}
		if s := state[id]; s == "created" || s == "pending" || s == "attempted" {
			live[request]++
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for request, n := range live {
		if n > 1 {
			t.Errorf("request %s has %d live sessions whose link was given out", paylink.RequestID(request), n)
		}
	}
	if len(live) < payers*9/10 {
		t.Errorf("only %d of %d payers have a live session", len(live), payers)
	}
	// Sessions that nobody was told of must be dead, or be on the list of those to be ended.
	var loose int
	rows2, err := c.db.Query(`SELECT order_no, COALESCE(provider_id, ''), check_at IS NOT NULL FROM sessions WHERE revealed_at IS NULL`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows2.Close()
	watched := map[string]bool{}
	for rows2.Next() {
		var order, id string
		var check bool
		if err := rows2.Scan(&order, &id, &check); err != nil {
			t.Fatal(err)
		}
		watched[order] = check || id != ""
	}
	for _, s := range c.sandbox.Sessions() {
		if w, hidden := watched[s.OrderNo]; hidden && !w && s.State == "created" {
			loose++
			t.Errorf("session of order %s is payable, unknown to everybody and not watched", s.OrderNo)
		}
	}
	t.Logf("%d sessions at the provider, %d payers with one live link, %d loose", len(state), len(live), loose)
}
