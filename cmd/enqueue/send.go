package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
)

const sendHelp = `send brings a payer file into the ledger, shows the plan as check does, asks,
and sets the workers going. It returns when the batch is safely in the ledger
and the queue; --follow watches it to the end, and Ctrl-C then stops watching,
not the batch.

  enqueue send payers.csv
  enqueue send payers.csv --yes --follow       from a script
  enqueue send payers.csv --canary 50          50 rows first, the rest later
  enqueue send payers.csv --strict --yes       all rows or none
  enqueue send payers.csv --receipts           and a receipt to who has paid
  enqueue send b7                              a draft that was left, now

Rows that are wrong are left out; the good ones go (exit code 3), and enqueue
errors BATCH gives the others back as a file to mend and send: the new batch
remembers which rows it mended.

Where nobody can be asked, --yes is needed; without it the batch stays a draft
and the exit code is 2. A send that was killed goes on where it stopped: send
the same file again. A file that was sent before is refused; --again sends it
once more. An argument that names a file is a file, else it must be a batch.`

type sendFlags struct {
	readingFlags
	again, strict, follow, dryRun, receipts bool
	canary, brake                           int
}

func (a *app) sendCommand() *cobra.Command {
	var flags sendFlags
	cmd := &cobra.Command{
		Use: "send FILE|BATCH", Short: "send a file, or a draft that was left", Long: sendHelp,
		Args: args(1, 1, "the payer file, or the draft"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.canary < 0 || flags.brake < 0 || flags.brake > 100 {
				return usage("--canary counts rows from 1, --brake is a percentage from 1 to 100")
			}
			if _, err := os.Stat(args[0]); err != nil {
				if id, e := paylink.ParseBatchID(args[0]); e == nil {
					return a.sendDraft(cmd.Context(), id, flags)
				}
			}
			if flags.dryRun {
				return a.check(cmd.Context(), args[0], flags.readingFlags)
			}
			return a.sendFile(cmd.Context(), args[0], flags)
		},
	}
	f := a.changes(cmd, true).Flags()
	flags.add(f)
	f.BoolVar(&flags.follow, "follow", false, "watch until everything is sent")
	f.BoolVar(&flags.strict, "strict", false, "send nothing if any row is rejected")
	f.BoolVar(&flags.again, "again", false, "send a file that was sent before")
	f.BoolVar(&flags.dryRun, "dry-run", false, "only check")
	f.BoolVar(&flags.receipts, "receipts", false, "send a receipt to who has paid, by the channel that reached them")
	f.IntVar(&flags.canary, "canary", 0, "send so many rows first, and wait for their receipts or for you")
	f.IntVar(&flags.brake, "brake", 0, "halt when more than so many percent fail (default 10)")
	return cmd
}

// sent is what send --json prints.
type sent struct {
	Batch paylink.BatchID    `json:"batch"`
	State paylink.BatchState `json:"state"`
	Plan  intake.Plan        `json:"plan"`
}

func (a *app) sendFile(ctx context.Context, path string, flags sendFlags) error {
	c, err := a.settings()
	if err != nil {
		return err
	}
	rd, err := flags.reading(c)
	if err != nil {
		return err
	}
	rd.Canary, rd.BrakePercent, rd.Receipts = flags.canary, flags.brake, flags.receipts
	s, err := a.planSettings(c)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("there is no file %s", path)
		}
		return err
	}
	db, err := a.ledger(ctx, ledger.Options{}, true)
	if err != nil {
		return err
	}
	progress := a.importProgress()
	b, plan, err := intake.Import(ctx, db, s, intake.Order{
		Path: path, Reading: rd, Actor: a.who(), Again: flags.again,
		Began: func(b paylink.Batch, resumed bool) {
			if resumed && b.State == paylink.BatchImporting {
				fmt.Fprintf(a.err, "Going on with batch %s: %s are in.\n", b.ID, count(int64(b.Imported), "row"))
			} else if resumed {
				fmt.Fprintf(a.err, "This file is batch %s already, a draft.\n", b.ID)
			}
		},
		Progress: progress.step,
	})
	progress.end()
	if errors.Is(err, context.Canceled) {
		return &exitError{exitFailed, fmt.Errorf("stopped while the file was read; nothing was sent\nTo go on: enqueue send %s", path)}
	}
	if err != nil {
		return err
	}
	return a.sendBatch(ctx, db, b, plan, flags)
}

