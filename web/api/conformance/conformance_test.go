package conformance_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/templates"
	"dunlin/web/api"
)

const rows = `[{"reference":"A","amount":"12.500","name":"Sara","email":"sara@example.com"},{"reference":"B","amount":3,"email":"omar@example.com"},{"reference":"C","amount":"x"}]`

func TestConformance(t *testing.T) {
	clock := ledgertest.NewClock()
	db := ledgertest.Open(t, "sqlite:"+filepath.Join(t.TempDir(), "dunlin.db"), clock.Now)
	texts, err := templates.Load("")
	if err != nil {
		t.Fatal(err)
	}
	a, err := api.New(api.Config{Ledger: db, TempDir: t.TempDir(), Enqueue: func(context.Context, ...paylink.Wake) error { return nil }, Calls: 1000,
		CallsPer: 1, Settings: intake.Settings{Merchant: "Alnoor School", Texts: texts, ProviderLink: "https://x.example/b/aB3dE6"},
		Reading: intake.Reading{Currency: "KWD", Language: "en", Timezone: "UTC", Routes: paylink.Routes{{paylink.Email}}}})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(a.Document(), []byte(`"openapi": "3.1.0"`)) {
		t.Error("the document is not OpenAPI 3.1.0")
	}
	doc, err := libopenapi.NewDocument(a.Document())
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, errs := v.ValidateDocument(); !ok {
		for _, e := range errs {
			t.Errorf("the document: %s: %s %v", e.Message, e.Reason, e.SchemaValidationErrors)
		}
	}
	secret, hash, hint := ledger.NewKey(false)
	if _, err := db.AddKey(t.Context(), ledger.APIKey{Name: "erp", Hash: hash, Hint: hint, Scope: ledger.ScopeAdmin}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a)
	defer server.Close()
	for _, call := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/api/v1/batches?name=march.json", rows, 201},
		{"POST", "/api/v1/batches?name=march.json", rows, 200},
		{"POST", "/api/v1/batches?strict=true", rows, 422},
		{"POST", "/api/v1/batches", rows, 201},
		{"POST", "/api/v1/batches/b2/confirm", `{"why":"yes"}`, 200},
		{"POST", "/api/v1/batches", rows, 409},
		{"GET", "/api/v1/batches", "", 200},
		{"GET", "/api/v1/batches/b2", "", 200},
		{"GET", "/api/v1/batches/b9", "", 404},
		{"GET", "/api/v1/batches/b2/plan", "", 200},
		{"GET", "/api/v1/batches/b2/rejections?limit=1", "", 200},
		{"GET", "/api/v1/requests?dispatch=pending&limit=1", "", 200},
		{"GET", "/api/v1/requests/b2.1", "", 200},
		{"POST", "/api/v1/requests/b2.1/cancel", `{"why":"cash"}`, 200},
		{"POST", "/api/v1/requests/b2.1/resend", `{"channel":"sms"}`, 409},
		{"GET", "/api/v1/events", "", 200},
		{"POST", "/api/v1/batches/b2/retry", `{"cause":"bad_address"}`, 200},
		{"POST", "/api/v1/batches/b2/pause", "", 200},
		{"POST", "/api/v1/batches/b2/resume", "", 200},
		{"POST", "/api/v1/batches/b2/cancel", "", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), call.method, server.URL+call.path, strings.NewReader(call.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		if call.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != call.status {
			t.Errorf("%s %s: got %d, want %d: %s", call.method, call.path, res.StatusCode, call.status, body)
		}
		res.Body = io.NopCloser(bytes.NewReader(body))
		if ok, errs := v.ValidateHttpResponse(req, res); !ok {
			for _, e := range errs {
				t.Errorf("%s %s answers %d, not as the document says: %s: %s %v", call.method, call.path, res.StatusCode, e.Message, e.Reason, e.SchemaValidationErrors)
			}
		}
	}
	ledgertest.Audit(t, db)
}
