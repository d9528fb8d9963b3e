package twilio_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/notify"
	"dunlin/notify/twilio"
	"dunlin/paylink"
)

func TestSendSMS(t *testing.T) {
	s := newStandIn(t, say(201, created))
	c := newClient(t, s.URL+"/base/", func(c *twilio.Config) { c.StatusCallback = "https://school.example/hooks/twilio/status?x=%20#rc=3" })
	m := sms()
	m.ValidFor = 90 * time.Minute
	var done committed
	got, err := c.Send(t.Context(), m, done.commit)
	if err != nil {
		t.Fatal(err)
	}
	want := notify.Receipt{Ref: "SM00000000000000000000000000000009", State: paylink.MessageAccepted, Segments: 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
	form := url.Values{"To": {payer}, "From": {"+15005550006"}, "Body": {m.Text}, "ValidityPeriod": {"5400"},
		"StatusCallback": {"https://school.example/hooks/twilio/status?x=%20&a=" + token + "#rc=3"}}
	if diff := cmp.Diff(form, s.form(t)); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
	r := s.asked()[0]
	if user, password, _ := r.BasicAuth(); user != accountSID || password != authToken || r.URL.Path != "/base/2010-04-01/Accounts/"+accountSID+"/Messages.json" {
		t.Errorf("asked %s as %s", r.URL.Path, user)
	}
	if done.times != 1 || done.hash != sha256.Sum256([]byte(form.Encode())) {
		t.Errorf("commit was called %d times, with %x", done.times, done.hash)
	}
}

func TestSendWhatsApp(t *testing.T) {
	s := newStandIn(t, say(201, created))
	m := whatsApp()
	m.Variables = map[string]string{"1": " Payer\r\n\tPerson  II ", "2": "", "3": " \n ", "4": `<"quoted" & 'so'>`, "10": "شركة"}
	if _, err := newClient(t, s.URL, nil).Send(t.Context(), m, proceed); err != nil {
		t.Fatal(err)
	}
	want := url.Values{"To": {"whatsapp:" + payer}, "From": {"whatsapp:+15005550007"}, "ContentSid": {"HX1"},
		"ContentVariables": {`{"1":"Payer Person II","10":"شركة","2":"-","3":"-","4":"<\"quoted\" & 'so'>"}`}}
	if diff := cmp.Diff(want, s.form(t)); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
}

func TestSenders(t *testing.T) {
	const mg = "MG00000000000000000000000000000001"
	for _, tt := range []struct {
		name      string
		from      string
		m         notify.Outgoing
		key, want string
	}{
		{"service for SMS", mg, sms(), "MessagingServiceSid", mg},
		{"service for WhatsApp", mg, whatsApp(), "MessagingServiceSid", mg},
		{"prefixed number", "whatsapp:+15005550007", whatsApp(), "From", "whatsapp:+15005550007"},
		{"name", "MGM School", sms(), "From", "MGM School"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStandIn(t, say(201, created))
			c := newClient(t, s.URL, func(c *twilio.Config) {
				if tt.m.Channel == paylink.SMS {
					c.SMSFrom, c.WhatsAppFrom = tt.from, ""
				} else {
					c.SMSFrom, c.WhatsAppFrom = "", tt.from
				}
			})
			if _, err := c.Send(t.Context(), tt.m, proceed); err != nil {
				t.Fatal(err)
			}
			form := s.form(t)
			if form.Get(tt.key) != tt.want || form.Has("From") == form.Has("MessagingServiceSid") {
				t.Errorf("form = %v", form)
			}
		})
	}
}

func TestEqualMessagesSendEqualBytes(t *testing.T) {
	s := newStandIn(t, say(201, created))
	c := newClient(t, s.URL, nil)
	m := whatsApp()
	m.Variables = map[string]string{"1": "a", "2": "b", "3": "c", "4": "d", "5": "e", "6": "f"}
	var first, next committed
	for i := range 20 {
		record := &next
		if i == 0 {
			record = &first
		}
		if _, err := c.Send(t.Context(), m, record.commit); err != nil {
			t.Fatal(err)
		}
	}
	if first.hash != next.hash {
		t.Error("the hash changed between equal messages")
	}
}

