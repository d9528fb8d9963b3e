package setup

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	_ "time/tzdata" // the container image has no zone files, and a machine's may be old

	"golang.org/x/text/language"

	"dunlin/paylink"
)

// rules are what a variable's text must keep beyond what its type holds, by name. What two variables need of each other
// depends on the program and stands in the Need methods.
func rules() map[string]func(string) error {
	return map[string]func(string) error{
		"DUNLIN_DATABASE_URL":     databaseURL,
		"DUNLIN_REDIS_URL":        schemes("redis", "rediss", "redis-sentinel", "redis-cluster"),
		"DUNLIN_LISTEN":           hostPort,
		"DUNLIN_WORKER_LISTEN":    hostPort,
		"DUNLIN_PUBLIC_URL":       webURL,
		"DUNLIN_OTTU_URL":         webURL,
		"DUNLIN_OTTU_SDK_URL":     webURL,
		"DUNLIN_TWILIO_URL":       webURL,
		"DUNLIN_SMTP_URL":         schemes("smtp", "smtps"),
		"DUNLIN_MAIL_FROM":        mailbox,
		"DUNLIN_BOUNCE_ADDRESS":   bounceAddress,
		"DUNLIN_BOUNCE_LISTEN":    bounceListen,
		"DUNLIN_LINK_KEY":         longKey,
		"DUNLIN_DEFAULT_CURRENCY": currencyCode,
		"DUNLIN_DEFAULT_COUNTRY":  countryCode,
		"DUNLIN_DEFAULT_LANGUAGE": oneOf("en", "ar"),
		"DUNLIN_ADMIN_ALERT":      alertTarget,
		"DUNLIN_LOG_FORMAT":       oneOf("text", "json"),
		"DUNLIN_ATTACHMENTS":      oneOf("attach", "link"),
	}
}

// NeedCheckout returns an error that names what is missing for making payment links, one variable a line.
func (c Config) NeedCheckout() error {
	return missing("making payment links",
		need{"DUNLIN_OTTU_URL", c.OttuURL != ""},
		need{"DUNLIN_OTTU_API_KEY", c.OttuAPIKey != ""},
		need{"DUNLIN_OTTU_PG_CODES", len(c.OttuPGCodes) > 0})
}

// NeedServer returns an error that names what is missing for the payment pages, one variable a line.
func (c Config) NeedServer() error {
	return errors.Join(c.NeedCheckout(), missing("the payment pages",
		need{"DUNLIN_PUBLIC_URL", c.PublicURL != ""},
		need{"DUNLIN_MERCHANT_NAME", c.MerchantName != ""}),
		missing("saved cards", need{"DUNLIN_OTTU_PUBLIC_KEY", c.OttuPublicKey != "" || !c.SavedCards}))
}

// NeedChannels returns an error that names what is missing for sending by the channels, one variable a line.
func (c Config) NeedChannels(chs ...paylink.Channel) error {
	var errs []error
	for _, ch := range chs {
		// A request for money that does not say whose it is must not go out.
		needs := []need{{"DUNLIN_MERCHANT_NAME", c.MerchantName != ""}}
		switch ch {
		case paylink.Email:
			needs = append(needs, need{"DUNLIN_SMTP_URL", c.SMTPURL != ""}, need{"DUNLIN_MAIL_FROM", c.MailFrom != ""})
		case paylink.SMS:
			needs = append(needs, c.twilio(), need{"TWILIO_AUTH_TOKEN", c.TwilioAuthToken != ""},
				need{"DUNLIN_SMS_FROM", c.SMSFrom != ""})
		case paylink.WhatsApp:
			needs = append(needs, c.twilio(), need{"TWILIO_AUTH_TOKEN", c.TwilioAuthToken != ""},
				need{"DUNLIN_WHATSAPP_FROM", c.WhatsAppFrom != ""},
				need{"DUNLIN_WHATSAPP_TEMPLATES", c.WhatsAppTemplates.Has(paylink.PurposeLink)})
		default:
			errs = append(errs, fmt.Errorf("%w: there is no channel %q", paylink.ErrInvalid, ch))
			continue
		}
		errs = append(errs, missing("sending by "+string(ch), needs...))
	}
	return errors.Join(errs...)
}

func (c Config) twilio() need { return need{"TWILIO_ACCOUNT_SID", c.TwilioAccountSID != ""} }

// need is one variable that something cannot do without.
type need struct {
	name string
	met  bool
}

func missing(purpose string, needs ...need) error {
	var errs []error
	for _, n := range needs {
		if !n.met {
			errs = append(errs, fmt.Errorf("%s: is required for %s", n.name, purpose))
		}
	}
	return errors.Join(errs...)
}

// The rules below never quote the value they refuse where it may hold a password: not even by way of url.Parse, whose
// error repeats the whole address.

func schemes(allowed ...string) func(string) error {
	return func(value string) error {
		u, err := url.Parse(value)
		switch {
		case err != nil:
			return errors.New("is not an address (special characters of a password are written as %XX)")
		case !slices.Contains(allowed, u.Scheme):
			return fmt.Errorf("must begin with %s://", strings.Join(allowed, ":// or "))
		case u.Host == "":
			return errors.New("has no host")
		}
		return nil
	}
}

func databaseURL(value string) error {
	if path, ok := strings.CutPrefix(value, "sqlite:"); ok {
		if path == "" {
			return errors.New("names no file: write sqlite:PATH")
		}
		return nil
	}
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return errors.New("is not an address (special characters of a password are written as %XX)")
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		return errors.New("must begin with sqlite: or postgres://")
	case u.Host == "" && u.Query().Get("host") == "":
		return errors.New("has no host")
	}
	return nil
}

// webURL takes https everywhere and http on this machine only, because keys and payers' data go over it.
func webURL(value string) error {
	if err := schemes("https", "http")(value); err != nil {
		return err
	}
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return err
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return errors.New("must begin with https:// (http:// is for this machine only)")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("must be a plain address, without user, query or fragment")
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func hostPort(value string) error {
	if _, port, err := net.SplitHostPort(value); err != nil || port == "" {
		return fmt.Errorf("%q is not HOST:PORT", value)
	}
	return nil
}

func mailbox(value string) error {
	if _, err := mail.ParseAddress(value); err != nil {
		return fmt.Errorf("%q is not an email address such as Name <mailbox@host>", value)
	}
	return nil
}

func alertTarget(value string) error {
	// The address of a chat's webhook is the key to it, so it is not quoted.
	u, err := url.Parse(value)
	if err == nil && u.Scheme == "https" && u.Host != "" {
		return nil
	}
	if _, err := mail.ParseAddress(value); err != nil {
		return errors.New("is neither an email address nor an https:// address")
	}
	return nil
}

func currencyCode(value string) error {
	if !paylink.KnownCurrency(value) {
		return fmt.Errorf("%q is not an ISO 4217 code such as KWD", value)
	}
	return nil
}

func countryCode(value string) error {
	region, err := language.ParseRegion(value)
	if err != nil || !region.IsCountry() || region.String() != value {
		return fmt.Errorf("%q is not an ISO 3166-1 code of two capital letters such as KW", value)
	}
	return nil
}

func oneOf(allowed ...string) func(string) error {
	return func(value string) error {
		if !slices.Contains(allowed, value) {
			return fmt.Errorf("%q is not %s", value, strings.Join(allowed, " or "))
		}
		return nil
	}
}
