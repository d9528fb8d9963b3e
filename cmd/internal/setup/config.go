// Package setup is the wiring that all of Dunlin's programs share, the configuration first of all.
//
// Configuration comes from the environment and nowhere else. [Load] reads all of it before anything is opened and
// reports every mistake at once, by variable name. The struct [Config] is the manual: the comment of each field says
// which variable it is, what it means, its default and its unit; the file .env.example is made from those comments and a
// test keeps the two alike.
//
// A value that is a secret has the type [Secret] and prints as a placeholder wherever a configuration is shown. Every
// secret may be given as a file instead, under its name with _FILE behind it, as container platforms hand secrets out.
//
// What a program needs beyond the defaults depends on the program: [Config.NeedCheckout] and [Config.NeedChannels] say
// what is missing for making payment links and for sending by a channel.
package setup

import (
	"log/slog"
	"time"

	"dunlin/paylink"
)

// Config is the whole configuration. An empty variable counts as an unset one.
type Config struct {
	// DUNLIN_DATABASE_URL: where the ledger is kept: sqlite:PATH for one machine, or postgres://USER:PASSWORD@HOST/NAME
	// when several machines share it. Default: sqlite:dunlin.db.
	DatabaseURL Secret `env:"DUNLIN_DATABASE_URL" default:"sqlite:dunlin.db"`

	// DUNLIN_REDIS_URL: the Redis that carries the queue and the shared rate limits; redis://, rediss:// (TLS),
	// redis-sentinel:// or redis-cluster://. It needs version 6.2 or later and the policy noeviction.
	// Default: redis://127.0.0.1:6379/0.
	RedisURL Secret `env:"DUNLIN_REDIS_URL" default:"redis://127.0.0.1:6379/0"`

	// DUNLIN_LISTEN: address on which the server takes HTTP, as HOST:PORT. Default: 127.0.0.1:8080.
	Listen string `env:"DUNLIN_LISTEN" default:"127.0.0.1:8080"`

	// DUNLIN_UPLOAD_LIMIT: the largest file that the API and the console take, in bytes, KiB, MiB or GiB. The API's waits
	// in the temporary folder (TMPDIR) while it is read in, at most four at once. Default: 512MiB.
	UploadLimit Size `env:"DUNLIN_UPLOAD_LIMIT" default:"512MiB"`

	// DUNLIN_LIMIT_API: how many calls each API key may make at each server, as N/s, N/m, N/h or N/d.
	// Default: 20/s.
	LimitAPI Limits `env:"DUNLIN_LIMIT_API" default:"20/s"`

	// DUNLIN_WORKER_LISTEN: address on which the worker answers health checks and gives metrics, as HOST:PORT.
	// Default: unset, the worker listens nowhere.
	WorkerListen string `env:"DUNLIN_WORKER_LISTEN"`

	// DUNLIN_METRICS_TOKEN: whoever asks for /metrics must send it as a bearer token. Default: unset, /metrics answers
	// callers on the same machine only.
	MetricsToken Secret `env:"DUNLIN_METRICS_TOKEN"`

	// DUNLIN_PUBLIC_URL: where payers and providers reach the server, https unless it is this machine. Default: unset,
	// messages carry the payment provider's own link, and nothing is heard by webhook.
	PublicURL string `env:"DUNLIN_PUBLIC_URL"`

	// DUNLIN_OTTU_URL: address of the merchant's own Ottu host, https unless it is this machine. Required for making
	// payment links; no default.
	OttuURL string `env:"DUNLIN_OTTU_URL"`

	// DUNLIN_OTTU_API_KEY: private API key of Ottu. Required for making payment links; no default.
	OttuAPIKey Secret `env:"DUNLIN_OTTU_API_KEY"`

	// DUNLIN_OTTU_PG_CODES: codes of the payment gateways that the payer may choose from, separated by commas. Required
	// for making payment links; no default.
	OttuPGCodes []string `env:"DUNLIN_OTTU_PG_CODES"`

	// DUNLIN_OTTU_HMAC_KEY: secret by which Ottu signs its webhooks. Default: unset, Ottu's webhooks are refused.
	OttuHMACKey Secret `env:"DUNLIN_OTTU_HMAC_KEY"`

	// DUNLIN_OTTU_HMAC_KEY_OLD: the secret before, accepted as well while Ottu changes to the new one. Default: unset.
	OttuHMACKeyOld Secret `env:"DUNLIN_OTTU_HMAC_KEY_OLD"`

	// DUNLIN_OTTU_PUBLIC_KEY: Ottu's public key for its checkout SDK. Default: unset, the payment page sends the payer on
	// to Ottu's page instead of holding the SDK. Every reader of the page can read it.
	OttuPublicKey string `env:"DUNLIN_OTTU_PUBLIC_KEY"`

	// DUNLIN_OTTU_SDK_URL: address of the checkout SDK's script.
	// Default: https://assets.ottu.net/checkout/v3/checkout.min.js.
	OttuSDKURL string `env:"DUNLIN_OTTU_SDK_URL" default:"https://assets.ottu.net/checkout/v3/checkout.min.js"`

	// DUNLIN_SAVED_CARDS: on or off: offer the payer, on the payment page that holds the SDK, the cards saved under the
	// customer_id of the row, once the payer has given the last four digits of the row's phone number. Off, no customer_id
	// is sent to Ottu. Default: off.
	SavedCards bool `env:"DUNLIN_SAVED_CARDS" default:"off"`

	// DUNLIN_MERCHANT_NAME: who the messages are from, as payers read it. Default: the display name in DUNLIN_MAIL_FROM,
	// without one the host part of its address.
	MerchantName string `env:"DUNLIN_MERCHANT_NAME"`

	// DUNLIN_SMTP_URL: the mail server, as smtp://USER:PASSWORD@HOST:587 (STARTTLS), smtps://… (TLS from the start), or
	// smtp://HOST:25?tls=none for a relay on the same machine. Required for email; no default.
	SMTPURL Secret `env:"DUNLIN_SMTP_URL"`

	// DUNLIN_MAIL_FROM: sender of email, as Name <mailbox@host> or mailbox@host. Required for email; no default.
	MailFrom string `env:"DUNLIN_MAIL_FROM"`

	// DUNLIN_BOUNCE_ADDRESS: mailbox that mail comes back to, as bounces@mail.example.com, at most 11 characters before its
	// @. Each email is sent from an address of its own, bounces+TAG@mail.example.com, all of which must reach
	// DUNLIN_BOUNCE_LISTEN or a mailbox for enqueue bounces import. Needs DUNLIN_LINK_KEY. Default: unset, email is sent
	// from DUNLIN_MAIL_FROM, and bounces come back there.
	BounceAddress string `env:"DUNLIN_BOUNCE_ADDRESS"`
	// DUNLIN_BOUNCE_LISTEN: where the server takes bounces: unix:/path or HOST:PORT for LMTP, smtp:HOST:PORT for SMTP.
	// Needs DUNLIN_BOUNCE_ADDRESS. Default: unset, the server takes no mail.
	BounceListen string `env:"DUNLIN_BOUNCE_LISTEN"`
	// DUNLIN_LINK_KEY: secret of at least 16 characters by which addresses of our own making are signed, so that nobody
	// can invent a bounce. Required for DUNLIN_BOUNCE_ADDRESS; no default.
	LinkKey Secret `env:"DUNLIN_LINK_KEY"`
	// DUNLIN_LINK_KEY_OLD: the secret before, accepted as well for as long as mail sent under it may come back: a week.
	// Default: unset.
	LinkKeyOld Secret `env:"DUNLIN_LINK_KEY_OLD"`

	// TWILIO_ACCOUNT_SID: the Twilio account. Required for sms and whatsapp; no default.
	TwilioAccountSID string `env:"TWILIO_ACCOUNT_SID"`

	// TWILIO_AUTH_TOKEN: the Twilio account's token; status callbacks are verified by it too. Required for sms and
	// whatsapp; no default.
	TwilioAuthToken Secret `env:"TWILIO_AUTH_TOKEN"`

	// TWILIO_AUTH_TOKEN_OLD: the token before, by which callbacks are accepted as well while Twilio changes to the new one.
	// Default: unset.
	TwilioAuthTokenOld Secret `env:"TWILIO_AUTH_TOKEN_OLD"`

	// DUNLIN_TWILIO_URL: another base address of the Twilio API, https unless it is this machine. Default: unset,
	// Twilio's own.
	TwilioURL string `env:"DUNLIN_TWILIO_URL"`

	// DUNLIN_SMS_FROM: sender of SMS: a number as +96512345678, an alphanumeric name, or a Messaging Service SID.
	// Required for sms; no default.
	SMSFrom string `env:"DUNLIN_SMS_FROM"`

	// DUNLIN_WHATSAPP_FROM: sender of WhatsApp messages: a number as +96512345678, or a Messaging Service SID. Required
	// for whatsapp; no default.
	WhatsAppFrom string `env:"DUNLIN_WHATSAPP_FROM"`

	// DUNLIN_WHATSAPP_TEMPLATES: the approved template of each purpose and language, as
	// link:en=HXaaa,link:ar=HXbbb. Required for whatsapp, at least one of purpose link; no default.
	WhatsAppTemplates ContentSIDs `env:"DUNLIN_WHATSAPP_TEMPLATES"`

	// DUNLIN_LIMIT_CHECKOUT: how many requests the payment provider gets, as N/s, N/m, N/h or N/d, several separated by
	// commas; across all processes. The day's number is Ottu's published 90,000 a day and user; no rate a second is
	// published, and 10 finishes the day's number in two and a half hours. Default: 10/s,90000/d.
	LimitCheckout Limits `env:"DUNLIN_LIMIT_CHECKOUT" default:"10/s,90000/d"`

	// DUNLIN_LIMIT_EMAIL: how many emails are sent, written like DUNLIN_LIMIT_CHECKOUT. The default stays below the 14 a
	// second that a freshly approved account gets at a large relay; a mailbox provider's server takes much less a day.
	// Default: 10/s.
	LimitEmail Limits `env:"DUNLIN_LIMIT_EMAIL" default:"10/s"`

	// DUNLIN_LIMIT_SMS: how many SMS messages (not segments) are sent, written like DUNLIN_LIMIT_CHECKOUT. Twilio sends
	// 10 segments a second from an alphanumeric sender, and an Arabic message has up to three; what comes faster waits at
	// Twilio for up to 10 hours, out of our sight. A US or Canadian long code sends one segment a second: set 1/s.
	// Default: 3/s.
	LimitSMS Limits `env:"DUNLIN_LIMIT_SMS" default:"3/s"`

	// DUNLIN_LIMIT_WHATSAPP: how many WhatsApp messages are sent, written like DUNLIN_LIMIT_CHECKOUT. A sender may send
	// 80 a second, but one Twilio account refuses too many requests at once, and SMS go through it as well. Meta's own
	// limit of recipients a day depends on the account: add it as N/d. Default: 20/s.
	LimitWhatsApp Limits `env:"DUNLIN_LIMIT_WHATSAPP" default:"20/s"`

	// DUNLIN_SMS_PRICE: price of one SMS segment for the cost estimate in the plan, as 0.045 USD. Default: unset, no
	// estimate is shown.
	SMSPrice Price `env:"DUNLIN_SMS_PRICE"`

	// DUNLIN_WHATSAPP_PRICE: price of one WhatsApp message for the cost estimate in the plan, as 0.02 USD. Default:
	// unset, no estimate is shown.
	WhatsAppPrice Price `env:"DUNLIN_WHATSAPP_PRICE"`

	// DUNLIN_DEFAULT_CURRENCY: ISO 4217 code for rows that name no currency. Default: unset, such rows are rejected.
	DefaultCurrency string `env:"DUNLIN_DEFAULT_CURRENCY"`

	// DUNLIN_DEFAULT_COUNTRY: ISO 3166-1 code of two letters, by which phone numbers without a country code are read.
	// Default: unset, such numbers are rejected.
	DefaultCountry string `env:"DUNLIN_DEFAULT_COUNTRY"`

	// DUNLIN_DEFAULT_LANGUAGE: en or ar, for rows that name no language. Default: en.
	DefaultLanguage string `env:"DUNLIN_DEFAULT_LANGUAGE" default:"en"`

	// DUNLIN_DEFAULT_TIMEZONE: the merchant's IANA time zone, as Asia/Kuwait; quiet hours and due dates of rows that name
	// none are read in it. Default: UTC.
	DefaultTimezone *time.Location `env:"DUNLIN_DEFAULT_TIMEZONE" default:"UTC"`

	// DUNLIN_DEFAULT_CHANNELS: channels for rows that name none, written as in the file: email+whatsapp>sms is an email,
	// and a WhatsApp message that falls back to SMS. Default: email.
	DefaultChannels paylink.Routes `env:"DUNLIN_DEFAULT_CHANNELS" default:"email"`

	// DUNLIN_ON_UNKNOWN: what is done with a message whose answer was lost and that cannot be found at the provider:
	// resend_once or hold (for a person), per channel; a channel left out keeps its default.
	// Default: email=resend_once,sms=hold,whatsapp=hold.
	OnUnknown Policies `env:"DUNLIN_ON_UNKNOWN" default:"email=resend_once,sms=hold,whatsapp=hold"`

	// DUNLIN_ATTACHMENTS: attach or link: what emails do with the file of a row's attachment_url. Attached files are at
	// most 2.5 MB, larger ones are linked. Default: attach.
	Attachments string `env:"DUNLIN_ATTACHMENTS" default:"attach"`

	// DUNLIN_RETENTION_DAYS: after how many days the contacts of finished requests are redacted. Default: unset, they are
	// kept.
	RetentionDays int `env:"DUNLIN_RETENTION_DAYS"`

	// DUNLIN_TEMPLATES: folder whose files replace the embedded texts of messages and pages. Default: unset.
	Templates string `env:"DUNLIN_TEMPLATES"`

	// DUNLIN_HOLD: how long a batch that was confirmed in the console waits before anything is sent, so that it can be
	// taken back; as 30s or 10m. Default: unset, it is sent at once.
	Hold Span `env:"DUNLIN_HOLD"`

	// DUNLIN_APPROVE_ABOVE: from when on a second person must approve a batch that was confirmed in the console: so many
	// requests, or so much money of a currency, as 1000 requests,5000 KWD. Default: unset, never.
	ApproveAbove Above `env:"DUNLIN_APPROVE_ABOVE"`

	// DUNLIN_UPLOAD_DIR: folder in which the console keeps uploaded files until their batch is confirmed, a day at most;
	// several servers should share it. Default: unset, a folder of the system's for temporary files.
	UploadDir string `env:"DUNLIN_UPLOAD_DIR"`

	// DUNLIN_ADMIN_ALERT: where operators are told of provider failures: an email address, or the https address of a
	// webhook. Default: unset, they stand in the log only.
	AdminAlert Secret `env:"DUNLIN_ADMIN_ALERT"`

	// DUNLIN_LOG_LEVEL: debug, info, warn or error. Default: info.
	LogLevel slog.Level `env:"DUNLIN_LOG_LEVEL" default:"info"`

	// DUNLIN_LOG_FORMAT: text or json. Default: text.
	LogFormat string `env:"DUNLIN_LOG_FORMAT" default:"text"`
}