func TestValidityPeriodIsWithinTwiliosLimits(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Millisecond: "1", 4 * time.Hour: "14400", 48 * time.Hour: "36000", 0: ""} {
		s := newStandIn(t, say(201, created))
		m := sms()
		m.ValidFor = d
		if _, err := newClient(t, s.URL, nil).Send(t.Context(), m, proceed); err != nil {
			t.Fatal(err)
		}
		if got := s.form(t).Get("ValidityPeriod"); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestRefusedBeforeAnythingIsSent(t *testing.T) {
	tests := []struct {
		name  string
		m     func() notify.Outgoing
		edit  func(*twilio.Config)
		scope paylink.Scope
		cause paylink.Cause
	}{
		{"no number", func() notify.Outgoing { m := sms(); m.To = ""; return m }, nil, paylink.ScopeRow, paylink.CauseBadAddress},
		{"smuggled channel", func() notify.Outgoing { m := sms(); m.To = "whatsapp:" + payer; return m }, nil, paylink.ScopeRow, paylink.CauseBadAddress},
		{"email", func() notify.Outgoing { m := sms(); m.Channel = paylink.Email; return m }, nil, paylink.ScopeRow, paylink.CauseInternal},
		{"empty text", func() notify.Outgoing { m := sms(); m.Text = ""; return m }, nil, paylink.ScopeTemplate, paylink.CauseTemplate},
		{"no template", func() notify.Outgoing { m := whatsApp(); m.ContentSID = ""; return m }, nil, paylink.ScopeTemplate, paylink.CauseTemplate},
		{"long values", func() notify.Outgoing { m := whatsApp(); m.Variables["1"] = strings.Repeat("ش", 1020); return m }, nil, paylink.ScopeRow, paylink.CauseRejectedContent},
		{"no sender", sms, func(c *twilio.Config) { c.SMSFrom = "" }, paylink.ScopeAccount, paylink.CauseAccount},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStandIn(t, say(201, created))
			var done committed
			_, err := newClient(t, s.URL, tt.edit).Send(t.Context(), tt.m(), done.commit)
			if f := failure(t, err); f.Scope != tt.scope || f.Cause != tt.cause || f.Kind == paylink.Unknown {
				t.Errorf("got %+v", f)
			}
			if done.times != 0 || len(s.asked()) != 0 {
				t.Errorf("committed %d times, %d requests", done.times, len(s.asked()))
			}
		})
	}
}

