package console_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/web/console"
)

const payers = `reference,amount,name,email,class
INV-1,12.500,Layla Sample,layla@example.com,4B
INV-2,1o.000,Adam Sample,adam@example.com,4B
INV-3,20.000,<script>alert(1)</script>,omar@example.com,=1+1
INV-4,-5,Mona Sample,mona@example.com,5A
`

// TestFromFileToSent is a person's way: upload, look at the plan, see a message, confirm, mend a rejected row, confirm that.
func TestFromFileToSent(t *testing.T) {
	w := newWorld(t, nil)
	b := w.as("operator1")
	a := b.upload("payers.csv", payers)
	if a.status != http.StatusSeeOther {
		t.Fatalf("got %d: %s", a.status, words(a.body))
	}
	at := a.header.Get("Location")
	b.sees(at, "What the columns mean", "reference", "Layla Sample", "kept for the texts")
	batch := b.goes(at, "currency", "KWD", "country", "KW", "language", "en", "channels", "email")
	if batch != "/console/batches/b1" {
		t.Fatalf("got led to %s", batch)
	}
	b.sees(batch, "Waits for your confirmation", "KWD 32.500", "2 good rows", "2 rejected", "Confirm and send", "Mend them here")
	b.sees(batch+"/preview?row=1", "layla@example.com", "Subject:")
	if mail := b.get("/console/requests/b1.1/mail?lang=ar"); mail.status != http.StatusOK || !strings.Contains(mail.body, "data:image/png;base64,") ||
		!strings.Contains(mail.header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("got mail %d with policy %q", mail.status, mail.header.Get("Content-Security-Policy"))
	}
	if got := b.goes(batch + "/do/confirm"); got != batch {
		t.Errorf("got led to %s", got)
	}
	b.sees(batch, "Sending", "4 rows in the file", "2 waiting", "2 rejected")
	if len(w.queue.wakes) != 1 || w.queue.wakes[0].Task != paylink.TaskFeed {
		t.Errorf("got wakes %v, want one to feed", w.queue.wakes)
	}
	if left, _ := filepath.Glob(filepath.Join(spool(w), "*")); len(left) != 0 {
		t.Errorf("the spool holds %q after confirming", left)
	}

	b.sees(batch+"/mend", "Row 2", "Row 4", "amount")
	if a := b.post(batch + "/mend"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("nothing mended: got %d, want 422", a.status)
	}
	child := b.goes(batch+"/mend", "c-2-1", "10.000", "c-4-1", "-5")
	b.sees(child, "mended rows of", "b1", "KWD 10.000", "1 good rows", "0 rejected")
	b.sees(batch+"/mend", "Row 4")
	if text := words(b.get(batch + "/mend").body); strings.Contains(text, "Row 2") {
		t.Error("row 2 waits to be mended although it was")
	}
	b.goes(child + "/do/confirm")
	events, err := w.db.BatchEvents(t.Context(), 2, 10)
	if err != nil || len(events) == 0 {
		t.Fatalf("got events %v, %v", events, err)
	}
	for _, e := range events {
		if e.Actor != "operator1" {
			t.Errorf("got event %+v, want it by operator1", e)
		}
	}
}

func spool(w *world) string { return w.console.Spool }

func TestHTMLAndFormulasAreInert(t *testing.T) {
	w := newWorld(t, nil)
	b := w.as("admin1")
	batch := b.draft(`<img src=x onerror="alert(2)">.csv`, payers)
	for _, page := range []string{batch, batch + "/requests", "/console/requests/b1.3", batch + "/preview?row=3", batch + "/mend", "/console/batches",
		"/console/requests?q=" + "%3Cscript%3Ealert(1)", "/console/signin?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"} {
		body := b.get(page).body
		if strings.Contains(body, "<script>alert") || strings.Contains(body, "<img src=x") {
			t.Errorf("%s holds a payer's HTML:\n%s", page, body)
		}
	}
	if file := b.get(batch + "/errors.csv"); !strings.Contains(file.body, "'-5") || file.header.Get("Content-Type") != "text/csv; charset=utf-8" {
		t.Errorf("got error file %q", file.body)
	}
	export := b.get(batch + "/export.csv")
	if export.status != http.StatusOK || strings.Count(export.body, "\n") != 3 || strings.Contains(export.body, "example.com") {
		t.Errorf("got export %q", export.body)
	}
	if got := export.header.Get("Content-Disposition"); got != `attachment; filename="b1.csv"` {
		t.Errorf("got %s", got)
	}
}

