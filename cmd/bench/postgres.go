package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
)

// createPostgres makes an empty database on the server at base and returns its address.
func createPostgres(ctx context.Context, base, name string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", fmt.Errorf("BENCH_POSTGRES_URL: %w", err)
	}
	db, err := sql.Open("pgx", base) // the ledger has registered the driver
	if err != nil {
		return "", err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `CREATE DATABASE "`+name+`"`); err != nil {
		return "", fmt.Errorf("create a database to measure on: %w", err)
	}
	u.Path = "/" + name
	return u.String(), nil
}
