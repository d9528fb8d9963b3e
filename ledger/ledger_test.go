package ledger_test

import (
	"fmt"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"dunlin/internal/testenv"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
)

// databases make the addresses of empty ledgers of each kind.
var databases = []struct {
	name string
	make func(testing.TB) func(testing.TB) string
}{
	{"sqlite", func(testing.TB) func(testing.TB) string { return sqliteFile }},
	{"postgres", postgresSchemas},
}

func sqliteFile(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "dunlin.db") }

// postgresSchemas makes one database and gives each ledger a schema in it, which is much quicker to make.
func postgresSchemas(t testing.TB) func(testing.TB) string {
	server := testenv.Postgres(t)
	var n atomic.Int64
	return func(t testing.TB) string {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), server)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		name := fmt.Sprintf("ledger%d", n.Add(1))
		if _, err := conn.Exec(t.Context(), "CREATE SCHEMA "+name); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal("the server's address is no URL")
		}
		q := u.Query()
		q.Set("search_path", name)
		u.RawQuery = q.Encode()
		return u.String()
	}
}

// TestConformance runs the suite over both databases, and then looks at the plans of every statement that SQLite's writer
// has run in it.
func TestConformance(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			fresh := d.make(t)
			statements := map[string]bool{}
			ledgertest.Run(t, func(t *testing.T, now func() time.Time) *ledger.DB {
				db := ledgertest.Open(t, fresh(t), now)
				if d.name == "sqlite" {
					t.Cleanup(func() {
						for _, s := range db.WriterStatements() {
							statements[s] = true
						}
					})
				}
				return db
			})
			if d.name == "sqlite" {
				t.Run("plans", func(t *testing.T) { noScans(t, statements) })
			}
		})
	}
}
