package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// session is one payment transaction. Guarded by the store's lock.
type session struct {
	seq      int
	id       string
	orderNo  string
	before   *session // an older session of the same order number
	nth      int      // which create of its order number made it, from 1
	minor    int64
	settled  int64
	currency string
	state    string
	created  time.Time
	lifetime time.Duration
	short    bool
	attempts int
	webhook  string
	redirect string
	pgCodes  []string
	behind   []webhook // events that are told after the next one
	echo     fields    // what else was sent and is echoed; nil in quiet mode
}

// Session is a checkout session as the sandbox knows it.
type Session struct {
	ID         string    `json:"session_id"`
	OrderNo    string    `json:"order_no"`
	Nth        int       `json:"nth"` // which create of its order number made it, from 1
	Amount     string    `json:"amount"`
	Settled    string    `json:"settled_amount"`
	Currency   string    `json:"currency_code"`
	State      string    `json:"state"`
	Created    time.Time `json:"created"`
	Expires    time.Time `json:"expires"`
	Attempts   int       `json:"attempts"` // payment attempts
	Name       string    `json:"name,omitempty"`
	Email      string    `json:"email,omitempty"`
	Phone      string    `json:"phone,omitempty"`
	CustomerID string    `json:"customer_id,omitempty"`
	Language   string    `json:"language"`
	WebhookURL string    `json:"webhook_url,omitempty"`
	URL        string    `json:"checkout_url"`
}

func (x *session) expires() time.Time { return x.created.Add(x.lifetime) }

// open reports whether the session can still be paid, changed and ended.
func (x *session) open() bool {
	return x.state == "created" || x.state == "pending" || x.state == "attempted"
}

// apply takes over what was checked.
func (x *session) apply(set settings, quiet bool) {
	if set.hasAmount {
		x.minor = set.minor
	}
	if set.currency != "" {
		x.currency = set.currency
	}
	if set.orderNo != "" {
		x.orderNo = set.orderNo
	}
	if set.lifetime > 0 {
		x.lifetime = set.lifetime
	}
	if len(set.pgCodes) > 0 {
		x.pgCodes = set.pgCodes
	}
	if set.webhook != "" {
		x.webhook = set.webhook
	}
	if set.redirect != "" {
		x.redirect = set.redirect
	}
	x.short = x.short || set.short
	if quiet {
		return
	}
	if x.echo == nil {
		x.echo = fields{}
	}
	maps.Copy(x.echo, set.echo)
}

// operate carries out cancel or expire and reports whether the state allowed it. The other operations need a paid
// transaction with a gateway behind it, which the sandbox has not.
func (x *session) operate(op string) bool {
	switch {
	case op == "expire" && x.open():
		x.state = "expired"
	case op == "cancel" && (x.open() || x.state == "cod"):
		x.state = "canceled"
	default:
		return false
	}
	return true
}

// overdue flips a session whose time is over, unless the rule wants it to look alive. The caller holds the lock.
func (s *Sandbox) overdue(x *session, f *fired) {
	if x.open() && !s.cfg.Now().Before(x.expires()) && !f.is(CreatedAfterExpiry) {
		x.state = "expired"
	}
}

func (s *Sandbox) checkoutURL(id string) string {
	return s.base + "/b/checkout/redirect/start/?session_id=" + id
}

