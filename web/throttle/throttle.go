// Package throttle makes guessing and hammering slow: what may happen so many times in a period for each key, and by which
// key a reader goes. It counts in one process; n processes let n times as many through.
package throttle

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Throttle lets n things happen per period and key, evenly refilled. It is safe for concurrent use.
type Throttle struct {
	n      int
	period time.Duration

	mu   sync.Mutex
	full map[string]time.Time // when the key's allowance will be whole again
}

// maxKeys bounds the memory: at the bound, keys whose allowance is whole are forgotten, and if there are none, all.
const maxKeys = 50_000

// New makes a throttle.
func New(n int, period time.Duration) *Throttle {
	return &Throttle{n: n, period: period, full: map[string]time.Time{}}
}

// Allow takes one from the key's allowance, if there is one left.
func (t *Throttle) Allow(key string, now time.Time) bool {
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

// Forget gives a key its whole allowance back.
func (t *Throttle) Forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.full, key)
}

// Network names the network that a request comes from. A proxy on this machine or in a private network is believed about
// whom it passes on, by the last address that it adds; nobody else is. Of IPv6 the /64 counts, which one reader has whole.
func Network(r *http.Request) string {
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