func TestColumnsAreRemembered(t *testing.T) {
	w := newWorld(t, nil)
	b := w.as("operator1")
	const odd = "Nr,Summe,Post\nA-%d,5.000,a@example.com\n"
	at := b.upload("odd.csv", fmt.Sprintf(odd, 1)).header.Get("Location")
	b.sees(at, "no column name is known")
	if a := b.post(at, "currency", "KWD", "channels", "email"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("unmatched columns: got %d, want 422", a.status)
	}
	if a := b.post(at, "currency", "KWD", "channels", "email", "column-0", "amount", "column-1", "amount", "column-2", "email"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("one column twice: got %d, want 422", a.status)
	}
	batch := b.goes(at, "currency", "KWD", "channels", "email", "column-0", "reference", "column-1", "amount", "column-2", "email")
	b.sees(batch, "1 good rows", "KWD 5.000")
	next := b.upload("next.csv", fmt.Sprintf(odd, 2)).header.Get("Location")
	b.sees(next, "As it was corrected for this header before")
	b.goes(next, "currency", "KWD", "channels", "email", "column-0", "reference", "column-1", "amount", "column-2", "email")

	// A draft that is read anew gives way.
	again := b.upload("odd.csv", fmt.Sprintf(odd, 1)).header.Get("Location")
	b.sees(again, "waits already as")
	third := b.goes(again, "currency", "USD", "channels", "email", "column-0", "reference", "column-1", "amount", "column-2", "email")
	b.sees(third, "USD 5.00")
	b.sees(batch, "Called off")
	b.goes(third + "/do/confirm")
	once := b.upload("odd.csv", fmt.Sprintf(odd, 1)).header.Get("Location")
	if a := b.post(once, "currency", "USD", "channels", "email", "column-0", "reference", "column-1", "amount", "column-2", "email"); a.status != http.StatusConflict || !strings.Contains(words(a.body), "was sent before") {
		t.Errorf("sent before: got %d %s", a.status, words(a.body))
	}
}

func TestUploadsAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	b := w.as("operator1")
	if a := b.upload("big.csv", "amount,email\n"+strings.Repeat("x", 2<<20)); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d, want 413", a.status)
	}
	// A gigabyte that is announced is not read at all; one that is not is cut off.
	r := b.request(http.MethodPost, "/console/upload", "multipart/form-data; boundary=x", "")
	r.ContentLength, r.Body = 1<<30, http.NoBody
	r.Body = endless{}
	if res, err := b.client.Do(r); err == nil {
		res.Body.Close()
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("a gigabyte: got %d, want 413", res.StatusCode)
		}
	}
	for name, content := range map[string]string{"empty.csv": "", "picture.csv": "\x89PNG\r\n\x1a\n\x00\x00", "../../etc/passwd": "nothing here\n"} {
		a := b.upload(name, content)
		if a.status != http.StatusUnprocessableEntity && a.status != http.StatusSeeOther {
			t.Errorf("%s: got %d %s", name, a.status, words(a.body))
		}
	}
	for _, id := range []string{"../../etc", "..%2f..%2fetc", strings.Repeat("g", 64), "new-1"} {
		if a := b.get("/console/upload/" + id); a.status != http.StatusNotFound && a.status != http.StatusTemporaryRedirect && a.status != http.StatusMovedPermanently {
			t.Errorf("%s: got %d, want 404", id, a.status)
		}
	}
	entries, err := os.ReadDir(spool(w))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "new-") {
			t.Errorf("the spool keeps %s of an upload that was refused", e.Name())
		}
	}
}

