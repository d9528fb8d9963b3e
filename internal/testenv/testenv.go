// Package testenv gives tests the servers that they need: Redis and PostgreSQL, the real ones, on the loopback interface.
//
// A test gets something of its own each time, a database or a server, so that tests may run side by side and leave
// nothing behind. Where DUNLIN_TEST_REDIS_URL or DUNLIN_TEST_POSTGRES_URL names a running server, databases are made on
// it; otherwise servers are started from the installed programs, on free ports, in temporary folders. They end with the
// test, or at the latest with the test process, even when that is killed.
//
// Where neither a variable nor a program is there, the test is skipped with the reason; with DUNLIN_TEST_REQUIRE=1, which
// `make test` sets, it fails instead, so that a run that is green has tested what it says.
//
// The package is for tests only; no program imports it.
package testenv

import (
	"net"
	"os"
	"strconv"
	"testing"
)

// missing ends a test that cannot have what it needs.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("DUNLIN_TEST_REQUIRE") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// freePort is a loopback port that nobody listens on at this moment. Somebody may take it before it is used: whoever
// starts a server on it makes sure that the one who answers is that server, and else tries another.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// tries is how many ports are tried before a start counts as failed.
const tries = 5

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
