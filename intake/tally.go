package intake

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/templates"
)

// Settings are what a plan depends on beside the file.
type Settings struct {
	Merchant  string
	PublicURL string // without trailing slash; empty = messages carry the provider's own link
	// ProviderLink is of the length that the payment provider's links have.
	ProviderLink string
	Texts        *templates.Set
	// Limits are those of "checkout" and of each channel.
	Limits map[string][]Limit
	// SMSCost and WhatsAppCost give the price of so many segments or messages; nil = not known.
	SMSCost, WhatsAppCost func(n int64) (paylink.Money, error)
	// Missing says what the configuration lacks for sending by a channel, for a warning; nil = nothing.
	Missing func(ch paylink.Channel) error
	// HasWhatsApp reports whether an approved WhatsApp template is known for the language; nil = all are.
	HasWhatsApp func(language string) bool
	// HasReceipt is HasWhatsApp of the receipt's template.
	HasReceipt func(language string) bool
	// SessionLife is how long a provider's link works when the row does not say. 0 = 72 h.
	SessionLife time.Duration
	Now         time.Time
}

type messageKey struct {
	channel  paylink.Channel
	language string
}

// tally adds up rows. It sees each row of the file once, in order.
type tally struct {
	set   Settings
	batch paylink.BatchID // what links are made of

	rows, good, rejected, duplicates, repeats int64
	kinds                                     map[string]int64
	shown                                     []paylink.Rejection
	totals                                    map[string]*Total
	routes                                    map[string]*Routes
	messages                                  map[messageKey]*Messages
	sms                                       SMS
	unrendered                                int64 // rows whose SMS cannot be made
	overdue, outlived                         int64 // due before now; due after their link has died
	today                                     string
}

func newTally(s Settings, batch paylink.BatchID) *tally {
	if s.SessionLife == 0 {
		s.SessionLife = 72 * time.Hour
	}
	return &tally{
		set: s, batch: max(batch, 1), today: s.Now.UTC().Format(time.DateOnly),
		kinds: map[string]int64{}, totals: map[string]*Total{}, routes: map[string]*Routes{}, messages: map[messageKey]*Messages{},
	}
}

