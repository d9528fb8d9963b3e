package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
)

// Problem is an error as callers get it (RFC 9457). It quotes no value that was sent: those may be personal data.
type Problem struct {
	Type   string `json:"type" default:"about:blank" doc:"about:blank: title and status say it all"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty" doc:"What happened, for people"`
	// Batch is the earlier batch of content that was sent before, or the batch that the trouble is with.
	Batch  *paylink.BatchID `json:"batch,omitempty" doc:"The batch that it is about; of content that was sent before, the earlier one"`
	Errors []Detail         `json:"errors,omitempty" nullable:"false" doc:"What is wrong, one by one; of many rejected rows the first"`

	retry time.Duration
}

// Detail is one thing that is wrong.
type Detail struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty" doc:"Where in the call: path.id, query.limit, body.why, header.If-Match"`
	Row      int    `json:"row,omitempty" doc:"The row, from 1, the header not counted"`
	Line     int    `json:"line,omitempty" doc:"The line of the file; of a JSON array the element"`
	Field    string `json:"field,omitempty" doc:"The column, in the file's own words"`
	Hint     string `json:"hint,omitempty" doc:"What to do"`
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus is for huma.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders is for huma.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.retry+time.Second-1)/time.Second)))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="dunlin"`)
	}
	return h
}

// ContentType is for huma.
func (p *Problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

func problem(status int, detail string, errs ...Detail) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Errors: errs}
}

func (p *Problem) write(w http.ResponseWriter) {
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller has left
}

// fail turns an error into a problem. What nobody expected is logged, and told as nothing but that.
func (a *API) fail(err error) error {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	text := err.Error()
	for _, sentinel := range []error{paylink.ErrConflict, paylink.ErrInvalid, paylink.ErrNotFound} {
		text = strings.TrimSuffix(text, ": "+sentinel.Error())
	}
	if sent, ok := errors.AsType[*ledger.SentBeforeError](err); ok {
		p := problem(http.StatusConflict, text+"; to send it once more: again=true")
		p.Batch = &sent.Batch
		return p
	}
	if file, ok := intake.AsFileError(err); ok {
		return problem(http.StatusUnprocessableEntity, "the content cannot be used", Detail{Message: file.Reason, Location: "body", Line: file.Line, Hint: file.Hint})
	}
	if wrong, ok := errors.AsType[*intake.GivenError](err); ok {
		return problem(http.StatusUnprocessableEntity, "a parameter cannot be meant", Detail{Message: wrong.Reason, Location: "query." + wrong.Field})
	}
	switch {
	case errors.Is(err, ledger.ErrChanged):
		return problem(http.StatusPreconditionFailed, "the request is no longer what If-Match says; look at it again")
	case errors.Is(err, paylink.ErrNotFound):
		return problem(http.StatusNotFound, "there is no such thing, or not for this key")
	case errors.Is(err, paylink.ErrConflict):
		return problem(http.StatusConflict, text)
	case errors.Is(err, paylink.ErrInvalid):
		return problem(http.StatusUnprocessableEntity, text)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return problem(http.StatusServiceUnavailable, "it took too long and was stopped; try again")
	}
	a.Log.Error("API call failed", "error", err)
	return problem(http.StatusInternalServerError, "our own mistake; the server's log tells more")
}

// plainProblems makes huma's own errors look like ours.
func plainProblems(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := problem(m.Status, m.Detail)
	for _, e := range m.Errors {
		p.Errors = append(p.Errors, Detail{Message: e.Message, Location: e.Location})
	}
	return p, nil
}
