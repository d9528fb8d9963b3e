package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
type readingFlags struct{ intake.Given }

func (r *readingFlags) add(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&r.Currency, "currency", "", "of rows that name none, such as KWD (DUNLIN_DEFAULT_CURRENCY)")
	f.StringVar(&r.Country, "country", "", "of phone numbers without country code, such as KW (DUNLIN_DEFAULT_COUNTRY)")
	f.StringVar(&r.Language, "language", "", "en or ar, of rows that name none (DUNLIN_DEFAULT_LANGUAGE)")
	f.StringVar(&r.Timezone, "timezone", "", "of rows that name none, such as Asia/Kuwait (DUNLIN_DEFAULT_TIMEZONE)")
	f.StringVar(&r.Channels, "channels", "", "of rows that name none, such as 'email+whatsapp>sms': + is and, > is else (DUNLIN_DEFAULT_CHANNELS)")
	f.StringVar(&r.NumberFormat, "number-format", "", "how the file groups amounts: '1,234.5' or '1.234,5'")
	f.StringVar(&r.Delimiter, "delimiter", "", "of a CSV file; detected (tab for a tabulator)")
	f.StringVar(&r.Encoding, "encoding", "", "utf-8, utf-16, windows-1256 or latin-1; detected")
	f.StringVar(&r.Sheet, "sheet", "", "of a workbook; the first")
	f.BoolVar(&r.AllowRepeat, "allow-repeat", false, "take rows whose debt is already being asked for")
}

// reading joins the flags with the configuration's defaults.
func (r *readingFlags) reading(c *setup.Config) (intake.Reading, error) {
	out, err := r.Over(c.Reading())
	if wrong, ok := errors.AsType[*intake.GivenError](err); ok {
		return out, usage("--%s %s %s", strings.ReplaceAll(wrong.Field, "_", "-"), wrong.Value, wrong.Reason)
	}
	return out, err
}

// planSettings are what a plan takes from the configuration.
func (a *app) planSettings(c *setup.Config) (intake.Settings, error) {
	texts, err := templates.Load(c.Templates)
	if err != nil {
		return intake.Settings{}, fmt.Errorf("the message templates: %w", err)
	}
	return c.Intake(texts, a.now()), nil
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
