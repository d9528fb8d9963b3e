// Command sandbox runs stand-ins for Ottu, Twilio and a mail server on this machine. It prints the environment that
// points Dunlin at them, one NAME=value a line, ready for an env file, and then serves until it is stopped by SIGINT or
// SIGTERM. Everything is kept in memory only; the pages at the printed address show what has arrived.
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
	"runtime/debug"
	"strings"
	"syscall"

	"dunlin/sandbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(exitCode(err))
	}
}

// errUsage marks mistakes on the command line.
var errUsage = errors.New("usage")

func exitCode(err error) int {
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var cfg sandbox.Config
	fs := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&cfg.HTTPAddr, "http", "127.0.0.1:8025", "address of Ottu, Twilio and the pages")
	fs.StringVar(&cfg.SMTPAddr, "smtp", "127.0.0.1:2525", "address of the mail server")
	fs.StringVar(&cfg.PublicURL, "public-url", "", "base of the links handed out, if not the -http address")
	fs.StringVar(&cfg.PayBase, "pay-base", "", "what a WhatsApp button puts before its variable, such as http://127.0.0.1:8080/p/")
	fs.StringVar(&cfg.APIKey, "api-key", "", "Ottu's private key")
	fs.StringVar(&cfg.HMACKey, "hmac-key", "", "Ottu's webhook secret")
	fs.StringVar(&cfg.AccountSID, "account-sid", "", "Twilio's account SID")
	fs.StringVar(&cfg.AuthToken, "auth-token", "", "Twilio's auth token")
	fs.StringVar(&cfg.BounceTo, "bounce-to", "", "where failed mail is reported: unix:/path or HOST:PORT by LMTP, smtp:HOST:PORT")
	fs.StringVar(&cfg.PublicKey, "public-key", "", "Ottu's public key")
	sdk := fs.Bool("sdk", false, "print the environment for the stand-in of Ottu's checkout script, too")
	codes := fs.String("pg-codes", "", "Ottu's gateway codes, separated by commas")
	fs.DurationVar(&cfg.Latency, "latency", 0, "added to every call and mail, such as 80ms")
	fs.Float64Var(&cfg.Rate, "rate", 0, "calls a second per provider above which it throttles; 0 = no limit")
	fs.BoolVar(&cfg.Quiet, "quiet", false, "keep counters and fingerprints, not bodies")
	fs.IntVar(&cfg.Keep, "keep", 0, "mails and messages that keep their bodies; 0 = 20000")
	fs.Uint64Var(&cfg.Seed, "seed", 0, "of ids and of fault rules; 0 = random")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, fs.Arg(0))
	}
	if *codes != "" {
		cfg.PGCodes = strings.Split(*codes, ",")
	}
	for _, addr := range []string{cfg.HTTPAddr, cfg.SMTPAddr} {
		if !onLoopback(addr) {
			fmt.Fprintf(stderr, "warning: %s is reachable from other machines; the sandbox shows all it gets to anybody\n", addr)
		}
	}
	if cfg.Quiet {
		// Little of what a benchmark makes is kept; collecting it seldom leaves the cores to what is measured.
		debug.SetGCPercent(400)
	}
	s, err := sandbox.Start(cfg)
	if err != nil {
		return err
	}
	env := s.Env()
	if *sdk {
		env = append(env, s.SDKEnv()...)
	}
	for _, line := range env {
		fmt.Fprintln(stdout, line)
	}
	fmt.Fprintf(stderr, "sandbox: pages at %s, mail at %s\n", s.URL(), s.SMTPAddr())
	<-ctx.Done()
	return s.Close()
}

func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
