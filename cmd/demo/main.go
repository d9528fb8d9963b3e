// Command demo shows all of Dunlin in one process: stand-ins for Ottu, Twilio and a mail server, a ledger in a temporary
// folder, a Redis in memory, a worker, the server with the payers' pages, and the example payer file, sent while you
// watch. Then you are the payer: open a link from the inbox, pay, and see what the record says. Nothing leaves this machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	_ "time/tzdata"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"golang.org/x/term"

	"dunlin/cmd/internal/setup"
	"dunlin/examples"
	"dunlin/intake"
	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/sandbox"
	"dunlin/templates"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	terminal := term.IsTerminal(int(os.Stdout.Fd()))
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr, terminal); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer, terminal bool) error {
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.SetOutput(stderr)
	exit := fs.Bool("exit", !terminal, "end when everything is sent, instead of keeping the inbox open (the default when not on a terminal)")
	file := fs.String("file", "", "another payer file (default: the example of about 200 rows)")
	rate := fs.String("rate", "40/s", "how fast the payment provider and each channel may be called")
	paying := fs.Int("pay", 12, "how many of the payers open their link and pay by themselves, so that there is something to see")
	listen := fs.String("listen", "127.0.0.1:0", "address of the payers' pages; port 0 is any that is free")
	sdk := fs.Bool("sdk", false, "hold the provider's checkout in the payment page, instead of sending payers on to the provider's")
	keep := fs.String("keep", "", "folder in which the ledger is kept afterwards (default: a temporary one, removed)")
	if err := fs.Parse(args); err != nil {
		return err
	}
	d, err := start(ctx, *rate, *keep, *listen, *sdk)
	if err != nil {
		return err
	}
	defer d.close()
	d.out = &screen{w: stdout, terminal: terminal}
	path := *file
	if path == "" {
		path = filepath.Join(d.dir, "payers.csv")
		if err := os.WriteFile(path, examples.Payers, 0o600); err != nil {
			return err
		}
	}
	name, password, err := d.operator(ctx)
	if err != nil {
		return err
	}
	d.out.line("Dunlin's demo: everything on this machine, nobody outside is reached.\n\n  inbox of the payers    %s\n  their payment pages    %s/p/…\n  the clerk's console    %s/console/  (sign in as %s, %s)\n",
		d.sandbox.URL(), d.config.PublicURL, d.config.PublicURL, name, password)
	batch, err := d.bringIn(ctx, path)
	if err != nil {
		return err
	}
	working, end := d.serve(ctx)
	defer end()
	if err := d.send(ctx, batch, working); err != nil {
		return err
	}
	if err := d.payers(ctx, batch, *paying); err != nil {
		return err
	}
	if err := d.report(ctx, batch); err != nil {
		return err
	}
	if *exit {
		return nil
	}
	d.out.line("\nNow be a payer: open %s, follow a link, and pay. Ctrl-C ends the demo.", d.sandbox.URL())
	if err := d.watch(ctx, batch); err != nil {
		return err
	}
	return d.report(context.WithoutCancel(ctx), batch)
}

// demo is what the one process holds.
type demo struct {
	dir     string
	keep    bool
	config  setup.Config
	sandbox *sandbox.Sandbox
	redis   *miniredis.Miniredis
	client  redis.UniversalClient
	worker  *setup.Worker
	server  *setup.Server
	pages   net.Listener
	stop    []func()
	out     *screen
}

func (d *demo) close() {
	for i := len(d.stop) - 1; i >= 0; i-- {
		d.stop[i]()
	}
}

