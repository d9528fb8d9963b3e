// Command server takes HTTP: the API, the payers' pages behind their links, and the payment provider's webhooks; and, if it is told
// to, mail that comes back. It keeps nothing of its own: run as many as wanted behind one address. SIGTERM stops it after
// the answers under way.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // the image has no zone files

	"dunlin/cmd/internal/setup"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.LookupEnv, os.Environ(), os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

const usage = `server takes HTTP on DUNLIN_LISTEN until it is told to stop: payment pages under /p/, the console for operators at
/console/ (its first user: enqueue users add NAME --role admin), the queue's dashboard at /monitoring/, the API under /api/ (/api/docs tells about it), Ottu's
webhook at /hooks/ottu, Twilio's at /hooks/twilio/status and /hooks/twilio/inbound, /healthz (this process lives), /readyz
(the ledger answers) and /metrics for Prometheus.

With DUNLIN_BOUNCE_LISTEN it also takes mail that comes back, by LMTP or SMTP.

It is configured by the environment alone; .env.example lists every variable. It needs a ledger (DUNLIN_DATABASE_URL), a
Redis (DUNLIN_REDIS_URL), Ottu's address and keys, DUNLIN_PUBLIC_URL and DUNLIN_MERCHANT_NAME. Put a proxy with TLS in
front of it.
`

func run(ctx context.Context, args []string, getenv func(string) (string, bool), environ []string, stderr io.Writer) error {
	fs := flag.NewFlagSet("server", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, usage) }
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%q: it takes no arguments; see server -h", fs.Arg(0))
	}
	config, err := setup.Load(getenv, environ...)
	if err != nil {
		return err
	}
	log := config.Logger(stderr)
	rdb, err := config.OpenRedis(setup.RedisForEnqueuing) // a payer must not wait for a Redis that is away
	if err != nil {
		return err
	}
	defer rdb.Close()
	s, err := config.NewServer(ctx, setup.WorkerOptions{Redis: rdb, Log: log})
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return fmt.Errorf("DUNLIN_LISTEN: %w", err)
	}
	log.Info("server started", "listen", l.Addr().String())
	err = s.Serve(ctx, l)
	log.Info("server stopped")
	return err
}
