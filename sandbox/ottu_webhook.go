package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// webhook is one payment event on its way to the merchant.
type webhook struct {
	url      string
	redirect string // with the query that Ottu adds
	body     map[string]any
}

// webhookOf makes the event of an attempt; the caller holds the store's lock.
func (s *Sandbox) webhookOf(x *session, result, reference string) webhook {
	money := func(minor int64) string { return formatMinor(minor, x.currency) }
	body := map[string]any{
		"amount": money(x.minor), "currency_code": x.currency, "fee": money(0) + " " + x.currency,
		"amount_details": map[string]string{"amount": money(x.minor), "currency_code": x.currency, "fee": money(0), "total": money(x.minor)},
		"paid_amount":    money(x.settled), "settled_amount": money(x.settled), "remaining_amount": money(x.minor - x.settled),
		"refunded_amount": money(0), "voided_amount": money(0),
		"gateway_account": x.pgCodes[0], "gateway_name": "sandbox", "gateway_response": map[string]any{},
		"is_sandbox": true, "message": result, "payment_type": "one_off", "pg_params": map[string]any{},
		"reference_number": reference, "result": result, "session_id": x.id, "state": x.state,
		"timestamp_utc": s.cfg.Now().UTC().Format(time.DateTime), "transactions": []any{},
	}
	for _, name := range []string{"customer_email", "customer_first_name", "customer_last_name", "customer_phone", "customer_id", "extra"} {
		if v, ok := x.echo[name]; ok {
			body[name] = v
		}
	}
	if x.orderNo != "" {
		body["order_no"] = x.orderNo
	}
	return webhook{url: x.webhook, redirect: redirectOf(x, reference), body: body}
}

// redirectOf adds to redirect_url what Ottu adds: its own three parameters and every key of extra.
func redirectOf(x *session, reference string) string {
	u, err := url.Parse(x.redirect)
	if x.redirect == "" || err != nil {
		return ""
	}
	q := u.Query()
	q.Set("order_no", x.orderNo)
	q.Set("reference_number", reference)
	q.Set("session_id", x.id)
	var extra fields
	_ = json.Unmarshal(x.echo["extra"], &extra) // checked to be an object when it came in
	for k := range extra {
		q.Set(k, extra.text(k))
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// signedKeys are the members of the body that the signature covers.
var signedKeys = []string{
	"amount", "currency_code", "customer_address_city", "customer_address_country", "customer_address_line1",
	"customer_address_line2", "customer_address_postal_code", "customer_address_state", "customer_email",
	"customer_first_name", "customer_last_name", "customer_phone", "gateway_account", "gateway_name", "order_no",
	"reference_number", "result", "state",
}

// SignWebhook is Ottu's signature of a payment event: HMAC-SHA256, in lower-case hex, of the signed keys that are there
// and not empty, in alphabetical order, each key directly followed by its value.
func SignWebhook(key string, body map[string]any) string {
	keys := slices.Sorted(slices.Values(signedKeys))
	mac := hmac.New(sha256.New, []byte(key))
	for _, k := range keys {
		v, _ := body[k].(string)
		if raw, ok := body[k].(json.RawMessage); ok {
			_ = json.Unmarshal(raw, &v) // not a string: not signed
		}
		if v != "" {
			_, _ = io.WriteString(mac, k+v)
		}
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// postWebhook tells the merchant and returns the status of the answer, 0 for none. As Ottu does, it tries three times,
// and again only after a timeout: any answer, also a bad one, ends it.
func (s *Sandbox) postWebhook(ctx context.Context, h webhook) int {
	h.body["signature"] = SignWebhook(s.cfg.HMACKey, h.body)
	body, err := json.Marshal(h.body)
	if err != nil {
		return 0
	}
	for try := 0; ; try++ {
		status, timedOut := s.postOnce(ctx, h.url, body)
		if !timedOut || try == 2 || ctx.Err() != nil || s.ctx.Err() != nil {
			return status
		}
		s.pause(s.webhookPause)
	}
}

func (s *Sandbox) postOnce(ctx context.Context, target string, body []byte) (status int, timedOut bool) {
	ctx, cancel := context.WithTimeout(ctx, s.webhookTimeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return 0, false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36")
	res, err := s.outbound.Do(req)
	if err != nil {
		return 0, errors.Is(err, context.DeadlineExceeded)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, false
}

// pageURL reports whether u is safe to send a browser to.
func pageURL(u string) bool {
	return strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://")
}
