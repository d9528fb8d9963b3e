package api_test

import (
	"context"
	"flag"
	"os"
	"testing"

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
