// Package pay is the page behind a payer's link: what is asked for and what became of it, in English and Arabic. It works
// without JavaScript.
//
// A GET changes nothing (law 10): mail scanners and chat previews open links, and a hundred of their visits leave the
// record and the provider as they were. The payer's button is a POST. It has one live session ensured and sends the payer
// on by a 303: to the provider's page, or, with an [SDK], to a page of ours that holds the provider's checkout. Coming back
// leads to a page that shows what is stored, and whose button is the only thing that asks the provider. What the checkout
// tells by its callbacks is a hint for when to ask, never an answer.
//
// Whoever has the link may see the page, and links are forwarded: it shows what the request is for and its sums, not whom
// it was sent to. Nothing of the payer stands in an address or a log.
package pay

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dunlin/jobs"
	"dunlin/paylink"
	"dunlin/templates"
	"dunlin/web/throttle"
)

// Ledger is what the page reads.
type Ledger interface {
	Now() time.Time
	Payer(ctx context.Context, id paylink.RequestID) (paylink.PayerView, error)
	// Viewed records the first time that a page's script told of a look.
	Viewed(ctx context.Context, id paylink.RequestID) error
	// Prove records a try at the second factor; ErrConflict means that the day's wrong ones are used up.
	Prove(ctx context.Context, id paylink.RequestID, right bool, wrong int) error
}

// Desk does what payers ask for.
type Desk interface {
	Pay(ctx context.Context, id paylink.RequestID) (jobs.Answer, string, error)
	// PayWithCards is Pay by a session that offers the payer's saved cards.
	PayWithCards(ctx context.Context, id paylink.RequestID) (jobs.Answer, string, error)
	Check(ctx context.Context, id paylink.RequestID) error
}

// Config is what the pages are made from.
type Config struct {
	Ledger   Ledger
	Desk     Desk
	Texts    *templates.Set
	Merchant string
	Log      *slog.Logger
	// Language is that of a page about nobody's request, when the reader's browser asks for neither of ours.
	Language string
	// Silence is what the unsubscribe page needs; nil = there is no such page.
	Silence Silence
	// FormTargets are further origins to which the payer may be sent on; every https address is allowed as it is.
	FormTargets []string
	// SDK embeds the provider's checkout; nil = the payer is sent on to the provider's page.
	SDK *SDK
	// Cards offers saved cards in it; nil = it does not.
	Cards *Cards
}

// Pages serves the payers' pages. It is safe for concurrent use.
type Pages struct {
	Config
	policy, checkoutPolicy string
	script                 script
	// By reader and by link: reading is cheap, a button may cost a call to the provider.
	readers, links, pressers, presses *throttle.Throttle
	stops                             stopThrottles
}

// startedFor is how long after a click the page reminds of it.
const startedFor = 30 * time.Minute

// New makes the pages.
func New(c Config) (*Pages, error) {
	if c.Ledger == nil || c.Desk == nil || c.Texts == nil {
		return nil, errors.New("the payment page needs a ledger, a desk and its texts")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pages{Config: c,
		readers: throttle.New(300, time.Minute), links: throttle.New(120, time.Minute),
		pressers: throttle.New(120, time.Minute), presses: throttle.New(10, time.Minute), stops: newStopThrottles()}
	// Browsers hold every hop behind a form to form-action: the provider's page and the bank's, which nobody can list.
	p.policy = strings.TrimSpace("default-src 'none'; style-src " + c.Texts.PageStyle() +
		"; script-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' https: " + strings.Join(c.FormTargets, " "))
	if c.SDK != nil {
		p.checkoutPolicy = c.SDK.checkoutPolicy(c.FormTargets)
	}
	p.script = newScript(c.Texts.PageScript())
	return p, nil
}

// Mount adds the pages to a server's routes.
func (p *Pages) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /p/{token}", p.show)
	mux.HandleFunc("GET /p/{token}/return", p.back)
	mux.HandleFunc("GET /p/{token}/invoice", p.invoice)
	mux.HandleFunc("GET /p/{token}/receipt", p.receipt)
	mux.HandleFunc("POST /p/{token}/pay", p.pay)
	mux.HandleFunc("POST /p/{token}/check", p.check)
	p.mountStop(mux)
	mux.HandleFunc("GET /p/{token}/checkout", p.checkout)
	mux.HandleFunc("POST /p/{token}/hosted", p.pay)
	mux.HandleFunc("GET /p/{token}/cards", p.question)
	mux.HandleFunc("POST /p/{token}/cards", p.prove)
	mux.HandleFunc("POST /p/{token}/seen", p.seen)
	mux.Handle("GET "+p.script.path, p.script)
	mux.HandleFunc("/p/", func(w http.ResponseWriter, r *http.Request) {
		p.nobody(w, r, http.StatusNotFound, templates.PageUnknown)
	})
}

