package sandbox_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"dunlin/sandbox"
)

func TestPages(t *testing.T) {
	c := newClock()
	s := start(t, sandbox.Config{Now: c.now})
	const evil = `<script>alert(1)</script>`
	id := create(t, s, "inv-1", "customer_first_name", `"`+evil+`"`)
	ar := create(t, s, "inv-2", "language", `"ar"`)
	if _, err := mail(dial(t, s), "sara@example.test", letter); err != nil {
		t.Fatal(err)
	}
	f := sms("+96550001234")
	f.Set("Body", evil+" javascript:alert(1) https://pay.example.test/p/abc.")
	send(t, s, f)
	tests := []struct {
		name, path string
		status     int
		want       []string
	}{
		{"inbox", "/", 200, []string{"sara@example.test", "دفع", `href="https://pay.example.test/p/abc"`, "+96550001234"}},
		{"search", "/?q=SARA", 200, []string{"sara@example.test"}},
		{"search without a hit", "/?q=" + url.QueryEscape(evil), 200, []string{"No message went"}},
		{"mail", "/mails/1", 200, []string{"d-1.link@example.test", `src="/mails/1/html"`, "https://pay.example.test/p/abc?x=1"}},
		{"unknown mail", "/mails/9", 404, nil},
		{"sessions", "/sessions", 200, []string{"inv-1", "inv-2", "KWD 12.500"}},
		{"sessions search", "/sessions?q=inv-2", 200, []string{"inv-2"}},
		{"payer", "/b/checkout/redirect/start/?session_id=" + id, 200, []string{"KWD 12.500", "Pay half"}},
		{"payer in Arabic", "/b/checkout/redirect/start/?session_id=" + ar, 200, []string{`dir="rtl"`, "ادفع"}},
		{"unknown payer", "/b/checkout/redirect/start/?session_id=x", 404, []string{"does not exist"}},
		{"style", "/sandbox/style.css", 200, []string{"--accent"}},
		{"unknown short link", "/b/s1", 404, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := do(t, newRequest(t, "GET", s.URL()+tt.path, ""))
			if a.status != tt.status {
				t.Fatalf("got %d, want %d", a.status, tt.status)
			}
			for _, w := range tt.want {
				if !strings.Contains(strings.ReplaceAll(a.text, "&#43;", "+"), w) {
					t.Errorf("%q is missing", w)
				}
			}
			if strings.Contains(a.text, evil) || strings.Contains(a.text, `href="javascript`) {
				t.Error("markup of a stranger got through")
			}
		})
	}
	if x, _ := s.Session(id); x.State != "pending" {
		t.Errorf("after the payer looked: got %s, want pending", x.State)
	}
	a := do(t, newRequest(t, "GET", s.URL()+"/mails/1/html", ""))
	if !strings.Contains(a.text, `src="data:image/png;base64,iVBORw0KGgo="`) {
		t.Errorf("inline picture is missing: %s", a.text)
	}
	if csp := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "sandbox ") || strings.Contains(csp, "allow-scripts") {
		t.Errorf("the mail's document is not sandboxed: %q", csp)
	}
}

func TestPaging(t *testing.T) {
	s := start(t, sandbox.Config{})
	for range 41 {
		send(t, s, sms("+96550001234"))
	}
	a := do(t, newRequest(t, "GET", s.URL()+"/", ""))
	if got := strings.Count(a.text, `class="bubble"`); got != 40 || !strings.Contains(a.text, `href="/?before=1"`) {
		t.Errorf("first page: got %d entries, want 40 and a link to the older", got)
	}
	a = do(t, newRequest(t, "GET", s.URL()+"/?before=1", ""))
	if got := strings.Count(a.text, `class="bubble"`); got != 1 || strings.Contains(a.text, "Older") {
		t.Errorf("second page: got %d entries, want 1 and no older", got)
	}
}

