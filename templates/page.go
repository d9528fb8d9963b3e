package templates

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"maps"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // receipts show the time where the payer is

	"dunlin/paylink"
)

// PageState is what the payer's page says.
type PageState string

// The states of the payer's page.
const (
	PagePayable      PageState = "payable"
	PagePartPaid     PageState = "part_paid"
	PageProcessing   PageState = "processing"
	PagePaid         PageState = "paid"
	PageAuthorized   PageState = "authorized"
	PageRefunded     PageState = "refunded"
	PagePartRefunded PageState = "part_refunded"
	PageSettled      PageState = "settled" // outside of the provider: cash, transfer
	PageCanceled     PageState = "canceled"
	PageReplaced     PageState = "replaced" // the sender asks for it anew, by another link
	PageExpired      PageState = "expired"  // by the merchant's rule
	PageCheckout     PageState = "checkout" // the provider's checkout in our page
	PageCards        PageState = "cards"    // the payer may prove that the saved cards are theirs
	PageBusy         PageState = "busy"
	PageDown         PageState = "down"
	PageRefused      PageState = "refused"
	PageUnknown      PageState = "unknown"   // no such link
	PageSlowDown     PageState = "slow_down" // the reader asks too often
	PageFailed       PageState = "failed"    // our own mistake
)

// PageStates lists them.
var PageStates = []PageState{PagePayable, PagePartPaid, PageProcessing, PagePaid, PageAuthorized, PageRefunded, PagePartRefunded, PageSettled,
	PageCanceled, PageReplaced, PageExpired, PageCheckout, PageCards, PageBusy, PageDown, PageRefused, PageUnknown, PageSlowDown, PageFailed}

// mood colours a state.
var mood = map[PageState]string{
	PagePaid: "good", PageAuthorized: "good", PageSettled: "good", PageRefunded: "good", PagePartRefunded: "good",
	PageProcessing: "warn", PagePartPaid: "warn", PageBusy: "warn", PageDown: "warn", PageFailed: "warn", PageSlowDown: "warn",
	PageReplaced: "warn", PageCanceled: "bad", PageExpired: "bad", PageRefused: "bad", PageUnknown: "bad",
}

// Page is what the payer's page is rendered from. Zero values leave their places out.
type Page struct {
	State    PageState
	Lang     string // en or ar
	Merchant string
	View     *paylink.PayerView // nil = nothing is known of the reader
	Now      time.Time
	// Started: the payer was sent on to the provider a short while ago.
	Started bool
	// PayPath, CheckPath and LanguagePath are where the page's forms and its language link lead.
	PayPath, CheckPath, LanguagePath string
	// ScriptPath is the page's own script; the page works without. SeenPath is what it tells that somebody looked.
	ScriptPath, SeenPath string
	// Embeds: the button leads to the provider's checkout in our page, not to the provider's own.
	Embeds bool
	// Embed is what the state checkout shows.
	Embed *PageEmbed
	// CardsPath is where the state cards sends the digits; WrongDigits and NoMoreTries say why it asks again.
	CardsPath                string
	WrongDigits, NoMoreTries bool
	// InvoicePath and ReceiptPath lead to the pages to print.
	InvoicePath, ReceiptPath string
}

// PageEmbed is the provider's checkout in our page.
type PageEmbed struct {
	ScriptURL, Merchant, Key, Session string
	// Forms are the ways to pay that the checkout may offer, in its own words, separated by spaces.
	Forms string
	// HostedPath leads to the provider's own page, ResultPath to what became of it.
	HostedPath, ResultPath string
}

// detail is a line of the page's list; Label is a key of the words.
type detail struct{ Label, Value string }

// pageData is what pages/pay.html sees.
type pageData struct {
	State, Lang, Dir, OtherLang, OtherLanguage string
	Merchant, Mood, Sum, ShortRef              string
	Pay, PayWord, PaySum, Check                string
	Started, Embeds                            bool
	Script, Seen, Cards                        string
	WrongDigits, NoMoreTries                   bool
	Embed                                      *PageEmbed
	Invoice, Receipt, Document                 string
	Details                                    []detail
	W                                          map[string]string
	Style                                      htmltemplate.CSS
}

