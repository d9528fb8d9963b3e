package sandbox

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"
)

func detail(status int, text string) reply {
	return jsonReply(status, map[string]string{"detail": text})
}

const (
	sessionsPath = "/b/checkout/v1/pymt-txn/"
	pblPath      = "/b/pbl/v2/"
)

// serveOttu answers the REST API. Its order of checks is Django REST framework's: address, credentials, throttle,
// method, media type, body.
func (s *Sandbox) serveOttu(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if !strings.HasSuffix(path, "/") {
		// Django's APPEND_SLASH: a client that follows this repeats a POST as a GET, without its body.
		u := *r.URL
		u.Path += "/"
		w.Header().Set("Location", u.RequestURI())
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}
	id, isSession := strings.CutPrefix(path, sessionsPath)
	id = strings.TrimSuffix(id, "/")
	var methods string
	switch {
	case path == sessionsPath, path == pblPath+"operation/", path == pblPath+"payment-methods/":
		methods = "POST"
	case isSession && !strings.Contains(id, "/"):
		methods = "GET PATCH PUT"
	default:
		detail(http.StatusNotFound, "Not found.").write(w)
		return
	}
	if r.Header.Get("Authorization") != "Api-Key "+s.cfg.APIKey {
		text := "Invalid API key."
		if r.Header.Get("Authorization") == "" {
			text = "Authentication credentials were not provided."
		}
		w.Header().Set("WWW-Authenticate", "Api-Key")
		detail(http.StatusUnauthorized, text).write(w)
		return
	}
	if !s.limits[Ottu].allow(s.cfg.Now()) {
		a := detail(http.StatusTooManyRequests, "Request was throttled. Expected available in 1 second.")
		a.retryAfter = 1
		a.write(w)
		return
	}
	if !strings.Contains(methods, r.Method) {
		w.Header().Set("Allow", strings.ReplaceAll(methods, " ", ", "))
		detail(http.StatusMethodNotAllowed, fmt.Sprintf("Method %q not allowed.", r.Method)).write(w)
		return
	}
	if r.Method == http.MethodGet {
		s.exchange(w, r, s.sessionCall("retrieve", id), func(f *fired) reply { return s.retrieve(id, f) })
		return
	}
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		detail(http.StatusUnsupportedMediaType, fmt.Sprintf("Unsupported media type %q in request.", mt)).write(w)
		return
	}
	body, ok := readBody(w, r)
	if !ok {
		detail(http.StatusRequestEntityTooLarge, "Request body exceeded the limit.").write(w)
		return
	}
	var in fields
	if err := json.Unmarshal(body, &in); err != nil || in == nil {
		// The parser's own words are not contract; that it is a detail and not a field map is.
		detail(http.StatusBadRequest, "JSON parse error - Expecting an object").write(w)
		return
	}
	s.ottuWrite(w, r, path, id, in)
}

func (s *Sandbox) ottuWrite(w http.ResponseWriter, r *http.Request, path, id string, in fields) {
	switch {
	case path == sessionsPath:
		c := call{Ottu, "create", []string{in.text("order_no"), in.text("customer_email"), in.text("customer_phone")}}
		s.exchange(w, r, c, func(f *fired) reply { return s.create(in, f) })
	case path == pblPath+"operation/":
		op := in.text("operation")
		if op != "expire" && op != "cancel" {
			op = "operation"
		}
		c := s.sessionCall(op, in.text("session_id"))
		c.keys = append(c.keys, in.text("order_no"))
		s.exchange(w, r, c, func(f *fired) reply { return s.operation(in, f) })
	case path == pblPath+"payment-methods/":
		s.exchange(w, r, call{provider: Ottu, op: "methods"}, func(*fired) reply { return s.paymentMethods(in) })
	default:
		s.exchange(w, r, s.sessionCall("update", id), func(f *fired) reply {
			return s.update(id, in, r.Method == http.MethodPut, f)
		})
	}
}

// sessionCall lets rules match a session by its order number although the request names it by id.
func (s *Sandbox) sessionCall(op, id string) call {
	c := call{Ottu, op, []string{id}}
	if s.faults.armed.Load() {
		s.store.mu.Lock()
		defer s.store.mu.Unlock()
		if x := s.store.byID[id]; x != nil {
			c.keys = append(c.keys, x.orderNo)
		}
	}
	return c
}

