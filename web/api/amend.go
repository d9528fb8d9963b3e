package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"dunlin/batchfile"
	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
)

type amendInput struct {
	RequestPath
	IfMatch string `header:"If-Match" doc:"The ETag of the request as you saw it; needed"`
	Body    struct {
		Why         string  `json:"why" minLength:"1" maxLength:"500" doc:"Why, for the record"`
		Amount      *string `json:"amount,omitempty" doc:"The whole debt, a decimal in the request's currency"`
		DueDate     *string `json:"due_date,omitempty" doc:"YYYY-MM-DD; empty takes it away"`
		Description *string `json:"description,omitempty"`
		Email       *string `json:"email,omitempty"`
		Phone       *string `json:"phone,omitempty"`
		Name        *string `json:"name,omitempty"`
	}
}

type needWhy struct {
	Why string `json:"why" minLength:"1" maxLength:"500" doc:"Why, for the record"`
}

type writeOffInput struct {
	RequestPath
	Body needWhy
}

type markPaidInput struct {
	RequestPath
	Body struct {
		Why    string `json:"why" minLength:"1" maxLength:"500" doc:"Why, for the record: by what receipt"`
		Amount string `json:"amount,omitempty" doc:"What came, a decimal in the request's currency; without it all that is left"`
	}
}

func (a *API) addAmendments(h huma.API) {
	const one = "/api/v1/requests/{id}"
	register(a, h, a.operation(h, http.MethodPatch, one, "amendRequest", "Requests", "Change what a request asks for, or whom it reaches",
		"The payer's link stays; the checkout session behind it is changed at the payment provider, and until then nobody can pay the old amount by it. If-Match must carry the ETag of the request as you saw it: without it 428, with another 412.", ledger.ScopeSend), a.amendRequest)
	register(a, h, a.operation(h, http.MethodPost, one+"/mark-paid", "markRequestPaid", "Requests", "Record money that came another way",
		"In cash or by transfer. When nothing is left, the debt is no longer asked for and its link is ended.", ledger.ScopeAdmin), a.markPaid)
	register(a, h, a.operation(h, http.MethodPost, one+"/write-off", "writeOffRequest", "Requests", "Give a debt up", "", ledger.ScopeAdmin, meta(metaRedo)), a.writeOff)
}

func (a *API) amendRequest(ctx context.Context, in *amendInput) (*requestOutput, error) {
	l, err := a.request(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	want := strings.TrimSpace(in.IfMatch)
	if want == "" {
		return nil, problem(http.StatusPreconditionRequired, "say which state of the request you mean to change", Detail{Message: "give the ETag of GET", Location: "header.If-Match"})
	}
	b := in.Body
	wish := intake.Wish{Amount: b.Amount, DueDate: b.DueDate, Description: b.Description, Email: b.Email, Phone: b.Phone, Name: b.Name}
	if wish == (intake.Wish{}) {
		return nil, problem(http.StatusUnprocessableEntity, "nothing is to be changed", Detail{Message: "give amount, due_date, description, email, phone or name", Location: "body"})
	}
	change, err := intake.Amendment(l.Request, l.Contact, wish, a.Reading, intake.Settings{Now: a.Ledger.Now()})
	if err != nil {
		return nil, err
	}
	_, wakes, err := a.Ledger.Amend(ctx, in.ID, change, ledger.AmendOptions{Actor: actor(ctx), Why: b.Why, DebtKey: batchfile.DebtKey,
		If: func(r paylink.Request, c paylink.Contact) bool { return etag(r, c) == want }})
	return a.acted(ctx, in.RequestPath, wakes, err)
}

func (a *API) markPaid(ctx context.Context, in *markPaidInput) (*requestOutput, error) {
	l, err := a.request(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	var sum paylink.Money
	if in.Body.Amount != "" {
		if sum, err = paylink.ParseMoney(in.Body.Amount, l.Request.Amount.Currency, paylink.NumberPlain); err != nil {
			return nil, problem(http.StatusUnprocessableEntity, "the amount cannot be read", Detail{Message: "a decimal that fits " + l.Request.Amount.Currency, Location: "body.amount"})
		}
	}
	_, wakes, err := a.Ledger.MarkPaid(ctx, in.ID, sum, actor(ctx), in.Body.Why)
	return a.acted(ctx, in.RequestPath, wakes, err)
}

func (a *API) writeOff(ctx context.Context, in *writeOffInput) (*requestOutput, error) {
	if _, err := a.request(ctx, in.ID); err != nil {
		return nil, err
	}
	wakes, err := a.Ledger.WriteOff(ctx, in.ID, actor(ctx), in.Body.Why)
	return a.acted(ctx, in.RequestPath, wakes, err)
}
