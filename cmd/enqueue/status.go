package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dunlin/ledger"
	"dunlin/paylink"
)

const statusHelp = `status lists the newest batches; with a batch it shows its till: every row of
the file is in exactly one place, and the places add up to the rows.

  rejected    wrong in the file, not taken        enqueue errors BATCH
  pending     not begun
  in flight   being linked or sent, or waiting for another try
  sent        a provider took the message
  failed      will not be tried again by itself   enqueue retry BATCH
  suppressed  the payer opted out or bounced before
  skipped     paid or written off before anything was sent
  canceled    called off before anything was sent
  unknown     an answer was lost; being looked up, or waiting for you

  enqueue status
  enqueue status b7 --follow
  enqueue status b7 --json | jq .counts.failed

--follow watches until nothing is pending or in flight. Ctrl-C stops watching,
not the batch. A batch that halts itself ends the watch with exit code 1.`

func (a *app) statusCommand() *cobra.Command {
	var follow bool
	var limit int
	cmd := &cobra.Command{
		Use: "status [BATCH]", Short: "list batches, or show where one stands", Long: statusHelp,
		Args: args(0, 1, ""), ValidArgsFunction: a.completeBatches,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if len(args) == 0 && follow {
				return usage("--follow needs a batch")
			}
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.listBatches(ctx, db, limit)
			}
			id, err := batchArg(args[0])
			if err != nil {
				return err
			}
			if _, err := db.Batch(ctx, id); err != nil {
				return err
			}
			if follow {
				if err := a.follow(ctx, db, id); err != nil {
					return err
				}
			}
			return a.status(ctx, db, id)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "watch until everything is sent")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many batches to list")
	return cmd
}

func (a *app) listBatches(ctx context.Context, db *ledger.DB, limit int) error {
	list, err := db.Batches(ctx, limit)
	if err != nil {
		return err
	}
	if len(list) == 0 && !a.json {
		fmt.Fprintln(a.out, "No batch yet. Send one: enqueue send FILE")
	}
	for i, b := range list {
		st, err := a.batchStatus(ctx, db, b.ID)
		if err != nil {
			return err
		}
		if a.json {
			if err := a.object(st); err != nil {
				return err
			}
			continue
		}
		if i == 0 {
			fmt.Fprintln(a.out, a.out.bold(fmt.Sprintf("%-6s %-9s %10s %10s %8s %10s  %s", "batch", "state", "rows", "sent", "failed", "open", "file")))
		}
		fmt.Fprintf(a.out, "%-6s %s %10s %10s %8s %10s  %s\n", b.ID, a.stateColor(st.State, fmt.Sprintf("%-9s", st.State)), group(st.Rows), group(st.Counts.Sent),
			group(st.Counts.Failed), group(st.Counts.Pending+st.Counts.InFlight+st.Counts.Unknown), strings.TrimRight(fit(b.Name, max(a.out.width()-62, 8)), " "))
	}
	if !a.json {
		behind, err := db.LooksBehind(ctx, 0)
		if err != nil {
			return err
		}
		a.printBehind(behind, "")
	}
	return nil
}

func (a *app) stateColor(s paylink.BatchState, text string) string {
	switch s {
	case paylink.BatchHalted, paylink.BatchCanceled:
		return a.out.red(text)
	case paylink.BatchDone:
		return a.out.green(text)
	case paylink.BatchPaused, paylink.BatchHeld, paylink.BatchDraft, paylink.BatchImporting:
		return a.out.yellow(text)
	}
	return text
}

// batchStatus is the ledger's status with every payment state, those that nobody is in as well.
func (a *app) batchStatus(ctx context.Context, db *ledger.DB, id paylink.BatchID) (paylink.Status, error) {
	st, err := db.Status(ctx, id)
	if err != nil {
		return st, err
	}
	for _, p := range paymentStates {
		st.Payments[p] += 0
	}
	return st, nil
}