func (s *Sandbox) create(in fields, f *fired) reply {
	set, errs := s.checkFields(in, true, "")
	if len(errs) > 0 {
		return jsonReply(http.StatusBadRequest, errs)
	}
	now := s.cfg.Now()
	x := &session{id: s.newID(40), state: "created", created: now, lifetime: 24 * time.Hour}
	st := s.store
	st.mu.Lock()
	defer st.mu.Unlock()
	if f.is(RefuseDuplicate) && set.orderNo != "" && st.byOrder[set.orderNo] != nil {
		return jsonReply(http.StatusBadRequest, fieldErrors{"order_no": {"Payment transaction with this order no already exists."}})
	}
	x.seq = len(st.sessions) + 1
	x.apply(set, st.quiet)
	st.link(x)
	st.sessions = append(st.sessions, x)
	st.byID[x.id] = x
	if x.nth > 1 {
		st.repeated++
	}
	st.touch()
	return rendered(http.StatusCreated, s.render(x, set.short))
}

// link enters x under its order number; the caller holds the lock.
func (st *store) link(x *session) {
	x.before, x.nth = nil, 1
	if x.orderNo == "" {
		return
	}
	if older := st.byOrder[x.orderNo]; older != nil {
		x.before, x.nth = older, older.nth+1
	}
	st.byOrder[x.orderNo] = x
}

func (s *Sandbox) retrieve(id string, f *fired) reply {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	x := s.store.byID[id]
	if x == nil {
		return detail(http.StatusNotFound, "Not found.")
	}
	s.overdue(x, f)
	return rendered(http.StatusOK, s.render(x, x.short))
}

func (s *Sandbox) update(id string, in fields, whole bool, f *fired) reply {
	st := s.store
	st.mu.Lock()
	defer st.mu.Unlock()
	x := st.byID[id]
	if x == nil {
		return detail(http.StatusNotFound, "Not found.")
	}
	s.overdue(x, f)
	if !x.open() {
		return detail(http.StatusBadRequest, "Payment transaction can not be updated in its current state.")
	}
	currency := x.currency
	if whole {
		currency = ""
	}
	set, errs := s.checkFields(in, whole, currency)
	if set.currency != "" && set.currency != x.currency && !set.hasAmount {
		errs.add("amount", "This field is required when currency_code changes.")
	}
	if set.orderNo != "" && set.orderNo != x.orderNo {
		errs.add("order_no", "This field can not be changed.")
	}
	if len(errs) > 0 {
		return jsonReply(http.StatusBadRequest, errs)
	}
	x.apply(set, st.quiet)
	st.touch()
	return rendered(http.StatusOK, s.render(x, x.short))
}

// operation carries out cancel and expire. Absent and not allowed give one and the same answer, as at Ottu: a client
// must not read one out of the other.
func (s *Sandbox) operation(in fields, f *fired) reply {
	errs := fieldErrors{}
	op, id, orderNo := in.text("operation"), in.text("session_id"), in.text("order_no")
	switch op {
	case "cancel", "expire", "delete", "refund", "capture", "void":
	case "":
		errs.add("operation", required)
	default:
		errs.add("operation", fmt.Sprintf("%q is not a valid choice.", op))
	}
	if id == "" && orderNo == "" {
		errs.add("non_field_errors", "Either session_id or order_no is required.")
	}
	if len(errs) > 0 {
		return jsonReply(http.StatusBadRequest, errs)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	x := s.store.byID[id]
	if id == "" {
		x = s.store.byOrder[orderNo]
	}
	for ; x != nil; x = x.before {
		if orderNo != "" && x.orderNo != orderNo {
			break
		}
		s.overdue(x, f)
		if x.operate(op) {
			s.store.touch()
			return jsonReply(http.StatusOK, map[string]string{"detail": "Operation completed.", "operation": op, "result": "success"})
		}
		if id != "" {
			break
		}
	}
	return jsonReply(http.StatusBadRequest, map[string]string{
		"detail": "Operation is not available for this transaction.", "operation": op, "result": "failed",
	})
}

func (s *Sandbox) paymentMethods(in fields) reply {
	if p := in.text("plugin"); p != "payment_request" && p != "e_commerce" {
		text := required
		if p != "" {
			text = fmt.Sprintf("%q is not a valid choice.", p)
		}
		return jsonReply(http.StatusBadRequest, fieldErrors{"plugin": {text}})
	}
	methods := make([]map[string]any, len(s.cfg.PGCodes))
	for i, code := range s.cfg.PGCodes {
		methods[i] = map[string]any{
			"code": code, "name": code, "is_sandbox": true, "logo": "", "wallets": []string{}, "is_tokenizable": false,
			"default_currency": s.cfg.Currencies[0], "accepted_currencies": s.cfg.Currencies,
			"operation": "purchase", "operations": []string{"purchase"},
		}
	}
	return jsonReply(http.StatusOK, map[string]any{"payment_methods": methods, "customer_payment_methods": []string{}})
}
