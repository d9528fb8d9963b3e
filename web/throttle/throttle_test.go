package throttle

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	th := New(3, time.Minute)
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		after time.Duration
		key   string
		want  bool
	}{
		{0, "a", true}, {0, "a", true}, {0, "a", true}, {0, "a", false}, {0, "b", true},
		{20 * time.Second, "a", true}, {20 * time.Second, "a", false}, {time.Hour, "a", true},
	} {
		if got := th.Allow(tt.key, now.Add(tt.after)); got != tt.want {
			t.Errorf("%s after %s: got %t, want %t", tt.key, tt.after, got, tt.want)
		}
	}
	th.Forget("b")
	for range 3 {
		if !th.Allow("b", now) {
			t.Error("what is forgotten has its whole allowance back")
		}
	}
	for i := range 3 * maxKeys {
		th.Allow(fmt.Sprint(i), now.Add(2*time.Hour))
	}
	if got := len(th.full); got > maxKeys {
		t.Errorf("it holds %d keys, want %d at most", got, maxKeys)
	}
}

func TestNetwork(t *testing.T) {
	for _, tt := range []struct{ name, remote, forwarded, want string }{
		{"direct", "203.0.113.7:99", "", "203.0.113.7"},
		{"a stranger's word", "203.0.113.7:99", "198.51.100.1", "203.0.113.7"},
		{"behind our proxy", "127.0.0.1:99", "198.51.100.1, 198.51.100.2", "198.51.100.2"},
		{"behind one in a private network", "10.0.0.3:99", "198.51.100.1", "198.51.100.1"},
		{"a proxy that does not tell", "10.0.0.3:99", "unknown", "10.0.0.3"},
		{"IPv6", "[2001:db8:1:2:3::4]:99", "", "2001:db8:1:2::/64"},
		{"IPv4 in IPv6", "[::ffff:203.0.113.7]:99", "", "203.0.113.7"},
		{"nonsense", "pipe", "198.51.100.1", "pipe"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.remote
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := Network(r); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
