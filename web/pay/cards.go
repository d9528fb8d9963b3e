package pay

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dunlin/paylink"
	"dunlin/templates"
)

// Cards lets payers use the cards that the provider saved for them. Whoever has the link may pay, but a link can be
// forwarded: a session that shows saved cards is made for, and shown to, nobody who has not given the last digits of the
// phone number on record.
type Cards struct {
	// Key signs the cookie that remembers that the digits were given. All servers have the same.
	Key []byte
	// Secure keeps the cookie to https.
	Secure bool
}

const (
	// digitsAsked of the phone's number are asked for; with wrongDigits a day it takes
	// five years to try them all.
	digitsAsked = 4
	wrongDigits = 5
	// provenFor is how long the digits need not be given again.
	provenFor  = 30 * time.Minute
	cardCookie = "cards"
)

// offers reports whether there may be saved cards, and a factor to ask for.
func (p *Pages) offers(v visit) bool {
	return p.SDK != nil && p.Cards != nil && v.view.Request.CustomerID != "" && len(lastDigits(v.view.Contact.Phone)) == digitsAsked
}

// proven reports whether this reader has given the digits a short while ago.
func (p *Pages) proven(r *http.Request, v visit) bool {
	if !p.offers(v) {
		return false
	}
	c, err := r.Cookie(cardCookie)
	if err != nil {
		return false
	}
	until, mac, _ := strings.Cut(c.Value, ".")
	unix, err := strconv.ParseInt(until, 10, 64)
	return err == nil && hmac.Equal([]byte(mac), []byte(p.sign(v, until))) && p.Ledger.Now().Before(time.Unix(unix, 0))
}

// mayUse reports whether the reader may see the debt's session: one with saved cards is for who has proven to be the payer.
func (p *Pages) mayUse(r *http.Request, v visit) bool {
	return v.view.Live == nil || !v.view.Live.Cards || p.proven(r, v)
}

// sign binds the cookie to the link, the phone number and the time.
func (p *Pages) sign(v visit, until string) string {
	mac := hmac.New(sha256.New, p.Cards.Key)
	fmt.Fprintf(mac, "%q", []string{"cards", v.token, v.view.Contact.Phone, until})
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// question asks for the digits.
func (p *Pages) question(w http.ResponseWriter, r *http.Request) {
	v, ok := p.enter(w, r, p.readers, p.links)
	if !ok {
		return
	}
	state := stored(v.view)
	if p.offers(v) && v.view.Request.Payment.Owes() {
		state = templates.PageCards
	}
	p.render(w, http.StatusOK, v, state, r.URL.Path)
}

// prove compares the digits. Each try that counts is in the record before its answer is known to anybody, whichever of the
// servers takes it.
func (p *Pages) prove(w http.ResponseWriter, r *http.Request) {
	v, ok := p.enter(w, r, p.pressers, p.presses)
	if !ok {
		return
	}
	if !p.offers(v) || !v.view.Request.Payment.Owes() {
		p.to(w, v, "")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	given := lastDigits(r.PostFormValue("digits"))
	right := subtle.ConstantTimeCompare([]byte(given), []byte(lastDigits(v.view.Contact.Phone))) == 1
	switch err := p.Ledger.Prove(r.Context(), v.view.Request.ID, right, wrongDigits); {
	case errors.Is(err, paylink.ErrConflict):
		v.noMoreTries = true
	case err != nil:
		p.fail(w, r, v.lang, v.view.Request.ID, err)
		return
	case !right:
		v.wrongDigits = true
	default:
		until := p.Ledger.Now().Add(provenFor)
		stamp := strconv.FormatInt(until.Unix(), 10)
		http.SetCookie(w, &http.Cookie{Name: cardCookie, Value: stamp + "." + p.sign(v, stamp), Path: "/p/" + v.token,
			MaxAge: int(provenFor / time.Second), HttpOnly: true, Secure: p.Cards.Secure, SameSite: http.SameSiteLaxMode})
		p.lead(w, r, v, true)
		return
	}
	p.render(w, http.StatusUnprocessableEntity, v, templates.PageCards, "/p/"+v.token+"/cards")
}

// lastDigits are the last digits of a number, written in the digits of any of our languages; empty if they are fewer.
func lastDigits(s string) string {
	var out []byte
	for _, c := range s {
		switch {
		case '0' <= c && c <= '9':
			out = append(out, byte(c))
		case '٠' <= c && c <= '٩':
			out = append(out, byte('0'+c-'٠'))
		case '۰' <= c && c <= '۹':
			out = append(out, byte('0'+c-'۰'))
		}
	}
	if len(out) < digitsAsked {
		return ""
	}
	return string(out[len(out)-digitsAsked:])
}
