package sandbox

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
)

// maxBody bounds a request's body; the real limit of both providers is far above what a client has to say.
const maxBody = 256 << 10

// reply is what a provider answers by HTTP.
type reply struct {
	status     int
	body       []byte
	retryAfter int // seconds; 0 = no header
}

func jsonReply(status int, v any) reply {
	b, err := json.Marshal(v)
	if err != nil { // v is made of strings, numbers and what a client sent as JSON
		return reply{status: http.StatusInternalServerError, body: []byte(`{"detail":"sandbox: ` + strconv.Quote(err.Error()) + `"}`)}
	}
	return reply{status: status, body: b}
}

// rendered is a reply whose body is JSON already.
func rendered(status int, body []byte) reply { return reply{status: status, body: body} }

func (a reply) head(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(a.retryAfter))
	}
	w.WriteHeader(a.status)
}

func (a reply) write(w http.ResponseWriter) {
	a.head(w)
	_, _ = w.Write(a.body)
}

// hangUp ends the connection without (the rest of) an answer.
func hangUp() { panic(http.ErrAbortHandler) }

// exchange answers one call. do carries it out and must be ready to be called at most once, at any time, also after the
// handler has returned; f is the rule that acts on the call, or nil.
func (s *Sandbox) exchange(w http.ResponseWriter, r *http.Request, c call, do func(f *fired) reply) {
	f := s.arrive(c)
	s.pause(s.cfg.Latency)
	if f == nil {
		do(nil).write(w)
		return
	}
	switch f.Action {
	case Refuse:
		f.refusal().write(w)
	case FailBefore:
		hangUp()
	case LoseAnswer:
		do(f)
		hangUp()
	case Late:
		s.later(f, func() { do(f) })
		if f.Hold {
			<-r.Context().Done()
		}
		hangUp()
	case CutBody:
		a := do(f)
		a.head(w)
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		hangUp()
	case HTML502:
		if f.Done {
			do(f)
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>\n")
	case Hang:
		s.hang(w, r, f, do)
	case Slow:
		s.slow(f, do).write(w)
	default: // the action concerns how it is done
		do(f).write(w)
	}
}

func (s *Sandbox) hang(w http.ResponseWriter, r *http.Request, f *fired, do func(*fired) reply) {
	var a reply
	if f.Done {
		a = do(f)
	}
	select {
	case <-f.gate:
	case <-r.Context().Done():
		hangUp()
	}
	if !f.Done {
		a = do(f)
	}
	a.write(w)
}

func (s *Sandbox) slow(f *fired, do func(*fired) reply) reply {
	if f.Done {
		a := do(f)
		s.pause(f.Delay)
		return a
	}
	s.pause(f.Delay)
	return do(f)
}

// refusal is the answer of a Refuse rule, in the provider's own form.
func (f *fired) refusal() reply {
	status := f.Status
	if status == 0 {
		status = http.StatusServiceUnavailable
	}
	var a reply
	switch {
	case f.Body != "":
		a = reply{status: status, body: []byte(f.Body)}
	case f.Provider == Twilio:
		code := f.Code
		if code == 0 && status == http.StatusTooManyRequests {
			code = 20429
		}
		if code == 0 {
			code = 20000 + status
		}
		a = twilioError(status, code, http.StatusText(status))
	case status == http.StatusTooManyRequests:
		a = detail(status, "Request was throttled.")
	default:
		a = detail(status, http.StatusText(status))
	}
	a.retryAfter = f.RetryAfter
	return a
}

// readBody reads a request's body; ok is false if it is too large or the client has left.
func readBody(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	return body, err == nil
}
