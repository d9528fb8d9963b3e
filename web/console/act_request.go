package console

import (
	"errors"
	"net/http"
	"strings"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/report"
)

// requestAction is something that is done to one request. Each is one of the command line's, by the same method.
type requestAction struct {
	fits    func(l ledger.RequestLine) bool
	ask     func(l ledger.RequestLine) question
	do      func(r *http.Request, l ledger.RequestLine, why string) ([]paylink.Wake, error)
	needWhy bool
}

// becomes reports whether a person may move the debt to a state.
func becomes(s paylink.PaymentState) func(ledger.RequestLine) bool {
	return func(l ledger.RequestLine) bool { return paylink.PaymentMachine.CanByCommand(l.Request.Payment, s) }
}

func is(states ...paylink.PaymentState) func(ledger.RequestLine) bool {
	return func(l ledger.RequestLine) bool {
		for _, s := range states {
			if l.Request.Payment == s {
				return true
			}
		}
		return false
	}
}

func (c *Console) requestActions() map[string]requestAction {
	db := c.Ledger
	return map[string]requestAction{
		"resend": {
			fits: func(l ledger.RequestLine) bool {
				return l.Request.Payment.Owes() && l.Request.Dispatch != paylink.DispatchPending
			},
			ask: func(l ledger.RequestLine) question {
				q := question{Text: "Send this payer the message again? A message whose answer was lost and that waits for you is given up by this: the payer may then have two.", Button: "Send again"}
				for _, ch := range paylink.Channels {
					if l.Contact.Address(ch) != "" {
						q.Channels = append(q.Channels, ch)
					}
				}
				return q
			},
			do: func(r *http.Request, l ledger.RequestLine, why string) ([]paylink.Wake, error) {
				return db.Resend(r.Context(), l.Request.ID, paylink.Channel(r.PostForm.Get("channel")), actor(r), first(why, "sent again"))
			},
		},
		"amend": {
			needWhy: true, fits: func(l ledger.RequestLine) bool { return l.Request.Payment.Owes() },
			ask: func(l ledger.RequestLine) question {
				k := l.Contact
				return question{Text: "What is changed here holds from now on: the payer's page shows it at once, and messages still to come are made from it. Nothing is sent by itself.", Button: "Amend",
					Fields: []field{{Name: "amount", Label: "Amount, " + l.Request.Amount.Currency, Value: l.Request.Amount.Decimal(), Help: "the whole debt, what was paid included"},
						{Name: "due_date", Label: "Due", Value: l.Request.DueDate, Help: "as 2027-03-31"}, {Name: "description", Label: "For", Value: l.Request.Description},
						{Name: "name", Label: "Name", Value: k.Name}, {Name: "email", Label: "Email", Value: k.Email, Type: "email"}, {Name: "phone", Label: "Phone", Value: k.Phone, Type: "tel"}}}
			},
			do: c.amend,
		},
		"paid": {
			needWhy: true, fits: becomes(paylink.PaymentPaidOutside),
			ask: func(l ledger.RequestLine) question {
				return question{Text: "Record money that came another way, in cash or by transfer? When nothing is left, the payer's link stops working and nobody is asked any more.", Button: "Mark as paid",
					Fields: []field{{Name: "amount", Label: "How much, " + l.Request.Amount.Currency, Value: report.Left(l).Decimal(), Help: "all that is left, or a part of it"}}}
			},
			do: func(r *http.Request, l ledger.RequestLine, why string) ([]paylink.Wake, error) {
				sum, err := paylink.ParseMoney(strings.TrimSpace(r.PostForm.Get("amount")), l.Request.Amount.Currency, paylink.NumberPlain)
				if err != nil {
					return nil, say(http.StatusUnprocessableEntity, "Nothing was done: %s.", plain(err))
				}
				_, wakes, err := db.MarkPaid(r.Context(), l.Request.ID, sum, actor(r), why)
				return wakes, err
			},
		},
		"unpaid": {
			needWhy: true, fits: is(paylink.PaymentPaidOutside),
			ask: func(ledger.RequestLine) question {
				return question{Text: "Take back that it was marked as paid? The debt is asked for again; nothing is sent by itself.", Button: "Take it back"}
			},
			do: func(r *http.Request, l ledger.RequestLine, why string) ([]paylink.Wake, error) {
				_, wakes, err := db.UndoOutside(r.Context(), l.Request.ID, actor(r), why)
				return wakes, err
			},
		},
		"writeoff": {
			needWhy: true, fits: becomes(paylink.PaymentWrittenOff),
			ask: func(ledger.RequestLine) question {
				return question{Text: "Give this debt up? Nobody is asked for it any more and the payer's link stops working. Money that comes all the same is recorded.", Button: "Write off"}
			},
			do: func(r *http.Request, l ledger.RequestLine, why string) ([]paylink.Wake, error) {
				return db.WriteOff(r.Context(), l.Request.ID, actor(r), why)
			},
		},
		"reopen": {
			needWhy: true, fits: is(paylink.PaymentWrittenOff),
			ask: func(ledger.RequestLine) question {
				return question{Text: "Ask for this debt again that was written off? Nothing is sent by itself.", Button: "Ask for it again"}
			},
			do: func(r *http.Request, l ledger.RequestLine, why string) ([]paylink.Wake, error) {
				_, err := db.UndoWriteOff(r.Context(), l.Request.ID, actor(r), why)
				return nil, err
			},
		},
		"cancel": {
			needWhy: true, fits: becomes(paylink.PaymentCanceled),
			ask: func(ledger.RequestLine) question {
				return question{Tone: "bad", Button: "Call it off", Text: "Call this request off? The debt is no longer asked for and the payer's link stops working. What was sent stays sent; money that comes all the same is recorded."}
			},
			do: func(r *http.Request, l ledger.RequestLine, why string) ([]paylink.Wake, error) {
				return db.CancelRequest(r.Context(), l.Request.ID, actor(r), why)
			},
		},
	}
}

// amend changes what is not as it stands in the record, by the rules of a payer file.
func (c *Console) amend(r *http.Request, l ledger.RequestLine, why string) ([]paylink.Wake, error) {
	var w intake.Wish
	for name, x := range map[string]struct {
		now string
		to  **string
	}{"amount": {l.Request.Amount.Decimal(), &w.Amount}, "due_date": {l.Request.DueDate, &w.DueDate}, "description": {l.Request.Description, &w.Description},
		"name": {l.Contact.Name, &w.Name}, "email": {l.Contact.Email, &w.Email}, "phone": {l.Contact.Phone, &w.Phone}} {
		if told, ok := r.PostForm[name]; ok && strings.TrimSpace(told[0]) != x.now {
			value := strings.TrimSpace(told[0])
			*x.to = &value
		}
	}
	if w == (intake.Wish{}) {
		return nil, say(http.StatusUnprocessableEntity, "Nothing was changed.")
	}
	change, err := intake.Amendment(l.Request, l.Contact, w, c.Reading, c.Intake(c.Ledger.Now()))
	if errors.Is(err, paylink.ErrInvalid) {
		return nil, say(http.StatusUnprocessableEntity, "Nothing was done: %s.", hintWords(plain(err)))
	}
	if err != nil {
		return nil, err
	}
	_, wakes, err := c.Ledger.Amend(r.Context(), l.Request.ID, change, ledger.AmendOptions{Actor: actor(r), Why: why, DebtKey: intake.DebtKey})
	return wakes, err
}
