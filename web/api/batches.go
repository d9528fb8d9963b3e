package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/report"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// Batch is where a batch stands: the till, whose counts add up to its rows.
type Batch struct {
	paylink.Status
	Test bool `json:"test" doc:"Made by a test key"`
}

// Draft is a batch that was read in and waits to be confirmed.
type Draft struct {
	Batch    paylink.BatchID    `json:"batch"`
	State    paylink.BatchState `json:"state"`
	Test     bool               `json:"test"`
	Rejected int64              `json:"rejected" doc:"Rows that were not taken; see the batch's rejections"`
	Plan     intake.Plan        `json:"plan" doc:"What sending it will mean"`
}

// Row is one row of a JSON body: the columns of a payer file. Any other member is kept for templates.
type Row struct {
	Reference     string `json:"reference,omitempty" doc:"Your name for the debt; the same one twice is asked for once"`
	Amount        string `json:"amount" doc:"A decimal, as text or number; it must fit its currency"`
	Currency      string `json:"currency,omitempty" doc:"ISO 4217"`
	Name          string `json:"name,omitempty"`
	FirstName     string `json:"first_name,omitempty"`
	LastName      string `json:"last_name,omitempty"`
	Email         string `json:"email,omitempty"`
	Phone         string `json:"phone,omitempty"`
	Channels      string `json:"channels,omitempty" doc:"email, sms, whatsapp; + is and, > is else: email+whatsapp>sms"`
	Language      string `json:"language,omitempty" doc:"en or ar"`
	Country       string `json:"country,omitempty" doc:"ISO 3166-1 alpha-2"`
	Timezone      string `json:"timezone,omitempty" doc:"IANA"`
	DueDate       string `json:"due_date,omitempty" doc:"YYYY-MM-DD"`
	ExpiresIn     string `json:"expires_in,omitempty" doc:"How long a link may live: 48h, 3d"`
	Description   string `json:"description,omitempty"`
	CustomerID    string `json:"customer_id,omitempty"`
	InvoiceNumber string `json:"invoice_number,omitempty"`
	AttachmentURL string `json:"attachment_url,omitempty"`
}

// BatchPath names a batch. huma reads no field of an embedded type that is not exported.
type BatchPath struct {
	Written string          `path:"id" example:"b12" doc:"The batch"` // huma would read a BatchID as a number
	ID      paylink.BatchID `json:"-"`
}

// Resolve reads the id.
func (p *BatchPath) Resolve(huma.Context) (errs []error) {
	var err error
	if p.ID, err = paylink.ParseBatchID(p.Written); err != nil {
		errs = append(errs, &huma.ErrorDetail{Message: "a batch is written like b12", Location: "path.id"})
	}
	return errs
}

type batchInput struct{ BatchPath }

type whyBody struct {
	Why string `json:"why,omitempty" maxLength:"500" doc:"Why, for the record"`
}

func (b *whyBody) text() string {
	if b == nil {
		return ""
	}
	return b.Why
}

type batchAction struct {
	BatchPath
	Body *whyBody
}

type batchOutput struct{ Body Batch }

type createInput struct {
	Name         string `query:"name" maxLength:"200" doc:"The file's name, for people"`
	Strict       bool   `query:"strict" doc:"All rows or none"`
	AllowRepeat  bool   `query:"allow_repeat" doc:"Take rows whose debt is already being asked for"`
	Again        bool   `query:"again" doc:"Take content that was sent before"`
	Canary       int    `query:"canary" minimum:"0" doc:"Send so many rows first, then wait"`
	Brake        int    `query:"brake" minimum:"0" maximum:"100" doc:"Halt when more than so many percent fail; 0 = 10"`
	Currency     string `query:"currency" doc:"Of rows that name none"`
	Country      string `query:"country" doc:"Of phone numbers without country code"`
	Language     string `query:"language" enum:"en,ar" doc:"Of rows that name none"`
	Timezone     string `query:"timezone" doc:"Of rows that name none; IANA"`
	Channels     string `query:"channels" doc:"Of rows that name none: + is and, > is else"`
	NumberFormat string `query:"number_format" doc:"How the file groups amounts: 1,234.5 or 1.234,5"`
	Delimiter    string `query:"delimiter" doc:"Of a CSV file; detected"`
	Encoding     string `query:"encoding" doc:"utf-8, utf-16, windows-1256 or latin-1; detected"`
	Sheet        string `query:"sheet" doc:"Of a workbook; the first"`
}

