package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// fields is a request's body, each member as it was sent.
type fields map[string]json.RawMessage

// text is a member that is a string, or "".
func (in fields) text(name string) string {
	v, _ := in.str(name)
	return v
}

// str is a member that must be a string. Most are plain ones, for which a decoder would be most of the work.
func (in fields) str(name string) (v string, ok bool) {
	raw := in[name]
	if n := len(raw); n >= 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw[1 : n-1]), true
	}
	return v, json.Unmarshal(raw, &v) == nil
}

func (in fields) has(name string) bool {
	v, ok := in[name]
	return ok && string(v) != "null"
}

// fieldErrors is Ottu's answer to a bad body.
type fieldErrors map[string][]string

func (e fieldErrors) add(field, text string) { e[field] = append(e[field], text) }

const required = "This field is required."

// settings is what a create or update sets, checked.
type settings struct {
	hasAmount bool
	minor     int64
	currency  string
	orderNo   string
	lifetime  time.Duration
	short     bool
	pgCodes   []string
	webhook   string
	redirect  string
	echo      fields
}

// currencyDigits are the decimals of the currencies that the sandbox takes, by ISO 4217.
var currencyDigits = map[string]int{
	"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
	"AED": 2, "AUD": 2, "CAD": 2, "CHF": 2, "CNY": 2, "DZD": 2, "EGP": 2, "EUR": 2, "GBP": 2, "INR": 2, "LBP": 2,
	"MAD": 2, "PHP": 2, "PKR": 2, "QAR": 2, "SAR": 2, "SDG": 2, "SYP": 2, "TRY": 2, "USD": 2, "YER": 2,
	"JPY": 0, "KRW": 0, "VND": 0,
}

var (
	decimal  = regexp.MustCompile(`^(\d+)(?:\.(\d+))?$`)
	duration = regexp.MustCompile(`^(?:(\d{1,4}) )?(\d{2}):(\d{2}):(\d{2})$`)
	slug     = regexp.MustCompile(`^[-\w]+$`)
)

// maxLength is the longest strings, in characters, by field.
var maxLength = map[string]int{
	"order_no": 128, "customer_id": 64, "customer_first_name": 64, "customer_last_name": 64, "customer_email": 128,
	"customer_phone": 16, "customer_phone_2": 16, "customer_birthdate": 10, "product_type": 128, "vendor_name": 64,
	"redirect_url": 2000, "webhook_url": 2000, "attachment_upload_url": 2000, "unit_code": 64, "due_datetime": 32,
}

// choices are the words that a field takes.
var choices = map[string][]string{
	"type":         {"payment_request", "e_commerce"},
	"language":     {"en", "ar"},
	"payment_type": {"one_off", "auto_debit", "save_card"},
}

// events are the messages of Ottu's own that a session can ask for, by channel.
var events = map[string][]string{
	"email":    {"created", "paid", "canceled", "failed", "expired", "authorized", "voided", "refunded", "captured"},
	"sms":      {"created", "paid", "canceled", "failed", "expired", "authorized", "voided", "refunded", "captured"},
	"whatsapp": {"created", "paid", "canceled", "failed", "expired", "authorized"},
}

var flags = []string{"shortify_checkout_url", "shortify_attachment_url", "generate_qr_code", "include_sdk_setup_preload", "preload_checkout_page"}

