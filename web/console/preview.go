package console

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"dunlin/ledger"
	"dunlin/notify"
	"dunlin/paylink"
	"dunlin/templates"
)

// messageView is a message as its payer would read it.
type messageView struct {
	Channel   paylink.Channel
	To        string
	Subject   string
	Text      string
	Mail      string // the address of the mail's HTML, for a frame
	Variables []cell
	Segments  int
	Unicode   bool
	Wrong     string
}

type previewView struct {
	Batch         paylink.Batch
	Line          ledger.RequestLine
	Lang          string
	Messages      []messageView
	Next, Earlier int
	Row           int
}

// preview shows the messages of one row as they will be sent.
func (c *Console) preview(w http.ResponseWriter, r *http.Request) error {
	id, err := c.batchOf(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	v := previewView{Lang: r.URL.Query().Get("lang")}
	if v.Batch, err = c.Ledger.Batch(ctx, id); err != nil {
		return err
	}
	row := max(1, intOf(r.URL.Query().Get("row")))
	lines, _, err := c.Ledger.RowPage(ctx, id, ledger.PageFilter{}, row-1, 2)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		return say(http.StatusNotFound, "There is no good row from row %d on.", row)
	}
	v.Line = lines[0]
	v.Row = v.Line.Request.ID.Row()
	v.Earlier = v.Row - 1
	if len(lines) > 1 {
		v.Next = lines[1].Request.ID.Row()
	}
	if v.Lang != "en" && v.Lang != "ar" {
		v.Lang = v.Line.Request.Language
	}
	for _, ch := range paylink.Channels {
		if v.Line.Request.Routes.Uses(ch) {
			v.Messages = append(v.Messages, c.messageOf(v.Line, ch, v.Lang))
		}
	}
	return c.render(w, r, http.StatusOK, "preview", "batches", "Messages of "+v.Batch.Name, v)
}

// build renders a message by the workers' own code.
func (c *Console) build(l ledger.RequestLine, ch paylink.Channel, lang string) (notify.Outgoing, error) {
	req := l.Request
	req.Language = lang
	link := c.Intake(c.Ledger.Now()).ProviderLink
	if l.Session != nil && l.Session.URL != "" {
		link = l.Session.URL
	}
	out, _, err := c.Builder.Build(paylink.MessageClaim{
		Message: paylink.Message{RequestID: req.ID, Purpose: paylink.PurposeLink, Channel: ch, N: 1}, Request: req, Contact: l.Contact,
		Date: c.Ledger.Now(), Link: link})
	return out, err
}

func (c *Console) messageOf(l ledger.RequestLine, ch paylink.Channel, lang string) messageView {
	v := messageView{Channel: ch, To: l.Contact.Address(ch)}
	out, err := c.build(l, ch, lang)
	if err != nil {
		v.Wrong = "This message cannot be made: " + plain(err)
		return v
	}
	v.Subject, v.Text = out.Subject, out.Text
	switch ch {
	case paylink.Email:
		v.Mail = fmt.Sprintf("/console/requests/%s/mail?lang=%s", l.Request.ID, lang)
	case paylink.SMS:
		v.Segments, v.Unicode = templates.Segments(out.Text)
	case paylink.WhatsApp:
		for _, k := range slices.Sorted(maps.Keys(out.Variables)) {
			v.Variables = append(v.Variables, cell{k, out.Variables[k]})
		}
	}
	return v
}

// mail is the HTML of a request's mail, for a frame on our pages and nothing else: no script of it runs.
func (c *Console) mail(w http.ResponseWriter, r *http.Request) error {
	id, err := c.requestOf(r)
	if err != nil {
		return err
	}
	l, err := c.Ledger.Request(r.Context(), id)
	if err != nil {
		return err
	}
	lang := r.URL.Query().Get("lang")
	if lang != "en" && lang != "ar" {
		lang = l.Request.Language
	}
	out, err := c.build(l, paylink.Email, lang)
	if err != nil {
		return say(http.StatusUnprocessableEntity, "%s", plain(err))
	}
	framed(w, out.HTML, out.Inline)
	return nil
}

// framed writes a mail's HTML with its pictures inside, under a policy of its own: the mail brings its styles along, and
// may do nothing else.
func framed(w http.ResponseWriter, html string, pictures []notify.Inline) {
	for _, p := range pictures {
		html = strings.ReplaceAll(html, "cid:"+p.Name, "data:"+p.ContentType+";base64,"+base64.StdEncoding.EncodeToString(p.Data))
	}
	h := w.Header()
	headers(h)
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(html))
}

type textsView struct {
	Lang    string
	Subject string
	Mail    string
	Plain   string
	SMS     string
	Segs    int
	Unicode bool
	Vars    []cell
	Hashes  []cell
}

// sample is a request that nobody made, to show texts by.
func (c *Console) sample(lang string) templates.LinkData {
	names := map[string][2]string{"en": {"Adam Sample", "School fees, spring term"}, "ar": {"ليلى التجربة", "الرسوم الدراسية، فصل الربيع"}}
	merchant := first(c.Merchant, "Your name")
	link := strings.TrimSuffix(first(c.PublicURL, "https://pay.example.com"), "/") + "/p/8sKq2mTnVb4Lw7Xc9"
	return templates.NewLinkData(merchant, paylink.Request{ID: paylink.NewRequestID(1, 42), Reference: "INV-2027-0042", Amount: paylink.Money{Minor: 42500, Currency: "KWD"},
		Language: lang, Country: "KW", DueDate: "2027-03-15", Description: names[lang][1]}, paylink.Contact{Name: names[lang][0]}, link, lang)
}

// texts shows what payers are sent, by sample data.
func (c *Console) texts(w http.ResponseWriter, r *http.Request) error {
	v := textsView{Lang: r.URL.Query().Get("lang")}
	if v.Lang != "ar" {
		v.Lang = "en"
	}
	d := c.sample(v.Lang)
	mail, err := c.Texts.Email(paylink.PurposeLink, v.Lang, d)
	if err != nil {
		return err
	}
	v.Subject, v.Plain, v.Mail = mail.Subject, mail.Text, "/console/texts/mail?lang="+v.Lang
	if v.SMS, err = c.Texts.SMS(paylink.PurposeLink, v.Lang, d); err != nil {
		return err
	}
	v.Segs, v.Unicode = templates.Segments(v.SMS)
	vars, err := c.Texts.WhatsApp(paylink.PurposeLink, v.Lang, d, "8sKq2mTnVb4Lw7Xc9")
	if err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		v.Vars = append(v.Vars, cell{k, vars[k]})
	}
	return c.render(w, r, http.StatusOK, "texts", "texts", "What payers read", v)
}

func (c *Console) sampleMail(w http.ResponseWriter, r *http.Request) error {
	lang := r.URL.Query().Get("lang")
	if lang != "ar" {
		lang = "en"
	}
	d := c.sample(lang)
	png, err := templates.QR(d.Link)
	if err != nil {
		return err
	}
	d.QR = "qr.png"
	mail, err := c.Texts.Email(paylink.PurposeLink, lang, d)
	if err != nil {
		return err
	}
	framed(w, mail.HTML, []notify.Inline{{Name: d.QR, ContentType: "image/png", Data: png}})
	return nil
}