// endless is a body that never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }
func (endless) Close() error               { return nil }

func TestHoldAndUndo(t *testing.T) {
	w := newWorld(t, func(c *console.Config) { c.Hold = 10 * time.Minute })
	b := w.as("operator1")
	batch := b.draft("p.csv", payers)
	b.goes(batch + "/do/confirm")
	b.sees(batch, "Nothing is sent before", "Take it back", "Send now")
	b.goes(batch+"/do/takeback", "why", "wrong list")
	b.sees(batch, "Waits for your confirmation")
	b.goes(batch + "/do/confirm")
	advance(w)
	b.sees(batch, "Nothing is sent before")
	w.clock.Advance(10 * time.Minute)
	advance(w)
	b.sees(batch, "Sending")
	if a := b.post(batch + "/do/takeback"); a.status != http.StatusConflict {
		t.Errorf("taken back after the hold: got %d, want 409", a.status)
	}
}

func advance(w *world) {
	w.Helper()
	if _, err := w.db.Advance(w.Context()); err != nil {
		w.Fatal(err)
	}
}

func TestSecondPersonApproves(t *testing.T) {
	w := newWorld(t, func(c *console.Config) { c.Approve = console.Approval{Sums: map[string]int64{"KWD": 30_000}} })
	own, operator, other := w.as("approver1"), w.as("operator1"), w.as("approver2")
	batch := own.draft("p.csv", payers)
	own.goes(batch + "/do/confirm")
	own.sees(batch, "somebody else must approve it")
	for name, b := range map[string]*browser{"who confirmed": own, "an operator": operator} {
		if a := b.post(batch + "/approve"); a.status != http.StatusConflict && a.status != http.StatusForbidden {
			t.Errorf("%s approves: got %d", name, a.status)
		}
		for _, way := range []string{"resume", "confirm"} {
			if a := b.post(batch + "/do/" + way); a.status != http.StatusConflict {
				t.Errorf("%s comes by approval by %s: got %d, want 409", name, way, a.status)
			}
		}
	}
	own.goes(batch + "/do/pause")
	if a := own.post(batch + "/do/resume"); a.status != http.StatusConflict {
		t.Errorf("paused and resumed without approval: got %d, want 409", a.status)
	}
	own.post(batch+"/do/cancel", "why", "start over")
	batch = own.draft("p.csv", payers)
	own.goes(batch + "/do/confirm")
	other.sees(batch+"/approve", "KWD 32.500", "confirmed by approver1")
	other.goes(batch+"/approve", "why", "checked with the school")
	other.sees(batch, "Sending", "approved by approver2")

	small := own.draft("small.csv", "reference,amount,email\nZ-1,1.000,a@example.com\n")
	own.goes(small + "/do/confirm")
	own.sees(small, "Sending")
}

func TestSignIn(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	b.sees("/console/signin?next=/console/health", "Sign in")
	for _, name := range []string{"operator1", "nobody", ""} {
		a := b.post("/console/signin", "name", name, "password", "wrong")
		if a.status != http.StatusUnauthorized || !strings.Contains(words(a.body), "This name and password do not fit.") || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%q: got %d %q", name, a.status, words(a.body))
		}
	}
	if a := b.post("/console/signin", "name", " Operator1 ", "password", password, "next", "//evil.example/"); a.header.Get("Location") != "/console/" {
		t.Errorf("got led to %q", a.header.Get("Location"))
	}
	other := w.as("operator1")
	if got := b.goes("/console/signout", "all", "1"); got != "/console/signin" {
		t.Errorf("got led to %s", got)
	}
	for _, x := range []*browser{b, other} {
		if a := x.get("/console/batches"); a.status != http.StatusSeeOther {
			t.Errorf("signed out everywhere: got %d, want 303", a.status)
		}
	}
	b = w.as("operator1")
	if err := w.db.ChangeUser(t.Context(), "operator1", "", "", true, "admin1", "left"); err != nil {
		t.Fatal(err)
	}
	if a := b.get("/console/batches"); a.status != http.StatusSeeOther {
		t.Errorf("a disabled user's session: got %d, want 303", a.status)
	}
	if a := w.browser().post("/console/signin", "name", "operator1", "password", password); a.status != http.StatusUnauthorized {
		t.Errorf("a disabled user: got %d, want 401", a.status)
	}
	b = w.as("viewer1")
	w.clock.Advance(3 * time.Hour)
	if a := b.get("/console/batches"); a.status != http.StatusSeeOther {
		t.Errorf("an idle session: got %d, want 303", a.status)
	}
}

