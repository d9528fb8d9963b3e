package console

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
)

// Approval says from when on a second person must approve a batch: from so many requests, or from so much money of a
// currency (in minor units). The zero Approval asks for none.
type Approval struct {
	Rows int64
	Sums map[string]int64
}

// Needed reports whether a plan needs it.
func (a Approval) Needed(p intake.Plan) bool {
	if a.Rows > 0 && p.Good >= a.Rows {
		return true
	}
	for _, t := range p.Totals {
		if limit, ok := a.Sums[t.Currency]; ok && t.Minor >= limit {
			return true
		}
	}
	return false
}

// question is a page that asks before something is done.
type question struct {
	Text, Button string
	Tone         string // bad: it cannot be taken back
	Post, Back   string
	NeedWhy      bool
	AskWhy       bool
	Channels     []paylink.Channel
	Fields       []field
	Hidden       map[string]string
	Points       []string
}

// field is something that a question asks for.
type field struct{ Name, Label, Value, Type, Help string }

// whyOf is the reason that a person gave.
func whyOf(r *http.Request, needed bool) (string, error) {
	why := strings.Join(strings.Fields(r.PostFormValue("why")), " ")
	if len([]rune(why)) > 300 {
		return "", say(http.StatusUnprocessableEntity, "The reason is longer than 300 characters.")
	}
	if needed && why == "" {
		return "", say(http.StatusUnprocessableEntity, "Say why, for the record: go back and fill in the reason.")
	}
	return why, nil
}

// batchAction is something that is done to a batch.
type batchAction struct {
	ask     func(b paylink.Batch, t ledger.Totals) question
	do      func(ctx context.Context, id paylink.BatchID, who, why string) (did string, err error)
	needWhy bool
	feeds   bool
}

func (c *Console) batchActions() map[string]batchAction {
	db := c.Ledger
	return map[string]batchAction{
		"confirm": {feeds: true, ask: func(b paylink.Batch, t ledger.Totals) question {
			return question{}
		}, do: c.confirm},
		"takeback": {ask: func(b paylink.Batch, t ledger.Totals) question {
			return question{Text: "Take confirming back? Nothing was sent; the batch waits for confirmation again.", Button: "Take it back"}
		}, do: func(ctx context.Context, id paylink.BatchID, who, why string) (string, error) {
			return "takeback", db.TakeBack(ctx, id, who, why)
		}},
		"pause": {ask: func(b paylink.Batch, t ledger.Totals) question {
			return question{Text: "Pause this batch? Nothing more of it is begun. Messages that are just being handed over still go out, and links that payers have keep working.", Button: "Pause"}
		}, do: func(ctx context.Context, id paylink.BatchID, who, why string) (string, error) {
			return "pause", db.Pause(ctx, id, who, why)
		}},
		"resume": {feeds: true, ask: func(b paylink.Batch, t ledger.Totals) question {
			return question{Text: "Let this batch go on? What failed before does not stop it again.", Button: "Go on"}
		}, do: func(ctx context.Context, id paylink.BatchID, who, why string) (string, error) {
			return "resume", db.Resume(ctx, id, who, why)
		}},
		"cancel": {needWhy: true, ask: func(b paylink.Batch, t ledger.Totals) question {
			return question{Tone: "bad", Button: "Call it off", Text: "Call this batch off? Nothing more of it is sent, its debts are no longer asked for, and links that payers have stop working. This cannot be taken back.",
				Points: []string{plural(t.Counts.Pending, "request") + " not begun", plural(t.Counts.Sent, "request") + " sent already; the payers keep the message", plural(paidOf(t), "request") + " paid; the money stays"}}
		}, do: func(ctx context.Context, id paylink.BatchID, who, why string) (string, error) {
			return "cancel", db.CancelBatch(ctx, id, who, why)
		}},
	}
}

func (c *Console) askBatch(w http.ResponseWriter, r *http.Request) error {
	id, err := c.batchOf(r)
	if err != nil {
		return err
	}
	b, err := c.Ledger.Batch(r.Context(), id)
	if err != nil {
		return err
	}
	t, err := c.Ledger.Totals(r.Context(), id)
	if err != nil {
		return err
	}
	name, back := r.PathValue("action"), "/console/batches/"+id.String()
	if name == "retry" {
		cause := r.URL.Query().Get("cause")
		q := question{Text: "Send the requests that were not sent again? Those that were paid meanwhile, or whose outcome is unclear, are left alone.",
			Button: "Send again", Hidden: map[string]string{"cause": cause}, Back: back, Post: back + "/do/retry", Points: []string{plural(t.Counts.Failed, "request") + " not sent"}}
		if cause != "" {
			q.Points = []string{"Only those with this cause: " + causeWords(paylink.Cause(cause))}
		}
		return c.render(w, r, http.StatusOK, "ask", "batches", b.Name, q)
	}
	a, ok := c.batchActions()[name]
	if !ok || name == "confirm" { // that is confirmed on the plan itself
		return say(http.StatusNotFound, "There is no such action.")
	}
	q := a.ask(b, t)
	q.Post, q.Back, q.AskWhy, q.NeedWhy = back+"/do/"+name, back, true, a.needWhy
	return c.render(w, r, http.StatusOK, "ask", "batches", b.Name, q)
}

