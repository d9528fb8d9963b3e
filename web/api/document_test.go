package api_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/web/api"
)

var update = flag.Bool("update", false, "write docs/openapi.json anew")

func document(t *testing.T) []byte {
	t.Helper()
	c := config(t)
	c.Ledger, _ = ledgertest.New(t)
	c.Enqueue = func(context.Context, ...paylink.Wake) error { return nil }
	a, err := api.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return append(a.Document(), '\n')
}

// TestDocument keeps docs/openapi.json in step; go test ./web/api -run TestDocument -update writes it.
func TestDocument(t *testing.T) {
	const file = "../../docs/openapi.json"
	got := document(t)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("docs/openapi.json is not what the code says; write it anew: go test ./web/api -run TestDocument -update")
	}
}

// rules reads the document as a stranger's tool does.
func rules(t *testing.T, doc []byte) validator.Validator {
	t.Helper()
	d, err := libopenapi.NewDocument(doc)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(d)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return v
}

// TestDocumentIsValid holds the document to OpenAPI 3.1's own schema.
func TestDocumentIsValid(t *testing.T) {
	doc := document(t)
	if !bytes.Contains(doc, []byte(`"openapi": "3.1.0"`)) {
		t.Error("the document is not OpenAPI 3.1.0")
	}
	if ok, errs := rules(t, doc).ValidateDocument(); !ok {
		for _, e := range errs {
			t.Error(e)
		}
	}
}

// keepsToDocument holds every answer of every test to what the document says of it.
func (w *world) keepsToDocument(a answer) {
	w.Helper()
	path := a.Request.URL.Path
	if !strings.HasPrefix(path, "/api/v1/") || a.Request.Method == http.MethodHead {
		return
	}
	if a.StatusCode == http.StatusNotFound && strings.Contains(string(a.body), "no such address") || a.StatusCode == http.StatusMethodNotAllowed {
		return
	}
	res := *a.Response
	res.Body = io.NopCloser(bytes.NewReader(a.body))
	if ok, errs := w.rules.ValidateHttpResponse(a.Request, &res); !ok {
		for _, e := range errs {
			w.Errorf("%s %s answers %d, not as the document says: %s: %s %v", a.Request.Method, path, a.StatusCode, e.Message, e.Reason, e.SchemaValidationErrors)
		}
	}
}
