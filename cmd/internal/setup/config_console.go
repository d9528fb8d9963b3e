package setup

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"dunlin/paylink"
)

// Span is a time from a second to a day, or none. Its text is "10m".
type Span time.Duration

// UnmarshalText reads the text's form.
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil || d != 0 && (d < time.Second || d > 24*time.Hour) {
		return fmt.Errorf("%q is not a time such as 30s or 10m, of a day at most", text)
	}
	*s = Span(d)
	return nil
}

// String writes what UnmarshalText reads; "" for none.
func (s Span) String() string {
	if s == 0 {
		return ""
	}
	return time.Duration(s).String()
}

// Above is from when on something is large: so many requests, or so much money of a currency, whichever is reached first.
// Its text is "1000 requests,5000 KWD,15000 USD".
type Above struct {
	Requests int64
	Sums     map[string]int64 // minor units by currency
}

// UnmarshalText reads the text's form.
func (a *Above) UnmarshalText(text []byte) error {
	read := Above{Sums: map[string]int64{}}
	for item := range strings.SplitSeq(string(text), ",") {
		item = strings.TrimSpace(item)
		bad := fmt.Errorf("%q is neither a number of requests such as 1000 requests nor a sum such as 5000 KWD", item)
		amount, unit, ok := strings.Cut(item, " ")
		if !ok {
			return bad
		}
		if unit == "requests" {
			n, err := strconv.ParseInt(amount, 10, 64)
			if err != nil || n < 1 || read.Requests != 0 {
				return bad
			}
			read.Requests = n
			continue
		}
		m, err := paylink.ParseMoney(amount, unit, paylink.NumberPlain)
		if _, twice := read.Sums[unit]; err != nil || twice {
			return bad
		}
		read.Sums[unit] = m.Minor
	}
	*a = read
	return nil
}

// String writes what UnmarshalText reads; "" for never.
func (a Above) String() string {
	var items []string
	if a.Requests > 0 {
		items = append(items, fmt.Sprintf("%d requests", a.Requests))
	}
	for _, code := range slices.Sorted(maps.Keys(a.Sums)) {
		items = append(items, paylink.Money{Minor: a.Sums[code], Currency: code}.String())
	}
	return strings.Join(items, ",")
}
