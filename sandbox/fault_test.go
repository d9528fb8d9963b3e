package sandbox_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"dunlin/sandbox"
)

func TestHTTPFaults(t *testing.T) {
	type rule = sandbox.Rule
	tests := []struct {
		name   string
		rule   rule
		status int // 0 = no (whole) answer
		code   float64
		done   bool
	}{
		{"fail_before", rule{Action: sandbox.FailBefore}, 0, 0, false},
		{"lose_answer", rule{Action: sandbox.LoseAnswer}, 0, 0, true},
		{"cut_body", rule{Action: sandbox.CutBody}, 0, 0, true},
		{"html_502", rule{Action: sandbox.HTML502}, 502, 0, false},
		{"html_502 done", rule{Action: sandbox.HTML502, Done: true}, 502, 0, true},
		{"refuse", rule{Action: sandbox.Refuse}, 503, 20503, false},
		{"refuse with a status", rule{Action: sandbox.Refuse, Status: 423}, 423, 20423, false},
		{"429", rule{Action: sandbox.Refuse, Status: 429}, 429, 20429, false},
		{"429 with Retry-After", rule{Action: sandbox.Refuse, Status: 429, RetryAfter: 7}, 429, 20429, false},
		{"refuse with a body", rule{Action: sandbox.Refuse, Status: 500, Body: "<h1>"}, 500, 0, false},
		{"slow", rule{Action: sandbox.Slow, Delay: time.Millisecond}, 201, 0, true},
		{"slow after", rule{Action: sandbox.Slow, Delay: time.Millisecond, Done: true}, 201, 0, true},
	}
	for _, tt := range tests {
		for _, p := range []sandbox.Provider{sandbox.Ottu, sandbox.Twilio} {
			t.Run(string(p)+" "+tt.name, func(t *testing.T) {
				s := start(t, sandbox.Config{})
				tt.rule.Provider = p
				addFault(t, s, tt.rule)
				var a answer
				count := func() int { return len(s.Sessions()) }
				if p == sandbox.Ottu {
					a = ottu(t, s, "POST", sessions, order("o"))
				} else {
					a = send(t, s, sms("+96550001234"))
					count = func() int { return len(s.Messages()) }
				}
				if (tt.status == 0) != (a.err != nil) || tt.status != 0 && a.status != tt.status {
					t.Errorf("got %d, %v, want %d", a.status, a.err, tt.status)
				}
				if tt.rule.Action == sandbox.CutBody && !errors.Is(a.err, io.ErrUnexpectedEOF) {
					t.Errorf("cut body: got %v, want an unexpected EOF after 201", a.err)
				}
				if tt.rule.Action == sandbox.HTML502 && !strings.HasPrefix(a.text, "<html>") {
					t.Errorf("got %q, want a page", a.text)
				}
				if want := map[int]string{7: "7"}[tt.rule.RetryAfter]; tt.status >= 400 && a.header.Get("Retry-After") != want {
					t.Errorf("Retry-After: got %q, want %q", a.header.Get("Retry-After"), want)
				}
				if p == sandbox.Twilio && tt.code != 0 && a.body["code"] != tt.code {
					t.Errorf("code: got %v, want %v", a.body["code"], tt.code)
				}
				if got, want := count(), map[bool]int{true: 1}[tt.done]; got != want {
					t.Errorf("done: got %d, want %d", got, want)
				}
			})
		}
	}
}

func TestChangeMadeAnswerLost(t *testing.T) {
	s := start(t, sandbox.Config{})
	id := create(t, s, "chg")
	addFault(t, s, sandbox.Rule{Provider: sandbox.Ottu, Op: "update", Contains: "chg", Action: sandbox.LoseAnswer})
	addFault(t, s, sandbox.Rule{Provider: sandbox.Ottu, Op: "expire", Contains: "chg", Action: sandbox.LoseAnswer})
	if a := ottu(t, s, "PATCH", sessions+id+"/", `{"amount":"99"}`); a.err == nil {
		t.Errorf("PATCH: got an answer, %d", a.status)
	}
	if a := operate(t, s, "expire", "chg"); a.err == nil {
		t.Errorf("expire: got an answer, %d", a.status)
	}
	if x, _ := s.Session(id); x.Amount != "99.000" || x.State != "expired" {
		t.Errorf("got %s, %s, want 99.000, expired", x.Amount, x.State)
	}
}

