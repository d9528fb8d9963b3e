package setup

import (
	"strings"
	"time"

	"dunlin/intake"
	"dunlin/jobs"
	"dunlin/paylink"
	"dunlin/templates"
)

// Intake is what a plan depends on, from the configuration.
func (c Config) Intake(texts *templates.Set, now time.Time) intake.Settings {
	s := intake.Settings{
		Merchant: c.MerchantName, PublicURL: strings.TrimSuffix(c.PublicURL, "/"), Texts: texts, Now: now,
		// Ottu's links are its host, a fixed path and a session id of 40 characters.
		ProviderLink: c.OttuURL + "/b/checkout/redirect/start/?session_id=" + strings.Repeat("0", 40),
		Limits:       map[string][]intake.Limit{},
		Missing:      func(ch paylink.Channel) error { return c.NeedChannels(ch) },
	}
	for p, limits := range c.limits() {
		for _, l := range limits {
			if p == jobs.ProviderCheckout {
				l.N = max(1, l.N*8/10) // dispatch's share
			}
			s.Limits[string(p)] = append(s.Limits[string(p)], intake.Limit(l))
		}
	}
	if c.SMSPrice.Micros > 0 {
		s.SMSCost = c.SMSPrice.Times
	}
	if c.WhatsAppPrice.Micros > 0 {
		s.WhatsAppCost = c.WhatsAppPrice.Times
	}
	if c.WhatsAppFrom != "" {
		s.HasWhatsApp = func(language string) bool {
			_, ok := c.WhatsAppTemplates[ContentKey{paylink.PurposeLink, language}]
			return ok
		}
	}
	return s
}
