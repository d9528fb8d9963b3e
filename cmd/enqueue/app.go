package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"dunlin/cmd/internal/setup"
	"dunlin/intake"
	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/paylink"
)

// The exit codes.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitRejected = 3
)

// app is one run of the program. Configuration, ledger and queue are opened when a command first needs them.
type app struct {
	env    []string
	stdin  *bufio.Reader
	out    *screen // results
	err    *screen // prompts, progress, warnings and errors
	asks   bool    // stdin is a terminal, somebody can answer
	json   bool
	actor  string
	why    string
	yes    bool
	now    func() time.Time
	poll   time.Duration // between two looks at a batch that is watched
	parsed bool          // the command line was understood

	config  *setup.Config
	closers []func() error
	db      *ledger.DB
}

func newApp(env []string, stdin io.Reader, stdout, stderr io.Writer) *app {
	a := &app{
		env: env, stdin: bufio.NewReader(stdin), asks: isTerminal(stdin),
		now: time.Now, poll: 500 * time.Millisecond,
	}
	noColor := a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb"
	a.out = newScreen(stdout, isTerminal(stdout), noColor)
	a.err = newScreen(stderr, isTerminal(stderr), noColor)
	return a
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (a *app) getenv(name string) string {
	v, _ := a.lookup(name)
	return v
}

func (a *app) lookup(name string) (string, bool) {
	for i := len(a.env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(a.env[i], name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// exitError carries an exit code other than that of its kind of error; its err may be nil when all was said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	for _, c := range a.closers {
		if e := c(); err == nil && e != nil {
			err = e
		}
	}
	if err == nil {
		return exitDone
	}
	code := exitFailed
	if exit, ok := errors.AsType[*exitError](err); ok {
		code = exit.code
		if exit.err == nil {
			return code
		}
	}
	if !a.parsed {
		code = exitUsage
	}
	a.complain(err)
	if code == exitUsage && !a.parsed {
		fmt.Fprintf(a.err, "Run '%s --help' for what it takes.\n", cmd.CommandPath())
	}
	return code
}

// complain prints an error for a person, with what can be done about it.
func (a *app) complain(err error) {
	if file, ok := intake.AsFileError(err); ok {
		where := ""
		if file.Line > 0 {
			where = fmt.Sprintf("line %d: ", file.Line)
		}
		fmt.Fprintf(a.err, "%s\n%s\n", hang(a.err.width()-1, a.err.red("enqueue:")+" ", "  ", where+clean(file.Reason)), a.err.wrap("  ", clean(file.Hint)))
		return
	}
	text := strings.TrimSuffix(err.Error(), ": "+paylink.ErrConflict.Error())
	text = strings.TrimSuffix(text, ": "+paylink.ErrInvalid.Error())
	prefix := a.err.red("enqueue:") + " "
	for line := range strings.Lines(text) {
		fmt.Fprintln(a.err, hang(a.err.width()-1, prefix, "  ", line))
		prefix = "  "
	}
	if sent, ok := errors.AsType[*ledger.SentBeforeError](err); ok {
		fmt.Fprintf(a.err, "  See what became of it: enqueue status %s\n  To ask everybody in it once more: --again\n", sent.Batch)
	}
	if errors.Is(err, paylink.ErrNotFound) {
		fmt.Fprintln(a.err, "  The batches that there are: enqueue status")
	}
}

// settings reads the configuration, once.
func (a *app) settings() (*setup.Config, error) {
	if a.config == nil {
		names := make([]string, len(a.env))
		for i, e := range a.env {
			names[i], _, _ = strings.Cut(e, "=")
		}
		c, err := setup.Load(a.lookup, names...)
		if err != nil {
			return nil, fmt.Errorf("the configuration has mistakes:\n%w", err)
		}
		a.config = &c
	}
	return a.config, nil
}

// errNoLedger says that there is no ledger yet.
var errNoLedger = errors.New("there is no ledger yet")

// ledger opens the ledger, once. Only send makes one: a wrong DUNLIN_DATABASE_URL should not look like an empty ledger.
func (a *app) ledger(ctx context.Context, opt ledger.Options, create bool) (*ledger.DB, error) {
	if a.db != nil {
		return a.db, nil
	}
	c, err := a.settings()
	if err != nil {
		return nil, err
	}
	address := string(c.DatabaseURL)
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok && !create {
		path = strings.TrimPrefix(path, "//")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w at %s\nThe first send makes it; DUNLIN_DATABASE_URL says where", errNoLedger, path)
		}
	}
	opt.Sandbox = c.Sandboxed()
	if a.db, err = ledger.Open(ctx, address, opt); err != nil {
		return nil, err
	}
	a.closers = append(a.closers, a.db.Close)
	return a.db, nil
}

func (a *app) openLedger(ctx context.Context) (*ledger.DB, error) {
	return a.ledger(ctx, ledger.Options{}, false)
}

// wake hands wakes to the queue. The ledger already owes the work, so that a queue that is away costs time only.
func (a *app) wake(ctx context.Context, wakes ...paylink.Wake) {
	if len(wakes) == 0 {
		return
	}
	c, err := a.settings()
	if err == nil {
		rdb, e := c.OpenRedis(setup.RedisForEnqueuing)
		if err = e; err == nil {
			defer rdb.Close()
			err = jobs.NewAsynqQueue(rdb).Enqueue(context.WithoutCancel(ctx), wakes...)
		}
	}
	if err != nil {
		a.warn("The queue cannot be reached. Nothing is lost: the workers find the work in the ledger by themselves.")
	}
}

// wakeFeeder asks a worker to look at once whether the batch has rows to feed.
func (a *app) wakeFeeder(ctx context.Context, id paylink.BatchID) {
	a.wake(ctx, paylink.Wake{Task: paylink.TaskFeed, ID: int64(id), Epoch: a.now().UnixMilli()})
}

func (a *app) warn(format string, args ...any) {
	fmt.Fprintln(a.err, a.err.wrap("", a.err.yellow("warning:")+" "+fmt.Sprintf(format, args...)))
}

// who is the actor that the ledger's events name.
func (a *app) who() string {
	if a.actor != "" {
		return a.actor
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	if name := a.getenv("USER"); name != "" {
		return name
	}
	return "unknown"
}

// confirm asks before something that cannot be taken back. Where nobody can answer it needs --yes, and else says how to
// go on with exit code 2.
func (a *app) confirm(ctx context.Context, question, goOn string) error {
	if a.yes {
		return nil
	}
	if !a.asks {
		return usage("nobody can be asked here, and --yes was not given\nTo go on: %s", goOn)
	}
	fmt.Fprintf(a.err, "%s [y/N] ", a.err.bold(question))
	answer := make(chan string, 1)
	go func() {
		line, _ := a.stdin.ReadString('\n') // an end of input is a no
		answer <- line
	}()
	select {
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(a.err)
	}
	return &exitError{exitFailed, fmt.Errorf("nothing was done\nTo go on later: %s", goOn)}
}

// object prints one JSON object on a line.
func (a *app) object(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// args makes cobra's complaint about arguments name what is missing.
func args(min, max int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < min {
			return fmt.Errorf("%s: name %s", cmd.CommandPath(), what)
		}
		if len(args) > max {
			return fmt.Errorf("%s: %q is one argument too many", cmd.CommandPath(), args[max])
		}
		return nil
	}
}

func batchArg(s string) (paylink.BatchID, error) {
	id, err := paylink.ParseBatchID(s)
	if err != nil {
		return 0, usage("%q is not a batch, which is written like b12; enqueue status lists them", s)
	}
	return id, nil
}

func requestArg(s string) (paylink.RequestID, error) {
	id, err := paylink.ParseRequestID(s)
	if err != nil {
		return 0, usage("%q is not a request, which is written like b12.345; enqueue requests b12 lists them", s)
	}
	return id, nil
}
