package main

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"dunlin/ledger"
	"dunlin/paylink"
)

func (a *app) redactCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "redact REQUEST…", Short: "erase the personal data of requests",
		Long: `redact erases what is kept of the people behind requests: names, addresses,
extra columns, descriptions, the rows as they were rejected, and what providers
told about them in their own words. Sums, states and counts stay, so that the
books still add up. It cannot be taken back.

A request of which something is still owed, asked for or looked up is refused;
--force cancels it first.

  enqueue redact b7.42 b7.43 --why "asked to be forgotten" --yes

DUNLIN_RETENTION_DAYS does this by itself to requests that are over. Backups
keep what they have: they must end in time, too.`,
		Args: args(1, math.MaxInt, "the requests"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			ids := make([]paylink.RequestID, len(args))
			for i, arg := range args {
				var err error
				if ids[i], err = requestArg(arg); err != nil {
					return err
				}
			}
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			goOn := "enqueue redact " + strings.Join(args, " ") + " --yes"
			if force {
				goOn += " --force"
			}
			if err := a.confirm(ctx, fmt.Sprintf("Erase the personal data of %s for ever?", count(int64(len(ids)), "request")), goOn); err != nil {
				return err
			}
			var errs []error
			for _, id := range ids {
				done, wakes, err := db.Redact(ctx, id, force, a.who(), a.why)
				if err != nil {
					if errors.Is(err, paylink.ErrConflict) && !force {
						err = fmt.Errorf("%s\n--force cancels it first", strings.TrimSuffix(err.Error(), ": "+paylink.ErrConflict.Error()))
					}
					errs = append(errs, err)
					continue
				}
				a.wake(ctx, wakes...)
				text := "The personal data of request %s is erased."
				if !done {
					text = "The personal data of request %s was erased before."
				}
				if err := a.report(did{Request: id.String(), State: "redacted"}, text, id); err != nil {
					return err
				}
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "cancel what is not over first")
	return a.changes(cmd, true)
}

const afterRestoreHelp = `after-restore makes a restored backup safe to work on. What was done between the
backup and its loss is not in it: rows that are pending there, and messages that
are owed, may have been sent already. So that nobody is sent anything twice by
itself, every running batch is paused, and such rows and messages become unknown
and wait for a person.

Stop all workers and servers, restore the database, empty Redis (FLUSHDB), give
this command, then start the programs again.

  enqueue after-restore --yes

It may be given again. What to do next is printed.`

func (a *app) afterRestoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "after-restore", Short: "make a restored backup safe to work on", Long: afterRestoreHelp,
		Args: args(0, 0, ""), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			if err := a.confirm(ctx, "Was this ledger restored from a backup, and do all workers and servers stand still?", "enqueue after-restore --yes"); err != nil {
				return err
			}
			r, err := db.AfterRestore(ctx, a.who(), a.why)
			if err != nil {
				return err
			}
			if a.json {
				return a.object(r)
			}
			return a.printRestored(r)
		},
	}
	return a.changes(cmd, true)
}

func (a *app) printRestored(r ledger.Restored) error {
	say := func(format string, args ...any) {
		fmt.Fprintln(a.out, a.out.wrap("", fmt.Sprintf(format, args...)))
	}
	say("%s and %s may have gone out since the backup; they wait for you.", count(r.Requests, "request"), count(r.Messages, "message"))
	if r.Sessions > 0 {
		say("%s were being made; their order numbers are expired first.", count(r.Sessions, "checkout session"))
	}
	for _, id := range r.Drafts {
		say("Draft %s may have been confirmed since: look whether its payers have their links before you confirm it again.", id)
	}
	say("")
	say("Next:")
	say("1. Start the workers and servers. Ask Ottu what was paid meanwhile; webhooks of sessions that the backup does not know are flagged as unknown orders.")
	for _, id := range r.Paused {
		say("2. Compare %s with what the mail server and Twilio say was sent: enqueue requests %s --state unknown", id, id)
		say("   What is wanted: enqueue retry %s --cause restored (all of it, each message marked as a possible duplicate), enqueue resend REQUEST, or enqueue cancel REQUEST. Then: enqueue resume %s", id, id)
	}
	_, err := fmt.Fprint(a.out)
	return err
}
