package batchfile

import (
	"fmt"
	"net/mail"
	"slices"
	"strings"

	"dunlin/paylink"
)

// reach fills in addresses, country and routes: how the payer is to be reached.
func (c *checker) reach(r *paylink.Row, rec *record) {
	before := len(c.problems)
	r.Email = c.email(rec.Email)
	region := r.Country
	if region == "" {
		region = c.defaults.Country
	}
	phone := c.phone(rec.Phone, region)
	r.Phone = phone.e164
	if r.Country == "" {
		// A foreign number says more about where a payer is than the merchant's default does.
		if r.Country = phone.region; r.Country == "" {
			r.Country = c.defaults.Country
		}
	}
	routes := c.wanted(r.Email, rec)
	if len(c.problems) > before {
		return // a bad address is told already; that its channel then has none is no news
	}
	r.Routes = c.usable(routes, r.Email != "", phone)
}

// wanted are the routes that the row asks for: by its channels cell, else by Ottu's flags, else by default.
func (c *checker) wanted(email string, rec *record) paylink.Routes {
	if cell := strings.TrimSpace(rec.Channels); cell != "" {
		routes, seen := c.routes[cell]
		if !seen {
			var err error
			if routes, err = paylink.ParseRoutes(cell); err != nil {
				c.fail("channels", "channels", "the channels cannot be read",
					"use email, sms and whatsapp once each; + sends both, > means else, as in email+whatsapp>sms")
				return nil
			}
			if len(c.routes) < cacheSize {
				c.routes[cell] = routes
			}
		}
		return routes
	}
	if strings.TrimSpace(rec.EmailNotification+rec.SMSNotification+rec.WhatsAppNotification) == "" {
		return c.defaults.Routes
	}
	var routes paylink.Routes
	for _, flag := range []struct {
		column, cell string
		channel      paylink.Channel
	}{
		{"email_notification", rec.EmailNotification, paylink.Email},
		{"whatsapp_notification", rec.WhatsAppNotification, paylink.WhatsApp},
		{"sms_notification", rec.SMSNotification, paylink.SMS},
	} {
		on, ok := yes(flag.cell)
		if !ok {
			c.fail("channels", flag.column, flag.column+" is neither TRUE nor FALSE", "write TRUE or FALSE")
			return nil
		}
		// Ottu's file has no flag for email: an address is enough.
		if flag.channel == paylink.Email && strings.TrimSpace(flag.cell) == "" {
			on = email != ""
		}
		if on {
			routes = append(routes, paylink.Route{flag.channel})
		}
	}
	return routes
}

// usable takes channels without an address out of the routes. The routes given are shared between rows and not changed.
func (c *checker) usable(routes paylink.Routes, email bool, phone phone) paylink.Routes {
	if len(routes) == 0 {
		c.fail("channels", "channels", "no channel is asked for", "name at least one of email, sms and whatsapp, or set a default")
		return nil
	}
	lacks := func(ch paylink.Channel) bool {
		if ch == paylink.Email {
			return !email
		}
		return !phone.textable
	}
	if !slices.ContainsFunc(routes, func(r paylink.Route) bool { return slices.ContainsFunc(r, lacks) }) {
		return routes
	}
	var left paylink.Routes
	for _, route := range routes {
		kept := slices.DeleteFunc(slices.Clone(route), lacks)
		switch {
		case len(kept) > 0:
			left = append(left, kept)
		case route[0] == paylink.Email:
			c.fail("address", "email", "there is no email address for the channel email", "add the address, or take the channel out")
		case phone.e164 != "":
			c.fail("address", "phone", fmt.Sprintf("the phone number is a landline or a special one, which takes no %s", route[0]), "give a mobile number, or take the channel out")
		default:
			c.fail("address", "phone", fmt.Sprintf("there is no phone number for the channel %s", route[0]), "add the number, or take the channel out")
		}
	}
	return left
}

// email checks a mailbox and brings its domain into lower-case ASCII form. Mail goes to one address only, so names,
// comments, groups and lists are refused; so are local parts beyond ASCII, which few mail servers deliver to.
func (c *checker) email(s string) string {
	s = strings.TrimSpace(dropMarks(s))
	if s == "" {
		return ""
	}
	const hint = "write one plain address such as name@example.com"
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at == len(s)-1 {
		c.fail("email", "email", "the email address is not complete", hint)
		return ""
	}
	local := s[:at]
	domain, ok := c.domain(s[at+1:])
	if !ok {
		c.fail("email", "email", "the email address has an impossible domain", hint)
		return ""
	}
	address := local + "@" + domain
	switch parsed, err := mail.ParseAddress(address); {
	case !isASCII(local):
		c.fail("email", "email", "the email address has characters beyond ASCII before the @", "use an address in Latin letters")
	case err != nil || parsed.Address != address || parsed.Name != "" || strings.ContainsAny(local, `"\<>() `):
		c.fail("email", "email", "the email address cannot be read", hint)
	case len(local) > 64 || len(address) > 254:
		c.fail("email", "email", "the email address is too long", hint)
	default:
		return address
	}
	return ""
}

// domain gives the A-label form of a mail domain.
func (c *checker) domain(s string) (string, bool) {
	if ascii, seen := c.domains[s]; seen {
		return ascii, ascii != ""
	}
	ascii, err := c.idna.ToASCII(s)
	last := ascii[strings.LastIndexByte(ascii, '.')+1:]
	if err != nil || !strings.Contains(ascii, ".") || strings.HasSuffix(ascii, ".") || strings.Trim(last, "0123456789") == "" {
		ascii = "" // a bare host, or an IP address
	}
	if len(c.domains) < cacheSize {
		c.domains[s] = ascii
	}
	return ascii, ascii != ""
}

// dropMarks removes what cannot be seen but is copied along, from Arabic text above all: direction marks and
// zero-width characters.
func dropMarks(s string) string {
	if isASCII(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '\u200b' && r <= '\u200f', r >= '\u202a' && r <= '\u202e', r >= '\u2060' && r <= '\u2069', r == '\u061c', r == '\ufeff':
			return -1
		}
		return r
	}, s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
