package setup

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisUse says what a connection to Redis is for, which decides how stubborn it is.
type RedisUse int

const (
	// RedisForWorking outlasts an outage of half a minute: a task that is done but cannot be marked so would run again.
	RedisForWorking RedisUse = iota
	// RedisForEnqueuing gives up soon: what is not enqueued now is enqueued by the sweeper.
	RedisForEnqueuing
)

// OpenRedis makes a client for the configured address; the caller closes it. The forms are redis://[user:pass@]host/db,
// rediss://…, redis-sentinel://[user:pass@]host,host/master[/db] and redis-cluster://[user:pass@]host,host.
func (c Config) OpenRedis(use RedisUse) (redis.UniversalClient, error) {
	opt, err := redisOptions(string(c.RedisURL))
	if err != nil {
		return nil, fmt.Errorf("DUNLIN_REDIS_URL: %w", err)
	}
	opt.PoolSize = 128
	opt.MaxRetries, opt.MinRetryBackoff, opt.MaxRetryBackoff = 2, 20*time.Millisecond, 200*time.Millisecond
	if use == RedisForWorking {
		opt.MaxRetries, opt.MaxRetryBackoff = 100, 500*time.Millisecond
	}
	return redis.NewUniversalClient(opt), nil
}

func redisOptions(address string) (*redis.UniversalOptions, error) {
	scheme, rest, _ := strings.Cut(address, "://")
	if scheme == "redis" || scheme == "rediss" {
		one, err := redis.ParseURL(address)
		if err != nil {
			return nil, fmt.Errorf("cannot be read; write redis://HOST:PORT/DB")
		}
		return &redis.UniversalOptions{Addrs: []string{one.Addr}, DB: one.DB, Username: one.Username, Password: one.Password, TLSConfig: one.TLSConfig}, nil
	}
	opt := &redis.UniversalOptions{}
	userinfo, hosts, found := strings.Cut(rest, "@")
	if !found {
		userinfo, hosts = "", rest
	}
	hosts, path, _ := strings.Cut(hosts, "/")
	opt.Addrs = strings.Split(hosts, ",")
	if userinfo != "" {
		name, password, _ := strings.Cut(userinfo, ":")
		var err error
		if opt.Username, err = url.PathUnescape(name); err != nil {
			return nil, fmt.Errorf("its user name is not well escaped")
		}
		if opt.Password, err = url.PathUnescape(password); err != nil {
			return nil, fmt.Errorf("its password is not well escaped")
		}
	}
	switch scheme {
	case "redis-cluster":
		opt.IsClusterMode = true
	case "redis-sentinel":
		master, db, _ := strings.Cut(path, "/")
		if master == "" {
			return nil, fmt.Errorf("names no master; write redis-sentinel://HOST:PORT,HOST:PORT/MASTER")
		}
		opt.MasterName = master
		if db != "" {
			n, err := strconv.Atoi(db)
			if err != nil {
				return nil, fmt.Errorf("database %q is not a number", db)
			}
			opt.DB = n
		}
	default:
		return nil, fmt.Errorf("scheme %q is not known", scheme)
	}
	return opt, nil
}
