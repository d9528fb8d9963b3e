package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"dunlin/ledger"
)

// maxBody is far above any command's body; files have a limit of their own.
const maxBody = 64 << 10

// change runs an operation that changes something: it takes the body in, so that a call can be told from another by what
// it asks for, and then does the call once.
func (a *API) change(op *huma.Operation, w http.ResponseWriter, r *http.Request, run http.HandlerFunc) {
	if op.Metadata[metaUpload] == true {
		up, p := a.spool(w, r)
		if p != nil {
			p.write(w)
			return
		}
		defer up.remove()
		r = r.WithContext(context.WithValue(r.Context(), uploadOfCall, up))
		r.Body = http.NoBody
		a.once(op, w, r, up.sum, run)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		tooLargeOr(err, problem(http.StatusBadRequest, "the body was cut short")).write(w)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	sum := sha256.Sum256(body)
	// Once begun, a command is finished: whoever waits for its answer may ask again under the same key.
	a.once(op, w, r.WithContext(context.WithoutCancel(r.Context())), hex.EncodeToString(sum[:]), run)
}

func tooLargeOr(err error, p *Problem) *Problem {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem(http.StatusRequestEntityTooLarge, "the body is larger than this server takes")
	}
	return p
}

const (
	headerKey      = "Idempotency-Key"
	headerReplayed = "Idempotency-Replayed"
	maxKey         = 255
)

// once does a call that has an Idempotency-Key once, and gives its answer again.
func (a *API) once(op *huma.Operation, w http.ResponseWriter, r *http.Request, content string, run http.HandlerFunc) {
	name := r.Header.Get(headerKey)
	if name == "" || op.Method != http.MethodPost {
		run(w, r)
		return
	}
	if len(name) > maxKey {
		problem(http.StatusUnprocessableEntity, "the Idempotency-Key is too long", Detail{Message: "at most 255 characters", Location: "header." + headerKey}).write(w)
		return
	}
	call := ledger.Call{Key: caller(r.Context()).ID, Name: digest(name), Lease: a.UploadTime + importTime,
		Fingerprint: digest(op.Method, r.URL.Path, r.URL.Query().Encode(), content)}
	ctx := context.WithoutCancel(r.Context())
	state, answer, err := a.Ledger.BeginCall(ctx, call, op.Metadata[metaRedo] == true)
	if err != nil {
		a.Log.Error("API call not begun", "error", err)
		p := problem(http.StatusServiceUnavailable, "the ledger does not answer; nothing was done")
		p.retry = time.Second
		p.write(w)
		return
	}
	switch state {
	case ledger.OnceFresh:
	case ledger.OnceDone:
		for k, v := range answer.Headers {
			w.Header().Set(k, v)
		}
		w.Header().Set(headerReplayed, "true")
		w.WriteHeader(answer.Status)
		_, _ = w.Write(answer.Body) // the caller has left
		return
	case ledger.OnceBusy:
		p := problem(http.StatusConflict, "a call under this Idempotency-Key is under way; ask again for its answer")
		p.retry = time.Second
		p.write(w)
		return
	case ledger.OnceAbandoned:
		problem(http.StatusConflict, "a call under this Idempotency-Key was begun and its answer was lost: look at what it was about, then use another key").write(w)
		return
	default:
		problem(http.StatusUnprocessableEntity, "this Idempotency-Key was used for another call", Detail{Message: "use a new key for a new call", Location: "header." + headerKey}).write(w)
		return
	}
	kept := ledger.Answer{} // after a panic the call is forgotten
	defer func() {
		if err := a.Ledger.EndCall(ctx, call, kept); err != nil {
			a.Log.Error("answer of an API call not kept", "error", err)
		}
	}()
	rec := &recorder{header: w.Header().Clone(), under: w}
	run(rec, r)
	if rec.status < http.StatusInternalServerError { // what failed here may be tried again
		kept = ledger.Answer{Status: rec.status, Headers: map[string]string{}, Body: rec.body.Bytes()}
		for _, k := range []string{"Content-Type", "Location", "ETag"} {
			if v := rec.header.Get(k); v != "" {
				kept.Headers[k] = v
			}
		}
	}
	for k, v := range rec.header {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.status)
	_, _ = w.Write(rec.body.Bytes()) // the caller has left
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = io.WriteString(h, p) // a hash never fails
		_, _ = h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// recorder holds an answer back until it is kept. Answers to a POST are small.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
	under  http.ResponseWriter
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

// Unwrap lets a handler move its deadlines.
func (r *recorder) Unwrap() http.ResponseWriter { return r.under }
