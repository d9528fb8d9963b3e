package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"dunlin/paylink"
)

func (a *app) markPaidCommand() *cobra.Command {
	var amount, note string
	var undo bool
	cmd := &cobra.Command{
		Use: "mark-paid REQUEST", Short: "record that a debt was paid another way",
		Long: `mark-paid records that a debt was paid in cash, by transfer or in another way:
all that is left of it, or a part with --amount. When nothing is left, the link
that the payer has is ended at the payment provider, and messages that are
still owed are dropped. After a part the link asks for the rest.

  enqueue mark-paid b7.42 --note "cash, receipt 118" --yes
  enqueue mark-paid b7.42 --amount 5.000 --note "transfer of 3 March" --yes
  enqueue mark-paid b7.42 --undo --why "the cheque bounced" --yes

--undo takes back all that was marked so. Nothing is sent by itself then:
enqueue resend REQUEST.`,
		Args: args(1, 1, "the request"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.why == "" {
				a.why = note
			}
			id, err := requestArg(args[0])
			if err == nil {
				err = a.needWhy()
			}
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			l, err := db.Request(ctx, id)
			if err != nil {
				return err
			}
			sum := paylink.Money{Currency: l.Request.Amount.Currency}
			question := fmt.Sprintf("Mark request %s as paid another way, %s?", id, money(left(l)))
			goOn := fmt.Sprintf("enqueue mark-paid %s --yes", id)
			if amount != "" {
				if sum, err = paylink.ParseMoney(amount, l.Request.Amount.Currency, paylink.NumberPlain); err != nil {
					return err
				}
				question = fmt.Sprintf("Mark %s of request %s as paid another way?", money(sum), id)
				goOn += " --amount " + amount
			}
			if undo {
				question, goOn = fmt.Sprintf("Ask for request %s again as if it had not been marked as paid?", id), goOn+" --undo"
			}
			if err := a.confirm(ctx, question, goOn); err != nil {
				return err
			}
			var state paylink.PaymentState
			var wakes []paylink.Wake
			if undo {
				state, wakes, err = db.UndoOutside(ctx, id, a.who(), a.why)
			} else {
				state, wakes, err = db.MarkPaid(ctx, id, sum, a.who(), a.why)
			}
			if err != nil {
				return err
			}
			a.wake(ctx, wakes...)
			return a.report(did{Request: id.String(), State: string(state)}, "Request %s is %s. What became of it: enqueue show %s", id, human(string(state)), id)
		},
	}
	cmd.Flags().StringVar(&amount, "amount", "", "what was paid (default: all that is left)")
	cmd.Flags().StringVar(&note, "note", "", "how it was paid, for the record; the same as --why")
	cmd.Flags().BoolVar(&undo, "undo", false, "take it back")
	return a.changes(cmd, true)
}

func (a *app) writeOffCommand() *cobra.Command {
	var undo bool
	cmd := &cobra.Command{
		Use: "write-off REQUEST", Short: "give a debt up",
		Long: `write-off gives a debt up: nobody is asked for it any more, and the link that
the payer has is ended at the payment provider. Money that comes all the same is
recorded. --undo asks for it again; nothing is sent by itself then.

  enqueue write-off b7.42 --why "the customer is bankrupt" --yes
  enqueue write-off b7.42 --undo --why "wrong row" --yes`,
		Args: args(1, 1, "the request"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := requestArg(args[0])
			if err == nil {
				err = a.needWhy()
			}
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			l, err := db.Request(ctx, id)
			if err != nil {
				return err
			}
			question, goOn := fmt.Sprintf("Write request %s off, %s?", id, money(left(l))), fmt.Sprintf("enqueue write-off %s --yes", id)
			if undo {
				question, goOn = fmt.Sprintf("Ask for request %s again?", id), goOn+" --undo"
			}
			if err := a.confirm(ctx, question, goOn); err != nil {
				return err
			}
			state := paylink.PaymentWrittenOff
			var wakes []paylink.Wake
			if undo {
				state, err = db.UndoWriteOff(ctx, id, a.who(), a.why)
			} else {
				wakes, err = db.WriteOff(ctx, id, a.who(), a.why)
			}
			if err != nil {
				return err
			}
			a.wake(ctx, wakes...)
			return a.report(did{Request: id.String(), State: string(state)}, "Request %s is %s. What became of it: enqueue show %s", id, human(string(state)), id)
		},
	}
	cmd.Flags().BoolVar(&undo, "undo", false, "ask for it again")
	return a.changes(cmd, true)
}
