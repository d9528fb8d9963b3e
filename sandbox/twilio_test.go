package sandbox_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dunlin/sandbox"

	"github.com/google/go-cmp/cmp"
)

func TestSendAnswersAsDocumented(t *testing.T) {
	c := newClock()
	s := start(t, sandbox.Config{Now: c.now})
	a := send(t, s, sms("+96550001234"))
	if a.status != http.StatusCreated {
		t.Fatalf("got %d %s, want 201", a.status, a.text)
	}
	sid, _ := a.body["sid"].(string)
	if !regexp.MustCompile(`^SM[0-9a-f]{32}$`).MatchString(sid) {
		t.Errorf("sid: got %q", sid)
	}
	for k, want := range map[string]any{
		"status": "queued", "to": "+96550001234", "from": sandbox.SMSFrom, "direction": "outbound-api", "num_segments": "1",
		"price": nil, "error_code": nil, "date_created": "Sun, 22 Nov 2026 09:00:00 +0000", "date_sent": nil, "messaging_service_sid": nil,
	} {
		if diff := cmp.Diff(want, a.body[k]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", k, diff)
		}
	}
	wait(t, s, "delivery", func() bool { return s.Counts().MessageStates["delivered"] == 1 })
	got := twilioGet(t, s, strings.TrimSuffix(messages(s), ".json")+"/"+sid+".json")
	if got.status != 200 || got.body["status"] != "delivered" || got.body["price"] != "-0.00750" || got.body["date_sent"] == nil {
		t.Errorf("fetch: got %d %s, want delivered with a price", got.status, got.text)
	}
}

