package sandbox

import (
	"bytes"
	"embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

//go:embed pages
var pageFiles embed.FS

// pages are the templates, parsed once.
type pages struct{ byName map[string]*template.Template }

func newPages() *pages {
	p := &pages{map[string]*template.Template{}}
	funcs := template.FuncMap{"segments": segments, "ago": ago, "clock": clock, "amount": plainAmount, "decode": decodeHeader}
	for _, name := range []string{"inbox", "mail", "sessions", "payer"} {
		p.byName[name] = template.Must(template.New("").Funcs(funcs).ParseFS(pageFiles, "pages/layout.html", "pages/"+name+".html"))
	}
	return p
}

// pageSize is how many entries a list page shows.
const pageSize = 40

// policy lets the pages load their own style and frame their own mails, and nothing else.
const policy = "default-src 'none'; style-src 'self'; img-src data:; frame-src 'self'; form-action *; base-uri 'none'"

func (s *Sandbox) show(w http.ResponseWriter, status int, name string, data any) {
	var buf bytes.Buffer
	if err := s.pages.byName[name].ExecuteTemplate(&buf, "page", data); err != nil {
		http.Error(w, "rendering the page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes())
}

func (s *Sandbox) serveStyle(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, pageFiles, "pages/style.css")
}

// listing is what the two list pages have in common.
type listing struct {
	Tab   string
	Query string
	Older string // address of the next page; empty on the last
	First bool
	Now   time.Time
	Quiet bool
}

func (s *Sandbox) listing(r *http.Request, tab, path string, next int) listing {
	l := listing{Tab: tab, Query: r.FormValue("q"), First: r.FormValue("before") == "", Now: s.cfg.Now(), Quiet: s.cfg.Quiet}
	if next > 0 {
		q := url.Values{"before": {strconv.Itoa(next)}}
		if l.Query != "" {
			q.Set("q", l.Query)
		}
		l.Older = path + "?" + q.Encode()
	}
	return l
}

func (s *Sandbox) serveInbox(w http.ResponseWriter, r *http.Request) {
	type entry struct {
		Mail    *Mail
		Message *Message
	}
	before, _ := strconv.Atoi(r.FormValue("before"))
	part := strings.ToLower(strings.TrimSpace(r.FormValue("q")))
	s.store.mu.Lock()
	list, next := backward(s.store.timeline, before, pageSize, func(a arrival) (e entry, ok bool) {
		if a.mail != nil {
			m := *a.mail
			return entry{Mail: &m}, strings.Contains(strings.ToLower(m.To), part)
		}
		m := a.message.Message
		return entry{Message: &m}, strings.Contains(m.To, part)
	})
	s.store.mu.Unlock()
	s.show(w, http.StatusOK, "inbox", map[string]any{
		"List": s.listing(r, "inbox", "/", next), "Entries": list, "Counts": s.Counts(), "Title": "Inbox",
	})
}

func (s *Sandbox) serveSessions(w http.ResponseWriter, r *http.Request) {
	before, _ := strconv.Atoi(r.FormValue("before"))
	s.store.mu.Lock()
	list, next := backward(s.store.sessions, before, pageSize, s.viewer(strings.TrimSpace(r.FormValue("q"))))
	s.store.mu.Unlock()
	s.show(w, http.StatusOK, "sessions", map[string]any{
		"List": s.listing(r, "sessions", "/sessions", next), "Sessions": list, "Counts": s.Counts(), "Title": "Sessions",
	})
}

func (s *Sandbox) serveMail(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	m, ok := s.mail(id)
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.show(w, http.StatusOK, "mail", map[string]any{
		"List": listing{Tab: "inbox", Now: s.cfg.Now()}, "Mail": m, "Title": m.Subject,
	})
}

// serveMailHTML is a mail's HTML part for the frame of its page. It is a stranger's document: no script, no network, and
// an origin of its own; links open outside of the frame.
func (s *Sandbox) serveMailHTML(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	m, ok := s.mail(id)
	if !ok || m.HTML == "" {
		http.NotFound(w, r)
		return
	}
	doc := m.HTML
	for cid, p := range m.inline {
		data := "data:" + p.contentType + ";base64," + base64.StdEncoding.EncodeToString(p.data)
		doc = strings.NewReplacer("cid:"+cid, data, "cid:"+url.PathEscape(cid), data).Replace(doc)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy",
		"sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'")
	_, _ = w.Write([]byte(withBase(doc)))
}

// withBase makes links open in a new tab, where the document's head allows it.
func withBase(doc string) string {
	const base = `<base target="_blank">`
	if i := strings.Index(strings.ToLower(doc), "<head>"); i >= 0 {
		i += len("<head>")
		return doc[:i] + base + doc[i:]
	}
	return doc
}

func (s *Sandbox) serveShort(w http.ResponseWriter, r *http.Request) {
	seq, ok := seqOfCode(r.PathValue("code"))
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if !ok || seq < 1 || seq > len(s.store.sessions) {
		// Also an API path without its slash ends here or in serveOttu; both are 404 to a browser.
		http.NotFound(w, r)
		return
	}
	http.Redirect(w, r, s.checkoutURL(s.store.sessions[seq-1].id), http.StatusFound)
}

// servePayer is what a payer sees behind a link. As at Ottu, looking at it already makes the session pending.
func (s *Sandbox) servePayer(w http.ResponseWriter, r *http.Request) {
	id := r.FormValue("session_id")
	x, err := s.Open(id)
	if err != nil {
		s.showPayer(w, http.StatusNotFound, Session{Language: "en"}, Payment{})
		return
	}
	s.showPayer(w, http.StatusOK, x, Payment{})
}

func (s *Sandbox) servePay(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	p, err := s.Attempt(r.Context(), r.PostFormValue("session_id"), Attempt{Outcome(r.PostFormValue("outcome")),
		r.PostFormValue("late") == "yes", Telling(r.PostFormValue("webhook"))})
	switch {
	case errors.Is(err, ErrNoSession):
		s.showPayer(w, http.StatusNotFound, Session{Language: "en"}, p)
	case errors.Is(err, ErrNotPayable):
		s.showPayer(w, http.StatusConflict, p.Session, p)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case pageURL(p.Redirect) && (p.Session.State == "paid" || p.Session.State == "authorized"):
		http.Redirect(w, r, p.Redirect, http.StatusSeeOther)
	default:
		s.showPayer(w, http.StatusOK, p.Session, p)
	}
}

func (s *Sandbox) showPayer(w http.ResponseWriter, status int, x Session, p Payment) {
	late := x.State == "expired" || x.State == "failed"
	words := payerWords["en"]
	dir := "ltr"
	if x.Language == "ar" {
		words, dir = payerWords["ar"], "rtl"
	}
	s.show(w, status, "payer", map[string]any{
		"Title": words["title"], "Session": x, "Open": x.open(), "Late": late, "Payment": p, "Words": words, "Dir": dir, "Lang": x.Language,
		"State": words[x.State], "Now": s.cfg.Now(),
	})
}

// payerWords are the texts of the payer's page by language.
var payerWords = map[string]map[string]string{
	"en": {
		"title": "Payment", "amount": "Amount due", "for": "Reference", "name": "Payer", "until": "Pay by",
		"late": "Pay all the same, too late", "telling": "The merchant's webhook is told", "usual": "as usual", "twice": "twice",
		"behind": "after that of the next attempt", "never": "not at all",
		"pay": "Pay", "part": "Pay half", "fail": "Let the card be declined", "cancel": "Leave without paying",
		"note": "This is a sandbox. No card is charged, no money moves.", "absent": "This payment does not exist.",
		"pending": "Waiting for payment", "attempted": "The last attempt did not succeed. You can try again.",
		"paid": "Paid. Thank you.", "authorized": "Authorized. Thank you.", "expired": "This link has expired.",
		"canceled": "This payment was canceled.", "failed": "The payment failed.", "back": "Back to the merchant", "settled": "Received",
	},
	"ar": {
		"title": "الدفع", "amount": "المبلغ المستحق", "for": "المرجع", "name": "الدافع", "until": "ادفع قبل",
		"late": "ادفع رغم فوات الأوان", "telling": "إبلاغ المتجر عبر الـ webhook", "usual": "كالمعتاد", "twice": "مرتين",
		"behind": "بعد إبلاغ المحاولة التالية", "never": "لا يُبلَّغ",
		"pay": "ادفع", "part": "ادفع النصف", "fail": "محاكاة رفض البطاقة", "cancel": "المغادرة دون دفع",
		"note": "هذه بيئة تجريبية. لا تُخصم أي بطاقة ولا تُحوَّل أي أموال.", "absent": "عملية الدفع هذه غير موجودة.",
		"pending": "بانتظار الدفع", "attempted": "لم تنجح المحاولة الأخيرة. يمكنك المحاولة مرة أخرى.",
		"paid": "تم الدفع. شكراً لك.", "authorized": "تم التفويض. شكراً لك.", "expired": "انتهت صلاحية هذا الرابط.",
		"canceled": "أُلغيت عملية الدفع هذه.", "failed": "فشلت عملية الدفع.", "back": "العودة إلى المتجر", "settled": "تم استلام",
	},
}

func clock(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }

func plainAmount(v Session) string { return v.Currency + " " + v.Amount }

// ago says how long before now t was, in words short enough for a list.
func ago(now, t time.Time) string {
	switch d := now.Sub(t); {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + " min ago"
	case d < 24*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h ago"
	default:
		return t.UTC().Format("2 Jan 15:04")
	}
}
