package email

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"dunlin/paylink"
)

const (
	// probeAfter is how long a connection may rest before it is asked whether it still lives. Within a busy run no such
	// round trip is spent; MAIL FROM finds a dead connection as well.
	probeAfter = time.Second
	// probeTimeout is short: a connection that a firewall forgot swallows everything, and a new one costs little.
	probeTimeout = 5 * time.Second
	// quitTimeout bounds the farewell, whose answer nobody needs.
	quitTimeout = 5 * time.Second
)

// conn is one connection to the relay. It has one user at a time.
type conn struct {
	smtp *smtp.Client
	// raw is the socket below any TLS. Closing it is the only way to break off at once: smtp.Client.Close waits for the
	// command in progress.
	raw   net.Conn
	mails int       // taken by the relay so far
	since time.Time // when it became idle
	dirty bool      // a transaction was left open by a refusal
}

type captureKey struct{}

// dialCaptured dials for go-mail and hands the socket to whoever asked, through the context, since go-mail neither closes
// it when the greeting, STARTTLS or login fails nor watches the context after dialing.
func dialCaptured(r relay) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		raw, err := new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(r.host, strconv.Itoa(r.port)))
		if err != nil {
			return nil, err
		}
		ctx.Value(captureKey{}).(func(net.Conn))(raw)
		if !r.implicit {
			return raw, nil
		}
		secure := tls.Client(raw, r.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		return secure, nil
	}
}

// dial opens a connection and logs in. The caller holds a slot.
func (s *Sender) dial(ctx context.Context) (*conn, *paylink.Failure) {
	c := &conn{}
	stop := func() bool { return true }
	client, err := s.client.DialToSMTPClientWithContext(context.WithValue(ctx, captureKey{}, func(raw net.Conn) {
		c.raw = raw
		stop = context.AfterFunc(ctx, func() { raw.Close() })
	}))
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if c.raw != nil {
			c.raw.Close()
		}
		return nil, classify(atConnect, err)
	}
	c.smtp = client
	return c, nil
}

// pooled returns an idle connection that still lives, or nil.
func (s *Sender) pooled() *conn {
	now := s.now()
	s.mu.Lock()
	var c *conn
	if n := len(s.idle); n > 0 && now.Sub(s.idle[n-1].since) < s.maxIdle {
		c = s.idle[n-1]
		s.idle = s.idle[:n-1]
	}
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	if rested := now.Sub(c.since); rested >= probeAfter || rested < 0 || c.dirty {
		probe := c.smtp.Noop
		if c.dirty {
			probe = c.smtp.Reset
		}
		c.raw.SetDeadline(time.Now().Add(min(probeTimeout, s.timeout)))
		if err := probe(); err != nil {
			c.raw.Close()
			return nil
		}
		c.dirty = false
	}
	return c
}

// release gives back the connection, unless it is nil, and with it the slot. healthy means that the relay waits for a
// command; any other connection is cut.
func (s *Sender) release(c *conn, healthy bool) {
	if c != nil && !healthy {
		c.raw.Close()
		c = nil
	}
	if c == nil {
		<-s.slots
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.raw.Close() // without a farewell: Close no longer waits for one
		<-s.slots
		return
	}
	if c.mails >= s.maxPerConn {
		s.quits.Go(func() {
			c.quit()
			<-s.slots // only now: relays count connections until the farewell
		})
		return
	}
	c.since = s.now()
	s.idle = append(s.idle, c)
	if !s.reaping {
		s.reaping = true
		time.AfterFunc(s.maxIdle, s.reap)
	}
	<-s.slots
}

// reap ends the connections that nobody has used for too long, and comes again while any is left.
func (s *Sender) reap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for len(s.idle) > 0 && now.Sub(s.idle[0].since) >= s.maxIdle {
		c := s.idle[0]
		s.idle = s.idle[1:]
		s.quits.Go(c.quit)
	}
	if s.reaping = len(s.idle) > 0; s.reaping {
		time.AfterFunc(s.maxIdle, s.reap)
	}
}

// Close ends the idle connections and waits until the relay has taken leave, a few seconds at most. Sends in progress
// finish, and their connections are cut after them; later sends fail.
func (s *Sender) Close() error {
	s.mu.Lock()
	idle := s.idle
	s.idle, s.closed = nil, true
	for _, c := range idle {
		s.quits.Go(c.quit)
	}
	s.mu.Unlock()
	s.quits.Wait()
	return nil
}

func (c *conn) quit() {
	c.raw.SetDeadline(time.Now().Add(quitTimeout))
	_ = c.smtp.Quit() // the mails are the relay's already, whatever it answers
	c.raw.Close()
}

// enter waits for a slot. Waiting is no fault of the relay, but it ends with the context.
func (s *Sender) enter(ctx context.Context) error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return notSent(paylink.CauseUnavailable, "the mail sender is closed")
	}
	if ctx.Err() == nil {
		select {
		case s.slots <- struct{}{}:
			return nil
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("%w (%w)", notSent(paylink.CauseUnavailable, "no free connection in time"), ctx.Err())
}