func start(ctx context.Context, rate, keep, listen string, sdk bool) (d *demo, err error) {
	d = &demo{dir: keep, keep: keep != ""}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.keep {
		if err := os.MkdirAll(keep, 0o755); err != nil {
			return d, err
		}
	} else {
		if d.dir, err = os.MkdirTemp("", "dunlin-demo-"); err != nil {
			return d, err
		}
		d.stop = append(d.stop, func() { os.RemoveAll(d.dir) })
	}
	if d.pages, err = net.Listen("tcp", listen); err != nil {
		return d, fmt.Errorf("listen for the payers: %w", err)
	}
	d.stop = append(d.stop, func() { d.pages.Close() })
	public := "http://" + d.pages.Addr().String()
	if d.sandbox, err = sandbox.Start(sandbox.Config{PayBase: public + "/p/"}); err != nil {
		return d, fmt.Errorf("start the stand-ins: %w", err)
	}
	d.stop = append(d.stop, func() { d.sandbox.Close() })
	if d.redis, err = miniredis.Run(); err != nil {
		return d, fmt.Errorf("start Redis in memory: %w", err)
	}
	d.stop = append(d.stop, d.redis.Close, d.runClock())
	env := map[string]string{
		"DUNLIN_DATABASE_URL": "sqlite:" + filepath.Join(d.dir, "dunlin.db"), "DUNLIN_REDIS_URL": "redis://" + d.redis.Addr() + "/0",
		"DUNLIN_LIMIT_CHECKOUT": rate, "DUNLIN_LIMIT_EMAIL": rate, "DUNLIN_LIMIT_SMS": rate, "DUNLIN_LIMIT_WHATSAPP": rate,
		"DUNLIN_MERCHANT_NAME": "Palm Street School", "DUNLIN_DEFAULT_COUNTRY": "KW", "DUNLIN_DEFAULT_CURRENCY": "KWD",
		"DUNLIN_SMS_PRICE": "0.045 USD", "DUNLIN_PUBLIC_URL": public,
	}
	lines := d.sandbox.Env()
	if sdk {
		lines = append(lines, d.sandbox.SDKEnv()...)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		if _, set := env[name]; !set {
			env[name] = value
		}
	}
	if d.config, err = setup.Load(func(name string) (string, bool) { v, ok := env[name]; return v, ok }); err != nil {
		return d, err
	}
	if d.client, err = d.config.OpenRedis(setup.RedisForWorking); err != nil {
		return d, err
	}
	d.stop = append(d.stop, func() { d.client.Close() })
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if d.keep {
		f, err := os.Create(filepath.Join(d.dir, "worker.log"))
		if err != nil {
			return d, err
		}
		d.stop = append(d.stop, func() { f.Close() })
		log = d.config.Logger(f)
	}
	opt := setup.WorkerOptions{Redis: d.client, Log: log, Backoff: time.Second}
	if d.worker, err = d.config.NewWorker(ctx, opt); err != nil {
		return d, err
	}
	d.stop = append(d.stop, func() { d.worker.Close() })
	opt.On = d.worker.Ledger
	if d.server, err = d.config.NewServer(ctx, opt); err == nil {
		d.stop = append(d.stop, func() { d.server.Close() })
	}
	return d, err
}

// serve runs the worker and the server until end is called; what either of them fails with comes through the channel.
func (d *demo) serve(ctx context.Context) (failed <-chan error, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	errs := make(chan error, 2)
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.worker.Run(ctx, jobs.RunConfig{Redis: d.client, Drain: 10 * time.Second}); err != nil {
			errs <- fmt.Errorf("the worker stopped: %w", err)
		}
	})
	running.Go(func() {
		if err := d.server.Serve(ctx, d.pages); err != nil {
			errs <- fmt.Errorf("the server stopped: %w", err)
		}
	})
	return errs, func() { cancel(); running.Wait() }
}

// runClock moves the time of the Redis in memory, whose keys would else never expire.
func (d *demo) runClock() (stop func()) {
	const step = 100 * time.Millisecond
	ticker, quit := time.NewTicker(step), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				d.redis.FastForward(step)
			case <-quit:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(quit) }
}

// bringIn imports the file and shows the plan that a person would confirm.
func (d *demo) bringIn(ctx context.Context, path string) (paylink.BatchID, error) {
	texts, err := templates.Load("")
	if err != nil {
		return 0, err
	}
	reading := intake.Reading{Currency: d.config.DefaultCurrency, Country: d.config.DefaultCountry, Language: d.config.DefaultLanguage,
		Timezone: d.config.DefaultTimezone.String(), Routes: d.config.DefaultChannels}
	batch, plan, err := intake.Import(ctx, d.worker.Ledger, d.config.Intake(texts, time.Now()), intake.Order{Path: path, Reading: reading, Actor: "demo"})
	var before *ledger.SentBeforeError
	if errors.As(err, &before) {
		return 0, fmt.Errorf("%w; take another -keep folder", err)
	}
	if err != nil {
		return 0, err
	}
	d.out.plan(plan)
	return batch.ID, d.worker.Ledger.Confirm(ctx, batch.ID, "demo", "")
}

// send shows the till until the batch is done.
func (d *demo) send(ctx context.Context, batch paylink.BatchID, failed <-chan error) error {
	began := time.Now()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		s, err := d.worker.Ledger.Status(ctx, batch)
		if err != nil {
			return err
		}
		d.out.till(s, time.Since(began))
		switch {
		case s.Done && s.State == paylink.BatchDone:
			return nil
		case s.State == paylink.BatchHalted || s.State == paylink.BatchHeld:
			return fmt.Errorf("batch %s is %s: %s", batch, s.State, s.Why)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-ticker.C:
		}
	}
}