func TestLateLandsAfterExpire(t *testing.T) {
	for _, hold := range []bool{false, true} {
		s := start(t, sandbox.Config{})
		addFault(t, s, sandbox.Rule{Name: "late", Provider: sandbox.Ottu, Op: "create", Contains: "ghost", Action: sandbox.Late, Hold: hold})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "POST", s.URL()+sessions, strings.NewReader(order("ghost")))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Api-Key "+s.Config().APIKey)
		r.Header.Set("Content-Type", "application/json")
		answered := make(chan answer)
		go func() { answered <- do(t, r) }()
		wait(t, s, "the call", func() bool { return s.Hits("late") == 1 })
		if hold {
			cancel() // the client's patience
		}
		if a := <-answered; a.err == nil {
			t.Fatalf("hold %v: got an answer, %d", hold, a.status)
		}
		if a := operate(t, s, "expire", "ghost"); a.status != 400 {
			t.Errorf("hold %v: expire before it landed: got %d, want 400", hold, a.status)
		}
		if got := s.Release("late"); got != 1 {
			t.Errorf("released: got %d, want 1", got)
		}
		wait(t, s, "the ghost", func() bool { return len(s.Sessions()) == 1 })
		if got := s.Sessions()[0]; got.State != "created" || got.OrderNo != "ghost" {
			t.Errorf("hold %v: got %s %s, want a payable ghost", hold, got.OrderNo, got.State)
		}
		if a := operate(t, s, "expire", "ghost"); a.status != 200 {
			t.Errorf("hold %v: expire after it landed: got %d, want 200", hold, a.status)
		}
	}
}

func TestLateByDelay(t *testing.T) {
	s := start(t, sandbox.Config{})
	addFault(t, s, sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Action: sandbox.Late, Delay: time.Millisecond})
	if a := send(t, s, sms("+96550001234")); a.err == nil {
		t.Errorf("got an answer, %d", a.status)
	}
	wait(t, s, "the late message", func() bool { return len(s.Messages()) == 1 })
}

