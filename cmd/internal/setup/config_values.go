package setup

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"dunlin/jobs"
	"dunlin/paylink"
)

const redacted = "[redacted]"

// Secret is a value that must not be shown. However it is printed, logged or marshaled, a placeholder appears; whoever
// needs the value converts it: string(s).
type Secret string

// Format writes the placeholder for every verb, %d and %#v included, for which a String method would not be asked.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// String is the placeholder, or "" when the secret is unset.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// LogValue is the placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is the placeholder; JSON is made by it too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text as it is.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}

// Limits all hold at once. Their text is "10/s,90000/d", shortest span first, each span at most once.
type Limits []jobs.Limit

// limitUnits are the spans of a limit by their letter.
var limitUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// UnmarshalText reads the text's form.
func (ls *Limits) UnmarshalText(text []byte) error {
	var read Limits
	for item := range strings.SplitSeq(string(text), ",") {
		item = strings.TrimSpace(item)
		number, unit, _ := strings.Cut(item, "/")
		// Atoi would also take a sign; the bound keeps sums of tokens far from overflow.
		n, err := strconv.ParseUint(number, 10, 30)
		per, ok := limitUnits[unit]
		if err != nil || n == 0 || !ok {
			return fmt.Errorf("%q is not a limit: write N/s, N/m, N/h or N/d", item)
		}
		if slices.ContainsFunc(read, func(l jobs.Limit) bool { return l.Per == per }) {
			return fmt.Errorf("%q: there is more than one limit of this span", item)
		}
		read = append(read, jobs.Limit{N: int(n), Per: per})
	}
	slices.SortFunc(read, func(a, b jobs.Limit) int { return cmp.Compare(a.Per, b.Per) })
	*ls = read
	return nil
}

// String writes what UnmarshalText reads.
func (ls Limits) String() string {
	items := make([]string, len(ls))
	for i, l := range ls {
		for unit, per := range limitUnits {
			if per == l.Per {
				items[i] = strconv.Itoa(l.N) + "/" + unit
			}
		}
	}
	return strings.Join(items, ",")
}

// Policies are the policy of each channel. Their text is "email=resend_once,sms=hold".
type Policies map[paylink.Channel]jobs.UnknownPolicy

// UnmarshalText reads the text's form on top of what is there: a channel that it leaves out keeps its policy.
func (ps *Policies) UnmarshalText(text []byte) error {
	read := Policies{}
	for item := range strings.SplitSeq(string(text), ",") {
		item = strings.TrimSpace(item)
		name, word, _ := strings.Cut(item, "=")
		ch, policy := paylink.Channel(name), jobs.UnknownPolicy(word)
		if !slices.Contains(paylink.Channels, ch) || policy != jobs.ResendOnce && policy != jobs.Hold {
			return fmt.Errorf("%q is not CHANNEL=resend_once or CHANNEL=hold", item)
		}
		if _, twice := read[ch]; twice {
			return fmt.Errorf("%q: the channel has a policy already", item)
		}
		read[ch] = policy
	}
	merged := Policies{}
	maps.Copy(merged, *ps)
	maps.Copy(merged, read)
	*ps = merged
	return nil
}

// String writes what UnmarshalText reads, in the order of paylink.Channels.
func (ps Policies) String() string {
	var items []string
	for _, ch := range paylink.Channels {
		if p, ok := ps[ch]; ok {
			items = append(items, string(ch)+"="+string(p))
		}
	}
	return strings.Join(items, ",")
}

// ContentKey names a WhatsApp template by what it is for and in which language.
type ContentKey struct{ Purpose, Language string }

// ContentSIDs are the approved WhatsApp templates. Their text is "link:en=HXaaa,link:ar=HXbbb".
type ContentSIDs map[ContentKey]string

// UnmarshalText reads the text's form.
func (cs *ContentSIDs) UnmarshalText(text []byte) error {
	read := ContentSIDs{}
	for item := range strings.SplitSeq(string(text), ",") {
		item = strings.TrimSpace(item)
		key, sid, _ := strings.Cut(item, "=")
		purpose, language, _ := strings.Cut(key, ":")
		if !word(purpose) || !word(language) || !word(sid) || !strings.HasPrefix(sid, "HX") {
			return fmt.Errorf("%q is not PURPOSE:LANGUAGE=HX…", item)
		}
		k := ContentKey{Purpose: purpose, Language: language}
		if _, twice := read[k]; twice {
			return fmt.Errorf("%q: this purpose has a template in this language already", item)
		}
		read[k] = sid
	}
	*cs = read
	return nil
}

// Has reports whether there is a template of the purpose in any language.
func (cs ContentSIDs) Has(purpose string) bool {
	for k := range cs {
		if k.Purpose == purpose {
			return true
		}
	}
	return false
}

// String writes what UnmarshalText reads, sorted.
func (cs ContentSIDs) String() string {
	items := make([]string, 0, len(cs))
	for k, sid := range cs {
		items = append(items, k.Purpose+":"+k.Language+"="+sid)
	}
	slices.Sort(items)
	return strings.Join(items, ",")
}

// word reports whether s is made of letters, digits, - and _ only, and is not empty.
func word(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// Price is what one unit costs, in millionths of the currency's major unit: a segment costs less than the smallest coin,
// so paylink.Money cannot hold it. The zero Price means unknown. Its text is "0.045 USD".
type Price struct {
	Micros   int64
	Currency string
}

// UnmarshalText reads the text's form: at most six decimals, less than a million.
func (p *Price) UnmarshalText(text []byte) error {
	bad := fmt.Errorf("%q is not a price such as 0.045 USD", text)
	number, code, ok := strings.Cut(string(text), " ")
	if !ok || !paylink.KnownCurrency(code) {
		return bad
	}
	whole, fraction, point := strings.Cut(number, ".")
	if len(fraction) > 6 || point && fraction == "" || len(whole) > 6 || whole == "" {
		return bad
	}
	micros, err := strconv.ParseUint(whole+fraction+strings.Repeat("0", 6-len(fraction)), 10, 62)
	if err != nil || micros == 0 {
		return bad
	}
	*p = Price{Micros: int64(micros), Currency: code}
	return nil
}

// String writes what UnmarshalText reads; "" for the zero Price.
func (p Price) String() string {
	if p.Micros == 0 {
		return ""
	}
	number := fmt.Sprintf("%d.%06d", p.Micros/1_000_000, p.Micros%1_000_000)
	return strings.TrimSuffix(strings.TrimRight(number, "0"), ".") + " " + p.Currency
}

// Times is the cost of n units, rounded up to the currency's minor unit. It fails when the price is unknown or the sum
// cannot be counted.
func (p Price) Times(n int64) (paylink.Money, error) {
	digits, ok := paylink.Digits(p.Currency)
	if !ok || p.Micros <= 0 {
		return paylink.Money{}, errors.New("the price is unknown")
	}
	if n < 0 || n > math.MaxInt64/p.Micros {
		return paylink.Money{}, fmt.Errorf("%w: %d units are out of range", paylink.ErrInvalid, n)
	}
	unit := int64(1)
	for range 6 - digits {
		unit *= 10
	}
	minor := n * p.Micros / unit
	if n*p.Micros%unit > 0 {
		minor++
	}
	return paylink.Money{Minor: minor, Currency: p.Currency}, nil
}
