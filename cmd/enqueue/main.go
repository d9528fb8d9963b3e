// Command enqueue is how people work with Dunlin from a shell: it checks a payer file and shows what sending it would
// mean, brings it into the ledger once that was confirmed, and watches, exports, retries and calls off what was sent.
//
// It needs the ledger, and the queue only to wake the workers sooner; it never calls the payment or a message provider.
// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 rows were rejected and the good ones went.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	redis.SetLogger(silence{})   // that the queue is away is told in words, once
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run is the program: its exit code follows from its arguments, the environment and what stands in the ledger.
func run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return newApp(env, stdin, stdout, stderr).run(ctx, args)
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
