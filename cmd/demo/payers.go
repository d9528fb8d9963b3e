package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// payers lets n payers do what people do with their message: open the link, press the button, and pay on the provider's
// page. The provider tells of each payment by a signed webhook, as it would.
func (d *demo) payers(ctx context.Context, batch paylink.BatchID, n int) error {
	var reached []paylink.RequestID
	err := d.worker.Ledger.Requests(ctx, batch, ledger.RequestFilter{Dispatch: paylink.DispatchSent}, func(l ledger.RequestLine) error {
		if len(reached) < n {
			reached = append(reached, l.Request.ID)
		}
		return nil
	})
	if err != nil || len(reached) == 0 {
		return err
	}
	browser := &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, id := range reached {
		v, err := d.worker.Ledger.Payer(ctx, id)
		if err != nil {
			return err
		}
		page := d.config.PublicURL + "/p/" + paylink.Token(id, v.Request.Secret)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, page+"/pay", nil)
		if err != nil {
			return err
		}
		res, err := browser.Do(req)
		if err != nil {
			return fmt.Errorf("press pay for %s: %w", id, err)
		}
		res.Body.Close()
		if v, err = d.worker.Ledger.Payer(ctx, id); err != nil {
			return err
		}
		if res.StatusCode != http.StatusSeeOther || v.Live == nil {
			return fmt.Errorf("press pay for %s: answer %d", id, res.StatusCode)
		}
		if _, err := d.sandbox.Pay(ctx, v.Live.ProviderID, sandbox.PayFull, false); err != nil {
			return fmt.Errorf("pay %s: %w", id, err)
		}
	}
	d.out.line("\n%d payers opened their link and paid; the provider told of each by a signed webhook.", len(reached))
	return nil
}

// watch tells of each payment that comes in, until ctx ends.
func (d *demo) watch(ctx context.Context, batch paylink.BatchID) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	known := map[paylink.RequestID]paylink.PaymentState{}
	for first := true; ; first = false {
		err := d.worker.Ledger.Requests(ctx, batch, ledger.RequestFilter{}, func(l ledger.RequestLine) error {
			r := l.Request
			if was := known[r.ID]; !first && was != r.Payment {
				d.out.line("  %s  %s (%s) is %s", time.Now().Format(time.TimeOnly), r.ID, r.Amount, r.Payment)
			}
			known[r.ID] = r.Payment
			return nil
		})
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
