package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dunlin/cmd/internal/setup"
	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/templates"
)

const checkHelp = `check reads a payer file to its end and shows what sending it would mean: how
its columns and channels were understood, how much is asked for, how many
messages go out and what they cost, when it would be through, and which rows
are wrong and why. It sends and writes nothing, and needs no provider's key.

If there is a ledger it also finds debts that are already being asked for.
Files are CSV, XLSX, a JSON array or NDJSON.

  enqueue check payers.csv
  enqueue check payers.xlsx --sheet March --currency KWD --country KW
  enqueue check old.csv --number-format '1.234,5' --encoding windows-1256

Exit code 3 says that some rows would be rejected, 1 that the file cannot be
used or no row of it can be sent. Next: enqueue send FILE.`

// readingFlags are the flags that say how a file is read.
type readingFlags struct {
	currency, country, language, timezone, channels string
	numberFormat, delimiter, encoding, sheet        string
	allowRepeat                                     bool
}

func (r *readingFlags) add(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&r.currency, "currency", "", "of rows that name none, such as KWD (DUNLIN_DEFAULT_CURRENCY)")
	f.StringVar(&r.country, "country", "", "of phone numbers without country code, such as KW (DUNLIN_DEFAULT_COUNTRY)")
	f.StringVar(&r.language, "language", "", "en or ar, of rows that name none (DUNLIN_DEFAULT_LANGUAGE)")
	f.StringVar(&r.timezone, "timezone", "", "of rows that name none, such as Asia/Kuwait (DUNLIN_DEFAULT_TIMEZONE)")
	f.StringVar(&r.channels, "channels", "", "of rows that name none, such as 'email+whatsapp>sms': + is and, > is else (DUNLIN_DEFAULT_CHANNELS)")
	f.StringVar(&r.numberFormat, "number-format", "", "how the file groups amounts: '1,234.5' or '1.234,5'")
	f.StringVar(&r.delimiter, "delimiter", "", "of a CSV file; detected (tab for a tabulator)")
	f.StringVar(&r.encoding, "encoding", "", "utf-8, utf-16, windows-1256 or latin-1; detected")
	f.StringVar(&r.sheet, "sheet", "", "of a workbook; the first")
	f.BoolVar(&r.allowRepeat, "allow-repeat", false, "take rows whose debt is already being asked for")
}

// reading joins the flags with the configuration's defaults.
func (r *readingFlags) reading(c *setup.Config) (intake.Reading, error) {
	out := intake.Reading{
		Currency: c.DefaultCurrency, Country: c.DefaultCountry, Language: c.DefaultLanguage, Timezone: c.DefaultTimezone.String(),
		Routes: c.DefaultChannels, NumberFormat: paylink.NumberFormat(r.numberFormat), Delimiter: r.delimiter,
		Encoding: r.encoding, Sheet: r.sheet, AllowRepeat: r.allowRepeat,
	}
	set := func(to *string, value string) {
		if value != "" {
			*to = value
		}
	}
	set(&out.Currency, strings.ToUpper(r.currency))
	set(&out.Country, strings.ToUpper(r.country))
	set(&out.Language, r.language)
	set(&out.Timezone, r.timezone)
	switch out.NumberFormat {
	case paylink.NumberPlain, paylink.NumberPoint, paylink.NumberComma:
	default:
		return out, usage("--number-format %s is neither '1,234.5' nor '1.234,5'", r.numberFormat)
	}
	if r.channels != "" {
		routes, err := paylink.ParseRoutes(r.channels)
		if err != nil {
			return out, usage("--channels %s: %w", r.channels, err)
		}
		out.Routes = routes
	}
	if _, err := time.LoadLocation(out.Timezone); err != nil {
		return out, usage("--timezone %s is not an IANA time zone such as Asia/Kuwait", r.timezone)
	}
	return out, nil
}

// planSettings are what a plan takes from the configuration.
func (a *app) planSettings(c *setup.Config) (intake.Settings, error) {
	texts, err := templates.Load(c.Templates)
	if err != nil {
		return intake.Settings{}, fmt.Errorf("the message templates: %w", err)
	}
	s := intake.Settings{
		Merchant: c.MerchantName, PublicURL: c.PublicURL, Texts: texts, Now: a.now(),
		// The provider's short links are its address, /b/ and a code of a few characters.
		ProviderLink: orElse(c.OttuURL, "https://merchant.ottu.net") + "/b/aB3dE6",
		Missing:      func(ch paylink.Channel) error { return c.NeedChannels(ch) },
		Limits:       map[string][]intake.Limit{},
	}
	for name, limits := range map[string]setup.Limits{
		"checkout": c.LimitCheckout, string(paylink.Email): c.LimitEmail, string(paylink.SMS): c.LimitSMS, string(paylink.WhatsApp): c.LimitWhatsApp,
	} {
		for _, l := range limits {
			s.Limits[name] = append(s.Limits[name], intake.Limit(l))
		}
	}
	if c.SMSPrice.Currency != "" {
		s.SMSCost = c.SMSPrice.Times
	}
	if c.WhatsAppPrice.Currency != "" {
		s.WhatsAppCost = c.WhatsAppPrice.Times
	}
	s.HasWhatsApp = func(language string) bool {
		_, ok := c.WhatsAppTemplates[setup.ContentKey{Purpose: paylink.PurposeLink, Language: language}]
		return ok
	}
	s.HasReceipt = func(language string) bool {
		_, ok := c.WhatsAppTemplates[setup.ContentKey{Purpose: paylink.PurposeReceipt, Language: language}]
		return ok
	}
	return s, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return strings.TrimRight(s, "/")
}

func (a *app) checkCommand() *cobra.Command {
	var flags readingFlags
	cmd := &cobra.Command{
		Use: "check FILE", Short: "show what is in a file and what sending it would mean", Long: checkHelp,
		Args: args(1, 1, "the payer file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.check(cmd.Context(), args[0], flags)
		},
	}
	flags.add(cmd.Flags())
	return cmd
}

func (a *app) check(ctx context.Context, path string, flags readingFlags) error {
	c, err := a.settings()
	if err != nil {
		return err
	}
	rd, err := flags.reading(c)
	if err != nil {
		return err
	}
	s, err := a.planSettings(c)
	if err != nil {
		return err
	}
	var debts intake.Debts
	switch db, err := a.ledger(ctx, ledger.Options{NoMigrate: true}, false); {
	case err == nil:
		debts = db
	case !errors.Is(err, errNoLedger):
		a.warn("The ledger cannot be read, so debts that are already asked for are not found (%v).", err)
	}
	plan, same, err := intake.Check(ctx, path, rd, s, debts)
	if err != nil {
		return err
	}
	if same != nil {
		switch same.State {
		case paylink.BatchImporting, paylink.BatchDraft:
			plan.Warnings = append(plan.Warnings, fmt.Sprintf("This file is batch %s already, which is not sent yet; send goes on with that.", same.ID))
		case paylink.BatchCanceled:
		default:
			plan.Warnings = append(plan.Warnings, fmt.Sprintf("This file was sent before as batch %s (%s); send will refuse it without --again.", same.ID, same.State))
		}
	}
	if a.json {
		err = a.object(struct {
			Plan intake.Plan `json:"plan"`
		}{plan})
	} else {
		a.printPlan(a.out, plan, "enqueue errors, once it was sent")
	}
	switch {
	case err != nil:
		return err
	case plan.Good == 0:
		return &exitError{exitFailed, errors.New("no row of this file can be sent")}
	case plan.Rejected > 0:
		return &exitError{exitRejected, nil}
	}
	return nil
}
