package pay_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"dunlin/paylink"
	"dunlin/templates"
)

// TestBrowserStates draws every state of the page, in both languages, on a phone and on a large screen.
func TestBrowserStates(t *testing.T) {
	texts, err := templates.Load("")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		page, err := texts.Page(sample(templates.PageState(r.FormValue("state")), r.FormValue("lang")))
		if err != nil {
			t.Error(err)
		}
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = rw.Write(page)
	}))
	t.Cleanup(server.Close)
	chromium := browser(t)
	for _, s := range []screen{phone, desktop} {
		t.Run(s.name, func(t *testing.T) {
			ctx, cancel := chromedp.NewContext(chromium)
			t.Cleanup(cancel)
			ctx, stop := context.WithTimeout(ctx, 4*time.Minute)
			t.Cleanup(stop)
			b := &tab{&world{T: t, server: server}, ctx, s}
			b.sized()
			for _, state := range templates.PageStates {
				for _, lang := range []string{"en", "ar"} {
					b.open("/?state=" + string(state) + "&lang=" + lang)
					b.fits()
					if got := b.eval(unreadable); got != "" {
						t.Errorf("%s, %s: too little contrast: %s", state, lang, got)
					}
					if got := b.eval(unnamed); got != "" {
						t.Errorf("%s, %s: %s", state, lang, got)
					}
					b.look("state." + string(state) + "." + lang)
				}
			}
		})
	}
}

// sample is a page in a state, with all that it can show.
func sample(state templates.PageState, lang string) templates.Page {
	money := func(minor int64) paylink.Money { return paylink.Money{Minor: minor, Currency: "KWD"} }
	v := &paylink.PayerView{Request: paylink.Request{ID: paylink.NewRequestID(12, 345), Amount: money(12500), Country: "KW", Description: "School fee, second term",
		DueDate: "2026-04-01", Reference: "STU-1001", InvoiceNumber: "INV-42", Timezone: "Asia/Kuwait", Payment: paylink.PaymentUnpaid}}
	d := templates.Page{State: state, Lang: lang, Merchant: "Al Noor School", View: v, Now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), LanguagePath: "/?lang=x"}
	received := func(kind string, minor int64) {
		v.Receipts = append(v.Receipts, paylink.Receipt{Kind: kind, Amount: money(minor), Ref: "SBX31f0a2", At: d.Now})
	}
	switch state {
	case templates.PagePayable, templates.PageBusy, templates.PageDown, templates.PageFailed:
		d.PayPath = "/pay"
	case templates.PageProcessing:
		d.PayPath, d.CheckPath = "/pay", "/check"
	case templates.PagePartPaid:
		d.PayPath, d.CheckPath, d.Started, v.Paid, v.Request.Payment = "/pay", "/check", true, 6250, paylink.PaymentPartiallyPaid
		received("settled", 6250)
	case templates.PageCheckout:
		d.Embed = &templates.PageEmbed{ScriptURL: "http://127.0.0.1:1/none.js", HostedPath: "/hosted"}
	case templates.PageCards:
		d.PayPath, d.CardsPath, d.WrongDigits = "/pay", "/cards", true
	case templates.PagePaid, templates.PageRefunded, templates.PagePartRefunded:
		v.Paid, v.Request.Payment = 12500, paylink.PaymentPaid
		received("settled", 12500)
		if state != templates.PagePaid {
			v.Refunded, v.Request.Payment = 2500, paylink.PaymentPartiallyRefunded
		}
	case templates.PageAuthorized:
		v.Request.Payment = paylink.PaymentAuthorized
		received("authorized", 12500)
	case templates.PageSettled:
		v.Request.Payment = paylink.PaymentPaidOutside
	case templates.PageCanceled, templates.PageReplaced, templates.PageExpired:
		v.Request.Payment = paylink.PaymentCanceled
	case templates.PageUnknown, templates.PageSlowDown:
		d.View = nil
	}
	return d
}

// unreadable lists texts whose contrast is below the 4.5 of WCAG AA (3 for large ones).
const unreadable = `(() => {
  const parse = (c) => c.match(/[\d.]+/g).map(Number);
  const light = (c) => { const [r, g, b] = parse(c).map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if ((parse(c)[3] ?? 1) > 0) return c; } return "rgb(255,255,255)"; };
  return [...document.body.querySelectorAll("*")].filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())).filter((e) => {
    const s = getComputedStyle(e), [a, b] = [light(s.color), light(behind(e))].sort((x, y) => y - x);
    return (a + .05) / (b + .05) < (parseFloat(s.fontSize) >= 24 ? 3 : 4.5);
  }).map((e) => e.textContent.trim()).join("; ");
})()`

// unnamed lists what a screen reader could not tell: controls without a name, small targets, and headings that are not one.
const unnamed = `[
  ...[...document.querySelectorAll("button, a, input:not([type=hidden])")].filter((e) => e.checkVisibility()).flatMap((e) => [
    (e.textContent.trim() || e.labels?.length) ? "" : "a control has no name",
    e.getBoundingClientRect().height >= 40 ? "" : e.tagName + " is a small target"]),
  document.querySelectorAll("h1").length === 1 ? "" : "there is not one heading",
  document.documentElement.lang && document.title ? "" : "no language or no title",
].filter(Boolean).join("; ")`