// checkFields reads a create (whole) or an update. currency is the session's, for an update that leaves it out.
func (s *Sandbox) checkFields(in fields, whole bool, currency string) (settings, fieldErrors) {
	errs := fieldErrors{}
	set := settings{echo: fields{}}
	if whole {
		for _, name := range []string{"amount", "currency_code", "pg_codes", "type"} {
			if !in.has(name) {
				errs.add(name, required)
			}
		}
	}
	for name, longest := range maxLength {
		if !in.has(name) {
			continue
		}
		v, ok := in.str(name)
		if !ok {
			errs.add(name, "Not a valid string.")
		} else if utf8.RuneCountInString(v) > longest {
			errs.add(name, fmt.Sprintf("Ensure this field has no more than %d characters.", longest))
		} else if name != "order_no" {
			set.echo[name] = in[name]
		}
	}
	for name, words := range choices {
		if !in.has(name) {
			continue
		}
		if v := in.text(name); !slices.Contains(words, v) {
			errs.add(name, fmt.Sprintf("%q is not a valid choice.", v))
		} else {
			set.echo[name] = in[name]
		}
	}
	for _, name := range flags {
		var v bool
		if in.has(name) && json.Unmarshal(in[name], &v) != nil {
			errs.add(name, "Must be a valid boolean.")
		}
		if name == "shortify_checkout_url" {
			set.short = v
		}
	}
	if in.has("currency_code") {
		currency = in.text("currency_code")
		if !slices.Contains(s.cfg.Currencies, currency) {
			errs.add("currency_code", fmt.Sprintf("%q is not a valid choice.", currency))
		}
		set.currency = currency
	}
	set.readAmount(in, currency, errs)
	set.readCodes(in, s.cfg.PGCodes, errs)
	set.orderNo = in.text("order_no")
	if len(set.orderNo) > 37 && slices.ContainsFunc(set.pgCodes, func(c string) bool { return strings.Contains(c, "mpgs") }) {
		errs.add("order_no", "Ensure this field has no more than 37 characters.")
	}
	set.readContact(in, errs)
	set.readTimes(in, errs)
	set.webhook, set.redirect = in.url("webhook_url", errs), in.url("redirect_url", errs)
	set.readAgreement(in, errs)
	set.readObjects(in, errs)
	return set, errs
}

func (set *settings) readAmount(in fields, currency string, errs fieldErrors) {
	if !in.has("amount") {
		return
	}
	v, ok := in.str("amount")
	if !ok {
		errs.add("amount", "Not a valid string: amounts are decimal strings.")
		return
	}
	m := decimal.FindStringSubmatch(v)
	digits, known := currencyDigits[currency]
	switch {
	case m == nil:
		errs.add("amount", "A valid number is required.")
	case len(v) > 24:
		errs.add("amount", "Ensure this field has no more than 24 characters.")
	case len(strings.TrimLeft(m[1], "0")) > 13:
		errs.add("amount", "Ensure that there are no more than 13 digits before the decimal point.")
	case !known: // already said of currency_code
	case len(m[2]) > digits:
		errs.add("amount", fmt.Sprintf("Ensure that there are no more than %d decimal places.", digits))
	default:
		minor, err := strconv.ParseInt(m[1]+m[2]+strings.Repeat("0", digits-len(m[2])), 10, 64)
		// 0.01 of the currency's main unit is the least; a currency without decimals has no smaller unit than 1.
		if least := max(pow10(digits)/100, 1); err != nil || minor < least {
			errs.add("amount", "Ensure this value is greater than or equal to 0.01.")
		}
		set.minor, set.hasAmount = minor, true
	}
}

