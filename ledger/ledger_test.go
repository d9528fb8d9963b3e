package ledger_test

import (
	"path/filepath"
	"testing"
	"time"

	"dunlin/internal/testenv"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
)

// databases are the addresses of empty databases of each kind.
var databases = []struct {
	name    string
	address func(testing.TB) string
}{
	{"sqlite", func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "dunlin.db") }},
	{"postgres", testenv.Postgres},
}

// TestConformance runs the suite over both databases.
func TestConformance(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			ledgertest.Run(t, func(t *testing.T, now func() time.Time) *ledger.DB {
				return ledgertest.Open(t, d.address(t), now)
			})
		})
	}
}
