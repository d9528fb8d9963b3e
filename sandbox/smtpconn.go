package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// smtpListener wraps what it accepts, so that rules reach the parts of the dialogue that the server library keeps to
// itself: the greeting, DATA, RSET and QUIT.
type smtpListener struct {
	net.Listener
	s *Sandbox
}

func (l smtpListener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &smtpConn{Conn: raw, s: l.s}
	c.unwatch = context.AfterFunc(l.s.ctx, func() { _ = raw.Close() })
	return c, nil
}

// smtpConn knows the verb that is being answered by the reply that the library writes. It is used by one goroutine,
// but for Close.
type smtpConn struct {
	net.Conn
	s       *Sandbox
	unwatch func() bool
	closed  atomic.Bool

	greeted   bool
	hangUp    bool   // after the next reply
	refused   bool   // DATA was refused; the library does not know
	swallow   bool   // the library's next reply, since the client had another one
	inject    []byte // to be read before what the client sends
	recipient string
}

// replies are the library's own words for what it does not ask its backend about. A test of each verb fails when a new
// version words them differently.
var replies = []struct {
	prefix []byte
	op     string
}{
	{[]byte("354 "), "data"},
	{[]byte("250 2.0.0 Session reset"), "rset"},
	{[]byte("221 "), "quit"},
}

func (c *smtpConn) opOf(reply []byte) string {
	if !c.greeted {
		c.greeted = true
		return "connect"
	}
	for _, r := range replies {
		if bytes.HasPrefix(reply, r.prefix) {
			return r.op
		}
	}
	return ""
}

// Write sends a reply, or what a rule makes of it.
func (c *smtpConn) Write(p []byte) (int, error) {
	if c.swallow {
		c.swallow = false
		return len(p), nil
	}
	op := c.opOf(p)
	if op == "" {
		return c.send(p)
	}
	cl := call{SMTP, op, []string{c.recipient}}
	f := c.s.arrive(cl)
	if f == nil {
		return c.send(p)
	}
	switch f.Action {
	case Refuse:
		return c.refuse(op, f, len(p))
	case Slow:
		c.s.pause(f.Delay)
	case Hang:
		if c.awaitGone(f.gate) {
			return 0, c.Close()
		}
	default: // these verbs do nothing that could be done before or after: the connection ends
		if f.Hold {
			c.awaitGone(nil)
		}
		return 0, c.Close()
	}
	return c.send(p)
}

func (c *smtpConn) send(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.hangUp {
		c.Close()
	}
	return n, err
}

// refuse writes the rule's reply instead of the library's. The library, which goes on as if all were well, must be told
// otherwise: refused data is an empty mail that nobody keeps and nobody answers.
func (c *smtpConn) refuse(op string, f *fired, n int) (int, error) {
	e := f.smtpRefusal()
	_, err := fmt.Fprintf(c.Conn, "%d %d.%d.%d %s\r\n", e.Code, e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2], e.Message)
	if err != nil {
		return 0, err
	}
	switch {
	case op == "connect", e.Code == 421:
		c.Close()
	case op == "data":
		c.refused, c.swallow, c.inject = true, true, []byte(".\r\n")
	}
	return n, nil
}

func (c *smtpConn) dataRefused() bool {
	was := c.refused
	c.refused = false
	return was
}

func (c *smtpConn) setRecipient(to string) { c.recipient = to }

func (c *smtpConn) closeAfterReply() { c.hangUp = true }

// Read gives what the client sent, after what was put before it.
func (c *smtpConn) Read(p []byte) (int, error) {
	if len(c.inject) > 0 {
		n := copy(p, c.inject)
		c.inject = c.inject[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// Close ends the connection; more than once does no harm.
func (c *smtpConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.unwatch()
	return c.Conn.Close()
}

// awaitGone waits until the client has left (true) or gate is closed (false). It has to read to notice; what the client
// says meanwhile is kept for later.
func (c *smtpConn) awaitGone(gate <-chan struct{}) bool {
	type ahead struct {
		data []byte
		err  error
	}
	read := make(chan ahead, 1)
	look := func() {
		b := make([]byte, 512)
		n, err := c.Conn.Read(b)
		read <- ahead{b[:n], err}
	}
	go look()
	for {
		select {
		case a := <-read:
			c.inject = append(c.inject, a.data...)
			if a.err != nil {
				return true
			}
			go look()
		case <-gate:
			_ = c.SetReadDeadline(time.Unix(1, 0)) // ends the look
			a := <-read
			_ = c.SetReadDeadline(time.Time{})
			c.inject = append(c.inject, a.data...)
			return false
		}
	}
}
