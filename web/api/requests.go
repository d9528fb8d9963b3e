package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/report"
)

// Payer is whom a request reaches. It is personal data.
type Payer struct {
	Name  string            `json:"name"`
	Email string            `json:"email,omitempty"`
	Phone string            `json:"phone,omitempty" doc:"E.164"`
	Extra map[string]string `json:"extra,omitempty" doc:"Columns of the file that are kept for templates"`
}

// Session is one checkout session of a request.
type Session struct {
	ID         paylink.SessionID    `json:"id"`
	State      paylink.SessionState `json:"state"`
	OrderNo    string               `json:"order_no"`
	ProviderID string               `json:"provider_id,omitempty"`
	Amount     string               `json:"amount"`
	Currency   string               `json:"currency"`
	ExpiresAt  *time.Time           `json:"expires_at,omitempty"`
	RevealedAt *time.Time           `json:"revealed_at,omitempty" doc:"When its link was first given to somebody"`
}

// Event is one change of state in a request's timeline.
type Event struct {
	At     time.Time `json:"at"`
	Entity string    `json:"entity"`
	ID     int64     `json:"id,omitempty"`
	From   string    `json:"from"`
	To     string    `json:"to"`
	Actor  string    `json:"actor"`
	Why    string    `json:"why,omitempty"`
}

// RequestDetail is everything about one request.
type RequestDetail struct {
	report.Request
	Channels      string    `json:"channels" doc:"How the payer is reached: + is and, > is else"`
	Language      string    `json:"language"`
	DueDate       string    `json:"due_date,omitempty"`
	Description   string    `json:"description,omitempty"`
	CustomerID    string    `json:"customer_id,omitempty"`
	InvoiceNumber string    `json:"invoice_number,omitempty"`
	Payer         *Payer    `json:"payer,omitempty" doc:"Only for a key of scope send"`
	Sessions      []Session `json:"sessions" nullable:"false"`
	Events        []Event   `json:"events" nullable:"false" doc:"Its timeline, oldest first"`
}

// RequestPath names a request.
type RequestPath struct {
	Written string            `path:"id" example:"b12.345" doc:"The request"`
	ID      paylink.RequestID `json:"-"`
}

// Resolve reads the id.
func (p *RequestPath) Resolve(huma.Context) (errs []error) {
	var err error
	if p.ID, err = paylink.ParseRequestID(p.Written); err != nil {
		errs = append(errs, &huma.ErrorDetail{Message: "a request is written like b12.345", Location: "path.id"})
	}
	return errs
}

type requestInput struct{ RequestPath }

type requestOutput struct {
	ETag string `header:"ETag" doc:"Names this state of the request"`
	Body RequestDetail
}

