package bounce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/net/netutil"
)

const (
	// takeTime bounds storing and applying one report.
	takeTime = 20 * time.Second
	// talkTime is how long the other side may keep silent or leave an answer unread.
	talkTime = 2 * time.Minute
	// maxConns are served at once; more wait for their turn.
	maxConns = 64
)

// Listener is a mail server for nothing but reports: it takes mail to addresses that [Address] made and refuses all other.
type Listener struct {
	address *Address
	in      *Intake
	server  *smtp.Server
	l       net.Listener
	taking  sync.RWMutex // held for reading while a report is stored
}

// ParseListen reads where a listener listens. "unix:/path/to/socket" and "HOST:PORT" speak LMTP, what a mail system uses
// to hand mail on; "smtp:HOST:PORT" speaks SMTP.
func ParseListen(s string) (network, address string, lmtp bool, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok && strings.HasPrefix(path, "/") {
		return "unix", path, true, nil
	}
	address, isSMTP := strings.CutPrefix(s, "smtp:")
	if host, port, e := net.SplitHostPort(address); e != nil || port == "" || strings.Contains(host, "/") {
		return "", "", false, errors.New("want unix:/path or HOST:PORT for LMTP, or smtp:HOST:PORT for SMTP")
	}
	return "tcp", address, !isSMTP, nil
}

// Listen opens the listener. A socket that an earlier process left behind at a unix: path is replaced.
func Listen(where string, address *Address, in *Intake) (*Listener, error) {
	network, at, lmtp, err := ParseListen(where)
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		if err := dropStale(at); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen(network, at)
	if err != nil {
		return nil, fmt.Errorf("listen for bounces: %w", err)
	}
	b := &Listener{address: address, in: in, l: netutil.LimitListener(l, maxConns)}
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{to: b}, nil }))
	s.LMTP, s.Network = lmtp, network
	s.Domain = address.domain
	s.MaxMessageBytes = MaxMail
	s.MaxRecipients = 1 // a report is about one attempt; the sender of another sort of mail is told to split it
	s.ReadTimeout, s.WriteTimeout = talkTime, talkTime
	s.ErrorLog = log.New(io.Discard, "", 0)
	b.server = s
	return b, nil
}

// dropStale takes away a socket to which nobody listens any more.
func dropStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the socket for bounces: %w", err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("listen for bounces: %s is there and is no socket", path)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return fmt.Errorf("listen for bounces: somebody else listens at %s", path)
	}
	return os.Remove(path)
}

// Addr is where it listens.
func (b *Listener) Addr() net.Addr { return b.l.Addr() }

// Serve takes reports until ctx ends, and finishes those that are being stored. Whoever is cut off brings his again.
func (b *Listener) Serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { b.Close() })()
	if err := b.server.Serve(b.l); err != nil && !errors.Is(err, net.ErrClosed) && ctx.Err() == nil {
		return fmt.Errorf("take bounces: %w", err)
	}
	return b.Close()
}

// Close ends it when the reports that are being stored are done. More than once does no harm.
func (b *Listener) Close() error {
	err := b.l.Close() // the server may not know of it yet
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	b.taking.Lock()
	defer b.taking.Unlock()
	_ = b.server.Close() // tells that it is closed, or that its listener is
	return err
}

// session is one connection.
type session struct {
	to    *Listener
	token string
}

func (s *session) Mail(string, *smtp.MailOptions) error { return nil }

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	token, ok := s.to.address.Token(to)
	if !ok {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such address here"}
	}
	s.token = token
	return nil
}

func (s *session) Data(r io.Reader) error {
	// Read whole before anything is done: a connection that breaks off brings the report again.
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		return err
	}
	report := Read(&b)
	s.to.taking.RLock()
	defer s.to.taking.RUnlock()
	// A report that was brought whole is wanted even if the one who brings it hangs up.
	ctx, cancel := context.WithTimeout(context.Background(), takeTime)
	defer cancel()
	if _, err := s.to.in.Take(ctx, s.token, report); err != nil {
		s.to.in.log().Error("a bounce could not be stored; the mail system was asked to bring it again", "error", err)
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Cannot be stored just now"}
	}
	return nil
}

func (s *session) Reset()        { s.token = "" }
func (s *session) Logout() error { return nil }
