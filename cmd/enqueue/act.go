package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dunlin/jobs"
	"dunlin/paylink"
)

// did is what commands that change something print with --json.
type did struct {
	Batch    paylink.BatchID `json:"batch,omitempty"`
	Request  string          `json:"request,omitempty"`
	Provider string          `json:"provider,omitempty"`
	State    string          `json:"state,omitempty"`
	Requests *int            `json:"requests,omitempty"`
}

func (a *app) report(d did, format string, args ...any) error {
	if a.json {
		return a.object(d)
	}
	_, err := fmt.Fprintln(a.out, a.out.wrap("", fmt.Sprintf(format, args...)))
	return err
}

func (a *app) pauseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pause BATCH", Short: "stop a batch for now",
		Long: `pause stops a batch for now: nothing more of it is begun; messages that are
just being handed to a provider go out. Links that payers have keep working.

  enqueue pause b7 --why "wrong due date"

Next: enqueue resume BATCH, or enqueue cancel BATCH.`,
		Args: args(1, 1, "the batch"), ValidArgsFunction: a.completeBatches,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			id, err := batchArg(args[0])
			if err != nil {
				return err
			}
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			if err := db.Pause(ctx, id, a.who(), a.why); err != nil {
				return err
			}
			return a.report(did{Batch: id, State: string(paylink.BatchPaused)}, "Batch %s is paused. To go on: enqueue resume %s", id, id)
		},
	}
	return a.changes(cmd, false)
}

func (a *app) resumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "resume BATCH|checkout|email|sms|whatsapp", Short: "let a batch or a provider go on",
		Long: `resume lets a batch go on that is paused, was halted by its brake, or is held
after its canary. What failed before does not count for the brake any more.

With the name of a provider it lets that be tried again at once: a provider is
halted when it does not accept our account or sender, and stays so until
somebody has mended that.

  enqueue resume b7
  enqueue resume sms`,
		Args: args(1, 1, "the batch, or checkout, email, sms or whatsapp"), ValidArgsFunction: a.completeBatches,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			provider := jobs.Provider(strings.ToLower(args[0]))
			isProvider := slices.Contains(jobs.Providers, provider)
			var id paylink.BatchID
			var err error
			if !isProvider {
				if id, err = batchArg(args[0]); err != nil {
					return err
				}
			}
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			if isProvider {
				was, err := jobs.ResumeProvider(ctx, db, provider, a.who(), a.why)
				if err != nil {
					return err
				}
				d := did{Provider: string(provider), State: string(was.State)}
				if was.State == paylink.GateClosed {
					return a.report(d, "%s was not stopped.", provider)
				}
				return a.report(d, "%s is tried again at once. If it is refused again, it stops again: enqueue status BATCH shows that.", provider)
			}
			if err := db.Resume(ctx, id, a.who(), a.why); err != nil {
				return err
			}
			a.wakeFeeder(ctx, id)
			return a.report(did{Batch: id, State: string(paylink.BatchRunning)}, "Batch %s goes on. Watch it: enqueue status %s --follow", id, id)
		},
	}
	return a.changes(cmd, false)
}

func (a *app) cancelCommand() *cobra.Command {
	var f filterFlags
	cmd := &cobra.Command{
		Use: "cancel BATCH|REQUEST", Short: "call off a batch or one request",
		Long: `cancel calls a batch or a request off: nothing more of it is sent, the debts
are no longer asked for, and links that payers have are ended at the payment
provider by the workers. What was sent stays sent; money that comes all the
same is recorded. It cannot be taken back.

  enqueue cancel b7 --why "sent to the wrong list"
  enqueue cancel b7.42 --yes
  enqueue cancel b7 --state failed --cause bad_address

With --state, --payment, --cause or --reference only those requests of the
batch are called off, and the batch itself goes on.

A cancel that was killed goes on when it is given again.`,
		Args: args(1, 1, "the batch or the request"), ValidArgsFunction: a.completeBatches,
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.Contains(args[0], ".") {
				if f != (filterFlags{}) {
					return usage("%s is one request; --state, --payment, --cause and --reference choose among those of a batch", args[0])
				}
				return a.cancelRequest(cmd, args[0])
			}
			if f != (filterFlags{}) {
				return a.cancelMatching(cmd, args[0], f)
			}
			return a.cancelBatch(cmd, args[0])
		},
	}
	f.add(cmd.Flags())
	return a.changes(cmd, true)
}

