package console

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"dunlin/paylink"
)

const suppressionsOnPage = 100

type suppressionsView struct {
	List     []paylink.Suppression
	Channels []paylink.Channel
	Full     bool
	Wrong    string
}

// suppressions lists who must not be written to. Addresses are kept as hashes only, so that is what is shown.
func (c *Console) suppressions(w http.ResponseWriter, r *http.Request) error {
	return c.showSuppressions(w, r, http.StatusOK, "")
}

func (c *Console) showSuppressions(w http.ResponseWriter, r *http.Request, status int, wrong string) error {
	list, err := c.Ledger.Suppressions(r.Context(), suppressionsOnPage)
	if err != nil {
		return err
	}
	return c.render(w, r, status, "suppressions", "suppressions", "Do not write to",
		suppressionsView{List: list, Channels: paylink.Channels, Full: len(list) == suppressionsOnPage, Wrong: wrong})
}

// suppress keeps an address silent because a person says so.
func (c *Console) suppress(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	ch := paylink.Channel(r.PostFormValue("channel"))
	why, err := whyOf(r, true)
	if err != nil {
		return err
	}
	if !slices.Contains(paylink.Channels, ch) {
		return say(http.StatusUnprocessableEntity, "There is no such channel.")
	}
	address, ok := c.address(ch, r.PostFormValue("address"))
	if !ok {
		return c.showSuppressions(w, r, http.StatusUnprocessableEntity, "That is no address for "+channelWords[ch]+": nothing was done.")
	}
	if err := c.Ledger.Suppress(r.Context(), paylink.Suppression{Channel: ch, Address: address, Reason: paylink.SuppressedManual, Source: actor(r) + ": " + why}); err != nil {
		return err
	}
	return to(w, "/console/suppressions", "suppressed")
}

// address is what a person typed, in the form in which files are read: it is compared by its hash.
func (c *Console) address(ch paylink.Channel, text string) (string, bool) {
	text = strings.TrimSpace(text)
	if ch == paylink.Email {
		box, domain, ok := strings.Cut(text, "@")
		if !ok || box == "" || domain == "" || strings.ContainsAny(text, " \t") {
			return "", false
		}
		return box + "@" + strings.ToLower(domain), true
	}
	n, err := phonenumbers.Parse(paylink.LatinDigits(text), c.Reading.Country)
	if err != nil {
		return "", false
	}
	return phonenumbers.Format(n, phonenumbers.E164), true
}

var hashText = regexp.MustCompile(`^[0-9a-f]{64}$`)

// lift lets an address be written to again.
func (c *Console) lift(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	why, err := whyOf(r, true)
	if err != nil {
		return err
	}
	hash := r.PathValue("hash")
	if !hashText.MatchString(hash) {
		return say(http.StatusNotFound, "There is no such entry.")
	}
	if err := c.Ledger.LiftByHand(r.Context(), paylink.Channel(r.PathValue("channel")), hash, actor(r), why); err != nil {
		return err
	}
	return to(w, "/console/suppressions", "lifted")
}