// sendDraft goes on with a batch that was read in and not confirmed.
func (a *app) sendDraft(ctx context.Context, id paylink.BatchID, flags sendFlags) error {
	db, err := a.openLedger(ctx)
	if err != nil {
		return err
	}
	b, err := db.Batch(ctx, id)
	if err != nil {
		return err
	}
	switch b.State {
	case paylink.BatchDraft:
	case paylink.BatchImporting:
		return fmt.Errorf("batch %s was not read to its end\nSend its file again: enqueue send %s", id, clean(b.Name))
	default:
		return fmt.Errorf("batch %s is %s already\nTo look at it: enqueue status %s", id, b.State, id)
	}
	plan, err := intake.PlanOf(b)
	if err != nil {
		return err
	}
	if flags.dryRun {
		return a.show(b, plan)
	}
	return a.sendBatch(ctx, db, b, plan, flags)
}

func (a *app) show(b paylink.Batch, plan intake.Plan) error {
	if a.json {
		return a.object(sent{b.ID, b.State, plan})
	}
	a.printPlan(a.out, plan, "enqueue errors "+b.ID.String())
	return nil
}

// sendBatch shows the plan of a draft, asks, and sets it running.
func (a *app) sendBatch(ctx context.Context, db *ledger.DB, b paylink.Batch, plan intake.Plan, flags sendFlags) error {
	switch {
	case plan.Good == 0 || flags.strict && plan.Rejected > 0:
		if err := a.show(b, plan); err != nil {
			return err
		}
		why := "no row of it can be sent"
		if plan.Good > 0 {
			why = count(plan.Rejected, "row") + " rejected, and --strict takes all or none"
		}
		if err := db.CancelBatch(ctx, b.ID, a.who(), why); err != nil {
			return err
		}
		mend := ""
		if plan.Rejected > 0 {
			mend = fmt.Sprintf("\nThe rejected rows, to be mended: enqueue errors %s -o FILE", b.ID)
		}
		return fmt.Errorf("nothing was sent: %s%s", why, mend)
	case !a.json:
		a.printPlan(a.out, plan, "enqueue errors "+b.ID.String())
		fmt.Fprintln(a.out)
	case a.asks && !a.yes:
		a.printPlan(a.err, plan, "enqueue errors "+b.ID.String())
		fmt.Fprintln(a.err)
	}
	question := fmt.Sprintf("Send %s, total %s?", count(plan.Good, "request"), totals(plan))
	goOn := fmt.Sprintf("enqueue send %s --yes\nBatch %s is a draft until then. To drop it: enqueue cancel %s", b.ID, b.ID, b.ID)
	if err := a.confirm(ctx, question, goOn); err != nil {
		if a.json {
			if e := a.object(sent{b.ID, b.State, plan}); e != nil {
				return e
			}
		}
		return err
	}
	if err := db.Confirm(ctx, b.ID, a.who(), a.why); err != nil {
		return err
	}
	a.wakeFeeder(ctx, b.ID)
	if a.json {
		if err := a.object(sent{b.ID, paylink.BatchRunning, plan}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.out, "Batch %s is on its way. Watch it: enqueue status %s --follow\n", a.out.bold(b.ID.String()), b.ID)
	}
	if flags.follow {
		if err := a.follow(ctx, db, b.ID); err != nil {
			return err
		}
	}
	if plan.Rejected > 0 {
		if !a.json {
			fmt.Fprintf(a.out, "%s rejected. To mend them: enqueue errors %s -o FILE\n", count(plan.Rejected, "row"), b.ID)
		}
		return &exitError{exitRejected, nil}
	}
	return nil
}

// progress shows how an import gets on: a bar on a terminal, a line now and then elsewhere.
type progress struct {
	s     *screen
	now   func() time.Time
	begun time.Time
	last  time.Time
	rows  int64
	drawn bool
}

func (a *app) importProgress() *progress {
	return &progress{s: a.err, now: a.now, begun: a.now(), last: a.now()}
}

// step is called after each chunk, from one goroutine.
func (p *progress) step(rows int64, thousandths int) {
	p.rows = rows
	now, every := p.now(), 10*time.Second
	if p.s.terminal {
		every = 100 * time.Millisecond
	}
	if now.Sub(p.last) < every {
		return
	}
	p.last = now
	text := fmt.Sprintf("%s read, %s/s", count(rows, "row"), group(rate(rows, now.Sub(p.begun))))
	if !p.s.terminal {
		fmt.Fprintf(p.s, "%s, %d %% of the file\n", text, min(thousandths, 1000)/10)
		return
	}
	fmt.Fprintf(p.s, "\r\x1b[K%s  %s", bar(p.s.width()-50, thousandths), text)
	p.drawn = true
}

func (p *progress) end() {
	if p.drawn {
		fmt.Fprint(p.s, "\r\x1b[K")
	}
}

func rate(n int64, d time.Duration) int64 {
	if d < time.Millisecond {
		return n
	}
	return n * 1000 / d.Milliseconds()
}
