package intake

import (
	"fmt"
	"strings"
	"time"

	"dunlin/paylink"
)

// Given is what somebody who sends a file says about how to read it, as they wrote it; empty = the configuration's.
type Given struct {
	Currency, Country, Language, Timezone, Channels string
	NumberFormat, Delimiter, Encoding, Sheet        string
	AllowRepeat                                     bool
}

// GivenError says what of a Given cannot be meant. Field is its name in JSON.
type GivenError struct{ Field, Value, Reason string }

func (e *GivenError) Error() string { return fmt.Sprintf("%s %s %s", e.Field, e.Value, e.Reason) }

// Unwrap makes errors.Is(err, paylink.ErrInvalid) hold.
func (e *GivenError) Unwrap() error { return paylink.ErrInvalid }

// Over puts what is given over the defaults. Its error is a [*GivenError].
func (g Given) Over(r Reading) (Reading, error) {
	set := func(to *string, value string) {
		if value != "" {
			*to = value
		}
	}
	set(&r.Currency, strings.ToUpper(g.Currency))
	set(&r.Country, strings.ToUpper(g.Country))
	set(&r.Language, g.Language)
	set(&r.Timezone, g.Timezone)
	set(&r.Delimiter, g.Delimiter)
	set(&r.Encoding, g.Encoding)
	set(&r.Sheet, g.Sheet)
	r.AllowRepeat = r.AllowRepeat || g.AllowRepeat
	if g.NumberFormat != "" {
		r.NumberFormat = paylink.NumberFormat(g.NumberFormat)
	}
	switch r.NumberFormat {
	case paylink.NumberPlain, paylink.NumberPoint, paylink.NumberComma:
	default:
		return r, &GivenError{"number_format", g.NumberFormat, "is neither '1,234.5' nor '1.234,5'"}
	}
	if g.Channels != "" {
		routes, err := paylink.ParseRoutes(g.Channels)
		if err != nil {
			return r, &GivenError{"channels", g.Channels, "is not understood: " + strings.TrimSuffix(err.Error(), ": "+paylink.ErrInvalid.Error())}
		}
		r.Routes = routes
	}
	if _, err := time.LoadLocation(r.Timezone); err != nil {
		return r, &GivenError{"timezone", r.Timezone, "is not an IANA time zone such as Asia/Kuwait"}
	}
	return r, nil
}
