package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dunlin/checkout/ottu"
	"dunlin/cmd/internal/setup"
	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/paylink"
)

const reconcileHelp = `reconcile asks the payment provider about every link that somebody was given
and that could have been paid since then, writes down what it shows, and
reports what did not come the usual way:

  paid without a webhook  found only by asking
  webhook without a row   signed, but for no order or session of ours, or not
                          applied yet
  amount differs          paid, but not what was asked for
  paid twice              refund what is too much
  could not be asked      the budget for asking is used up, or the provider
                          is down: the workers go on when they may

The workers ask by themselves: ten minutes after a payer pressed the button,
in growing gaps, and at a link's end. Use this after an outage of your webhook
or before closing the month. It asks for the largest sums first and stays
within what sending and payers leave of the provider's limit.

  enqueue reconcile
  enqueue reconcile b7 --since 168h
  enqueue reconcile --json | jq .paid_without_webhook

Exit code 1 says that it could not run, not that something was found.`

// reconciled is what reconcile prints with --json.
type reconciled struct {
	Since  time.Time `json:"since"`
	Asked  int       `json:"asked"`
	News   int       `json:"news"`
	Paid   int       `json:"paid"`
	Failed int       `json:"failed"`
	ledger.ReconcileReport
	Stopped  string     `json:"stopped,omitempty"`
	TryAgain *time.Time `json:"try_again,omitempty"`
}

func (a *app) reconcileCommand() *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{
		Use: "reconcile [BATCH]", Short: "ask the payment provider what was paid, and report", Long: reconcileHelp,
		Args: args(0, 1, ""), ValidArgsFunction: a.completeBatches,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if since <= 0 {
				return usage("--since must be a time such as 48h")
			}
			var batch paylink.BatchID
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				if batch, err = batchArg(args[0]); err != nil {
					return err
				}
				if _, err := db.Batch(ctx, batch); err != nil {
					return err
				}
			}
			from := a.now().Add(-since)
			sum, err := a.ask(ctx, db, batch, from)
			if err != nil {
				return err
			}
			rep, err := db.Reconciled(context.WithoutCancel(ctx), "ottu", batch, from)
			if err != nil {
				return err
			}
			for _, l := range sum.Odd {
				row := ledger.UnaskedRow{RowName: ledger.RowName{Request: l.Request}, Session: l.Session, Amount: l.Amount, Due: l.Due}
				if line, err := db.Request(context.WithoutCancel(ctx), l.Request); err == nil {
					row.Reference = line.Request.Reference
				}
				rep.Unasked = append(rep.Unasked, row)
			}
			return a.printReconciled(from, sum, rep)
		},
	}
	cmd.Flags().DurationVar(&since, "since", 48*time.Hour, "how far back a payment may lie")
	return cmd
}