func TestPayerButtons(t *testing.T) {
	c := newClock()
	s := start(t, sandbox.Config{Now: c.now})
	press := func(id, outcome string) answer {
		r := newRequest(t, "POST", s.URL()+"/b/checkout/pay/", url.Values{"session_id": {id}, "outcome": {outcome}}.Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return do(t, r)
	}
	id := create(t, s, "p", "redirect_url", `"https://shop.example.test/"`)
	for _, step := range []struct {
		outcome string
		status  int
		state   string
	}{
		{"failed", 200, "attempted"}, {"canceled", 200, "attempted"}, {"steal", 400, "attempted"},
		{"part", 303, "paid"}, {"paid", 409, "paid"},
	} {
		if a := press(id, step.outcome); a.status != step.status {
			t.Errorf("%s: got %d, want %d", step.outcome, a.status, step.status)
		}
		if x, _ := s.Session(id); x.State != step.state {
			t.Errorf("%s: got %s, want %s", step.outcome, x.State, step.state)
		}
	}
	if x, _ := s.Session(id); x.Settled != "6.250" || x.Attempts != 3 {
		t.Errorf("got %s settled in %d attempts, want 6.250 in 3", x.Settled, x.Attempts)
	}
	old := create(t, s, "old", "expiration_time", `"00:01:00"`)
	c.add(time.Minute)
	if a := press(old, "paid"); a.status != 409 || !strings.Contains(a.text, "expired") {
		t.Errorf("overdue: got %d, want 409 and expired", a.status)
	}
	if a := press("none", "paid"); a.status != 404 {
		t.Errorf("unknown: got %d, want 404", a.status)
	}
}

func TestAPI(t *testing.T) {
	s := start(t, sandbox.Config{})
	api := func(method, path, body string) answer {
		t.Helper()
		return do(t, newRequest(t, method, s.URL()+"/sandbox/api/"+path, body))
	}
	list := func(a answer, name string) []any {
		v, _ := a.body[name].([]any)
		return v
	}
	a := api("POST", "faults", `[{"name":"x","provider":"ottu","op":"create","action":"late","times":1,"delay":"1h"},{"provider":"smtp","op":"dot","action":"slow","delay":"250ms"}]`)
	rules := list(a, "faults")
	if a.status != 200 || len(rules) != 2 || rules[1].(map[string]any)["rule"].(map[string]any)["delay"] != "250ms" {
		t.Fatalf("faults: got %d %s, want two rules", a.status, a.text)
	}
	for _, bad := range []string{`{"provider":"ottu","action":"slow","delay":"soon"}`, `[{"provider":"ottu","action":"refuse"},{"provider":"x"}]`, `{`} {
		if a := api("POST", "faults", bad); a.status != 400 {
			t.Errorf("bad rule %s: got %d, want 400", bad, a.status)
		}
	}
	if got := len(s.Faults()); got != 2 {
		t.Errorf("rules after bad ones: got %d, want 2", got)
	}
	ottu(t, s, "POST", sessions, order("late"))
	if a := api("POST", "release", `{"name":"x"}`); a.body["released"] != 1.0 {
		t.Errorf("release: got %s, want 1", a.text)
	}
	wait(t, s, "the late session", func() bool { return len(s.Sessions()) == 1 })
	if a := api("DELETE", "faults", ""); len(list(a, "faults")) != 0 {
		t.Errorf("delete: got %s, want no rules", a.text)
	}

	id := create(t, s, "two")
	a = api("GET", "sessions?limit=1", "")
	if got := list(a, "sessions"); len(got) != 1 || a.body["next"] != 1.0 || got[0].(map[string]any)["order_no"] != "late" {
		t.Errorf("first window: got %s", a.text)
	}
	a = api("GET", "sessions?after=1", "")
	if got := list(a, "sessions"); len(got) != 1 || got[0].(map[string]any)["session_id"] != id {
		t.Errorf("second window: got %s", a.text)
	}
	if a := api("POST", "sessions/"+id+"/pay", `{"outcome":"paid"}`); a.status != 200 {
		t.Errorf("pay: got %d %s, want 200", a.status, a.text)
	}
	for path, want := range map[string]int{"sessions/" + id + "/pay": 409, "sessions/none/pay": 404} {
		if a := api("POST", path, `{"outcome":"paid"}`); a.status != want {
			t.Errorf("%s: got %d, want %d", path, a.status, want)
		}
	}
	send(t, s, sms("+96550001234"))
	send(t, s, sms("+96550001234"))
	if _, err := mail(dial(t, s), "sara@example.test", letter); err != nil {
		t.Fatal(err)
	}
	if got := list(api("GET", "messages?to=1234", ""), "messages"); len(got) != 2 {
		t.Errorf("messages: got %d, want 2", len(got))
	}
	if got := list(api("GET", "mails?to=sara", ""), "mails"); len(got) != 1 || got[0].(map[string]any)["message_id"] != "d-1.link@example.test" {
		t.Errorf("mails: got %v", got)
	}
	if got := list(api("GET", "duplicates", ""), "duplicates"); len(got) != 1 {
		t.Errorf("duplicates: got %v, want 1", got)
	}
	counts := api("GET", "counts", "").body
	if counts["sessions"] != 2.0 || counts["messages"] != 2.0 || counts["mails"] != 1.0 || counts["session_states"].(map[string]any)["paid"] != 1.0 {
		t.Errorf("counts: got %v", counts)
	}
	if a := api("POST", "reset", ""); a.status != 200 || len(s.Sessions())+len(s.Mails())+len(s.Messages()) != 0 {
		t.Errorf("reset: got %d %s, want all gone", a.status, a.text)
	}
	if a := api("PUT", "reset", ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("PUT reset: got %d, want 405", a.status)
	}
}