func (a *app) status(ctx context.Context, db *ledger.DB, id paylink.BatchID) error {
	st, err := a.batchStatus(ctx, db, id)
	if err != nil {
		return err
	}
	behind, err := db.LooksBehind(ctx, id)
	if err != nil {
		return err
	}
	if a.json {
		return a.object(struct {
			paylink.Status
			LooksBehind int64 `json:"looks_behind"`
		}{st, behind.N})
	}
	causes, err := db.Causes(ctx, id)
	if err != nil {
		return err
	}
	gates, err := db.Gates(ctx)
	if err != nil {
		return err
	}
	funnel, err := a.funnel(ctx, db, st)
	if err != nil {
		return err
	}
	s := a.out
	head := fmt.Sprintf("%s  %s  %s", s.bold(id.String()), clean(st.Name), a.stateColor(st.State, string(st.State)))
	fmt.Fprintln(s, head)
	if st.Why != "" {
		fmt.Fprintln(s, s.wrap("  ", clean(st.Why)))
	}
	if hint := next(st); hint != "" {
		fmt.Fprintln(s, s.wrap("  ", hint))
	}
	fmt.Fprintf(s, "\n%s\n", hang(s.width()-1, "  ", "      ", till(st)))
	fmt.Fprintln(s, hang(s.width()-1, "  ", "      ", funnel))
	if pay := payments(st.Payments); pay != "" {
		fmt.Fprintln(s, hang(s.width()-1, "  ", "      ", "payments: "+pay))
	}
	a.printCauses(causes)
	if st.ChecksDue > 0 {
		fmt.Fprintf(s, "\n  %s for lost answers still to be made; unknown rows settle by themselves.\n", count(st.ChecksDue, "look-up"))
	} else if st.Counts.Unknown > 0 {
		fmt.Fprintln(s, "\n"+s.wrap("  ", fmt.Sprintf("%s unknown and held for you: enqueue requests %s --state unknown; enqueue resend REQUEST sends one again.", rowsAre(st.Counts.Unknown), id)))
	}
	if err := a.printFlags(ctx, db, id); err != nil {
		return err
	}
	a.printGates(gates)
	a.printBehind(behind, id.String())
	return nil
}

// shownFlags bounds the list of what a person should look at.
const shownFlags = 20

func (a *app) printFlags(ctx context.Context, db *ledger.DB, id paylink.BatchID) error {
	flags, err := db.Flags(ctx, id, shownFlags+1)
	if err != nil || len(flags) == 0 {
		return err
	}
	fmt.Fprintf(a.out, "\n  %s\n", a.out.bold("For a person to look at"))
	for i, f := range flags {
		if i == shownFlags {
			fmt.Fprintln(a.out, "  … and more")
			break
		}
		what := string(f.Kind)
		if f.Request != 0 {
			what = f.Request.String()
		}
		fmt.Fprintln(a.out, hang(a.out.width()-1, fmt.Sprintf("  %-13s ", fit(what, 13)), strings.Repeat(" ", 16), orElse(flagWords[f.Kind], string(f.Kind))+" ("+clean(f.Detail)+")"))
	}
	return nil
}

func rowsAre(n int64) string {
	if n == 1 {
		return "1 row is"
	}
	return group(n) + " rows are"
}

// next is what a person can do about a batch that stands still.
func next(st paylink.Status) string {
	switch st.State {
	case paylink.BatchImporting:
		return "Not read to its end. To go on: enqueue send with the same file"
	case paylink.BatchDraft:
		return fmt.Sprintf("Not sent yet. To send it: enqueue send %s", st.Batch)
	case paylink.BatchHeld, paylink.BatchPaused, paylink.BatchHalted:
		return fmt.Sprintf("To go on: enqueue resume %s. To call it off: enqueue cancel %s", st.Batch, st.Batch)
	}
	return ""
}

// tillNames are the places of the till in their order, as people read them.
func tillParts(c paylink.Counts) []struct {
	name string
	n    int64
} {
	return []struct {
		name string
		n    int64
	}{
		{"rejected", c.Rejected}, {"pending", c.Pending}, {"in flight", c.InFlight}, {"sent", c.Sent}, {"failed", c.Failed},
		{"suppressed", c.Suppressed}, {"skipped", c.Skipped}, {"canceled", c.Canceled}, {"unknown", c.Unknown},
	}
}

