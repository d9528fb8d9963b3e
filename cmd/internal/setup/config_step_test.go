package setup_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"dunlin/cmd/internal/setup"
	"dunlin/paylink"
	"dunlin/sandbox"
)

var update = flag.Bool("update", false, "write .env.example anew from the comments of Config")

const top = "../../.." // of the module

// documented is one field of Config: its comment is the manual of its variable.
type documented struct{ name, comment, def string }

// manual reads the fields of Config from the source.
func manual(t *testing.T) []documented {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var fields []documented
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Config" {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
			fields = append(fields, documented{name: tag.Get("env"), comment: f.Doc.Text(), def: tag.Get("default")})
		}
		return false
	})
	if len(fields) == 0 {
		t.Fatal("got no fields of Config")
	}
	return fields
}

func TestEachFieldIsDocumented(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range manual(t) {
		text := strings.Join(strings.Fields(f.comment), " ")
		if f.name == "" || seen[f.name] || !strings.HasPrefix(text, f.name+": ") {
			t.Errorf("got comment %q of variable %q, want it to begin with the variable, once", text, f.name)
		}
		seen[f.name] = true
		switch {
		case f.def != "" && !strings.HasSuffix(text, "Default: "+f.def+"."):
			t.Errorf("%s: the comment must end with %q", f.name, "Default: "+f.def+".")
		case f.def == "" && !strings.Contains(text, "Default: ") && !strings.HasSuffix(text, "no default."):
			t.Errorf("%s: the comment does not say what unset means", f.name)
		}
	}
}

// TestEnvExample keeps .env.example in step with the manual; go test ./cmd/internal/setup -update writes it.
func TestEnvExample(t *testing.T) {
	var want strings.Builder
	want.WriteString(`# The configuration of Dunlin's programs. Copy this file to .env, remove the # before a variable and fill in its value.
# A secret may stand in a file instead, named by the variable with _FILE behind it: DUNLIN_OTTU_API_KEY_FILE=/run/secrets/key.
# Mistakes are reported all at once when a program starts. Made from the comments of Config in cmd/internal/setup.
`)
	secret := secrets()
	for _, f := range manual(t) {
		fmt.Fprintf(&want, "\n# %s\n", strings.ReplaceAll(strings.TrimSpace(f.comment), "\n", "\n# "))
		if secret[f.name] {
			fmt.Fprintf(&want, "# Secret: or %s_FILE.\n", f.name)
		}
		fmt.Fprintf(&want, "#%s=%s\n", f.name, f.def)
	}
	file := filepath.Join(top, ".env.example")
	if *update {
		if err := os.WriteFile(file, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Error(".env.example is not what the comments of Config say; write it anew: go test ./cmd/internal/setup -run TestEnvExample -update")
	}
}

// TestEnvExampleLoads removes the # before every variable and loads the result.
func TestEnvExampleLoads(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	e := parseEnv(t, regexp.MustCompile(`(?m)^#([A-Z])`).ReplaceAllString(string(text), "$1"))
	if got, want := len(e), len(manual(t)); got != want {
		t.Errorf("got %d variables, want %d", got, want)
	}
	if _, err := e.load(); err != nil {
		t.Errorf("loading .env.example: %v", err)
	}
}

// TestSandboxEnv: the configuration for trying Dunlin out is complete and is what the sandbox expects.
func TestSandboxEnv(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, "scripts/sandbox.env"))
	if err != nil {
		t.Fatal(err)
	}
	e := parseEnv(t, string(text))
	c, err := e.load()
	if err != nil {
		t.Fatal(err)
	}
	s, err := sandbox.Start(sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, want := range parseEnv(t, strings.Join(s.Env(), "\n")) {
		// Addresses are a matter of where it runs; keys, senders and templates are not.
		if got := e[name]; !strings.HasSuffix(name, "_URL") && name != "DUNLIN_MAIL_FROM" && got != want {
			t.Errorf("got %s=%q, the sandbox expects %q", name, got, want)
		}
	}
	if err := c.NeedCheckout(); err != nil {
		t.Error(err)
	}
	if err := c.NeedChannels(paylink.Channels...); err != nil {
		t.Error(err)
	}
}