// visit is one request to a page.
type visit struct {
	token, lang string
	view        paylink.PayerView
	// Why the digits are asked for again.
	wrongDigits, noMoreTries bool
}

// enter finds whose page it is. ok is false when the answer was given already.
func (p *Pages) enter(w http.ResponseWriter, r *http.Request, byReader, byLink *throttle.Throttle) (v visit, ok bool) {
	now := time.Now()
	if !byReader.Allow(throttle.Network(r), now) {
		p.nobody(w, r, http.StatusTooManyRequests, templates.PageSlowDown)
		return v, false
	}
	v.token = r.PathValue("token")
	id, secret, err := paylink.ParseToken(v.token)
	if err != nil {
		p.nobody(w, r, http.StatusNotFound, templates.PageUnknown)
		return v, false
	}
	v.view, err = p.Ledger.Payer(r.Context(), id)
	switch {
	case errors.Is(err, paylink.ErrNotFound):
		// Compared all the same, so that a wrong secret and a missing request take the same road.
		paylink.SecretEqual(secret, make([]byte, len(secret)))
		fallthrough
	case err == nil && !paylink.SecretEqual(secret, v.view.Request.Secret):
		p.nobody(w, r, http.StatusNotFound, templates.PageUnknown)
		return v, false
	case err != nil:
		p.fail(w, r, "", id, err)
		return v, false
	case !byLink.Allow(v.token, now):
		p.nobody(w, r, http.StatusTooManyRequests, templates.PageSlowDown)
		return v, false
	}
	if v.lang = chosen(r); v.lang == "" {
		v.lang = v.view.Request.Language
	}
	return v, true
}

// chosen is the language that the reader chose on the page.
func chosen(r *http.Request) string {
	switch lang := r.URL.Query().Get("lang"); lang {
	case "en", "ar":
		return lang
	}
	return ""
}

func (p *Pages) show(w http.ResponseWriter, r *http.Request) {
	if v, ok := p.enter(w, r, p.readers, p.links); ok {
		p.render(w, http.StatusOK, v, stored(v.view), r.URL.Path)
	}
}

// back is where the provider sends the payer afterwards. What it adds to the address proves nothing and is not read.
func (p *Pages) back(w http.ResponseWriter, r *http.Request) {
	v, ok := p.enter(w, r, p.readers, p.links)
	if !ok {
		return
	}
	state := stored(v.view)
	if state == templates.PagePayable || state == templates.PagePartPaid {
		if l := v.view.Live; l != nil && p.started(v.view) {
			state = templates.PageProcessing
		}
	}
	p.render(w, http.StatusOK, v, state, r.URL.Path)
}

func (p *Pages) started(v paylink.PayerView) bool {
	return v.Live != nil && !v.EngagedAt.IsZero() && p.Ledger.Now().Sub(v.EngagedAt) < startedFor
}

