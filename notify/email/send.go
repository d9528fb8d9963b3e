package email

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"dunlin/notify"
	"dunlin/paylink"
)

// maxRef is how much of the relay's answer is kept, in bytes.
const maxRef = 200

// Send sends one mail to one mailbox. It calls commit, with the SHA-256 of the rendered bytes, when the relay has taken
// everything but the final dot. The receipt's Ref is what the relay said to that dot. Apart from the errors of commit,
// which come back unchanged, every error holds a [*paylink.Failure]; when the context ended it also holds ctx.Err().
func (s *Sender) Send(ctx context.Context, m notify.Outgoing, commit notify.Commit) (notify.Receipt, error) {
	body, err := Render(s.from, m)
	if err != nil {
		return notify.Receipt{}, err
	}
	returnPath := s.returnPath(m.AttemptToken)
	if !plainAddress(returnPath) {
		return notify.Receipt{}, &paylink.Failure{Kind: paylink.Temporary, Scope: paylink.ScopeAccount,
			Cause: paylink.CauseInternal, Detail: "the return path is not a plain address"}
	}
	if err := s.enter(ctx); err != nil {
		return notify.Receipt{}, err
	}
	c, f := s.open(ctx, returnPath)
	if f != nil {
		return notify.Receipt{}, because(ctx, f)
	}
	healthy := false
	defer func() { s.release(c, healthy) }()
	// go-mail heeds the context only while dialing.
	stop := context.AfterFunc(ctx, func() { c.raw.Close() })
	defer func() { healthy = stop() && healthy }()

	w, f := c.prepare(m.To, body)
	if f != nil {
		healthy = answered(f)
		c.dirty = true
		return notify.Receipt{}, because(ctx, f)
	}
	if err := commit(ctx, sha256.Sum256(body)); err != nil {
		return notify.Receipt{}, err
	}
	if ctx.Err() != nil {
		return notify.Receipt{}, because(ctx, notSent(paylink.CauseUnavailable, "stopped before the final dot"))
	}
	c.raw.SetDeadline(time.Now().Add(s.timeout))
	if err := w.Close(); err != nil && !accepted(err) {
		f := classify(atDot, err)
		healthy = answered(f)
		return notify.Receipt{}, because(ctx, f)
	}
	healthy = true
	c.mails++
	return notify.Receipt{Ref: reference(w.ServerResponse()), State: paylink.MessageAccepted}, nil
}

// open returns a connection whose relay has taken MAIL FROM. A kept connection may have died unnoticed, or have reached
// the relay's limit, which answers 421; nothing is lost by trying once more on a new one. On failure the slot is free again.
func (s *Sender) open(ctx context.Context, returnPath string) (*conn, *paylink.Failure) {
	reused := s.pooled()
	if reused != nil {
		f := s.mailFrom(ctx, reused, returnPath)
		if f == nil {
			return reused, nil
		}
		if answered(f) {
			s.release(reused, true)
			return nil, f
		}
		reused.raw.Close()
	}
	fresh, f := s.dial(ctx)
	if f != nil {
		s.release(nil, false)
		return nil, f
	}
	if f := s.mailFrom(ctx, fresh, returnPath); f != nil {
		s.release(fresh, answered(f))
		return nil, f
	}
	return fresh, nil
}

func (s *Sender) mailFrom(ctx context.Context, c *conn, returnPath string) *paylink.Failure {
	c.raw.SetDeadline(time.Now().Add(s.timeout))
	stop := context.AfterFunc(ctx, func() { c.raw.Close() })
	defer stop()
	if err := c.smtp.Mail("<" + returnPath + ">"); err != nil {
		return classify(atMail, err)
	}
	return nil
}

// prepare takes the conversation from RCPT TO to the last byte before the final dot.
func (c *conn) prepare(to string, body []byte) (*smtp.DataCloser, *paylink.Failure) {
	if _, param := c.smtp.Extension("SIZE"); param != "" {
		if limit, err := strconv.Atoi(param); err == nil && limit > 0 && len(body) > limit {
			return nil, &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Code: "SIZE",
				Cause: paylink.CauseRejectedContent, Detail: "larger than the relay takes"}
		}
	}
	if err := c.smtp.Rcpt("<" + to + ">"); err != nil {
		return nil, classify(atRcpt, err)
	}
	w, err := c.smtp.Data()
	if err != nil {
		return nil, classify(atData, err)
	}
	if _, err := w.Write(body); err != nil {
		return nil, classify(atBody, err)
	}
	return w.(*smtp.DataCloser), nil
}

// answered reports whether f is an answer after which the connection can go on: 421 announces its end.
func answered(f *paylink.Failure) bool {
	return f.Code != "" && !strings.HasPrefix(f.Code, "421")
}

// accepted reports whether the relay's answer to the dot was a success other than 250, which textproto takes for an error.
func accepted(err error) bool {
	reply, ok := errors.AsType[*textproto.Error](err)
	return ok && reply.Code/100 == 2
}

// reference makes one short line of the relay's answer. It is never empty: an accepted mail has a reference.
func reference(answer string) string {
	ref := strings.Join(strings.Fields(strings.ToValidUTF8(answer, "")), " ")
	if len(ref) > maxRef {
		ref = strings.ToValidUTF8(ref[:maxRef], "")
	}
	if ref == "" {
		return "250"
	}
	return ref
}

// because adds the end of the context, if it is what broke the conversation off, so that a caller that shuts down does
// not take it for a fault of the relay.
func because(ctx context.Context, f *paylink.Failure) error {
	if err := ctx.Err(); err != nil && f.Code == "" {
		return fmt.Errorf("%w (%w)", f, err)
	}
	return f
}
