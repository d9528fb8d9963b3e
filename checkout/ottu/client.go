package ottu

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"dunlin/paylink"
)

// The paths of the API. All end in a slash: without it the server answers with a redirect, which loses a request's body.
const (
	sessionsPath   = "/b/checkout/v1/pymt-txn/"
	operationsPath = "/b/pbl/v2/operation/"
)

// Client speaks to one Ottu installation. It is safe for use by many goroutines and keeps connections between calls.
type Client struct {
	base    string
	auth    func() string // a function, so that printing a Client in any way cannot show the key
	pgCodes []string
	http    *http.Client
	timeout time.Duration
	maxBody int64
	now     func() time.Time
}

// String names the client's host.
func (c *Client) String() string { return "ottu.Client(" + c.base + ")" }

// Create makes a checkout session. It sends one request and never repeats it. The session's ExpiresAt is reckoned from
// the start of the call, so it is never later than Ottu's own.
//
// A failure of kind unknown may have left a payable session behind, which the caller ends by [Client.Expire] with the
// order number. An answer that shows another amount, another order or a session that cannot be paid is such a failure.
func (c *Client) Create(ctx context.Context, o paylink.CheckoutOrder) (paylink.CheckoutSession, error) {
	expiresIn := wholeSeconds(o.ExpiresIn)
	body, err := c.createBody(o, expiresIn)
	if err != nil {
		return paylink.CheckoutSession{}, failure(callCreate, "invalid", 0, err.Error())
	}
	start := c.now()
	r, err := c.exchange(ctx, callCreate, http.MethodPost, sessionsPath, body)
	if err != nil {
		return paylink.CheckoutSession{}, err
	}
	s, err := decodeSession(r.body)
	if err != nil {
		return paylink.CheckoutSession{}, failure(callCreate, "unreadable", r.status, err.Error())
	}
	if s.State == "" {
		// A word that we do not know belongs to a session that was just made: it is treated as live, so that it is ended
		// before another takes its place.
		s.State = paylink.SessionOpen
	}
	switch {
	case s.URL == "":
		return paylink.CheckoutSession{}, failure(callCreate, "unreadable", r.status, "the answer holds no usable checkout_url")
	case s.Amount != o.Amount:
		return paylink.CheckoutSession{}, failure(callCreate, "mismatch", r.status, "the answer shows another amount or currency")
	case s.OrderNo != "" && s.OrderNo != o.OrderNo:
		return paylink.CheckoutSession{}, failure(callCreate, "mismatch", r.status, "the answer shows another order_no")
	case !s.State.Live():
		return paylink.CheckoutSession{}, failure(callCreate, "mismatch", r.status, "the answer shows a session that is not open: "+string(s.State))
	}
	s.OrderNo = o.OrderNo
	s.ExpiresAt = start.Add(expiresIn)
	return s, nil
}

// Retrieve reads a session. Its ExpiresAt is zero, because Ottu tells a duration without saying since when; its state
// may stay open long after the session expired, because Ottu need not flip it. URL may be the long form although the
// short one was given before, and may be empty.
//
// A session that Ottu does not know is a permanent failure for which errors.Is(err, paylink.ErrNotFound) holds. Every
// other failure is temporary: reading again harms nobody. A state in a word that [SessionState] does not know is a
// failure too, so that nobody takes it for a dead one.
func (c *Client) Retrieve(ctx context.Context, providerID string) (paylink.CheckoutSession, error) {
	if !isSlug(providerID) {
		return paylink.CheckoutSession{}, failure(callRetrieve, "invalid", 0, "not a session id")
	}
	r, err := c.exchange(ctx, callRetrieve, http.MethodGet, sessionsPath+providerID+"/", nil)
	if err != nil {
		if f := paylink.AsFailure(err); f.Kind == paylink.Permanent {
			return paylink.CheckoutSession{}, fmt.Errorf("session: %w: %w", paylink.ErrNotFound, err)
		}
		return paylink.CheckoutSession{}, err
	}
	return c.existing(callRetrieve, r, providerID)
}

// Update changes a session in place. Only a 400 of Ottu is a permanent failure: the change is refused, and the caller
// should end the session and make another. After an unknown failure the caller retrieves and compares. As with Retrieve,
// ExpiresAt is zero.
func (c *Client) Update(ctx context.Context, providerID string, ch paylink.SessionChange) (paylink.CheckoutSession, error) {
	body, err := updateBody(ch)
	if !isSlug(providerID) {
		err = errors.New("not a session id")
	}
	if err != nil {
		return paylink.CheckoutSession{}, failure(callUpdate, "invalid", 0, err.Error())
	}
	r, err := c.exchange(ctx, callUpdate, http.MethodPatch, sessionsPath+providerID+"/", body)
	if err != nil {
		return paylink.CheckoutSession{}, err
	}
	s, err := c.existing(callUpdate, r, providerID)
	if err == nil && ch.Amount != nil && s.Amount != *ch.Amount {
		return paylink.CheckoutSession{}, failure(callUpdate, "mismatch", r.status, "the answer shows another amount or currency")
	}
	return s, err
}

// existing reads an answer about a session that the caller named.
func (c *Client) existing(k call, r reply, providerID string) (paylink.CheckoutSession, error) {
	s, err := decodeSession(r.body)
	switch {
	case err != nil:
		return paylink.CheckoutSession{}, failure(k, "unreadable", r.status, err.Error())
	case s.ProviderID != providerID:
		return paylink.CheckoutSession{}, failure(k, "mismatch", r.status, "the answer shows another session")
	case s.State == "":
		return paylink.CheckoutSession{}, failure(k, "mismatch", r.status, "the answer shows no state that is known")
	}
	return s, nil
}

// Ref names a session by one of Ottu's id and our order number. With both, the id is used.
type Ref struct{ ProviderID, OrderNo string }

// Expire ends a session's time, so that its link can no longer be paid. nil means that Ottu said so. A failure of kind
// permanent is [ErrNotEnded]; any other is temporary, since ending twice harms nobody.
func (c *Client) Expire(ctx context.Context, ref Ref) error { return c.end(ctx, "expire", ref) }

// Cancel withdraws a session. Its outcomes are those of Expire.
func (c *Client) Cancel(ctx context.Context, ref Ref) error { return c.end(ctx, "cancel", ref) }

func (c *Client) end(ctx context.Context, operation string, ref Ref) error {
	body := map[string]string{"operation": operation}
	switch {
	case isSlug(ref.ProviderID):
		body["session_id"] = ref.ProviderID
	case ref.ProviderID == "" && ref.OrderNo != "":
		body["order_no"] = ref.OrderNo
	default:
		return failure(callEnd, "invalid", 0, "neither a session id nor an order number")
	}
	r, err := c.exchange(ctx, callEnd, http.MethodPost, operationsPath, body)
	if err != nil {
		if f := paylink.AsFailure(err); f.Kind == paylink.Permanent {
			return fmt.Errorf("%w: %w", ErrNotEnded, err)
		}
		return err
	}
	o, err := object(r.body)
	if err != nil {
		return failure(callEnd, "unreadable", r.status, err.Error())
	}
	switch result, _ := text(o["result"]); strings.ToLower(result) {
	case "success":
		return nil
	case "failed":
		return fmt.Errorf("%w: %w", ErrNotEnded, failure(callEnd, "failed", r.status, "result is failed"))
	default:
		return failure(callEnd, "unreadable", r.status, "the answer holds no result that is known")
	}
}
