package sandbox

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// callbacks moves accepted messages on and posts their status callbacks, with a few workers. Its queue is not bounded:
// a slow receiver must not slow down sending, and an entry is one pointer.
type callbacks struct {
	s  *Sandbox
	wg sync.WaitGroup

	mu      sync.Mutex
	wake    *sync.Cond
	queue   []*message
	stopped bool
	rng     *rand.Rand
}

func startCallbacks(s *Sandbox, workers int) *callbacks {
	c := &callbacks{s: s, rng: rand.New(rand.NewPCG(s.cfg.Seed, 0))}
	c.wake = sync.NewCond(&c.mu)
	for range workers {
		c.wg.Go(c.work)
	}
	return c
}

func (c *callbacks) add(m *message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, m)
	c.wake.Signal()
}

func (c *callbacks) stop() {
	c.mu.Lock()
	c.stopped = true
	c.wake.Broadcast()
	c.mu.Unlock()
	c.wg.Wait()
}

func (c *callbacks) work() {
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.stopped {
			c.wake.Wait()
		}
		if c.stopped {
			c.mu.Unlock()
			return
		}
		m := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		c.mu.Unlock()
		c.deliver(m)
	}
}

// step is one status that a message reaches after its first.
type step struct {
	status string
	code   int
}

// course is what becomes of m. Twilio announces no first status: "queued" is news only after "accepted".
func course(m Message) []step {
	var out []step
	if m.Status == "accepted" {
		out = append(out, step{status: "queued"})
	}
	code := m.asyncError()
	switch status := AsyncErrors[code]; {
	case status == "failed":
		return append(out, step{status, code})
	case code != 0:
		return append(out, step{status: "sent"}, step{status, code})
	}
	return append(out, step{status: "sent"}, step{status: "delivered"})
}

// deliver takes m through its course and posts each status, if it has a callback.
func (c *callbacks) deliver(m *message) {
	st := c.s.store
	st.mu.Lock()
	steps := course(m.Message)
	st.mu.Unlock()
	f := c.s.faults.take(call{Twilio, "callback", []string{m.To, m.SID}})
	if f.is(Shuffle) {
		var posts []url.Values
		for _, next := range steps {
			posts = append(posts, c.s.advance(m, next))
		}
		c.shuffle(posts)
		for _, p := range posts {
			c.s.postCallback(m.Callback, p)
		}
		return
	}
	for _, next := range steps {
		p := c.s.advance(m, next)
		if f.is(Drop) {
			continue
		}
		c.s.postCallback(m.Callback, p)
		if f.is(Double) {
			c.s.postCallback(m.Callback, p)
		}
	}
}

// advance moves m one step on and returns what its callback says.
func (s *Sandbox) advance(m *message, next step) url.Values {
	st := s.store
	st.mu.Lock()
	defer st.mu.Unlock()
	st.statuses[m.Status]--
	st.statuses[next.status]++
	m.Status, m.ErrorCode, m.Updated = next.status, next.code, s.cfg.Now()
	if next.status == "sent" {
		m.Sent = m.Updated
	}
	st.touch()
	if m.Callback == "" {
		return nil
	}
	return s.callbackParams(m.Message)
}

// shuffle changes the order for certain if there are two or more.
func (c *callbacks) shuffle(posts []url.Values) {
	if len(posts) < 2 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := posts[0]
	c.rng.Shuffle(len(posts), func(i, j int) { posts[i], posts[j] = posts[j], posts[i] })
	if posts[0].Get("MessageStatus") == first.Get("MessageStatus") {
		slices.Reverse(posts)
	}
}

func (s *Sandbox) callbackParams(m Message) url.Values {
	p := url.Values{
		"MessageSid": {m.SID}, "SmsSid": {m.SID}, "AccountSid": {s.cfg.AccountSID}, "From": {m.From}, "To": {m.To},
		"MessageStatus": {m.Status}, "SmsStatus": {m.Status}, "ApiVersion": {"2010-04-01"},
	}
	if m.ServiceSID != "" {
		p.Set("MessagingServiceSid", m.ServiceSID)
	}
	if m.WhatsApp() {
		p.Set("ChannelPrefix", "whatsapp")
	}
	if m.ErrorCode != 0 {
		p.Set("ErrorCode", strconv.Itoa(m.ErrorCode))
	}
	return p
}

// SignCallback is the value of X-Twilio-Signature: base64 of the HMAC-SHA1, keyed with the account's token, of the URL
// without its fragment and of each form parameter in alphabetical order, its name directly followed by its value.
func SignCallback(token, target string, params url.Values) string {
	mac := hmac.New(sha1.New, []byte(token))
	target, _, _ = strings.Cut(target, "#")
	_, _ = io.WriteString(mac, target)
	for _, k := range slices.Sorted(maps.Keys(params)) {
		_, _ = io.WriteString(mac, k+params.Get(k))
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// postCallback posts one status, and once more if nobody answered; after that Twilio gives the event up.
func (s *Sandbox) postCallback(target string, params url.Values) {
	if target == "" {
		return
	}
	body := params.Encode()
	signature := SignCallback(s.cfg.AuthToken, target, params)
	for range 2 {
		ctx, cancel := context.WithTimeout(s.ctx, 15*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(body))
		if err != nil {
			cancel()
			return
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("X-Twilio-Signature", signature)
		req.Header.Set("User-Agent", "TwilioProxy/1.1")
		res, err := s.outbound.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
			res.Body.Close()
			cancel()
			s.store.called(call{provider: Twilio, op: "callback"})
			return
		}
		cancel()
	}
	s.store.called(call{provider: Twilio, op: "callback_lost"})
}
