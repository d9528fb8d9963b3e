package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dunlin/ledger"
	"dunlin/report"
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

func (a *app) requestJSON(l ledger.RequestLine) report.Request {
	return report.NewRequest(l, a.config.PublicURL)
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
