package sandbox

import (
	"crypto/subtle"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// twilioError is Twilio's error body.
func twilioError(status, code int, text string) reply {
	return jsonReply(status, map[string]any{
		"code": code, "message": text, "status": status,
		"more_info": "https://www.twilio.com/docs/errors/" + strconv.Itoa(code),
	})
}

func (s *Sandbox) accountPath() string { return "/2010-04-01/Accounts/" + s.cfg.AccountSID }

// serveTwilio answers the part of the 2010-04-01 API that has to do with messages.
func (s *Sandbox) serveTwilio(w http.ResponseWriter, r *http.Request) {
	user, pass, _ := r.BasicAuth()
	if subtle.ConstantTimeCompare([]byte(user+":"+pass), []byte(s.cfg.AccountSID+":"+s.cfg.AuthToken)) != 1 {
		w.Header().Set("WWW-Authenticate", `Basic realm="Twilio API"`)
		twilioError(http.StatusUnauthorized, 20003, "Authenticate").write(w)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, s.accountPath())
	sid, isMessage := strings.CutPrefix(rest, "/Messages/")
	sid, isJSON := strings.CutSuffix(sid, ".json")
	if !ok || !(rest == ".json" || rest == "/Messages.json" || isMessage && isJSON) {
		s.twilioMissing(r).write(w)
		return
	}
	if !s.limits[Twilio].allow(s.cfg.Now()) {
		twilioError(http.StatusTooManyRequests, 20429, "Too Many Requests").write(w)
		return
	}
	switch {
	case rest == "/Messages.json" && r.Method == http.MethodPost:
		s.serveSend(w, r)
	case rest == "/Messages.json" && r.Method == http.MethodGet:
		q := r.URL.Query()
		s.exchange(w, r, call{Twilio, "list", []string{q.Get("To")}}, func(f *fired) reply { return s.listMessages(q, f) })
	case isMessage && r.Method == http.MethodGet:
		s.exchange(w, r, call{Twilio, "fetch", []string{sid}}, func(*fired) reply { return s.fetchMessage(r, sid) })
	case rest == ".json" && r.Method == http.MethodGet:
		s.exchange(w, r, call{provider: Twilio, op: "account"}, func(*fired) reply {
			return jsonReply(http.StatusOK, map[string]string{"sid": s.cfg.AccountSID, "friendly_name": "Sandbox", "status": "active", "type": "Full"})
		})
	default:
		twilioError(http.StatusMethodNotAllowed, 20004, "Method not allowed").write(w)
	}
}

func (s *Sandbox) twilioMissing(r *http.Request) reply {
	return twilioError(http.StatusNotFound, 20404, "The requested resource "+r.URL.Path+" was not found")
}

func (s *Sandbox) serveSend(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		twilioError(http.StatusRequestEntityTooLarge, 20413, "Request entity too large").write(w)
		return
	}
	form := url.Values{}
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && mt == "application/x-www-form-urlencoded" {
		// Twilio ignores a body of another type, and then misses the first parameter.
		if form, err = url.ParseQuery(string(body)); err != nil {
			twilioError(http.StatusBadRequest, 20001, "The request body is not a valid form").write(w)
			return
		}
	}
	s.exchange(w, r, call{Twilio, "send", []string{form.Get("To")}}, func(f *fired) reply { return s.send(form, f) })
}

func (s *Sandbox) send(form url.Values, f *fired) reply {
	m, refused := s.checkMessage(form)
	if refused != nil {
		return twilioError(http.StatusBadRequest, refused.code, refused.text)
	}
	now := s.cfg.Now()
	m.SID, m.Created, m.Updated = "SM"+s.newID(32), now, now
	// What Twilio answers is the state at acceptance, whatever the callbacks have made of it by then.
	answer := rendered(http.StatusCreated, s.resource(m.Message))
	s.store.addMessage(m)
	switch {
	case m.scheduled:
	case f.is(ReceiptFirst):
		s.callbacks.deliver(m)
	default:
		s.callbacks.add(m)
	}
	return answer
}

func (st *store) addMessage(m *message) {
	st.mu.Lock()
	defer st.mu.Unlock()
	defer st.touch()
	st.nMessages++
	st.statuses[m.Status]++
	st.dups.add(SameMessage, m.To, m.mark())
	if st.quiet {
		m.Body, m.Variables = "", ""
		return
	}
	st.bySID[m.SID] = m
	st.byTo[m.To] = append(st.byTo[m.To], m)
	st.messages = append(st.messages, m)
	st.timeline = append(st.timeline, arrival{message: m})
	if old := len(st.messages) - 1 - st.keep; old >= 0 {
		st.messages[old].Body, st.messages[old].Variables = "", ""
	}
}

func (s *Sandbox) fetchMessage(r *http.Request, sid string) reply {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	m := s.store.bySID[sid]
	if m == nil {
		return s.twilioMissing(r)
	}
	return rendered(http.StatusOK, s.resource(m.Message))
}

// resource is a message as the API shows it; the caller holds the lock or owns m.
func (s *Sandbox) resource(m Message) json.RawMessage {
	uri := s.accountPath() + "/Messages/" + m.SID
	var o object
	o.str("sid", m.SID)
	o.str("account_sid", s.cfg.AccountSID)
	o.str("api_version", "2010-04-01")
	o.str("direction", "outbound-api")
	o.str("to", m.To)
	o.strOrNull("from", m.From)
	o.strOrNull("messaging_service_sid", m.ServiceSID)
	o.str("body", m.Body)
	o.str("status", m.Status)
	if m.ErrorCode == 0 {
		o.strOrNull("error_code", "")
	} else {
		o.num("error_code", m.ErrorCode)
	}
	o.strOrNull("error_message", "")
	o.str("num_media", "0")
	o.str("num_segments", strconv.Itoa(m.Segments))
	o.str("price_unit", "USD")
	o.str("date_created", rfc2822(m.Created))
	o.str("date_updated", rfc2822(m.Updated))
	if m.Sent.IsZero() {
		o.strOrNull("date_sent", "")
		o.strOrNull("price", "")
	} else {
		o.str("date_sent", rfc2822(m.Sent))
		o.str("price", "-0.00750")
	}
	o.str("uri", uri+".json")
	var links object
	links.str("media", uri+"/Media.json")
	o.raw("subresource_uris", links.end())
	return o.end()
}

func rfc2822(t time.Time) string { return t.UTC().Format(time.RFC1123Z) }
