package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// bench holds the servers and the findings of one run.
type bench struct {
	options
	dir      string
	redisURL string
	rdb      *redis.Client
	postgres string // base address; empty = not measured
	stop     []func()

	imports map[string][]result // by database: 10,000 rows, then the large file
	sends   map[string]sending
	webs    map[string]result // pages read, then webhooks taken
	bare    result
}

// sending is one database's median run end to end.
type sending struct {
	worker, standIns result
	redisMB          float64
}

func prepare(ctx context.Context, o options) (b *bench, err error) {
	b = &bench{options: o, imports: map[string][]result{}, sends: map[string]sending{}, webs: map[string]result{}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.dir, err = os.MkdirTemp("", "dunlin-bench-"); err != nil {
		return b, err
	}
	b.stop = append(b.stop, func() { os.RemoveAll(b.dir) })
	if err := b.startRedis(ctx); err != nil {
		return b, err
	}
	if b.postgres = os.Getenv("BENCH_POSTGRES_URL"); b.postgres == "" {
		b.databases = strings.ReplaceAll(b.databases, "postgres", "")
	}
	return b, nil
}

func (b *bench) close() {
	for i := len(b.stop) - 1; i >= 0; i-- {
		b.stop[i]()
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func (b *bench) startRedis(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", b.dir, "--appendonly", "yes", "--save", "",
		"--maxmemory-policy", "noeviction", "--hash-max-listpack-value", "512")
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server (is it installed?): %w", err)
	}
	b.stop = append(b.stop, func() { cmd.Process.Kill(); cmd.Wait() })
	b.redisURL = "redis://127.0.0.1:" + port + "/0"
	b.rdb = redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port})
	b.stop = append(b.stop, func() { b.rdb.Close() })
	for range 100 {
		if err = b.rdb.Ping(ctx).Err(); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("redis-server did not answer: %w", err)
}

// database makes a fresh ledger's address.
func (b *bench) database(ctx context.Context, kind, name string) (string, error) {
	if kind == "sqlite" {
		return "sqlite:" + filepath.Join(b.dir, name+".db"), nil
	}
	return createPostgres(ctx, b.postgres, name)
}

func (b *bench) measure(ctx context.Context) error {
	small, err := b.writePayers("small.csv", 10_000)
	if err != nil {
		return err
	}
	large, err := b.writePayers("large.csv", b.rows)
	if err != nil {
		return err
	}
	send, err := b.writePayers("send.csv", b.payers)
	if err != nil {
		return err
	}
	for _, kind := range strings.FieldsFunc(b.databases, func(r rune) bool { return r == ',' }) {
		for i, path := range []string{small, large} {
			url, err := b.database(ctx, kind, fmt.Sprintf("import%d_%d", i, time.Now().UnixNano()))
			if err != nil {
				return err
			}
			r, err := call(ctx, []string{"DUNLIN_DATABASE_URL=" + url}, "import", path)
			if err != nil {
				return err
			}
			b.imports[kind] = append(b.imports[kind], r)
			fmt.Fprintf(os.Stderr, "%s: import of %d rows: %.0f rows/s, %.0f MB\n", kind, r.N, float64(r.N)/r.Seconds, r.PeakMB)
		}
		var runs []sending
		for i := range b.runs {
			s, err := b.sendOnce(ctx, kind, send)
			if err != nil {
				return fmt.Errorf("%s, run %d: %w", kind, i+1, err)
			}
			fmt.Fprintf(os.Stderr, "%s: %d payers: %.0f payers/s, worker %.2f ms CPU each\n", kind, s.worker.N, float64(s.worker.N)/s.worker.Seconds, 1000*s.worker.CPU/float64(s.worker.N))
			runs = append(runs, s)
		}
		slices.SortFunc(runs, func(a, c sending) int { return int((a.worker.Seconds - c.worker.Seconds) * 1e6) })
		b.sends[kind] = runs[len(runs)/2]
		if b.webs[kind], err = b.webOnce(ctx, kind, send); err != nil {
			return fmt.Errorf("%s, web: %w", kind, err)
		}
	}
	if err := b.rdb.FlushAll(ctx).Err(); err != nil {
		return err
	}
	b.bare, err = call(ctx, []string{"DUNLIN_REDIS_URL=" + b.redisURL}, "asynq", strconv.Itoa(b.payers))
	return err
}

