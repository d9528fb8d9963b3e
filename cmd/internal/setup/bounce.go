package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"

	"dunlin/notify/bounce"
)

// NeedBounces returns an error that names what is missing for mail that comes back to be understood, one variable a line.
// It is nil where no such mail is wanted.
func (c Config) NeedBounces() error {
	var errs []error
	if c.BounceAddress != "" {
		errs = append(errs, missing("DUNLIN_BOUNCE_ADDRESS", need{"DUNLIN_LINK_KEY", c.LinkKey != ""}))
	}
	if c.BounceListen != "" {
		errs = append(errs, missing("DUNLIN_BOUNCE_LISTEN", need{"DUNLIN_BOUNCE_ADDRESS", c.BounceAddress != ""}))
	}
	return errors.Join(errs...)
}

// BounceAddresses makes and knows the senders' addresses of email; nil if DUNLIN_BOUNCE_ADDRESS is unset.
func (c Config) BounceAddresses() (*bounce.Address, error) {
	if err := c.NeedBounces(); err != nil || c.BounceAddress == "" {
		return nil, err
	}
	a, err := bounce.NewAddress(c.BounceAddress, string(c.LinkKey), string(c.LinkKeyOld))
	if err != nil {
		return nil, fmt.Errorf("DUNLIN_BOUNCE_ADDRESS: %w", err)
	}
	return a, nil
}

// returnPath makes the envelope senders of email; nil = the address of DUNLIN_MAIL_FROM.
func (c Config) returnPath() (func(token string) string, error) {
	a, err := c.BounceAddresses()
	if a == nil {
		return nil, err
	}
	from, err := mail.ParseAddress(c.MailFrom)
	if err != nil {
		return nil, errors.New("DUNLIN_MAIL_FROM: is not an email address")
	}
	return func(token string) string {
		if token == "" { // not a payer's message: an alert to operators comes back to whom it is from
			return from.Address
		}
		return a.ReturnPath(token)
	}, nil
}

// bounces is the server's part in mail that comes back.
type bounces struct {
	intake   *bounce.Intake
	listener *bounce.Listener
}

// newBounces opens the listener; nil if DUNLIN_BOUNCE_LISTEN is unset.
func (c Config) newBounces(w *Worker, log *slog.Logger) (*bounces, error) {
	a, err := c.BounceAddresses()
	if err != nil || c.BounceListen == "" {
		return nil, err
	}
	b := &bounces{intake: &bounce.Intake{Ledger: w.Ledger, Wake: w.Queue.Enqueue, Alert: w.Alerter.Alert, Log: log}}
	if b.listener, err = bounce.Listen(c.BounceListen, a, b.intake); err != nil {
		return nil, fmt.Errorf("DUNLIN_BOUNCE_LISTEN: %w", err)
	}
	log.Info("bounces are taken", "listen", b.listener.Addr().String())
	return b, nil
}

// run takes bounces until ctx ends. A nil one returns at once.
func (b *bounces) run(ctx context.Context) error {
	if b == nil {
		return nil
	}
	swept := make(chan struct{})
	go func() { defer close(swept); b.intake.Run(ctx) }()
	err := b.listener.Serve(ctx)
	if err == nil {
		<-swept
	}
	return err
}

// count adds what came in for the metrics page.
func (b *bounces) count(out map[[2]string]int64) {
	if b == nil {
		return
	}
	n := b.intake.Stats()
	for outcome, n := range map[string]int64{"bounced": n.Bounced, "account_refused": n.Ours, "no_bounce": n.NoBounce, "unreadable": n.Unreadable,
		"doubled": n.Doubled} {
		out[[2]string{bounce.Provider, outcome}] = n
	}
}

func (b *bounces) close() error {
	if b == nil {
		return nil
	}
	return b.listener.Close()
}

func bounceAddress(value string) error {
	if _, err := bounce.NewAddress(value, "any"); err != nil {
		return fmt.Errorf("%q is not a mailbox such as bounces@mail.example.com, of at most %d characters before its @", value, bounce.MaxLocal)
	}
	return nil
}

func bounceListen(value string) error {
	_, _, _, err := bounce.ParseListen(value)
	return err
}

func longKey(value string) error {
	if len(value) < 16 {
		return errors.New("is shorter than 16 characters")
	}
	return nil
}
