package setup_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/cmd/internal/setup"
	"dunlin/jobs"
	"dunlin/paylink"
)

// env is an environment of its own: getenv for Load, and the names as os.Environ would give them.
type env map[string]string

func (e env) get(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

func (e env) load() (setup.Config, error) {
	var names []string
	for name, value := range e {
		names = append(names, name+"="+value)
	}
	return setup.Load(e.get, names...)
}

// whole is an environment in which everything is given.
func whole() env {
	return env{
		"DUNLIN_DATABASE_URL": "postgres://dunlin:db-pass@db.example/dunlin", "DUNLIN_REDIS_URL": "rediss://:redis-pass@r.example:6380/1",
		"DUNLIN_OTTU_URL": "https://pay.example", "DUNLIN_OTTU_API_KEY": "ottu-key", "DUNLIN_OTTU_PG_CODES": "knet, card",
		"DUNLIN_OTTU_HMAC_KEY": "hmac-key", "DUNLIN_PUBLIC_URL": "https://links.example", "DUNLIN_SMTP_URL": "smtp://u:smtp-pass@mail.example:587",
		"DUNLIN_MAIL_FROM": "Blue Shop <billing@shop.example>", "TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "twilio-token",
		"DUNLIN_SMS_FROM": "BLUESHOP", "DUNLIN_WHATSAPP_FROM": "+96512345678", "DUNLIN_WHATSAPP_TEMPLATES": "link:en=HX1,link:ar=HX2",
		"DUNLIN_ADMIN_ALERT": "https://chat.example/alert-key", "DUNLIN_SAVED_CARDS": "on", "DUNLIN_LOG_LEVEL": "warn",
		"DUNLIN_DEFAULT_TIMEZONE": "Asia/Kuwait", "DUNLIN_DEFAULT_CURRENCY": "KWD", "DUNLIN_DEFAULT_COUNTRY": "KW",
		"DUNLIN_DEFAULT_CHANNELS": "email+whatsapp>sms", "DUNLIN_ON_UNKNOWN": "email=hold", "DUNLIN_RETENTION_DAYS": "365",
		"DUNLIN_SMS_PRICE": "0.045 USD", "DUNLIN_BOUNCE_ADDRESS": "bounces@mail.shop.example", "DUNLIN_BOUNCE_LISTEN": "unix:/run/dunlin/bounces",
		"DUNLIN_LINK_KEY": "link-key-of-some-length", "DUNLIN_LINK_KEY_OLD": "old-key-of-some-length",
	}
}

var allSecrets = []string{"db-pass", "redis-pass", "ottu-key", "hmac-key", "smtp-pass", "twilio-token", "alert-key", "link-key-of-some-length", "old-key-of-some-length"}

func TestDefaults(t *testing.T) {
	c, err := env{}.load()
	if err != nil {
		t.Fatalf("Load of an empty environment: %v", err)
	}
	got := c.String()
	want := `DUNLIN_DATABASE_URL=[redacted]
DUNLIN_REDIS_URL=[redacted]
DUNLIN_LISTEN=127.0.0.1:8080
DUNLIN_UPLOAD_LIMIT=512MiB
DUNLIN_LIMIT_API=20/s
DUNLIN_OTTU_SDK_URL=https://assets.ottu.net/checkout/v3/checkout.min.js
DUNLIN_SAVED_CARDS=off
DUNLIN_LIMIT_CHECKOUT=10/s,90000/d
DUNLIN_LIMIT_EMAIL=10/s
DUNLIN_LIMIT_SMS=3/s
DUNLIN_LIMIT_WHATSAPP=20/s
DUNLIN_DEFAULT_LANGUAGE=en
DUNLIN_DEFAULT_TIMEZONE=UTC
DUNLIN_DEFAULT_CHANNELS=email
DUNLIN_ON_UNKNOWN=email=resend_once,sms=hold,whatsapp=hold
DUNLIN_ATTACHMENTS=attach
DUNLIN_LOG_LEVEL=INFO
DUNLIN_LOG_FORMAT=text
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if c.DatabaseURL != "sqlite:dunlin.db" || c.RedisURL != "redis://127.0.0.1:6379/0" {
		t.Errorf("got database %q and Redis %q", string(c.DatabaseURL), string(c.RedisURL))
	}
}

func TestLoadWhole(t *testing.T) {
	c, err := whole().load()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"gateways", c.OttuPGCodes, []string{"knet", "card"}},
		{"merchant from the sender", c.MerchantName, "Blue Shop"},
		{"templates", c.WhatsAppTemplates, setup.ContentSIDs{{Purpose: "link", Language: "en"}: "HX1", {Purpose: "link", Language: "ar"}: "HX2"}},
		{"policies merge with the default", c.OnUnknown, setup.Policies{paylink.Email: jobs.Hold, paylink.SMS: jobs.Hold, paylink.WhatsApp: jobs.Hold}},
		{"limits", c.LimitCheckout, setup.Limits{{N: 10, Per: time.Second}, {N: 90000, Per: 24 * time.Hour}}},
		{"time zone", c.DefaultTimezone.String(), "Asia/Kuwait"},
		{"channels", c.DefaultChannels, paylink.Routes{{paylink.Email}, {paylink.WhatsApp, paylink.SMS}}},
		{"price", c.SMSPrice, setup.Price{Micros: 45_000, Currency: "USD"}},
		{"saved cards", c.SavedCards, true},
		{"retention", c.RetentionDays, 365},
		{"level", c.LogLevel, slog.LevelWarn},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if err := c.NeedCheckout(); err != nil {
		t.Errorf("NeedCheckout: %v", err)
	}
	if err := c.NeedChannels(paylink.Channels...); err != nil {
		t.Errorf("NeedChannels: %v", err)
	}
}

func TestMistakesAreReportedTogether(t *testing.T) {
	e := whole()
	e["DUNLIN_DATABASE_URL"] = "mysql://u:db-pass@h/x"
	e["DUNLIN_REDIS_URL"] = "redis://:redis-pass%@h"
	e["DUNLIN_OTTU_URL"] = "http://pay.example"
	e["DUNLIN_LIMIT_SMS"] = "fast"
	e["DUNLIN_DEFAULT_TIMEZONE"] = "Kuwait City"
	e["DUNLIN_SMS_FORM"] = "x"
	e["DUNLIN_LISTEN_FILE"] = "x"
	e["DUNLIN_TEST_REDIS_URL"] = "x"
	e["DUNLIN_SOMETHING"] = "x"
	e["TWILIO_AUTH_TOKEN_FILE"] = "/run/secrets/token"
	_, err := e.load()
	want := `DUNLIN_DATABASE_URL: must begin with sqlite: or postgres://
DUNLIN_REDIS_URL: is not an address (special characters of a password are written as %XX)
DUNLIN_OTTU_URL: must begin with https:// (http:// is for this machine only)
TWILIO_AUTH_TOKEN: is set, and TWILIO_AUTH_TOKEN_FILE as well: keep one of them
DUNLIN_LIMIT_SMS: "fast" is not a limit: write N/s, N/m, N/h or N/d
DUNLIN_DEFAULT_TIMEZONE: "Kuwait City" is not an IANA time zone such as Asia/Kuwait
DUNLIN_LISTEN_FILE: only a secret may be given as a file
DUNLIN_SMS_FORM: there is no such variable; did you mean DUNLIN_SMS_FROM?
DUNLIN_SOMETHING: there is no such variable`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

func TestBadValues(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"DUNLIN_DATABASE_URL", "sqlite:", "names no file"},
		{"DUNLIN_DATABASE_URL", "postgres:///x", "has no host"},
		{"DUNLIN_DATABASE_URL", "postgres://u:se%cret@h/x", "is not an address"},
		{"DUNLIN_REDIS_URL", "http://h", "must begin with redis://"},
		{"DUNLIN_REDIS_URL", "redis:///0", "has no host"},
		{"DUNLIN_LISTEN", "8080", "is not HOST:PORT"},
		{"DUNLIN_WORKER_LISTEN", "localhost:", "is not HOST:PORT"},
		{"DUNLIN_PUBLIC_URL", "https://h/?q=1", "must be a plain address"},
		{"DUNLIN_PUBLIC_URL", "https://u@h/", "must be a plain address"},
		{"DUNLIN_TWILIO_URL", "ftp://h", "must begin with https://"},
		{"DUNLIN_TWILIO_URL", "http://127.0.0.1.example", "for this machine only"},
		{"DUNLIN_SMTP_URL", "mail.example:587", "smtp://"},
		{"DUNLIN_MAIL_FROM", "nobody", "is not an email address"},
		{"DUNLIN_OTTU_API_KEY_FILE", "/nowhere/key", "no such file"},
		{"DUNLIN_SAVED_CARDS", "perhaps", "neither on nor off"},
		{"DUNLIN_RETENTION_DAYS", "0", "not a whole number"},
		{"DUNLIN_RETENTION_DAYS", "30d", "not a whole number"},
		{"DUNLIN_DEFAULT_CURRENCY", "kwd", "ISO 4217"},
		{"DUNLIN_DEFAULT_COUNTRY", "KWT", "ISO 3166-1"},
		{"DUNLIN_DEFAULT_COUNTRY", "kw", "ISO 3166-1"},
		{"DUNLIN_DEFAULT_LANGUAGE", "fr", "is not en or ar"},
		{"DUNLIN_DEFAULT_TIMEZONE", "Local", "IANA"},
		{"DUNLIN_DEFAULT_CHANNELS", "fax", "fax"},
		{"DUNLIN_ON_UNKNOWN", "fax=hold", "CHANNEL=hold"},
		{"DUNLIN_ON_UNKNOWN", "sms=retry", "CHANNEL=hold"},
		{"DUNLIN_ON_UNKNOWN", "sms=hold,sms=hold", "already"},
		{"DUNLIN_WHATSAPP_TEMPLATES", "link=HX1", "PURPOSE:LANGUAGE"},
		{"DUNLIN_WHATSAPP_TEMPLATES", "link:en=MG1", "PURPOSE:LANGUAGE"},
		{"DUNLIN_WHATSAPP_TEMPLATES", "link:en=HX1,link:en=HX2", "already"},
		{"DUNLIN_LIMIT_EMAIL", "0/s", "is not a limit"},
		{"DUNLIN_LIMIT_EMAIL", "+5/s", "is not a limit"},
		{"DUNLIN_LIMIT_EMAIL", "5/w", "is not a limit"},
		{"DUNLIN_LIMIT_EMAIL", "5/s,6/s", "more than one"},
		{"DUNLIN_LIMIT_EMAIL", "5/s,", "is not a limit"},
		{"DUNLIN_LIMIT_EMAIL", "9999999999999/s", "is not a limit"},
		{"DUNLIN_SMS_PRICE", "0.045", "is not a price"},
		{"DUNLIN_SMS_PRICE", "0.0000001 USD", "is not a price"},
		{"DUNLIN_SMS_PRICE", "-1 USD", "is not a price"},
		{"DUNLIN_SMS_PRICE", "0 USD", "is not a price"},
		{"DUNLIN_ADMIN_ALERT", "http://chat.example/x", "neither an email address nor"},
		{"DUNLIN_LOG_LEVEL", "loud", "loud"},
		{"DUNLIN_LOG_FORMAT", "xml", "is not text or json"},
	} {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			_, err := env{tt.name: tt.value}.load()
			got := fmt.Sprint(err)
			if !strings.HasPrefix(got, strings.TrimSuffix(tt.name, "_FILE")+": ") || !strings.Contains(got, tt.want) {
				t.Errorf("got error %q, want one of the variable with %q", got, tt.want)
			}
			if strings.Contains(got, "\n") || strings.Contains(got, "cret") {
				t.Errorf("got error %q, want one line without the secret", got)
			}
		})
	}
}

func TestGoodValues(t *testing.T) {
	for _, tt := range []struct{ name, value string }{
		{"DUNLIN_DATABASE_URL", "postgres:///dunlin?host=/run/postgresql"},
		{"DUNLIN_REDIS_URL", "redis-sentinel://a:26379,b:26379/mymaster"},
		{"DUNLIN_REDIS_URL", "redis-cluster://a:7000,b:7000"},
		{"DUNLIN_OTTU_URL", "http://127.0.0.1:8090/ottu"},
		{"DUNLIN_OTTU_URL", "http://[::1]:8090"},
		{"DUNLIN_TWILIO_URL", "http://localhost:8090"},
		{"DUNLIN_SMTP_URL", "smtp://127.0.0.1:1025?tls=none"},
		{"DUNLIN_MAIL_FROM", "متجر <a@shop.example>"},
		{"DUNLIN_LISTEN", ":8080"},
		{"DUNLIN_ADMIN_ALERT", "ops@shop.example"},
		{"DUNLIN_OTTU_API_KEY", ""},
	} {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			if _, err := (env{tt.name: tt.value}).load(); err != nil {
				t.Errorf("got error %v, want none", err)
			}
		})
	}
}

func TestSecretFromFile(t *testing.T) {
	dir := t.TempDir()
	key, empty := filepath.Join(dir, "key"), filepath.Join(dir, "empty")
	for file, content := range map[string]string{key: " k e y\r\n", empty: "\n"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := env{"DUNLIN_OTTU_API_KEY": "", "DUNLIN_OTTU_API_KEY_FILE": key}.load()
	if err != nil || c.OttuAPIKey != " k e y" {
		t.Errorf("got key %q, error %v; want the file's content without its newline", string(c.OttuAPIKey), err)
	}
	if _, err := (env{"DUNLIN_OTTU_API_KEY_FILE": empty}).load(); err == nil {
		t.Error("an empty file was taken as a secret")
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	c, err := whole().load()
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	for _, format := range []string{"json", "text"} {
		c.LogFormat = format
		c.Logger(&logged).Error("configuration", "all", c, "one", c.OttuAPIKey, "pointer", &c.OttuAPIKey)
	}
	asJSON, err := json.Marshal(map[string]any{"all": c, "one": c.OttuAPIKey, "list": []setup.Secret{c.OttuAPIKey}})
	if err != nil {
		t.Fatal(err)
	}
	shown := logged.String() + string(asJSON)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		shown += fmt.Sprintf(verb, c) + fmt.Sprintf(verb, c.OttuAPIKey) + fmt.Sprintf(verb, []any{&c, c.SMTPURL})
	}
	for _, secret := range allSecrets {
		if strings.Contains(shown, secret) || strings.Contains(shown, fmt.Sprintf("%x", secret)) {
			t.Errorf("the secret %q is shown", secret)
		}
	}
	if !strings.Contains(shown, "[redacted]") || !strings.Contains(shown, "knet,card") {
		t.Error("the configuration is not shown at all")
	}
}

func TestNeeds(t *testing.T) {
	c, err := env{"DUNLIN_WHATSAPP_TEMPLATES": "reminder:en=HX1"}.load()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		err  error
		want []string
	}{
		{"checkout", c.NeedCheckout(), []string{"DUNLIN_OTTU_URL", "DUNLIN_OTTU_API_KEY", "DUNLIN_OTTU_PG_CODES"}},
		{"email", c.NeedChannels(paylink.Email), []string{"DUNLIN_MERCHANT_NAME", "DUNLIN_SMTP_URL", "DUNLIN_MAIL_FROM"}},
		{"sms", c.NeedChannels(paylink.SMS), []string{"DUNLIN_MERCHANT_NAME", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "DUNLIN_SMS_FROM"}},
		{"whatsapp", c.NeedChannels(paylink.WhatsApp), []string{"DUNLIN_MERCHANT_NAME", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN",
			"DUNLIN_WHATSAPP_FROM", "DUNLIN_WHATSAPP_TEMPLATES"}},
		{"unknown channel", c.NeedChannels("fax"), []string{"invalid"}},
		{"no channel", c.NeedChannels(), nil},
	} {
		var got []string
		if tt.err != nil {
			for line := range strings.SplitSeq(tt.err.Error(), "\n") {
				name, _, _ := strings.Cut(line, ":")
				got = append(got, name)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got missing %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestPriceTimes(t *testing.T) {
	for _, tt := range []struct {
		price, want string
		n           int64
	}{
		{"0.045 USD", "USD 45.00", 1000},
		{"0.0451 USD", "USD 0.05", 1}, // rounded up: an estimate must not be too low
		{"0.045 KWD", "KWD 0.045", 1},
		{"1.5 JPY", "JPY 3", 2},
		{"0.045 USD", "USD 0.00", 0},
	} {
		var p setup.Price
		if err := p.UnmarshalText([]byte(tt.price)); err != nil {
			t.Fatal(err)
		}
		got, err := p.Times(tt.n)
		if want := strings.Fields(tt.want); err != nil || got.Decimal() != want[1] || got.Currency != want[0] {
			t.Errorf("%d times %s: got %v, error %v; want %s", tt.n, tt.price, got, err, tt.want)
		}
	}
	if _, err := (setup.Price{}).Times(1); err == nil {
		t.Error("an unknown price gave a cost")
	}
	if _, err := (setup.Price{Micros: 1e9, Currency: "USD"}).Times(1e12); err == nil {
		t.Error("a cost beyond 64 bits was given")
	}
}

// FuzzValues: whatever a value's text is, reading it does not panic, and what was read is written in a form that is read
// as the same.
func FuzzValues(f *testing.F) {
	for _, seed := range []string{"10/s,90000/d", "1/m", "email=hold,sms=resend_once", "link:en=HX1,link:ar=HX2", "0.045 USD", "1. USD", ",", "=", "/s", "-1/s", "٣/s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		roundTrip[setup.Limits](t, text)
		roundTrip[setup.Policies](t, text)
		roundTrip[setup.ContentSIDs](t, text)
		roundTrip[setup.Price](t, text)
	})
}

func roundTrip[T fmt.Stringer, P interface {
	*T
	UnmarshalText([]byte) error
}](t *testing.T, text string) {
	t.Helper()
	var first, second T
	if P(&first).UnmarshalText([]byte(text)) != nil {
		return
	}
	if err := P(&second).UnmarshalText([]byte(first.String())); err != nil {
		t.Fatalf("%T: %q was read, its own form %q was not: %v", first, text, first, err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("%T of %q changed on the way (-first +second):\n%s", first, text, diff)
	}
}
