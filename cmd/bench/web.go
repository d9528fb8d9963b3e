package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dunlin/cmd/internal/setup"
	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// callers are the clients that call the server at once, in its own process.
const callers = 32

// site is a server on loopback over a batch whose requests have their sessions.
type site struct {
	*setup.Server
	config setup.Config
	db     *ledger.DB
	base   string
	client *http.Client
	stop   func() error
}

func openSite(ctx context.Context) (s *site, err error) {
	c, err := config()
	if err != nil {
		return nil, err
	}
	s = &site{config: c}
	if s.db, err = ledger.Open(ctx, string(c.DatabaseURL), ledger.Options{}); err != nil {
		return nil, err
	}
	rdb, err := c.OpenRedis(setup.RedisForEnqueuing)
	if err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	if s.Server, err = c.NewServer(ctx, setup.WorkerOptions{Redis: rdb, On: s.db}); err != nil {
		return nil, errors.Join(err, rdb.Close(), s.db.Close())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, s.Close(), rdb.Close(), s.db.Close())
	}
	serving, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(serving, l) }()
	s.base = "http://" + l.Addr().String()
	s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}, Timeout: time.Minute}
	s.stop = func() error {
		s.client.CloseIdleConnections()
		end()
		return errors.Join(<-ended, s.Close(), rdb.Close(), s.db.Close())
	}
	return s, nil
}

// sell gives every request of the batch a session, as a worker would, without a provider.
func (s *site) sell(ctx context.Context, id paylink.BatchID) ([]paylink.Session, error) {
	if err := s.db.Confirm(ctx, id, "bench", ""); err != nil {
		return nil, err
	}
	var sold []paylink.Session
	for {
		wakes, err := s.db.Feed(ctx, id, 1000)
		if err != nil || len(wakes) == 0 {
			return sold, err
		}
		out := make([]paylink.Session, len(wakes))
		err = together(len(wakes), func(i int) error {
			c, err := s.db.ClaimSession(ctx, paylink.RequestID(wakes[i].ID), wakes[i].Epoch, paylink.ClaimOptions{Worker: "bench", Lease: time.Minute})
			if err != nil {
				return err
			}
			out[i] = paylink.Session{RequestID: c.Request.ID, OrderNo: c.OrderNo, ProviderID: "bench-" + c.OrderNo, Amount: c.Request.Amount}
			_, err = s.db.RecordSession(ctx, c, paylink.CheckoutSession{ProviderID: out[i].ProviderID, OrderNo: c.OrderNo, URL: "https://pay.example/" + c.OrderNo,
				State: paylink.SessionOpen, Amount: c.Request.Amount, ExpiresAt: time.Now().Add(48 * time.Hour)})
			return err
		})
		if err != nil {
			return sold, err
		}
		sold = append(sold, out...)
	}
}

// together runs n jobs, as many at once as there are callers, and returns what failed first.
func together(n int, job func(i int) error) error {
	var next atomic.Int64
	var failed error
	var once sync.Once
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := job(i); err != nil {
					once.Do(func() { failed = err })
					next.Store(int64(n))
				}
			}
		})
	}
	running.Wait()
	return failed
}

// drive makes n calls and measures them; call makes the i-th request.
func (s *site) drive(n int, call func(i int) (*http.Request, error)) (r result, err error) {
	took := make([]time.Duration, n)
	began, cpu := time.Now(), cpuSeconds()
	err = together(n, func(i int) error {
		req, err := call(i)
		if err != nil {
			return err
		}
		start := time.Now()
		res, err := s.client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return err
		}
		took[i] = time.Since(start)
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("call %d: status %d", i, res.StatusCode)
		}
		return nil
	})
	r = result{Seconds: time.Since(began).Seconds(), CPU: cpuSeconds() - cpu, PeakMB: peakMB(), N: int64(n)}
	if slices.Sort(took); n > 0 {
		r.P99 = took[(n*99-1)/100].Seconds() * 1000
	}
	return r, err
}

// runWeb reads each request's page and then pays it by a webhook, which is the finding behind the first.
func runWeb(ctx context.Context, batch string) (r result, err error) {
	id, err := paylink.ParseBatchID(batch)
	if err != nil {
		return r, err
	}
	s, err := openSite(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	sold, err := s.sell(ctx, id)
	if err != nil {
		return r, fmt.Errorf("make sessions: %w", err)
	}
	pages, bodies := make([]string, len(sold)), make([][]byte, len(sold))
	for i, x := range sold {
		v, err := s.db.Payer(ctx, x.RequestID)
		if err != nil {
			return r, err
		}
		pages[i] = s.base + "/p/" + paylink.Token(x.RequestID, v.Request.Secret)
		event := map[string]any{"amount": x.Amount.Decimal(), "currency_code": x.Amount.Currency, "settled_amount": x.Amount.Decimal(), "gateway_account": "knet",
			"gateway_name": "kpay", "order_no": x.OrderNo, "session_id": x.ProviderID, "state": "paid", "result": "success",
			"reference_number": fmt.Sprintf("REF%08d", i), "customer_email": "payer@example.com"}
		event["signature"] = sandbox.SignWebhook(string(s.config.OttuHMACKey), event)
		if bodies[i], err = json.Marshal(event); err != nil {
			return r, err
		}
	}
	r, err = s.drive(len(pages), func(i int) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, pages[i], nil)
		if err == nil { // readers of their own: one reader is slowed down
			req.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255))
		}
		return req, err
	})
	if err != nil {
		return r, fmt.Errorf("read pages: %w", err)
	}
	paid, err := s.drive(len(bodies), func(i int) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/hooks/ottu", bytes.NewReader(bodies[i]))
	})
	if err != nil {
		return r, fmt.Errorf("deliver webhooks: %w", err)
	}
	r.Then = &paid
	if st, err := s.db.Status(ctx, id); err != nil || st.Payments[paylink.PaymentPaid] != int64(len(sold)) {
		return r, errors.Join(err, fmt.Errorf("%d of %d are paid", st.Payments[paylink.PaymentPaid], len(sold)))
	}
	check, err := s.db.Verify(ctx, id)
	if err == nil && check.Differences > 0 {
		err = fmt.Errorf("%d differences: %v", check.Differences, check.Found[0])
	}
	return r, err
}