func TestCommitErrorSendsNothing(t *testing.T) {
	s := newStandIn(t, say(201, created))
	no := errors.New("the lease is gone")
	if _, err := newClient(t, s.URL, nil).Send(t.Context(), sms(), (&committed{err: no}).commit); err != no {
		t.Errorf("err = %v, want commit's own, unchanged", err)
	}
	if n := len(s.asked()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// hangUp ends the connection after writing raw bytes.
func hangUp(raw string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = c.Write([]byte(raw))
		c.Close()
	}
}

// TestOutcomes has a row for each way in which a POST can end.
func TestOutcomes(t *testing.T) {
	refusal := func(status int, code string) http.HandlerFunc {
		return say(status, `{"code":`+code+`,"message":"The number `+payer+` abc","more_info":"","status":`+"400"+`}`)
	}
	header := func(name, value string, next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.Header().Set(name, value); next(w, r) }
	}
	lost := func(code string) paylink.Failure {
		return paylink.Failure{Kind: paylink.Unknown, Scope: paylink.ScopeRow, Cause: paylink.CauseLostAnswer, Code: code}
	}
	accountAt := func(code string) paylink.Failure {
		return paylink.Failure{Kind: paylink.Temporary, Scope: paylink.ScopeAccount, Cause: paylink.CauseAccount, Code: code}
	}
	slow := func(code string, wait time.Duration) paylink.Failure {
		return paylink.Failure{Kind: paylink.Temporary, Scope: paylink.ScopeProvider, Cause: paylink.CauseRateLimited, Code: code, RetryAfter: wait}
	}
	html := "<html>" + strings.Repeat("Bad Gateway ", 10000)
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   paylink.Failure
	}{
		{"429 with seconds", header("Retry-After", "7", refusal(429, "20429")), slow("20429", 7*time.Second)},
		{"429 with a date", header("Retry-After", "Sun, 01 Mar 2026 09:30:20 GMT", say(429, "{}")), slow("http 429", 20*time.Second)},
		{"429 with a date in the past", header("Retry-After", "Sun, 01 Mar 2020 09:30:20 GMT", say(429, "slow")), slow("http 429", 0)},
		{"429 for a year", header("Retry-After", "31536000000000", say(429, "")), slow("http 429", time.Hour)},
		{"429 for a month", header("Retry-After", "2592000", say(429, "")), slow("http 429", time.Hour)},
		{"429, queue full", refusal(429, "21611"), slow("21611", time.Minute)},
		{"401", refusal(401, "20003"), accountAt("20003")},
		{"401 without code", say(401, ""), accountAt("http 401")},
		{"403 by a proxy", say(403, html), accountAt("http 403")},
		{"404", refusal(404, "20404"), accountAt("20404")},
		{"opted out", refusal(400, "21610"), paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseOptedOut, Code: "21610", Suppress: true}},
		{"bad number", refusal(400, "21211"), paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseBadAddress, Code: "21211"}},
		{"country not switched on", refusal(403, "21408"), paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseAccount, Code: "21408"}},
		{"bad variables", refusal(400, "21656"), paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeTemplate, Cause: paylink.CauseTemplate, Code: "21656"}},
		{"code unknown to us", refusal(400, "29999"), paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseRefused, Code: "29999"}},
		{"400 cut", say(400, `{"code":216`), paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseRefused, Code: "http 400"}},
		{"408", say(408, ""), paylink.Failure{Kind: paylink.Temporary, Scope: paylink.ScopeProvider, Cause: paylink.CauseUnavailable, Code: "http 408"}},
		{"500 with a code", refusal(500, "20500"), lost("http 500")},
		{"500 with a code of ours", refusal(500, "21211"), lost("http 500")},
		{"502 in HTML", say(502, html), lost("http 502")},
		{"503 with Retry-After", header("Retry-After", "3", say(503, "")), func() paylink.Failure { f := lost("http 503"); f.RetryAfter = 3 * time.Second; return f }()},
		{"201 cut", hangUp("HTTP/1.1 201 Created\r\nContent-Length: 200\r\n\r\n{\"sid\":\"SM00"), lost("http 201")},
		{"201 half an object", say(201, created[:20]), lost("http 201")},
		{"201 without SID", say(201, `{"status":"queued"}`), lost("http 201")},
		{"201 with a SID that is none", say(201, `{"sid":"../x","status":"queued"}`), lost("http 201")},
		{"200 in HTML", say(200, "<html>welcome"), lost("http 200")},
		{"204", say(204, ""), lost("http 204")},
		{"no answer", hangUp(""), lost("")},
		{"half a header", hangUp("HTTP/1.1 201 Cre"), lost("")},
		{"permanent redirect", header("Location", "/elsewhere", say(301, "")), accountAt("")},
		{"redirect to keep the method", header("Location", "/elsewhere", say(307, "")), accountAt("")},
		{"see other", header("Location", "/elsewhere", say(303, "")), lost("http 303")},
		{"found", header("Location", "/elsewhere", say(302, "")), lost("http 302")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStandIn(t, tt.answer)
			c := newClient(t, s.URL, func(c *twilio.Config) {
				c.Now = func() time.Time { return time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC) }
			})
			var done committed
			got, err := c.Send(t.Context(), sms(), done.commit)
			f := failure(t, err)
			f.Detail = ""
			if diff := cmp.Diff(tt.want, f); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
			if got != (notify.Receipt{}) || done.times != 1 || len(s.asked()) != 1 {
				t.Errorf("receipt %+v, committed %d times, %d requests", got, done.times, len(s.asked()))
			}
		})
	}
}