type createOutput struct {
	Status   int
	Location string `header:"Location"`
	Body     Draft
}

func (a *API) addBatches(h huma.API) {
	const root = "/api/v1/batches"
	register(a, h, a.operation(h, http.MethodPost, root, "createBatch", "Batches", "Bring rows in as a draft",
		`The body is the file, in one of several types; or a form (multipart/form-data) whose only part, named file, is the file. Nothing is sent before the batch is confirmed.

Content that is a draft already, or was being read in when a call broke off, goes on with that batch (200). Content that was sent before is refused (409, with the earlier batch) unless again is set. With no good row, or with strict and any bad one, nothing is kept (422, with the first of the bad rows).`,
		ledger.ScopeSend, meta(metaUpload), meta(metaRedo)), a.createBatch)
	a.describeUpload(h.OpenAPI(), h.OpenAPI().Paths[root].Post)
	register(a, h, a.operation(h, http.MethodGet, root, "listBatches", "Batches", "List batches, newest first", "", ledger.ScopeRead), a.listBatches)
	register(a, h, a.operation(h, http.MethodGet, root+"/{id}", "getBatch", "Batches", "Look where a batch stands", "The counts add up to the rows, at every moment.", ledger.ScopeRead), a.getBatch)
	register(a, h, a.operation(h, http.MethodGet, root+"/{id}/plan", "getPlan", "Batches", "Look at the plan that is, or was, to be confirmed", "", ledger.ScopeRead), a.getPlan)
	register(a, h, a.operation(h, http.MethodGet, root+"/{id}/rejections", "listRejections", "Batches", "List the rows that were not taken", "", ledger.ScopeRead), a.listRejections)
	register(a, h, a.operation(h, http.MethodGet, root+"/{id}/rejections.csv", "downloadRejections", "Batches", "Download the rejected rows, to be mended and sent again",
		"In the columns of the file that was sent, with what is wrong in two columns at the end. It holds payers' data.", ledger.ScopeSend, streams("text/csv")), a.downloadRejections)
	register(a, h, a.operation(h, http.MethodGet, root+"/{id}/export.csv", "exportBatch", "Batches", "Export a batch, one line a request", "Without names, addresses and links.", ledger.ScopeRead, streams("text/csv")), a.exportBatch)
	for _, act := range []struct {
		name, summary, description string
		do                         func(ctx context.Context, id paylink.BatchID, who, why string) error
		feeds                      bool
	}{
		{"confirm", "Send a draft", "", a.Ledger.Confirm, true},
		{"pause", "Stop a batch for now", "What is just being handed to a provider goes out.", a.Ledger.Pause, false},
		{"resume", "Let a paused, halted or held batch go on", "", a.Ledger.Resume, true},
		{"cancel", "Call a batch off", "Nothing more of it is sent, its debts are no longer asked for, and the workers end the links that are out. It cannot be taken back.", a.Ledger.CancelBatch, false},
	} {
		register(a, h, a.operation(h, http.MethodPost, root+"/{id}/"+act.name, act.name+"Batch", "Batches", act.summary, act.description, ledger.ScopeSend, meta(metaRedo)),
			func(ctx context.Context, in *batchAction) (*batchOutput, error) {
				if _, err := a.batch(ctx, in.ID); err != nil {
					return nil, err
				}
				if err := act.do(ctx, in.ID, actor(ctx), in.Body.text()); err != nil {
					return nil, err
				}
				if act.feeds {
					a.wakeFeeder(ctx, in.ID)
				}
				return a.getBatch(ctx, &batchInput{in.BatchPath})
			})
	}
	register(a, h, a.operation(h, http.MethodPost, root+"/{id}/retry", "retryBatch", "Batches", "Send the failed requests of a batch again",
		"All of them, or those of one cause. Those that were paid meanwhile, and those whose outcome is unknown, are left alone.", ledger.ScopeSend, meta(metaRedo)), a.retryBatch)
}

// describeUpload documents the body of an operation, which guard takes in before huma sees the call.
func (a *API) describeUpload(doc *huma.OpenAPI, op *huma.Operation) {
	schemas := doc.Components.Schemas
	file := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	row := schemas.Schema(typeOf[Row](), true, "")
	r := schemas.SchemaFromRef(row.Ref)
	r.AdditionalProperties = true
	r.Properties["amount"].Type, r.Properties["amount"].OneOf = "", []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeNumber}}
	content := map[string]*huma.MediaType{
		multipartType: {Schema: &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{"file": file}, Required: []string{"file"}}},
	}
	for name := range kinds() {
		content[name] = &huma.MediaType{Schema: file}
	}
	content["application/json"] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeArray, Items: row}}
	op.RequestBody = &huma.RequestBody{Required: true, Content: content, Description: fmt.Sprintf("At most %d MiB.", a.UploadLimit>>20)}
	op.Responses["201"] = &huma.Response{Description: "A draft", Content: op.Responses["200"].Content, Headers: op.Responses["200"].Headers}
	op.Responses["200"].Description = "The same content was a draft already"
}