func pow10(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

func (set *settings) readCodes(in fields, known []string, errs fieldErrors) {
	if !in.has("pg_codes") {
		return
	}
	if json.Unmarshal(in["pg_codes"], &set.pgCodes) != nil {
		errs.add("pg_codes", "Expected a list of items of type \"str\".")
		return
	}
	if len(set.pgCodes) == 0 {
		errs.add("pg_codes", "This list may not be empty.")
	}
	for _, c := range set.pgCodes {
		if !slug.MatchString(c) || !slices.Contains(known, c) {
			errs.add("pg_codes", fmt.Sprintf("%q is not a valid choice.", c))
		}
	}
}

func (set *settings) readContact(in fields, errs fieldErrors) {
	if v := in.text("customer_email"); v != "" && !validEmail(v) {
		errs.add("customer_email", "Enter a valid email address.")
	}
	if in.has("email_recipients") {
		var list []string
		if json.Unmarshal(in["email_recipients"], &list) != nil || slices.ContainsFunc(list, func(a string) bool { return !validEmail(a) }) {
			errs.add("email_recipients", "Enter valid email addresses.")
		}
		set.echo["email_recipients"] = in["email_recipients"]
	}
	if !in.has("notifications") {
		return
	}
	var wanted map[string][]string
	if json.Unmarshal(in["notifications"], &wanted) != nil {
		errs.add("notifications", "Expected an object of lists.")
		return
	}
	for channel, list := range wanted {
		for _, e := range list {
			if !slices.Contains(events[channel], e) {
				errs.add("notifications", fmt.Sprintf("%q is not a valid choice of %q.", e, channel))
			}
		}
	}
	if len(wanted["email"]) > 0 && in.text("customer_email") == "" {
		errs.add("customer_email", required)
	}
	if len(wanted["sms"]) > 0 && in.text("customer_phone") == "" {
		errs.add("customer_phone", required)
	}
	set.echo["notifications"] = in["notifications"]
}

func validEmail(v string) bool {
	a, err := mail.ParseAddress(v)
	return err == nil && a.Address == v
}

func (set *settings) readTimes(in fields, errs fieldErrors) {
	if in.has("expiration_time") {
		d, ok := parseLifetime(in.text("expiration_time"))
		if !ok {
			errs.add("expiration_time", "Duration has wrong format. Use one of these formats instead: [DD] [HH:[MM:]]ss[.uuuuuu].")
		}
		set.lifetime = d
	}
	if v := in.text("due_datetime"); v != "" {
		due, err := time.Parse("02/01/2006 15:04", v)
		if err != nil {
			due, err = time.Parse(time.RFC3339, v)
		}
		if err != nil {
			errs.add("due_datetime", "Datetime has wrong format. Use one of these formats instead: DD/MM/YYYY hh:mm.")
		}
		set.echo["due_datetime"] = json.RawMessage(strconv.Quote(due.UTC().Format("02/01/2006 15:04:05")))
	}
	if v := in.text("customer_birthdate"); v != "" {
		if _, err := time.Parse(time.DateOnly, v); err != nil {
			errs.add("customer_birthdate", "Date has wrong format. Use one of these formats instead: YYYY-MM-DD.")
		}
	}
}

// parseLifetime reads the documented form "DD HH:MM:SS"; the days may be missing.
func parseLifetime(v string) (time.Duration, bool) {
	m := duration.FindStringSubmatch(v)
	if m == nil {
		return 0, false
	}
	var n [5]int
	for i, part := range m[1:] {
		n[i+1], _ = strconv.Atoi("0" + part)
	}
	if n[2] > 23 || n[3] > 59 || n[4] > 59 {
		return 0, false
	}
	d := time.Duration(n[1])*24*time.Hour + time.Duration(n[2])*time.Hour + time.Duration(n[3])*time.Minute + time.Duration(n[4])*time.Second
	return d, d > 0
}

// formatLifetime writes it as the API does: "1 00:00:00", "00:50:00".
func formatLifetime(d time.Duration) string {
	days, rest := d/(24*time.Hour), d%(24*time.Hour)
	v := fmt.Sprintf("%02d:%02d:%02d", rest/time.Hour, rest%time.Hour/time.Minute, rest%time.Minute/time.Second)
	if days > 0 {
		v = fmt.Sprintf("%d %s", days, v)
	}
	return v
}

func (in fields) url(name string, errs fieldErrors) string {
	v := in.text(name)
	if v == "" {
		return ""
	}
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs.add(name, "Enter a valid URL.")
	}
	return v
}

func (set *settings) readAgreement(in fields, errs fieldErrors) {
	switch kind := in.text("payment_type"); {
	case kind == "auto_debit":
		for _, name := range []string{"agreement", "customer_id"} {
			if !in.has(name) {
				errs.add(name, required)
			}
		}
	case in.has("agreement"):
		errs.add("agreement", "This field is not allowed for this payment type.")
	}
}

// nested are the objects, with the members that each must have.
var nested = map[string][]string{
	"billing_address":  {"line1", "city", "country", "postal_code"},
	"shipping_address": {"line1", "city", "country", "postal_code", "first_name", "last_name", "email", "phone"},
	"extra":            nil,
	"agreement":        nil,
}

// readObjects checks what is nested. Their errors are put under the outer name, which loses nothing a client acts on.
func (set *settings) readObjects(in fields, errs fieldErrors) {
	for name, members := range nested {
		if !in.has(name) {
			continue
		}
		var v fields
		if json.Unmarshal(in[name], &v) != nil {
			errs.add(name, "Expected a dictionary of items.")
			continue
		}
		for _, m := range members {
			if v.text(m) == "" {
				errs.add(name, m+": "+required)
			}
		}
		set.echo[name] = in[name]
	}
}