// ask makes the looks. What it does not come to is due, and left to the workers.
func (a *app) ask(ctx context.Context, db *ledger.DB, batch paylink.BatchID, since time.Time) (jobs.Pass, error) {
	c, err := a.settings()
	if err != nil {
		return jobs.Pass{}, err
	}
	rdb, err := c.OpenRedis(setup.RedisForEnqueuing)
	if err != nil {
		return jobs.Pass{}, err
	}
	defer rdb.Close()
	r, closeIt, err := c.NewReconciler(ctx, setup.WorkerOptions{Redis: rdb, On: db, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return jobs.Pass{}, err
	}
	defer closeIt()
	if _, err := db.LookAgain(ctx, batch, since); err != nil {
		return jobs.Pass{}, err
	}
	behind, err := db.LooksBehind(ctx, batch)
	if err != nil {
		return jobs.Pass{}, err
	}
	sum, err := r.Pass(ctx, batch, a.asking(behind.N))
	if a.err.terminal {
		fmt.Fprint(a.err, "\r\x1b[K")
	}
	if errors.Is(err, context.Canceled) {
		sum.Stopped = "you stopped it"
		return sum, nil
	}
	if err != nil {
		return sum, fmt.Errorf("%w\nNothing is lost: %s due, and the workers ask when they can", err, sessionsAre(sum.Left))
	}
	return sum, nil
}

// asking draws how far a pass is.
func (a *app) asking(total int64) func(jobs.Pass) bool {
	begun, shown := a.now(), time.Time{}
	return func(p jobs.Pass) bool {
		if now := a.now(); a.err.terminal && total > 0 && now.Sub(shown) >= 100*time.Millisecond {
			shown = now
			done := int64(p.Asked + p.Failed)
			line := fmt.Sprintf("%s of %s asked, %s paid", group(done), group(total), group(int64(p.Paid)))
			if took := now.Sub(begun); done > 0 && took > 2*time.Second {
				line += fmt.Sprintf(", %s/s", group(rate(done, took)))
			}
			fmt.Fprintf(a.err, "\r\x1b[K%s  %s", bar(min(max(a.err.width()-len(line)-14, 10), 40), int(done*1000/total)), line)
		}
		return true
	}
}

func sessionsAre(n int64) string {
	if n == 1 {
		return "1 session is"
	}
	return group(n) + " sessions are"
}

// shownRows bounds each list of the report for people; --json has all.
const shownRows = 20

func (a *app) printReconciled(since time.Time, sum jobs.Pass, rep ledger.ReconcileReport) error {
	if a.json {
		out := reconciled{Since: since, Asked: sum.Asked, News: sum.News, Paid: sum.Paid, Failed: sum.Failed, ReconcileReport: rep, Stopped: sum.Stopped}
		if !sum.Again.IsZero() {
			out.TryAgain = &sum.Again
		}
		return a.object(out)
	}
	asked := fmt.Sprintf("Asked about %s: %s news, %s paid.", count(int64(sum.Asked), "session"), group(int64(sum.News)), group(int64(sum.Paid)))
	if sum.Failed > 0 {
		asked += fmt.Sprintf(" %s without an answer.", count(int64(sum.Failed), "question"))
	}
	fmt.Fprintln(a.out, a.out.wrap("", asked)+"\n")
	var rows []string
	for _, m := range rep.Silent {
		rows = append(rows, a.reportRow(m.RowName, fmt.Sprintf("%s %s, found %s", money(m.Amount), m.Kind, a.clock(m.At))))
	}
	a.section("Paid without a webhook", rows)
	rows = nil
	for _, e := range rep.Unplaced {
		what := orElse(unplacedWords[e.Outcome], string(e.Outcome))
		if ev, err := (ottu.Events{}).Read(e.Raw); err == nil && ev.OrderNo != "" {
			what += ", order " + clean(ev.OrderNo)
		}
		name := e.RowName
		if name.Request == 0 {
			name.Reference = e.Event.String()
		}
		rows = append(rows, a.reportRow(name, what+", came "+a.clock(e.At)))
	}
	a.section("Webhook without a row", rows)
	for _, s := range []struct {
		title string
		list  []ledger.FlaggedRow
	}{{"Amount differs", rep.Differs}, {"Paid twice", rep.Twice}} {
		rows = nil
		for _, f := range s.list {
			rows = append(rows, a.reportRow(f.RowName, orElse(flagWords[f.Kind], string(f.Kind))+" ("+clean(f.Detail)+")"))
		}
		a.section(s.title, rows)
	}
	rows = nil
	for _, u := range rep.Unasked {
		rows = append(rows, a.reportRow(u.RowName, money(u.Amount)+", due "+a.clock(u.Due)))
	}
	a.section("Could not be asked", rows)
	if len(rows) > 0 {
		why := "It ended because " + orElse(sum.Stopped, "the provider gave no answer that is understood")
		if !sum.Again.IsZero() {
			why += "; more from " + a.clock(sum.Again) + " on"
		}
		fmt.Fprintln(a.out, a.out.wrap("  ", sentence(why)+" The workers ask by themselves, the largest sums first."))
	}
	return nil
}

var unplacedWords = map[paylink.EventOutcome]string{
	"":                       "waits to be applied",
	paylink.EventUnknown:     "for no order of ours",
	paylink.EventOther:       "signed for this order, about another session",
	paylink.EventUnreadable:  "cannot be read",
	paylink.EventUnsupported: "tells of a state or operation that is not known here",
}

func (a *app) section(title string, rows []string) {
	if len(rows) == 0 {
		fmt.Fprintf(a.out, "%s none\n", a.out.bold(title+":"))
		return
	}
	fmt.Fprintf(a.out, "%s %s\n", a.out.bold(title+":"), group(int64(len(rows))))
	for i, r := range rows {
		if i == shownRows {
			fmt.Fprintf(a.out, "  … and %s more: --json has all\n", group(int64(len(rows)-shownRows)))
			return
		}
		fmt.Fprintln(a.out, r)
	}
}

func (a *app) reportRow(name ledger.RowName, text string) string {
	who := ""
	if name.Request != 0 {
		who = name.Request.String()
	}
	first := fmt.Sprintf("  %-10s %s ", who, fit(name.Reference, 20))
	return hang(a.out.width()-1, first, strings.Repeat(" ", visible(first)), text)
}

// lateLook is how long a look may be due before people are told.
const lateLook = time.Minute

func (a *app) printBehind(b paylink.LooksBehind, batch string) {
	if b.N == 0 || a.now().Sub(b.Oldest) < lateLook {
		return
	}
	text := fmt.Sprintf("%s still to be looked at at the payment provider, the first since %s: webhooks may be missing. See what is known: enqueue reconcile %s",
		sessionsAre(b.N), a.clock(b.Oldest), batch)
	fmt.Fprintln(a.out, "\n"+hang(a.out.width()-1, "  ! ", "    ", a.out.yellow(strings.TrimSpace(text))))
}
