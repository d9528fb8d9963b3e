package console

import (
	"errors"
	"net/http"
	"strings"

	"dunlin/ledger"
	"dunlin/web/signin"
)

// route is a page and the least role that may have it; "" is everybody.
type route struct {
	pattern string
	least   ledger.Role
	serve   handler
}

func (c *Console) routes() []route {
	const viewer, operator, approver, admin = ledger.RoleViewer, ledger.RoleOperator, ledger.RoleApprover, ledger.RoleAdmin
	return []route{
		{"GET /console/static/{hash}/{file}", "", c.static},
		{"GET /console/signin", "", c.signInPage},
		{"POST /console/signin", "", c.signIn},
		{"POST /console/signout", viewer, c.signOut},

		{"GET /console/{$}", viewer, c.home},
		{"GET /console/batches", viewer, c.batches},
		{"GET /console/batches/{batch}", viewer, c.batch},
		{"GET /console/batches/{batch}/live", viewer, c.live},
		{"GET /console/batches/{batch}/requests", viewer, c.batchRequests},
		{"GET /console/batches/{batch}/export.csv", viewer, c.export},
		{"GET /console/batches/{batch}/errors.csv", operator, c.errorFile},
		{"GET /console/batches/{batch}/mend", operator, c.mendPage},
		{"POST /console/batches/{batch}/mend", operator, c.mend},
		{"GET /console/batches/{batch}/preview", operator, c.preview},
		{"GET /console/batches/{batch}/do/{action}", operator, c.askBatch},
		{"POST /console/batches/{batch}/do/{action}", operator, c.doBatch},
		{"GET /console/batches/{batch}/approve", approver, c.askApprove},
		{"POST /console/batches/{batch}/approve", approver, c.approve},

		{"GET /console/upload", operator, c.uploadPage},
		{"POST /console/upload", operator, c.upload},
		{"GET /console/upload/{upload}", operator, c.columnsPage},
		{"POST /console/upload/{upload}", operator, c.columns},

		{"GET /console/requests", viewer, c.search},
		{"GET /console/requests/{request}", viewer, c.request},
		{"GET /console/requests/{request}/qr.png", operator, c.qr},
		{"GET /console/requests/{request}/mail", operator, c.mail},
		{"GET /console/requests/{request}/do/{action}", operator, c.askRequest},
		{"POST /console/requests/{request}/do/{action}", operator, c.doRequest},

		{"GET /console/attention", viewer, c.attention},
		{"POST /console/attention/flags/{flag}", operator, c.closeFlag},
		{"POST /console/attention/providers/{provider}", operator, c.resumeProvider},
		{"GET /console/suppressions", viewer, c.suppressions},
		{"POST /console/suppressions", operator, c.suppress},
		{"POST /console/suppressions/{channel}/{hash}", approver, c.lift},
		{"GET /console/texts", viewer, c.texts},
		{"GET /console/texts/mail", viewer, c.sampleMail},
		{"GET /console/health", viewer, c.health},
		{"GET /console/users", admin, c.users},
		{"POST /console/users", admin, c.addUser},
		{"POST /console/users/{user}", admin, c.changeUser},
	}
}

// Mount adds the console to a server's routes.
func (c *Console) Mount(mux *http.ServeMux) {
	for _, r := range c.routes() {
		h := c.serve(r.serve)
		if r.least == "" {
			mux.Handle(r.pattern, c.Auth.Open(h))
		} else {
			mux.Handle(r.pattern, c.Auth.Require(r.least)(h))
		}
	}
	mux.Handle("GET /console", http.RedirectHandler("/console/", http.StatusSeeOther))
	mux.Handle("/console/", c.Auth.Require(ledger.RoleViewer)(c.serve(func(http.ResponseWriter, *http.Request) error {
		return say(http.StatusNotFound, "There is no such page.")
	})))
}

func (c *Console) home(w http.ResponseWriter, _ *http.Request) error {
	return to(w, "/console/batches", "")
}

func (c *Console) static(w http.ResponseWriter, r *http.Request) error {
	a, ok := c.assets[r.PathValue("file")]
	if !ok || a.path != r.URL.Path {
		return say(http.StatusNotFound, "There is no such file.")
	}
	headers(w.Header())
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", a.mime)
	_, _ = w.Write(a.body)
	return nil
}

type signInView struct{ Name, Next, Wrong string }

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) error {
	next := signin.Next(r.URL.Query().Get("next"), "/console/")
	if _, ok := signin.Of(r.Context()); ok {
		return to(w, next, "")
	}
	return c.render(w, r, http.StatusOK, "signin", "", "Sign in", signInView{Next: next})
}

func (c *Console) signIn(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
	if err := r.ParseForm(); err != nil {
		return say(http.StatusBadRequest, "The form could not be read.")
	}
	next := signin.Next(r.PostForm.Get("next"), "/console/")
	err := c.Auth.SignIn(w, r, r.PostForm.Get("name"), r.PostForm.Get("password"))
	status := 0
	switch {
	case err == nil:
		return to(w, next, "")
	case errors.Is(err, signin.ErrTooMany):
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", "600")
	case errors.Is(err, signin.ErrRefused):
		status = http.StatusUnauthorized
	default:
		return err
	}
	text := err.Error()
	return c.render(w, r, status, "signin", "", "Sign in", signInView{Name: r.PostForm.Get("name"), Next: next, Wrong: strings.ToUpper(text[:1]) + text[1:] + "."})
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
	if err := c.Auth.SignOut(w, r, r.PostFormValue("all") != ""); err != nil {
		return err
	}
	return to(w, "/console/signin", "signedout")
}