func TestSignInIsThrottled(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	for range 10 {
		b.post("/console/signin", "name", "admin1", "password", "wrong")
	}
	a := b.post("/console/signin", "name", "admin1", "password", password)
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("the right password after ten wrong ones: got %d, want 429", a.status)
	}
	w.as("viewer1") // another account is not kept out
	w.clock.Advance(10 * time.Minute)
	w.as("admin1")
}

func TestViewersSeeNoContacts(t *testing.T) {
	w := newWorld(t, nil)
	operator, viewer := w.as("operator1"), w.as("viewer1")
	batch := operator.draft("p.csv", payers)
	operator.goes(batch + "/do/confirm")
	for _, page := range []string{batch, batch + "/requests", "/console/requests/b1.1", "/console/requests?q=INV-1", "/console/requests?q=layla", "/console/requests?q=layla@", "/console/requests?q=b1.1"} {
		a := viewer.get(page)
		for _, secret := range []string{"Layla Sample", "layla@example.com", "/p/", "1o.000"} {
			if strings.Contains(a.body, secret) {
				t.Errorf("%s shows a viewer %q", page, secret)
			}
		}
	}
	viewer.sees("/console/requests?q=INV-1", "L••• S•••", "l•••@example.com")
	operator.sees("/console/requests/b1.1", "Layla Sample", "layla@example.com", "4B")
}

func TestFind(t *testing.T) {
	w := newWorld(t, nil)
	b := w.as("operator1")
	batch := b.draft("p.csv", "reference,amount,name,email,phone\nINV-77,1.000,Layla Sample,Layla@Example.com,+96550001234\nINV-78,1.000,ليلى,b@example.com,\nINV-9,1.000,Adam,c@example.com,\n")
	b.goes(batch + "/do/confirm")
	for q, want := range map[string]string{"INV-7": "b1.1 b1.2", "INV-9": "b1.3", "layla": "b1.1", "LAYLA%40ex": "b1.1", "5000+1234": "b1.1", "%2B96550001234": "b1.1", "ليل": "b1.2", "inv-7": "", "_": "", "%25": ""} {
		body := b.sees("/console/requests?q=" + q)
		for _, id := range []string{"b1.1", "b1.2", "b1.3"} {
			if got, want := strings.Contains(body, "/console/requests/"+id+`"`), strings.Contains(want, id); got != want {
				t.Errorf("%s: got %s %t, want %t", q, id, got, want)
			}
		}
	}
	if got := b.get("/console/requests?q=b1.2").header.Get("Location"); got != "/console/requests/b1.2" {
		t.Errorf("got led to %q", got)
	}
	body := b.sees(batch + "/requests?q=sampl&state=pending")
	if !strings.Contains(body, "b1.1") || strings.Contains(body, ">b1.3<") {
		t.Error("the filter by text does not hold")
	}
}