func (p *Pages) pay(w http.ResponseWriter, r *http.Request) {
	v, ok := p.enter(w, r, p.pressers, p.presses)
	if !ok {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	cards := p.proven(r, v)
	if !cards && p.offers(v) && !fromScript(r) && r.PostFormValue("cards") != "no" {
		p.to(w, v, "/cards")
		return
	}
	p.lead(w, r, v, cards)
}

// lead has a session made if there is none, and sends the payer on.
func (p *Pages) lead(w http.ResponseWriter, r *http.Request, v visit, cards bool) {
	id, do := v.view.Request.ID, p.Desk.Pay
	if cards {
		do = p.Desk.PayWithCards
	}
	answer, target, err := do(r.Context(), id)
	if err != nil {
		p.fail(w, r, v.lang, id, err)
		return
	}
	p.Log.Info("payer wants to pay", "request", id.String(), "answer", answer)
	if fromScript(r) {
		p.tell(w, r, v, answer)
		return
	}
	switch answer {
	case jobs.AnswerGo:
		if p.SDK != nil && !strings.HasSuffix(r.URL.Path, "/hosted") {
			p.to(w, v, "/checkout")
			return
		}
		p.headers(w, "")
		w.Header().Set("Location", target)
		w.WriteHeader(http.StatusSeeOther)
	case jobs.AnswerProcessing:
		p.reread(r, &v)
		p.render(w, http.StatusOK, v, templates.PageProcessing, "")
	case jobs.AnswerBusy:
		w.Header().Set("Retry-After", "10")
		p.render(w, http.StatusServiceUnavailable, v, templates.PageBusy, "")
	case jobs.AnswerDown:
		w.Header().Set("Retry-After", "60")
		p.render(w, http.StatusServiceUnavailable, v, templates.PageDown, "")
	case jobs.AnswerRefused:
		p.render(w, http.StatusServiceUnavailable, v, templates.PageRefused, "") // a proxy may put its own page in place of a 502
	default:
		p.to(w, v, "")
	}
}

func (p *Pages) reread(r *http.Request, v *visit) {
	if fresh, err := p.Ledger.Payer(r.Context(), v.view.Request.ID); err == nil {
		v.view = fresh
	}
}

func (p *Pages) check(w http.ResponseWriter, r *http.Request) {
	v, ok := p.enter(w, r, p.pressers, p.presses)
	if !ok {
		return
	}
	if err := p.Desk.Check(r.Context(), v.view.Request.ID); err != nil {
		p.fail(w, r, v.lang, v.view.Request.ID, err)
		return
	}
	if fromScript(r) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		p.tell(w, r, v, "")
		return
	}
	p.to(w, v, "/return")
}

// to sends the reader to a page by GET, so that reloading it posts nothing again.
func (p *Pages) to(w http.ResponseWriter, v visit, more string) {
	p.headers(w, "")
	w.Header().Set("Location", path(v, more))
	w.WriteHeader(http.StatusSeeOther)
}

// path is an address of the visit's link, in the language that it is read in.
func path(v visit, more string) string {
	at := "/p/" + v.token + more
	if v.lang != v.view.Request.Language {
		at += "?lang=" + url.QueryEscape(v.lang)
	}
	return at
}

// stored is the page's state by the record alone.
func stored(v paylink.PayerView) templates.PageState {
	switch v.Request.Payment {
	case paylink.PaymentUnpaid:
		return templates.PagePayable
	case paylink.PaymentPartiallyPaid:
		return templates.PagePartPaid
	case paylink.PaymentAuthorized:
		return templates.PageAuthorized
	case paylink.PaymentPaid:
		return templates.PagePaid
	case paylink.PaymentPartiallyRefunded:
		return templates.PagePartRefunded
	case paylink.PaymentRefunded:
		return templates.PageRefunded
	case paylink.PaymentPaidOutside:
		return templates.PageSettled
	}
	if v.Replaced {
		return templates.PageReplaced
	}
	if v.Request.Payment == paylink.PaymentExpired {
		return templates.PageExpired
	}
	return templates.PageCanceled // canceled and written off: nobody asks for it any more
}