type listRequestsInput struct {
	Batch     string `query:"batch" doc:"Only of this batch"`
	Dispatch  string `query:"dispatch" enum:"pending,in_flight,sent,failed,suppressed,skipped,canceled,unknown" doc:"What was done"`
	Payment   string `query:"payment" enum:"unpaid,authorized,partially_paid,paid,partially_refunded,refunded,expired,canceled,written_off,paid_outside" doc:"What the payer did"`
	Cause     string `query:"cause" maxLength:"64" doc:"Why it failed, was suppressed or skipped"`
	Reference string `query:"reference" maxLength:"500" doc:"Your name for the debt, exactly"`
	After     string `query:"after" doc:"The next of the page before"`
	Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

type requestList struct {
	Requests []report.Request `json:"requests" nullable:"false"`
	Next     string           `json:"next,omitempty" doc:"Give it as after for the next page; none = this was the last"`
}

type listRequestsOutput struct{ Body requestList }

type requestAction struct {
	RequestPath
	Body *whyBody
}

type resendInput struct {
	RequestPath
	Body *struct {
		Why     string `json:"why,omitempty" maxLength:"500" doc:"Why, for the record"`
		Channel string `json:"channel,omitempty" enum:"email,sms,whatsapp" doc:"By this channel; otherwise by the first of each route"`
	}
}

func (a *API) addRequests(h huma.API) {
	const root = "/api/v1/requests"
	register(a, h, a.operation(h, http.MethodGet, root, "listRequests", "Requests", "List requests, in the order of their batches and rows",
		"Links are shown to keys of scope send.", ledger.ScopeRead), a.listRequests)
	register(a, h, a.operation(h, http.MethodGet, root+"/{id}", "getRequest", "Requests", "Look at one request: its timeline, checkout sessions and messages",
		"Its payer and link are shown to keys of scope send.", ledger.ScopeRead), a.getRequest)
	register(a, h, a.operation(h, http.MethodPost, root+"/{id}/cancel", "cancelRequest", "Requests", "Call one request off",
		"The debt is no longer asked for; its link is ended at the payment provider.", ledger.ScopeSend, meta(metaRedo)), a.cancelRequest)
	register(a, h, a.operation(h, http.MethodPost, root+"/{id}/resend", "resendRequest", "Requests", "Send one payer the message again",
		"A message whose answer was lost and that is still being looked up stands in the way (409); one that is held for a person is given up: the payer may then have two.", ledger.ScopeSend), a.resendRequest)
}

// request is a request of the caller's; others do not exist for it.
func (a *API) request(ctx context.Context, id paylink.RequestID) (ledger.RequestLine, error) {
	if _, err := a.batch(ctx, id.Batch()); err != nil {
		return ledger.RequestLine{}, err
	}
	return a.Ledger.Request(ctx, id)
}

func (a *API) listRequests(ctx context.Context, in *listRequestsInput) (*listRequestsOutput, error) {
	q := ledger.RequestQuery{Test: caller(ctx).Test, Limit: in.Limit, RequestFilter: ledger.RequestFilter{
		Dispatch: paylink.DispatchState(in.Dispatch), Payment: paylink.PaymentState(in.Payment), Cause: paylink.Cause(in.Cause), Reference: in.Reference}}
	var err error
	if in.After != "" {
		if q.After, err = paylink.ParseRequestID(in.After); err != nil {
			return nil, badCursor()
		}
	}
	if in.Batch != "" {
		if q.Batch, err = paylink.ParseBatchID(in.Batch); err != nil {
			return nil, problem(http.StatusUnprocessableEntity, "this is no batch", Detail{Message: "a batch is written like b12", Location: "query.batch"})
		}
		if _, err := a.batch(ctx, q.Batch); err != nil {
			return nil, err
		}
	}
	lines, next, err := a.Ledger.RequestPage(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &listRequestsOutput{requestList{Requests: []report.Request{}}}
	for _, l := range lines {
		out.Body.Requests = append(out.Body.Requests, a.shown(ctx, l))
	}
	if next != 0 {
		out.Body.Next = next.String()
	}
	return out, nil
}

// shown is a request as the caller may see it: whoever has the link sees the debt and can pay it.
func (a *API) shown(ctx context.Context, l ledger.RequestLine) report.Request {
	r := report.NewRequest(l, a.PublicURL)
	if !caller(ctx).Scope.Allows(ledger.ScopeSend) {
		r.Link = ""
	}
	return r
}

func (a *API) getRequest(ctx context.Context, in *requestInput) (*requestOutput, error) {
	l, err := a.request(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	sessions, err := a.Ledger.Sessions(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	events, err := a.Ledger.Timeline(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	r, c := l.Request, l.Contact
	d := RequestDetail{Request: a.shown(ctx, l), Channels: r.Routes.String(), Language: r.Language, DueDate: r.DueDate, Description: r.Description,
		CustomerID: r.CustomerID, InvoiceNumber: r.InvoiceNumber, Sessions: []Session{}, Events: []Event{}}
	if caller(ctx).Scope.Allows(ledger.ScopeSend) {
		d.Payer = &Payer{Name: c.Name, Email: c.Email, Phone: c.Phone, Extra: c.Extra}
	}
	for _, s := range sessions {
		d.Sessions = append(d.Sessions, Session{ID: s.ID, State: s.State, OrderNo: s.OrderNo, ProviderID: s.ProviderID,
			Amount: s.Amount.Decimal(), Currency: s.Amount.Currency, ExpiresAt: maybe(s.ExpiresAt), RevealedAt: maybe(s.RevealedAt)})
	}
	for _, e := range events {
		d.Events = append(d.Events, Event{e.At, e.Entity, e.EntityID, e.From, e.To, e.Actor, e.Why})
	}
	return &requestOutput{etag(r, c), d}, nil
}

func maybe(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// etag names the state of a request's record: every amendment of it, and every move, makes another.
func etag(r paylink.Request, c paylink.Contact) string {
	b, err := json.Marshal(struct {
		R paylink.Request
		C paylink.Contact
	}{r, c})
	if err != nil {
		return `"unknown"` // nothing of it fails to marshal
	}
	sum := sha256.Sum256(b)
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

func (a *API) cancelRequest(ctx context.Context, in *requestAction) (*requestOutput, error) {
	if _, err := a.request(ctx, in.ID); err != nil {
		return nil, err
	}
	wakes, err := a.Ledger.CancelRequest(ctx, in.ID, actor(ctx), in.Body.text())
	return a.acted(ctx, in.RequestPath, wakes, err)
}

func (a *API) resendRequest(ctx context.Context, in *resendInput) (*requestOutput, error) {
	if _, err := a.request(ctx, in.ID); err != nil {
		return nil, err
	}
	why, ch := "", ""
	if in.Body != nil {
		why, ch = in.Body.Why, in.Body.Channel
	}
	if why == "" {
		why = "resend"
	}
	wakes, err := a.Ledger.Resend(ctx, in.ID, paylink.Channel(ch), actor(ctx), why)
	return a.acted(ctx, in.RequestPath, wakes, err)
}

// acted answers a command with where the request stands. The answer may be kept, so it names no payer.
func (a *API) acted(ctx context.Context, in RequestPath, wakes []paylink.Wake, err error) (*requestOutput, error) {
	if err != nil {
		return nil, err
	}
	a.wake(ctx, wakes...)
	out, err := a.getRequest(ctx, &requestInput{in})
	if err == nil {
		out.Body.Payer, out.Body.Link = nil, ""
	}
	return out, err
}
