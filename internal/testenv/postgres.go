package testenv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Postgres returns the URL of an empty PostgreSQL database that is dropped when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	server := os.Getenv("DUNLIN_TEST_POSTGRES_URL")
	if server == "" {
		own, err := ownPostgres()
		switch {
		case errors.Is(err, exec.ErrNotFound):
			missing(t, "there is no PostgreSQL: install postgresql or set DUNLIN_TEST_POSTGRES_URL")
		case err != nil:
			t.Fatalf("starting PostgreSQL: %v", err)
		}
		server = own.url
	}
	name := "dunlin_test_" + strings.ToLower(rand.Text())
	run(t, server, "CREATE DATABASE "+name)
	// FORCE ends connections that the test left open: a leak of its own must not fail the next one.
	t.Cleanup(func() { run(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	return withDatabase(t, server, name)
}

func run(t testing.TB, server, statement string) {
	t.Helper()
	ctx := context.Background() // t.Context() has ended by the time of the cleanup
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("connecting to the test PostgreSQL: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// postgres is a running server. Whoever holds it keeps its process from the garbage collector, and with that the server
// from its end.
type postgres struct {
	url     string
	process *process
}

// ownPostgres starts one server for this test process, since initdb takes a second or two.
var ownPostgres = sync.OnceValues(startPostgres)

func startPostgres() (*postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "dunlin-postgres-")
	if err != nil {
		return nil, err
	}
	attr, err := unprivileged(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(dir))
	}
	for range tries {
		var server *postgres
		if server, err = tryPostgres(bin, dir, data, attr); err == nil {
			return server, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

func tryPostgres(bin, dir, data string, attr *syscall.SysProcAttr) (*postgres, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	command := []string{filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-k", dir}
	// A test server's data need not outlive a power cut.
	for _, setting := range []string{"listen_addresses=127.0.0.1", "fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200", "shared_buffers=64MB"} {
		command = append(command, "-c", setting)
	}
	p, err := guarded{command: command, log: filepath.Join(dir, "log"), signal: "QUIT", remove: dir, attr: attr}.start()
	if err != nil {
		return nil, err
	}
	server := "postgres://postgres@" + loopback(port) + "/postgres?sslmode=disable"
	err = p.await(func() bool {
		conn, err := pgx.Connect(context.Background(), server)
		if err != nil {
			return false
		}
		defer conn.Close(context.Background())
		// Another server may have taken the port; ours keeps its data in our folder.
		var folder string
		err = conn.QueryRow(context.Background(), "SHOW data_directory").Scan(&folder)
		return err == nil && folder == data
	})
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, log), p.end(0))
	}
	return &postgres{url: server, process: p}, nil
}

// postgresBin finds the folder of PostgreSQL's programs. Debian keeps them out of PATH, by version; the newest is taken.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		version := func(path string) int {
			n, _ := strconv.Atoi(strings.Split(path, "/")[4])
			return n
		}
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
	}
	initdb, err := exec.LookPath("initdb")
	return filepath.Dir(initdb), err
}

// unprivileged says whom to run PostgreSQL as, which refuses to run as root, and makes dir his.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return attr, os.Chown(dir, int(uid), int(gid))
}

// withDatabase is the server's address with another database's name or number.
func withDatabase(t testing.TB, server, database string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		t.Fatal("the test server's address is not of the form SCHEME://HOST:PORT/DATABASE")
	}
	u.Path = "/" + database
	return u.String()
}
