package templates

import (
	"bytes"
	"fmt"
	htmltemplate "html/template"
)

// The states of the page by which a payer stops emails.
const (
	PageStop    PageState = "stop"    // asks
	PageStopped PageState = "stopped" // done, with a way back
	PageResumed PageState = "resumed" // the way back was taken
)

// StopPage is what the page is rendered from.
type StopPage struct {
	State          PageState
	Lang, Merchant string
	// Address is the address that is meant, masked: a link may be in other hands.
	Address string
	// StopPath and UndoPath are where the forms lead, LinkPath and LanguagePath are links. Empty ones are left out.
	StopPath, UndoPath, LinkPath, LanguagePath string
}

// stopData is what pages/stop.html sees.
type stopData struct {
	StopPage
	Dir, OtherLang string
	W              map[string]string
	Style          htmltemplate.CSS
}

// loadStop parses the page and renders every state in both languages.
func (p *pages) loadStop(files map[string]string) (err error) {
	if p.stop, err = parseHTML([]string{"pages/stop.html"}, files); err != nil {
		return err
	}
	for lang, words := range p.words {
		for _, state := range []PageState{PageStop, PageStopped, PageResumed} {
			if words["title_"+string(state)] == "" {
				return fmt.Errorf("pages/words.%s.json: %q is missing", lang, "title_"+string(state))
			}
			if _, err := p.renderStop(StopPage{State: state, Lang: lang, Merchant: "Al Noor School", StopPath: "/p/x/stop", UndoPath: "/p/x/stop/undo"}); err != nil {
				return fmt.Errorf("pages/stop.html: %w", err)
			}
		}
	}
	return nil
}

// Stop renders the page by which a payer stops emails.
func (s *Set) Stop(d StopPage) ([]byte, error) { return s.pages.renderStop(d) }

func (p *pages) renderStop(d StopPage) ([]byte, error) {
	x := stopData{StopPage: d, Dir: "ltr", OtherLang: "ar", W: p.words[d.Lang], Style: htmltemplate.CSS(p.style)}
	if x.W == nil {
		x.Lang, x.W = "en", p.words["en"]
	}
	if x.Lang == "ar" {
		x.Dir, x.OtherLang = "rtl", "en"
	}
	x.Merchant, x.Address = oneLine(d.Merchant), oneLine(d.Address)
	var out bytes.Buffer
	if err := p.stop.Execute(&out, &x); err != nil {
		return nil, fmt.Errorf("rendering the page: %w", err)
	}
	return out.Bytes(), nil
}
