package twilio_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"

	"dunlin/notify/twilio"
	"dunlin/paylink"
)

func TestReported(t *testing.T) {
	groups := map[paylink.Failure][]int{
		{Kind: paylink.Temporary, Scope: paylink.ScopeAccount, Cause: paylink.CauseAccount}:              {20003, 30002, 21212, 21606, 21603, 63007, 63002, 30034},
		{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseAccount}:                  {21408},
		{Kind: paylink.Temporary, Scope: paylink.ScopeProvider, Cause: paylink.CauseRateLimited}:         {20429, 21611, 30001, 63018},
		{Kind: paylink.Temporary, Scope: paylink.ScopeRow, Cause: paylink.CauseRateLimited}:              {30036},
		{Kind: paylink.Temporary, Scope: paylink.ScopeRow, Cause: paylink.CauseUnreachable}:              {30003, 30008},
		{Kind: paylink.Temporary, Scope: paylink.ScopeRow, Cause: paylink.CauseUnavailable}:              {30047},
		{Kind: paylink.Temporary, Scope: paylink.ScopeRow, Cause: paylink.CauseRefused}:                  {30610},
		{Kind: paylink.Unknown, Scope: paylink.ScopeRow, Cause: paylink.CauseLostAnswer}:                 {30410},
		{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseBadAddress}:               {21211, 21217, 21214, 21614, 21635, 30005, 30006, 63003, 63024},
		{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseRefused}:                  {21612, 63001, 63005, 63032, 63033},
		{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseOptedOut, Suppress: true}: {21610, 63014},
		{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseRejectedContent}:          {30004, 30007, 21617, 63049},
		{Kind: paylink.Permanent, Scope: paylink.ScopeTemplate, Cause: paylink.CauseTemplate}:            {63016, 21656, 92007, 63028, 63027, 63021, 63013},
		{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseUndelivered}:              {0, 12345, 99999},
	}
	for want, codes := range groups {
		for _, code := range codes {
			got := *twilio.Reported(code)
			if (got.Code == "") != (code == 0) {
				t.Errorf("%d: code = %q", code, got.Code)
			}
			got.Code, got.Detail, got.RetryAfter = "", "", 0
			if got != want {
				t.Errorf("%d: got %+v, want %+v", code, got, want)
			}
		}
	}
}

func TestState(t *testing.T) {
	for word, want := range map[string]paylink.MessageState{
		"accepted": paylink.MessageAccepted, "scheduled": paylink.MessageAccepted, "queued": paylink.MessageAccepted, "sending": paylink.MessageAccepted,
		"sent": paylink.MessageSent, "partially_delivered": paylink.MessageSent, "delivered": paylink.MessageDelivered, "read": paylink.MessageRead,
		"failed": paylink.MessageFailed, "undelivered": paylink.MessageUndelivered, "canceled": paylink.MessageFailed,
	} {
		if got, ok := twilio.State(word); !ok || got != want {
			t.Errorf("%s: %s, %v; want %s", word, got, ok, want)
		}
	}
	for _, word := range []string{"", "receiving", "received", "Delivered"} {
		if got, ok := twilio.State(word); ok {
			t.Errorf("%q: %s", word, got)
		}
	}
}