// render shows a state; self is the page's own path when its language can be changed by reading it again.
func (p *Pages) render(w http.ResponseWriter, status int, v visit, state templates.PageState, self string) {
	d := templates.Page{State: state, Lang: v.lang, Merchant: p.Merchant, View: &v.view, Now: p.Ledger.Now()}
	switch state {
	case templates.PagePayable, templates.PagePartPaid:
		d.PayPath, d.Embeds = path(v, "/pay"), p.SDK != nil
		if d.Started = p.started(v.view); d.Started {
			d.CheckPath = path(v, "/check")
		}
	case templates.PageProcessing:
		d.PayPath, d.CheckPath = path(v, "/pay"), path(v, "/check")
	case templates.PageBusy, templates.PageDown:
		d.PayPath, d.Embeds = path(v, "/pay"), p.SDK != nil
	case templates.PageCheckout:
		d.Embed, d.PayPath, d.CheckPath = p.embed(v), path(v, "/pay"), path(v, "/check")
	case templates.PageCards:
		d.PayPath, d.CardsPath, d.WrongDigits, d.NoMoreTries = path(v, "/pay"), path(v, "/cards"), v.wrongDigits, v.noMoreTries
	}
	if v.view.ViewedAt.IsZero() {
		d.SeenPath = "/p/" + v.token + "/seen"
	}
	if d.SeenPath != "" || d.Embed != nil {
		d.ScriptPath = p.script.path
	}
	p.addPapers(&d, v)
	if self == "" {
		self = "/p/" + v.token
	}
	d.LanguagePath = self + "?lang=" + map[string]string{"ar": "en"}[v.lang]
	if v.lang != "ar" {
		d.LanguagePath = self + "?lang=ar"
	}
	p.write(w, status, d)
}

// nobody answers a reader of whom nothing is known.
func (p *Pages) nobody(w http.ResponseWriter, r *http.Request, status int, state templates.PageState) {
	lang := chosen(r)
	for _, want := range strings.Split(r.Header.Get("Accept-Language"), ",") {
		if lang != "" {
			break
		}
		if base, _, _ := strings.Cut(strings.TrimSpace(want), "-"); len(base) >= 2 && (base[:2] == "en" || base[:2] == "ar") {
			lang = base[:2]
		}
	}
	if lang == "" {
		lang = p.Language
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "60")
	}
	p.write(w, status, templates.Page{State: state, Lang: lang, Merchant: p.Merchant, Now: p.Ledger.Now()})
}

func (p *Pages) fail(w http.ResponseWriter, r *http.Request, lang string, id paylink.RequestID, err error) {
	if r.Context().Err() == nil {
		p.Log.Error("payment page failed", "request", id.String(), "error", err)
	}
	p.write(w, http.StatusInternalServerError, templates.Page{State: templates.PageFailed, Lang: lang, Merchant: p.Merchant, Now: p.Ledger.Now()})
}

func (p *Pages) headers(w http.ResponseWriter, state templates.PageState) {
	h := w.Header()
	h.Set("Content-Security-Policy", p.policy)
	if state == templates.PageCheckout {
		h.Set("Content-Security-Policy", p.checkoutPolicy)
	}
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}

func (p *Pages) write(w http.ResponseWriter, status int, d templates.Page) {
	page, err := p.Texts.Page(d)
	if err != nil {
		p.Log.Error("payment page not rendered", "state", d.State, "error", err)
		http.Error(w, "please try again later", http.StatusInternalServerError)
		return
	}
	p.send(w, status, d.Lang, d.State, page)
}

func (p *Pages) send(w http.ResponseWriter, status int, lang string, state templates.PageState, page []byte) {
	p.headers(w, state)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", lang)
	w.WriteHeader(status)
	_, _ = w.Write(page)
}