func (c *Console) doBatch(w http.ResponseWriter, r *http.Request) error {
	id, err := c.batchOf(r)
	if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		return say(http.StatusBadRequest, "The form could not be read.")
	}
	name, back := r.PathValue("action"), "/console/batches/"+id.String()
	// A large batch takes a while, and what a person has begun is finished though they go away.
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(uploadTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	ctx := context.WithoutCancel(r.Context())
	if name == "retry" {
		if _, err := c.Ledger.Retry(ctx, id, paylink.Cause(r.PostForm.Get("cause")), actor(r), ""); err != nil {
			return err
		}
		c.wakeFeeder(r, id)
		return to(w, back, "retry")
	}
	a, ok := c.batchActions()[name]
	if !ok {
		return say(http.StatusNotFound, "There is no such action.")
	}
	why, err := whyOf(r, a.needWhy)
	if err != nil {
		return err
	}
	did, err := a.do(ctx, id, actor(r), why)
	if err != nil {
		return err
	}
	if a.feeds {
		c.wakeFeeder(r, id)
	}
	return to(w, back, did)
}

// confirm says yes to a plan; whether the batch waits first is this installation's rule.
func (c *Console) confirm(ctx context.Context, id paylink.BatchID, who, _ string) (string, error) {
	b, err := c.Ledger.Batch(ctx, id)
	if err != nil {
		return "", err
	}
	p, err := intake.PlanOf(b)
	if err != nil {
		return "", err
	}
	if p.Good == 0 {
		return "", say(http.StatusConflict, "No row of this file is good: there is nothing to send.")
	}
	h := ledger.Hold{For: c.Hold, Approval: c.Approve.Needed(p)}
	if err := c.Ledger.ConfirmHeld(ctx, id, h, who); err != nil {
		return "", err
	}
	c.forget(b.Hash)
	if h == (ledger.Hold{}) {
		return "confirmed", nil
	}
	return "held", nil
}

func (c *Console) askApprove(w http.ResponseWriter, r *http.Request) error {
	id, err := c.batchOf(r)
	if err != nil {
		return err
	}
	b, err := c.Ledger.Batch(r.Context(), id)
	if err != nil {
		return err
	}
	p, err := intake.PlanOf(b)
	if err != nil {
		return err
	}
	d, err := c.Ledger.Detail(r.Context(), id)
	if err != nil {
		return err
	}
	at := "/console/batches/" + id.String()
	q := question{Text: "Approve this batch? It is sent then.", Button: "Approve", AskWhy: true, Post: at + "/approve", Back: at}
	if c.Hold > 0 {
		q.Text = "Approve this batch? It is sent " + span(c.Hold) + " later."
	}
	for _, t := range p.Totals {
		q.Points = append(q.Points, moneyText(t.Money())+" asked for in "+plural(t.Rows, "request"))
	}
	q.Points = append(q.Points, "confirmed by "+d.ConfirmedBy)
	return c.render(w, r, http.StatusOK, "ask", "batches", b.Name, q)
}

func (c *Console) approve(w http.ResponseWriter, r *http.Request) error {
	id, err := c.batchOf(r)
	if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	why, err := whyOf(r, false)
	if err != nil {
		return err
	}
	if err := c.Ledger.Approve(r.Context(), id, c.Hold, actor(r), why); err != nil {
		return err
	}
	c.wakeFeeder(r, id)
	return to(w, "/console/batches/"+id.String(), "approved")
}

func (c *Console) requestOf(r *http.Request) (paylink.RequestID, error) {
	id, err := paylink.ParseRequestID(r.PathValue("request"))
	if err != nil {
		return 0, say(http.StatusNotFound, "There is no request of this name.")
	}
	return id, nil
}

func (c *Console) askRequest(w http.ResponseWriter, r *http.Request) error {
	id, err := c.requestOf(r)
	if err != nil {
		return err
	}
	l, err := c.Ledger.Request(r.Context(), id)
	if err != nil {
		return err
	}
	name := r.PathValue("action")
	a, ok := c.requestActions()[name]
	if !ok {
		return say(http.StatusNotFound, "There is no such action.")
	}
	if !a.fits(l) {
		return say(http.StatusConflict, "This cannot be done to the request as it stands now: %s, %s.", strings.ToLower(dispatchWords[l.Request.Dispatch]), strings.ToLower(paymentWords[l.Request.Payment]))
	}
	at := "/console/requests/" + id.String()
	q := a.ask(l)
	q.Post, q.Back, q.AskWhy, q.NeedWhy = at+"/do/"+name, at, true, a.needWhy
	q.Points = append(q.Points, moneyText(l.Request.Amount)+", "+strings.ToLower(paymentWords[l.Request.Payment]))
	return c.render(w, r, http.StatusOK, "ask", "requests", "Request "+id.String(), q)
}

func (c *Console) doRequest(w http.ResponseWriter, r *http.Request) error {
	id, err := c.requestOf(r)
	if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		return say(http.StatusBadRequest, "The form could not be read.")
	}
	name := r.PathValue("action")
	a, ok := c.requestActions()[name]
	if !ok {
		return say(http.StatusNotFound, "There is no such action.")
	}
	why, err := whyOf(r, a.needWhy)
	if err != nil {
		return err
	}
	l, err := c.Ledger.Request(r.Context(), id)
	if err != nil {
		return err
	}
	wakes, err := a.do(r, l, why)
	if err != nil {
		return err
	}
	c.wake(r, wakes...)
	return to(w, "/console/requests/"+id.String(), name)
}
