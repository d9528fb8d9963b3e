package setup

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRedisOptions(t *testing.T) {
	type want struct {
		Addrs    []string
		DB       int
		User     string
		Password string
		Master   string
		Cluster  bool
		TLS      bool
	}
	for _, tt := range []struct {
		name, address string
		want          want
		err           string
	}{
		{name: "plain", address: "redis://127.0.0.1:6379/2", want: want{Addrs: []string{"127.0.0.1:6379"}, DB: 2}},
		{name: "with password", address: "redis://app:p%40ss@cache:6379/0", want: want{Addrs: []string{"cache:6379"}, User: "app", Password: "p@ss"}},
		{name: "TLS", address: "rediss://cache:6380/0", want: want{Addrs: []string{"cache:6380"}, TLS: true}},
		{name: "sentinel", address: "redis-sentinel://a:26379,b:26379/mymaster/3", want: want{Addrs: []string{"a:26379", "b:26379"}, Master: "mymaster", DB: 3}},
		{name: "cluster", address: "redis-cluster://u:s@a:7000,b:7000", want: want{Addrs: []string{"a:7000", "b:7000"}, User: "u", Password: "s", Cluster: true}},
		{name: "sentinel without master", address: "redis-sentinel://a:26379", err: "names no master"},
		{name: "sentinel with a bad database", address: "redis-sentinel://a:26379/m/x", err: "not a number"},
		{name: "another scheme", address: "memcached://a", err: "not known"},
		{name: "bad escape", address: "redis-cluster://u:%zz@a:7000", err: "password is not well escaped"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opt, err := redisOptions(tt.address)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := want{opt.Addrs, opt.DB, opt.Username, opt.Password, opt.MasterName, opt.IsClusterMode, opt.TLSConfig != nil}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}
