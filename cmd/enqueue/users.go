package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"dunlin/ledger"
	"dunlin/web/signin"
)

const usersHelp = `users says who may sign in to the console, which the server shows at /console/.

  enqueue users add layla@example.com --role admin     asks for the password
  enqueue users add layla --role operator --password-file /run/secrets/layla
  enqueue users list
  enqueue users role layla approver
  enqueue users reset layla
  enqueue users disable layla --why "left the company"

Each role may do what those before it may: viewer (looks, contacts masked),
operator (uploads, sends, stops), approver (lets a large batch of another go),
admin (users, too). Whoever is changed is signed out at once.`

func (a *app) usersCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "users", Short: "say who may sign in to the console", Long: usersHelp,
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(a.usersAdd(), a.usersList(), a.usersChange("role NAME ROLE", "give a user another role", 2),
		a.usersChange("reset NAME", "give a user another password", 1),
		a.usersChange("disable NAME", "keep a user out", 1), a.usersChange("enable NAME", "let a user in again", 1))
	return cmd
}

// userJSON is a user as --json prints one.
type userJSON struct {
	Name     string      `json:"name"`
	Role     ledger.Role `json:"role"`
	Disabled bool        `json:"disabled"`
}

func (a *app) reportUser(u ledger.User, text string) error {
	if a.json {
		return a.object(userJSON{u.Name, u.Role, u.Disabled})
	}
	_, err := fmt.Fprintln(a.out, a.out.wrap("", text))
	return err
}

func (a *app) usersAdd() *cobra.Command {
	var role, file string
	cmd := &cobra.Command{
		Use: "add NAME", Short: "let somebody sign in", Long: usersHelp, Args: args(1, 1, "the user"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := known("role", role, ledger.Roles); err != nil {
				return err
			}
			hash, err := a.newPassword(ctx, file)
			if err != nil {
				return err
			}
			db, err := a.ledger(ctx, ledger.Options{}, true) // the first admin may be there before the first file
			if err != nil {
				return err
			}
			if err := db.AddUser(ctx, args[0], ledger.Role(role), hash, a.who()); err != nil {
				return err
			}
			name := ledger.UserName(args[0])
			return a.reportUser(ledger.User{Name: name, Role: ledger.Role(role)}, fmt.Sprintf("%s may sign in at /console/ as %s.", clean(name), role))
		},
	}
	cmd.Flags().StringVar(&role, "role", string(ledger.RoleViewer), "viewer, operator, approver or admin")
	cmd.Flags().StringVar(&file, "password-file", "", "a file that holds the password, instead of asking")
	return a.changes(cmd, false)
}

func (a *app) usersList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list who may sign in", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			db, err := a.openLedger(cmd.Context())
			if err != nil {
				return err
			}
			list, err := db.Users(cmd.Context())
			if err != nil {
				return err
			}
			if len(list) == 0 && !a.json {
				fmt.Fprintln(a.out, "Nobody may sign in yet: enqueue users add NAME --role admin")
			}
			for _, u := range list {
				text := fmt.Sprintf("%s %s", fit(u.Name, 32), u.Role)
				if u.Disabled {
					text += ", kept out"
				}
				if err := a.reportUser(u, text); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// usersChange makes the commands that change a user that is there.
func (a *app) usersChange(use, short string, n int) *cobra.Command {
	var file string
	what, _, _ := strings.Cut(use, " ")
	cmd := &cobra.Command{
		Use: use, Short: short, Long: usersHelp, Args: args(n, n, "the user"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			db, err := a.openLedger(ctx)
			if err != nil {
				return err
			}
			u, err := db.User(ctx, args[0])
			if err != nil {
				return fmt.Errorf("user %s: %w", clean(args[0]), err)
			}
			role, hash, said := ledger.Role(""), "", ""
			switch what {
			case "role":
				if err := known("role", args[1], ledger.Roles); err != nil {
					return err
				}
				role, said = ledger.Role(args[1]), "is "+args[1]+" now"
				u.Role = role
			case "reset":
				if hash, err = a.newPassword(ctx, file); err != nil {
					return err
				}
				said = "has another password now"
			case "disable":
				u.Disabled, said = true, "can no longer sign in"
			case "enable":
				u.Disabled, said = false, "may sign in again"
			}
			if err := db.ChangeUser(ctx, u.Name, role, hash, u.Disabled, a.who(), strings.TrimSpace(what+" "+a.why)); err != nil {
				return err
			}
			return a.reportUser(u, fmt.Sprintf("%s %s.", clean(u.Name), said))
		},
	}
	if what == "reset" {
		cmd.Flags().StringVar(&file, "password-file", "", "a file that holds the password, instead of asking")
	}
	return a.changes(cmd, false)
}

// newPassword asks for a password without showing it, or reads it from a file, and gives its hash.
func (a *app) newPassword(ctx context.Context, file string) (string, error) {
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return signin.Hash(strings.TrimRight(string(content), "\r\n"))
	}
	if !a.asks {
		return "", usage("nobody can be asked for the password here\nTo go on: --password-file FILE")
	}
	type answer struct {
		text string
		err  error
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(a.err, prompt)
		fd := int(os.Stdin.Fd())
		before, err := term.GetState(fd)
		if err != nil {
			return "", fmt.Errorf("ask for the password: %w", err)
		}
		got := make(chan answer, 1)
		go func() {
			b, err := term.ReadPassword(fd)
			got <- answer{string(b), err}
		}()
		select {
		case x := <-got:
			fmt.Fprintln(a.err)
			return x.text, x.err
		case <-ctx.Done(): // the terminal must show again what is typed
			fmt.Fprintln(a.err)
			return "", errors.Join(ctx.Err(), term.Restore(fd, before))
		}
	}
	first, err := ask(fmt.Sprintf("Password, at least %d characters: ", signin.MinPassword))
	if err != nil {
		return "", err
	}
	hash, err := signin.Hash(first)
	if err != nil {
		return "", err
	}
	second, err := ask("Once more: ")
	if err == nil && second != first {
		err = errors.New("the two are not the same; nothing was changed")
	}
	if err != nil {
		return "", err
	}
	return hash, nil
}
