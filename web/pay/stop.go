package pay

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"dunlin/paylink"
	"dunlin/templates"
	"dunlin/web/throttle"
)

// SourceUnsubscribe is the source of suppressions that this page makes, and the only one that its way back lifts.
const SourceUnsubscribe = "unsubscribe"

// Silence keeps addresses from being written to.
type Silence interface {
	Suppress(ctx context.Context, s paylink.Suppression) error
	Lift(ctx context.Context, s paylink.Suppression, sources ...string) (lifted bool, err error)
}

// stopThrottles are wider by reader than those of the other buttons: a mail provider sends the one-click requests of all
// its users from a few networks, and does not repeat a refused one.
type stopThrottles struct{ readers, links *throttle.Throttle }

func newStopThrottles() stopThrottles {
	return stopThrottles{throttle.New(1200, time.Minute), throttle.New(10, time.Minute)}
}

func (p *Pages) mountStop(mux *http.ServeMux) {
	if p.Silence == nil {
		return
	}
	mux.HandleFunc("GET /p/{token}/stop", p.askStop)
	mux.HandleFunc("POST /p/{token}/stop", p.stop)
	mux.HandleFunc("POST /p/{token}/stop/undo", p.undoStop)
}

// enterStop is enter for a payer who has an email address.
func (p *Pages) enterStop(w http.ResponseWriter, r *http.Request, byReader, byLink *throttle.Throttle) (v visit, s paylink.Suppression, ok bool) {
	if v, ok = p.enter(w, r, byReader, byLink); !ok {
		return v, s, false
	}
	s = paylink.Suppression{Channel: paylink.Email, Address: v.view.Contact.Address(paylink.Email), Reason: paylink.SuppressedOptedOut,
		Source: SourceUnsubscribe, Request: v.view.Request.ID}
	if s.Address == "" { // never written to, or forgotten meanwhile
		p.nobody(w, r, http.StatusNotFound, templates.PageUnknown)
		return v, s, false
	}
	return v, s, true
}

func (p *Pages) askStop(w http.ResponseWriter, r *http.Request) {
	if v, s, ok := p.enterStop(w, r, p.readers, p.links); ok {
		p.showStop(w, v, s, templates.PageStop)
	}
}

// stop takes the page's button and the one-click request of a mail program (RFC 8058) alike: what the body says does not
// matter. It answers directly, because such requests are not to be redirected.
func (p *Pages) stop(w http.ResponseWriter, r *http.Request) {
	v, s, ok := p.enterStop(w, r, p.stops.readers, p.stops.links)
	if !ok {
		return
	}
	if err := p.Silence.Suppress(r.Context(), s); err != nil {
		p.fail(w, r, v.lang, s.Request, err)
		return
	}
	p.Log.Info("payer wants no more emails", "request", s.Request.String())
	p.showStop(w, v, s, templates.PageStopped)
}

func (p *Pages) undoStop(w http.ResponseWriter, r *http.Request) {
	v, s, ok := p.enterStop(w, r, p.stops.readers, p.stops.links)
	if !ok {
		return
	}
	lifted, err := p.Silence.Lift(r.Context(), s, SourceUnsubscribe)
	if err != nil {
		p.fail(w, r, v.lang, s.Request, err)
		return
	}
	p.Log.Info("payer takes emails again", "request", s.Request.String(), "lifted", lifted)
	p.showStop(w, v, s, templates.PageResumed)
}

func (p *Pages) showStop(w http.ResponseWriter, v visit, s paylink.Suppression, state templates.PageState) {
	d := templates.StopPage{State: state, Lang: v.lang, Merchant: p.Merchant, Address: mask(s.Address), LinkPath: path(v, "")}
	switch state {
	case templates.PageStop:
		d.StopPath = path(v, "/stop")
		d.LanguagePath = "/p/" + v.token + "/stop?lang=" + map[bool]string{true: "en", false: "ar"}[v.lang == "ar"]
	case templates.PageStopped:
		d.UndoPath = path(v, "/stop/undo")
	}
	page, err := p.Texts.Stop(d)
	if err != nil {
		p.Log.Error("page not rendered", "state", state, "error", err)
		http.Error(w, "please try again later", http.StatusInternalServerError)
		return
	}
	p.send(w, http.StatusOK, d.Lang, "", page)
}

// mask leaves of an address what its owner knows it by, and tells nobody else.
func mask(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	return first(local) + "•••@" + first(domain) + "•••"
}

func first(s string) string {
	r, _ := utf8.DecodeRuneInString(s)
	if s == "" || r == utf8.RuneError {
		return ""
	}
	return string(r)
}
