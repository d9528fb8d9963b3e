package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"

	"dunlin/intake"
	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/notify"
	"dunlin/paylink"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silence{})
	testscript.Main(m, map[string]func(){
		"enqueue": main,
		// tty is enqueue for somebody who sits at a terminal of 80 columns and types what stands in stdin.
		"tty": func() {
			a := newApp(os.Environ(), os.Stdin, os.Stdout, os.Stderr)
			noColor := os.Getenv("NO_COLOR") != ""
			a.asks, a.out, a.err = true, newScreen(os.Stdout, true, noColor), newScreen(os.Stderr, true, noColor)
			a.poll = time.Millisecond
			os.Exit(a.run(context.Background(), os.Args[1:]))
		},
		"killed-send": tool(killedSend),
		"work":        tool(work),
		"sql":         tool(tamper),
		"came-back":   tool(cameBack),
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			// A Redis that is away: a command line must do its work all the same. The scripts that want one start it.
			e.Setenv("DUNLIN_DATABASE_URL", "sqlite:"+e.WorkDir+"/ledger.db")
			e.Setenv("DUNLIN_REDIS_URL", "redis://127.0.0.1:1/0")
			e.Setenv("DUNLIN_MERCHANT_NAME", "Oak School")
			e.Setenv("DUNLIN_PUBLIC_URL", "https://pay.example.com")
			e.Setenv("DUNLIN_SMTP_URL", "smtp://127.0.0.1:1?tls=none")
			e.Setenv("DUNLIN_MAIL_FROM", "Oak School <fees@example.com>")
			e.Setenv("TWILIO_ACCOUNT_SID", "AC00000000000000000000000000000000")
			e.Setenv("TWILIO_AUTH_TOKEN", "token")
			e.Setenv("DUNLIN_SMS_FROM", "+96550000000")
			e.Setenv("DUNLIN_WHATSAPP_FROM", "+96550000000")
			e.Setenv("DUNLIN_WHATSAPP_TEMPLATES", "link:en=HX00000000000000000000000000000001,link:ar=HX00000000000000000000000000000002")
			e.Setenv("NO_COLOR", "1")
			return nil
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

func tool(fn func(ctx context.Context, a *app, args []string) error) func() {
	return func() {
		a := newApp(os.Environ(), os.Stdin, os.Stdout, os.Stderr)
		err := fn(context.Background(), a, os.Args[1:])
		for _, c := range a.closers {
			err = errors.Join(err, c())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// dying is a ledger whose program is killed after some chunks.
type dying struct {
	*ledger.DB
	rows int
}

var errKilled = errors.New("killed")

func (d *dying) ImportChunk(ctx context.Context, id paylink.BatchID, rows []ledger.ImportRow, opt ledger.ImportOptions) ([]paylink.Rejection, error) {
	if len(rows) > d.rows {
		rows = rows[:d.rows]
	}
	d.rows -= len(rows)
	if _, err := d.DB.ImportChunk(ctx, id, rows, opt); err != nil {
		return nil, err
	}
	if d.rows == 0 {
		return nil, errKilled
	}
	return nil, nil
}

// killedSend leaves the ledger as a send of FILE that was killed when ROWS rows were in.
func killedSend(ctx context.Context, a *app, args []string) error {
	rows, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	c, err := a.settings()
	if err != nil {
		return err
	}
	rd, err := new(readingFlags).reading(c)
	if err != nil {
		return err
	}
	set, err := a.planSettings(c)
	if err != nil {
		return err
	}
	db, err := a.ledger(ctx, ledger.Options{}, true)
	if err != nil {
		return err
	}
	_, _, err = intake.Import(ctx, &dying{db, rows}, set, intake.Order{Path: args[0], Reading: rd, Actor: "test"})
	if !errors.Is(err, errKilled) {
		return fmt.Errorf("the import ended with %v, want it killed", err)
	}
	return nil
}

// tamper runs SQL in the ledger's file; of a SELECT it prints the one value.
func tamper(ctx context.Context, a *app, args []string) error {
	c, err := a.settings()
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", strings.TrimPrefix(string(c.DatabaseURL), "sqlite:"))
	if err != nil {
		return err
	}
	defer db.Close()
	if strings.HasPrefix(args[0], "SELECT") {
		var value string
		if err := db.QueryRowContext(ctx, args[0]).Scan(&value); err != nil {
			return err
		}
		fmt.Println(value)
		return nil
	}
	_, err = db.ExecContext(ctx, args[0])
	return err
}

// stand is payment provider, mail server and Twilio. Whom it cannot reach is told by the address: nobody@ does not exist,
// and an account@ makes it find our account blocked.
type stand struct{ n int }

func (s *stand) Create(_ context.Context, o paylink.CheckoutOrder) (paylink.CheckoutSession, error) {
	s.n++
	id := "session" + strconv.Itoa(s.n)
	return paylink.CheckoutSession{ProviderID: id, OrderNo: o.OrderNo, URL: "https://ottu.example.com/b/" + id, State: paylink.SessionOpen, RawState: "created",
		Amount: o.Amount, ExpiresAt: time.Now().Add(72 * time.Hour)}, nil
}

func (s *stand) Retrieve(context.Context, string) (paylink.CheckoutSession, error) {
	return paylink.CheckoutSession{State: paylink.SessionOpen}, nil
}
func (s *stand) Update(_ context.Context, id string, ch paylink.SessionChange) (paylink.CheckoutSession, error) {
	seen, err := s.Retrieve(context.Background(), id)
	seen.Amount = *ch.Amount
	return seen, err
}

func (s *stand) ExpireOrder(context.Context, string) error { return nil }

func (s *stand) Send(ctx context.Context, m notify.Outgoing, commit notify.Commit) (notify.Receipt, error) {
	if strings.HasPrefix(m.To, "account@") {
		return notify.Receipt{}, &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeAccount, Cause: paylink.CauseAccount, Code: "535"}
	}
	if err := commit(ctx, [32]byte{1}); err != nil {
		return notify.Receipt{}, err
	}
	if strings.HasPrefix(m.To, "nobody@") {
		return notify.Receipt{}, &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseBadAddress, Code: "550 5.1.1"}
	}
	s.n++
	return notify.Receipt{Ref: "ref" + strconv.Itoa(s.n), State: paylink.MessageAccepted}, nil
}

// hand is a queue of one hand: what is enqueued waits here.
type hand struct{ wakes []paylink.Wake }

func (h *hand) Enqueue(_ context.Context, w ...paylink.Wake) error {
	h.wakes = append(h.wakes, w...)
	return nil
}
func (h *hand) Depth(context.Context, jobs.Provider) (int, error) { return 0, nil }

// work does what workers would, until nothing is left that can be done now.
func work(ctx context.Context, a *app, _ []string) error {
	c, err := a.settings()
	if err != nil {
		return err
	}
	set, err := a.planSettings(c)
	if err != nil {
		return err
	}
	db, err := a.openLedger(ctx)
	if err != nil {
		return err
	}
	s, q := &stand{}, &hand{}
	w, err := jobs.New(jobs.Config{
		Ledger: db, Queue: q, Checkout: s, Name: "worker1",
		Senders: map[paylink.Channel]notify.Sender{paylink.Email: s, paylink.SMS: s, paylink.WhatsApp: s},
		Builder: &notify.Builder{Merchant: c.MerchantName, PublicURL: c.PublicURL, MailDomain: "example.com", Templates: set.Texts,
			ContentSIDs: map[string]string{"link:en": "HX1", "link:ar": "HX2"}},
	})
	if err != nil {
		return err
	}
	for {
		room, err := w.LookAtQueues(ctx)
		if err != nil {
			return err
		}
		if _, err := w.Feed(ctx); err != nil {
			return err
		}
		if _, err := w.Sweep(ctx, room); err != nil {
			return err
		}
		if len(q.wakes) == 0 {
			return w.Advance(ctx)
		}
		wakes := q.wakes
		q.wakes = nil
		for _, wake := range wakes {
			var later *jobs.Later
			if err := w.Do(ctx, wake); err != nil && !errors.As(err, &later) {
				return err
			}
		}
	}
}