// pages are the parsed page, its words by language and its style.
type pages struct {
	page   *htmltemplate.Template
	stop   *htmltemplate.Template
	words  map[string]map[string]string
	style  string
	policy string
	script []byte

	paper                   *htmltemplate.Template
	paperStyle, paperPolicy string
}

func loadPages(files map[string]string) (*pages, error) {
	p := &pages{words: map[string]map[string]string{}, script: []byte(files["pages/pay.js"])}
	var err error
	if p.style, p.policy, err = styleOf("pages/style.css", files); err != nil {
		return nil, err
	}
	if p.paperStyle, p.paperPolicy, err = styleOf("pages/paper.css", files); err != nil {
		return nil, err
	}
	if p.paper, err = parseHTML([]string{"pages/paper.html"}, files); err != nil {
		return nil, err
	}
	if p.page, err = parseHTML([]string{"pages/pay.html"}, files); err != nil {
		return nil, err
	}
	for _, lang := range []string{"en", "ar"} {
		words := map[string]string{}
		if err := json.Unmarshal([]byte(files["pages/words."+lang+".json"]), &words); err != nil {
			return nil, fmt.Errorf("pages/words.%s.json: %w", lang, err)
		}
		p.words[lang] = words
	}
	var missing []error
	for _, pair := range [][2]string{{"en", "ar"}, {"ar", "en"}} {
		for _, key := range slices.Sorted(maps.Keys(p.words[pair[0]])) {
			if _, ok := p.words[pair[1]][key]; !ok {
				missing = append(missing, fmt.Errorf("pages/words.%s.json: %q is missing", pair[1], key))
			}
		}
	}
	if err := errors.Join(missing...); err != nil {
		return nil, err
	}
	return p, errors.Join(p.try(), p.loadStop(files))
}

// styleOf reads a style and says by which source a Content-Security-Policy lets it in.
func styleOf(name string, files map[string]string) (style, policy string, err error) {
	style = files[name]
	if strings.Contains(strings.ToLower(style), "</style") {
		return "", "", fmt.Errorf("%s must not contain </style", name)
	}
	sum := sha256.Sum256([]byte(style))
	return style, "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'", nil
}

// try renders every state in both languages.
func (p *pages) try() error {
	view := &paylink.PayerView{Request: paylink.Request{ID: paylink.NewRequestID(1, 1), Amount: paylink.Money{Minor: 12500, Currency: "KWD"},
		Description: "School fees", DueDate: "2026-03-15", Reference: "STU-1001", InvoiceNumber: "INV-42", Timezone: "Asia/Kuwait"},
		Receipts: []paylink.Receipt{{Kind: "settled", Amount: paylink.Money{Minor: 500, Currency: "KWD"}, Ref: "R1"}}, Paid: 500}
	for _, state := range PageStates {
		for lang, words := range p.words {
			if words["title_"+string(state)] == "" {
				return fmt.Errorf("pages/words.%s.json: %q is missing", lang, "title_"+string(state))
			}
			for _, v := range []*paylink.PayerView{view, nil} {
				if _, err := p.render(Page{State: state, Lang: lang, Merchant: "Al Noor School", View: v, PayPath: "/p/x/pay", CheckPath: "/p/x/check",
					CardsPath: "/p/x/cards", ScriptPath: "/p/x.js", Embed: &PageEmbed{ScriptURL: "https://sdk.example/x.js"}}); err != nil {
					return fmt.Errorf("pages/pay.html: %w", err)
				}
			}
		}
	}
	return p.tryPapers(*view)
}

// PageStyle is the source by which a Content-Security-Policy lets the page's own style in, and no other.
func (s *Set) PageStyle() string { return s.pages.policy }

// PageScript is the payer's page's own script.
func (s *Set) PageScript() []byte { return s.pages.script }

// Page renders the payer's page.
func (s *Set) Page(d Page) ([]byte, error) { return s.pages.render(d) }

