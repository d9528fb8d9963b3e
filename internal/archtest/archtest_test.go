package archtest

import (
	"cmp"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "dunlin"

// A pattern is a package's path below the module, or with /... also everything below it; "..." is every package.

type layer struct {
	pkg string
	may []string
}

// layers say which of our packages a package may import outside its tests. The first row that fits a package holds.
var layers = []layer{
	{"paylink", nil},
	{"templates/...", []string{"paylink", "templates/..."}},
	{"batchfile", []string{"paylink"}},
	{"ledger/...", []string{"paylink", "ledger/..."}},
	// intake is where a file meets the record: shared by the command line, the API and the console.
	{"intake", []string{"paylink", "batchfile", "ledger", "templates"}},
	{"checkout", []string{"paylink"}},
	{"checkout/ottu", []string{"paylink", "checkout"}},
	{"checkout/checkouttest", []string{"paylink", "checkout"}},
	{"notify", []string{"paylink", "templates"}},
	// What a mail status code means is asked by the sender, whose relay says it at once, and by the reader of bounces.
	{"notify/mailstatus", []string{"paylink"}},
	{"notify/bounce", []string{"paylink", "notify/mailstatus"}},
	{"notify/email", []string{"paylink", "notify", "notify/mailstatus"}},
	{"notify/attachment", []string{"paylink"}},
	{"notify/twilio", []string{"paylink", "notify"}},
	// jobs declares the interfaces it calls; the store, the file reader and the adapters are plugged in by cmd.
	{"jobs/...", []string{"paylink", "notify", "templates", "jobs/..."}},
	// report writes the record out, for the command line and the web alike.
	{"report", []string{"paylink", "batchfile", "ledger"}},
	// The API shows the record in the ledger's own words; a copy of each type would be a second place to forget.
	{"web/api", []string{"paylink", "batchfile", "intake", "ledger", "report", "jobs"}},
	{"web/api/client", nil},
	{"web/api/conformance", nil}, // tests only
	// The console shows the record in the ledger's own words, as the API does.
	{"web/console", []string{"paylink", "intake", "ledger", "report", "notify", "templates", "jobs", "web/signin"}},
	{"web/throttle", nil},
	{"web/signin", []string{"paylink", "ledger", "web/throttle"}},
	{"web/queue", []string{"ledger", "jobs", "web/signin"}},
	{"web/...", []string{"paylink", "intake", "notify", "templates", "jobs", "web/..."}},
	// The stand-ins speak the providers' protocols by themselves: sharing code with the adapters would share its mistakes.
	{"sandbox/...", []string{"paylink", "sandbox/..."}},
	{"internal/archtest", nil},
	{"internal/testenv", nil},
	{"internal/chaos", nil},
	{"cmd/...", []string{"..."}},
	{"bench/...", []string{"..."}},
	{"examples/...", []string{"..."}},
	{"docs/...", []string{"..."}},
}

// homes say where a third-party library is imported, tests aside. A library that is not listed may be used anywhere.
var homes = []struct {
	lib string
	in  []string
}{
	{"github.com/hibiken/asynq", []string{"jobs/...", "cmd/bench"}}, // the benchmark measures it bare
	{"github.com/danielgtaylor/huma", []string{"web/api"}},
	{"github.com/hibiken/asynqmon", []string{"web/..."}},
	{"github.com/redis/go-redis", []string{"jobs/...", "cmd/...", "bench/...", "internal/testenv"}},
	{"github.com/twilio/twilio-go", []string{"notify/twilio"}},
	{"github.com/wneessen/go-mail", []string{"notify/email"}},
	{"github.com/gocarina/gocsv", []string{"batchfile"}},
	{"github.com/emersion/go-message", []string{"notify/bounce"}},
	{"modernc.org/sqlite", []string{"ledger/..."}},
	{"github.com/jackc/pgx", []string{"ledger/...", "internal/testenv"}},
	{"github.com/chromedp", nil},           // drives browsers, in tests
	{"github.com/mattn/go-sqlite3", nil},   // needs cgo; modernc.org/sqlite does not
	{"github.com/shopspring/decimal", nil}, // money is integer minor units
}

// forTests reports whether a package exists for tests: it may import testing, and no other package may import it.
func forTests(pkg string) bool { return strings.HasSuffix(pkg, "test") || pkg == "internal/testenv" }

// TestImports checks every package of the module.
func TestImports(t *testing.T) {
	imports, err := readImports("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := imports["paylink"]; !ok {
		t.Fatalf("got packages %q without paylink: this is not the module", slices.Sorted(maps.Keys(imports)))
	}
	for _, broken := range violations(imports) {
		t.Error(broken)
	}
}

// TestRulesBite breaks each kind of rule.
func TestRulesBite(t *testing.T) {
	for _, tt := range []struct{ name, pkg, imported, want string }{
		{"domain is a leaf", "paylink", "dunlin/templates", "paylink must not import dunlin/templates"},
		{"adapters do not know each other", "notify/email", "dunlin/notify/twilio", "must not import"},
		{"jobs does not know the store", "jobs", "dunlin/ledger", "must not import"},
		{"jobs does not know a provider", "jobs", "dunlin/checkout/ottu", "must not import"},
		{"wiring is for commands", "jobs", "dunlin/cmd/internal/setup", "must not import"},
		{"asynq has one home", "ledger", "github.com/hibiken/asynq", "belongs in jobs/..."},
		{"driver's subpackage", "jobs", "github.com/jackc/pgx/v5/pgxpool", "belongs in ledger/..."},
		{"no second driver", "ledger", "github.com/mattn/go-sqlite3", "belongs in no package"},
		{"testing in a program", "cmd/worker", "testing", "cmd/worker must not import testing"},
		{"testing's subpackage", "jobs", "testing/synctest", "must not import testing/synctest"},
		{"test package in a program", "cmd/worker", "dunlin/internal/testenv", "is for tests"},
		{"new package", "helpers", "fmt", "has no row"},

		{"commands plug together", "cmd/worker", "dunlin/ledger", ""},
		{"below a pattern", "ledger/ledgertest", "dunlin/ledger", ""},
		{"test package", "ledger/ledgertest", "testing", ""},
		{"test package in a test package", "ledger/ledgertest", "dunlin/internal/testenv", ""},
		{"similar name", "batchfile", "github.com/hibiken/asynqmonitor", ""},
		{"home", "ledger", "github.com/jackc/pgx/v5", ""},
	} {
		got := strings.Join(violations(map[string][]string{tt.pkg: {tt.imported}}), "\n")
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// violations are the broken rules, given what each package imports outside its tests.
func violations(imports map[string][]string) []string {
	var broken []string
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		row := slices.IndexFunc(layers, func(l layer) bool { return matches(l.pkg, pkg) })
		if row < 0 {
			broken = append(broken, fmt.Sprintf("%s has no row in the table of layers: add one that says what it may import", pkg))
			continue
		}
		for _, imported := range imports[pkg] {
			switch ours, isOurs := strings.CutPrefix(imported, module+"/"); {
			case isOurs && forTests(ours):
				if !forTests(pkg) {
					broken = append(broken, fmt.Sprintf("%s must not import %s, which is for tests", pkg, imported))
				}
			case isOurs && !matchesAny(layers[row].may, ours):
				broken = append(broken, fmt.Sprintf("%s must not import %s; it may import %q", pkg, imported, layers[row].may))
			case matches("testing/...", imported) && !forTests(pkg):
				broken = append(broken, fmt.Sprintf("%s must not import %s outside its tests", pkg, imported))
			}
			for _, home := range homes {
				if matches(home.lib+"/...", imported) && !matchesAny(home.in, pkg) {
					broken = append(broken, fmt.Sprintf("%s must not import %s, which belongs in %s", pkg, imported,
						cmp.Or(strings.Join(home.in, " and "), "no package")))
				}
			}
		}
	}
	return broken
}

func matches(pattern, pkg string) bool {
	if pattern == "..." {
		return true
	}
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
	}
	return pkg == pattern
}

func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, pkg) })
}

// readImports reads what each package below root imports outside its tests, whatever the platform and build tags. It
// parses the files itself, because go test repeats a kept result when no file that the test opened has changed, and does
// not see the files that a `go list` opens.
func readImports(root string) (map[string][]string, error) {
	imports := map[string][]string{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if file != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		if _, ok := imports[pkg]; !ok {
			imports[pkg] = nil // a package that imports nothing is one, too
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !slices.Contains(imports[pkg], imported) {
				imports[pkg] = append(imports[pkg], imported)
			}
		}
		return nil
	})
	return imports, err
}