func (a *app) cancelBatch(cmd *cobra.Command, arg string) error {
	ctx := cmd.Context()
	id, err := batchArg(arg)
	if err != nil {
		return err
	}
	db, err := a.openLedger(ctx)
	if err != nil {
		return err
	}
	st, err := db.Status(ctx, id)
	if err != nil {
		return err
	}
	question := fmt.Sprintf("Cancel batch %s (%s)? %s not begun, %s sent.", id, clean(st.Name), count(st.Counts.Pending, "row"), group(st.Counts.Sent))
	if err := a.confirm(ctx, question, fmt.Sprintf("enqueue cancel %s --yes", id)); err != nil {
		return err
	}
	if err := db.CancelBatch(ctx, id, a.who(), a.why); err != nil {
		return err
	}
	return a.report(did{Batch: id, State: string(paylink.BatchCanceled)}, "Batch %s is canceled. Links that are out are ended by the workers: enqueue status %s", id, id)
}

func (a *app) cancelRequest(cmd *cobra.Command, arg string) error {
	ctx := cmd.Context()
	id, err := requestArg(arg)
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
	question := fmt.Sprintf("Cancel request %s, %s, %s and %s?", id, money(l.Request.Amount), human(string(l.Request.Dispatch)), human(string(l.Request.Payment)))
	if err := a.confirm(ctx, question, fmt.Sprintf("enqueue cancel %s --yes", id)); err != nil {
		return err
	}
	wakes, err := db.CancelRequest(ctx, id, a.who(), a.why)
	if err != nil {
		return err
	}
	a.wake(ctx, wakes...)
	return a.report(did{Request: id.String(), State: string(paylink.PaymentCanceled)}, "Request %s is canceled. What became of it: enqueue show %s", id, id)
}

func (a *app) retryCommand() *cobra.Command {
	var cause string
	cmd := &cobra.Command{
		Use: "retry BATCH", Short: "send the failed requests of a batch again",
		Long: `retry owes the failed requests of a batch again, all of them or those that
failed for one cause. Those that were paid meanwhile, and those whose outcome
is unknown, are left alone. A batch that was done runs again.

  enqueue status b7                     shows the causes
  enqueue retry b7 --cause mailbox_full`,
		Args: args(1, 1, "the batch"), ValidArgsFunction: a.completeBatches,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			id, err := batchArg(args[0])
			if err != nil {
				return err
			}
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			st, err := db.Status(ctx, id)
			if err != nil {
				return err
			}
			n, of := st.Counts.Failed, ""
			if cause != "" {
				causes, err := db.Causes(ctx, id)
				if err != nil {
					return err
				}
				if n = causes[paylink.Cause(cause)]; n == 0 {
					have := slices.Sorted(maps.Keys(causes))
					return fmt.Errorf("no request of %s failed for %s\nThe causes there are: %s", id, cause, orElse(words(have), "none"))
				}
				of = " that failed for " + cause
			}
			if n == 0 {
				zero := 0
				return a.report(did{Batch: id, Requests: &zero}, "No request of %s has failed.", id)
			}
			goOn := fmt.Sprintf("enqueue retry %s --yes", id)
			if cause != "" {
				goOn += " --cause " + cause
			}
			if err := a.confirm(ctx, fmt.Sprintf("Send up to %s%s again?", count(n, "request"), of), goOn); err != nil {
				return err
			}
			did := did{Batch: id}
			again, err := db.Retry(ctx, id, paylink.Cause(cause), a.who(), a.why)
			if err != nil {
				return err
			}
			did.Requests = &again
			a.wakeFeeder(ctx, id)
			return a.report(did, "%s of %s sent again. Watch it: enqueue status %s --follow", count(int64(again), "request"), id, id)
		},
	}
	cmd.Flags().StringVar(&cause, "cause", "", "only those that failed for this cause")
	return a.changes(cmd, true)
}

func (a *app) resendCommand() *cobra.Command {
	var channel string
	cmd := &cobra.Command{
		Use: "resend REQUEST", Short: "send one payer the message again",
		Long: `resend sends one payer the message again, by the first channel of each route
or by the one that --channel names. A message whose answer was lost and that
is still being looked up stands in the way; one that is held for you is given
up: the payer may then have two.

  enqueue resend b7.42
  enqueue resend b7.42 --channel sms --why "asked on the telephone"`,
		Args: args(1, 1, "the request"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			id, err := requestArg(args[0])
			if err != nil {
				return err
			}
			ch := paylink.Channel(strings.ToLower(channel))
			if err := known("channel", string(ch), paylink.Channels); err != nil {
				return err
			}
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			why := a.why
			if why == "" {
				why = "resend"
			}
			wakes, err := db.Resend(ctx, id, ch, a.who(), why)
			if errors.Is(err, paylink.ErrInvalid) {
				return fmt.Errorf("%w; enqueue show %s shows what addresses it has", err, id)
			}
			if err != nil {
				return err
			}
			a.wake(ctx, wakes...)
			return a.report(did{Request: id.String(), State: string(paylink.DispatchInFlight)}, "Request %s is sent again. What became of it: enqueue show %s", id, id)
		},
	}
	cmd.Flags().StringVar(&channel, "channel", "", "email, sms or whatsapp")
	return a.changes(cmd, false)
}
