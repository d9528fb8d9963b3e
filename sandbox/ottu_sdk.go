package sandbox

import (
	"errors"
	"net/http"
)

const (
	// sdkScript is the stand-in of Ottu's checkout script, sdkPath the private API by which it sets itself up and pays.
	sdkScript = "/sandbox/sdk/checkout.min.js"
	sdkPath   = "/b/checkout/api/sdk/v1/pymt-txn/submit/"
)

func (s *Sandbox) serveSDK(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	http.ServeFileFS(w, r, pageFiles, "pages/checkout.js")
}

// cors lets the script call from the merchant's page, whatever its address: what it may do is decided by the public key
// and the session's id.
func cors(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
}

func (s *Sandbox) sdkPreflight(w http.ResponseWriter, _ *http.Request) {
	cors(w)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Sandbox) sdkAllowed(w http.ResponseWriter, r *http.Request) bool {
	cors(w)
	if r.Header.Get("Authorization") == "Api-Key "+s.cfg.PublicKey {
		return true
	}
	detail(http.StatusUnauthorized, "Invalid API key.").write(w)
	return false
}

// sdkSetup is what the script draws itself from. As at Ottu, this already makes the session pending.
func (s *Sandbox) sdkSetup(w http.ResponseWriter, r *http.Request) {
	if !s.sdkAllowed(w, r) {
		return
	}
	x, err := s.Open(r.PathValue("id"))
	if err != nil {
		detail(http.StatusNotFound, "Not found.").write(w)
		return
	}
	if !x.open() {
		detail(http.StatusBadRequest, "The session is "+x.State+".").write(w)
		return
	}
	jsonReply(http.StatusOK, map[string]any{"session_id": x.ID, "order_no": x.OrderNo, "amount": x.Amount, "currency_code": x.Currency,
		"checkout_url": x.URL, "saved_cards": x.CustomerID != ""}).write(w)
}

// sdkSubmit ends an attempt that was made in the page, or has the session expire under the payer's hands.
func (s *Sandbox) sdkSubmit(w http.ResponseWriter, r *http.Request) {
	if !s.sdkAllowed(w, r) {
		return
	}
	var in struct {
		Outcome Outcome `json:"outcome"`
	}
	if !readJSON(w, r, &in) {
		return
	}
	id := r.PathValue("id")
	if in.Outcome == "expired" {
		s.expire(id)
	}
	p, err := s.Pay(r.Context(), id, in.Outcome, false)
	switch {
	case errors.Is(err, ErrNoSession):
		detail(http.StatusNotFound, "Not found.").write(w)
	case err != nil:
		detail(http.StatusBadRequest, err.Error()).write(w)
	default:
		jsonReply(http.StatusOK, map[string]any{"session_id": id, "order_no": p.Session.OrderNo, "reference_number": p.Reference,
			"redirect_url": p.Redirect, "state": p.Session.State}).write(w)
	}
}

// expire lets an open session's time be over at once.
func (s *Sandbox) expire(id string) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if x := s.store.byID[id]; x != nil && x.open() {
		x.state = "expired"
		s.store.touch()
	}
}

func (v Session) open() bool {
	return v.State == "created" || v.State == "pending" || v.State == "attempted"
}
