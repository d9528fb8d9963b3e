package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dunlin/ledger"
	"dunlin/paylink"
)

const showHelp = `show tells everything about one request: whom it asks for what, where it
stands, and every event of it, in words, with who did it and when. Times are
in the zone that DUNLIN_DEFAULT_TIMEZONE names.

  enqueue show b7.42
  enqueue show b7.42 --json`

// eventJSON is an event of show --json.
type eventJSON struct {
	At     time.Time `json:"at"`
	Entity string    `json:"entity"`
	ID     int64     `json:"id,omitempty"`
	From   string    `json:"from"`
	To     string    `json:"to"`
	Actor  string    `json:"actor"`
	Why    string    `json:"why,omitempty"`
	Words  string    `json:"words"`
}

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show REQUEST", Short: "tell everything that happened to one request", Long: showHelp,
		Args: args(1, 1, "the request"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			id, err := requestArg(args[0])
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
			events, err := db.Timeline(ctx, id)
			if err != nil {
				return err
			}
			if !a.json {
				a.printRequest(l, events)
				return nil
			}
			lines := make([]eventJSON, len(events))
			for i, e := range events {
				lines[i] = eventJSON{e.At, e.Entity, e.EntityID, e.From, e.To, e.Actor, e.Why, eventWords(e, channels(l))}
			}
			return a.object(struct {
				requestJSON
				Events []eventJSON `json:"events"`
			}{a.requestJSON(l), lines})
		},
	}
}

// channels are those of the request's messages.
func channels(l ledger.RequestLine) map[paylink.MessageID]paylink.Channel {
	out := map[paylink.MessageID]paylink.Channel{}
	for _, m := range l.Messages {
		out[m.ID] = m.Channel
	}
	return out
}

func (a *app) printRequest(l ledger.RequestLine, events []paylink.Event) {
	r, c, s := l.Request, l.Contact, a.out
	field := func(name, value string) {
		if value = strings.TrimSpace(clean(value)); value != "" {
			fmt.Fprintln(s, hang(s.width()-1, "  "+fit(name, 12), strings.Repeat(" ", 14), value))
		}
	}
	fmt.Fprintf(s, "%s  %s  %s, %s\n", s.bold(r.ID.String()), money(r.Amount), human(string(r.Dispatch)), human(string(r.Payment)))
	field("reference", r.Reference)
	field("payer", c.Name)
	field("email", c.Email)
	field("phone", c.Phone)
	field("channels", r.Routes.Describe())
	field("description", r.Description)
	field("due", r.DueDate)
	field("file", fmt.Sprintf("row %d, line %d", r.ID.Row(), r.Line))
	if l.Paid > 0 {
		field("paid", money(paid(l))+", left "+money(left(l)))
	}
	if r.Cause != "" {
		field("cause", string(r.Cause)+" "+l.Code+": "+causeWords(r.Cause))
	}
	if l.Session != nil {
		field("session", strings.TrimSpace(fmt.Sprintf("%s %s %s, order %s", l.Session.ID, l.Session.State, l.Session.ProviderID, l.Session.OrderNo)))
	}
	field("link", a.link(l))
	for _, m := range l.Messages {
		text := fmt.Sprintf("%s by %s: %s %s", m.ID, m.Channel, m.State, m.ProviderRef)
		if m.Cause != "" {
			text += " (" + strings.TrimSpace(string(m.Cause)+" "+m.Code) + ")"
		}
		if m.PossibleDuplicate {
			text += ", perhaps a duplicate"
		}
		name := "message"
		if m.Purpose == paylink.PurposeReceipt {
			name = "receipt"
		}
		field(name, text)
	}
	fmt.Fprintf(s, "\n%s\n", s.bold("What happened"))
	for _, e := range events {
		by := ""
		if e.Actor != "" {
			by = ", by " + e.Actor
		}
		why := ""
		if e.Why != "" {
			why = " (" + e.Why + ")"
		}
		fmt.Fprintln(s, hang(s.width()-1, "  "+a.clock(e.At)+"  ", strings.Repeat(" ", 27), clean(eventWords(e, channels(l))+why+by)))
	}
}
