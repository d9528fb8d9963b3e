package jobs

import (
	"context"
	"errors"
	"time"

	"dunlin/paylink"
)

// attachPatience is how long a file that cannot be fetched just now keeps its mail back; then the mail fails, so that
// somebody looks at it.
const attachPatience = 24 * time.Hour

// attach brings the file of the row's attachment_url to a mail. It is fetched once and kept: a mail that is sent again has
// the same bytes. A file that is too large is left to a link.
func (w *Worker) attach(ctx context.Context, c *paylink.MessageClaim) error {
	url, batch := c.Request.AttachmentURL, c.Request.ID.Batch()
	if w.Attachments == nil || url == "" || c.Message.Channel != paylink.Email || c.Paid != nil {
		return nil
	}
	a, found, err := w.Ledger.Attachment(ctx, batch, url)
	if err != nil {
		return err
	}
	if !found {
		a, err = w.Attachments.Fetch(ctx, url)
		if errors.Is(err, paylink.ErrTooLarge) {
			return nil
		}
		if err != nil {
			return err
		}
		if a, err = w.Ledger.SaveAttachment(ctx, batch, url, a); err != nil {
			return err
		}
	}
	c.Attachment = &a
	return nil
}

// unattached gives back or ends a message whose file did not come. Neither the mail server nor the payer's retries have to
// do with it.
func (w *Worker) unattached(ctx context.Context, c paylink.MessageClaim, err error) error {
	now := w.Ledger.Now()
	if !isFailure(err) { // the ledger's
		return w.unsent(ctx, c, &paylink.Failure{Scope: paylink.ScopeProvider, Cause: paylink.CauseUnavailable}, now)
	}
	f, age := paylink.AsFailure(err), now.Sub(c.Date)
	w.Log.Info("attachment not fetched", "request", c.Request.ID.String(), "message", c.Message.ID.String(), "kind", f.Kind, "code", f.Code)
	if f.Kind != paylink.Permanent && age < attachPatience {
		return w.unsent(ctx, c, f, now.Add(min(max(age/2, w.Backoff), time.Hour)))
	}
	gone := *f
	gone.Kind = paylink.Permanent
	return stale(w.refused(ctx, c, &gone, now, false))
}
