package api

import (
	"bytes"
	"cmp"
	_ "embed" // the page and its stylesheet
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed reference.html
var referencePage string

//go:embed reference.css
var referenceStyle []byte

// The page is made from the document once, at the start, and holds no script: it can load nothing from anywhere.
type (
	referenceView struct {
		Title, Version string
		Introduction   []string
		Tags           []tagView
		Types          []typeView
	}
	tagView struct {
		Name, Description string
		Operations        []operationView
	}
	operationView struct {
		ID, Method, Path, Summary string
		Description               []string
		Parameters                []fieldView
		Bodies, Answers           []contentView
	}
	fieldView struct {
		Name, In string
		Required bool
		Type     typeRef
		Meaning  string
	}
	contentView struct {
		Status, ContentType string
		Type                typeRef
	}
	typeView struct {
		Name   string
		Fields []fieldView
	}
	// typeRef is a type in words, and the named type that it ends with.
	typeRef struct{ Before, Ref string }
)

// addReference serves the document and the page. Both are for everybody: they tell what can be asked, not what is there.
func (a *API) addReference(doc *huma.OpenAPI) error {
	t, err := template.New("reference").Parse(referencePage)
	if err != nil {
		return fmt.Errorf("read the reference page: %w", err)
	}
	var page bytes.Buffer
	if err := t.Execute(&page, view(doc)); err != nil {
		return fmt.Errorf("write the reference page: %w", err)
	}
	serve := func(pattern, contentType string, body []byte) {
		a.mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			w.Header().Set("Referrer-Policy", "no-referrer")
			w.Header().Set("Cache-Control", "max-age=300")
			_, _ = w.Write(body) // the reader has left
		})
	}
	serve("GET /api/openapi.json", "application/json", a.document) // no registered type for OpenAPI is shown by browsers
	serve("GET /api/docs", "text/html; charset=utf-8", page.Bytes())
	serve("GET /api/docs.css", "text/css; charset=utf-8", referenceStyle)
	return nil
}

func view(doc *huma.OpenAPI) referenceView {
	v := referenceView{Title: doc.Info.Title, Version: doc.Info.Version, Introduction: paragraphs(doc.Info.Description)}
	for _, tag := range doc.Tags {
		v.Tags = append(v.Tags, tagView{Name: tag.Name, Description: tag.Description})
	}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			at := slices.IndexFunc(v.Tags, func(t tagView) bool { return t.Name == op.Tags[0] })
			v.Tags[at].Operations = append(v.Tags[at].Operations, viewOperation(op))
		}
	}
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		v.Types = append(v.Types, typeView{name, viewFields(schemas[name])})
	}
	return v
}

func viewOperation(op *huma.Operation) operationView {
	o := operationView{ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: paragraphs(op.Description)}
	for _, p := range op.Parameters {
		o.Parameters = append(o.Parameters, fieldView{p.Name, p.In, p.Required, refOf(p.Schema), cmp.Or(p.Description, p.Schema.Description)})
	}
	if op.RequestBody != nil {
		for _, ct := range slices.Sorted(maps.Keys(op.RequestBody.Content)) {
			o.Bodies = append(o.Bodies, contentView{ContentType: ct, Type: refOf(op.RequestBody.Content[ct].Schema)})
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		for _, ct := range slices.Sorted(maps.Keys(op.Responses[status].Content)) {
			name := status
			if status == "default" {
				name = "any other"
			}
			o.Answers = append(o.Answers, contentView{name, ct, refOf(op.Responses[status].Content[ct].Schema)})
		}
	}
	return o
}

func viewFields(s *huma.Schema) (out []fieldView) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		out = append(out, fieldView{Name: name, Type: refOf(p), Meaning: p.Description})
	}
	return out
}

func refOf(s *huma.Schema) typeRef {
	switch {
	case s == nil:
		return typeRef{}
	case s.Ref != "":
		return typeRef{Ref: s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]}
	case s.Type == huma.TypeArray:
		of := refOf(s.Items)
		return typeRef{"list of " + of.Before, of.Ref}
	case len(s.Enum) > 0:
		return typeRef{Before: strings.Trim(strings.ReplaceAll(fmt.Sprint(s.Enum), " ", ", "), "[]")}
	case len(s.OneOf) > 0:
		return typeRef{Before: "string or number"}
	case s.Format == "binary":
		return typeRef{Before: "file"}
	case s.Format != "":
		return typeRef{Before: s.Type + " (" + s.Format + ")"}
	}
	if of, ok := s.AdditionalProperties.(*huma.Schema); ok {
		ref := refOf(of)
		return typeRef{"map to " + ref.Before, ref.Ref}
	}
	return typeRef{Before: s.Type}
}

func paragraphs(s string) (out []string) {
	for p := range strings.SplitSeq(s, "\n\n") {
		if p = strings.TrimSpace(strings.ReplaceAll(p, "\n", " ")); p != "" {
			out = append(out, p)
		}
	}
	return out
}
