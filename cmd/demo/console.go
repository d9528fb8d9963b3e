package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/web/signin"
)

// operator lets somebody into the console, under a password of this run.
func (d *demo) operator(ctx context.Context) (name, password string, err error) {
	name, password = "demo", rand.Text()
	hash, err := signin.Hash(password)
	if err != nil {
		return "", "", fmt.Errorf("a user for the console: %w", err)
	}
	db := d.worker.Ledger
	err = db.AddUser(ctx, name, ledger.RoleAdmin, hash, "demo")
	if errors.Is(err, paylink.ErrConflict) { // a kept ledger has the one of the run before
		err = db.ChangeUser(ctx, name, ledger.RoleAdmin, hash, false, "demo", "another run")
	}
	if err != nil {
		return "", "", fmt.Errorf("a user for the console: %w", err)
	}
	return name, password, nil
}
