package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/report"
	"dunlin/templates"
)

const requestsOnPage = 50

type requestsView struct {
	Batch    *paylink.Batch
	Lines    []ledger.RequestLine
	Query    string
	Filter   ledger.PageFilter
	Dispatch []paylink.DispatchState
	Payments []paylink.PaymentState
	Next     string // the address of the next page
	First    bool
	Searched bool
	Full     bool // there may be more than is shown
}

// show hides contacts from who does not need them.
func show(r *http.Request, lines []ledger.RequestLine) []ledger.RequestLine {
	if may(r, ledger.RoleOperator) {
		return lines
	}
	for i := range lines {
		lines[i].Contact = masked(lines[i].Contact)
	}
	return lines
}

func (c *Console) batchRequests(w http.ResponseWriter, r *http.Request) error {
	id, err := c.batchOf(r)
	if err != nil {
		return err
	}
	b, err := c.Ledger.Batch(r.Context(), id)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := ledger.PageFilter{Dispatch: paylink.DispatchState(q.Get("state")), Payment: paylink.PaymentState(q.Get("payment")), Cause: paylink.Cause(q.Get("cause"))}
	if f.Dispatch != "" && !slices.Contains(paylink.DispatchMachine.States, f.Dispatch) || f.Payment != "" && !slices.Contains(paylink.PaymentMachine.States, f.Payment) {
		return say(http.StatusNotFound, "There is no such filter.")
	}
	if may(r, ledger.RoleOperator) { // else a viewer could guess names by it
		f.Text = clipText(q.Get("q"))
	}
	lines, next, err := c.Ledger.RowPage(r.Context(), id, f, intOf(q.Get("after")), requestsOnPage)
	if err != nil {
		return err
	}
	v := requestsView{Batch: &b, Lines: show(r, lines), Filter: f, Query: f.Text, Dispatch: paylink.DispatchMachine.States, Payments: paylink.PaymentMachine.States, First: q.Get("after") == ""}
	if next > 0 {
		q.Set("after", fmt.Sprint(next))
		v.Next = "?" + q.Encode()
	}
	return c.render(w, r, http.StatusOK, "requests", "batches", "Requests of "+b.Name, v)
}

func clipText(s string) string {
	s = strings.TrimSpace(s)
	if r := []rune(s); len(r) > 100 {
		s = string(r[:100])
	}
	return s
}

// search looks in all batches: by number of a request, reference, name, mailbox or phone.
func (c *Console) search(w http.ResponseWriter, r *http.Request) error {
	text := clipText(r.URL.Query().Get("q"))
	v := requestsView{Query: text, Searched: text != ""}
	if text == "" {
		return c.render(w, r, http.StatusOK, "search", "requests", "Find a payer", v)
	}
	if id, err := paylink.ParseRequestID(text); err == nil {
		if _, err := c.Ledger.Request(r.Context(), id); err == nil {
			return to(w, "/console/requests/"+id.String(), "")
		}
	}
	s := ledger.Search{Reference: text}
	if may(r, ledger.RoleOperator) && len([]rune(text)) >= 2 {
		s.Name = text
		if strings.Contains(text, "@") || !strings.Contains(text, " ") {
			s.Email = text
		}
		s.Phone = phonePrefix(text, c.Reading.Country)
	}
	lines, err := c.Ledger.Find(r.Context(), s, requestsOnPage)
	if err != nil {
		return err
	}
	v.Lines, v.Full = show(r, lines), len(lines) == requestsOnPage
	return c.render(w, r, http.StatusOK, "search", "requests", "Find a payer", v)
}

// phonePrefix is what a phone number that a person typed begins with in the record; "" if it is none.
func phonePrefix(text, country string) string {
	digits := 0
	for _, r := range paylink.LatinDigits(text) {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case !strings.ContainsRune("+ -().", r):
			return ""
		}
	}
	if digits < 4 {
		return ""
	}
	if n, err := phonenumbers.Parse(paylink.LatinDigits(text), country); err == nil {
		return phonenumbers.Format(n, phonenumbers.E164)
	}
	only := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, paylink.LatinDigits(text))
	return "+" + strings.TrimPrefix(only, "00")
}

type requestView struct {
	Line     ledger.RequestLine
	Batch    paylink.Batch
	Contact  paylink.Contact
	Paid     paylink.Money
	Left     paylink.Money
	Link     string
	Sessions []paylink.Session
	Attempts []ledger.Attempt
	Events   []eventView
	Extra    []cell
	CanSee   bool
	Can      map[string]bool // what may be done to it
}

type cell struct{ Name, Value string }

type eventView struct {
	paylink.Event
	Words, Tone string
}

func (c *Console) request(w http.ResponseWriter, r *http.Request) error {
	id, err := c.requestOf(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	v := requestView{CanSee: may(r, ledger.RoleOperator)}
	if v.Line, err = c.Ledger.Request(ctx, id); err != nil {
		return err
	}
	if v.Batch, err = c.Ledger.Batch(ctx, id.Batch()); err != nil {
		return err
	}
	if v.Sessions, err = c.Ledger.Sessions(ctx, id); err != nil {
		return err
	}
	if v.Attempts, err = c.Ledger.Attempts(ctx, id); err != nil {
		return err
	}
	events, err := c.Ledger.Timeline(ctx, id)
	if err != nil {
		return err
	}
	channels := map[paylink.MessageID]paylink.Channel{}
	for _, m := range v.Line.Messages {
		channels[m.ID] = m.Channel
	}
	for _, e := range events {
		v.Events = append(v.Events, eventView{e, eventWords(e, channels), tone(e.To)})
	}
	v.Paid, v.Left, v.Contact = report.Paid(v.Line), report.Left(v.Line), masked(v.Line.Contact)
	if v.CanSee {
		v.Contact, v.Link = v.Line.Contact, report.Link(v.Line, strings.TrimSuffix(c.PublicURL, "/"))
		for name, value := range v.Line.Contact.Extra {
			v.Extra = append(v.Extra, cell{name, value})
		}
		slices.SortFunc(v.Extra, func(a, b cell) int { return strings.Compare(a.Name, b.Name) })
	}
	v.Can = map[string]bool{}
	if v.CanSee {
		for name, a := range c.requestActions() {
			v.Can[name] = a.fits(v.Line)
		}
	}
	return c.render(w, r, http.StatusOK, "request", "requests", "Request "+id.String(), v)
}

func (c *Console) qr(w http.ResponseWriter, r *http.Request) error {
	id, err := c.requestOf(r)
	if err != nil {
		return err
	}
	l, err := c.Ledger.Request(r.Context(), id)
	if err != nil {
		return err
	}
	link := report.Link(l, strings.TrimSuffix(c.PublicURL, "/"))
	if link == "" {
		return say(http.StatusNotFound, "This request has no link yet.")
	}
	png, err := templates.QR(link)
	if err != nil {
		return err
	}
	headers(w.Header())
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Content-Disposition", "inline; filename="+url.PathEscape(id.String())+".png")
	_, _ = w.Write(png)
	return nil
}
