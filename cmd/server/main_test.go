package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"dunlin/internal/testenv"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// asServer makes the test's own binary the server, for what only a process shows.
const asServer = "DUNLIN_TEST_AS_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		os.Unsetenv(asServer) // an unknown variable of ours would be taken for a misspelt one
		main()
		return
	}
	os.Exit(m.Run())
}

func env(kv ...string) func(string) (string, bool) {
	m := map[string]string{}
	for _, x := range kv {
		k, v, _ := strings.Cut(x, "=")
		m[k] = v
	}
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func TestServerSaysWhatIsWrong(t *testing.T) {
	enough := []string{"DUNLIN_OTTU_URL=http://127.0.0.1:1", "DUNLIN_OTTU_API_KEY=k", "DUNLIN_OTTU_PG_CODES=knet", "DUNLIN_PUBLIC_URL=http://127.0.0.1:1",
		"DUNLIN_MERCHANT_NAME=Al Noor School", "DUNLIN_DATABASE_URL=sqlite:" + t.TempDir() + "/l.db"}
	for _, tt := range []struct {
		name string
		args []string
		env  []string
		want []string
	}{
		{name: "nothing is set", want: []string{"DUNLIN_OTTU_URL", "DUNLIN_OTTU_API_KEY", "DUNLIN_OTTU_PG_CODES", "DUNLIN_PUBLIC_URL", "DUNLIN_MERCHANT_NAME"}},
		{name: "bad values", env: []string{"DUNLIN_LISTEN=here", "DUNLIN_PUBLIC_URL=ftp://x", "DUNLIN_ATTACHMENTS=perhaps"},
			want: []string{"DUNLIN_LISTEN", "DUNLIN_PUBLIC_URL", "DUNLIN_ATTACHMENTS"}},
		{name: "an argument", args: []string{"start"}, want: []string{`"start"`, "no arguments"}},
		{name: "a flag", args: []string{"-port", "80"}, want: []string{"-port"}},
		{name: "an address that is not ours", env: append(enough, "DUNLIN_LISTEN=192.0.2.1:80"), want: []string{"DUNLIN_LISTEN"}},
		{name: "a database that is not there", env: append(enough, "DUNLIN_DATABASE_URL=sqlite:/nowhere/l.db"), want: []string{"open"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := run(t.Context(), tt.args, env(tt.env...), nil, io.Discard)
			if err == nil {
				t.Fatal("it ran")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got error %q, want one that names %s", err, want)
				}
			}
		})
	}
	var help bytes.Buffer
	if err := run(t.Context(), []string{"-h"}, env(), nil, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "/readyz") {
		t.Errorf("-h: got %v and\n%s", err, help.String())
	}
}

// log is what the server says, and a signal of where it listens.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
	at   chan string
}

var listens = regexp.MustCompile(`server started.*listen=(\S+)`)

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := listens.FindSubmatch(b); m != nil {
		l.at <- string(m[1])
	}
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// server is one that runs, behind an address that was known before it.
type server struct {
	*testing.T
	front *httptest.Server
	box   *sandbox.Sandbox
	env   []string
	log   *log
}

// prepare makes what a server stands on. Its public address is a proxy, as in production, which learns the port later.
func prepare(t *testing.T, database string) (*server, func(at string)) {
	t.Helper()
	box, err := sandbox.Start(sandbox.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	var target atomic.Pointer[url.URL]
	s := &server{T: t, box: box, log: &log{at: make(chan string, 1)}}
	s.front = httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target.Load()) }})
	t.Cleanup(s.front.Close)
	s.env = append(box.Env(), "DUNLIN_DATABASE_URL="+database, "DUNLIN_REDIS_URL="+testenv.Redis(t), "DUNLIN_LISTEN=127.0.0.1:0",
		"DUNLIN_PUBLIC_URL="+s.front.URL, "DUNLIN_MERCHANT_NAME=Al Noor School")
	return s, func(at string) { target.Store(&url.URL{Scheme: "http", Host: at}) }
}

