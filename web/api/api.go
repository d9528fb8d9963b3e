package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
)

// Config is what the API is made from.
type Config struct {
	Ledger Ledger
	// Enqueue hands wakes to the queue. The ledger owes the work already: its failure costs time only.
	Enqueue func(ctx context.Context, wakes ...paylink.Wake) error
	// Settings are what a plan depends on, but for the time; Reading is how a file is read whose sender says nothing.
	Settings intake.Settings
	Reading  intake.Reading
	// PublicURL is where payers reach our pages; empty = their links are the provider's.
	PublicURL string
	// UploadLimit bounds a file in bytes, UploadTime how long it may take to come in; 0 = 512 MiB, 10 minutes.
	UploadLimit int64
	UploadTime  time.Duration
	// TempDir holds files while they are read in; empty = the system's.
	TempDir string
	// Calls is how many calls a key may make in CallsPer, at each server; 0 = 20 a second.
	Calls    int
	CallsPer time.Duration
	Log      *slog.Logger
}

// API is the handler of everything below /api/. It is safe for concurrent use.
type API struct {
	Config
	limiter  *limiter
	uploads  chan struct{}
	mux      *http.ServeMux
	document []byte
}

// New makes the API.
func New(c Config) (*API, error) {
	if c.Ledger == nil || c.Enqueue == nil || c.Settings.Texts == nil {
		return nil, errors.New("the API needs a ledger, a queue and the message templates")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.UploadLimit <= 0 {
		c.UploadLimit = 512 << 20
	}
	if c.UploadTime <= 0 {
		c.UploadTime = 10 * time.Minute
	}
	if c.Calls <= 0 || c.CallsPer <= 0 {
		c.Calls, c.CallsPer = 20, time.Second
	}
	a := &API{Config: c, mux: http.NewServeMux(), uploads: make(chan struct{}, maxUploads),
		limiter: &limiter{n: c.Calls, per: c.CallsPer, full: map[ledger.KeyID]time.Time{}}}
	a.clearSpool()
	h := humago.New(a.mux, a.config())
	h.UseMiddleware(a.guard)
	a.addBatches(h)
	a.addRequests(h)
	a.addAmendments(h)
	a.addSuppressions(h)
	a.addEvents(h)
	for _, own := range []string{"ErrorModel", "ErrorDetail"} { // huma's, which plainProblems turns into ours
		delete(h.OpenAPI().Components.Schemas.Map(), own)
	}
	var err error
	if a.document, err = json.MarshalIndent(h.OpenAPI(), "", "  "); err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	return a, a.addReference(h.OpenAPI())
}

// Document is the OpenAPI document (3.1), as it is served.
func (a *API) Document() []byte { return slices.Clone(a.document) }

func (a *API) config() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Dunlin", Version: "1", Description: introduction},
			Servers: []*huma.Server{{URL: "/"}},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{"key": {Type: "http", Scheme: "bearer",
					Description: "An API key, made by `enqueue keys add`."}},
			},
			Security: []map[string][]string{{"key": {}}},
			Tags: []*huma.Tag{
				{Name: "Batches", Description: "A batch is one file of payers, or one call's rows."},
				{Name: "Requests", Description: "A request is one row of a batch: one debt, asked of one payer."},
				{Name: "Suppressions", Description: "Addresses that must not be written to. They are kept as hashes."},
				{Name: "Events", Description: "What happened, for syncing into another system."},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{plainProblems},
	}
}

const introduction = `Send payment links in bulk and follow what becomes of each.

Every call names an API key: ` + "`Authorization: Bearer dk_…`" + `. A key has a scope, read, send or admin, and each holds the ones
before it. What names or reaches a payer (contacts, links, rejected records) needs send. A test key sees its own test batches
only, and those are sent only where all providers are stand-ins.

A POST may carry an ` + "`Idempotency-Key`" + `: however often it is repeated within two days, it is done once and answered alike.
Money is decimal text and an ISO 4217 code, never a float. Lists come in pages: give the answer's next as after until there is
none; a page may be short, even empty, and still not be the last. Errors are problem details (RFC 9457).`

// operation describes one route. What it may be answered besides is told once for all: a problem.
func (a *API) operation(h huma.API, method, path, id, tag, summary, description string, scope ledger.KeyScope, change ...func(*huma.Operation)) huma.Operation {
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag},
		Description:  description + "\n\nScope: " + string(scope) + ".",
		Metadata:     map[string]any{metaScope: scope},
		MaxBodyBytes: maxBody,
		Responses: map[string]*huma.Response{"default": {Description: "A problem", Content: map[string]*huma.MediaType{
			problemType: {Schema: h.OpenAPI().Components.Schemas.Schema(typeOf[Problem](), true, "")}}}},
	}
	if method == http.MethodPost {
		op.Parameters = append(op.Parameters, &huma.Param{Name: headerKey, In: "header", Description: "Any text of your own, new for each new call: a repeated call is done once.",
			Schema: &huma.Schema{Type: huma.TypeString, MaxLength: new(maxKey)}})
	}
	for _, c := range change {
		c(&op)
	}
	return op
}

// meta adds a fact for guard.
func meta(name string) func(*huma.Operation) {
	return func(op *huma.Operation) { op.Metadata[name] = true }
}

// register joins a route with what does it.
func register[I, O any](a *API, h huma.API, op huma.Operation, do func(context.Context, *I) (*O, error)) {
	huma.Register(h, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			return nil, a.fail(err)
		}
		return out, nil
	})
}

// ServeHTTP answers; what no route is for is a problem, too.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h, pattern := a.mux.Handler(r)
	if pattern != "" {
		a.mux.ServeHTTP(w, r)
		return
	}
	rec := &recorder{header: http.Header{}}
	h.ServeHTTP(rec, r)
	switch {
	case rec.status == http.StatusMethodNotAllowed:
		w.Header().Set("Allow", rec.header.Get("Allow"))
		problem(rec.status, "this address is there, but not for this method").write(w)
	case rec.status >= 300 && rec.status < 400: // to the address without .. and //
		h.ServeHTTP(w, r)
	default:
		problem(http.StatusNotFound, "there is no such address; /api/docs tells which there are").write(w)
	}
}

// wake hands wakes to the queue.
func (a *API) wake(ctx context.Context, wakes ...paylink.Wake) {
	if len(wakes) == 0 {
		return
	}
	if err := a.Enqueue(context.WithoutCancel(ctx), wakes...); err != nil {
		a.Log.Warn("the queue cannot be reached; the workers find the work in the ledger by themselves", "error", err)
	}
}

// wakeFeeder asks a worker to look at once whether the batch has rows to feed.
func (a *API) wakeFeeder(ctx context.Context, id paylink.BatchID) {
	a.wake(ctx, paylink.Wake{Task: paylink.TaskFeed, ID: int64(id), Epoch: a.Ledger.Now().UnixMilli()})
}
