package pay_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// TestScanners is law 10: a hundred visits to a link whose session is dead change nothing, then one click makes one session.
func TestScanners(t *testing.T) {
	each(t, func(w *world) {
		id, page := w.debt()
		w.clock.Advance(3 * time.Hour)
		before, calls := len(w.timeline(id)), w.box.Counts().Calls
		for range 100 {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				for _, path := range []string{page, page + "/return?order_no=X&session_id=Y&state=paid", page + "?lang=ar", page + "/checkout", page + "/cards"} {
					if a := w.do(method, path); a.status != 200 && a.status != 429 {
						w.Fatalf("%s %s: got %d", method, path, a.status)
					}
				}
			}
		}
		for op, n := range w.box.Counts().Calls {
			if calls[op] != n {
				w.Errorf("the provider was called by looking: %s %d times, before %d", op, n, calls[op])
			}
		}
		if got := len(w.timeline(id)); got != before {
			w.Errorf("looking wrote %d events", got-before)
		}
		if v := w.view(id); !v.EngagedAt.IsZero() || v.Live.State != paylink.SessionOpen {
			w.Errorf("looking changed the record: %+v", v)
		}
		w.clicks(page)
		if got := len(w.sessions()); got != 2 {
			w.Errorf("got %d sessions, want the dead one and one new", got)
		}
		w.oneLive()
	})
}