func (p *pages) render(d Page) ([]byte, error) {
	words, ok := p.words[d.Lang]
	if !ok {
		d.Lang, words = "en", p.words["en"]
	}
	x := pageData{State: string(d.State), Lang: d.Lang, Dir: "ltr", OtherLang: "ar", OtherLanguage: d.LanguagePath, Merchant: oneLine(d.Merchant),
		Mood: mood[d.State], W: words, Style: htmltemplate.CSS(p.style), Pay: d.PayPath, PayWord: "pay", Check: d.CheckPath, Started: d.Started,
		Script: d.ScriptPath, Seen: d.SeenPath, Embeds: d.Embeds, Embed: d.Embed, Cards: d.CardsPath, WrongDigits: d.WrongDigits, NoMoreTries: d.NoMoreTries}
	if d.Lang == "ar" {
		x.Dir, x.OtherLang = "rtl", "en"
	}
	if d.View != nil {
		x.Invoice, x.Receipt, x.Document = d.InvoicePath, d.ReceiptPath, d.View.Request.AttachmentURL
		x.describe(d)
	}
	var out bytes.Buffer
	if err := p.page.Execute(&out, &x); err != nil {
		return nil, fmt.Errorf("rendering the page: %w", err)
	}
	return out.Bytes(), nil
}

// describe fills in what the reader of this link may know: what is asked for, and what arrived.
func (x *pageData) describe(d Page) {
	v, r := d.View, d.View.Request
	link := NewLinkData("", r, paylink.Contact{}, "", d.Lang).clean()
	locale := d.Lang
	if r.Country != "" {
		locale += "-" + strings.ToUpper(r.Country)
	}
	money := func(minor int64) string {
		return paylink.Money{Minor: minor, Currency: r.Amount.Currency}.Format(locale)
	}
	left := money(v.Left().Minor)
	x.ShortRef = link.ShortRef
	add := func(label, value string) {
		if value != "" {
			x.Details = append(x.Details, detail{label, value})
		}
	}
	switch d.State {
	case PagePayable, PagePartPaid:
		x.Sum, x.PaySum = left, left
	case PagePaid, PagePartRefunded, PageRefunded:
		x.Sum = money(v.Paid)
	case PageProcessing:
		x.Sum, x.PayWord = left, "pay_again"
	case PageCheckout:
		x.Sum = left
	case PageCards:
		x.Sum, x.PayWord = left, "without_cards"
	case PageBusy, PageDown, PageFailed:
		x.Sum, x.PayWord = left, "try_again"
	case PageAuthorized, PageSettled, PageRefused, PageReplaced:
		x.Sum = link.Amount
	}
	add("for", link.Description)
	if x.Sum == "" || v.Paid > 0 && x.Sum != link.Amount {
		add("amount", link.Amount)
	}
	if d.State == PagePartPaid {
		add("paid_so_far", money(v.Paid-v.Refunded))
	}
	if v.Refunded > 0 {
		add("refunded", money(v.Refunded))
	}
	if v.Request.Payment.Owes() {
		due := "due"
		if r.DueDate != "" && r.DueDate < d.Now.In(zone(r.Timezone)).Format(time.DateOnly) {
			due = "was_due"
		}
		add(due, link.DueDate)
	}
	add("invoice", link.InvoiceNumber)
	add("reference", link.Reference)
	if !v.Request.Payment.Owes() {
		for i := len(v.Receipts) - 1; i >= 0; i-- {
			if c := v.Receipts[i]; c.Kind == "settled" || c.Kind == "authorized" {
				at := c.At.In(zone(r.Timezone))
				clock := at.Format("15:04")
				if hasArabicDigits(link.Amount) {
					clock = arabicDigits(clock)
				}
				add("paid_on", formatDate(at.Format(time.DateOnly), d.Lang, r.Country, hasArabicDigits(link.Amount))+" "+clock)
				add("receipt", oneLine(c.Ref))
				break
			}
		}
	}
}

func zone(name string) *time.Location {
	if z, err := time.LoadLocation(name); err == nil {
		return z
	}
	return time.UTC
}
