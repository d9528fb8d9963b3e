package intake

import (
	"time"

	"dunlin/paylink"
)

// Limit allows N calls in each span of Per, over all processes.
type Limit struct {
	N   int
	Per time.Duration
}

// checkoutName is the payment provider among the keys of [Settings.Limits]; the others are the channels.
const checkoutName = "checkout"

// Dispatch may use 4/5 of the payment provider's limits, the rest is kept for payers' clicks; so n calls take as long
// as 5/4 of them would.
const shareNum, shareDen = 5, 4

// finish is the time that n calls take under the limits, begun at now. Spans below an hour are spaced evenly; longer ones
// are used up as fast as the others allow, and then waited out.
func finish(now time.Time, n int64, limits []Limit) time.Duration {
	if n <= 0 {
		return 0
	}
	var interval time.Duration
	for _, l := range limits {
		if l.N > 0 && l.Per < time.Hour {
			interval = max(interval, l.Per/time.Duration(l.N))
		}
	}
	longest := time.Duration(n) * interval
	for _, l := range limits {
		if l.N <= 0 || l.Per < time.Hour {
			continue
		}
		// The span's rest counts as a whole one: how much of it is used is known only when sending begins.
		spans := (n - 1) / int64(l.N)
		if spans == 0 {
			continue
		}
		wait := now.UTC().Truncate(l.Per).Add(time.Duration(spans) * l.Per).Sub(now)
		longest = max(longest, wait+time.Duration(n-spans*int64(l.N))*interval)
	}
	return longest
}

func (t *tally) finish(s Settings) Finish {
	var f Finish
	slowest := func(name string, d time.Duration) {
		// Rounded up: a plan should not promise more than it can keep.
		if secs := int64((d + time.Second - 1) / time.Second); secs > f.Seconds || f.Slowest == "" {
			f = Finish{secs, name}
		}
	}
	slowest(checkoutName, finish(s.Now, t.good*shareNum/shareDen, s.Limits[checkoutName]))
	for _, ch := range paylink.Channels {
		slowest(string(ch), finish(s.Now, t.first(ch), s.Limits[string(ch)]))
	}
	return f
}
