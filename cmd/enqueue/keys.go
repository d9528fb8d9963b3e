package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dunlin/ledger"
)

const keysHelp = `keys manages who may call the HTTP API of the server.

  enqueue keys add erp --scope send --expires 90d
  enqueue keys add trial --scope send --test
  enqueue keys list
  enqueue keys revoke k3 --why "left the company"

A scope holds those before it:
  read   look at batches, requests and events, without payers and links
  send   also create, send and steer batches, and see whom they reach
  admin  also decide about money and about who may be written to

The batches of a test key are apart from all others, and are sent only where
all providers are stand-ins on this machine.`

func (a *app) keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "manage who may call the HTTP API", Long: keysHelp, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(a.addKeyCommand(), a.listKeysCommand(), a.revokeKeyCommand())
	return cmd
}

// madeKey is what keys add --json prints.
type madeKey struct {
	ledger.APIKey
	Secret string `json:"secret"`
}

func (a *app) addKeyCommand() *cobra.Command {
	var scope, expires string
	var test bool
	cmd := &cobra.Command{
		Use: "add NAME", Short: "make a key and show it once",
		Long: `add makes an API key and shows it, this once: the ledger keeps only a hash of
it. Name it for the system or person that will hold it.

  enqueue keys add erp --scope send --expires 90d`,
		Args: args(1, 1, "who will hold the key"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			k := ledger.APIKey{Name: strings.TrimSpace(args[0]), Scope: ledger.KeyScope(scope), Test: test, CreatedBy: a.who()}
			if k.Name == "" || len(k.Name) > 80 || clean(k.Name) != k.Name {
				return usage("the key's name is empty, too long or no plain text")
			}
			if scope == "" {
				return usage("--scope is one of %s", words(ledger.KeyScopes))
			}
			if err := known("scope", scope, ledger.KeyScopes); err != nil {
				return err
			}
			db, err := a.ledger(ctx, ledger.Options{}, true)
			if err != nil {
				return err
			}
			if expires != "" {
				life, err := days(expires)
				if err != nil {
					return err
				}
				k.ExpiresAt = db.Now().Add(life).UTC().Truncate(time.Second)
			}
			secret, hash, hint := ledger.NewKey(test)
			k.Hash, k.Hint = hash, hint
			if k, err = db.AddKey(ctx, k); err != nil {
				return err
			}
			if a.json {
				return a.object(madeKey{k, secret})
			}
			fmt.Fprintln(a.out, secret)
			fmt.Fprintln(a.err, a.err.wrap("", fmt.Sprintf("Key %s of %s, scope %s%s. It is not shown again. To end it: enqueue keys revoke %s", k.ID, k.Name, k.Scope, a.lifeOf(k), k.ID)))
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&scope, "scope", "", "read, send or admin")
	f.BoolVar(&test, "test", false, "its batches reach stand-ins only")
	f.StringVar(&expires, "expires", "", "after so many days or hours, such as 90d or 12h (default: never)")
	return a.changes(cmd, false)
}

func (a *app) lifeOf(k ledger.APIKey) string {
	if k.ExpiresAt.IsZero() {
		return ""
	}
	return ", good until " + a.clock(k.ExpiresAt)
}

// days reads 90d or 12h.
func days(s string) (time.Duration, error) {
	unit := time.Hour
	number, isDays := strings.CutSuffix(s, "d")
	if isDays {
		unit = 24 * time.Hour
	} else {
		number = strings.TrimSuffix(s, "h")
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 || number == s {
		return 0, usage("--expires %s is not so many days or hours, such as 90d or 12h", s)
	}
	return time.Duration(n) * unit, nil
}

func (a *app) listKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the keys, the dead ones too", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			list, err := db.Keys(ctx)
			if err != nil {
				return err
			}
			if len(list) == 0 && !a.json {
				fmt.Fprintln(a.out, "No key yet. Make one: enqueue keys add NAME --scope read")
			}
			for i, k := range list {
				if a.json {
					if err := a.object(k); err != nil {
						return err
					}
					continue
				}
				if i == 0 {
					fmt.Fprintln(a.out, a.out.bold(fmt.Sprintf("%-5s %-20s %-6s %-14s %s", "key", "name", "scope", "begins with", "")))
				}
				fmt.Fprintln(a.out, strings.TrimRight(fmt.Sprintf("%-5s %s %-6s %-14s %s", k.ID, fit(k.Name, 20), k.Scope, k.Hint, a.keyState(k, db.Now())), " "))
			}
			return nil
		},
	}
}

func (a *app) keyState(k ledger.APIKey, now time.Time) string {
	var parts []string
	if k.Test {
		parts = append(parts, "test")
	}
	switch {
	case !k.RevokedAt.IsZero():
		parts = append(parts, a.out.red("revoked")+" by "+clean(k.RevokedBy))
	case !k.Live(now):
		parts = append(parts, a.out.red("expired"))
	case !k.ExpiresAt.IsZero():
		parts = append(parts, "until "+a.clock(k.ExpiresAt))
	}
	if k.LastUsedAt.IsZero() {
		parts = append(parts, "never used")
	} else {
		parts = append(parts, "last used "+a.clock(k.LastUsedAt))
	}
	return strings.Join(parts, ", ")
}

func (a *app) revokeKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke KEY", Short: "end a key at once and for good",
		Long: `revoke ends a key at once: every server asks the ledger at each call.

  enqueue keys revoke k3 --why "seen in a public repository"`,
		Args: args(1, 1, "the key"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			id, err := ledger.ParseKeyID(args[0])
			if err != nil {
				return usage("%q is not a key, which is written like k3; enqueue keys list lists them", args[0])
			}
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			if err := db.RevokeKey(ctx, id, a.who(), a.why); err != nil {
				return err
			}
			return a.report(did{Key: id.String(), State: "revoked"}, "Key %s is revoked.", id)
		},
	}
	return a.changes(cmd, false)
}
