package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"dunlin/internal/testenv"
	"dunlin/sandbox"
)

func env(kv ...string) func(string) (string, bool) {
	m := map[string]string{}
	for _, x := range kv {
		k, v, _ := strings.Cut(x, "=")
		m[k] = v
	}
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func TestWorkerSaysWhatIsMissing(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  []string
		want string
	}{
		{"nothing", nil, "DUNLIN_OTTU_URL"},
		{"no channel", []string{"DUNLIN_OTTU_URL=http://127.0.0.1:1", "DUNLIN_OTTU_API_KEY=k", "DUNLIN_OTTU_PG_CODES=knet",
			"DUNLIN_DATABASE_URL=sqlite:" + t.TempDir() + "/l.db"}, "no channel is configured"},
		{"half a channel", []string{"DUNLIN_OTTU_URL=http://127.0.0.1:1", "DUNLIN_OTTU_API_KEY=k", "DUNLIN_OTTU_PG_CODES=knet",
			"DUNLIN_DATABASE_URL=sqlite:" + t.TempDir() + "/l.db", "DUNLIN_SMTP_URL=smtp://127.0.0.1:25?tls=none"}, "DUNLIN_MAIL_FROM"},
		{"a bad value", []string{"DUNLIN_LIMIT_SMS=fast"}, "DUNLIN_LIMIT_SMS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := run(t.Context(), nil, env(tt.env...), nil, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that names %q", err, tt.want)
			}
		})
	}
}

// TestWorkerDrains starts a worker on real parts and stops it: it must come to an end by itself, having said so.
func TestWorkerDrains(t *testing.T) {
	sb, err := sandbox.Start(sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Close()
	vars := append(sb.Env(), "DUNLIN_DATABASE_URL=sqlite:"+t.TempDir()+"/l.db", "DUNLIN_REDIS_URL="+testenv.StartRedis(t).URL())
	ctx, cancel := context.WithCancel(t.Context())
	var log started
	log.up = make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-drain", "5s"}, env(vars...), nil, &log) }()
	select {
	case <-log.up:
	case err := <-ended:
		t.Fatalf("the worker ended: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	if !strings.Contains(log.String(), "worker stopped") {
		t.Errorf("the worker did not say that it stopped:\n%s", log.String())
	}
}

// started is a log that signals its first line. The worker writes it from one goroutine at a time.
type started struct {
	bytes.Buffer
	up   chan struct{}
	seen bool
}

func (s *started) Write(b []byte) (int, error) {
	if !s.seen && bytes.Contains(b, []byte("worker started")) {
		s.seen = true
		close(s.up)
	}
	return s.Buffer.Write(b)
}