// fast lifts every limit: what is measured is Dunlin, not patience.
var fast = []string{
	"DUNLIN_LIMIT_CHECKOUT=1000000/s", "DUNLIN_LIMIT_EMAIL=1000000/s", "DUNLIN_LIMIT_SMS=1000000/s", "DUNLIN_LIMIT_WHATSAPP=1000000/s",
}

func (b *bench) sendOnce(ctx context.Context, kind, path string) (s sending, err error) {
	if err := b.rdb.FlushAll(ctx).Err(); err != nil {
		return s, err
	}
	url, err := b.database(ctx, kind, fmt.Sprintf("send_%d", time.Now().UnixNano()))
	if err != nil {
		return s, err
	}
	players, err := startStandIns(ctx)
	if err != nil {
		return s, err
	}
	env := slices.Concat(players.env, fast, []string{"DUNLIN_DATABASE_URL=" + url, "DUNLIN_REDIS_URL=" + b.redisURL})
	in, err := call(ctx, env, "import", path)
	if err != nil {
		return s, errors.Join(err, players.input.Close())
	}
	watch, stopWatching := context.WithCancel(ctx)
	peak := b.watchRedis(watch)
	s.worker, err = call(ctx, env, "worker", in.Batch)
	stopWatching()
	s.redisMB = <-peak
	if err != nil {
		return s, errors.Join(err, players.input.Close())
	}
	s.standIns, err = players.end()
	return s, err
}

// webOnce reads the pages of as many payers and pays each by a webhook.
func (b *bench) webOnce(ctx context.Context, kind, path string) (r result, err error) {
	url, err := b.database(ctx, kind, fmt.Sprintf("web_%d", time.Now().UnixNano()))
	if err != nil {
		return r, err
	}
	env := slices.Concat(fast, []string{"DUNLIN_DATABASE_URL=" + url, "DUNLIN_REDIS_URL=" + b.redisURL, "DUNLIN_PUBLIC_URL=https://pay.example",
		"DUNLIN_MERCHANT_NAME=Oak School", "DUNLIN_OTTU_URL=https://ottu.example", "DUNLIN_OTTU_API_KEY=none", "DUNLIN_OTTU_PG_CODES=knet", "DUNLIN_OTTU_HMAC_KEY=benchHMAC",
		"DUNLIN_SMTP_URL=smtp://127.0.0.1:1?tls=none", "DUNLIN_MAIL_FROM=Oak School <fees@example.com>"})
	in, err := call(ctx, env, "import", path)
	if err != nil {
		return r, err
	}
	if r, err = call(ctx, env, "web", in.Batch); err == nil {
		fmt.Fprintf(os.Stderr, "%s: %.0f pages/s, %.0f webhooks/s\n", kind, float64(r.N)/r.Seconds, float64(r.Then.N)/r.Then.Seconds)
	}
	return r, err
}

// watchRedis gives the largest memory that Redis used until ctx ends.
func (b *bench) watchRedis(ctx context.Context) <-chan float64 {
	out := make(chan float64, 1)
	var peak atomic.Int64
	go func() {
		defer func() { out <- float64(peak.Load()) / (1 << 20) }()
		for {
			info, err := b.rdb.InfoMap(ctx, "memory").Result()
			if err == nil {
				if n, err := strconv.ParseInt(info["Memory"]["used_memory"], 10, 64); err == nil {
					peak.Store(max(peak.Load(), n))
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return out
}

// writePayers writes a payer file of n good rows.
func (b *bench) writePayers(name string, n int) (path string, err error) {
	path = filepath.Join(b.dir, name)
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "reference,amount,currency,name,email,phone,channels,language,due_date,description,unit")
	for i := range n {
		fmt.Fprintf(w, "%s-%07d,%d.%03d,KWD,Payer %d,payer%d@example.com,+965500%05d,email,%s,2027-02-%02d,School fees for term two,%c\n",
			strings.TrimSuffix(name, ".csv"), i, 10+i%90, i%1000, i, i, i%100000, []string{"en", "ar"}[i%2], 1+i%28, 'A'+rune(i%26))
	}
	return path, w.Flush()
}
