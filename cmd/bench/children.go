package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hibiken/asynq"

	"dunlin/cmd/internal/setup"
	"dunlin/intake"
	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/sandbox"
	"dunlin/templates"
)

// childFlag calls this program as one of the parts that it measures.
const childFlag = "-child"

// result is what a part reports of itself.
type result struct {
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`     // seconds on the processor, user and system
	PeakMB  float64 `json:"peak_mb"` // largest resident memory
	N       int64   `json:"n"`
	Batch   string  `json:"batch,omitempty"`
	P99     float64 `json:"p99_ms,omitempty"`
	Then    *result `json:"then,omitempty"` // what was measured next in the same process
}

func child(ctx context.Context, part string, args []string) error {
	var r result
	var err error
	if name := os.Getenv("BENCH_PROFILE"); name != "" && part == os.Getenv("BENCH_PROFILE_PART") {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	switch part {
	case "sandbox":
		return runSandbox(ctx)
	case "import":
		r, err = runImport(ctx, args[0])
	case "worker":
		r, err = runWorker(ctx, args[0])
	case "web":
		r, err = runWeb(ctx, args[0])
	case "asynq":
		r, err = runBareAsynq(ctx, args[0])
	default:
		err = fmt.Errorf("there is no part %q", part)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func peakMB() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Maxrss) / 1024
}

// runSandbox plays the providers until its input closes. It prints the environment that reaches it.
func runSandbox(ctx context.Context) error {
	s, err := sandbox.Start(sandbox.Config{Quiet: true})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println(strings.Join(s.Env(), "\n") + "\n")
	_, err = io.Copy(io.Discard, os.Stdin)
	counts := s.Counts()
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(result{CPU: cpuSeconds(), PeakMB: peakMB(), N: int64(counts.Mails)}))
}

func config() (setup.Config, error) { return setup.Load(os.LookupEnv, os.Environ()...) }

func runImport(ctx context.Context, path string) (result, error) {
	c, err := config()
	if err != nil {
		return result{}, err
	}
	db, err := ledger.Open(ctx, string(c.DatabaseURL), ledger.Options{})
	if err != nil {
		return result{}, err
	}
	defer db.Close()
	texts, err := templates.Load("")
	if err != nil {
		return result{}, err
	}
	began, cpu := time.Now(), cpuSeconds()
	b, p, err := intake.Import(ctx, db, c.Intake(texts, time.Now()), intake.Order{Path: path, Actor: "bench",
		Reading: intake.Reading{Currency: "KWD", Country: "KW", Language: "en", Routes: paylink.Routes{{paylink.Email}}}})
	return result{Seconds: time.Since(began).Seconds(), CPU: cpuSeconds() - cpu, PeakMB: peakMB(), N: p.Good, Batch: b.ID.String()}, err
}

// runWorker confirms a draft and works it to the end.
func runWorker(ctx context.Context, batch string) (result, error) {
	id, err := paylink.ParseBatchID(batch)
	if err != nil {
		return result{}, err
	}
	c, err := config()
	if err != nil {
		return result{}, err
	}
	rdb, err := c.OpenRedis(setup.RedisForWorking)
	if err != nil {
		return result{}, err
	}
	defer rdb.Close()
	w, err := c.NewWorker(ctx, setup.WorkerOptions{Redis: rdb, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return result{}, err
	}
	defer w.Close()
	runCtx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(runCtx, jobs.RunConfig{Redis: rdb, Drain: 10 * time.Second}) }()
	began, cpu := time.Now(), cpuSeconds()
	if err := w.Ledger.Confirm(ctx, id, "bench", ""); err != nil {
		stop()
		return result{}, errors.Join(err, <-ended)
	}
	var st paylink.Status
	for !st.Done {
		select {
		case err := <-ended:
			stop()
			return result{}, fmt.Errorf("the worker stopped: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
		if st, err = w.Ledger.Status(ctx, id); err != nil {
			stop()
			return result{}, err
		}
	}
	r := result{Seconds: time.Since(began).Seconds(), CPU: cpuSeconds() - cpu, PeakMB: peakMB(), N: st.Counts.Sent, Batch: batch}
	stop()
	if err := <-ended; err != nil {
		return r, err
	}
	check, err := w.Ledger.Verify(ctx, id)
	if err == nil && check.Differences > 0 {
		err = fmt.Errorf("%d differences: %v", check.Differences, check.Found[0])
	}
	return r, err
}

// runBareAsynq works as many empty tasks with nothing but asynq: what the queue alone could do.
func runBareAsynq(ctx context.Context, count string) (result, error) {
	n, err := strconv.Atoi(count)
	if err != nil {
		return result{}, err
	}
	c, err := config()
	if err != nil {
		return result{}, err
	}
	rdb, err := c.OpenRedis(setup.RedisForWorking)
	if err != nil {
		return result{}, err
	}
	defer rdb.Close()
	var done atomic.Int64
	finished := make(chan struct{})
	server := asynq.NewServerFromRedisClient(rdb, asynq.Config{Concurrency: 64, LogLevel: asynq.ErrorLevel})
	began, cpu := time.Now(), cpuSeconds()
	err = server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		if done.Add(1) == int64(n) {
			close(finished)
		}
		return nil
	}))
	if err != nil {
		return result{}, err
	}
	defer server.Shutdown()
	client := asynq.NewClientFromRedisClient(rdb)
	ids := make(chan int)
	for range 16 {
		go func() {
			for i := range ids {
				if _, err := client.EnqueueContext(ctx, asynq.NewTask("empty", nil), asynq.TaskID(strconv.Itoa(i))); err != nil {
					fmt.Fprintln(os.Stderr, "bench: enqueue:", err)
				}
			}
		}()
	}
	for i := range n {
		ids <- i
	}
	close(ids)
	select {
	case <-finished:
	case <-ctx.Done():
		return result{}, ctx.Err()
	}
	return result{Seconds: time.Since(began).Seconds(), CPU: cpuSeconds() - cpu, PeakMB: peakMB(), N: int64(n)}, nil
}

// call runs a part and reads its report.
func call(ctx context.Context, env []string, part string, args ...string) (r result, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{childFlag, part}, args...)...)
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("part %s: %w", part, err)
	}
	return r, json.Unmarshal(out, &r)
}

// standIns is a running sandbox process.
type standIns struct {
	env   []string
	cmd   *exec.Cmd
	input io.Closer
	out   *bufio.Reader
}

func startStandIns(ctx context.Context) (*standIns, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &standIns{cmd: exec.CommandContext(ctx, self, childFlag, "sandbox")}
	s.cmd.Stderr = os.Stderr
	if s.input, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	pipe, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(pipe)
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("the stand-ins did not start: %w", err)
		}
		if line = strings.TrimSpace(line); line == "" {
			return s, nil
		}
		s.env = append(s.env, line)
	}
}

// end stops the stand-ins and returns what they report of themselves.
func (s *standIns) end() (r result, err error) {
	s.input.Close()
	err = json.NewDecoder(s.out).Decode(&r)
	return r, errors.Join(err, s.cmd.Wait())
}