// till writes the counts, glued, so that anybody can add them up; empty places are left out.
func till(st paylink.Status) string {
	var parts []string
	for _, p := range tillParts(st.Counts) {
		if p.n > 0 {
			parts = append(parts, glue(group(p.n)+" "+p.name))
		}
	}
	if len(parts) == 0 {
		parts = []string{"nothing yet"}
	}
	return glue(count(st.Rows, "row")) + " = " + strings.Join(parts, " + ")
}

func payments(m map[paylink.PaymentState]int64) string {
	var parts []string
	for _, p := range paymentStates {
		if n := m[p]; n > 0 {
			parts = append(parts, group(n)+" "+strings.ReplaceAll(string(p), "_", " "))
		}
	}
	return strings.Join(parts, ", ")
}

// funnelRows is the largest batch whose requests are walked for the funnel: about a second's work.
const funnelRows = 20_000

// funnel tells how far the rows came. What only a walk over the requests tells is left out for large batches.
func (a *app) funnel(ctx context.Context, db *ledger.DB, st paylink.Status) (string, error) {
	paid := st.Payments[paylink.PaymentPaid] + st.Payments[paylink.PaymentPaidOutside] + st.Payments[paylink.PaymentPartiallyRefunded] + st.Payments[paylink.PaymentRefunded]
	if st.Rows > funnelRows {
		return fmt.Sprintf("%s rows → %s sent → %s paid", group(st.Rows), group(st.Counts.Sent), group(paid)), nil
	}
	var linked, sent, delivered int64
	err := db.Requests(ctx, st.Batch, ledger.RequestFilter{}, func(l ledger.RequestLine) error {
		if l.Session != nil && l.Session.ProviderID != "" {
			linked++
		}
		took, arrived := false, false
		for _, m := range l.Messages {
			if m.Purpose == paylink.PurposeReceipt {
				continue
			}
			took = took || m.State.Accepted()
			arrived = arrived || m.State == paylink.MessageDelivered || m.State == paylink.MessageRead
		}
		if took {
			sent++
		}
		if arrived {
			delivered++
		}
		return nil
	})
	return fmt.Sprintf("%s rows → %s linked → %s sent → %s delivered → %s paid", group(st.Rows), group(linked), group(sent), group(delivered), group(paid)), err
}

func (a *app) printCauses(causes map[paylink.Cause]int64) {
	if len(causes) == 0 {
		return
	}
	fmt.Fprintf(a.out, "\n  %s\n", a.out.bold("Not sent, by cause"))
	list := slices.SortedFunc(maps.Keys(causes), func(x, y paylink.Cause) int { return cmp.Or(cmp.Compare(causes[y], causes[x]), cmp.Compare(x, y)) })
	for _, c := range list {
		fmt.Fprintln(a.out, hang(a.out.width()-1, fmt.Sprintf("  %9s  %s ", group(causes[c]), fit(string(c), 17)), strings.Repeat(" ", 31), causeWords(c)))
	}
}

func (a *app) printGates(gates []paylink.Gate) {
	for _, g := range gates {
		text := ""
		switch g.State {
		case paylink.GateHalted:
			text = fmt.Sprintf("%s is halted: %s To try again: enqueue resume %s", g.Provider, sentence(g.Why), g.Provider)
		case paylink.GateOpen:
			text = fmt.Sprintf("%s does not answer as it should and is tried again at %s: %s", g.Provider, a.clock(g.Until), sentence(g.Why))
		default:
			text = fmt.Sprintf("%s is being tried again: %s", g.Provider, sentence(g.Why))
		}
		fmt.Fprintln(a.out, "\n"+hang(a.out.width()-1, "  ! ", "    ", a.out.yellow(clean(text))))
	}
}

func sentence(s string) string {
	if s = strings.TrimSpace(s); s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

// clock writes a time in the merchant's zone.
func (a *app) clock(t time.Time) string {
	zone := time.UTC
	if a.config != nil && a.config.DefaultTimezone != nil {
		zone = a.config.DefaultTimezone
	}
	return t.In(zone).Format("2006-01-02 15:04:05 MST")
}
