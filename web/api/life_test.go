package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dunlin/ledger"
	"dunlin/paylink"
)

// TestLife takes two rows from a draft to a canceled batch.
func TestLife(t *testing.T) {
	w := newWorld(t)
	defer w.end()
	send, read := w.key(ledger.ScopeSend), w.key(ledger.ScopeRead)
	made := w.is(w.post("/api/v1/batches?name=march.json", send, twoRows), http.StatusCreated)
	if got := made.Header.Get("Location"); got != "/api/v1/batches/b1" || made.field(t, "state") != "draft" || made.field(t, "plan.good") != 2.0 {
		t.Fatalf("got location %s, %s", got, made.body)
	}
	if again := w.is(w.post("/api/v1/batches?name=march.json", send, twoRows), http.StatusOK); again.field(t, "batch") != "b1" {
		t.Errorf("got %s, want the same draft", again.body)
	}
	if got := w.is(w.get("/api/v1/batches/b1/plan", read), http.StatusOK); got.field(t, "file") != "march.json" {
		t.Errorf("got plan %s", got.body)
	}
	if got := w.is(w.post("/api/v1/batches/b1/confirm", send, ""), http.StatusOK); got.field(t, "state") != "running" || len(w.wakes) != 1 || w.wakes[0].Task != paylink.TaskFeed {
		t.Fatalf("got %s, wakes %v", got.body, w.wakes)
	}
	w.is(w.post("/api/v1/batches/b1/confirm", send, ""), http.StatusConflict)
	if p := w.is(w.post("/api/v1/batches", send, twoRows), http.StatusConflict); p.field(t, "batch") != "b1" {
		t.Errorf("got %s, want the earlier batch named", p.body)
	}
	w.is(w.post("/api/v1/batches/b1/pause", send, `{"why":"wrong date"}`), http.StatusOK)
	w.is(w.post("/api/v1/batches/b1/resume", send, ""), http.StatusOK)

	mine := w.is(w.get("/api/v1/requests/b1.1", send), http.StatusOK)
	if mine.field(t, "payer.email") != "sara@example.com" || !strings.HasPrefix(fmt.Sprint(mine.field(t, "link")), "https://pay.example/p/") || mine.Header.Get("ETag") == "" {
		t.Errorf("got %s", mine.body)
	}
	theirs := w.is(w.get("/api/v1/requests/b1.1", read), http.StatusOK)
	if theirs.field(t, "payer") != nil || theirs.field(t, "link") != "" || strings.Contains(string(theirs.body), "sara") || strings.Contains(string(theirs.body), "Sara") {
		t.Errorf("a key of scope read sees %s", theirs.body)
	}
	if got := w.is(w.post("/api/v1/requests/b1.2/cancel", send, `{"why":"paid in cash"}`), http.StatusOK); got.field(t, "payment_state") != "canceled" || strings.Contains(string(got.body), "omar") {
		t.Errorf("got %s", got.body)
	}
	w.is(w.post("/api/v1/requests/b1.2/cancel", send, ""), http.StatusConflict)
	w.is(w.post("/api/v1/requests/b1.1/resend", send, `{"channel":"email"}`), http.StatusConflict) // not sent yet
	w.is(w.post("/api/v1/requests/b1.9/resend", send, ""), http.StatusNotFound)
	if got := w.is(w.get("/api/v1/requests?dispatch=canceled", read), http.StatusOK); !strings.Contains(string(got.body), `"id":"b1.2"`) || strings.Contains(string(got.body), `"id":"b1.1"`) {
		t.Errorf("got %s", got.body)
	}
	w.is(w.post("/api/v1/batches/b1/cancel", send, ""), http.StatusOK)
	st := w.is(w.get("/api/v1/batches/b1", read), http.StatusOK)
	if st.field(t, "state") != "canceled" || st.field(t, "counts.canceled") != 2.0 || st.field(t, "rows") != 2.0 || st.field(t, "payments.paid") != 0.0 {
		t.Errorf("got %s", st.body)
	}
	export := w.is(w.get("/api/v1/batches/b1/export.csv", read), http.StatusOK)
	if lines := strings.Split(strings.TrimSpace(string(export.body)), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], "b1.1,1,1,INV-1") {
		t.Errorf("got export %q", lines)
	}
	var told []string
	for after := 0.0; ; {
		feed := w.is(w.get(fmt.Sprintf("/api/v1/events?after=%g&limit=3", after), read), http.StatusOK)
		for _, e := range feed.field(t, "events").([]any) {
			if e := e.(map[string]any); e["entity"] == "batch" {
				told = append(told, fmt.Sprint(e["to"]))
			}
		}
		next := feed.field(t, "next").(float64)
		if next == after {
			break
		}
		after = next
	}
	if diff := cmp.Diff([]string{"importing", "draft", "running", "paused", "running", "canceled"}, told); diff != "" {
		t.Errorf("what the feed told of the batch (-want +got):\n%s", diff)
	}
}