func TestHTTPHang(t *testing.T) {
	tests := []struct {
		name          string
		done, release bool
		want          int
	}{
		{"released", false, true, 1},
		{"client leaves, not done", false, false, 0},
		{"client leaves, done", true, false, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, sandbox.Config{})
			addFault(t, s, sandbox.Rule{Name: "h", Provider: sandbox.Twilio, Op: "send", Action: sandbox.Hang, Done: tt.done, Times: 1})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, "POST", s.URL()+messages(s), strings.NewReader(sms("+96550001234").Encode()))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(s.Config().AccountSID, s.Config().AuthToken)
			answered := make(chan answer)
			go func() { answered <- do(t, r) }()
			wait(t, s, "the hang", func() bool { return s.Hits("h") == 1 })
			if tt.release {
				s.Release("h")
			} else {
				cancel()
			}
			if a := <-answered; (a.err == nil) != tt.release {
				t.Errorf("answer: got %d, %v", a.status, a.err)
			}
			if tt.done {
				wait(t, s, "the message", func() bool { return len(s.Messages()) == tt.want })
			}
			if got := len(s.Messages()); got != tt.want {
				t.Errorf("messages: got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestReceiptBeforeAnswer(t *testing.T) {
	s := start(t, sandbox.Config{})
	target, posts := callbackServer(t, s)
	addFault(t, s, sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Action: sandbox.ReceiptFirst})
	f := sms("+96550001234")
	f.Set("StatusCallback", target)
	a := send(t, s, f)
	// Both posts lie in the channel's buffer by the time of the answer, which still says queued.
	if len(posts) != 2 || a.status != 201 || a.body["status"] != "queued" {
		t.Errorf("got %d receipts before %d %v, want 2 before 201 queued", len(posts), a.status, a.body["status"])
	}
}

func TestDroppedCallbacks(t *testing.T) {
	s := start(t, sandbox.Config{})
	target, posts := callbackServer(t, s)
	addFault(t, s, sandbox.Rule{Provider: sandbox.Twilio, Op: "callback", Action: sandbox.Drop})
	f := sms("+96550001234")
	f.Set("StatusCallback", target)
	send(t, s, f)
	wait(t, s, "delivery", func() bool { return s.Counts().MessageStates["delivered"] == 1 })
	if len(posts) != 0 {
		t.Errorf("got %d callbacks, want none", len(posts))
	}
}

func TestRuleConditions(t *testing.T) {
	tests := []struct {
		name string
		rule sandbox.Rule
		want string // f where the rule fired, in five creates of orders a1 b2 a3 b4 a5
	}{
		{"always", sandbox.Rule{}, "fffff"},
		{"times", sandbox.Rule{Times: 2}, "ff..."},
		{"nth", sandbox.Rule{Nth: 3}, "..f.."},
		{"nth and times", sandbox.Rule{Nth: 2, Times: 2}, ".ff.."},
		{"order number", sandbox.Rule{Contains: "a"}, "f.f.f"},
		{"nth of the matching", sandbox.Rule{Contains: "b", Nth: 2}, "...f."},
		{"another op", sandbox.Rule{Op: "expire"}, "....."},
		{"another provider", sandbox.Rule{Provider: sandbox.SMTP}, "....."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, sandbox.Config{})
			tt.rule.Action = sandbox.Refuse
			if tt.rule.Provider == "" {
				tt.rule.Provider = sandbox.Ottu
			}
			addFault(t, s, tt.rule)
			got := ""
			for _, o := range []string{"a1", "b2", "a3", "b4", "a5"} {
				got += map[bool]string{true: ".", false: "f"}[ottu(t, s, "POST", sessions, order(o)).status == 201]
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestProbabilityFollowsTheSeed(t *testing.T) {
	run := func(seed uint64) (got string) {
		s := start(t, sandbox.Config{Seed: seed})
		addFault(t, s, sandbox.Rule{Provider: sandbox.Ottu, Probability: 0.5, Action: sandbox.Refuse})
		for range 24 {
			got += map[bool]string{true: ".", false: "f"}[ottu(t, s, "POST", sessions, order("o")).status == 201]
		}
		return got
	}
	a, b := run(7), run(7)
	if a != b || !strings.Contains(a, "f") || !strings.Contains(a, ".") {
		t.Errorf("got %s and %s, want the same mixture", a, b)
	}
}

func TestBadRules(t *testing.T) {
	s := start(t, sandbox.Config{})
	for name, r := range map[string]sandbox.Rule{
		"no provider":        {Action: sandbox.Refuse},
		"unknown op":         {Provider: sandbox.Ottu, Op: "send", Action: sandbox.Refuse},
		"unknown action":     {Provider: sandbox.Ottu, Action: "explode"},
		"cut body by SMTP":   {Provider: sandbox.SMTP, Action: sandbox.CutBody},
		"lag elsewhere":      {Provider: sandbox.Twilio, Op: "send", Action: sandbox.ListLag},
		"refused callback":   {Provider: sandbox.Twilio, Op: "callback", Action: sandbox.Refuse},
		"probability":        {Provider: sandbox.Ottu, Action: sandbox.Refuse, Probability: 1.5},
		"negative delay":     {Provider: sandbox.Ottu, Action: sandbox.Slow, Delay: -1},
		"status of success":  {Provider: sandbox.Ottu, Action: sandbox.Refuse, Status: 200},
		"enhanced code":      {Provider: sandbox.SMTP, Action: sandbox.Refuse, Enhanced: "4.7"},
		"drop of a send":     {Provider: sandbox.Twilio, Op: "send", Action: sandbox.Drop},
		"duplicate on patch": {Provider: sandbox.Ottu, Op: "update", Action: sandbox.RefuseDuplicate},
	} {
		if err := s.AddFault(r); err == nil {
			t.Errorf("%s: was accepted", name)
		}
	}
}

func TestClearFaultsLetsGo(t *testing.T) {
	s := start(t, sandbox.Config{})
	addFault(t, s, sandbox.Rule{Name: "h", Provider: sandbox.Ottu, Op: "create", Action: sandbox.Hang})
	answered := make(chan answer)
	go func() { answered <- ottu(t, s, "POST", sessions, order("o")) }()
	wait(t, s, "the hang", func() bool { return s.Hits("h") == 1 })
	s.ClearFaults()
	if a := <-answered; a.status != 201 {
		t.Errorf("got %d, %v, want 201", a.status, a.err)
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	s, err := sandbox.Start(sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	addFault(t, s, sandbox.Rule{Name: "h", Provider: sandbox.Ottu, Action: sandbox.Hang})
	addFault(t, s, sandbox.Rule{Name: "l", Provider: sandbox.Twilio, Op: "send", Action: sandbox.Late})
	answered := make(chan answer)
	go func() { answered <- ottu(t, s, "POST", sessions, order("o")) }()
	wait(t, s, "the hang", func() bool { return s.Hits("h") == 1 })
	send(t, s, sms("+96550001234"))
	dial(t, s) // an idle connection
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if a := <-answered; a.err == nil {
		t.Errorf("got %d, want no answer", a.status)
	}
	if got := len(s.Messages()) + len(s.Sessions()); got != 0 {
		t.Errorf("done after Close: got %d, want 0", got)
	}
}
