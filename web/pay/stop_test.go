package pay_test

import (
	"net/http"
	"strings"
	"testing"

	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

// mayWrite reports whether the address is not suppressed; if it is, it must be by the page.
func (w *world) mayWrite(id paylink.RequestID) bool {
	w.Helper()
	list, err := w.db.Suppressions(w.Context(), 10)
	if err != nil {
		w.Fatal(err)
	}
	for _, s := range list {
		if s.Hash == paylink.AddressHash(paylink.Email, w.view(id).Contact.Email) && s.Channel == paylink.Email {
			if s.Reason != paylink.SuppressedOptedOut || s.Source != "unsubscribe" || s.Request != id {
				w.Errorf("suppressed by %+v", s)
			}
			return false
		}
	}
	return true
}

// TestStopping is law 10 for the way out: looking changes nothing, the button does, and there is a way back.
func TestStopping(t *testing.T) {
	each(t, func(w *world) {
		id, page := w.debt()
		before := len(w.timeline(id))
		for range 20 {
			w.shows(page+"/stop", 200, "Stop these emails?", "p•••@e•••", `action="`+page+`/stop"`, `href="`+page+`"`)
			w.do(http.MethodHead, page+"/stop")
			w.do(http.MethodGet, page+"/stop/undo")
		}
		if got := len(w.timeline(id)); got != before || !w.mayWrite(id) {
			w.Errorf("looking wrote %d events, may write: %t", got-before, w.mayWrite(id))
		}
		a := w.do(http.MethodPost, page+"/stop")
		w.has(a, 200, "You will get no more emails", `action="`+page+`/stop/undo"`)
		if w.mayWrite(id) || len(w.timeline(id)) != before+1 {
			w.Errorf("after the button: may write %t, %d events", w.mayWrite(id), len(w.timeline(id))-before)
		}
		w.has(w.do(http.MethodPost, page+"/stop"), 200, "You will get no more emails") // a second press
		w.has(w.do(http.MethodPost, page+"/stop/undo"), 200, "Emails are sent again")
		if !w.mayWrite(id) {
			w.Error("the way back leads nowhere")
		}
		w.shows(page, 200, "Payment request") // the debt is not touched
		for _, a := range []answer{a, w.do(http.MethodGet, page+"/stop")} {
			if strings.Contains(a.body, "payer1") || strings.Contains(a.body, "example.com") {
				w.Error("the page tells the address")
			}
			for name, want := range map[string]string{"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow", "Cache-Control": "no-store"} {
				if got := a.header.Get(name); got != want {
					w.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if got := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'; style-src 'sha256-") {
				w.Errorf("policy %q", got)
			}
		}
	})
}

// TestOneClick is what a mail program does by itself (RFC 8058).
func TestOneClick(t *testing.T) {
	each(t, func(w *world) {
		id, page := w.debt()
		r, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.server.URL+page+"/stop", strings.NewReader("List-Unsubscribe=One-Click"))
		if err != nil {
			w.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := w.client.Do(r)
		if err != nil {
			w.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 || w.mayWrite(id) {
			w.Errorf("one click: answered %d, may write: %t", res.StatusCode, w.mayWrite(id))
		}
	})
}

func TestStopInArabic(t *testing.T) {
	each(t, func(w *world) {
		_, page := w.debt(ledgertest.Each(func(r *paylink.Row) { r.Language = "ar" }))
		w.shows(page+"/stop", 200, `lang="ar" dir="rtl"`, "إيقاف هذه الرسائل؟", "/stop?lang=en")
		w.shows(page+"/stop?lang=en", 200, `lang="en"`, "Stop these emails?", `action="`+page+`/stop?lang=en"`)
		w.has(w.do(http.MethodPost, page+"/stop"), 200, "لن تصلك رسائل أخرى")
	})
}

func TestStopIsGuarded(t *testing.T) {
	each(t, func(w *world) {
		id, page := w.debt()
		flipped := page[:len(page)-1] + map[bool]string{true: "2", false: "1"}[page[len(page)-1] == '1']
		for _, path := range []string{flipped + "/stop", "/p/x/stop", flipped + "/stop/undo"} {
			if a := w.do(http.MethodPost, path); a.status != 404 {
				w.Errorf("%s: %d, want 404", path, a.status)
			}
		}
		if !w.mayWrite(id) {
			w.Error("a wrong token stopped emails")
		}
		_, silent := w.debt(ledgertest.Routes("sms"), ledgertest.Each(func(r *paylink.Row) { r.Email = "" }))
		w.shows(silent+"/stop", 404)
		statuses := map[int]int{}
		for range 15 {
			statuses[w.do(http.MethodPost, page+"/stop").status]++
		}
		if statuses[200] != 10 || statuses[429] != 5 {
			w.Errorf("15 presses in a row: %v, want 10 taken", statuses)
		}
	})
}

// TestOnlyOwnOptOutsAreLifted: the way back is not one around a complaint.
func TestOnlyOwnOptOutsAreLifted(t *testing.T) {
	each(t, func(w *world) {
		id, page := w.debt()
		s := paylink.Suppression{Channel: paylink.Email, Address: w.view(id).Contact.Email, Reason: paylink.SuppressedComplained, Source: "relay"}
		if err := w.db.Suppress(w.Context(), s); err != nil {
			w.Fatal(err)
		}
		w.do(http.MethodPost, page+"/stop")
		w.do(http.MethodPost, page+"/stop/undo")
		list, err := w.db.Suppressions(w.Context(), 10)
		if err != nil || len(list) != 1 || list[0].Reason != paylink.SuppressedComplained {
			w.Errorf("suppressed: %+v, %v", list, err)
		}
	})
}
