package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dunlin/batchfile"
	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
)

const amendHelp = `amend changes what one request asks for, or whom it reaches. The link that the
payer has stays the same: the checkout session behind it is changed at the
payment provider or, if the provider refuses the change, ended, and the next
click makes a new one. Until then nobody can pay the old amount by the link. A
payer who is at the bank just now is not torn away; the change waits.

Messages that are still owed go out with the new record. --tell sends the link
again, with what is now asked for.

  enqueue amend b7.42 --amount 12.500 --why "discount" --tell
  enqueue amend b7.42 --email new@example.com --why "asked on the telephone"
  enqueue amend b7.42 --due 2027-03-31 --why "a month more"

What is paid, canceled or written off cannot be amended. Without
DUNLIN_PUBLIC_URL payers hold the provider's own link: if that had to be ended,
only --tell, or resend, brings them a new one.`

func (a *app) amendCommand() *cobra.Command {
	var amount, due, description, email, phone, name string
	var tell bool
	cmd := &cobra.Command{
		Use: "amend REQUEST", Short: "change the amount, due date or contact of a request", Long: amendHelp,
		Args: args(1, 1, "the request"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			wish := intake.Wish{}
			for flag, x := range map[string]struct {
				value *string
				to    **string
			}{"amount": {&amount, &wish.Amount}, "due": {&due, &wish.DueDate}, "description": {&description, &wish.Description},
				"email": {&email, &wish.Email}, "phone": {&phone, &wish.Phone}, "name": {&name, &wish.Name}} {
				if cmd.Flags().Changed(flag) {
					*x.to = x.value
				}
			}
			if wish == (intake.Wish{}) {
				return usage("say what to change: --amount, --due, --description, --email, --phone or --name")
			}
			return a.amend(cmd.Context(), args[0], wish, tell)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&amount, "amount", "", "the whole debt, in the request's currency, such as 12.500")
	f.StringVar(&due, "due", "", "the due date, such as 2027-03-31; empty takes it away")
	f.StringVar(&email, "email", "", "where emails go")
	f.StringVar(&phone, "phone", "", "where SMS and WhatsApp messages go")
	f.StringVar(&name, "name", "", "the payer's name")
	f.StringVar(&description, "description", "", "what the debt is for")
	f.BoolVar(&tell, "tell", false, "send the payer the link again")
	return a.changes(cmd, false)
}

// needWhy refuses what must be recorded with a reason.
func (a *app) needWhy() error {
	if strings.TrimSpace(a.why) == "" {
		return usage("say why, for the record: --why \"…\"")
	}
	return nil
}

// amended is what amend prints with --json.
type amended struct {
	Request string   `json:"request"`
	Changed []string `json:"changed"`
	Told    bool     `json:"told"`
}

func (a *app) amend(ctx context.Context, arg string, wish intake.Wish, tell bool) error {
	id, err := requestArg(arg)
	if err == nil {
		err = a.needWhy()
	}
	if err != nil {
		return err
	}
	db, err := a.openLedger(ctx)
	if err != nil {
		return err
	}
	l, err := db.Request(ctx, id)
	if err != nil {
		return err
	}
	reading, err := (&readingFlags{}).reading(a.config)
	if err != nil {
		return err
	}
	change, err := intake.Amendment(l.Request, l.Contact, wish, reading, intake.Settings{Now: a.now()})
	if err != nil {
		return err
	}
	out := amended{Request: id.String()}
	var wakes []paylink.Wake
	if out.Changed, wakes, err = db.Amend(ctx, id, change, ledger.AmendOptions{Actor: a.who(), Why: a.why, DebtKey: batchfile.DebtKey}); err != nil {
		return err
	}
	a.wake(ctx, wakes...)
	text := fmt.Sprintf("Request %s is amended: %s.", id, strings.Join(out.Changed, ", "))
	if len(out.Changed) == 0 {
		out.Changed, text = []string{}, fmt.Sprintf("Request %s is so already.", id)
	} else if tell {
		if out.Told, err = a.tell(ctx, db, id); err != nil {
			return err
		}
	}
	if out.Told {
		text += " The payer is sent the link again."
	}
	if a.json {
		return a.object(out)
	}
	_, err = fmt.Fprintln(a.out, a.out.wrap("", text+fmt.Sprintf(" What became of it: enqueue show %s", id)))
	return err
}

// tell sends the link again, unless a message is on its way that will say the same.
func (a *app) tell(ctx context.Context, db *ledger.DB, id paylink.RequestID) (bool, error) {
	l, err := db.Request(ctx, id)
	if err != nil {
		return false, err
	}
	if s := l.Request.Dispatch; s == paylink.DispatchPending || s == paylink.DispatchInFlight {
		return true, nil
	}
	wakes, err := db.Resend(ctx, id, "", a.who(), "amended: "+a.why)
	if errors.Is(err, paylink.ErrConflict) || errors.Is(err, paylink.ErrInvalid) {
		a.warn("The payer was not told: %v", err)
		return false, nil
	}
	a.wake(ctx, wakes...)
	return err == nil, err
}
