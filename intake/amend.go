package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"dunlin/batchfile"
	"dunlin/paylink"
)

// Wish is what a person wants changed about a request, in the words of a file's cells; nil leaves a field as it is.
type Wish struct {
	Amount, DueDate, Description, Email, Phone, Name *string
}

// Amendment reads a wish by the rules of a payer file, so that nothing gets into the record that a file could not have
// brought. What is wrong is an error of kind [paylink.ErrInvalid] that quotes nothing.
func Amendment(r paylink.Request, c paylink.Contact, w Wish, s Reading, now Settings) (paylink.Amendment, error) {
	row := map[string]string{"amount": r.Amount.Decimal(), "currency": r.Amount.Currency, "country": r.Country, "email": c.Email, "phone": c.Phone}
	for field, to := range map[string]*string{"amount": w.Amount, "due_date": w.DueDate, "description": w.Description, "email": w.Email,
		"phone": w.Phone, "name": w.Name} {
		if to != nil {
			row[field] = *to
		}
	}
	// The channels that can be reached are asked for when something is sent; here any address will do, or none.
	channel := paylink.Email
	if row["email"] == "" && row["phone"] != "" {
		channel = paylink.SMS
	}
	if row["email"] == "" && row["phone"] == "" {
		return paylink.Amendment{}, fmt.Errorf("the request would have no address at all: %w", paylink.ErrInvalid)
	}
	row["channels"] = string(channel)
	text, err := json.Marshal([]map[string]string{row})
	if err != nil {
		return paylink.Amendment{}, err
	}
	reader, err := batchfile.NewReader(bytes.NewReader(text), int64(len(text)), batchfile.Options{Name: "amendment.json", Now: now.Now,
		Defaults: batchfile.Defaults{Country: s.Country, Language: s.Language}})
	if err != nil {
		return paylink.Amendment{}, err
	}
	defer reader.Close()
	good, bad, err := reader.Next()
	switch {
	case err != nil:
		return paylink.Amendment{}, err
	case bad != nil:
		return paylink.Amendment{}, fmt.Errorf("%s; %s: %w", bad.Reason, bad.Hint, paylink.ErrInvalid)
	case good == nil:
		return paylink.Amendment{}, errors.New("nothing was read")
	}
	var a paylink.Amendment
	if w.Amount != nil {
		a.Amount = &good.Amount
	}
	for _, x := range []struct {
		asked *string
		to    **string
		value string
	}{{w.DueDate, &a.DueDate, good.DueDate}, {w.Description, &a.Description, good.Description}, {w.Email, &a.Email, good.Email},
		{w.Phone, &a.Phone, good.Phone}, {w.Name, &a.Name, good.Name}} {
		if x.asked != nil {
			*x.to = &x.value
		}
	}
	return a, nil
}

// DebtKey is what makes two rows the same debt; see [batchfile.DebtKey].
func DebtKey(r *paylink.Row) uint64 { return batchfile.DebtKey(r) }