func TestRejectedRows(t *testing.T) {
	w := newWorld(t)
	defer w.end()
	send := w.key(ledger.ScopeSend)
	const file = "reference,amount,email\nA,12.500,a@example.com\nB,=cmd(),b@example.com\nC,1.2345,c@example.com\n"
	refused := w.is(w.do("POST", "/api/v1/batches?strict=true", send, "text/csv", strings.NewReader(file)), http.StatusUnprocessableEntity)
	errs := refused.field(t, "errors").([]any)
	first := errs[0].(map[string]any)
	if len(errs) != 2 || first["row"] != 2.0 || first["field"] != "amount" || first["line"] != 3.0 || first["hint"] == "" {
		t.Errorf("got %s, want both rows with field and line", refused.body)
	}
	if st := w.get("/api/v1/batches/b1", send); st.field(t, "state") != "canceled" {
		t.Errorf("got %s, want what was refused canceled", st.body)
	}
	made := w.is(w.do("POST", "/api/v1/batches", send, "text/csv", strings.NewReader(file)), http.StatusCreated)
	if made.field(t, "rejected") != 2.0 {
		t.Errorf("got %s", made.body)
	}
	page := w.is(w.get("/api/v1/batches/b2/rejections?limit=1", send), http.StatusOK)
	if page.field(t, "next") != "2" || len(page.field(t, "rejections").([]any)) != 1 {
		t.Errorf("got %s", page.body)
	}
	if page = w.is(w.get("/api/v1/batches/b2/rejections?limit=1&after=2", send), http.StatusOK); page.field(t, "next") != nil {
		t.Errorf("got %s", page.body)
	}
	csv := w.is(w.get("/api/v1/batches/b2/rejections.csv", send), http.StatusOK)
	if text := string(csv.body); !strings.Contains(text, "'=cmd()") || !strings.Contains(text, "b2.2: ") {
		t.Errorf("got the file %q, want formulas made harmless", text)
	}
	none := w.is(w.post("/api/v1/batches", send, `[{"reference":"X","amount":"x"}]`), http.StatusUnprocessableEntity)
	if none.field(t, "batch") == nil {
		t.Errorf("got %s", none.body)
	}
}

// TestFormulaCells: what a payer's file calls its debt must not run in the spreadsheet of who exports it.
func TestFormulaCells(t *testing.T) {
	w := newWorld(t)
	defer w.end()
	send := w.key(ledger.ScopeSend)
	w.is(w.post("/api/v1/batches", send, `[{"reference":"=HYPERLINK(1)","amount":"1","email":"a@example.com","customer_id":"@x"}]`), http.StatusCreated)
	export := w.is(w.get("/api/v1/batches/b1/export.csv", send), http.StatusOK)
	if got := string(export.body); !strings.Contains(got, ",'=HYPERLINK(1),'@x,") {
		t.Errorf("got %q", got)
	}
	if cd := export.Header.Get("Content-Disposition"); cd != `attachment; filename="b1.csv"` {
		t.Errorf("got %q", cd)
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	defer w.end()
	read := w.key(ledger.ScopeRead)
	for range 3 {
		w.running(4)
	}
	walk := func(path, list, id string) (got []string) {
		for after := ""; ; {
			page := w.is(w.get(path+after, read), http.StatusOK)
			for _, x := range page.field(t, list).([]any) {
				got = append(got, fmt.Sprint(x.(map[string]any)[id]))
			}
			next, more := page.field(t, "next").(string)
			if !more {
				return got
			}
			after = "&after=" + next
		}
	}
	if diff := cmp.Diff([]string{"b3", "b2", "b1"}, walk("/api/v1/batches?limit=2", "batches", "batch")); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	if got := walk("/api/v1/requests?limit=5", "requests", "id"); len(got) != 12 || got[0] != "b1.1" || got[11] != "b3.4" {
		t.Errorf("got requests %v", got)
	}
	if diff := cmp.Diff([]string{"b2.1", "b2.2", "b2.3", "b2.4"}, walk("/api/v1/requests?limit=3&batch=b2&payment=unpaid", "requests", "id")); diff != "" {
		t.Errorf("requests of one batch (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/api/v1/requests?after=x", "/api/v1/requests?batch=x", "/api/v1/batches?after=b", "/api/v1/requests?dispatch=lost", "/api/v1/requests?limit=1000",
		"/api/v1/requests?state=sent", "/api/v1/events?after=-1", "/api/v1/batches/x", "/api/v1/batches/b1/rejections?after=x"} {
		w.is(w.get(path, read), http.StatusUnprocessableEntity)
	}
}
