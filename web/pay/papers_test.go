package pay_test

import (
	"net/http"
	"strings"
	"testing"

	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// TestPapers prints the invoice before and the receipt after a part is paid, and reads both in both languages.
func TestPapers(t *testing.T) {
	each(t, func(w *world) {
		id, page := w.debt(ledgertest.Each(func(r *paylink.Row) {
			r.InvoiceNumber, r.Description, r.DueDate, r.AttachmentURL = "INV-42", "School fees", "2026-03-15", "https://files.example.com/a.pdf"
		}))
		a := w.shows(page, 200, `href="`+page+`/invoice"`, `href="https://files.example.com/a.pdf"`)
		if strings.Contains(a.body, "/receipt") {
			w.Error("a receipt is offered before anything was paid")
		}
		a = w.shows(page+"/invoice", 200, "<h1>Invoice</h1>", "INV-42", "School fees", "15 March 2026", "KWD 12.500", "Left to pay")
		for header, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow", "Content-Language": "en"} {
			if got := a.header.Get(header); got != want {
				w.Errorf("%s: got %q, want %q", header, got, want)
			}
		}
		if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "form-action 'none'") || strings.Contains(a.body, "<script") {
			w.Errorf("got policy %q", csp)
		}
		v := w.view(id)
		for _, private := range []string{v.Contact.Email, v.Contact.Name} {
			if private != "" && strings.Contains(a.body, private) {
				w.Errorf("the invoice says %q", private)
			}
		}
		w.shows(page+"/invoice?lang=ar", 200, `dir="rtl"`, "فاتورة", "INV-42", "المتبقي للدفع", `href="`+page+`?lang=ar"`)
		if got := w.do(http.MethodGet, page+"/receipt"); got.status != http.StatusSeeOther || got.location != page {
			w.Errorf("an early receipt: got %d to %q, want the page", got.status, got.location)
		}
		before := len(w.timeline(id))

		w.clicks(page)
		if _, err := w.box.Pay(w.Context(), w.view(id).Live.ProviderID, sandbox.PayPart, true); err != nil {
			w.Fatal(err)
		}
		w.shows(page, 200, `href="`+page+`/receipt"`)
		w.shows(page+"/receipt", 200, "<h1>Receipt</h1>", "Payment", "KWD 6.250", "Left to pay", "2 March 2026", "INV-42")
		w.shows(page+"/receipt?lang=ar", 200, "إيصال", "دفعة", `lang="ar"`)
		if after := len(w.timeline(id)); after == before {
			w.Error("the payment was not heard of")
		}
		w.shows("/p/"+strings.Repeat("1", 20)+"/invoice", 404)
		w.shows("/p/"+strings.Repeat("1", 20)+"/receipt", 404)
		if got := w.do(http.MethodPost, page+"/receipt"); got.status == 200 {
			w.Error("a receipt can be posted to")
		}
	})
}

// TestPapersOfRefund shows what went back.
func TestPapersOfRefund(t *testing.T) {
	each(t, func(w *world) {
		id, page := w.debt()
		s := w.view(id).Live
		for _, ev := range []paylink.PaymentEvent{
			{OrderNo: s.OrderNo, ProviderID: s.ProviderID, Amount: s.Amount, Settled: &s.Amount, State: paylink.SessionPaid, RawState: "paid", Result: "success", Reference: "R1"},
			{OrderNo: s.OrderNo, ProviderID: s.ProviderID, Amount: paylink.Money{Minor: 2500, Currency: "KWD"}, IsOperation: true, Operation: "refund", Child: "C7", Result: "success"},
		} {
			e, _, err := w.db.StoreEvent(w.Context(), "ottu", ev.Key(), []byte(`{}`))
			if err != nil {
				w.Fatal(err)
			}
			if _, err := w.db.ApplyPayment(w.Context(), e.ID, ev, nil); err != nil {
				w.Fatal(err)
			}
		}
		w.shows(page+"/receipt", 200, "Partly refunded", "R1", "C7", "Refund", "\u2212KWD 2.500", "Sent back")
		w.shows(page+"/invoice", 200, "Payment request", id.String())
	})
}
