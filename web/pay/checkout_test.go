package pay_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// asks posts as the page's script does and returns what is next.
func (w *world) asks(path, session string) string {
	w.Helper()
	a := w.posts(path, url.Values{"session": {session}}, "Accept", "application/json")
	_, next, _ := strings.Cut(a.body, `"next":"`)
	next, _, _ = strings.Cut(next, `"`)
	return next
}

// posts sends a form; headers come in pairs.
func (w *world) posts(path string, form url.Values, headers ...string) answer {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.server.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.client.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	return answer{res.StatusCode, res.Header.Get("Location"), string(b), res.Header}
}

// TestCheckout: the page that holds the provider's checkout shows a session that a POST has given, and no other.
func TestCheckout(t *testing.T) {
	w := newWorld(t, databases[0].open(t), withSDK)
	id, page := w.debt()
	session := w.view(id).Live.ProviderID
	for _, path := range []string{page, page + "/checkout"} {
		if a := w.shows(path, 200, "Payment request", `action="`+page+`/pay"`); strings.Contains(a.body, session) {
			t.Errorf("%s shows the session before anybody has asked for it", path)
		}
	}
	if got := w.clicks(page); got != page+"/checkout" {
		t.Fatalf("sent to %q", got)
	}
	a := w.shows(page+"/checkout", 200, `data-session="`+session+`"`, `data-merchant="`+strings.TrimPrefix(w.box.URL(), "http://")+`"`,
		`data-key="`+w.box.Config().PublicKey+`"`, `data-forms="applePay googlePay ottuPG redirect stcPay urPay"`, `data-error="dunlinHeard"`, `data-cancel=`,
		`data-success=`, `data-beforepayment="dunlinBefore"`, `action="`+page+`/hosted"`, "<noscript>")
	csp := a.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self' " + w.box.URL() + " ", "connect-src 'self' " + w.box.URL(), "frame-ancestors 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("the policy %q has no %q", csp, want)
		}
	}
	if i := strings.Index(csp, "script-src"); strings.Contains(csp[i:i+strings.Index(csp[i:], ";")], "unsafe") {
		t.Errorf("the policy lets scripts in the page run: %q", csp)
	}
	if got := w.do(http.MethodPost, page+"/hosted").location; got != w.view(id).Live.URL {
		t.Errorf("the hosted page is %q", got)
	}
	before, calls := len(w.timeline(id)), w.box.Counts().Calls["ottu.retrieve"]
	w.shows(page+"/checkout?lang=ar", 200, `lang="ar"`, "اختر طريقة الدفع")
	if got := len(w.timeline(id)); got != before || w.box.Counts().Calls["ottu.retrieve"] != calls {
		t.Error("looking at the checkout changed something")
	}
	w.clock.Advance(3 * time.Hour)
	w.shows(page+"/checkout", 200, "Payment request") // the session is dead: press pay again
	_, _ = w.db.CancelRequest(t.Context(), id, "clerk", "")
	w.shows(page+"/checkout", 200, "was canceled")
	ledgertest.Audit(t, w.db)
}

// TestScript: what the callbacks hint at is decided here, by what the provider says of the session.
func TestScript(t *testing.T) {
	w := newWorld(t, databases[0].open(t), withSDK)
	id, page := w.debt()
	w.clicks(page)
	session := w.view(id).Live.ProviderID
	step := func(what, path, session, want string) {
		t.Helper()
		w.clock.Advance(11 * time.Second)
		if got := w.asks(path, session); got != want {
			t.Errorf("%s: next is %q, want %q", what, got, want)
		}
	}
	step("a form error", page+"/check", session, "stay")
	step("about to pay", page+"/pay", session, "stay")
	step("about to pay by another session", page+"/pay", "old", "pay")
	if _, err := w.box.Pay(t.Context(), session, sandbox.PayFail, false); err != nil {
		t.Fatal(err)
	}
	step("declined", page+"/check", session, "stay")
	if err := w.box.AddFault(sandbox.Rule{Provider: sandbox.Ottu, Action: sandbox.Refuse, Status: 503, Times: 1}); err != nil {
		t.Fatal(err)
	}
	step("the provider does not answer", page+"/check", session, "stay")
	w.clock.Advance(3 * time.Hour)
	step("expired", page+"/check", session, "pay")
	w.clicks(page)
	session = w.view(id).Live.ProviderID
	w.hooksDown.Store(true)
	if _, err := w.box.Pay(t.Context(), session, sandbox.PayFull, false); err != nil {
		t.Fatal(err)
	}
	step("paid", page+"/check", session, "result")
	step("about to pay again", page+"/pay", session, "result")
	if v := w.view(id); v.Paid != 12500 {
		t.Errorf("%d is paid", v.Paid)
	}
	w.oneDead()
	a := w.do(http.MethodGet, page)
	_, src, _ := strings.Cut(w.do(http.MethodGet, page+"/checkout").body+a.body, `src="/p/static/`)
	src, _, _ = strings.Cut(src, `"`)
	if a := w.shows("/p/static/"+src, 200, "dunlinHeard"); !strings.Contains(a.header.Get("Cache-Control"), "immutable") ||
		!strings.HasPrefix(a.header.Get("Content-Type"), "text/javascript") {
		t.Errorf("the script comes as %q", a.header)
	}
}

// oneDead checks that what a payer went through left one session that is paid and none that can be.
func (w *world) oneDead() {
	w.Helper()
	for _, s := range w.sessions() {
		if s.State == "created" || s.State == "pending" || s.State == "attempted" {
			w.Errorf("session %s can still be paid", s.ID)
		}
	}
}

