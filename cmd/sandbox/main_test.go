package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestRunPrintsTheEnvironmentAndStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, stdout := io.Pipe()
	stopped := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-http", "127.0.0.1:0", "-smtp", "127.0.0.1:0", "-api-key", "key1", "-pg-codes", "a,b"}, stdout, io.Discard)
		stdout.Close()
		stopped <- err
	}()
	env := map[string]string{}
	lines := bufio.NewScanner(out)
	for len(env) < 12 && lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		env[name] = value
	}
	for name, want := range map[string]string{
		"DUNLIN_OTTU_API_KEY": "key1", "DUNLIN_OTTU_PG_CODES": "a,b", "DUNLIN_TWILIO_URL": env["DUNLIN_OTTU_URL"],
	} {
		if env[name] != want {
			t.Errorf("%s: got %q, want %q", name, env[name], want)
		}
	}
	for _, name := range []string{"TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "DUNLIN_SMS_FROM", "DUNLIN_WHATSAPP_FROM", "DUNLIN_MAIL_FROM", "DUNLIN_WHATSAPP_TEMPLATES", "DUNLIN_OTTU_HMAC_KEY"} {
		if env[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	if u, err := url.Parse(env["DUNLIN_SMTP_URL"]); err != nil || u.Scheme != "smtp" || u.Port() == "" || u.Query().Get("tls") != "none" {
		t.Errorf("DUNLIN_SMTP_URL: got %q", env["DUNLIN_SMTP_URL"])
	}
	res, err := http.Get(env["DUNLIN_OTTU_URL"] + "/sandbox/api/counts")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("counts: got %d, want 200", res.StatusCode)
	}
	cancel()
	if err := <-stopped; err != nil {
		t.Errorf("after the signal: %v", err)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"extra"}, {"-latency", "soon"}} {
		err := run(t.Context(), args, io.Discard, io.Discard)
		if !errors.Is(err, errUsage) || exitCode(err) != 2 {
			t.Errorf("%v: got %v, want a usage error", args, err)
		}
	}
	if err := run(t.Context(), []string{"-http", "127.0.0.1:0", "-auth-token", "has-a-dash"}, io.Discard, io.Discard); err == nil || exitCode(err) != 1 {
		t.Errorf("bad token: got %v, want a failure", err)
	}
}

func TestWarnsBeyondLoopback(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1:0": false, "[::1]:0": false, "localhost:0": false, "0.0.0.0:0": true, ":0": true} {
		if got := !onLoopback(addr); got != want {
			t.Errorf("%s: got warning %v, want %v", addr, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	if err := run(ctx, []string{"-http", "127.0.0.1:0", "-smtp", ":0"}, io.Discard, &stderr); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stderr.String(), "warning") {
		t.Errorf("got %q, want a warning", stderr.String())
	}
}