// sign makes a signature by Twilio's published rule, independently of the library.
func sign(token, address string, form url.Values) string {
	h := hmac.New(sha1.New, []byte(token))
	h.Write([]byte(address))
	for _, key := range slices.Sorted(maps.Keys(form)) {
		h.Write([]byte(key + form.Get(key)))
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func TestValidSignature(t *testing.T) {
	const address = "https://school.example/hooks/twilio/status?a=" + token
	form := url.Values{"MessageSid": {"SM1"}, "MessageStatus": {"delivered"}, "To": {payer}, "Empty": {""}}
	body := []byte(form.Encode())
	good := sign("new", address, form)
	for _, tt := range []struct {
		name      string
		tokens    []string
		url       string
		body      []byte
		signature string
		want      bool
	}{
		{"good", []string{"new"}, address, body, good, true},
		{"second of two keys", []string{"old", "new"}, address, body, good, true},
		{"first of two keys", []string{"new", ""}, address, body, good, true},
		{"another key", []string{"old"}, address, body, good, false},
		{"no key", nil, address, body, good, false},
		{"signed with an empty key", []string{""}, address, body, sign("", address, form), false},
		{"no signature", []string{"new"}, address, body, "", false},
		{"port on our side", []string{"new"}, strings.Replace(address, ".example", ".example:443", 1), body, good, true},
		{"signed without fragment", []string{"new"}, address + "#rc=3", body, good, true},
		{"signed with fragment", []string{"new"}, address + "#rc=3", body, sign("new", address+"#rc=3", form), true},
		{"http for https", []string{"new"}, strings.Replace(address, "https", "http", 1), body, good, false},
		{"another query", []string{"new"}, address + "1", body, good, false},
		{"slash at the end", []string{"new"}, strings.Replace(address, "status", "status/", 1), body, good, false},
		{"changed body", []string{"new"}, address, bytes.Replace(body, []byte("delivered"), []byte("failed"), 1), good, false},
		{"unreadable body", []string{"new"}, address, []byte("%zz"), good, false},
		{"unreadable address", []string{"new"}, "https://%zz", body, good, false},
	} {
		if got := twilio.ValidSignature(tt.tokens, tt.url, tt.body, tt.signature); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// FuzzSignature looks for a body or address that passes without the key, and for a crash.
func FuzzSignature(f *testing.F) {
	f.Add("https://school.example/x?a=1", []byte("MessageSid=SM1&MessageStatus=sent"), "AAAA")
	f.Add("https://school.example/x?bodySHA256=00", []byte(`{"a":1}`), "")
	f.Add("http://[::1]:80/#rc=5", []byte("a=1&a=2;b"), "x")
	f.Add("%zz", []byte("%"), "=")
	f.Fuzz(func(t *testing.T, address string, body []byte, signature string) {
		if twilio.ValidSignature([]string{authToken, ""}, address, body, signature) {
			t.Errorf("passed without the key: %q %q %q", address, body, signature)
		}
	})
}

// FuzzErrorBody gives Send whatever an error page may hold: the status decides, and no word of the page comes out.
func FuzzErrorBody(f *testing.F) {
	f.Add(uint16(400), []byte(`{"code":21610,"message":"`+payer+`","status":200}`))
	f.Add(uint16(429), []byte(`{"code":"20429"}`))
	f.Add(uint16(502), []byte("<html>"))
	f.Add(uint16(201), []byte(`{"sid":null}`))
	f.Add(uint16(400), []byte(`[]`))
	f.Add(uint16(400), []byte(`{"code":1e99,"details":{"a":[null]}}`))
	f.Add(uint16(403), []byte(``))
	var status uint16
	var body []byte
	s := newStandIn(f, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status))
		_, _ = w.Write(body)
	})
	c := newClient(f, s.URL, nil)
	f.Fuzz(func(t *testing.T, code uint16, page []byte) {
		status, body = 200+code%400, page
		_, err := c.Send(t.Context(), sms(), proceed)
		if err == nil {
			if status >= 300 {
				t.Errorf("http %d was a success", status)
			}
			return
		}
		got := failure(t, err)
		switch {
		case status >= 500 && got.Kind != paylink.Unknown,
			status >= 400 && status < 500 && got.Kind == paylink.Unknown && got.Code != "30410",
			status == 429 && got.Kind == paylink.Permanent && strings.HasPrefix(got.Code, "http"):
			t.Errorf("http %d with %q is %+v", status, page, got)
		}
	})
}

// BenchmarkSend includes the HTTP server, which runs in the same process; cpu-µs/send is of both.
func BenchmarkSend(b *testing.B) {
	s := newStandIn(b, nil)
	s.Config.Handler = say(201, created)
	c := newClient(b, s.URL, func(c *twilio.Config) {
		c.StatusCallback, c.Transport = "https://school.example/hooks/twilio/status", nil
	})
	m := sms()
	before := cpu()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Send(b.Context(), m, proceed); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpu()-before)/1e3/float64(b.N), "cpu-µs/send")
}

// cpu is the time that this process has spent on processors, in nanoseconds.
func cpu() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