func TestSendRefuses(t *testing.T) {
	s := start(t, sandbox.Config{})
	vars := `{"1":"Sara","2":"KWD 1.000","3":"rent","4":"-","5":"R1","6":"tok"}`
	wa := func(more ...string) url.Values {
		f := url.Values{"To": {"whatsapp:+96550001234"}, "From": {sandbox.WhatsAppFrom}, "ContentSid": {sandbox.LinkTemplateEN}, "ContentVariables": {vars}}
		for i := 0; i < len(more); i += 2 {
			f.Set(more[i], more[i+1])
			if more[i+1] == "" {
				f.Del(more[i])
			}
		}
		return f
	}
	text := func(more ...string) url.Values {
		f := sms("+96550001234")
		for i := 0; i < len(more); i += 2 {
			f.Set(more[i], more[i+1])
			if more[i+1] == "" {
				f.Del(more[i])
			}
		}
		return f
	}
	tests := []struct {
		name string
		form url.Values
		want int // Twilio's code; 0 = accepted
	}{
		{"good SMS", text(), 0},
		{"good WhatsApp", wa(), 0},
		{"no To", text("To", ""), 21604},
		{"no From", text("From", ""), 21603},
		{"no body", text("Body", ""), 21602},
		{"local To", text("To", "50001234"), 21211},
		{"To with spaces", text("To", "+965 5000 1234"), 21211},
		{"bad From", text("From", "+0"), 21212},
		{"alphanumeric From", text("From", "DUNLIN"), 0},
		{"long alphanumeric From", text("From", "DUNLINDUNLIN"), 21212},
		{"Messaging Service", text("From", "", "MessagingServiceSid", "MG"+strings.Repeat("0", 32)), 0},
		{"bad Messaging Service", text("From", "", "MessagingServiceSid", "MG1"), 21701},
		{"mixed channels", text("To", "whatsapp:+96550001234"), 21910},
		{"1600 characters", text("Body", strings.Repeat("x", 1600)), 0},
		{"1601 characters", text("Body", strings.Repeat("x", 1601)), 21617},
		{"callback host", text("StatusCallback", "https://my_host.example.test/x"), 21609},
		{"callback without host", text("StatusCallback", "/x"), 21609},
		{"validity", text("ValidityPeriod", "36001"), 20001},
		{"whatsapp by Body", wa("ContentSid", "", "ContentVariables", "", "Body", "hi"), 63016},
		{"Body and ContentSid", wa("Body", "hi"), 20001},
		{"variables without template", text("ContentVariables", vars), 21654},
		{"malformed ContentSid", wa("ContentSid", "HX1"), 21655},
		{"unknown ContentSid", wa("ContentSid", "HX"+strings.Repeat("f", 32)), 21655},
		{"variables not JSON", wa("ContentVariables", "1=x"), 21656},
		{"number as a value", wa("ContentVariables", `{"1":1}`), 21656},
		{"empty value", wa("ContentVariables", strings.Replace(vars, "rent", "", 1)), 21656},
		{"newline", wa("ContentVariables", strings.Replace(vars, "rent", `a\nb`, 1)), 21656},
		{"tab", wa("ContentVariables", strings.Replace(vars, "rent", `a\tb`, 1)), 21656},
		{"four spaces", wa("ContentVariables", strings.Replace(vars, "rent", "a    b", 1)), 0},
		{"five spaces", wa("ContentVariables", strings.Replace(vars, "rent", "a     b", 1)), 21656},
		{"missing variable", wa("ContentVariables", `{"1":"x"}`), 21656},
		{"surplus variable", wa("ContentVariables", strings.Replace(vars, "{", `{"7":"x",`, 1)), 21656},
		{"too long filled in", wa("ContentVariables", strings.Replace(vars, "rent", strings.Repeat("x", 1024), 1)), 21656},
		{"magic invalid", text("To", "+15005550001"), 21211},
		{"magic unroutable", text("To", "+15005550002"), 21612},
		{"magic geography", text("To", "+15005550003"), 21408},
		{"magic opted out", text("To", "+15005550004"), 21610},
		{"magic landline", text("To", "+15005550009"), 21614},
		{"magic foreign sender", text("From", "+15005550007"), 21606},
		{"magic full queue", text("From", "+15005550008"), 21611},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := s.Counts().Messages
			a := send(t, s, tt.form)
			if tt.want == 0 {
				if a.status != 201 {
					t.Errorf("got %d %s, want 201", a.status, a.text)
				}
				return
			}
			want := map[string]any{
				"code": float64(tt.want), "status": 400.0, "more_info": fmt.Sprintf("https://www.twilio.com/docs/errors/%d", tt.want), "message": a.body["message"],
			}
			if diff := cmp.Diff(want, a.body); a.status != 400 || diff != "" {
				t.Errorf("got %d (-want +got):\n%s", a.status, diff)
			}
			if got := s.Counts().Messages; got != before {
				t.Errorf("a refused message was kept")
			}
		})
	}
}

