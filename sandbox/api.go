package sandbox

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// routes mounts everything. The methods that matter are in the patterns, except where a provider has its own way of
// refusing the others.
func (s *Sandbox) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/b/", s.serveOttu)
	mux.HandleFunc("/2010-04-01/", s.serveTwilio)

	mux.HandleFunc("GET /b/checkout/redirect/start/", s.servePayer)
	mux.HandleFunc("GET /b/checkout/page/", s.servePayer)
	mux.HandleFunc("POST /b/checkout/pay/", s.servePay)
	mux.HandleFunc("GET /b/{code}", s.serveShort)
	mux.HandleFunc("GET "+sdkScript, s.serveSDK)
	mux.HandleFunc("OPTIONS "+sdkPath+"{id}/", s.sdkPreflight)
	mux.HandleFunc("GET "+sdkPath+"{id}/", s.sdkSetup)
	mux.HandleFunc("POST "+sdkPath+"{id}/", s.sdkSubmit)

	mux.HandleFunc("GET /{$}", s.serveInbox)
	mux.HandleFunc("GET /mails/{id}", s.serveMail)
	mux.HandleFunc("GET /mails/{id}/html", s.serveMailHTML)
	mux.HandleFunc("GET /sessions", s.serveSessions)
	mux.HandleFunc("GET /sandbox/style.css", s.serveStyle)

	// For programs: tests and the chaos script that drive a sandbox in another process.
	mux.HandleFunc("GET /sandbox/api/sessions", s.apiSessions)
	mux.HandleFunc("POST /sandbox/api/sessions/{id}/pay", s.apiPay)
	mux.HandleFunc("GET /sandbox/api/messages", s.apiMessages)
	mux.HandleFunc("GET /sandbox/api/mails", s.apiMails)
	mux.HandleFunc("GET /sandbox/api/counts", func(w http.ResponseWriter, _ *http.Request) { jsonReply(http.StatusOK, s.Counts()).write(w) })
	mux.HandleFunc("GET /sandbox/api/duplicates", func(w http.ResponseWriter, _ *http.Request) {
		jsonReply(http.StatusOK, map[string]any{"duplicates": s.Duplicates()}).write(w)
	})
	mux.HandleFunc("GET /sandbox/api/faults", func(w http.ResponseWriter, _ *http.Request) { s.apiFaults(w) })
	mux.HandleFunc("POST /sandbox/api/faults", s.apiAddFault)
	mux.HandleFunc("DELETE /sandbox/api/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		s.apiFaults(w)
	})
	mux.HandleFunc("POST /sandbox/api/release", s.apiRelease)
	mux.HandleFunc("POST /sandbox/api/reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		jsonReply(http.StatusOK, s.Counts()).write(w)
	})
	return mux
}

// window reads ?after= and ?limit=: a list is read on with the next that the answer before it carried.
func window(r *http.Request) (after, limit int) {
	after, _ = strconv.Atoi(r.FormValue("after"))
	limit, err := strconv.Atoi(r.FormValue("limit"))
	if err != nil || limit < 1 {
		limit = 1000
	}
	return after, limit
}

func (s *Sandbox) apiSessions(w http.ResponseWriter, r *http.Request) {
	after, limit := window(r)
	list, next := s.sessionsAfter(after, limit, r.FormValue("q"))
	jsonReply(http.StatusOK, map[string]any{"sessions": list, "next": next}).write(w)
}

func (s *Sandbox) apiMessages(w http.ResponseWriter, r *http.Request) {
	after, limit := window(r)
	list, next := s.messagesAfter(after, limit, r.FormValue("to"))
	jsonReply(http.StatusOK, map[string]any{"messages": list, "next": next}).write(w)
}

func (s *Sandbox) apiMails(w http.ResponseWriter, r *http.Request) {
	after, limit := window(r)
	list, next := s.mailsAfter(after, limit, r.FormValue("to"))
	jsonReply(http.StatusOK, map[string]any{"mails": list, "next": next}).write(w)
}

func (s *Sandbox) apiPay(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Outcome Outcome `json:"outcome"`
		Late    bool    `json:"late"`
		Tell    Telling `json:"webhook"`
	}
	if !readJSON(w, r, &in) {
		return
	}
	p, err := s.Attempt(r.Context(), r.PathValue("id"), Attempt{in.Outcome, in.Late, in.Tell})
	switch {
	case errors.Is(err, ErrNoSession):
		detail(http.StatusNotFound, err.Error()).write(w)
	case errors.Is(err, ErrNotPayable):
		detail(http.StatusConflict, err.Error()).write(w)
	case err != nil:
		detail(http.StatusBadRequest, err.Error()).write(w)
	default:
		jsonReply(http.StatusOK, p).write(w)
	}
}

func (s *Sandbox) apiFaults(w http.ResponseWriter) {
	jsonReply(http.StatusOK, map[string]any{"faults": s.Faults()}).write(w)
}

// apiAddFault takes one rule or a list of them; of a list with a bad rule none is added.
func (s *Sandbox) apiAddFault(w http.ResponseWriter, r *http.Request) {
	var body json.RawMessage
	if !readJSON(w, r, &body) {
		return
	}
	var rules []Rule
	var err error
	if strings.HasPrefix(strings.TrimSpace(string(body)), "[") {
		err = json.Unmarshal(body, &rules)
	} else {
		rules = make([]Rule, 1)
		err = json.Unmarshal(body, &rules[0])
	}
	for _, rule := range rules {
		if err == nil {
			err = rule.check()
		}
	}
	if err != nil {
		detail(http.StatusBadRequest, err.Error()).write(w)
		return
	}
	for _, rule := range rules {
		_ = s.AddFault(rule) // was checked
	}
	s.apiFaults(w)
}

func (s *Sandbox) apiRelease(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name string `json:"name"`
	}
	if !readJSON(w, r, &in) {
		return
	}
	jsonReply(http.StatusOK, map[string]int{"released": s.Release(in.Name)}).write(w)
}

func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	body, ok := readBody(w, r)
	if !ok {
		return false
	}
	if err := json.Unmarshal(body, v); err != nil {
		detail(http.StatusBadRequest, err.Error()).write(w)
		return false
	}
	return true
}