func TestGivenUpAtOnce(t *testing.T) {
	s := newStandIn(t, say(201, `{"sid":"SM1","status":"failed","error_code":21610}`))
	got, err := newClient(t, s.URL, nil).Send(t.Context(), sms(), proceed)
	if f := failure(t, err); f.Cause != paylink.CauseOptedOut || !f.Suppress || got.Ref != "SM1" || got.State != paylink.MessageFailed {
		t.Errorf("got %+v, %+v", got, f)
	}
}

func TestDialErrorsAreNotSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	l.Close()
	plain := newStandIn(t, say(201, created))
	for name, base := range map[string]string{"refused": closed, "no TLS there": strings.Replace(plain.URL, "http:", "https:", 1)} {
		var done committed
		_, err := newClient(t, base, nil).Send(t.Context(), sms(), done.commit)
		if f := failure(t, err); f.Kind != paylink.Temporary || f.Scope != paylink.ScopeProvider || f.Cause != paylink.CauseUnavailable || done.times != 1 {
			t.Errorf("%s: got %+v, committed %d times", name, f, done.times)
		}
	}
}

// tracelessTransport fails without having told anything about the connection.
type tracelessTransport struct{}

func (tracelessTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New(payer)
}

func TestATransportThatTellsNothingProvesNothing(t *testing.T) {
	c := newClient(t, "", func(c *twilio.Config) { c.Transport = tracelessTransport{} })
	_, err := c.Send(t.Context(), sms(), proceed)
	if f := failure(t, err); f.Kind != paylink.Unknown {
		t.Errorf("got %+v", f)
	}
}

func TestDeadlines(t *testing.T) {
	release := make(chan struct{})
	s := newStandIn(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)

	t.Run("our own", func(t *testing.T) {
		c := newClient(t, s.URL, func(c *twilio.Config) { c.Timeout = 30 * time.Millisecond })
		_, err := c.Send(t.Context(), sms(), proceed)
		if f := failure(t, err); f.Kind != paylink.Unknown || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the caller's", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		_, err := newClient(t, s.URL, nil).Send(ctx, sms(), proceed)
		if f := failure(t, err); f.Kind != paylink.Unknown || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("over before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var done committed
		_, err := newClient(t, s.URL, nil).Send(ctx, sms(), done.commit)
		if f := failure(t, err); f.Kind != paylink.Temporary || done.times != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, committed %d times", err, done.times)
		}
	})
	t.Run("in commit", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := newClient(t, s.URL, nil).Send(ctx, sms(), func(context.Context, [32]byte) error { cancel(); return nil })
		if f := failure(t, err); f.Kind != paylink.Temporary {
			t.Errorf("got %v", err)
		}
	})
}

func TestNew(t *testing.T) {
	good := twilio.Config{AccountSID: accountSID, AuthToken: authToken}
	if _, err := twilio.New(good); err != nil {
		t.Errorf("minimal: %v", err)
	}
	for name, edit := range map[string]func(*twilio.Config){
		"no SID":               func(c *twilio.Config) { c.AccountSID = "" },
		"token with a dash":    func(c *twilio.Config) { c.AuthToken = "se-cret" },
		"base":                 func(c *twilio.Config) { c.BaseURL = "localhost:8080" },
		"base with user":       func(c *twilio.Config) { c.BaseURL = "http://u:secret@localhost" },
		"callback":             func(c *twilio.Config) { c.StatusCallback = "/hooks" },
		"callback underscore":  func(c *twilio.Config) { c.StatusCallback = "https://a_b.example/hooks" },
		"WhatsApp from a name": func(c *twilio.Config) { c.WhatsAppFrom = "School" },
		"timeout":              func(c *twilio.Config) { c.Timeout = -1 },
	} {
		c := good
		edit(&c)
		if _, err := twilio.New(c); err == nil || strings.Contains(err.Error(), "cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var (
	_ notify.Sender = (*twilio.Client)(nil)
	_ notify.Finder = (*twilio.Client)(nil)
)
