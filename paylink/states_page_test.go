package paylink_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/states.md anew")

const statesPage = "../docs/states.md"

// TestStatesPage keeps docs/states.md equal to the tables and comments of state.go.
func TestStatesPage(t *testing.T) {
	src := readStates(t)
	var b strings.Builder
	b.WriteString(statesIntro)
	for _, m := range machines() {
		for _, s := range m.states {
			if src.meaning[m.typ][s] == "" {
				t.Errorf("%s %s: got no comment in state.go, want its meaning", m.name, s)
			}
		}
		writeMachine(&b, m, src)
	}
	if *update {
		if err := os.WriteFile(statesPage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(statesPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(page)); diff != "" {
		t.Errorf("docs/states.md is not what state.go says; write it with go test ./paylink -run TestStatesPage -update (-want +got):\n%s", diff)
	}
}

const statesIntro = `# States

<!-- Generated from paylink/state.go: go test ./paylink -run TestStatesPage -update -->

Dunlin keeps five state machines. *Dispatch* says what we did about a row and *payment* what the payer did; they run side
by side, because receipts and payments arrive in any order. *Session* and *message* are the parts that a row is made of,
*batch* is the file as a whole.

A step without a word is taken by an event, ours or the outside world's. A step marked *command* is taken only when a
person says so; it is recorded with who and why. Whatever is not drawn is refused.
`

func writeMachine(b *strings.Builder, m machine, src stateSource) {
	doc := strings.Join(strings.Fields(src.doc[m.name]), " ")
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n```mermaid\nstateDiagram-v2\n    [*] --> %s\n", strings.ToUpper(m.name[:1])+m.name[1:], wrap(doc, 118), m.states[0])
	for _, s := range m.states {
		for _, to := range m.edges[s] {
			fmt.Fprintf(b, "    %s --> %s\n", s, to)
		}
		for _, to := range m.byCommand[s] {
			fmt.Fprintf(b, "    %s --> %s : command\n", s, to)
		}
		if len(m.exits(s)) == 0 {
			fmt.Fprintf(b, "    %s --> [*]\n", s)
		}
	}
	b.WriteString("```\n\n| state | meaning | may go to | only by command |\n|---|---|---|---|\n")
	for _, s := range m.states {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", s, strings.ReplaceAll(src.meaning[m.typ][s], "|", `\|`), list(m.edges[s]), list(m.byCommand[s]))
	}
}

func list(states []string) string {
	if len(states) == 0 {
		return "–"
	}
	return strings.Join(states, ", ")
}

func wrap(s string, width int) string {
	var b strings.Builder
	n := 0
	for _, word := range strings.Fields(s) {
		switch {
		case n == 0:
		case n+1+len(word) > width:
			b.WriteByte('\n')
			n = 0
		default:
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += len(word)
	}
	return b.String()
}

// stateSource is what the comments of state.go say.
type stateSource struct {
	meaning map[string]map[string]string // by type and state
	doc     map[string]string            // of each machine, by its name
}

// readStates reads state.go. A constant's meaning is the comment behind it; a machine's is the comment above it, less its
// identifier.
func readStates(t *testing.T) stateSource {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "state.go", nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	src := stateSource{meaning: map[string]map[string]string{}, doc: map[string]string{}}
	for _, decl := range file.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range d.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || len(v.Names) != 1 || len(v.Values) != 1 {
				continue
			}
			switch name := v.Names[0].Name; {
			case d.Tok == token.CONST:
				typ, state := v.Type.(*ast.Ident).Name, literal(t, v.Values[0])
				if src.meaning[typ] == nil {
					src.meaning[typ] = map[string]string{}
				}
				src.meaning[typ][state] = strings.TrimSpace(v.Comment.Text())
			case strings.HasSuffix(name, "Machine"):
				if words := strings.TrimPrefix(d.Doc.Text(), name+" is "); words != "" {
					src.doc[strings.ToLower(strings.TrimSuffix(name, "Machine"))] = strings.ToUpper(words[:1]) + words[1:]
				}
			}
		}
	}
	for _, m := range machines() {
		if src.doc[m.name] == "" || src.meaning[m.typ] == nil {
			t.Fatalf("got no comment on machine %s, or no constants of type %s, in state.go", m.name, m.typ)
		}
	}
	return src
}

func literal(t *testing.T, e ast.Expr) string {
	t.Helper()
	s, err := strconv.Unquote(e.(*ast.BasicLit).Value)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
