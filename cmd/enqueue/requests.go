package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dunlin/ledger"
	"dunlin/paylink"
)

const requestsHelp = `requests lists the requests of a batch, one a line: what was done about each
and what the payer did.

  enqueue requests b7 --state failed
  enqueue requests b7 --payment unpaid --state sent
  enqueue requests b7 --reference INV-2027-0012 --json
  enqueue requests b7 --json | jq -r 'select(.payment_state=="unpaid").link'

--json prints one object a line, with the payer's link and the messages. The
link is ours if DUNLIN_PUBLIC_URL is set, else the payment provider's, once
the payer was given it. Whoever has a link can see what it asks for: keep
lists of them safe.`

// requestJSON is a line of requests --json.
type requestJSON struct {
	ID           paylink.RequestID     `json:"id"`
	Row          int                   `json:"row"`
	Line         int                   `json:"line"`
	Reference    string                `json:"reference"`
	Dispatch     paylink.DispatchState `json:"dispatch_state"`
	Payment      paylink.PaymentState  `json:"payment_state"`
	Cause        paylink.Cause         `json:"cause"`
	Code         string                `json:"code,omitempty"` // the provider's own
	Amount       string                `json:"amount"`
	Paid         string                `json:"paid"`
	Left         string                `json:"left"`
	Currency     string                `json:"currency"`
	Link         string                `json:"link"`
	Session      string                `json:"session"` // the provider's id
	SessionState paylink.SessionState  `json:"session_state,omitempty"`
	OrderNo      string                `json:"order_no,omitempty"`
	Messages     []ledger.MessageLine  `json:"messages"`
	UpdatedAt    time.Time             `json:"updated_at"`
}

func (a *app) requestJSON(l ledger.RequestLine) requestJSON {
	r := l.Request
	out := requestJSON{
		ID: r.ID, Row: r.ID.Row(), Line: r.Line, Reference: r.Reference, Dispatch: r.Dispatch, Payment: r.Payment, Cause: r.Cause, Code: l.Code,
		Amount: r.Amount.Decimal(), Paid: paid(l).Decimal(), Left: left(l).Decimal(), Currency: r.Amount.Currency,
		Link: a.link(l), Messages: l.Messages, UpdatedAt: r.UpdatedAt,
	}
	if l.Session != nil {
		out.Session, out.SessionState, out.OrderNo = l.Session.ProviderID, l.Session.State, l.Session.OrderNo
	}
	if out.Messages == nil {
		out.Messages = []ledger.MessageLine{}
	}
	return out
}

// link is where the payer pays. The provider's own is shown only if the payer has it: a link that nobody was given may
// still be replaced by another, and then there must be only one (law 4).
func (a *app) link(l ledger.RequestLine) string {
	if a.config.PublicURL != "" {
		return a.config.PublicURL + "/p/" + paylink.Token(l.Request.ID, l.Request.Secret)
	}
	if l.Session == nil || l.Session.RevealedAt.IsZero() {
		return ""
	}
	return l.Session.URL
}

func paid(l ledger.RequestLine) paylink.Money {
	return paylink.Money{Minor: l.Paid, Currency: l.Request.Amount.Currency}
}

// left is what is still asked for; nothing of a debt that is settled or no longer asked for.
func left(l ledger.RequestLine) paylink.Money {
	m := paylink.Money{Currency: l.Request.Amount.Currency}
	switch l.Request.Payment {
	case paylink.PaymentUnpaid, paylink.PaymentPartiallyPaid, paylink.PaymentAuthorized, paylink.PaymentExpired:
		m.Minor = max(l.Request.Amount.Minor-l.Paid+l.Refunded, 0)
	}
	return m
}

func (a *app) requestsCommand() *cobra.Command {
	var flags filterFlags
	cmd := &cobra.Command{
		Use: "requests BATCH", Short: "list the requests of a batch", Long: requestsHelp,
		Args: args(1, 1, "the batch"), ValidArgsFunction: a.completeBatches,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			id, err := batchArg(args[0])
			if err != nil {
				return err
			}
			filter, err := flags.filter()
			if err != nil {
				return err
			}
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			if _, err := db.Batch(ctx, id); err != nil {
				return err
			}
			n := 0
			err = db.Requests(ctx, id, filter, func(l ledger.RequestLine) error {
				n++
				if a.json {
					return a.object(a.requestJSON(l))
				}
				if n == 1 {
					fmt.Fprintln(a.out, a.out.bold(fmt.Sprintf("%-12s %-20s %17s  %-10s %-14s %s", "request", "reference", "amount", "sent?", "paid?", "cause")))
				}
				_, err := fmt.Fprintln(a.out, strings.TrimRight(fmt.Sprintf("%-12s %s %17s  %-10s %-14s %s", l.Request.ID, fit(l.Request.Reference, 20), money(l.Request.Amount),
					human(string(l.Request.Dispatch)), fit(human(string(l.Request.Payment)), 14), l.Request.Cause), " "))
				return err
			})
			if err == nil && n == 0 && !a.json {
				fmt.Fprintln(a.err, "No request fits.")
			}
			return err
		},
	}
	flags.add(cmd.Flags())
	return cmd
}

// human writes a state's word as people read it.
func human(state string) string { return strings.ReplaceAll(state, "_", " ") }
