// Package api is Dunlin's HTTP API, /api/v1: what the command line does, for other systems, through the same code.
//
// The OpenAPI document is made from the Go types (package huma) and served at /api/openapi.json, with a page to read at
// /api/docs. Every call names an API key; each operation names the scope that it needs, and a key sees either the batches
// of test keys or all others, never both. Errors are problem details (RFC 9457) that name the field and the row. A POST
// under an Idempotency-Key is done once: its answer is kept in the ledger and given again.
//
// Uploads go to a temporary file while they come in, so that a million rows do not sit in memory; exports stream out.
// Whom a request reaches, its link, and rejected records are personal data and need the scope send.
package api