func TestRequestActions(t *testing.T) {
	w := newWorld(t, nil)
	b := w.as("operator1")
	ledgertest.Import(t, w.db, 2)
	b.sees("/console/requests/b1.1/do/cancel", "Call it off?")
	if a := b.post("/console/requests/b1.1/do/cancel"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("called off without a reason: got %d, want 422", a.status)
	}
	b.goes("/console/requests/b1.1/do/cancel", "why", "asked on the telephone")
	b.sees("/console/requests/b1.1", "Not asked for", "asked on the telephone", "by operator1")
	if a := b.post("/console/requests/b1.1/do/cancel", "why", "twice"); a.status != http.StatusConflict {
		t.Errorf("called off twice: got %d, want 409", a.status)
	}
	if a := b.post("/console/requests/b1.2/do/resend", "channel", "email"); a.status != http.StatusConflict {
		t.Errorf("sent again before it was sent: got %d, want 409", a.status)
	}
	if a := b.get("/console/requests/b1.99"); a.status != http.StatusNotFound {
		t.Errorf("got %d, want 404", a.status)
	}
}

func TestAttention(t *testing.T) {
	w := newWorld(t, nil)
	b := w.as("operator1")
	b.sees("/console/attention", "All is well")
	id := ledgertest.Import(t, w.db, 1)
	if err := w.db.NotEnded(t.Context(), paylink.Session{ID: 7, RequestID: paylink.NewRequestID(id, 1)}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.db.ChangeGate(t.Context(), "sms", func(g paylink.Gate) paylink.Gate {
		g.State, g.Why = paylink.GateHalted, "the sender is not known"
		return g
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.db.Halt(t.Context(), id, "30 of 100 rows failed"); err != nil {
		t.Fatal(err)
	}
	b.sees("/console/attention", "is stopped", "the sender is not known", "30 of 100 rows failed", "The payer cannot pay until it does")
	b.goes("/console/attention/providers/sms")
	gates, err := w.db.Gates(t.Context())
	if err != nil || len(gates) != 1 || gates[0].State != paylink.GateOpen {
		t.Errorf("got gates %v, %v", gates, err)
	}
	if a := b.post("/console/attention/flags/1"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("closed without a word: got %d, want 422", a.status)
	}
	b.goes("/console/attention/flags/1", "why", "ended by hand")
	if a := b.post("/console/attention/flags/1", "why", "again"); a.status != http.StatusConflict {
		t.Errorf("closed twice: got %d, want 409", a.status)
	}
	if flags, err := w.db.OpenFlags(t.Context(), 0, 10); err != nil || len(flags) != 0 {
		t.Errorf("got flags %v, %v", flags, err)
	}
}

// TestLive watches a batch until it stands still.
func TestLive(t *testing.T) {
	w := newWorld(t, nil)
	b := w.as("viewer1")
	id := ledgertest.Import(t, w.db, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := b.request(http.MethodGet, "/console/batches/"+id.String()+"/live", "", "").WithContext(ctx)
	res, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("got type %s", got)
	}
	lines := bufio.NewScanner(res.Body)
	next := func() string {
		for lines.Scan() {
			if lines.Text() != "" {
				return lines.Text()
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return ""
	}
	if got := next(); got != "event: till" {
		t.Fatalf("got %q", got)
	}
	if got := next(); !strings.Contains(got, "waiting") {
		t.Errorf("got %q without the till", got)
	}
	if err := w.db.Pause(t.Context(), id, "test", ""); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "event: state" {
		t.Errorf("got %q, want the new state", got)
	}
}

func TestUsers(t *testing.T) {
	w := newWorld(t, nil)
	b := w.as("admin1")
	if a := b.post("/console/users", "name", "new", "role", "viewer", "password", "short"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a short password: got %d, want 422", a.status)
	}
	b.goes("/console/users", "name", "New@Example.com", "role", "viewer", "password", password)
	b.sees("/console/users", "new@example.com")
	w.as("new@example.com")
	for _, pairs := range [][]string{{"role", "viewer"}, {"role", "admin", "disabled", "1"}} {
		if a := b.post("/console/users/admin1", pairs...); a.status != http.StatusConflict {
			t.Errorf("the last admin becomes %v: got %d, want 409", pairs, a.status)
		}
	}
	if a := b.post("/console/users", "name", "x", "role", "king", "password", password); a.status != http.StatusUnprocessableEntity {
		t.Errorf("no such role: got %d, want 422", a.status)
	}
	b.goes("/console/users/viewer1", "role", "operator")
	if u, err := w.db.User(t.Context(), "viewer1"); err != nil || u.Role != ledger.RoleOperator {
		t.Errorf("got %v, %v", u.Role, err)
	}
}

func TestOtherPages(t *testing.T) {
	w := newWorld(t, nil)
	b := w.as("viewer1")
	b.sees("/console/texts", "Al Noor School", "INV-2027-0042")
	b.sees("/console/texts?lang=ar", "ليلى")
	b.sees("/console/health", "Payment provider", "1,000 left of 1,000", "[redacted]", "7")
	b.sees("/console/batches", "Nothing was sent yet")
}

func TestAmendAndPaidOutside(t *testing.T) {
	w := newWorld(t, nil)
	b := w.as("operator1")
	ledgertest.Import(t, w.db, 2)
	at := "/console/requests/b1.1"
	b.sees(at+"/do/amend", "Amount, KWD")
	for name, pairs := range map[string][]string{"nothing": {"why", "x", "amount", "12.500"}, "no reason": {"amount", "13.000"}, "no amount": {"why", "x", "amount", "much"}} {
		if a := b.post(at+"/do/amend", pairs...); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: got %d, want 422\n%s", name, a.status, words(a.body))
		}
	}
	b.goes(at+"/do/amend", "why", "the invoice was wrong", "amount", "13.000", "email", "other@example.com")
	b.sees(at, "KWD 13.000", "other@example.com", "the invoice was wrong")
	b.goes(at+"/do/paid", "why", "cash", "amount", "3.000")
	b.sees(at, "Partly paid", "KWD 10.000")
	b.goes(at+"/do/paid", "why", "cash", "amount", "10.000")
	b.sees(at, "Paid in another way")
	b.sees("/console/batches/b1", "KWD 13.000", "of KWD 25.500 asked for")
	b.goes(at+"/do/unpaid", "why", "the cheque bounced")
	b.sees(at, "Unpaid")
	b.goes("/console/requests/b1.2/do/writeoff", "why", "bankrupt")
	b.sees("/console/requests/b1.2", "Written off")
	b.goes("/console/requests/b1.2/do/reopen", "why", "not bankrupt")
}

func TestSuppressions(t *testing.T) {
	w := newWorld(t, nil)
	b, approver := w.as("operator1"), w.as("approver1")
	b.goes("/console/suppressions", "channel", "sms", "address", "5000 1234", "why", "asked on the telephone")
	body := approver.sees("/console/suppressions", "entered by a person", "operator1: asked on the telephone")
	if strings.Contains(body, "50001234") {
		t.Error("the page shows the address")
	}
	for _, pairs := range [][]string{{"channel", "sms", "address", "nobody", "why", "x"}, {"channel", "fax", "address", "5000 1234", "why", "x"}, {"channel", "sms", "address", "5000 1234"}} {
		if a := b.post("/console/suppressions", pairs...); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%v: got %d, want 422", pairs, a.status)
		}
	}
	hash := paylink.AddressHash(paylink.SMS, "+96550001234")
	if a := b.post("/console/suppressions/sms/"+hash, "why", "x"); a.status != http.StatusForbidden {
		t.Errorf("an operator lifts: got %d, want 403", a.status)
	}
	approver.goes("/console/suppressions/sms/"+hash, "why", "they agreed in writing")
	if a := approver.post("/console/suppressions/sms/"+hash, "why", "again"); a.status != http.StatusNotFound {
		t.Errorf("lifted twice: got %d, want 404", a.status)
	}
}
