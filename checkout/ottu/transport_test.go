package ottu_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/checkout/ottu"
	"dunlin/paylink"
)

var (
	unsent    = outcome{temporary, provider, paylink.CauseUnavailable, ""}
	lost      = outcome{unknown, provider, paylink.CauseLostAnswer, ""}
	tryAgain  = unsent
	lostIn201 = outcome{unknown, provider, paylink.CauseLostAnswer, "http 201"}
)

// wantCreate checks the outcome of a create, and that no error shows where it was sent.
func wantCreate(t *testing.T, err error, want outcome, detail string) {
	t.Helper()
	if diff := cmp.Diff(want, outcomeOf(t, err)); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
	if f := paylink.AsFailure(err); f.Detail != detail {
		t.Errorf("detail = %q, want %q", f.Detail, detail)
	}
	if strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("the error holds the address: %v", err)
	}
}

func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Addr().String()
	l.Close()
	wantCreate(t, calls["create"](t.Context(), newClient(t, base)), unsent, "connection refused")
}

func TestNameNotResolved(t *testing.T) {
	c := newClient(t, "https://merchant.example", func(c *ottu.Config) {
		c.HTTP = &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "merchant.example", IsNotFound: true}}
		}}}
	})
	wantCreate(t, calls["create"](t.Context(), c), unsent, "host name not resolved")
}

func TestUntrustedCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the key was sent to a stranger") }))
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	t.Cleanup(s.Close)
	wantCreate(t, calls["create"](t.Context(), newClient(t, s.URL)), unsent, "the server's certificate is not trusted")
}

func TestResetDuringTheHandshake(t *testing.T) {
	addr := rawServer(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	wantCreate(t, calls["create"](t.Context(), newClient(t, "https://"+addr)), unsent, "connection reset")
}

func TestContextEndedBefore(t *testing.T) {
	base := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantCreate(t, calls["create"](ctx, newClient(t, base)), unsent, "canceled")
}

func TestTimeoutWhileDialing(t *testing.T) {
	c := newClient(t, "https://merchant.example", func(c *ottu.Config) {
		c.Timeout = 20 * time.Millisecond
		c.HTTP = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}}
	})
	wantCreate(t, calls["create"](t.Context(), c), unsent, "timed out")
}

// TestLost breaks the exchange after the request was handed to a connection.
func TestLost(t *testing.T) {
	readRequest := func(c net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.Copy(io.Discard, r.Body)
		}
	}
	for name, handle := range map[string]func(net.Conn){
		"reset while reading":    func(c net.Conn) { c.Read(make([]byte, 1)) },
		"reset after reading":    readRequest,
		"half a status line":     func(c net.Conn) { readRequest(c); io.WriteString(c, "HTTP/1.1 20") },
		"not HTTP":               func(c net.Conn) { readRequest(c); io.WriteString(c, "220 mail.example ESMTP\r\n") },
		"closed without a reset": func(c net.Conn) { readRequest(c); c.(*net.TCPConn).CloseWrite(); io.Copy(io.Discard, c) },
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, "http://"+rawServer(t, handle))
			if diff := cmp.Diff(lost, outcomeOf(t, calls["create"](t.Context(), client))); diff != "" {
				t.Errorf("create (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(lost, outcomeOf(t, calls["update"](t.Context(), client))); diff != "" {
				t.Errorf("update (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tryAgain, outcomeOf(t, calls["retrieve"](t.Context(), client))); diff != "" {
				t.Errorf("retrieve (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tryAgain, outcomeOf(t, calls["end"](t.Context(), client))); diff != "" {
				t.Errorf("end (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHangs(t *testing.T) {
	// The handler ends when the client hangs up, which the server notices once the request's body is read.
	hang := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	t.Run("until the time-out", func(t *testing.T) {
		c := newClient(t, serve(t, hang), func(c *ottu.Config) { c.Timeout = 500 * time.Millisecond })
		wantCreate(t, calls["create"](t.Context(), c), lost, "timed out")
	})
	t.Run("until the caller leaves", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		base := serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			cancel()
			<-r.Context().Done()
		})
		wantCreate(t, calls["create"](ctx, newClient(t, base)), lost, "canceled")
	})
	t.Run("in the middle of the answer", func(t *testing.T) {
		base := serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, arabicAnswer[:100])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		c := newClient(t, base, func(c *ottu.Config) { c.Timeout = 500 * time.Millisecond })
		wantCreate(t, calls["create"](t.Context(), c), lostIn201, "the answer broke off: timed out")
	})
}

func TestTruncatedAndTooLongAnswers(t *testing.T) {
	truncated := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "2000")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, arabicAnswer)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	wantCreate(t, calls["create"](t.Context(), newClient(t, truncated)), lostIn201, "the answer broke off: connection closed")

	long := answering(t, http.StatusCreated, nil, arabicAnswer+strings.Repeat(" ", 4096))
	c := newClient(t, long, func(c *ottu.Config) { c.MaxBody = 4096 })
	wantCreate(t, calls["create"](t.Context(), c), lostIn201, "the answer is too long")
}

// TestNothingIsRepeatedByItself breaks a kept connection, which Go's transport would answer with a second try if it
// could.
func TestNothingIsRepeatedByItself(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			var requests atomic.Int32
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != proto {
					t.Errorf("spoke %s", r.Proto)
				}
				io.Copy(io.Discard, r.Body)
				if requests.Add(1) > 1 {
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(http.StatusCreated)
				io.WriteString(w, arabicAnswer)
			}))
			s.EnableHTTP2 = proto == "HTTP/2.0"
			s.StartTLS()
			t.Cleanup(s.Close)
			client := newClient(t, s.URL, func(c *ottu.Config) { c.HTTP = s.Client() })
			if err := calls["create"](t.Context(), client); err != nil {
				t.Fatalf("the first create: %v", err)
			}
			if diff := cmp.Diff(lost, outcomeOf(t, calls["create"](t.Context(), client))); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if n := requests.Load(); n != 2 {
				t.Errorf("the server saw %d requests, want 2", n)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A transport that does not tell how far it got leaves it open, so nothing may be concluded from its silence.
func TestASilentTransportProvesNothing(t *testing.T) {
	c := newClient(t, "https://merchant.example", func(c *ottu.Config) {
		c.HTTP = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("no") })}
	})
	wantCreate(t, calls["create"](t.Context(), c), lost, "connection broken")
}

func TestConnectionsAreKept(t *testing.T) {
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"detail":"x"}`)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	client := newClient(t, s.URL)
	for range 5 {
		for _, call := range calls {
			call(t.Context(), client)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for calls one after another, want 1", n)
	}
}