// start runs a server in this process until the test ends.
func start(t *testing.T, database string) *server {
	t.Helper()
	s, aim := prepare(t, database)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, nil, env(s.env...), nil, s.log) }()
	select {
	case at := <-s.log.at:
		aim(at)
	case err := <-ended:
		cancel()
		t.Fatalf("the server ended: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		if !strings.Contains(s.log.String(), "server stopped") {
			t.Errorf("it did not say that it stopped:\n%s", s.log.String())
		}
	})
	return s
}

func (s *server) do(method, path string) (status int, location, body string) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.front.URL+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Location"), string(b)
}

func (s *server) shows(method, path string, status int, word string) (location string) {
	s.Helper()
	got, location, body := s.do(method, path)
	if got != status || !strings.Contains(body, word) {
		s.Fatalf("%s %s: got %d, want %d and %q:\n%s", method, path, got, status, word, body)
	}
	return location
}

// TestRoundTrip opens a link, pays at the provider, and finds the page paid by the provider's webhook.
func TestRoundTrip(t *testing.T) {
	database := "sqlite:" + t.TempDir() + "/l.db"
	s := start(t, database)
	s.shows("GET", "/healthz", 200, "ok")
	s.shows("GET", "/readyz", 200, "ok")
	s.shows("GET", "/nothing", 404, "")

	db := ledgertest.Open(t, database, nil)
	id := paylink.NewRequestID(ledgertest.Import(t, db, 1), 1)
	v, err := db.Payer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	page := "/p/" + paylink.Token(id, v.Request.Secret)
	s.shows("GET", page, 200, "Payment request")
	if to := s.shows("POST", page+"/pay", 303, ""); !strings.HasPrefix(to, s.box.URL()) {
		t.Fatalf("sent on to %q, want the provider", to)
	}
	s.shows("POST", "/hooks/ottu", 401, "") // not signed
	if _, err := s.box.Pay(t.Context(), s.box.Sessions()[0].ID, sandbox.PayFull, false); err != nil {
		t.Fatal(err)
	}
	s.shows("GET", page, 200, "Paid. Thank you")
	s.shows("GET", page+"/receipt?lang=ar", 200, "إيصال")
	if text := s.log.String(); strings.Contains(text, page) || strings.Contains(text, v.Contact.Email) {
		t.Errorf("the log names the payer or the link:\n%s", text)
	}
	ledgertest.Audit(t, db)
}

// TestNotReady takes the database away from under a server that runs.
func TestNotReady(t *testing.T) {
	database := testenv.Postgres(t)
	s := start(t, database)
	s.shows("GET", "/readyz", 200, "ok")
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	admin, err := sql.Open("pgx", u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for _, q := range []string{`ALTER DATABASE "` + name + `" ALLOW_CONNECTIONS false`,
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '` + name + `'`} {
		if _, err := admin.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	s.shows("GET", "/readyz", 503, "ledger")
	s.shows("GET", "/healthz", 200, "ok")
}

// TestStops sends SIGTERM to a server in the middle of an answer: it takes nothing new, finishes, and ends well.
func TestStops(t *testing.T) {
	s, _ := prepare(t, "sqlite:"+t.TempDir()+"/l.db")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(s.env, asServer+"=1")
	cmd.Stderr = s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var at string
	select {
	case at = <-s.log.at:
	case err := <-ended:
		t.Fatalf("the server ended: %v\n%s", err, s.log.String())
	}
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The 100 says that the handler has begun to read.
	if _, err := io.WriteString(conn, "POST /hooks/ottu HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	begun := make([]byte, len("HTTP/1.1 100"))
	if _, err := io.ReadFull(conn, begun); err != nil || string(begun) != "HTTP/1.1 100" {
		t.Fatalf("got %q, %v", begun, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("tcp", at)
		if err != nil {
			break // it listens no more
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("it takes new connections a minute after SIGTERM")
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended in the middle of an answer: %v", err)
	default:
	}
	if _, err := io.WriteString(conn, "{}"); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(conn)
	if err != nil || !bytes.Contains(rest, []byte("HTTP/1.1 401")) {
		t.Errorf("got %q, %v, want the answer to what is not signed", rest, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v\n%s", err, s.log.String())
	}
	if !strings.Contains(s.log.String(), "server stopped") {
		t.Errorf("it did not say that it stopped:\n%s", s.log.String())
	}
}
