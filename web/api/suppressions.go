package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
)

// Suppression is an address of a channel that must not be written to.
type Suppression struct {
	Channel paylink.Channel   `json:"channel"`
	Hash    string            `json:"hash" doc:"The address cannot be told from it, but found by who tries them all"`
	Reason  string            `json:"reason"`
	Source  string            `json:"source"`
	Request paylink.RequestID `json:"request,omitempty" doc:"The one by which it was learnt"`
	At      time.Time         `json:"at"`
}

type suppressionList struct {
	Suppressions []Suppression `json:"suppressions" nullable:"false"`
}

type listSuppressionsInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"10000" default:"1000"`
}

type listSuppressionsOutput struct{ Body suppressionList }

type suppressInput struct {
	Body struct {
		Channel string `json:"channel" enum:"email,sms,whatsapp"`
		Address string `json:"address" minLength:"3" maxLength:"320" doc:"As in a payer file"`
	}
}

type suppressed struct {
	Channel paylink.Channel `json:"channel"`
	Hash    string          `json:"hash" doc:"Lift it by this"`
}

type suppressOutput struct{ Body suppressed }

type liftInput struct {
	Channel string `path:"channel" enum:"email,sms,whatsapp"`
	Hash    string `path:"hash" pattern:"^[0-9a-f]{64}$"`
	Why     string `query:"why" maxLength:"500" doc:"Why, for the record"`
}

func (a *API) addSuppressions(h huma.API) {
	const root = "/api/v1/suppressions"
	register(a, h, a.operation(h, http.MethodGet, root, "listSuppressions", "Suppressions", "List the newest suppressions", "", ledger.ScopeSend, meta(metaLive)), a.listSuppressions)
	register(a, h, a.operation(h, http.MethodPost, root, "suppress", "Suppressions", "Keep an address from being written to", "", ledger.ScopeAdmin, meta(metaLive), meta(metaRedo)), a.suppress)
	register(a, h, a.operation(h, http.MethodDelete, root+"/{channel}/{hash}", "liftSuppression", "Suppressions", "Let an address be written to again",
		"Do it only for who asked for it.", ledger.ScopeAdmin, meta(metaLive)), a.lift)
}

func (a *API) listSuppressions(ctx context.Context, in *listSuppressionsInput) (*listSuppressionsOutput, error) {
	list, err := a.Ledger.Suppressions(ctx, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &listSuppressionsOutput{suppressionList{[]Suppression{}}}
	for _, s := range list {
		out.Body.Suppressions = append(out.Body.Suppressions, Suppression{s.Channel, s.Hash, string(s.Reason), s.Source, s.Request, s.At})
	}
	return out, nil
}

func (a *API) suppress(ctx context.Context, in *suppressInput) (*suppressOutput, error) {
	ch := paylink.Channel(in.Body.Channel)
	address, err := intake.Address(ch, in.Body.Address, a.Reading.Country)
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, "this is no address of that channel", Detail{Message: "write it as in a payer file", Location: "body.address"})
	}
	s := paylink.Suppression{Channel: ch, Address: address, Reason: paylink.SuppressedManual, Source: "API key " + caller(ctx).ID.String()}
	if err := a.Ledger.Suppress(ctx, s); err != nil {
		return nil, err
	}
	return &suppressOutput{suppressed{ch, paylink.AddressHash(ch, address)}}, nil
}

func (a *API) lift(ctx context.Context, in *liftInput) (*struct{}, error) {
	return nil, a.Ledger.LiftByHand(ctx, paylink.Channel(in.Channel), in.Hash, actor(ctx), in.Why)
}
