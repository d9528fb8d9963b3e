package batchfile

import (
	"strconv"
	"strings"
	"time"

	"dunlin/paylink"
)

// dueDate reads 2027-01-31 and 31/01/2027, with - / or . between; a midnight behind it, as databases export it, is
// dropped.
func (c *checker) dueDate(s string) string {
	s = strings.TrimSpace(paylink.LatinDigits(s))
	if s == "" {
		return ""
	}
	day, err := parseDate(s)
	switch {
	case err != nil:
		c.fail("due_date", "due_date", "due_date is not a date", "write year first (2027-01-31) or day first (31/01/2027)")
	case !c.now.IsZero() && (day.Before(c.now.AddDate(-10, 0, 0)) || day.After(c.now.AddDate(10, 0, 0))):
		c.fail("due_date", "due_date", "the due date is more than ten years away", "check the year")
	}
	return day.Format(time.DateOnly)
}

func parseDate(s string) (time.Time, error) {
	for _, midnight := range []string{" 00:00:00", "T00:00:00Z", "T00:00:00", " 00:00"} {
		if rest, ok := strings.CutSuffix(s, midnight); ok {
			s = rest
			break
		}
	}
	i := strings.IndexAny(s, "-/.")
	if i < 0 {
		return time.Time{}, paylink.ErrInvalid
	}
	parts := strings.Split(s, s[i:i+1])
	if len(parts) != 3 {
		return time.Time{}, paylink.ErrInvalid
	}
	if len(parts[0]) != 4 {
		parts[0], parts[2] = parts[2], parts[0]
	}
	var n [3]int
	for i, p := range parts {
		if (i == 0 && len(p) != 4) || (i > 0 && len(p) > 2) {
			return time.Time{}, paylink.ErrInvalid
		}
		v, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return time.Time{}, err
		}
		n[i] = int(v)
	}
	day := time.Date(n[0], time.Month(n[1]), n[2], 0, 0, 0, 0, time.UTC)
	if day.Year() != n[0] || int(day.Month()) != n[1] || day.Day() != n[2] {
		return time.Time{}, paylink.ErrInvalid // 31 April
	}
	return day, nil
}

// Bounds of expires_in: below five minutes nobody can pay, and no provider keeps a link for more than a year.
const (
	minExpiry = 5 * time.Minute
	maxExpiry = 365 * 24 * time.Hour
)

// expiry reads "36h", "90m", "7d" and "1d12h".
func (c *checker) expiry(s string) time.Duration {
	s = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(paylink.LatinDigits(s)), " ", ""))
	if s == "" {
		return 0
	}
	d, err := parseExpiry(s)
	switch {
	case err != nil:
		c.fail("expires_in", "expires_in", "expires_in is not a duration", "write a number and a unit: 7d, 36h or 90m")
	case d < minExpiry || d > maxExpiry:
		c.fail("expires_in", "expires_in", "expires_in is out of bounds", "from 5m to 365d is possible")
	}
	return d
}

func parseExpiry(s string) (time.Duration, error) {
	var days time.Duration
	if n, rest, ok := strings.Cut(s, "d"); ok {
		v, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, err
		}
		days = time.Duration(v) * 24 * time.Hour
		if s = rest; s == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, paylink.ErrInvalid
	}
	return days + d, nil
}
