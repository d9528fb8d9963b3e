package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"dunlin/ledger"
)

type eventsInput struct {
	After int64 `query:"after" minimum:"0" doc:"The next of the answer before; 0 = from the beginning"`
	Limit int   `query:"limit" minimum:"1" maximum:"1000" default:"500"`
}

type eventList struct {
	Events []ledger.FeedEvent `json:"events" nullable:"false"`
	Next   int64              `json:"next" doc:"Give it as after, at once or later: nothing is passed over"`
}

type eventsOutput struct{ Body eventList }

func (a *API) addEvents(h huma.API) {
	register(a, h, a.operation(h, http.MethodGet, "/api/v1/events", "listEvents", "Events", "Follow what happens",
		"Every change of state, oldest first, as ids and states. Keep next and ask again with it; an answer whose next is its after says that nothing happened since. An event is told a moment late rather than out of order.",
		ledger.ScopeRead), a.listEvents)
}

func (a *API) listEvents(ctx context.Context, in *eventsInput) (*eventsOutput, error) {
	page, next, err := a.Ledger.EventPage(ctx, caller(ctx).Test, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return &eventsOutput{eventList{append([]ledger.FeedEvent{}, page...), next}}, nil
}
