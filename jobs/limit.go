package jobs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Limit is at most N calls per period, over all processes.
type Limit struct {
	N   int
	Per time.Duration
}

// dispatchShare of the checkout's limits may be used by dispatch; the rest stays free for payers' clicks, amendments and
// reconciling, so that a large batch never makes a payer wait.
const dispatchShare = 0.8

// Reconciling never takes the last tenth of a day, and what it may take is set free as the day goes on: its share of the
// calls is reconcileAtOnce at the turn of the day and grows to reconcileShare, so that a great many looks at once do not
// leave the day's batches without sessions.
const reconcileAtOnce, reconcileShare = 0.3, 0.9

// RedisLimiter paces calls over all processes. Short periods are spaced evenly (GCRA: no burst at the turn of a second);
// a caller is given a slot and sleeps until it. Periods of an hour and more are counted per period, since spacing them
// would turn 90,000 a day into one a second.
type RedisLimiter struct {
	rdb    redis.UniversalClient
	limits map[Provider][]Limit
	// used tells how many calls were made in the current period, when Redis has forgotten.
	used func(ctx context.Context, p Provider) (int64, error)
	now  func() time.Time
}

// NewRedisLimiter makes a limiter. used may be nil.
func NewRedisLimiter(rdb redis.UniversalClient, limits map[Provider][]Limit, used func(context.Context, Provider) (int64, error)) *RedisLimiter {
	return &RedisLimiter{rdb: rdb, limits: limits, used: used, now: time.Now}
}

// Class says what a call is for, and with that how much of a provider's limit it may use.
type Class string

// The classes. Whoever is not dispatch takes from what dispatch leaves, and from all of it while nothing is dispatched.
const (
	ClassDispatch Class = "dispatch"
	ClassClick    Class = "click" // a payer waits
	ClassAmend    Class = "amend" // a session must end, or be looked at
	// ClassReconcile looks at sessions that nobody told of. It takes a slot only when nobody else waits for one.
	ClassReconcile Class = "reconcile"
)

// amendQueue bounds how far ahead the class amend takes slots: a payer's click queues behind it at most that long.
const amendQueue = time.Second

// For is a view of the limiter for another class of calls; the limiter itself is dispatch's.
func (l *RedisLimiter) For(c Class) Limiter { return classLimiter{l, c} }

type classLimiter struct {
	*RedisLimiter
	class Class
}

func (l classLimiter) Wait(ctx context.Context, p Provider, atMost time.Duration) (time.Duration, error) {
	return l.wait(ctx, p, l.class, atMost)
}

// takeSlot decides by Redis' own clock, so that processes need not agree on the time. KEYS: the pause, the class' pacing
// key, the counter, and the pacing key of dispatch if the class is another one. ARGV: emission interval in microseconds
// (0 = no pacing), longest wait, calls per period (0 = no counting), length of the period in microseconds, and the
// interval while nothing is dispatched (0 = the same). It answers {wait, refusal}: slot in wait microseconds, or, if
// refusal is 1, nothing taken and a slot not before wait; 2 = the counter is missing and must be seeded.
var takeSlot = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local paused = redis.call('PTTL', KEYS[1])
if paused > 0 then return {paused * 1000, 1} end
local interval, longest = tonumber(ARGV[1]), tonumber(ARGV[2])
local most, period = tonumber(ARGV[3]), tonumber(ARGV[4])
local counter = KEYS[3]
if most > 0 then
  local used = redis.call('GET', counter)
  if not used then return {0, 2} end
  if tonumber(used) >= most then
    return {math.max(redis.call('PTTL', counter), 1) * 1000, 1}
  end
end
local wait = 0
if interval > 0 then
  if KEYS[4] then
    local dispatch = tonumber(redis.call('GET', KEYS[4]) or '0')
    if dispatch < now then interval = tonumber(ARGV[5]) end
  end
  local tat = tonumber(redis.call('GET', KEYS[2]) or '0')
  if tat < now then tat = now end
  wait = tat - now
  if wait > longest then return {wait, 1} end
  redis.call('SET', KEYS[2], string.format('%.0f', tat + interval), 'PX', math.ceil((wait + interval) / 1000) + 1000)
