package twilio_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dunlin/notify/twilio"
	"dunlin/paylink"
	"dunlin/sandbox"
)

const hookURL = "https://pay.example.test/hooks/twilio/status"

func posted(target, body, signature string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("X-Twilio-Signature", signature)
	return r
}

func TestVerify(t *testing.T) {
	form := url.Values{"MessageSid": {"SM1"}, "MessageStatus": {"sent"}, "To": {payer}}
	const query = "?a=2f.SECRET%20x"
	sign := func(token, target string) string { return sandbox.SignCallback(token, target, form) }
	good := sign(authToken, hookURL+query)
	hook := twilio.Signed{URL: hookURL, Tokens: []string{authToken, "old"}}
	for _, tt := range []struct {
		name, target, signature string
		hook                    twilio.Signed
		want                    bool
	}{
		{"as given", hookURL + query, good, hook, true},
		{"by the proxy's name", "http://10.0.0.7:8080/hooks/twilio/status" + query, good, hook, true},
		{"old token", hookURL + query, sign("old", hookURL+query), hook, true},
		{"token of nobody", hookURL + query, sign("other", hookURL+query), hook, false},
		{"empty token", hookURL + query, sign("", hookURL+query), twilio.Signed{URL: hookURL, Tokens: []string{""}}, false},
		{"another attempt's token", hookURL + "?a=2g.SECRET%20x", good, hook, false},
		{"query encoded anew", hookURL + "?a=2f.SECRET+x", good, hook, false},
		{"no query", hookURL, good, hook, false},
		{"no signature", hookURL + query, "", hook, false},
		{"fragment configured, not signed", hookURL + query, good, twilio.Signed{URL: hookURL + "#rc=2", Tokens: hook.Tokens}, true},
		{"another address", hookURL + query, good, twilio.Signed{URL: "https://evil.example/hooks/twilio/status", Tokens: hook.Tokens}, false},
	} {
		r := posted(tt.target, form.Encode(), tt.signature)
		r.Host = "evil.example"
		if got := tt.hook.Verify(r, []byte(form.Encode())); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	if hook.Verify(posted(hookURL+query, "", good), []byte(form.Encode()+"&MessageStatus=delivered&x=y")) {
		t.Error("a body with more in it was taken")
	}
}

func TestStatusCallbacks(t *testing.T) {
	var c twilio.StatusCallbacks
	for _, tt := range []struct {
		name, query, body, kept string
		want                    paylink.MessageReceipt
	}{
		{"delivered", "?a=2f.S", "MessageSid=SM1&SmsSid=SM1&MessageStatus=delivered&To=%2B15005550006&From=%2B1500", "MessageSid=SM1&MessageStatus=delivered&a=2f.S",
			paylink.MessageReceipt{Token: "2f.S", Ref: "SM1", State: paylink.MessageDelivered, RawState: "delivered"}},
		{"by the old names", "?a=t", "SmsSid=SM1&SmsStatus=sent", "MessageSid=SM1&MessageStatus=sent&a=t",
			paylink.MessageReceipt{Token: "t", Ref: "SM1", State: paylink.MessageSent, RawState: "sent"}},
		{"undelivered", "?a=t", "MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30005", "ErrorCode=30005&MessageSid=SM1&MessageStatus=undelivered&a=t",
			paylink.MessageReceipt{Token: "t", Ref: "SM1", State: paylink.MessageUndelivered, RawState: "undelivered", Failure: twilio.Reported(30005)}},
		{"failed with a code that is none", "?a=t", "MessageSid=SM1&MessageStatus=failed&ErrorCode=x", "ErrorCode=x&MessageSid=SM1&MessageStatus=failed&a=t",
			paylink.MessageReceipt{Token: "t", Ref: "SM1", State: paylink.MessageFailed, RawState: "failed", Failure: twilio.Reported(0)}},
		{"a new word", "?a=t", "MessageSid=SM1&MessageStatus=teleported", "MessageSid=SM1&MessageStatus=teleported&a=t",
			paylink.MessageReceipt{Token: "t", Ref: "SM1", RawState: "teleported"}},
		{"without token", "", "MessageSid=SM1&MessageStatus=sent", "MessageSid=SM1&MessageStatus=sent",
			paylink.MessageReceipt{Ref: "SM1", State: paylink.MessageSent, RawState: "sent"}},
		{"no SID", "?a=t", "MessageStatus=sent", "", paylink.MessageReceipt{}},
		{"a SID that is none", "?a=t", "MessageSid=..%2F&MessageStatus=sent", "", paylink.MessageReceipt{}},
		{"no status", "?a=t", "MessageSid=SM1", "", paylink.MessageReceipt{}},
		{"long token", "?a=" + strings.Repeat("t", 65), "MessageSid=SM1&MessageStatus=sent", "", paylink.MessageReceipt{}},
		{"not a form", "?a=t", "%zz", "", paylink.MessageReceipt{}},
	} {
		kept := c.Keep(posted(hookURL+tt.query, tt.body, ""), []byte(tt.body))
		if string(kept) != tt.kept {
			t.Errorf("%s: kept %q, want %q", tt.name, kept, tt.kept)
		}
		if kept == nil {
			continue
		}
		got, err := c.Read(kept)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for _, kept := range []string{"", "MessageStatus=sent", "%"} {
		if _, err := c.Read([]byte(kept)); err == nil {
			t.Errorf("%q was read", kept)
		}
	}
}

func TestReplies(t *testing.T) {
	var c twilio.Replies
	for _, tt := range []struct {
		name, from, word, optOut string
		channel                  paylink.Channel // "" = nothing is kept
		lift                     bool
	}{
		{"stop", payer, "STOP", "", paylink.SMS, false},
		{"in passing", payer, " stop. \n", "", paylink.SMS, false},
		{"in Arabic", "whatsapp:" + payer, "إيقاف", "", paylink.WhatsApp, false},
		{"told by Twilio", "whatsapp:" + payer, "لا أريد", "STOP", paylink.WhatsApp, false},
		{"start", payer, "Start", "", paylink.SMS, true},
		{"unstop", payer, "UNSTOP", "START", paylink.SMS, true},
		{"help", payer, "STOP", "HELP", "", false},
		{"a sentence", payer, "please stop the clock", "", "", false},
		{"nothing", payer, "", "", "", false},
		{"from a name", "School", "STOP", "", "", false},
	} {
		body := url.Values{"MessageSid": {"SM1"}, "From": {tt.from}, "To": {"+15005550006"}, "Body": {tt.word}, "OptOutType": {tt.optOut}}.Encode()
		key, kept := c.Keep(nil, []byte(body))
		if (kept != nil) != (tt.channel != "") {
			t.Errorf("%s: kept %q", tt.name, kept)
		}
		if kept == nil {
			continue
		}
		if key != "SM1" || strings.Contains(string(kept), payer[1:]) || strings.Contains(string(kept), url.QueryEscape(tt.word)) && tt.word != "STOP" {
			t.Errorf("%s: kept %q under %q", tt.name, kept, key)
		}
		s, lift, err := c.Read(kept)
		if err != nil || lift != tt.lift || s.Channel != tt.channel || s.Key() != paylink.AddressHash(tt.channel, payer) {
			t.Errorf("%s: got %+v, %v, %v", tt.name, s, lift, err)
		}
	}
	for _, kept := range []string{"", "Wish=STOP", "Wish=GO&Channel=sms&Address=x", "Wish=STOP&Channel=email&Address=x", "%"} {
		if _, _, err := c.Read([]byte(kept)); err == nil {
			t.Errorf("%q was read", kept)
		}
	}
}

// FuzzCallbacks reads whatever comes: nothing may panic, what is kept can be read and stays the same when it is kept
// again, and what nobody signed is not taken.
func FuzzCallbacks(f *testing.F) {
	f.Add("a=2f.S", "MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30005&From=%2B15005550006", "c2ln")
	f.Add("", "MessageSid=SM1&From=whatsapp:%2B15005550006&Body=STOP", "")
	f.Add("bodySHA256=00", `{"MessageSid":"SM1"}`, "=")
	f.Fuzz(func(t *testing.T, query, body, signature string) {
		r := posted(hookURL, body, signature)
		r.URL.RawQuery = query
		if (twilio.Signed{URL: hookURL, Tokens: []string{authToken}}).Verify(r, []byte(body)) {
			t.Error("taken without the key")
		}
		var c twilio.StatusCallbacks
		if kept := c.Keep(r, []byte(body)); kept != nil {
			got, err := c.Read(kept)
			if err != nil {
				t.Fatalf("kept %q cannot be read: %v", kept, err)
			}
			if (got.State == paylink.MessageFailed || got.State == paylink.MessageUndelivered) != (got.Failure != nil) {
				t.Errorf("got %+v", got)
			}
			again := posted(hookURL, "", "")
			again.URL.RawQuery = "a=" + url.QueryEscape(got.Token)
			if twice := c.Keep(again, kept); string(twice) != string(kept) {
				t.Errorf("kept %q, then %q", kept, twice)
			}
		}
		if _, kept := (twilio.Replies{}).Keep(r, []byte(body)); kept != nil {
			if _, _, err := (twilio.Replies{}).Read(kept); err != nil {
				t.Fatalf("kept %q cannot be read: %v", kept, err)
			}
		}
	})
}
