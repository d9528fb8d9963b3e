package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dunlin/intake"
	"dunlin/paylink"
)

// printPlan shows a plan to a person. all says where the rejections are that it does not show.
func (a *app) printPlan(s *screen, p intake.Plan, all string) {
	line := func(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }
	verdict := s.green("all good")
	if p.Rejected > 0 {
		verdict = group(p.Good) + " good, " + s.red(group(p.Rejected)+" rejected")
	}
	line("%s: %s, %s", s.bold(clean(p.File)), count(p.Rows, "row"), verdict)

	a.printColumns(s, p)
	if p.Good > 0 {
		line("\n%s", s.bold("Channels"))
		for _, r := range p.Routes {
			line("%s", hang(s.width()-1, "  "+fit(r.Channels, 20)+fmt.Sprintf(" %9s  ", group(r.Rows)), strings.Repeat(" ", 34), r.Words))
		}
		line("\n%s", s.bold("Asked for"))
		for _, t := range p.Totals {
			line("  %-4s %18s  in %s", t.Currency, groupDigits(t.Amount), count(t.Rows, "request"))
		}
		a.printMessages(s, p)
		if p.Receipts {
			line("%s", s.wrap("  ", "and a receipt to each payer when the money arrives"))
		}
		line("\n%s  at least %s; %s sets the pace", s.bold("Time"), intake.Span(p.Finish.Duration()), pace(p.Finish.Slowest))
	}
	a.printRejections(s, p, all)
	if len(p.Warnings) > 0 {
		line("\n%s", s.bold("Warnings"))
		for _, w := range p.Warnings {
			line("%s", hang(s.width()-1, "  ! ", "    ", clean(w)))
		}
	}
}

func pace(provider string) string {
	if provider == "checkout" {
		return "making the payment links"
	}
	return "sending by " + provider
}

// printColumns tells the columns that mean themselves in one line, and each that does not in its own.
func (a *app) printColumns(s *screen, p intake.Plan) {
	var same, extra, ignored []string
	var renamed []intake.Column
	for _, c := range p.Columns {
		switch {
		case c.As == "error" || c.As == "hint" || c.Name == "":
			ignored = append(ignored, orElse(clean(c.Name), "(no name)"))
		case c.As == "":
			extra = append(extra, clean(c.Name))
		case strings.EqualFold(c.Name, c.As):
			same = append(same, c.As)
		default:
			renamed = append(renamed, c)
		}
	}
	fmt.Fprintf(s, "\n%s (%s)\n", s.bold("Columns"), p.Format)
	if len(same) > 0 {
		fmt.Fprintln(s, s.wrap("  ", strings.Join(same, ", ")))
	}
	for _, c := range renamed {
		fmt.Fprintf(s, "  %s read as %s\n", fit(c.Name, 28), c.As)
	}
	if len(extra) > 0 {
		fmt.Fprintln(s, hang(s.width()-1, "  kept for templates: ", "    ", strings.Join(extra, ", ")))
	}
	if len(ignored) > 0 {
		fmt.Fprintln(s, hang(s.width()-1, "  not read: ", "    ", strings.Join(ignored, ", ")))
	}
}

func (a *app) printMessages(s *screen, p intake.Plan) {
	type row struct {
		languages []string
		fallback  int64
	}
	by := map[paylink.Channel]*row{}
	for _, m := range p.Messages {
		r := by[m.Channel]
		if r == nil {
			r = &row{}
			by[m.Channel] = r
		}
		if m.First > 0 {
			r.languages = append(r.languages, fmt.Sprintf("%9s %s", group(m.First), m.Language))
		}
		r.fallback += m.Fallback
	}
	fmt.Fprintf(s, "\n%s\n", s.bold("Messages"))
	for _, ch := range paylink.Channels {
		r := by[ch]
		if r == nil {
			continue
		}
		text := "  " + fit(string(ch), 9) + strings.Join(r.languages, " ")
		if r.fallback > 0 {
			text += fmt.Sprintf("  (up to %s more as fallback)", group(r.fallback))
		}
		fmt.Fprintln(s, text)
	}
	if p.SMS != nil && p.SMS.Messages > 0 {
		text := fmt.Sprintf("%s, %s in Unicode, at most %s a message", count(p.SMS.Segments, "SMS segment"), group(p.SMS.Unicode), group(int64(p.SMS.Longest)))
		if p.SMS.FallbackSegments > 0 {
			text += fmt.Sprintf("; up to %s more as fallback", group(p.SMS.FallbackSegments))
		}
		fmt.Fprintln(s, s.wrap("  ", text))
	}
	for _, c := range p.Costs {
		fmt.Fprintf(s, "  about %s %s for %s\n", c.Currency, groupDigits(c.Amount), c.Channel)
	}
}

func (a *app) printRejections(s *screen, p intake.Plan, all string) {
	if p.Rejected == 0 {
		return
	}
	kinds := slices.SortedFunc(maps.Keys(p.Kinds), func(x, y string) int {
		return cmp.Or(cmp.Compare(p.Kinds[y], p.Kinds[x]), cmp.Compare(x, y))
	})
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%s %s", group(p.Kinds[k]), k)
	}
	fmt.Fprintf(s, "\n%s\n", hang(s.width()-1, s.bold("Rejected")+"  ", "  ", strings.Join(kinds, ", ")))
	for _, r := range p.Rejections {
		where := fmt.Sprintf("row %d, line %d", r.Number, r.Line)
		if r.Column != "" {
			where += ", " + clean(r.Column)
		}
		fmt.Fprintln(s, hang(s.width()-1, "  ", "      ", where+": "+s.red(clean(r.Reason))))
		if r.Hint != "" {
			fmt.Fprintln(s, hang(s.width()-1, "      ", "      ", clean(r.Hint)))
		}
	}
	if more := p.Rejected - int64(len(p.Rejections)); more > 0 {
		fmt.Fprintf(s, "  … and %s more: %s\n", group(more), all)
	}
}

// totals joins the sums of a plan: KWD 1,234.500 + USD 20.00.
func totals(p intake.Plan) string {
	parts := make([]string, len(p.Totals))
	for i, t := range p.Totals {
		parts[i] = money(t.Money())
	}
	return strings.Join(parts, " + ")
}