// render is the body that create, retrieve and update share: what was sent, and what the API adds or normalises.
func (s *Sandbox) render(x *session, short bool) json.RawMessage {
	var o object
	for _, name := range slices.Sorted(maps.Keys(x.echo)) {
		o.raw(name, x.echo[name])
	}
	for _, def := range [][2]string{
		{"type", "payment_request"}, {"language", "en"}, {"payment_type", "one_off"},
		{"due_datetime", x.expires().UTC().Format("02/01/2006 15:04:05")},
	} {
		if _, ok := x.echo[def[0]]; !ok {
			o.str(def[0], def[1])
		}
	}
	url := s.checkoutURL(x.id)
	amount := formatMinor(x.minor, x.currency)
	o.str("session_id", x.id)
	if x.orderNo != "" {
		o.str("order_no", x.orderNo)
	}
	o.str("amount", amount)
	o.str("currency_code", x.currency)
	o.str("state", x.state)
	o.str("operation", "purchase")
	o.str("expiration_time", formatLifetime(x.lifetime))
	o.str("checkout_url", url)
	o.str("checkout_page_url", s.base+"/b/checkout/page/?session_id="+x.id)
	if short {
		o.str("checkout_short_url", s.base+"/b/"+shortCode(x.seq))
	}
	codes, methods := []byte{'['}, []byte{'['}
	for i, code := range x.pgCodes {
		if i > 0 {
			codes, methods = append(codes, ','), append(methods, ',')
		}
		codes = appendString(codes, code)
		var m object
		m.str("code", code)
		m.str("name", code)
		m.str("type", "sandbox")
		m.str("amount", amount)
		m.str("currency_code", x.currency)
		m.str("fee", formatMinor(0, x.currency))
		m.str("fee_description", "")
		m.str("icon", "")
		m.str("flow", "redirect")
		m.str("redirect_url", url)
		methods = append(methods, m.end()...)
	}
	o.raw("pg_codes", append(codes, ']'))
	o.raw("payment_methods", append(methods, ']'))
	return o.end()
}

// shortCode and its inverse turn a session's number into the last part of its short link, and back.
func shortCode(seq int) string { return "s" + strconv.FormatInt(int64(seq)+46_655, 36) }

func seqOfCode(code string) (int, bool) {
	n, err := strconv.ParseInt(strings.TrimPrefix(code, "s"), 36, 64)
	if err != nil || shortCode(int(n-46_655)) != code {
		return 0, false
	}
	return int(n - 46_655), true
}

// formatMinor writes minor units with exactly the currency's decimals.
func formatMinor(minor int64, currency string) string {
	digits := currencyDigits[currency]
	if digits == 0 {
		return strconv.FormatInt(minor, 10)
	}
	p := pow10(digits)
	return fmt.Sprintf("%d.%0*d", minor/p, digits, minor%p)
}

func (s *Sandbox) view(x *session) Session {
	get := func(name string) string { return x.echo.text(name) }
	state := x.state
	if x.open() && !s.cfg.Now().Before(x.expires()) {
		state = "expired" // seen, not stored: whether the API shows it is up to overdue
	}
	v := Session{
		ID: x.id, OrderNo: x.orderNo, Nth: x.nth, Amount: formatMinor(x.minor, x.currency), Settled: formatMinor(x.settled, x.currency),
		Currency: x.currency, State: state, Created: x.created, Expires: x.expires(), Attempts: x.attempts,
		Name:  strings.TrimSpace(get("customer_first_name") + " " + get("customer_last_name")),
		Email: get("customer_email"), Phone: get("customer_phone"), CustomerID: get("customer_id"), Language: get("language"),
		WebhookURL: x.webhook, URL: s.checkoutURL(x.id),
	}
	if v.Language == "" {
		v.Language = "en"
	}
	return v
}

// Sessions lists all sessions in order of creation. One whose time is over shows as expired.
func (s *Sandbox) Sessions() []Session {
	out, _ := s.sessionsAfter(0, 0, "")
	return out
}

func (s *Sandbox) sessionsAfter(after, limit int, part string) ([]Session, int) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return forward(s.store.sessions, after, limit, s.viewer(part))
}

// viewer shows the sessions that mention part.
func (s *Sandbox) viewer(part string) func(*session) (Session, bool) {
	part = strings.ToLower(part)
	return func(x *session) (Session, bool) {
		v := s.view(x)
		return v, v.mentions(part)
	}
}

// Session finds one by its id.
func (s *Sandbox) Session(id string) (Session, bool) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	x := s.store.byID[id]
	if x == nil {
		return Session{}, false
	}
	return s.view(x), true
}

// mentions reports whether part, in lower case, is in what a person would search for.
func (v Session) mentions(part string) bool {
	return part == "" || slices.ContainsFunc([]string{v.ID, v.OrderNo, v.Name, v.Email, v.Phone}, func(f string) bool {
		return strings.Contains(strings.ToLower(f), part)
	})
}
