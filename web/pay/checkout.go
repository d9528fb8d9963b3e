package pay

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"dunlin/jobs"
	"dunlin/paylink"
	"dunlin/templates"
)

// SDK is the provider's checkout, embedded in our page.
type SDK struct {
	// ScriptURL is where its script is loaded from, Merchant the address of the merchant's own host at the provider.
	ScriptURL, Merchant string
	// PublicKey is the key that the script shows at the provider. It is no secret.
	PublicKey string
}

// forms are the ways to pay that the checkout may offer; it leaves out what the device or the merchant cannot. cardForm
// is the one of saved cards.
const (
	forms    = "applePay googlePay ottuPG redirect stcPay urPay"
	cardForm = "tokenPay"
)

// maxForm bounds the bodies of the page's own forms.
const maxForm = 4 << 10

// checkoutPolicy is the Content-Security-Policy of the page that holds the provider's checkout. Its script brings its own
// styles and pictures, loads the scripts of Apple Pay and Google Pay, and shows the banks' 3-D Secure pages in frames,
// whose addresses nobody can list. Scripts come from these four places only, and none stands in the page.
func (s *SDK) checkoutPolicy(formTargets []string) string {
	script, merchant := origin(s.ScriptURL), origin(s.Merchant)
	frames := "https:"
	if strings.HasPrefix(merchant, "http:") { // a stand-in on this machine
		frames += " " + merchant
	}
	return strings.TrimSpace("default-src 'none'; script-src 'self' " + script + " https://applepay.cdn-apple.com https://pay.google.com" +
		"; connect-src 'self' " + merchant + " https://pay.google.com https://google.com https://www.google.com" +
		"; frame-src " + frames + "; img-src https: data:; font-src https: data:; style-src 'unsafe-inline' " + script +
		"; base-uri 'none'; frame-ancestors 'none'; form-action 'self' https: " + strings.Join(formTargets, " "))
}

func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// script is a static file under an address that changes with its content.
type script struct {
	path string
	body []byte
}

func newScript(body []byte) script {
	sum := sha256.Sum256(body)
	return script{"/p/static/pay-" + hex.EncodeToString(sum[:8]) + ".js", body}
}

func (s script) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(s.body)
}

// checkout shows the provider's checkout for the session that the payer's POST has ensured. It changes nothing: where
// there is no such session any more, the page with the button is shown.
func (p *Pages) checkout(w http.ResponseWriter, r *http.Request) {
	v, ok := p.enter(w, r, p.readers, p.links)
	if !ok {
		return
	}
	state := stored(v.view)
	if p.payable(v.view) && p.mayUse(r, v) {
		state = templates.PageCheckout
	}
	p.render(w, http.StatusOK, v, state, r.URL.Path)
}

// payable reports whether the debt's session was given to its payer and can be paid by, as far as the record goes.
func (p *Pages) payable(v paylink.PayerView) bool {
	l := v.Live
	return p.SDK != nil && v.Request.Payment.Owes() && l != nil && l.State.Live() && l.Ending == "" && !l.RevealedAt.IsZero() &&
		(l.ExpiresAt.IsZero() || l.ExpiresAt.After(p.Ledger.Now()))
}

func (p *Pages) embed(v visit) *templates.PageEmbed {
	u, err := url.Parse(p.SDK.Merchant)
	if err != nil {
		return nil
	}
	e := &templates.PageEmbed{ScriptURL: p.SDK.ScriptURL, Merchant: u.Host, Key: p.SDK.PublicKey, Session: v.view.Live.ProviderID, Forms: forms,
		HostedPath: path(v, "/hosted"), ResultPath: path(v, "/return")}
	if v.view.Live.Cards {
		e.Forms += " " + cardForm
	}
	return e
}

// The answers to the page's script.
const (
	nextStay   = "stay"   // the session that it has is the one to pay by
	nextPay    = "pay"    // press pay again: the session is another, or none
	nextResult = "result" // there is nothing to pay: look at what became of it
)

func fromScript(r *http.Request) bool { return r.Header.Get("Accept") == "application/json" }

// tell answers the script about the session that it says it has.
func (p *Pages) tell(w http.ResponseWriter, r *http.Request, v visit, answer jobs.Answer) {
	p.reread(r, &v)
	next := nextPay
	switch live := v.view.Live; {
	case !v.view.Request.Payment.Owes():
		next = nextResult
	case p.payable(v.view) && live.ProviderID == r.PostFormValue("session") && (answer == "" || answer == jobs.AnswerGo):
		next = nextStay
	}
	p.headers(w, "")
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"next": next})
}

// seen is told by the page's script that somebody, or a machine that runs scripts, looks at the page.
func (p *Pages) seen(w http.ResponseWriter, r *http.Request) {
	v, ok := p.enter(w, r, p.readers, p.links)
	if !ok {
		return
	}
	if v.view.ViewedAt.IsZero() {
		if err := p.Ledger.Viewed(r.Context(), v.view.Request.ID); err != nil {
			p.fail(w, r, v.lang, v.view.Request.ID, err)
			return
		}
	}
	p.headers(w, "")
	w.WriteHeader(http.StatusNoContent)
}
