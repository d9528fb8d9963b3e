package twilio_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/notify"
	"dunlin/paylink"
)

var began = time.Date(2026, 3, 1, 9, 30, 0, 500, time.UTC)

type resource map[string]any

func listed(edit resource) resource {
	r := resource{"sid": "SM1", "to": payer, "body": "Pay: https://pay.example/p/mark1", "direction": "outbound-api", "status": "sent",
		"date_created": began.Format(time.RFC1123Z), "date_sent": nil, "num_segments": "1"}
	for k, v := range edit {
		r[k] = v
	}
	return r
}

func page(w http.ResponseWriter, next string, messages ...resource) {
	body := map[string]any{"messages": messages, "page": 0}
	if next != "" {
		body["next_page_uri"] = next
	}
	_ = json.NewEncoder(w).Encode(body)
}

func lookup() notify.Lookup {
	return notify.Lookup{Channel: paylink.SMS, To: payer, After: began, Mark: "mark1"}
}

func TestFind(t *testing.T) {
	at := func(d time.Duration) resource {
		return resource{"date_created": began.Add(d).Format(time.RFC1123Z)}
	}
	tests := []struct {
		name string
		list []resource
		want string
	}{
		{"found", []resource{listed(nil)}, "SM1"},
		{"among others", []resource{listed(resource{"sid": "SM0", "body": "another debt"}), listed(nil)}, "SM1"},
		{"the list lags", nil, ""},
		{"Twilio's clock is behind", []resource{listed(at(-2 * time.Minute))}, "SM1"},
		{"an earlier message", []resource{listed(at(-2*time.Minute - time.Second))}, ""},
		{"an answer of the payer", []resource{listed(resource{"direction": "inbound"})}, ""},
		{"another number", []resource{listed(resource{"to": "+96550012346"})}, ""},
		{"redacted", []resource{listed(resource{"body": ""})}, ""},
		{"fields missing", []resource{{"sid": "SM1"}, {}, {"sid": nil, "to": nil}}, ""},
		{"no date", []resource{listed(resource{"date_created": "soon"})}, ""},
		{"no SID", []resource{listed(resource{"sid": nil})}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request) { page(w, "", tt.list...) })
			got, found, err := newClient(t, s.URL, nil).Find(t.Context(), lookup())
			if err != nil || found != (tt.want != "") || got.Ref != tt.want {
				t.Errorf("got %+v, %v, %v; want %q", got, found, err, tt.want)
			}
			if found && (got.State != paylink.MessageSent || got.Segments != 1) {
				t.Errorf("receipt = %+v", got)
			}
			query := s.asked()[0].URL.Query()
			if diff := cmp.Diff(map[string][]string{"To": {payer}, "PageSize": {"100"}}, map[string][]string(query)); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindWhatsApp(t *testing.T) {
	s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request) { page(w, "", listed(resource{"to": "whatsapp:" + payer})) })
	l := lookup()
	l.Channel = paylink.WhatsApp
	if _, found, err := newClient(t, s.URL, nil).Find(t.Context(), l); !found || err != nil {
		t.Errorf("found = %v, %v", found, err)
	}
	if got := s.asked()[0].URL.Query().Get("To"); got != "whatsapp:"+payer {
		t.Errorf("To = %q", got)
	}
}

func TestFindTurnsPagesButNotForEver(t *testing.T) {
	next := "https://evil.example/2010-04-01/Accounts/x/Messages.json?PageSize=100&Page=%d&PageToken=PA%d"
	for _, tt := range []struct{ at, pages int }{{2, 3}, {1000, 5}} {
		n := -1
		s := newStandIn(t, func(w http.ResponseWriter, r *http.Request) {
			if n++; n > 0 && (r.Form.Get("Page") != fmt.Sprint(n) || r.Form.Get("PageToken") != fmt.Sprintf("PA%d", n) || r.Form.Get("To") != payer) {
				t.Errorf("page %d was asked for as %v", n, r.Form)
			}
			if n == tt.at {
				page(w, "", listed(nil))
				return
			}
			page(w, fmt.Sprintf(next, n+1, n+1), listed(resource{"body": "other"}))
		})
		_, found, err := newClient(t, s.URL, nil).Find(t.Context(), lookup())
		if err != nil || found != (tt.at == 2) || len(s.asked()) != tt.pages {
			t.Errorf("found %v, %v after %d pages; want %d", found, err, len(s.asked()), tt.pages)
		}
	}
}

