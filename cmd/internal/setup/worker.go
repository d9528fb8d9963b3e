package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"dunlin/checkout/ottu"
	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/notify"
	"dunlin/notify/attachment"
	"dunlin/notify/email"
	"dunlin/notify/twilio"
	"dunlin/paylink"
	"dunlin/templates"
)

// Worker is a worker with what it stands on; Close releases that.
type Worker struct {
	*jobs.Worker
	Ledger *ledger.DB
	// Channels are those that are configured.
	Channels []paylink.Channel
	limiter  *jobs.RedisLimiter
	texts    *templates.Set
	closers  []func() error
}

// Close closes what the worker stands on, in the order opposite to opening.
func (w *Worker) Close() error {
	var errs []error
	for i := len(w.closers) - 1; i >= 0; i-- {
		errs = append(errs, w.closers[i]())
	}
	return errors.Join(errs...)
}

// WorkerOptions change what a test or the demo needs otherwise.
type WorkerOptions struct {
	Redis redis.UniversalClient
	Log   *slog.Logger
	// Backoff is the first delay after a temporary failure; 0 = the production value.
	Backoff time.Duration
	// CallTimeout bounds one call to any provider; 0 = a value for each.
	CallTimeout time.Duration
	Name        string
	Ledger      ledger.Options
	// On is an open ledger to share, which stays the caller's to close; nil = open the configured one.
	On *ledger.DB
}

// NewWorker wires a worker from the configuration: the ledger, the payment provider, and each channel that is configured.
func (c Config) NewWorker(ctx context.Context, opt WorkerOptions) (w *Worker, err error) {
	if w, err = c.newWorker(ctx, opt); err == nil && len(w.Channels) == 0 {
		w.Close()
		return nil, errors.New("no channel is configured: set DUNLIN_SMTP_URL and DUNLIN_MAIL_FROM for email, or TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and DUNLIN_SMS_FROM for SMS")
	}
	return w, err
}

// newWorker wires a worker that may have no channel.
func (c Config) newWorker(ctx context.Context, opt WorkerOptions) (w *Worker, err error) {
	if err := c.NeedCheckout(); err != nil {
		return nil, err
	}
	w = &Worker{}
	defer func() {
		if err != nil {
			w.Close()
			w = nil
		}
	}()
	if w.Ledger = opt.On; w.Ledger == nil {
		if w.Ledger, err = ledger.Open(ctx, string(c.DatabaseURL), opt.Ledger); err != nil {
			return w, err
		}
		w.closers = append(w.closers, w.Ledger.Close)
	}
	texts, err := templates.Load(c.Templates)
	if err != nil {
		return w, fmt.Errorf("read templates: %w", err)
	}
	if err := w.Ledger.SaveTemplates(ctx, texts.Sources()); err != nil {
		return w, fmt.Errorf("store template texts: %w", err)
	}
	checkout, err := ottu.New(ottu.Config{BaseURL: c.OttuURL, APIKey: string(c.OttuAPIKey), PGCodes: c.OttuPGCodes})
	if err != nil {
		return w, fmt.Errorf("set up the checkout: %w", err)
	}
	name := opt.Name
	if name == "" {
		host, _ := os.Hostname()
		name = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	cfg := jobs.Config{
		Ledger: w.Ledger, Queue: jobs.NewAsynqQueue(opt.Redis), Checkout: ottuCheckout{checkout},
		Senders: map[paylink.Channel]notify.Sender{}, Finders: map[paylink.Channel]notify.Finder{}, Fetchers: map[paylink.Channel]jobs.Fetcher{},
		Builder: c.builder(texts), Log: opt.Log, Name: name, Backoff: opt.Backoff, OnUnknown: c.OnUnknown,
		Window: c.windows(), Retention: time.Duration(c.RetentionDays) * 24 * time.Hour,
	}
	if opt.CallTimeout > 0 {
		cfg.CheckoutTimeout = opt.CallTimeout
		cfg.SendTimeouts = map[paylink.Channel]time.Duration{}
		for _, ch := range paylink.Channels {
			cfg.SendTimeouts[ch] = opt.CallTimeout
		}
	}
	w.texts = texts
	w.limiter = jobs.NewRedisLimiter(opt.Redis, c.limits(), func(ctx context.Context, p jobs.Provider) (int64, error) {
		return w.Ledger.Used(ctx, string(p), w.Ledger.Now())
	})
	cfg.Limiter, cfg.Amends = w.limiter, w.limiter.For(jobs.ClassAmend)
	if c.PublicURL != "" {
		cfg.ReturnURL = c.PublicURL + "/p/%s/return"
		cfg.WebhookURL = c.PublicURL + "/hooks/ottu"
	}
	if c.Attachments == "attach" {
		files := attachment.New(attachment.Config{})
		w.closers = append(w.closers, files.Close)
		cfg.Attachments = files
	}
	if err := c.addChannels(w, &cfg); err != nil {
		return w, err
	}
	cfg.Alerter = c.alerter(opt.Log, cfg.Senders[paylink.Email])
	w.Worker, err = jobs.New(cfg)
	return w, err
}

// Run works the queues, and asks about sessions whose webhooks may be lost, until ctx ends. See [jobs.Worker.Run].
func (w *Worker) Run(ctx context.Context, c jobs.RunConfig) error {
	asking, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { w.reconciler().Run(asking) })
	err := w.Worker.Run(ctx, c)
	stop()
	running.Wait()
	return err
}

