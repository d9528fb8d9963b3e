package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
)

// screen writes for people: a bar that is redrawn on a terminal, plain lines elsewhere.
type screen struct {
	w        io.Writer
	terminal bool
	shown    time.Duration // when the till was last shown as a line
	said     string
	drawn    bool
}

func (s *screen) line(format string, args ...any) {
	if s.drawn {
		fmt.Fprintln(s.w)
		s.drawn = false
	}
	fmt.Fprintf(s.w, format+"\n", args...)
}

func (s *screen) plan(p intake.Plan) {
	s.line("The file: %d rows, %d good, %d rejected.", p.Rows, p.Good, p.Rejected)
	for i, r := range p.Rejections {
		if i == 4 {
			s.line("  … and %d more; `enqueue errors` writes them back as a file to mend", p.Rejected-4)
			break
		}
		s.line("  line %-4d %-14s %s", r.Line, r.Column, r.Reason)
	}
	var totals, messages []string
	for _, t := range p.Totals {
		totals = append(totals, t.Money().String())
	}
	for _, m := range p.Messages {
		messages = append(messages, fmt.Sprintf("%d %s (%s)", m.First, m.Channel, m.Language))
	}
	s.line("To ask for: %s", strings.Join(totals, ", "))
	s.line("To send:    %s", strings.Join(messages, ", "))
	s.line("")
}

const barWidth = 30

// till shows the batch's till: what is where, adding up to the rows.
func (s *screen) till(st paylink.Status, elapsed time.Duration) {
	c := st.Counts
	ended := c.Sum() - c.Pending - c.InFlight
	words := fmt.Sprintf("%d rows = %d rejected + %d pending + %d in flight + %d sent + %d failed + %d other",
		st.Rows, c.Rejected, c.Pending, c.InFlight, c.Sent, c.Failed, c.Suppressed+c.Skipped+c.Canceled+c.Unknown)
	if !s.terminal {
		if words == s.said || (!st.Done && s.said != "" && elapsed-s.shown < 2*time.Second) {
			return
		}
		s.shown, s.said = elapsed, words
		s.line("%4.1fs  %s", elapsed.Seconds(), words)
		return
	}
	full := int(ended * barWidth / max(st.Rows, 1))
	fmt.Fprintf(s.w, "\r\x1b[K[%s%s] %3d %%  %d sent, %d failed, %d to go", strings.Repeat("█", full), strings.Repeat("·", barWidth-full),
		ended*100/max(st.Rows, 1), c.Sent, c.Failed, c.Pending+c.InFlight)
	s.drawn = true
}

// report ends the demo: the funnel, what failed and why, proof that the till is closed, and where to look.
func (d *demo) report(ctx context.Context, batch paylink.BatchID) error {
	st, err := d.worker.Ledger.Status(ctx, batch)
	if err != nil {
		return err
	}
	causes, err := d.worker.Ledger.Causes(ctx, batch)
	if err != nil {
		return err
	}
	check, err := d.worker.Ledger.Verify(ctx, batch)
	if err != nil {
		return err
	}
	delivered, err := d.delivered(ctx, batch)
	if err != nil {
		return err
	}
	c := st.Counts
	counts := d.sandbox.Counts()
	d.out.line("\nThe funnel")
	d.out.funnel(st.Rows, []step{
		{"rows in the file", st.Rows}, {"good rows", st.Rows - c.Rejected},
		{"checkout sessions", int64(counts.Sessions)}, {"payers reached", c.Sent}, {"known delivered", delivered}, {"debts paid", st.Payments[paylink.PaymentPaid]},
	})
	if len(causes) > 0 {
		d.out.line("\nNot reached, by cause")
		for _, cause := range slices.SortedFunc(maps.Keys(causes), func(a, b paylink.Cause) int { return int(causes[b] - causes[a]) }) {
			d.out.line("  %4d  %s", causes[cause], cause)
		}
	}
	d.out.line("\nThe till: %d rows = %d rejected + %d sent + %d failed + %d suppressed + %d skipped + %d canceled + %d unknown",
		st.Rows, c.Rejected, c.Sent, c.Failed, c.Suppressed, c.Skipped, c.Canceled, c.Unknown)
	d.out.line("verify:   %d differences between the file, the events, the rows and the counters", check.Differences)
	if check.Differences > 0 || c.Sum() != st.Rows {
		return fmt.Errorf("the till of batch %s does not close", batch)
	}
	if d.keep {
		d.out.line("\nLook further, in this folder:\n  export DUNLIN_DATABASE_URL=sqlite:%s/dunlin.db\n  go run ./cmd/enqueue status %s\n  go run ./cmd/enqueue errors %s", d.dir, batch, batch)
	}
	return nil
}

// delivered counts the payers of whom a receipt says that a message arrived; email has none.
func (d *demo) delivered(ctx context.Context, batch paylink.BatchID) (n int64, err error) {
	err = d.worker.Ledger.Requests(ctx, batch, ledger.RequestFilter{}, func(l ledger.RequestLine) error {
		if slices.ContainsFunc(l.Messages, func(m ledger.MessageLine) bool {
			return m.State == paylink.MessageDelivered || m.State == paylink.MessageRead
		}) {
			n++
		}
		return nil
	})
	return n, err
}

type step struct {
	name string
	n    int64
}

func (s *screen) funnel(of int64, steps []step) {
	for _, st := range steps {
		s.line("  %-18s %6d  %s", st.name, st.n, strings.Repeat("█", int(st.n*barWidth/max(of, 1))))
	}
}
