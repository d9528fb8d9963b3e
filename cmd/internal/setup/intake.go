package setup

import (
	"cmp"
	"strings"
	"time"

	"dunlin/intake"
	"dunlin/paylink"
	"dunlin/templates"
)

// Reading is how a file is read whose sender says nothing about that.
func (c Config) Reading() intake.Reading {
	return intake.Reading{Currency: c.DefaultCurrency, Country: c.DefaultCountry, Language: c.DefaultLanguage,
		Timezone: c.DefaultTimezone.String(), Routes: c.DefaultChannels}
}

// Intake is what a plan depends on, from the configuration.
func (c Config) Intake(texts *templates.Set, now time.Time) intake.Settings {
	s := intake.Settings{
		Merchant: c.MerchantName, PublicURL: c.PublicURL, Texts: texts, Now: now,
		// The provider's short links are its address, /b/ and a code of a few characters.
		ProviderLink: strings.TrimRight(cmp.Or(c.OttuURL, "https://merchant.ottu.net"), "/") + "/b/aB3dE6",
		Missing:      func(ch paylink.Channel) error { return c.NeedChannels(ch) },
		Limits:       c.intakeLimits(),
	}
	if c.SMSPrice.Currency != "" {
		s.SMSCost = c.SMSPrice.Times
	}
	if c.WhatsAppPrice.Currency != "" {
		s.WhatsAppCost = c.WhatsAppPrice.Times
	}
	s.HasWhatsApp = func(language string) bool {
		_, ok := c.WhatsAppTemplates[ContentKey{paylink.PurposeLink, language}]
		return ok
	}
	s.HasReceipt = func(language string) bool {
		_, ok := c.WhatsAppTemplates[ContentKey{paylink.PurposeReceipt, language}]
		return ok
	}
	return s
}

// intakeLimits are the providers' limits as a plan and the console show them.
func (c Config) intakeLimits() map[string][]intake.Limit {
	out := map[string][]intake.Limit{}
	for p, limits := range c.limits() {
		for _, l := range limits {
			out[string(p)] = append(out[string(p)], intake.Limit(l))
		}
	}
	return out
}