end
if most > 0 then redis.call('INCR', counter) end
return {wait, 0}
`)

// Wait takes a slot for dispatch and sleeps until it. See [Limiter].
func (l *RedisLimiter) Wait(ctx context.Context, p Provider, atMost time.Duration) (time.Duration, error) {
	return l.wait(ctx, p, ClassDispatch, atMost)
}

func (l *RedisLimiter) wait(ctx context.Context, p Provider, class Class, atMost time.Duration) (time.Duration, error) {
	limits := l.limits[p]
	if len(limits) == 0 {
		return 0, nil
	}
	rate, day := 1.0, 1.0 // shares
	if p == ProviderCheckout {
		if rate = 1 - dispatchShare; class == ClassDispatch {
			rate, day = dispatchShare, dispatchShare
		}
		if class == ClassAmend {
			atMost = min(atMost, amendQueue)
		}
		if class == ClassReconcile {
			atMost = 0
		}
	}
	var interval, alone time.Duration
	most, period := int64(0), time.Duration(0)
	for _, x := range limits {
		if x.Per < time.Hour {
			interval = max(interval, time.Duration(float64(x.Per)/(float64(x.N)*rate)))
			alone = max(alone, x.Per/time.Duration(x.N))
		} else {
			if most, period = int64(float64(x.N)*day), x.Per; class == ClassReconcile {
				most = int64(float64(x.N) * l.setFree(period))
			}
		}
	}
	keys := l.keys(p, period)
	if p == ProviderCheckout && class != ClassDispatch {
		keys = []string{keys[0], keys[1] + ":rest", keys[2], keys[1]}
	}
	for range 3 {
		answer, err := takeSlot.Run(ctx, l.rdb, keys, interval.Microseconds(), atMost.Microseconds(), most, period.Microseconds(),
			alone.Microseconds()).Int64Slice()
		if err != nil {
			return 0, fmt.Errorf("take a slot: %w", err)
		}
		wait := time.Duration(answer[0]) * time.Microsecond
		switch answer[1] {
		case 1:
			if class == ClassReconcile { // more of the day may be free before its end
				wait = min(wait, setFreeEvery)
			}
			return max(wait, time.Millisecond), nil
		case 2:
			if err := l.seed(ctx, p, period); err != nil {
				return 0, err
			}
			continue
		}
		return 0, sleep(ctx, wait)
	}
	return 0, errors.New("the period's counter cannot be kept in Redis")
}

// keys share one hash tag, so that a cluster keeps them together.
func (l *RedisLimiter) keys(p Provider, period time.Duration) []string {
	base := "dunlin:{limit:" + string(p) + "}:"
	return []string{base + "pause", base + "pace", base + "count:" + strconv.FormatInt(l.periodStart(period).Unix(), 10)}
}

func (l *RedisLimiter) periodStart(period time.Duration) time.Time {
	if period <= 0 {
		return time.Unix(0, 0)
	}
	return l.now().UTC().Truncate(period)
}

// setFreeEvery is how soon reconciling may ask again when it has used what was free.
const setFreeEvery = 10 * time.Minute

// setFree is the share of a period's calls that may have been made by now for reconciling to make one more.
func (l *RedisLimiter) setFree(period time.Duration) float64 {
	gone := float64(l.now().Sub(l.periodStart(period))) / float64(period)
	return reconcileAtOnce + (reconcileShare-reconcileAtOnce)*gone
}

// seed starts the period's counter from the ledger, which remembers what a flushed Redis does not.
func (l *RedisLimiter) seed(ctx context.Context, p Provider, period time.Duration) error {
	var used int64
	if l.used != nil {
		var err error
		if used, err = l.used(ctx, p); err != nil {
			return fmt.Errorf("read what is used of the limit: %w", err)
		}
	}
	left := l.periodStart(period).Add(period).Sub(l.now())
	return l.rdb.SetNX(ctx, l.keys(p, period)[2], used, left).Err()
}

// Pause keeps everybody from calling p for d.
func (l *RedisLimiter) Pause(ctx context.Context, p Provider, d time.Duration) error {
	return l.rdb.Set(ctx, l.keys(p, 0)[0], 1, d).Err()
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
