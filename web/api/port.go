package api

import (
	"context"
	"time"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/report"
)

// Ledger is what the API needs of the record.
type Ledger interface {
	intake.Ledger
	report.Requests

	Now() time.Time
	Key(ctx context.Context, hash string) (ledger.APIKey, error)
	UseKey(ctx context.Context, k ledger.APIKey) error
	BeginCall(ctx context.Context, c ledger.Call, redo bool) (ledger.OnceState, ledger.Answer, error)
	EndCall(ctx context.Context, c ledger.Call, a ledger.Answer) error

	BatchPage(ctx context.Context, test bool, before paylink.BatchID, limit int) ([]paylink.Batch, error)
	RejectionPage(ctx context.Context, id paylink.BatchID, all bool, after, limit int) ([]paylink.Rejection, int, error)
	RequestPage(ctx context.Context, q ledger.RequestQuery) ([]ledger.RequestLine, paylink.RequestID, error)
	EventPage(ctx context.Context, test bool, after int64, limit int) ([]ledger.FeedEvent, int64, error)
	Request(ctx context.Context, id paylink.RequestID) (ledger.RequestLine, error)
	Sessions(ctx context.Context, id paylink.RequestID) ([]paylink.Session, error)
	Timeline(ctx context.Context, id paylink.RequestID) ([]paylink.Event, error)

	Confirm(ctx context.Context, id paylink.BatchID, actor, why string) error
	Pause(ctx context.Context, id paylink.BatchID, actor, why string) error
	Resume(ctx context.Context, id paylink.BatchID, actor, why string) error
	Retry(ctx context.Context, id paylink.BatchID, cause paylink.Cause, actor, why string) (int, error)
	CancelRequest(ctx context.Context, id paylink.RequestID, actor, why string) ([]paylink.Wake, error)
	Resend(ctx context.Context, id paylink.RequestID, ch paylink.Channel, actor, why string) ([]paylink.Wake, error)
	Amend(ctx context.Context, id paylink.RequestID, a paylink.Amendment, opt ledger.AmendOptions) (fields []string, wakes []paylink.Wake, err error)
	MarkPaid(ctx context.Context, id paylink.RequestID, amount paylink.Money, actor, why string) (paylink.PaymentState, []paylink.Wake, error)
	WriteOff(ctx context.Context, id paylink.RequestID, actor, why string) ([]paylink.Wake, error)

	Suppress(ctx context.Context, s paylink.Suppression) error
	Suppressions(ctx context.Context, limit int) ([]paylink.Suppression, error)
	LiftByHand(ctx context.Context, ch paylink.Channel, hash, actor, why string) error
}
