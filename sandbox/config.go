package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The content SIDs of the approved WhatsApp templates that every sandbox knows.
const (
	LinkTemplateEN     = "HX000000000000000000000000000000e1"
	LinkTemplateAR     = "HX000000000000000000000000000000a1"
	ReminderTemplateEN = "HX000000000000000000000000000000e2"
	ReminderTemplateAR = "HX000000000000000000000000000000a2"
)

// SMSFrom and WhatsAppFrom are senders that the sandbox suggests; any well-formed sender but Twilio's magic ones works.
const (
	SMSFrom      = "+15005550006"
	WhatsAppFrom = "whatsapp:+14155238886"
)

// Config says how a sandbox behaves. Zero values mean the default in brackets.
type Config struct {
	APIKey     string // Ottu's private key ["sandboxOttuKey"]
	PublicKey  string // Ottu's public key, which its checkout script shows ["sandboxOttuPublic"]
	HMACKey    string // Ottu's webhook secret ["sandboxOttuHMAC"]
	AccountSID string // Twilio's account ["AC" and 32 digits]
	AuthToken  string // its token; letters and digits only, as Twilio's client checks ["sandbox…"]

	PGCodes    []string          // gateway codes of the merchant [knet, mpgs]; a code with mpgs limits order_no to 37
	Currencies []string          // what it takes [every currency it knows]
	Templates  map[string]string // content SID to text with {{1}}…, of which {{6}} is the link; beside the built-in ones

	HTTPAddr  string // ["127.0.0.1:0"]
	SMTPAddr  string // ["127.0.0.1:0"]
	PublicURL string // base of the links that it hands out [where it listens]
	PayBase   string // what a WhatsApp template's button puts before its variable, ends with a slash [none]

	BounceTo string // where the mail server reports failed mail: unix:/path or HOST:PORT by LMTP, smtp:HOST:PORT [nowhere]

	Latency time.Duration    // added to every call and to every mail [0]
	Rate    float64          // calls a second per provider above which it throttles [0 = no limit]
	Quiet   bool             // keep counters and fingerprints, not bodies: for benchmarks
	Keep    int              // how many mails and how many messages keep their bodies [20000]
	Now     func() time.Time // [time.Now]
	Seed    uint64           // of ids and of rules with a probability [random, so that ids differ after a restart]
}

var (
	alphanumeric = regexp.MustCompile(`^[A-Za-z0-9]+$`)
	contentSID   = regexp.MustCompile(`^HX[0-9a-f]{32}$`)
)

func (c Config) withDefaults() (Config, error) {
	def := func(v *string, d string) {
		if *v == "" {
			*v = d
		}
	}
	def(&c.APIKey, "sandboxOttuKey")
	def(&c.PublicKey, "sandboxOttuPublic")
	def(&c.HMACKey, "sandboxOttuHMAC")
	def(&c.AccountSID, "AC00000000000000000000000000000001")
	def(&c.AuthToken, "sandbox0000000000000000000token1")
	def(&c.HTTPAddr, "127.0.0.1:0")
	def(&c.SMTPAddr, "127.0.0.1:0")
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	if len(c.PGCodes) == 0 {
		c.PGCodes = []string{"knet", "mpgs"}
	}
	if len(c.Currencies) == 0 {
		c.Currencies = slices.Sorted(maps.Keys(currencyDigits))
	}
	if c.Keep == 0 {
		c.Keep = 20_000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Seed == 0 {
		c.Seed = randomSeed()
	}
	var errs []error
	for _, code := range c.Currencies {
		if _, ok := currencyDigits[code]; !ok {
			errs = append(errs, fmt.Errorf("currency %q is not one the sandbox knows", code))
		}
	}
	if !alphanumeric.MatchString(c.AccountSID) || !alphanumeric.MatchString(c.AuthToken) {
		errs = append(errs, errors.New("the account SID and the auth token must be letters and digits"))
	}
	templates := maps.Clone(builtinTemplates)
	for sid, text := range c.Templates {
		if !contentSID.MatchString(sid) {
			errs = append(errs, fmt.Errorf("content SID %q is not HX and 32 hex digits", sid))
		}
		templates[sid] = text
	}
	c.Templates = templates
	if c.Rate < 0 || c.Latency < 0 || c.Keep < 0 {
		errs = append(errs, errors.New("rate, latency and keep must not be negative"))
	}
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("sandbox config: %w", err)
	}
	return c, nil
}

var builtinTemplates = map[string]string{
	LinkTemplateEN:     "Hello {{1}}, please pay {{2}} for {{3}}, due {{4}}.\nReference: {{5}}\nPay here: {{6}}",
	LinkTemplateAR:     "مرحباً {{1}}، نرجو دفع {{2}} مقابل {{3}}، تاريخ الاستحقاق {{4}}.\nالمرجع: {{5}}\nادفع هنا: {{6}}",
	ReminderTemplateEN: "Hello {{1}}, a reminder: {{2}} for {{3}} is still open, due {{4}}.\nReference: {{5}}\nPay here: {{6}}",
	ReminderTemplateAR: "مرحباً {{1}}، تذكير: لم يُدفع بعد {{2}} مقابل {{3}}، تاريخ الاستحقاق {{4}}.\nالمرجع: {{5}}\nادفع هنا: {{6}}",
}

// Env lists the environment, as NAME=value, that points Dunlin at this sandbox.
func (s *Sandbox) Env() []string {
	return []string{
		"DUNLIN_OTTU_URL=" + s.base,
		"DUNLIN_OTTU_API_KEY=" + s.cfg.APIKey,
		"DUNLIN_OTTU_HMAC_KEY=" + s.cfg.HMACKey,
		"DUNLIN_OTTU_PG_CODES=" + strings.Join(s.cfg.PGCodes, ","),
		"DUNLIN_SMTP_URL=" + (&url.URL{Scheme: "smtp", Host: s.smtpAddr, RawQuery: "tls=none"}).String(),
		"DUNLIN_MAIL_FROM=payments@example.test",
		"DUNLIN_TWILIO_URL=" + s.base,
		"TWILIO_ACCOUNT_SID=" + s.cfg.AccountSID,
		"TWILIO_AUTH_TOKEN=" + s.cfg.AuthToken,
		"DUNLIN_SMS_FROM=" + SMSFrom,
		"DUNLIN_WHATSAPP_FROM=" + WhatsAppFrom,
		"DUNLIN_WHATSAPP_TEMPLATES=link:en=" + LinkTemplateEN + ",link:ar=" + LinkTemplateAR +
			",reminder:en=" + ReminderTemplateEN + ",reminder:ar=" + ReminderTemplateAR,
	}
}

// SDKEnv lists what else in the environment has Dunlin embed the stand-in of Ottu's checkout script in its page.
func (s *Sandbox) SDKEnv() []string {
	return []string{"DUNLIN_OTTU_PUBLIC_KEY=" + s.cfg.PublicKey, "DUNLIN_OTTU_SDK_URL=" + s.base + sdkScript}
}

// loopback reports whether only this machine can reach a.
func loopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}

// reachable is a's host:port with an address that can be dialled where a was bound to all of them.
func reachable(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if ok && t.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", fmt.Sprint(t.Port))
	}
	return a.String()
}

var errRemote = errors.New("a sandbox on loopback posts to loopback only")

func refuseRemote(_ context.Context, _, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("reading the address to dial: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return errRemote
	}
	return nil
}
