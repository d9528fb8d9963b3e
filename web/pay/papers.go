package pay

import (
	"net/http"

	"dunlin/templates"
)

// The pages to print: what is asked for, and what arrived. Like the page they stand behind, they change nothing and name
// nobody.

func (p *Pages) invoice(w http.ResponseWriter, r *http.Request) {
	p.paper(w, r, templates.PaperInvoice)
}

// receipt is there once money has arrived; until then its link, which may have been guessed, leads to the request.
func (p *Pages) receipt(w http.ResponseWriter, r *http.Request) {
	p.paper(w, r, templates.PaperReceipt)
}

func (p *Pages) paper(w http.ResponseWriter, r *http.Request, kind templates.PaperKind) {
	v, ok := p.enter(w, r, p.readers, p.links)
	if !ok {
		return
	}
	if kind == templates.PaperReceipt && v.view.Paid == 0 {
		p.to(w, v, "")
		return
	}
	other := "ar"
	if v.lang == "ar" {
		other = "en"
	}
	page, err := p.Texts.Paper(templates.Paper{Kind: kind, State: stored(v.view), Lang: v.lang, Merchant: p.Merchant, View: &v.view, Now: p.Ledger.Now(),
		BackPath: path(v, ""), LanguagePath: r.URL.Path + "?lang=" + other})
	if err != nil {
		p.fail(w, r, v.lang, v.view.Request.ID, err)
		return
	}
	p.headers(w, "")
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+p.Texts.PaperStyle()+"; base-uri 'none'; frame-ancestors 'none'; form-action 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.lang)
	_, _ = w.Write(page)
}

// addPapers links a payer's page to what can be printed of it.
func (p *Pages) addPapers(d *templates.Page, v visit) {
	d.InvoicePath = path(v, "/invoice")
	if v.view.Paid > 0 {
		d.ReceiptPath = path(v, "/receipt")
	}
}