// compose is what these tests read of docker-compose.yml.
type compose struct {
	Services map[string]struct {
		Image       string
		Environment map[string]string
		Secrets     []string
		Networks    []string
		NetworkMode string `yaml:"network_mode"`
		Ports       []string
		Volumes     []string
		DependsOn   yaml.Node `yaml:"depends_on"`
	}
	Networks map[string]struct{ Internal bool }
	Volumes  map[string]any
	Secrets  map[string]struct{ File string }
}

func TestCompose(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	known, secret := map[string]bool{}, secrets()
	for _, f := range manual(t) {
		known[f.name], known[f.name+"_FILE"] = true, secret[f.name]
	}
	for _, name := range regexp.MustCompile(`\b(?:DUNLIN|TWILIO)_[A-Z_]+`).FindAllString(string(text), -1) {
		if !known[name] {
			t.Errorf("docker-compose.yml uses %s, which is no variable", name)
		}
	}
	for _, want := range []string{"redis", "postgres", "worker", "sandbox", "mailpit"} {
		if _, ok := c.Services[want]; !ok {
			t.Errorf("there is no service %s", want)
		}
	}
	for name, s := range c.Services {
		if _, tag, ok := strings.Cut(s.Image, ":"); s.Image != "dunlin" && (!ok || tag == "latest") {
			t.Errorf("%s: got image %q, want one with a version", name, s.Image)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to the network", name, port)
			}
		}
		for _, n := range s.Networks {
			if _, ok := c.Networks[n]; !ok {
				t.Errorf("%s: there is no network %s", name, n)
			}
		}
		for _, x := range s.Secrets {
			if _, ok := c.Secrets[x]; !ok {
				t.Errorf("%s: there is no secret %s", name, x)
			}
		}
		for _, v := range s.Volumes {
			if volume, _, _ := strings.Cut(v, ":"); !strings.HasPrefix(volume, ".") {
				if _, ok := c.Volumes[volume]; !ok {
					t.Errorf("%s: there is no volume %s", name, volume)
				}
			}
		}
	}
	for _, store := range []string{"redis", "postgres"} {
		for _, n := range c.Services[store].Networks {
			if !c.Networks[n].Internal {
				t.Errorf("%s is on network %s, which has a way out", store, n)
			}
		}
	}
	e := env(c.Services["worker"].Environment)
	for name := range e {
		if strings.HasSuffix(name, "_FILE") { // the container has it, this machine does not
			delete(e, name)
		}
	}
	if _, err := e.load(); err != nil {
		t.Errorf("the worker's environment: %v", err)
	}
}

// TestImage: the image is built by the line that builds bin/, from all of cmd/, and does not run as root.
func TestImage(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(top, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	line := regexp.MustCompile(`CGO_ENABLED=0 go build (.*) -o \S+ (.*)`)
	want := line.FindStringSubmatch(read("Dockerfile"))
	if want == nil || want[2] != "./cmd/..." {
		t.Fatalf("got build line %q in the Dockerfile, want one without cgo that builds ./cmd/...", want)
	}
	for _, name := range []string{"Makefile", "scripts/test.sh"} {
		if got := line.FindStringSubmatch(read(name)); got == nil || !slices.Equal(got[1:], want[1:]) {
			t.Errorf("%s: got build line %q, want the Dockerfile's %q", name, got, want)
		}
	}
	from := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(read("Dockerfile"), -1)
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read("go.mod"))
	if len(from) != 2 || goVersion == nil || from[0][1] != "golang:"+goVersion[1] {
		t.Errorf("got stages %q, want two, the first with the Go version %q of go.mod", from, goVersion)
	}
	if !strings.Contains(read("Dockerfile"), "\nUSER 65532:65532\n") {
		t.Error("the image runs as root")
	}
}

// secrets are the names of the variables that may be given as files.
func secrets() map[string]bool {
	names := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[setup.Config]()) {
		names[f.Tag.Get("env")] = f.Type == reflect.TypeFor[setup.Secret]()
	}
	return names
}

// parseEnv reads the lines NAME=value of an env file, as Docker Compose does.
func parseEnv(t *testing.T, text string) env {
	t.Helper()
	e := env{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if _, twice := e[name]; !ok || twice {
			t.Errorf("got line %q, want NAME=value, each name once", line)
		}
		e[name] = value
	}
	return e
}
