package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"dunlin/paylink"
)

const rootHelp = `enqueue sends payment links to the people in a file and tells what became of
each.

The usual way of a file:

  enqueue check payers.csv     what is in it, what would be sent, what is wrong
  enqueue send payers.csv      the same, then asks, then sends
  enqueue status b1 --follow   watches the batch until everything is sent
  enqueue errors b1 -o fix.csv the rejected rows, to be mended and sent again
  enqueue export b1            one line a request: what was sent, what was paid

A batch is one file (b1), a request is one of its rows (b1.42). Everything is
kept in the ledger that DUNLIN_DATABASE_URL names; the workers send.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 rows were rejected (the good
ones went). With --json numbers are plain and every answer is one JSON object
a line.`

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "enqueue",
		Short:         "send payment links to the people in a file",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			a.parsed = true
		},
	}
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 79"))
	root.PersistentFlags().BoolVar(&a.json, "json", false, "answer in JSON")
	root.PersistentFlags().SortFlags = false
	root.AddGroup(&cobra.Group{ID: "send", Title: "To send:"}, &cobra.Group{ID: "look", Title: "To look:"}, &cobra.Group{ID: "act", Title: "To act:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("send", a.checkCommand(), a.sendCommand())
	add("look", a.statusCommand(), a.requestsCommand(), a.showCommand(), a.errorsCommand(), a.exportCommand(), a.verifyCommand())
	add("act", a.pauseCommand(), a.resumeCommand(), a.cancelCommand(), a.retryCommand(), a.resendCommand(), a.reconcileCommand(), a.bouncesCommand(),
		a.amendCommand(), a.markPaidCommand(), a.writeOffCommand(), a.redactCommand(), a.afterRestoreCommand(), a.keysCommand(), a.usersCommand())
	return root
}

// changes gives a command the flags of those that change something.
func (a *app) changes(cmd *cobra.Command, asks bool) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&a.actor, "actor", "", "who does it, for the record (default: your user name)")
	f.StringVar(&a.why, "why", "", "why, for the record")
	if asks {
		f.BoolVarP(&a.yes, "yes", "y", false, "do not ask")
	}
	return cmd
}

// completeBatches offers the newest batches, if there is a ledger to ask.
func (a *app) completeBatches(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	db, err := a.openLedger(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := db.Batches(ctx, 20)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = b.ID.String() + "\t" + clean(b.Name) + ", " + string(b.State)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// dispatchStates and paymentStates are the values of --state and --payment.
func words[S ~string](list []S) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return strings.Join(out, ", ")
}

func known[S ~string](flag, value string, list []S) error {
	for _, s := range list {
		if value == "" || string(s) == value {
			return nil
		}
	}
	return usage("--%s %s is not one of %s", flag, value, words(list))
}

var (
	dispatchStates = paylink.DispatchMachine.States
	paymentStates  = paylink.PaymentMachine.States
)