// streams documents an answer that is written as it is read.
func streams(contentType string) func(*huma.Operation) {
	return func(op *huma.Operation) {
		op.Responses["200"] = &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{contentType: {Schema: &huma.Schema{Type: huma.TypeString}}}}
	}
}

// batch is a batch of the caller's; others do not exist for it.
func (a *API) batch(ctx context.Context, id paylink.BatchID) (paylink.Batch, error) {
	b, err := a.Ledger.Batch(ctx, id)
	if err == nil && b.Test != caller(ctx).Test {
		err = paylink.ErrNotFound
	}
	return b, err
}

func (a *API) createBatch(ctx context.Context, in *createInput) (*createOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, importTime)
	defer cancel()
	given := intake.Given{Currency: in.Currency, Country: in.Country, Language: in.Language, Timezone: in.Timezone, Channels: in.Channels,
		NumberFormat: in.NumberFormat, Delimiter: in.Delimiter, Encoding: in.Encoding, Sheet: in.Sheet, AllowRepeat: in.AllowRepeat}
	rd, err := given.Over(a.Reading)
	if err != nil {
		return nil, err
	}
	rd.Canary, rd.BrakePercent = in.Canary, in.Brake
	up, out := uploadOf(ctx), &createOutput{Status: http.StatusCreated}
	settings := a.Settings
	settings.Now = a.Ledger.Now()
	b, plan, err := intake.Import(ctx, a.Ledger, settings, intake.Order{
		Path: up.path, Name: up.name, Reading: rd, Actor: actor(ctx), Again: in.Again, Test: caller(ctx).Test,
		Began: func(_ paylink.Batch, resumed bool) {
			if resumed {
				out.Status = http.StatusOK
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if !plan.Sendable(in.Strict) {
		why := "no row can be sent"
		if plan.Good > 0 {
			why = "some rows were rejected, and strict takes all or none"
		}
		if err := a.Ledger.CancelBatch(ctx, b.ID, actor(ctx), why); err != nil {
			return nil, err
		}
		p := problem(http.StatusUnprocessableEntity, why)
		p.Batch = &b.ID
		for _, r := range plan.Rejections {
			p.Errors = append(p.Errors, Detail{Message: r.Reason, Location: "body", Row: r.Number, Line: r.Line, Field: r.Column, Hint: r.Hint})
		}
		return nil, p
	}
	out.Location = "/api/v1/batches/" + b.ID.String()
	out.Body = Draft{Batch: b.ID, State: b.State, Test: b.Test, Rejected: plan.Rejected, Plan: plan}
	return out, nil
}

type listBatchesInput struct {
	After string `query:"after" doc:"The next of the page before"`
	Limit int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
}

type batchList struct {
	Batches []Batch `json:"batches" nullable:"false"`
	Next    string  `json:"next,omitempty" doc:"Give it as after for the next page; none = this was the last"`
}

type listBatchesOutput struct{ Body batchList }

func (a *API) listBatches(ctx context.Context, in *listBatchesInput) (*listBatchesOutput, error) {
	var before paylink.BatchID
	var err error
	if in.After != "" {
		if before, err = paylink.ParseBatchID(in.After); err != nil {
			return nil, badCursor()
		}
	}
	page, err := a.Ledger.BatchPage(ctx, caller(ctx).Test, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &listBatchesOutput{batchList{Batches: []Batch{}}}
	for i, b := range page {
		if i == in.Limit {
			out.Body.Next = page[i-1].ID.String()
			break
		}
		st, err := a.status(ctx, b)
		if err != nil {
			return nil, err
		}
		out.Body.Batches = append(out.Body.Batches, st)
	}
	return out, nil
}

func badCursor() *Problem {
	return problem(http.StatusUnprocessableEntity, "this is no page's next", Detail{Message: "give what an answer's next said", Location: "query.after"})
}

// status is the ledger's with every payment state, those that nobody is in as well.
func (a *API) status(ctx context.Context, b paylink.Batch) (Batch, error) {
	st, err := a.Ledger.Status(ctx, b.ID)
	if err != nil {
		return Batch{}, err
	}
	for _, p := range paylink.PaymentMachine.States {
		st.Payments[p] += 0
	}
	return Batch{st, b.Test}, nil
}

func (a *API) getBatch(ctx context.Context, in *batchInput) (*batchOutput, error) {
	b, err := a.batch(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	st, err := a.status(ctx, b)
	return &batchOutput{st}, err
}

type planOutput struct{ Body intake.Plan }

func (a *API) getPlan(ctx context.Context, in *batchInput) (*planOutput, error) {
	b, err := a.batch(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if b.State == paylink.BatchImporting {
		return nil, fmt.Errorf("batch %s was not read to its end, so it has no plan yet: %w", b.ID, paylink.ErrConflict)
	}
	p, err := intake.PlanOf(b)
	return &planOutput{p}, err
}

type listRejectionsInput struct {
	BatchPath
	All   bool   `query:"all" doc:"With those that were mended and sent in another file"`
	After string `query:"after" doc:"The next of the page before"`
	Limit int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

type rejectionList struct {
	Rejections []paylink.Rejection `json:"rejections" nullable:"false"`
	Next       string              `json:"next,omitempty" doc:"Give it as after for the next page; none = this was the last"`
}

type listRejectionsOutput struct{ Body rejectionList }

func (a *API) listRejections(ctx context.Context, in *listRejectionsInput) (*listRejectionsOutput, error) {
	after := 0
	if in.After != "" {
		var err error
		if after, err = strconv.Atoi(in.After); err != nil || after < 0 {
			return nil, badCursor()
		}
	}
	if _, err := a.batch(ctx, in.ID); err != nil {
		return nil, err
	}
	page, next, err := a.Ledger.RejectionPage(ctx, in.ID, in.All, after, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &listRejectionsOutput{rejectionList{Rejections: append([]paylink.Rejection{}, page...)}}
	if next > 0 {
		out.Body.Next = strconv.Itoa(next)
	}
	return out, nil
}

type streamOutput struct {
	Body func(huma.Context)
}

type downloadInput struct {
	BatchPath
	All bool `query:"all" doc:"With those that were mended and sent in another file"`
}

func (a *API) downloadRejections(ctx context.Context, in *downloadInput) (*streamOutput, error) {
	b, err := a.batch(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return a.download(b.ID.String()+"-rejected.csv", func(w http.ResponseWriter) error {
		_, err := report.Errors(ctx, w, a.Ledger, b, in.All)
		return err
	}), nil
}

func (a *API) exportBatch(ctx context.Context, in *batchInput) (*streamOutput, error) {
	b, err := a.batch(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return a.download(b.ID.String()+".csv", func(w http.ResponseWriter) error { return report.Export(ctx, w, a.Ledger, b.ID) }), nil
}

// downloadTime is how long a download may take.
const downloadTime = time.Hour

// download streams a CSV file. If it breaks off, so does the connection: half a file must not look like a whole one.
func (a *API) download(name string, write func(http.ResponseWriter) error) *streamOutput {
	return &streamOutput{func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(downloadTime)) // a recorder has none
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
		if err := write(w); err != nil {
			if ctx.Context().Err() == nil {
				a.Log.Error("download broke off", "error", err)
			}
			panic(http.ErrAbortHandler)
		}
	}}
}

type retryInput struct {
	BatchPath
	Body *struct {
		Cause paylink.Cause `json:"cause,omitempty" doc:"Only those that failed for it"`
		Why   string        `json:"why,omitempty" maxLength:"500" doc:"Why, for the record"`
	}
}

type retried struct {
	Batch    paylink.BatchID `json:"batch"`
	Requests int             `json:"requests" doc:"How many are sent again"`
}

type retryOutput struct{ Body retried }

func (a *API) retryBatch(ctx context.Context, in *retryInput) (*retryOutput, error) {
	if _, err := a.batch(ctx, in.ID); err != nil {
		return nil, err
	}
	var cause paylink.Cause
	why := "retry"
	if in.Body != nil {
		cause = in.Body.Cause
		why = cmp.Or(in.Body.Why, why)
	}
	n, err := a.Ledger.Retry(ctx, in.ID, cause, actor(ctx), why)
	if err != nil {
		return nil, err
	}
	a.wakeFeeder(ctx, in.ID)
	return &retryOutput{retried{in.ID, n}}, nil
}
