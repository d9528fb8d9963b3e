package intake

import (
	"fmt"
	"strings"
	"time"

	"dunlin/paylink"
)

// warnings are what does not keep a batch from being sent, but what its sender should know before.
func (t *tally) warnings() []string {
	var out []string
	warn := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if t.good == 0 {
		return nil
	}
	if t.set.PublicURL == "" {
		warn("DUNLIN_PUBLIC_URL is not set: messages carry the payment provider's own link, which dies after %s (or the row's expires_in), and nothing is heard by webhook.",
			Span(t.set.SessionLife))
		if n := t.first(paylink.WhatsApp); n > 0 {
			warn("Without DUNLIN_PUBLIC_URL the WhatsApp template must have the whole link in its body, not a button.")
		}
	}
	if t.outlived > 0 {
		warn("%s due later than their link lives; give them a longer expires_in, or set DUNLIN_PUBLIC_URL.", rowsAre(t.outlived))
	}
	if t.overdue > 0 {
		warn("%s due before today.", rowsAre(t.overdue))
	}
	var missing []string
	for _, ch := range paylink.Channels {
		languages := t.languages(ch)
		if len(languages) == 0 {
			continue
		}
		if t.set.Missing != nil {
			if err := t.set.Missing(ch); err != nil {
				missing = append(missing, fmt.Sprintf("%s (%s)", ch, names(err)))
				continue
			}
		}
		if ch == paylink.WhatsApp && t.set.HasWhatsApp != nil {
			for _, lang := range languages {
				if !t.set.HasWhatsApp(lang) {
					warn("DUNLIN_WHATSAPP_TEMPLATES has no link:%s; the batch would halt at its first WhatsApp message in that language.", lang)
				}
			}
		}
	}
	if len(missing) > 0 {
		warn("Not configured here: %s. A worker that lacks it too cannot send these messages.", strings.Join(missing, ", "))
	}
	if t.unrendered > 0 {
		warn("The SMS of %d rows cannot be rendered from its template; the batch would halt there.", t.unrendered)
	}
	if t.sms.Longest > 3 {
		warn("Some SMS take %d segments; shorten their description.", t.sms.Longest)
	}
	return out
}

// receipts notes that receipts follow the payments.
func (p *Plan) receipts(wanted bool, s Settings) {
	p.Receipts = wanted && p.Good > 0
	if !p.Receipts || s.HasReceipt == nil {
		return
	}
	for _, m := range p.Messages {
		if m.Channel == paylink.WhatsApp && !s.HasReceipt(m.Language) {
			p.Warnings = append(p.Warnings, fmt.Sprintf("DUNLIN_WHATSAPP_TEMPLATES has no receipt:%s; who is reached by WhatsApp in that language gets no receipt.", m.Language))
		}
	}
}

func rowsAre(n int64) string {
	if n == 1 {
		return "1 row is"
	}
	return fmt.Sprintf("%d rows are", n)
}

// names shortens a configuration's error, one variable a line with what it is for, to the variables.
func names(err error) string {
	var out []string
	for line := range strings.Lines(err.Error()) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

// Span writes a duration as people say it, in its two largest units, rounded up to the smaller: "3 h", "2 min 5 s".
func Span(d time.Duration) string {
	units := []struct {
		name string
		d    time.Duration
	}{{"days", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		small := units[min(i+1, len(units)-1)]
		r := (d + small.d - 1) / small.d * small.d
		if r < u.d {
			continue
		}
		if i == 0 && r <= 3*u.d { // "72 h" says more than "3 days" of a link that dies by the hour
			return fmt.Sprintf("%d h", r/time.Hour)
		}
		text := fmt.Sprintf("%d %s", r/u.d, u.name)
		if rest := r % u.d / small.d; rest > 0 && small.d < u.d {
			text += fmt.Sprintf(" %d %s", rest, small.name)
		}
		return text
	}
	return "0 s"
}