func TestTwilioRefusesRequests(t *testing.T) {
	s := start(t, sandbox.Config{})
	r := newRequest(t, "POST", s.URL()+messages(s), sms("+96550001234").Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if a := do(t, r); a.status != 401 || a.body["code"] != 20003.0 {
		t.Errorf("without credentials: got %d %s, want 401 20003", a.status, a.text)
	}
	r = newRequest(t, "POST", s.URL()+messages(s), `{"To":"+96550001234"}`)
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth(s.Config().AccountSID, s.Config().AuthToken)
	if a := do(t, r); a.status != 400 || a.body["code"] != 21604.0 {
		t.Errorf("JSON body: got %d %s, want 400 21604", a.status, a.text)
	}
	if a := twilioGet(t, s, "/2010-04-01/Accounts/AC2/Messages.json"); a.status != 404 || a.body["code"] != 20404.0 {
		t.Errorf("another account: got %d %s, want 404 20404", a.status, a.text)
	}
	if a := twilioGet(t, s, strings.TrimSuffix(messages(s), ".json")+"/SM1.json"); a.status != 404 {
		t.Errorf("unknown message: got %d, want 404", a.status)
	}
	if a := twilioGet(t, s, "/2010-04-01/Accounts/"+s.Config().AccountSID+".json"); a.status != 200 || a.body["status"] != "active" {
		t.Errorf("account: got %d %s, want active", a.status, a.text)
	}
}

func TestSegments(t *testing.T) {
	s := start(t, sandbox.Config{})
	for name, tt := range map[string]struct{ body, want string }{
		"160":             {strings.Repeat("a", 160), "1"},
		"161":             {strings.Repeat("a", 161), "2"},
		"euro counts two": {strings.Repeat("€", 81), "2"},
		"70 Arabic":       {strings.Repeat("م", 70), "1"},
		"71 Arabic":       {strings.Repeat("م", 71), "2"},
		"nbsp is UCS-2":   {strings.Repeat("a", 70) + "\u00a0", "2"},
		"emoji is a pair": {strings.Repeat("😀", 36), "2"},
	} {
		t.Run(name, func(t *testing.T) {
			f := sms("+96550001234")
			f.Set("Body", tt.body)
			if got := send(t, s, f).body["num_segments"]; got != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
}

func TestList(t *testing.T) {
	c := newClock()
	s := start(t, sandbox.Config{Now: c.now})
	var want []string
	for i := range 5 {
		c.add(time.Minute)
		f := sms("+96550001234")
		f.Set("Body", fmt.Sprint("m", i))
		send(t, s, f)
		send(t, s, sms("+96550009999"))
		want = append([]string{fmt.Sprint("m", i)}, want...)
	}
	wait(t, s, "delivery", func() bool { return s.Counts().MessageStates["delivered"] == 10 })
	path := messages(s) + "?PageSize=2&To=" + url.QueryEscape("+96550001234")
	var got []string
	for path != "" {
		a := twilioGet(t, s, path)
		if a.status != 200 {
			t.Fatalf("got %d %s", a.status, a.text)
		}
		for _, m := range a.body["messages"].([]any) {
			got = append(got, m.(map[string]any)["body"].(string))
		}
		path, _ = a.body["next_page_uri"].(string)
		if len(got) == 2 {
			send(t, s, sms("+96550001234")) // must not shift the next page
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bodies, newest first (-want +got):\n%s", diff)
	}
	count := func(query string) int {
		a := twilioGet(t, s, messages(s)+"?"+query)
		list, _ := a.body["messages"].([]any)
		if a.status != 200 {
			return -a.status
		}
		return len(list)
	}
	for name, tt := range map[string]struct {
		query string
		want  int
	}{
		"sent since yesterday":   {"DateSent%3E=2026-11-21", 11},
		"sent before yesterday":  {"DateSent%3C=2026-11-21", 0},
		"sent since, RFC 3339":   {"DateSent%3E=2026-11-22T09:05:00Z", 3},
		"sent today":             {"DateSent=2026-11-22", 11},
		"from somebody else":     {"From=%2B15005550000", 0},
		"page size out of range": {"PageSize=1001", -400},
		"bad date":               {"DateSent=yesterday", -400},
	} {
		t.Run(name, func(t *testing.T) {
			wait(t, s, "delivery", func() bool { return s.Counts().MessageStates["delivered"] == 11 })
			if got := count(tt.query); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	addFault(t, s, sandbox.Rule{Provider: sandbox.Twilio, Op: "list", Action: sandbox.ListLag, Delay: 2 * time.Minute})
	if got := count("PageSize=1000"); got != 6 { // of minutes 1 to 3 only
		t.Errorf("with a lag: got %d, want 6", got)
	}
}

// callbackServer collects what is posted to it; a wrong signature fails the test.
func callbackServer(t *testing.T, s *sandbox.Sandbox) (target string, posts chan url.Values) {
	t.Helper()
	posts = make(chan url.Values, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		if got, want := r.Header.Get("X-Twilio-Signature"), sandbox.SignCallback(s.Config().AuthToken, "http://"+r.Host+r.URL.RequestURI(), r.PostForm); got != want {
			t.Errorf("signature: got %q, want %q", got, want)
		}
		posts <- r.PostForm
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/status?a=token", posts
}

func TestSignCallbackVector(t *testing.T) {
	// The example of Twilio's security page.
	params := url.Values{
		"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675310"}, "Digits": {"1234"}, "From": {"+14158675310"}, "To": {"+18005551212"},
	}
	const target, want = "https://example.com/myapp.php?foo=1&bar=2", "L/OH5YylLD5NRKLltdqwSvS0BnU="
	for _, fragment := range []string{"", "#rc=5"} {
		if got := sandbox.SignCallback("12345", target+fragment, params); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestCallbacks(t *testing.T) {
	service := "MG" + strings.Repeat("0", 32)
	tests := []struct {
		name, to, service string
		fault             sandbox.Action
		want              []string // status and error code
	}{
		{name: "with From", to: "+96550001234", want: []string{"sent", "delivered"}},
		{name: "with a Messaging Service", to: "+96550001234", service: service, want: []string{"queued", "sent", "delivered"}},
		{name: "unreachable", to: "+96550030003", want: []string{"sent", "undelivered 30003"}},
		{name: "queue overflow", to: "+96550030001", want: []string{"failed 30001"}},
		{name: "doubled", to: "+96550001234", fault: sandbox.Double, want: []string{"sent", "sent", "delivered", "delivered"}},
		{name: "shuffled", to: "+96550001234", fault: sandbox.Shuffle, want: []string{"delivered", "sent"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, sandbox.Config{})
			target, posts := callbackServer(t, s)
			if tt.fault != "" {
				addFault(t, s, sandbox.Rule{Provider: sandbox.Twilio, Op: "callback", Action: tt.fault})
			}
			f := sms(tt.to)
			f.Set("StatusCallback", target)
			if tt.service != "" {
				f.Set("MessagingServiceSid", tt.service)
				f.Del("From")
			}
			sid := send(t, s, f).body["sid"]
			wait(t, s, "callbacks", func() bool { return int(s.Counts().Calls["twilio.callback"]) == len(tt.want) })
			var got []string
			for range tt.want {
				p := <-posts
				got = append(got, strings.TrimSpace(p.Get("MessageStatus")+" "+p.Get("ErrorCode")))
				if p.Get("MessageSid") != sid {
					t.Errorf("MessageSid: got %s, want %s", p.Get("MessageSid"), sid)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAsyncErrorsByNumber(t *testing.T) {
	s := start(t, sandbox.Config{})
	codes := 0
	for code, status := range sandbox.AsyncErrors {
		f := sms(fmt.Sprintf("+965500%05d", code))
		if code >= 63000 {
			f = url.Values{"To": {"whatsapp:" + f.Get("To")}, "From": {sandbox.WhatsAppFrom}, "ContentSid": {sandbox.LinkTemplateAR},
				"ContentVariables": {`{"1":"a","2":"b","3":"c","4":"d","5":"e","6":"f"}`}}
		}
		if a := send(t, s, f); a.status != 201 {
			t.Fatalf("%d: got %d %s, want 201", code, a.status, a.text)
		}
		codes++
		wait(t, s, "the end of the course", func() bool {
			return slices.ContainsFunc(s.Messages(), func(m sandbox.Message) bool { return m.ErrorCode == code && m.Status == status })
		})
	}
	if got := len(s.Messages()); got != codes {
		t.Errorf("messages: got %d, want %d", got, codes)
	}
}

func TestTemplateIsFilledIn(t *testing.T) {
	s := start(t, sandbox.Config{PayBase: "https://pay.example.test/p/"})
	send(t, s, url.Values{"To": {"whatsapp:+96550001234"}, "From": {sandbox.WhatsAppFrom}, "ContentSid": {sandbox.LinkTemplateEN},
		"ContentVariables": {`{"1":"Sara","2":"KWD 1.000","3":"rent","4":"1 Dec","5":"R1","6":"tok"}`}})
	want := "Hello Sara, please pay KWD 1.000 for rent, due 1 Dec.\nReference: R1\nPay here: https://pay.example.test/p/tok"
	if got := s.Messages()[0].Body; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