func (w *world) timeline(id paylink.RequestID) []paylink.Event {
	w.Helper()
	events, err := w.db.Timeline(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return events
}

// oneLive checks law 4 at the provider.
func (w *world) oneLive() {
	w.Helper()
	live := 0
	for _, s := range w.sessions() {
		switch s.State {
		case "created", "pending", "attempted":
			live++
		}
	}
	if live != 1 {
		w.Errorf("%d sessions can be paid, want 1: %+v", live, w.sessions())
	}
}

func TestManyClicks(t *testing.T) {
	each(t, func(w *world) {
		for _, dead := range []bool{false, true} {
			id, page := w.debt()
			before := len(w.sessions())
			if dead {
				w.clock.Advance(3 * time.Hour)
			}
			targets := make([]string, 8)
			var wg sync.WaitGroup
			for i := range targets {
				wg.Go(func() { targets[i] = w.do(http.MethodPost, page+"/pay").location })
			}
			wg.Wait()
			want, made := w.view(id).Live.URL, 0
			if dead {
				made = 1
			}
			for i, got := range targets {
				if got != want {
					w.Errorf("dead %t: click %d leads to %q, want %q", dead, i, got, want)
				}
			}
			if got := len(w.sessions()) - before; got != made {
				w.Errorf("dead %t: %d sessions were made, want %d", dead, got, made)
			}
		}
	})
}

func TestPaid(t *testing.T) {
	each(t, func(w *world) {
		id, page := w.debt()
		w.shows(page, 200, "Payment request", "KWD 12.500", "School fee", "1 April 2026", `action="`+page+`/pay"`)
		if got, want := w.clicks(page), w.view(id).Live.URL; got != want {
			w.Errorf("sent to %q, want %q", got, want)
		}
		w.shows(page, 200, "You went on to payment")
		w.shows(page+"/return", 200, "is being processed", `action="`+page+`/check"`)
		p, err := w.box.Pay(w.Context(), w.view(id).Live.ProviderID, sandbox.PayFull, false)
		if err != nil || p.Webhook != 200 {
			w.Fatalf("paying: %+v, %v", p, err)
		}
		if !strings.HasPrefix(p.Redirect, w.server.URL+page+"/return?") {
			w.Errorf("the payer is sent back to %q", p.Redirect)
		}
		w.shows(page+"/return", 200, "Paid. Thank you", "KWD 12.500", "Paid on", "2 March 2026 12:00", "SBX")
		if a := w.do(http.MethodPost, page+"/pay"); a.status != 303 || a.location != page {
			w.Errorf("paying again: got %d to %q, want back to the receipt", a.status, a.location)
		}
		if v := w.view(id); v.Request.Payment != paylink.PaymentPaid || v.Paid != 12500 {
			w.Errorf("got %s, %d", v.Request.Payment, v.Paid)
		}
	})
}

// TestOldSession pays by a session after another has taken its place: the money is counted and flagged. Ottu may or may
// not have noticed by itself that the old one's time was over.
func TestOldSession(t *testing.T) {
	for name, want := range map[string]struct {
		noticed bool
		flag    string
	}{"expired by itself": {true, "money_on_late"}, "ended by us": {false, "money_on_superseded"}} {
		t.Run(name, func(t *testing.T) {
			each(t, func(w *world) {
				if !want.noticed {
					if err := w.box.AddFault(sandbox.Rule{Provider: sandbox.Ottu, Action: sandbox.CreatedAfterExpiry}); err != nil {
						w.Fatal(err)
					}
				}
				id, page := w.debt()
				old := w.view(id).Live.ProviderID
				w.clock.Advance(3 * time.Hour)
				w.clicks(page)
				if v := w.view(id); v.Live.ProviderID == old {
					w.Fatal("the dead session was used again")
				}
				if _, err := w.box.Pay(w.Context(), old, sandbox.PayFull, true); err != nil {
					w.Fatal(err)
				}
				if v := w.view(id); v.Request.Payment != paylink.PaymentPaid || v.Paid != 12500 {
					w.Errorf("got %s, %d", v.Request.Payment, v.Paid)
				}
				if got := w.flags(); got != want.flag {
					w.Errorf("got flags %q, want %q", got, want.flag)
				}
				if v := w.view(id); v.Live.Ending != "canceled" {
					w.Errorf("the new session may still be paid: %+v", v.Live)
				}
			})
		})
	}
}

func TestProcessing(t *testing.T) {
	w := newWorld(t, databases[0].open(t))
	id, page := w.debt()
	session := w.view(id).Live.ProviderID
	w.clock.Advance(109 * time.Minute) // eleven minutes to live
	w.clicks(page)
	if _, err := w.box.Open(session); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(3 * time.Minute)
	w.has(w.do(http.MethodPost, page+"/pay"), 200, "is being processed")
	if x, _ := w.box.Session(session); x.State != "pending" {
		t.Errorf("a payer in the middle of paying lost the session: it is %s", x.State)
	}
	if _, err := w.box.Pay(t.Context(), session, sandbox.PayFull, false); err != nil {
		t.Fatal(err)
	}
	w.shows(page, 200, "Paid. Thank you")

	id, page = w.debt() // the same, but the payer does not pay
	w.clock.Advance(109 * time.Minute)
	w.clicks(page)
	if _, err := w.box.Open(w.view(id).Live.ProviderID); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(3 * time.Minute)
	w.has(w.do(http.MethodPost, page+"/pay"), 200, "is being processed")
	w.clock.Advance(15 * time.Minute)
	old := w.view(id).Live.ProviderID
	w.clicks(page)
	if w.view(id).Live.ProviderID == old {
		t.Error("got the dead session again")
	}
}

func TestProviderDown(t *testing.T) {
	w := newWorld(t, databases[0].open(t))
	id, page := w.debt()
	w.clicks(page) // a live session needs no call
	w.clock.Advance(3 * time.Hour)
	if err := w.box.AddFault(sandbox.Rule{Provider: sandbox.Ottu, Action: sandbox.Refuse, Status: 503}); err != nil {
		t.Fatal(err)
	}
	w.has(w.do(http.MethodPost, page+"/pay"), 503, "not possible just now", "Try again", id.String())
	w.shows(page, 200, "Payment request")
	w.box.ClearFaults()
	w.clock.Advance(time.Minute)
	w.clicks(page)
	w.oneLive()
}

func TestRefused(t *testing.T) {
	w := newWorld(t, databases[0].open(t))
	id, page := w.debt()
	w.clock.Advance(3 * time.Hour)
	if err := w.box.AddFault(sandbox.Rule{Provider: sandbox.Ottu, Op: "create", Action: sandbox.Refuse, Status: 400, Body: `{"amount":["no"]}`}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.has(w.do(http.MethodPost, page+"/pay"), 503, "cannot be started", id.String())
	}
	if got := w.alerts.list(); len(got) != 1 {
		t.Errorf("operators were told %q, want once", got)
	}
	if v := w.view(id); v.Live != nil {
		t.Errorf("a refused session still stands: %+v", v.Live)
	}
	w.oneDead()
}

// TestLostCreate loses the answer to the create of a click: its session is ended before the payer gets another.
func TestLostCreate(t *testing.T) {
	each(t, func(w *world) {
		id, page := w.debt()
		w.clock.Advance(3 * time.Hour)
		if err := w.box.AddFault(sandbox.Rule{Provider: sandbox.Ottu, Op: "create", Action: sandbox.LoseAnswer, Times: 1}); err != nil {
			w.Fatal(err)
		}
		target := w.clicks(page)
		w.oneLive()
		if v := w.view(id); v.Live.URL != target {
			w.Errorf("sent to %q, the live session is %q", target, v.Live.URL)
		}
	})
}

func TestPartPaid(t *testing.T) {
	each(t, func(w *world) {
		id, page := w.debt()
		w.clicks(page)
		if _, err := w.box.Pay(w.Context(), w.view(id).Live.ProviderID, sandbox.PayPart, false); err != nil {
			w.Fatal(err)
		}
		w.shows(page, 200, "Part of it is paid", "KWD 6.250")
		w.clicks(page)
		rest := w.view(id).Live
		if rest.Amount != (paylink.Money{Minor: 6250, Currency: "KWD"}) {
			w.Errorf("the next session asks for %s, want the rest", rest.Amount)
		}
		if p, err := w.box.Pay(w.Context(), rest.ProviderID, sandbox.PayFull, false); err != nil || p.Webhook != 200 {
			w.Fatalf("%+v, %v", p, err)
		}
		if v := w.view(id); v.Request.Payment != paylink.PaymentPaid || v.Paid != 12500 {
			w.Errorf("%+v", w.timeline(id))
			w.Errorf("got %s, %d", v.Request.Payment, v.Paid)
		}
		if got := w.flags(); got != "" {
			w.Errorf("got flags %q", got)
		}
	})
}

// TestCheck finds a payment whose webhook was lost, asking at most once per ten seconds.
func TestCheck(t *testing.T) {
	w := newWorld(t, databases[0].open(t))
	id, page := w.debt()
	w.clicks(page)
	asked := func() int64 { return w.box.Counts().Calls["ottu.retrieve"] }
	for range 5 {
		if a := w.do(http.MethodPost, page+"/check"); a.location != page+"/return" {
			t.Fatalf("got %d to %q", a.status, a.location)
		}
	}
	if got := asked(); got != 1 {
		t.Errorf("the provider was asked %d times within ten seconds", got)
	}
	w.hooksDown.Store(true)
	if p, err := w.box.Pay(t.Context(), w.view(id).Live.ProviderID, sandbox.PayFull, false); err != nil || p.Webhook == 200 {
		t.Fatalf("%+v, %v", p, err)
	}
	w.shows(page+"/return", 200, "is being processed")
	w.do(http.MethodPost, page+"/check") // too soon
	w.shows(page+"/return", 200, "is being processed")
	w.clock.Advance(11 * time.Second)
	w.do(http.MethodPost, page+"/check")
	w.shows(page+"/return", 200, "Paid. Thank you")
	if got := asked(); got != 2 {
		t.Errorf("the provider was asked %d times, want 2", got)
	}
}

func TestStates(t *testing.T) {
	w := newWorld(t, databases[0].open(t))
	id, page := w.debt(ledgertest.Each(func(r *paylink.Row) { r.Language = "ar" }))
	a := w.shows(page, 200, `lang="ar" dir="rtl"`, "طلب دفع", "١٢٫٥٠٠", "?lang=en")
	for name, want := range map[string]string{"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow", "Cache-Control": "no-store",
		"X-Content-Type-Options": "nosniff"} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if csp := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") || strings.Contains(csp, "unsafe") {
		t.Errorf("got policy %q", csp)
	}
	if strings.Count(a.body, "<script") != 1 || !strings.Contains(a.body, `<script src="/p/static/pay-`) || strings.Contains(a.body, "Payer 1") || strings.Contains(a.body, "payer1@") {
		t.Errorf("the page holds what it must not:\n%s", a.body)
	}
	w.shows(page+"?lang=en", 200, `lang="en" dir="ltr"`, "Payment request", `action="`+page+`/pay?lang=en"`)
	if _, err := w.db.CancelRequest(t.Context(), id, "clerk", ""); err != nil {
		t.Fatal(err)
	}
	w.shows(page+"?lang=en", 200, "was canceled")
	if a := w.do(http.MethodPost, page+"/pay"); a.location != page {
		t.Errorf("paying a canceled request: got %d to %q", a.status, a.location)
	}
	wrong := paylink.Token(id, make([]byte, 10))
	for _, path := range []string{"/p/" + wrong, "/p/" + wrong + "/return", "/p/x", "/p/", page + "/else", "/p/" + strings.Repeat("z", 5000)} {
		w.shows(path, 404, "not valid")
	}
	if a := w.do(http.MethodPost, "/p/"+wrong+"/pay"); a.status != 404 {
		t.Errorf("a guess: got %d", a.status)
	}
}

func TestTooManyPresses(t *testing.T) {
	w := newWorld(t, databases[0].open(t))
	_, page := w.debt()
	for range 10 {
		w.clicks(page)
	}
	a := w.do(http.MethodPost, page+"/pay")
	w.has(a, 429, "Too many tries")
	w.shows(page, 200, "Payment request")
}
