package templates

import (
	"bytes"
	"fmt"
	htmltemplate "html/template"
	"strings"
	"time"

	"dunlin/paylink"
)

// PaperKind is a page that is made to be printed.
type PaperKind string

// The papers.
const (
	PaperInvoice PaperKind = "invoice" // what is asked for; called a payment request where the row names no invoice
	PaperReceipt PaperKind = "receipt" // what arrived and what went back
)

// Paper is what a printable page is rendered from. As the payer's page does, it says what the request is for and not whom
// it was sent to: links are forwarded.
type Paper struct {
	Kind     PaperKind
	State    PageState // for its badge
	Lang     string    // en or ar
	Merchant string
	View     *paylink.PayerView
	Now      time.Time
	// BackPath and LanguagePath are where its links lead; they are not printed.
	BackPath, LanguagePath string
}

// paperLine is money that moved.
type paperLine struct{ When, What, Ref, Amount string }

// paperData is what pages/paper.html sees.
type paperData struct {
	Lang, Dir, OtherLang, OtherLanguage, Back string
	Merchant, Title, Number, State, Mood      string
	Details, Sums                             []detail
	Lines                                     []paperLine
	AsOf, ShortRef                            string
	W                                         map[string]string
	Style                                     htmltemplate.CSS
}

// PaperStyle is PageStyle of the printable pages.
func (s *Set) PaperStyle() string { return s.pages.paperPolicy }

// Paper renders a printable page.
func (s *Set) Paper(d Paper) ([]byte, error) { return s.pages.renderPaper(d) }

func (p *pages) renderPaper(d Paper) ([]byte, error) {
	words, ok := p.words[d.Lang]
	if !ok {
		d.Lang, words = "en", p.words["en"]
	}
	v, r := d.View, d.View.Request
	link := NewLinkData("", r, paylink.Contact{}, "", d.Lang).clean()
	x := paperData{Lang: d.Lang, Dir: "ltr", OtherLang: "ar", OtherLanguage: d.LanguagePath, Back: d.BackPath, Merchant: oneLine(d.Merchant),
		State: string(d.State), Mood: mood[d.State], ShortRef: link.ShortRef, W: words, Style: htmltemplate.CSS(p.paperStyle)}
	if d.Lang == "ar" {
		x.Dir, x.OtherLang = "rtl", "en"
	}
	locale := d.Lang
	if r.Country != "" {
		locale += "-" + strings.ToUpper(r.Country)
	}
	money := func(minor int64) string {
		return paylink.Money{Minor: minor, Currency: r.Amount.Currency}.Format(locale)
	}
	arabic := hasArabicDigits(link.Amount)
	clock := func(at time.Time) string {
		at = at.In(zone(r.Timezone))
		hour := at.Format("15:04")
		if arabic {
			hour = arabicDigits(hour)
		}
		return formatDate(at.Format(time.DateOnly), d.Lang, r.Country, arabic) + " " + hour
	}
	add := func(to *[]detail, label, value string) {
		if value != "" {
			*to = append(*to, detail{label, value})
		}
	}
	switch {
	case d.Kind == PaperReceipt:
		x.Title, x.Number = words["paper_receipt"], link.ShortRef
		add(&x.Details, "invoice", link.InvoiceNumber)
	case link.InvoiceNumber != "":
		x.Title, x.Number = words["paper_invoice"], link.InvoiceNumber
	default:
		x.Title, x.Number = words["title_payable"], link.ShortRef
	}
	add(&x.Details, "for", link.Description)
	add(&x.Details, "reference", link.Reference)
	if d.Kind == PaperInvoice {
		add(&x.Details, "due", link.DueDate)
	} else {
		x.Lines = paperLines(v.Receipts, words, locale, clock)
	}
	add(&x.Sums, "amount", link.Amount)
	if v.Paid > 0 {
		add(&x.Sums, "paper_paid", money(v.Paid))
	}
	if v.Refunded > 0 {
		add(&x.Sums, "refunded", money(v.Refunded))
	}
	if r.Payment.Owes() {
		add(&x.Sums, "paper_left", money(v.Left().Minor))
	}
	x.AsOf = clock(d.Now)
	var out bytes.Buffer
	if err := p.paper.Execute(&out, &x); err != nil {
		return nil, fmt.Errorf("rendering the %s: %w", d.Kind, err)
	}
	return out.Bytes(), nil
}

// paperLines are the payments and refunds; what was only reserved is neither.
func paperLines(receipts []paylink.Receipt, words map[string]string, locale string, clock func(time.Time) string) (lines []paperLine) {
	for _, c := range receipts {
		if c.Kind != "settled" && c.Kind != "outside" && c.Kind != "refunded" {
			continue
		}
		amount := c.Amount.Format(locale)
		if c.Kind == "refunded" {
			amount = "\u2212" + amount
		}
		_, ref, operation := strings.Cut(c.Ref, ":") // an operation's reference begins with its name
		if !operation {
			ref = c.Ref
		}
		lines = append(lines, paperLine{clock(c.At), words["entry_"+c.Kind], oneLine(ref), amount})
	}
	return lines
}

// tryPapers renders both papers in both languages.
func (p *pages) tryPapers(view paylink.PayerView) error {
	for lang := range p.words {
		for _, kind := range []PaperKind{PaperInvoice, PaperReceipt} {
			if _, err := p.renderPaper(Paper{Kind: kind, State: PagePartPaid, Lang: lang, Merchant: "Al Noor School", View: &view, BackPath: "/p/x"}); err != nil {
				return fmt.Errorf("pages/paper.html: %w", err)
			}
		}
	}
	return nil
}
