package testenv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis returns the URL of an empty Redis database that no other test uses. A test that flushes all databases, stops the
// server or kills it takes StartRedis instead, because the server may be shared; what Redis does not keep apart by
// database, publish and subscribe, may be shared with it.
func Redis(t testing.TB) string {
	t.Helper()
	shared := os.Getenv("DUNLIN_TEST_REDIS_URL")
	if shared == "" {
		// A server starts in some 10 ms, less than it would take to find out which databases of a shared one are free.
		return startRedis(t, "--save", "", "--appendonly", "no").URL()
	}
	url, err := leaseRedis(t, shared)
	if err != nil {
		t.Fatalf("taking a database of DUNLIN_TEST_REDIS_URL: %v", err)
	}
	return url
}

// leaseRedis finds a numbered database that nobody uses. Test processes run side by side and know nothing of each other,
// so who uses which number stands in database 0 of the server itself, with an expiry for processes that were killed.
func leaseRedis(t testing.TB, shared string) (string, error) {
	options, err := redis.ParseURL(shared)
	if err != nil {
		return "", errors.New("not a Redis address")
	}
	options.DB = 0
	admin := redis.NewClient(options)
	t.Cleanup(func() { admin.Close() })
	ctx := context.Background() // t.Context() has ended by the time of the cleanup
	config, err := admin.ConfigGet(ctx, "databases").Result()
	if err != nil {
		return "", err
	}
	count, err := strconv.Atoi(config["databases"])
	if err != nil || count < 2 {
		return "", fmt.Errorf("the server has %q databases, tests need 2 or more", config["databases"])
	}
	first := rand.IntN(count)
	for i := range count {
		n := (first + i) % count
		if n == 0 {
			continue
		}
		key := "dunlin-test:database:" + strconv.Itoa(n)
		taken, err := admin.SetNX(ctx, key, os.Getpid(), time.Hour).Result()
		if err != nil {
			return "", err
		}
		if !taken {
			continue
		}
		options := *options
		options.DB = n
		client := redis.NewClient(&options)
		t.Cleanup(func() {
			if err := errors.Join(client.FlushDB(ctx).Err(), client.Close(), admin.Del(ctx, key).Err()); err != nil {
				t.Errorf("giving back Redis database %d: %v", n, err)
			}
		})
		return withDatabase(t, shared, strconv.Itoa(n)), client.FlushDB(ctx).Err()
	}
	return "", fmt.Errorf("all %d databases are in use: start the server with more (--databases)", count)
}

// RedisServer is a Redis server that belongs to one test, with an append-only file, so that it may be killed and come
// back with what it had confirmed.
type RedisServer struct {
	t       testing.TB
	process *process // nil while it is down
	port    int
	dir     string
	args    []string
}

// StartRedis starts a Redis server for this test alone. It ends with the test.
func StartRedis(t testing.TB) *RedisServer {
	t.Helper()
	return startRedis(t, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
}

func startRedis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		missing(t, "there is no Redis: install redis-server or set DUNLIN_TEST_REDIS_URL")
	}
	r := &RedisServer{t: t, dir: t.TempDir(), args: append([]string{program}, args...)}
	t.Cleanup(r.Stop)
	for range tries {
		if r.port, err = freePort(); err != nil {
			break
		}
		if err = r.start(); err == nil {
			return r
		}
	}
	t.Fatalf("starting redis-server: %v", err)
	return nil
}

func (r *RedisServer) start() error {
	p, err := guarded{
		command: append(r.args, "--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--dir", r.dir, "--maxmemory-policy", "noeviction"),
		log:     filepath.Join(r.dir, "redis.log"),
		signal:  "KILL", // nobody is left to want the data
	}.start()
	if err != nil {
		return err
	}
	err = p.await(func() bool {
		// The client's pool would complain in the log and wait a second after a refused connection.
		conn, err := net.Dial("tcp", loopback(r.port))
		if err != nil {
			return false
		}
		conn.Close()
		client := redis.NewClient(&redis.Options{Addr: loopback(r.port)})
		defer client.Close()
		// Another server may have taken the port; it would answer just as well. PING also waits for the end of loading.
		info, err := client.InfoMap(context.Background(), "server").Result()
		return err == nil && info["Server"]["process_id"] == strconv.Itoa(p.pid) && client.Ping(context.Background()).Err() == nil
	})
	if err != nil {
		return errors.Join(err, p.end(syscall.SIGKILL))
	}
	r.process = p
	return nil
}

// URL is the server's address; it stays the same over restarts.
func (r *RedisServer) URL() string { return "redis://" + loopback(r.port) + "/0" }

// Kill ends the server as a power cut would: at once, without a word to its clients. What it had confirmed is in its
// append-only file, and Restart brings it back.
func (r *RedisServer) Kill() { r.end(syscall.SIGKILL) }

// Stop ends the server in an orderly way. Stopping one that is down does nothing.
func (r *RedisServer) Stop() { r.end(syscall.SIGTERM) }

func (r *RedisServer) end(signal syscall.Signal) {
	r.t.Helper()
	if r.process == nil {
		return
	}
	if err := r.process.end(signal); err != nil {
		r.t.Errorf("ending redis-server: %v", err)
	}
	r.process = nil
}

// Restart starts the server again on the same port with the data it had, after stopping it if it is up. It returns when
// the server answers.
func (r *RedisServer) Restart() {
	r.t.Helper()
	r.Stop()
	if err := r.start(); err != nil {
		r.t.Fatalf("restarting redis-server on port %d: %v", r.port, err)
	}
}
