package sandbox_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"dunlin/sandbox"
)

// FuzzOttuCreate: any body gets 201 with a session that can be read back, or 400 with a JSON object, and never both.
func FuzzOttuCreate(f *testing.F) {
	for _, seed := range []string{
		order("a"), `{`, `null`, `[]`, `{}`, `{"amount":"1e9"}`, order("a", "amount", `"00012.5"`), order("a", "amount", `"٣"`),
		order("a", "pg_codes", `[null]`), order("a", "notifications", `{"email":null}`), order("a", "extra", `{"a":{"b":[1]}}`),
		order("\u0000"), order("a", "due_datetime", `"31/02/2026 10:00"`), order("a", "expiration_time", `"9999 23:59:59"`),
	} {
		f.Add(seed)
	}
	s := start(f, sandbox.Config{})
	f.Fuzz(func(t *testing.T, body string) {
		s.Reset()
		r := httptest.NewRequest("POST", sessions, strings.NewReader(body))
		r.Header.Set("Authorization", "Api-Key "+s.Config().APIKey)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		var out map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatalf("answer %q is no JSON object: %v", w.Body, err)
		}
		made := s.Sessions()
		switch {
		case w.Code == http.StatusCreated && len(made) == 1 && made[0].ID == out["session_id"] && made[0].Amount == out["amount"]:
		case w.Code == http.StatusBadRequest && len(made) == 0:
		default:
			t.Errorf("got %d with %d sessions: %s", w.Code, len(made), w.Body)
		}
	})
}

// FuzzTwilioSend: any form gets 201 and is kept, or 400 with a code, and never both.
func FuzzTwilioSend(f *testing.F) {
	wa := url.Values{"To": {"whatsapp:+96550001234"}, "From": {sandbox.WhatsAppFrom}, "ContentSid": {sandbox.LinkTemplateEN}, "ContentVariables": {`{"1":"a"}`}}
	for _, seed := range []string{sms("+96550001234").Encode(), wa.Encode(), "", "%", "a;b", "To=%00", "To=whatsapp:", "StatusCallback=%zz", "To=+1&From=" + strings.Repeat("x", 12)} {
		f.Add(seed)
	}
	s := start(f, sandbox.Config{})
	f.Fuzz(func(t *testing.T, body string) {
		s.Reset()
		if v, err := url.ParseQuery(body); err == nil && v.Has("StatusCallback") {
			v.Set("StatusCallback", "http://_bad") // post nothing to addresses made up by the fuzzer
			body = v.Encode()
		}
		r := httptest.NewRequest("POST", messages(s), strings.NewReader(body))
		r.SetBasicAuth(s.Config().AccountSID, s.Config().AuthToken)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		var out map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatalf("answer %q is no JSON object: %v", w.Body, err)
		}
		kept := len(s.Messages())
		if !(w.Code == http.StatusCreated && kept == 1) && !(w.Code == http.StatusBadRequest && kept == 0 && out["code"] != nil) {
			t.Errorf("got %d with %d messages: %s", w.Code, kept, w.Body)
		}
	})
}
