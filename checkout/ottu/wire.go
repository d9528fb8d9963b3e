package ottu

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"dunlin/paylink"
)

// DefaultExpiry is how long a session lives when the order does not say; it is Ottu's own default, sent all the same,
// because an installation may have another and a session without a known end could be paid for ever.
const DefaultExpiry = 24 * time.Hour

// The lengths of Ottu's fields, in characters.
const (
	maxName  = 64
	maxPhone = 16
)

// createRequest is the body of a create. There is no `extra`: Ottu appends its keys to the payer's redirect address.
type createRequest struct {
	Type           string        `json:"type"`
	Amount         string        `json:"amount"`
	CurrencyCode   string        `json:"currency_code"`
	PGCodes        []string      `json:"pg_codes"`
	OrderNo        string        `json:"order_no"`
	ExpirationTime string        `json:"expiration_time"`
	Language       string        `json:"language"`
	CustomerID     string        `json:"customer_id,omitempty"`
	FirstName      string        `json:"customer_first_name,omitempty"`
	LastName       string        `json:"customer_last_name,omitempty"`
	Email          string        `json:"customer_email,omitempty"`
	Phone          string        `json:"customer_phone,omitempty"`
	DueDatetime    string        `json:"due_datetime,omitempty"`
	RedirectURL    string        `json:"redirect_url,omitempty"`
	WebhookURL     string        `json:"webhook_url,omitempty"`
	Shortify       bool          `json:"shortify_checkout_url"`
	Notifications  notifications `json:"notifications"`
}

// notifications is always sent, and always empty: whether Ottu stays silent when it is left out is not documented, and a
// payer must not get a second message from there.
type notifications struct {
	Email    []string `json:"email"`
	SMS      []string `json:"sms"`
	WhatsApp []string `json:"whatsapp"`
}

// createBody checks what every create must have, so that no order is sent that could not be settled later.
func (c *Client) createBody(o paylink.CheckoutOrder, expiresIn time.Duration) (createRequest, error) {
	if o.OrderNo == "" {
		return createRequest{}, errors.New("no order number")
	}
	if err := checkAmount(o.Amount); err != nil {
		return createRequest{}, err
	}
	due, err := dueDatetime(o.DueDate)
	if err != nil {
		return createRequest{}, err
	}
	return createRequest{
		Type:           "payment_request", // e_commerce transactions are not meant for links
		Amount:         o.Amount.Decimal(),
		CurrencyCode:   o.Amount.Currency,
		PGCodes:        c.pgCodes,
		OrderNo:        o.OrderNo,
		ExpirationTime: expirationTime(expiresIn),
		Language:       language(o.Language),
		CustomerID:     o.CustomerID,
		FirstName:      clip(o.FirstName, maxName),
		LastName:       clip(o.LastName, maxName),
		Email:          o.Email,
		Phone:          phone(o.Phone),
		DueDatetime:    due,
		RedirectURL:    o.ReturnURL,
		WebhookURL:     o.WebhookURL,
		Shortify:       true,
		Notifications:  notifications{Email: []string{}, SMS: []string{}, WhatsApp: []string{}},
	}, nil
}

// updateBody holds the changed fields only. The currency goes along with an amount, so that 12.500 can never be applied
// to a session in another currency.
func updateBody(ch paylink.SessionChange) (map[string]any, error) {
	body := map[string]any{}
	if ch.Amount != nil {
		if err := checkAmount(*ch.Amount); err != nil {
			return nil, err
		}
		body["amount"], body["currency_code"] = ch.Amount.Decimal(), ch.Amount.Currency
	}
	put := func(field string, value *string, form func(string) string) {
		if value != nil {
			body[field] = form(*value)
		}
	}
	name := func(s string) string { return clip(s, maxName) }
	put("customer_first_name", ch.FirstName, name)
	put("customer_last_name", ch.LastName, name)
	put("customer_email", ch.Email, strings.TrimSpace)
	put("customer_phone", ch.Phone, phone)
	put("language", ch.Language, language)
	if ch.DueDate != nil {
		due, err := dueDatetime(*ch.DueDate)
		if err != nil {
			return nil, err
		}
		body["due_datetime"] = due
		if due == "" {
			body["due_datetime"] = nil // an empty text is no date
		}
	}
	if ch.ExpiresIn != nil {
		body["expiration_time"] = expirationTime(wholeSeconds(*ch.ExpiresIn))
	}
	if len(body) == 0 {
		return nil, errors.New("nothing to change")
	}
	return body, nil
}

func checkAmount(m paylink.Money) error {
	if !paylink.KnownCurrency(m.Currency) {
		return errors.New("currency is not known")
	}
	if m.Minor <= 0 {
		return errors.New("amount is not more than zero")
	}
	return nil
}

// wholeSeconds rounds up: Ottu takes no fractions, and zero would mean a session that is born dead.
func wholeSeconds(d time.Duration) time.Duration {
	if d <= 0 {
		return DefaultExpiry
	}
	if rest := d % time.Second; rest > 0 {
		d += time.Second - rest
	}
	return d
}

// expirationTime writes a duration as Ottu does, "DD HH:MM:SS".
func expirationTime(d time.Duration) string {
	s := int64(d / time.Second)
	return fmt.Sprintf("%02d %02d:%02d:%02d", s/86400, s/3600%24, s/60%60, s%60)
}

// dueDatetime turns YYYY-MM-DD into the documented form DD/MM/YYYY hh:mm (the schema says ISO; the pages, the examples and
// the answers say this). Ottu reads it as UTC: noon is the same day for nearly every payer, and the date binds nobody.
func dueDatetime(date string) (string, error) {
	if date == "" {
		return "", nil
	}
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return "", errors.New("due date is not YYYY-MM-DD")
	}
	return t.Format("02/01/2006") + " 12:00", nil
}

// language is one of the two that Ottu has.
func language(s string) string {
	if tag, _, _ := strings.Cut(strings.ToLower(s), "-"); tag == "ar" {
		return "ar"
	}
	return "en"
}

// phone leaves a number out that does not fit, since a shortened number is somebody else's.
func phone(s string) string {
	if len(s) > maxPhone {
		return ""
	}
	return s
}

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return strings.TrimSpace(string(r[:n]))
	}
	return s
}
