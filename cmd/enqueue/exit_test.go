package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestExitCodes: 0 done, 1 failed, 2 usage, 3 rows were rejected.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	env := []string{"DUNLIN_DATABASE_URL=sqlite:" + filepath.Join(dir, "ledger.db"), "DUNLIN_REDIS_URL=redis://127.0.0.1:1/0"}
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("reference,amount,currency,email,channels\n"+content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.csv", "R1,5,KWD,a@example.com,email\n")
	mixed := write("mixed.csv", "R2,5,KWD,a@example.com,email\nR3,0,KWD,a@example.com,email\n")
	bad := write("bad.csv", "R4,0,KWD,a@example.com,email\n")
	for _, tt := range []struct {
		name string
		args []string
		want int
	}{
		{"status without a ledger", []string{"status"}, exitFailed},
		{"check of a good file", []string{"check", good}, exitDone},
		{"check of a mixed file", []string{"check", mixed}, exitRejected},
		{"check of a bad file", []string{"check", bad}, exitFailed},
		{"check of no file", []string{"check"}, exitUsage},
		{"check of an absent file", []string{"check", "absent.csv"}, exitFailed},
		{"send without yes", []string{"send", good}, exitUsage},
		{"send of the draft", []string{"send", "b1", "--yes"}, exitDone},
		{"send once more", []string{"send", good, "--yes"}, exitFailed},
		{"send of a mixed file, strictly", []string{"send", mixed, "--yes", "--strict"}, exitFailed},
		{"send of a mixed file", []string{"send", mixed, "--yes"}, exitRejected},
		{"send of a bad file", []string{"send", bad, "--yes"}, exitFailed},
		{"send with a bad flag", []string{"send", good, "--channels", "fax"}, exitUsage},
		{"send with a bad number format", []string{"send", good, "--number-format", "1 234"}, exitUsage},
		{"status", []string{"status"}, exitDone},
		{"status of a strange name", []string{"status", "x"}, exitUsage},
		{"status of an absent batch", []string{"status", "b99"}, exitFailed},
		{"cancel without yes", []string{"cancel", "b1"}, exitUsage},
		{"retry of nothing", []string{"retry", "b1", "--yes"}, exitDone},
		{"verify", []string{"verify", "b2"}, exitDone},
		{"unknown command", []string{"nonsense"}, exitUsage},
		{"help", []string{"--help"}, exitDone},
		{"help of check", []string{"check", "--help"}, exitDone},
		{"help of send", []string{"send", "--help"}, exitDone},
		{"help of status", []string{"status", "--help"}, exitDone},
		{"help of requests", []string{"requests", "--help"}, exitDone},
		{"help of show", []string{"show", "--help"}, exitDone},
		{"help of errors", []string{"errors", "--help"}, exitDone},
		{"help of export", []string{"export", "--help"}, exitDone},
		{"help of verify", []string{"verify", "--help"}, exitDone},
		{"help of pause", []string{"pause", "--help"}, exitDone},
		{"help of resume", []string{"resume", "--help"}, exitDone},
		{"help of cancel", []string{"cancel", "--help"}, exitDone},
		{"help of retry", []string{"retry", "--help"}, exitDone},
		{"help of resend", []string{"resend", "--help"}, exitDone},
	} {
		var out, errs bytes.Buffer
		if got := run(t.Context(), tt.args, env, strings.NewReader(""), &out, &errs); got != tt.want {
			t.Errorf("%s: got exit code %d, want %d\nstdout: %s\nstderr: %s", tt.name, got, tt.want, &out, &errs)
		}
		for n, line := range strings.Split(out.String()+errs.String(), "\n") {
			if visible(line) > 80 && !strings.Contains(line, dir) {
				t.Errorf("%s: line %d is wider than 80 columns: %q", tt.name, n+1, line)
			}
		}
	}
}

// TestFollowIsInterrupted: Ctrl-C stops watching, not the batch.
func TestFollowIsInterrupted(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "payers.csv")
	if err := os.WriteFile(path, []byte("amount,currency,email,channels\n5,KWD,a@example.com,email\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"DUNLIN_DATABASE_URL=sqlite:" + filepath.Join(dir, "ledger.db"), "DUNLIN_REDIS_URL=redis://127.0.0.1:1/0"}
	if code := run(t.Context(), []string{"send", path, "--yes"}, env, strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}); code != exitDone {
		t.Fatalf("send: got exit code %d", code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	errs := &signaling{said: make(chan struct{}), word: "running"}
	done := make(chan int, 1)
	go func() {
		a := newApp(env, strings.NewReader(""), &bytes.Buffer{}, errs)
		a.poll = time.Hour
		done <- a.run(ctx, []string{"status", "b1", "--follow"})
	}()
	<-errs.said
	cancel()
	if code := <-done; code != exitDone || !strings.Contains(errs.b.String(), "Stopped watching; the batch goes on") {
		t.Errorf("got exit code %d and %q", code, errs.b.String())
	}
	var out bytes.Buffer
	run(t.Context(), []string{"status", "b1", "--json"}, env, strings.NewReader(""), &out, &bytes.Buffer{})
	if !strings.Contains(out.String(), `"state":"running"`) {
		t.Errorf("the batch is %s", &out)
	}
}

// signaling is a writer that says when a word was written.
type signaling struct {
	b    bytes.Buffer
	word string
	said chan struct{}
	once bool
}

func (s *signaling) Write(p []byte) (int, error) {
	n, err := s.b.Write(p)
	if !s.once && strings.Contains(s.b.String(), s.word) {
		s.once = true
		close(s.said)
	}
	return n, err
}

func TestInert(t *testing.T) {
	for cell, want := range map[string]string{
		"": "", "R1": "R1", "12.500": "12.500", "a=b": "a=b",
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "\tx": "'\tx", "\rx": "'\rx", "＝x": "'＝x",
	} {
		if got := inert(cell); got != want {
			t.Errorf("%q: got %q, want %q", cell, got, want)
		}
	}
}

func TestGroup(t *testing.T) {
	for in, want := range map[string]string{"0": "0", "999": "999", "1000": "1,000", "1234567": "1,234,567", "-1234.500": "-1,234.500", "0.001": "0.001"} {
		if got := groupDigits(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestHang(t *testing.T) {
	got := hang(20, "ab ", "   ", "one two three "+glue("10 rows")+" averyveryverylongwordindeed x")
	want := "ab one two three\n   10 rows\n   averyveryverylongwordindeed\n   x"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestClean: a file's text must not move the cursor of who looks at it.
func TestClean(t *testing.T) {
	if got := clean("a\x1b[2Jb\u202ec\u009bd\ne"); strings.ContainsAny(got, "\x1b\u202e\u009b\n") {
		t.Errorf("got %q", got)
	}
}