func (w *Worker) reconciler() *jobs.Reconciler {
	return jobs.NewReconciler(w.Worker, w.Ledger, w.limiter.For(jobs.ClassReconcile))
}

// NewReconciler wires what asks the payment provider about sessions by hand. close releases what it stands on.
func (c Config) NewReconciler(ctx context.Context, opt WorkerOptions) (r *jobs.Reconciler, close func() error, err error) {
	w, err := c.newWorker(ctx, opt)
	if err != nil {
		return nil, nil, err
	}
	return w.reconciler(), w.Close, nil
}

// mailConnections bounds the connections to the mail relay. They are opened as the rate asks for them, so a worker that
// sends ten mails a second has one or two; each is held while the ledger is asked before the final dot.
const mailConnections = 24

// addChannels plugs in each channel whose settings are complete. One that is begun but incomplete is a mistake.
func (c Config) addChannels(w *Worker, cfg *jobs.Config) error {
	if c.SMTPURL != "" {
		if err := c.NeedChannels(paylink.Email); err != nil {
			return err
		}
		returnPath, err := c.returnPath()
		if err != nil {
			return err
		}
		sender, err := email.New(email.Config{URL: string(c.SMTPURL), From: c.MailFrom, Pool: mailConnections, ReturnPath: returnPath})
		if err != nil {
			return fmt.Errorf("set up email: %w", err)
		}
		w.closers = append(w.closers, sender.Close)
		cfg.Senders[paylink.Email] = sender
		w.Channels = append(w.Channels, paylink.Email)
	}
	for ch, from := range map[paylink.Channel]string{paylink.SMS: c.SMSFrom, paylink.WhatsApp: c.WhatsAppFrom} {
		if from == "" {
			continue
		}
		if err := c.NeedChannels(ch); err != nil {
			return err
		}
		client, err := twilio.New(twilio.Config{
			AccountSID: c.TwilioAccountSID, AuthToken: string(c.TwilioAuthToken), BaseURL: c.TwilioURL,
			SMSFrom: c.SMSFrom, WhatsAppFrom: c.WhatsAppFrom, StatusCallback: c.hookURL(statusHook),
		})
		if err != nil {
			return fmt.Errorf("set up %s: %w", ch, err)
		}
		cfg.Senders[ch], cfg.Finders[ch], cfg.Fetchers[ch] = client, client, client
		w.Channels = append(w.Channels, ch)
	}
	return nil
}

func (c Config) builder(texts *templates.Set) *notify.Builder {
	sids := map[string]string{}
	for k, sid := range c.WhatsAppTemplates {
		sids[k.Purpose+":"+k.Language] = sid
	}
	return &notify.Builder{
		Merchant: c.MerchantName, PublicURL: strings.TrimSuffix(c.PublicURL, "/"), MailDomain: mailDomain(c.MailFrom),
		Templates: texts, ContentSIDs: sids,
	}
}

func mailDomain(from string) string {
	if a, err := mail.ParseAddress(from); err == nil {
		if _, domain, ok := strings.Cut(a.Address, "@"); ok {
			return domain
		}
	}
	return "dunlin.invalid"
}

func (c Config) limits() map[jobs.Provider][]jobs.Limit {
	return map[jobs.Provider][]jobs.Limit{
		jobs.ProviderCheckout: c.LimitCheckout, jobs.ProviderEmail: c.LimitEmail,
		jobs.ProviderSMS: c.LimitSMS, jobs.ProviderWhatsApp: c.LimitWhatsApp,
	}
}

// windows sizes each provider's window to ten seconds of its rate: enough to keep the workers busy, little enough that a
// small batch is soon served and that a full window is through before the sweeper wonders where it is.
func (c Config) windows() map[jobs.Provider]int {
	out := map[jobs.Provider]int{}
	for p, limits := range c.limits() {
		for _, l := range limits {
			if l.Per < time.Hour {
				n := int(float64(l.N) / l.Per.Seconds() * 10)
				out[p] = min(max(n, 20), 2000)
			}
		}
	}
	return out
}

// ottuCheckout fits the client to what the jobs ask for.
type ottuCheckout struct{ *ottu.Client }

func (o ottuCheckout) ExpireOrder(ctx context.Context, orderNo string) error {
	return o.Expire(ctx, ottu.Ref{OrderNo: orderNo})
}