// add counts a chunk. repeats are those of its rows that were rejected although they are good in themselves, in order.
func (t *tally) add(chunk []ledger.ImportRow, repeats []paylink.Rejection) error {
	for _, r := range chunk {
		t.rows++
		switch {
		case r.Rejection != nil:
			t.reject(*r.Rejection)
		case len(repeats) > 0 && repeats[0].Number == r.Row.Number:
			t.reject(repeats[0])
			repeats = repeats[1:]
		default:
			if err := t.row(r.Row); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tally) reject(r paylink.Rejection) {
	t.rejected++
	t.kinds[r.Kind]++
	switch r.Kind {
	case paylink.DuplicateKind:
		t.duplicates++
	case paylink.RepeatKind:
		t.repeats++
	}
	if len(t.shown) < shownRejections {
		r.Raw = nil
		t.shown = append(t.shown, r)
	}
}

func (t *tally) row(r *paylink.Row) error {
	t.good++
	total := t.totals[r.Amount.Currency]
	if total == nil {
		total = &Total{Currency: r.Amount.Currency}
		t.totals[r.Amount.Currency] = total
	}
	sum, err := total.Money().Add(r.Amount)
	if err != nil {
		return fmt.Errorf("row %d: the total in %s is too large to count; split the file: %w", r.Number, r.Amount.Currency, paylink.ErrInvalid)
	}
	total.Rows, total.Minor = total.Rows+1, sum.Minor

	name := r.Routes.String()
	route := t.routes[name]
	if route == nil {
		route = &Routes{Channels: name, Words: r.Routes.Describe()}
		t.routes[name] = route
	}
	route.Rows++
	for _, chain := range r.Routes {
		for i, ch := range chain {
			t.message(r, ch, i > 0)
		}
	}
	t.dates(r)
	return nil
}

func (t *tally) message(r *paylink.Row, ch paylink.Channel, fallback bool) {
	key := messageKey{ch, r.Language}
	m := t.messages[key]
	if m == nil {
		m = &Messages{Channel: ch, Language: r.Language}
		t.messages[key] = m
	}
	if fallback {
		m.Fallback++
	} else {
		m.First++
	}
	if ch != paylink.SMS {
		return
	}
	text, err := t.set.Texts.SMS(paylink.PurposeLink, r.Language, t.linkData(r))
	if err != nil {
		t.unrendered++
		return
	}
	n, unicode := templates.Segments(text)
	if fallback {
		t.sms.FallbackSegments += int64(n)
		return
	}
	t.sms.Messages++
	t.sms.Segments += int64(n)
	t.sms.Longest = max(t.sms.Longest, n)
	if unicode {
		t.sms.Unicode++
	}
}

// noSecret stands in for the secret of a link: its length decides, and the ledger draws the real one.
var noSecret = make([]byte, 10)

func (t *tally) linkData(r *paylink.Row) templates.LinkData {
	req := paylink.Request{
		ID: paylink.NewRequestID(t.batch, r.Number), Reference: r.Reference, Amount: r.Amount, Language: r.Language, Country: r.Country,
		DueDate: r.DueDate, Description: r.Description, InvoiceNumber: r.InvoiceNumber,
	}
	link := t.set.ProviderLink
	if t.set.PublicURL != "" {
		link = t.set.PublicURL + "/p/" + paylink.Token(req.ID, noSecret)
	}
	contact := paylink.Contact{Name: r.Name, FirstName: r.FirstName, LastName: r.LastName, Email: r.Email, Phone: r.Phone, Extra: r.Extra}
	return templates.NewLinkData(t.set.Merchant, req, contact, link, r.Language)
}

// dates looks for due dates that make no sense together with now and the life of the link.
func (t *tally) dates(r *paylink.Row) {
	if r.DueDate == "" {
		return
	}
	if r.DueDate < t.today {
		t.overdue++
	}
	life := r.ExpiresIn
	if life == 0 {
		life = t.set.SessionLife
	}
	if t.set.PublicURL == "" && r.DueDate > t.set.Now.UTC().Add(life).Format(time.DateOnly) {
		t.outlived++
	}
}

func (t *tally) first(ch paylink.Channel) (n int64) {
	for k, m := range t.messages {
		if k.channel == ch {
			n += m.First
		}
	}
	return n
}

// languages are those in which a channel may be used.
func (t *tally) languages(ch paylink.Channel) []string {
	var out []string
	for k := range t.messages {
		if k.channel == ch {
			out = append(out, k.language)
		}
	}
	slices.Sort(out)
	return out
}

// into fills the plan's numbers.
func (t *tally) into(p *Plan) {
	p.Rows, p.Good, p.Rejected, p.Duplicates, p.Repeats = t.rows, t.good, t.rejected, t.duplicates, t.repeats
	p.Kinds, p.Rejections = t.kinds, t.shown
	p.Totals, p.Routes, p.Messages = []Total{}, []Routes{}, []Messages{}
	for _, code := range slices.Sorted(maps.Keys(t.totals)) {
		x := *t.totals[code]
		x.Amount = x.Money().Decimal()
		p.Totals = append(p.Totals, x)
	}
	for _, r := range t.routes {
		p.Routes = append(p.Routes, *r)
	}
	slices.SortFunc(p.Routes, func(a, b Routes) int { return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Channels, b.Channels)) })
	for _, m := range t.messages {
		p.Messages = append(p.Messages, *m)
	}
	slices.SortFunc(p.Messages, func(a, b Messages) int {
		return cmp.Or(slices.Index(paylink.Channels, a.Channel)-slices.Index(paylink.Channels, b.Channel), cmp.Compare(a.Language, b.Language))
	})
	if t.sms.Messages > 0 || t.sms.FallbackSegments > 0 {
		sms := t.sms
		p.SMS = &sms
	}
	p.Costs = t.costs()
	p.Finish = t.finish(t.set)
	p.Warnings = t.warnings()
}

func (t *tally) costs() []Cost {
	var out []Cost
	add := func(ch paylink.Channel, price func(int64) (paylink.Money, error), n int64) {
		if price == nil || n == 0 {
			return
		}
		if m, err := price(n); err == nil {
			out = append(out, Cost{ch, m.Decimal(), m.Currency})
		}
	}
	add(paylink.SMS, t.set.SMSCost, t.sms.Segments)
	add(paylink.WhatsApp, t.set.WhatsAppCost, t.first(paylink.WhatsApp))
	return out
}