// TestSavedCards: a session that may show saved cards is for who has proven to be the payer; a forwarded link is not enough.
func TestSavedCards(t *testing.T) {
	w := newWorld(t, databases[0].open(t), withSDK, withCards)
	id, page := w.debt(customer)
	if s, _ := w.box.Session(w.view(id).Live.ProviderID); s.CustomerID != "" {
		t.Error("dispatch's session shows saved cards to whoever has the link")
	}
	if got := w.clicks(page); got != page+"/cards" {
		t.Fatalf("sent to %q, want the question", got)
	}
	w.shows(page+"/cards", 200, "last four digits", "Pay without saved cards")
	w.has(w.posts(page+"/cards", url.Values{"digits": {"9999"}}), 422, "not the digits")
	a := w.posts(page+"/cards", url.Values{"digits": {"٠٠٠١"}}) // +96550000001
	cookie := a.header.Get("Set-Cookie")
	if a.location != page+"/checkout" || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "Path="+page) || !strings.Contains(cookie, "SameSite=Lax") {
		t.Fatalf("got %d to %q with cookie %q", a.status, a.location, cookie)
	}
	cookie, _, _ = strings.Cut(cookie, ";")
	with := func(path, cookie string) answer {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+path, nil)
		r.Header.Set("Cookie", cookie)
		res, err := w.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return answer{res.StatusCode, "", string(b), res.Header}
	}
	cards := w.view(id).Live.ProviderID
	if s, _ := w.box.Session(cards); s.CustomerID != "cust-1" {
		t.Errorf("the proven payer's session is for customer %q", s.CustomerID)
	}
	w.oneLive()
	w.has(with(page+"/checkout", cookie), 200, `data-session="`+cards+`"`, "tokenPay")
	for name, bad := range map[string]string{"none": "x=1", "another's": cookie[:len(cookie)-2] + "AA", "stretched": "cards=9" + strings.TrimPrefix(cookie, "cards=")} {
		if a := with(page+"/checkout", bad); strings.Contains(a.body, cards) || strings.Contains(a.body, "tokenPay") {
			t.Errorf("cookie %s: the session with saved cards is shown", name)
		}
	}
	if got := w.asks(page+"/check", cards); got == "" {
		t.Error("the script got no answer")
	}
	// Somebody else with the link pays without: not while the payer may be paying, and then by another session.
	if _, err := w.box.Open(cards); err != nil {
		t.Fatal(err)
	}
	w.has(w.posts(page+"/pay", url.Values{"cards": {"no"}}), 200, "is being processed")
	w.clock.Advance(16 * time.Minute)
	if a := w.posts(page+"/pay", url.Values{"cards": {"no"}}); a.location != page+"/checkout" {
		t.Fatalf("got %d to %q", a.status, a.location)
	}
	if v := w.view(id); v.Live.ProviderID == cards || v.Live.Cards {
		t.Errorf("a stranger is given the session %+v", v.Live)
	}
	w.oneLive()
	// The cookie lasts for half an hour.
	w.clock.Advance(15 * time.Minute)
	if a := w.posts(page+"/pay", nil, "Cookie", cookie); a.location != page+"/cards" {
		t.Errorf("after half an hour: sent to %q, want the question", a.location)
	}
	_, page = w.debt(customer)
	for range 5 {
		w.has(w.posts(page+"/cards", url.Values{"digits": {"1234"}}), 422, "not the digits")
	}
	w.has(w.posts(page+"/cards", url.Values{"digits": {"0001"}}), 422, "Too many tries")
	ledgertest.Audit(t, w.db)
}

// TestNoSavedCards: without a customer, a phone number or the setting there is no question.
func TestNoSavedCards(t *testing.T) {
	off := newWorld(t, databases[0].open(t), withSDK)
	_, page := off.debt(customer)
	if got := off.clicks(page); got != page+"/checkout" {
		t.Errorf("switched off: sent to %q", got)
	}
	on := newWorld(t, databases[0].open(t), withSDK, withCards)
	for name, opt := range map[string]ledgertest.Option{
		"no customer": ledgertest.Each(func(*paylink.Row) {}),
		"no phone":    ledgertest.Each(func(r *paylink.Row) { r.CustomerID, r.Phone = "cust-1", "" }),
	} {
		_, page := on.debt(opt)
		if got := on.clicks(page); got != page+"/checkout" {
			t.Errorf("%s: sent to %q", name, got)
		}
		if a := on.posts(page+"/cards", url.Values{"digits": {""}}); a.location != page {
			t.Errorf("%s: digits lead to %q", name, a.location)
		}
	}
}

// TestReplaced: a debt that was called off and is asked for anew says where to look.
func TestReplaced(t *testing.T) {
	w := newWorld(t, databases[0].open(t))
	id, page := w.debt()
	if _, err := w.db.CancelRequest(t.Context(), id, "clerk", "wrong amount"); err != nil {
		t.Fatal(err)
	}
	w.shows(page, 200, "was canceled")
	reference := w.view(id).Request.Reference
	_, newer := w.debt(func(f *ledgertest.File) { f.Rows[0].DebtKey = ledgertest.DebtKey(reference) })
	w.shows(page, 200, "was replaced", "newer message")
	w.shows(newer, 200, "Payment request")
	ledgertest.Audit(t, w.db)
}