func TestFindErrorsAreTemporary(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		scope  paylink.Scope
	}{
		"500":     {say(500, "{}"), paylink.ScopeProvider},
		"HTML":    {say(200, "<html>"), paylink.ScopeProvider},
		"cut":     {hangUp("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"messages\":["), paylink.ScopeProvider},
		"401":     {say(401, `{"code":20003}`), paylink.ScopeAccount},
		"429":     {say(429, `{"code":20429}`), paylink.ScopeProvider},
		"400":     {say(400, `{"code":1}`), paylink.ScopeRow},
		"gone":    {hangUp(""), paylink.ScopeProvider},
		"elseway": {say(302, ""), paylink.ScopeProvider},
	} {
		s := newStandIn(t, tt.answer)
		c := newClient(t, s.URL, nil)
		_, found, err := c.Find(t.Context(), lookup())
		if f := failure(t, err); found || f.Kind != paylink.Temporary || f.Scope != tt.scope {
			t.Errorf("%s: Find: %v, %+v", name, found, f)
		}
		_, end, err := c.Fetch(t.Context(), "SM1")
		if f := failure(t, err); end != nil || f.Kind != paylink.Temporary || f.Scope != tt.scope {
			t.Errorf("%s: Fetch: %v, %+v", name, end, f)
		}
	}
	c := newClient(t, "http://127.0.0.1:1", nil)
	l := lookup()
	l.Mark = ""
	if _, _, err := c.Find(t.Context(), l); failure(t, err).Cause != paylink.CauseInternal {
		t.Errorf("empty mark: %v", err)
	}
}

func TestFetch(t *testing.T) {
	tests := []struct {
		name string
		body string
		want notify.Receipt
		end  *paylink.Failure
	}{
		{"on its way", `{"sid":"SM1","status":"sent","num_segments":"3"}`, notify.Receipt{Ref: "SM1", State: paylink.MessageSent, Segments: 3}, nil},
		{"new word", `{"sid":"SM1","status":"pondering"}`, notify.Receipt{Ref: "SM1", State: paylink.MessageAccepted}, nil},
		{"no word", `{"sid":"SM1"}`, notify.Receipt{Ref: "SM1", State: paylink.MessageAccepted}, nil},
		{"landline", `{"sid":"SM1","status":"undelivered","error_code":30006}`, notify.Receipt{Ref: "SM1", State: paylink.MessageUndelivered},
			&paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseBadAddress, Code: "30006"}},
		{"no reason", `{"sid":"SM1","status":"failed","error_code":null}`, notify.Receipt{Ref: "SM1", State: paylink.MessageFailed},
			&paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseUndelivered}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStandIn(t, say(200, tt.body))
			got, end, err := newClient(t, s.URL, nil).Fetch(t.Context(), "SM1")
			if err != nil {
				t.Fatal(err)
			}
			if end != nil {
				end.Detail = ""
			}
			if diff := cmp.Diff(tt.want, got) + cmp.Diff(tt.end, end); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if path := s.asked()[0].URL.Path; path != "/2010-04-01/Accounts/"+accountSID+"/Messages/SM1.json" {
				t.Errorf("asked %s", path)
			}
		})
	}
	s := newStandIn(t, say(404, `{"code":20404}`))
	c := newClient(t, s.URL, nil)
	if _, _, err := c.Fetch(t.Context(), "SM1"); !errors.Is(err, paylink.ErrNotFound) {
		t.Errorf("404: %v", err)
	}
	if _, _, err := c.Fetch(t.Context(), "../Calls/CA1"); !errors.Is(err, paylink.ErrInvalid) || len(s.asked()) != 1 {
		t.Errorf("malformed SID: %v", err)
	}
}
