package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"dunlin/notify/bounce"
	"dunlin/paylink"
)

func (a *app) bouncesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bounces", Short: "take in mail that came back",
		Long: `bounces is about mail that came back: it was accepted at first, and could not be
delivered. Where the server takes such mail by itself (DUNLIN_BOUNCE_LISTEN)
there is nothing to do here.

  enqueue bounces import /var/mail/bounces`,
	}
	cmd.AddCommand(a.importBouncesCommand())
	return cmd
}

func (a *app) importBouncesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "read bounces from a mailbox",
		Long: `import reads the mail that came back to DUNLIN_BOUNCE_ADDRESS from an mbox
file, a Maildir folder or a file with one message, and applies each report to
the message that it is about: it becomes undelivered, the route's next channel
follows, and an address that does not exist is not written to again. Reports
of delays change nothing. The mailbox is left as it is; what was read before
is known, so the same mailbox can be read again.

  enqueue bounces import /var/mail/bounces
  enqueue bounces import ~/Maildir --json`,
		Args: args(1, 1, "the mailbox"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := a.settings()
			if err != nil {
				return err
			}
			address, err := c.BounceAddresses()
			if err != nil {
				return err
			}
			if address == nil {
				return fmt.Errorf("DUNLIN_BOUNCE_ADDRESS is not set: without it no mail of ours can be told by the address that it comes back to")
			}
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			var wakes []paylink.Wake
			in := &bounce.Intake{Ledger: db, Log: slog.New(slog.DiscardHandler), Wake: func(_ context.Context, w ...paylink.Wake) error {
				wakes = append(wakes, w...)
				return nil
			}}
			var n bouncesRead
			err = bounce.ReadMailbox(ctx, args[0], func(mail []byte) error { return n.take(ctx, address, in, mail) })
			if err == nil {
				err = in.Sweep(ctx, 0) // what a crash or an outage left of an earlier import
			}
			a.wake(ctx, wakes...)
			if err != nil {
				return err
			}
			return a.reportBounces(n)
		},
	}
}

// bouncesRead counts the mail in a mailbox. Each is one of bounced, no_bounce, unreadable and unknown.
type bouncesRead struct {
	Messages   int `json:"messages"`
	New        int `json:"new"` // not read before
	Bounced    int `json:"bounced"`
	Suppressed int `json:"suppressed"` // of the bounced: the address is dead
	Account    int `json:"account"`    // of the bounced: our account, sender or reputation was refused
	NoBounce   int `json:"no_bounce"`  // delayed, delivered, automatic answers
	Unreadable int `json:"unreadable"` // to an address of ours, but no report
	Unknown    int `json:"unknown"`    // to no address of ours
}

func (n *bouncesRead) take(ctx context.Context, address *bounce.Address, in *bounce.Intake, mail []byte) error {
	n.Messages++
	token, ok := address.FindToken(mail)
	if !ok {
		n.Unknown++
		return nil
	}
	report := bounce.Read(bytes.NewReader(mail))
	fresh, err := in.Take(ctx, token, report)
	if err != nil {
		return err
	}
	if fresh {
		n.New++
	}
	receipt, bounced := report.Receipt(token)
	switch {
	case bounced:
		n.Bounced++
		if receipt.Failure.Suppress {
			n.Suppressed++
		}
		if report.Ours() {
			n.Account++
		}
	case report.Action == bounce.Unreadable:
		n.Unreadable++
	default:
		n.NoBounce++
	}
	return nil
}

func (a *app) reportBounces(n bouncesRead) error {
	if a.json {
		return a.object(n)
	}
	fmt.Fprintf(a.out, "%s, %s new:\n", count(int64(n.Messages), "message"), group(int64(n.New)))
	line := func(n int, what string) {
		if n > 0 {
			fmt.Fprintln(a.out, hang(a.out.width()-1, fmt.Sprintf("%8s  ", group(int64(n))), "          ", what))
		}
	}
	line(n.Bounced, "bounced")
	line(n.Suppressed, "of them because the address is dead: it is not written to again")
	line(n.Account, "of them because our account, sender or reputation was refused: mend that, the payers are not to blame")
	line(n.NoBounce, "delayed, delivered or answered by a machine: nothing changes")
	line(n.Unreadable, "came back without a report that can be read: look at them in the mailbox")
	line(n.Unknown, "are to no address of ours, or to one that was not signed with our key")
	return nil
}
