package main

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
)

// cameBack prints, in the form of mbox, a report ACTION STATUS about attempt ID: what a mail server brings when a mail does
// not arrive. With the action "words" it is a bounce in words, without a report.
func cameBack(ctx context.Context, a *app, args []string) error {
	c, err := a.settings()
	if err != nil {
		return err
	}
	address, err := c.BounceAddresses()
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", strings.TrimPrefix(string(c.DatabaseURL), "sqlite:"))
	if err != nil {
		return err
	}
	defer db.Close()
	id, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	var secret string
	if err := db.QueryRowContext(ctx, `SELECT secret FROM attempts WHERE id = $1`, id).Scan(&secret); err != nil {
		return err
	}
	to := address.ReturnPath(strconv.FormatInt(id, 36) + "." + secret)
	fmt.Fprintf(a.out, "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nDelivered-To: %s\nSubject: returned\n", to)
	if args[1] == "words" {
		fmt.Fprint(a.out, "\nHi. This is the qmail-send program.\n\n")
		return nil
	}
	fmt.Fprintf(a.out, `MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; nobody-knows@example.com
Action: %s
Status: %s

--b--

`, args[1], args[2])
	return nil
}
