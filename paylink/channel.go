package paylink

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Channel is a way to reach a payer.
type Channel string

// The channels.
const (
	Email    Channel = "email"
	SMS      Channel = "sms"
	WhatsApp Channel = "whatsapp"
)

// Channels lists every channel, in the order in which plans and reports show them.
var Channels = []Channel{Email, SMS, WhatsApp}

// Route is a chain of channels, each tried only when the one before failed for certain: "whatsapp>sms".
type Route []Channel

// Routes are the routes of a row, all of them used: "email+whatsapp>sms" is an email, and a WhatsApp message that falls
// back to SMS. A channel occurs at most once.
type Routes []Route

// ParseRoutes reads the channels column. "+", ",", ";", "|" and blanks separate routes, ">" means "else", with or without
// blanks around it.
func ParseRoutes(s string) (Routes, error) {
	var routes Routes
	var seen []Channel
	steps := strings.Split(strings.ToLower(s), ">")
	for i, step := range steps {
		steps[i] = strings.TrimSpace(step)
	}
	for part := range strings.FieldsFuncSeq(strings.Join(steps, ">"), separatesRoutes) {
		var route Route
		for name := range strings.SplitSeq(part, ">") {
			c := Channel(name)
			if !slices.Contains(Channels, c) {
				return nil, fmt.Errorf("channel %q is not one of email, sms, whatsapp: %w", name, ErrInvalid)
			}
			if slices.Contains(seen, c) {
				return nil, fmt.Errorf("channel %q is named twice: %w", name, ErrInvalid)
			}
			seen = append(seen, c)
			route = append(route, c)
		}
		routes = append(routes, route)
	}
	if len(routes) == 0 {
		return nil, fmt.Errorf("no channel is named: %w", ErrInvalid)
	}
	return routes, nil
}

func separatesRoutes(r rune) bool { return strings.ContainsRune("+,;|", r) || unicode.IsSpace(r) }

func (rs Routes) String() string {
	var b strings.Builder
	for i, r := range rs {
		if i > 0 {
			b.WriteByte('+')
		}
		for j, c := range r {
			if j > 0 {
				b.WriteByte('>')
			}
			b.WriteString(string(c))
		}
	}
	return b.String()
}

// Next is the channel that follows c on its route; ok is false at the route's end.
func (rs Routes) Next(c Channel) (next Channel, ok bool) {
	for _, r := range rs {
		if i := slices.Index(r, c); i >= 0 && i+1 < len(r) {
			return r[i+1], true
		}
	}
	return "", false
}

// Uses reports whether any route names c.
func (rs Routes) Uses(c Channel) bool {
	return slices.ContainsFunc(rs, func(r Route) bool { return slices.Contains(r, c) })
}

// Describe says in words how the routes were read, for the plan that a person confirms.
func (rs Routes) Describe() string {
	words := make([]string, len(rs))
	for i, r := range rs {
		names := make([]string, len(r))
		for j, c := range r {
			names[j] = string(c)
		}
		words[i] = strings.Join(names, ", else ")
	}
	return strings.Join(words, "; and ")
}

// MarshalText writes the column's form.
func (rs Routes) MarshalText() ([]byte, error) { return []byte(rs.String()), nil }

// UnmarshalText reads the column's form.
func (rs *Routes) UnmarshalText(b []byte) (err error) { *rs, err = ParseRoutes(string(b)); return err }
