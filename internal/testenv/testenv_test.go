package testenv_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"dunlin/internal/testenv"
)

func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries, options.DialerRetries = -1, 1
	c := redis.NewClient(options)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRedisIsPrivate(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			if shared {
				t.Setenv("DUNLIN_TEST_REDIS_URL", testenv.StartRedis(t).URL())
			} else {
				t.Setenv("DUNLIN_TEST_REDIS_URL", "")
			}
			one, two := client(t, testenv.Redis(t)), client(t, testenv.Redis(t))
			if err := one.Set(t.Context(), "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			if n, err := two.DBSize(t.Context()).Result(); err != nil || n != 0 {
				t.Errorf("got %d keys in the other test's database, error %v; want 0", n, err)
			}
		})
	}
}

func TestRedisDatabasesAreGivenBack(t *testing.T) {
	server := testenv.StartRedis(t)
	t.Setenv("DUNLIN_TEST_REDIS_URL", server.URL())
	// The server has 16 databases: more tests than that can run after each other only if each gives its own back, empty.
	for range 20 {
		t.Run("", func(t *testing.T) {
			c := client(t, testenv.Redis(t))
			if n, err := c.DBSize(t.Context()).Result(); err != nil || n != 0 {
				t.Errorf("got %d keys in a new database, error %v; want 0", n, err)
			}
			if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
		})
	}
	if n, err := client(t, server.URL()).DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Errorf("got %d leases left, error %v; want 0", n, err)
	}
}

func TestRedisServerComesBackWithItsData(t *testing.T) {
	server := testenv.StartRedis(t)
	url, c := server.URL(), client(t, server.URL())
	for _, down := range []struct {
		name string
		end  func()
	}{{"killed", server.Kill}, {"stopped", server.Stop}, {"restarted", func() {}}} {
		if err := c.Set(t.Context(), down.name, "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		down.end()
		if down.name != "restarted" {
			if err := c.Ping(t.Context()).Err(); err == nil {
				t.Errorf("%s: the server still answers", down.name)
			}
		}
		server.Restart()
		if got, err := c.Get(t.Context(), down.name).Result(); err != nil || got != "v" {
			t.Errorf("%s: got %q after the restart, error %v; want what was confirmed before", down.name, got, err)
		}
	}
	if server.URL() != url {
		t.Errorf("the address changed from %s to %s", url, server.URL())
	}
}

func TestPostgresIsPrivate(t *testing.T) {
	t.Setenv("DUNLIN_TEST_POSTGRES_URL", "")
	server := testenv.Postgres(t)
	for _, tt := range []struct{ name, env string }{{"own server", ""}, {"shared server", server}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("DUNLIN_TEST_POSTGRES_URL", tt.env)
			for range 2 {
				conn, err := pgx.Connect(t.Context(), testenv.Postgres(t))
				if err != nil {
					t.Fatal(err)
				}
				// The connection is left open: the database must go all the same.
				if _, err := conn.Exec(t.Context(), "CREATE TABLE private (id integer)"); err != nil {
					t.Errorf("the database is not empty: %v", err)
				}
			}
		})
	}
	conn, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var left int
	err = conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname LIKE 'dunlin_test_%' AND datname <> current_database()").Scan(&left)
	if err != nil || left != 0 {
		t.Errorf("got %d databases left behind, error %v; want 0", left, err)
	}
}

// TestPostgresSideBySide makes databases from several tests at once, which PostgreSQL does not always like.
func TestPostgresSideBySide(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			conn, err := pgx.Connect(t.Context(), testenv.Postgres(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMissingProgram runs a test that needs Redis where there is none.
func TestMissingProgram(t *testing.T) {
	if os.Getenv("TESTENV_CHILD") == "1" {
		t.Setenv("PATH", "")
		testenv.StartRedis(t)
		return
	}
	for _, tt := range []struct {
		require, want string
		fails         bool
	}{{"", "SKIP", false}, {"1", "FAIL", true}} {
		child := exec.Command(os.Args[0], "-test.run=^TestMissingProgram$", "-test.v")
		child.Env = append(os.Environ(), "TESTENV_CHILD=1", "DUNLIN_TEST_REQUIRE="+tt.require)
		out, err := child.CombinedOutput()
		if (err != nil) != tt.fails || !strings.Contains(string(out), tt.want) || !strings.Contains(string(out), "install redis-server") {
			t.Errorf("DUNLIN_TEST_REQUIRE=%q: got error %v and output %q, want %s with what to install", tt.require, err, out, tt.want)
		}
	}
}

// TestServersEndWithTheirProcess kills a test process that has started a server, as the timeout of go test would.
func TestServersEndWithTheirProcess(t *testing.T) {
	if os.Getenv("TESTENV_CHILD") == "1" {
		server := testenv.StartRedis(t)
		fmt.Println(server.URL())
		_, err := io.Copy(io.Discard, os.Stdin) // until the parent kills us
		t.Fatalf("still alive after the parent's end: %v", err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestServersEndWithTheirProcess$")
	child.Env = append(os.Environ(), "TESTENV_CHILD=1")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", server.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The connection ends with the server.
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v from the server, want its connection ended with the test process", err)
	}
}
