package pay_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"dunlin/jobs"
	"dunlin/paylink"
	"dunlin/templates"
	"dunlin/web/pay"
)

// lone is a ledger of one debt, and the desk of it.
type lone struct {
	id     paylink.RequestID
	secret []byte
	asked  int // for a session, or a look at one
}

func (l *lone) Now() time.Time { return time.Unix(1_750_000_000, 0) }

func (l *lone) Payer(_ context.Context, id paylink.RequestID) (v paylink.PayerView, err error) {
	if id != l.id {
		return v, paylink.ErrNotFound
	}
	v.Request = paylink.Request{ID: id, Secret: l.secret, Amount: paylink.Money{Minor: 5500, Currency: "KWD"}, Payment: paylink.PaymentUnpaid, Language: "en"}
	return v, nil
}

func (l *lone) Pay(context.Context, paylink.RequestID) (jobs.Answer, string, error) {
	l.asked++
	return jobs.AnswerGo, "https://ottu.example/pay", nil
}

func (l *lone) PayWithCards(ctx context.Context, id paylink.RequestID) (jobs.Answer, string, error) {
	return l.Pay(ctx, id)
}

func (l *lone) Viewed(context.Context, paylink.RequestID) error { l.asked++; return nil }

func (l *lone) Prove(context.Context, paylink.RequestID, bool, int) error { l.asked++; return nil }

func (l *lone) Check(context.Context, paylink.RequestID) error { l.asked++; return nil }

// FuzzToken opens pages and presses buttons with any token: only the debt's own opens its page.
func FuzzToken(f *testing.F) {
	l := &lone{id: paylink.NewRequestID(7, 42), secret: []byte("0123456789")}
	texts, err := templates.Load("")
	if err != nil {
		f.Fatal(err)
	}
	own := paylink.Token(l.id, l.secret)
	f.Add(own)
	f.Add(own[:len(own)-1])
	f.Add(own + "1")
	f.Add(paylink.Token(l.id, make([]byte, len(l.secret))))
	f.Add(paylink.Token(paylink.NewRequestID(1<<30, 1), l.secret))
	f.Add("..")
	f.Add("%2e%2e/%00")
	f.Add(strings.Repeat("z", 4000))
	f.Fuzz(func(t *testing.T, token string) {
		pages, err := pay.New(pay.Config{Ledger: l, Desk: l, Texts: texts, Merchant: "Al Noor School", Language: "en"}) // limits of its own
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []struct{ method, action string }{{"GET", ""}, {"GET", "return"}, {"POST", "pay"}, {"POST", "check"}, {"GET", "checkout"}, {"POST", "hosted"},
			{"GET", "cards"}, {"POST", "cards"}, {"POST", "seen"}} {
			l.asked = 0
			mux := http.NewServeMux()
			pages.Mount(mux)
			r := httptest.NewRequest(form.method, "/p/x/"+form.action, nil)
			if r.URL.Path = "/p/" + token; form.action != "" {
				r.URL.Path += "/" + form.action
			}
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			id, secret, err := paylink.ParseToken(token)
			mine := err == nil && id == l.id && paylink.SecretEqual(secret, l.secret)
			switch {
			case w.Code >= 500:
				t.Errorf("%s %s: got %d", form.method, form.action, w.Code)
			case !mine && (w.Code == http.StatusOK || w.Code == http.StatusSeeOther || l.asked > 0):
				t.Errorf("%s %s with a strange token: got %d, asked %d times", form.method, form.action, w.Code, l.asked)
			case mine && (w.Code >= 400 || form.method == "GET" && l.asked > 0):
				t.Errorf("%s %s with its own token: got %d, asked %d times", form.method, form.action, w.Code, l.asked)
			case token != "" && token != own && strings.Contains(w.Body.String(), own):
				t.Error("the page of a strange token names the right one")
			}
		}
	})
}
