package signin

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// throttle counts failures by key: so many in a period, refilled evenly. It lives in one process; n processes let n times
// as many through, which is still far from guessing a password of 15 characters.
type throttle struct {
	n      int
	period time.Duration

	mu   sync.Mutex
	full map[string]time.Time // when the key's allowance will be whole again
}

// maxKeys bounds the memory. At the bound, keys whose allowance is whole are forgotten; if there are none, all.
const maxKeys = 20_000

func newThrottle(n int, period time.Duration) *throttle {
	return &throttle{n: n, period: period, full: map[string]time.Time{}}
}

// take takes one from the key's allowance, if there is one left.
func (t *throttle) take(key string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	full, known := t.full[key]
	if !known && len(t.full) >= maxKeys {
		for k, at := range t.full {
			if !at.After(now) {
				delete(t.full, k)
			}
		}
		if len(t.full) >= maxKeys {
			clear(t.full)
		}
	}
	if full.Before(now) {
		full = now
	}
	full = full.Add(t.period / time.Duration(t.n))
	if full.Sub(now) > t.period {
		return false
	}
	t.full[key] = full
	return true
}

// forget gives a key its whole allowance back.
func (t *throttle) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.full, key)
}

// network is where a request comes from. A proxy on this machine or in a private network is believed about whom it passes
// on, by the last address that it adds; nobody else is. Of IPv6 the /64 counts, which one reader has whole.
func network(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr := at.Addr().Unmap()
	if addr.IsLoopback() || addr.IsPrivate() {
		list := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if told, err := netip.ParseAddr(strings.TrimSpace(list[len(list)-1])); err == nil {
			addr = told.Unmap()
		}
	}
	if addr.Is6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
