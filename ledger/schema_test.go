package ledger_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

// TestSchemasAgree compares what the two databases hold after the migrations: one text of SQL runs on both.
func TestSchemasAgree(t *testing.T) {
	got := map[string]map[string]string{}
	for _, d := range databases {
		db := ledgertest.Open(t, d.make(t)(t), nil)
		columns, indexes := describeSQLite, describeSQLiteIndexes
		if d.name == "postgres" {
			columns, indexes = describePostgres, describePostgresIndexes
		}
		schema := columns(t, db.SQL())
		maps.Copy(schema, indexes(t, db.SQL()))
		got[d.name] = schema
	}
	if len(got["sqlite"]) < 100 {
		t.Errorf("got only %d columns and indexes: the comparison has gone blind", len(got["sqlite"]))
	}
	if diff := cmp.Diff(got["sqlite"], got["postgres"]); diff != "" {
		t.Errorf("schemas (-sqlite +postgres):\n%s", diff)
	}
}

// types are the types that stand for each other.
var types = map[string]string{"INTEGER": "number", "BIGINT": "number", "bigint": "number", "TEXT": "text", "text": "text",
	"BLOB": "bytes", "bytea": "bytes", "BOOLEAN": "truth", "boolean": "truth"}

func column(typ string, notNull bool, value string) string {
	if types[typ] == "" {
		return "unknown type " + typ
	}
	return fmt.Sprintf("%s not null %t default %s", types[typ], notNull, strings.ToLower(value))
}

func describeSQLite(t *testing.T, db *sql.DB) map[string]string {
	out := map[string]string{}
	query(t, db, `SELECT m.name, c.name, c.type, c."notnull" OR c.pk > 0, COALESCE(c.dflt_value, '')
		FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'`,
		func(scan func(...any) error) error {
			var table, name, typ, value string
			var notNull bool
			err := scan(&table, &name, &typ, &notNull, &value)
			out[table+"."+name] = column(typ, notNull, value)
			return err
		})
	return out
}

func describePostgres(t *testing.T, db *sql.DB) map[string]string {
	out := map[string]string{}
	query(t, db, `SELECT table_name, column_name, data_type, is_nullable = 'NO', COALESCE(column_default, '')
		FROM information_schema.columns WHERE table_schema = current_schema()`, func(scan func(...any) error) error {
		var table, name, typ, value string
		var notNull bool
		err := scan(&table, &name, &typ, &notNull, &value)
		out[table+"."+name] = column(typ, notNull, strings.TrimSuffix(value, "::text"))
		return err
	})
	return out
}

// index describes an index by its table, its columns, whether it is unique, and for which rows it is.
func index(unique bool, table, columns, where string) string {
	squeeze := func(s string) string {
		s = strings.NewReplacer("CAST(", "", " AS TEXT)", "", "::text[]", "", "::text", "", `"`, "", " ", "", "(", "", ")", "").Replace(s)
		// PostgreSQL spells IN (…) as = ANY (ARRAY[…]), and NOT IN as <> ALL.
		return strings.NewReplacer("<>ALLARRAY[", "NOTIN", "=ANYARRAY[", "IN", "]", "").Replace(s)
	}
	kind := "index"
	if unique {
		kind = "unique"
	}
	return fmt.Sprintf("%s on %s: %s where %s", kind, table, squeeze(columns), squeeze(where))
}

var createIndex = regexp.MustCompile(`(?s)^CREATE (UNIQUE )?INDEX \S+ ON (?:\S+\.)?(\w+) (?:USING btree )?\((.*?)\)(?: WHERE (.*))?$`)

func describeSQLiteIndexes(t *testing.T, db *sql.DB) map[string]string {
	out := map[string]string{}
	add := func(d string) { out[d] = "there" }
	query(t, db, `SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL`, func(scan func(...any) error) error {
		var name, table, text string
		err := scan(&name, &table, &text)
		m := createIndex.FindStringSubmatch(text)
		if m == nil {
			return fmt.Errorf("cannot read %q: %w", text, err)
		}
		add(index(m[1] != "", m[2], m[3], m[4]))
		return err
	})
	// Unique constraints and keys over several columns have no text of their own. A key of one column is the row's number.
	query(t, db, `SELECT m.name, (SELECT group_concat(c.name, ', ') FROM pragma_index_info(i.name) c)
		FROM sqlite_master m JOIN pragma_index_list(m.name) i WHERE m.type = 'table' AND i.origin IN ('u', 'pk')`, func(scan func(...any) error) error {
		var table, columns string
		err := scan(&table, &columns)
		add(index(true, table, columns, ""))
		return err
	})
	query(t, db, `SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.pk = 1
		AND m.name NOT LIKE 'sqlite_%' AND (SELECT count(*) FROM pragma_table_info(m.name) x WHERE x.pk > 0) = 1`, func(scan func(...any) error) error {
		var table, columns string
		err := scan(&table, &columns)
		add(index(true, table, columns, ""))
		return err
	})
	return out
}

func describePostgresIndexes(t *testing.T, db *sql.DB) map[string]string {
	out := map[string]string{}
	query(t, db, `SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()`, func(scan func(...any) error) error {
		var text string
		err := scan(&text)
		m := createIndex.FindStringSubmatch(text)
		if m == nil {
			return fmt.Errorf("cannot read %q: %w", text, err)
		}
		out[index(m[1] != "", m[2], m[3], m[4])] = "there"
		return err
	})
	return out
}

func query(t *testing.T, db *sql.DB, text string, row func(scan func(...any) error) error) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func names[S ~string](states []S) (out []string) {
	for _, s := range states {
		out = append(out, string(s))
	}
	return out
}

// TestStatesAreTheMachines compares the lists of states in the schema with the machines.
func TestStatesAreTheMachines(t *testing.T) {
	want := map[string][]string{
		"batches.state":     names(paylink.BatchMachine.States),
		"requests.dispatch": names(paylink.DispatchMachine.States),
		"requests.payment":  names(paylink.PaymentMachine.States),
		"sessions.state":    names(paylink.SessionMachine.States),
		"messages.state":    names(paylink.MessageMachine.States),
		"messages.channel":  names(paylink.Channels),
		"gates.state":       names([]paylink.GateState{paylink.GateClosed, paylink.GateOpen, paylink.GateProbing, paylink.GateHalted}),
	}
	for _, dialect := range []string{"sqlite", "postgres"} {
		text, err := ledger.MigrationFiles.ReadFile("migrations/" + dialect + "/0001_init.sql")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string][]string{}
		table := ""
		list := regexp.MustCompile(`^  (\w+) .*CHECK \((\w+) = ('[^)]*')\)`)
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "CREATE TABLE "); ok {
				table, _, _ = strings.Cut(name, " ")
			}
			if m := list.FindStringSubmatch(line); m != nil {
				if m[1] != m[2] {
					t.Errorf("%s: the CHECK of %s.%s is about %s", dialect, table, m[1], m[2])
				}
				if column := table + "." + m[1]; want[column] != nil {
					got[column] = strings.Split(strings.ReplaceAll(m[3], "'", ""), " OR "+m[2]+" = ")
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: states (-machine +schema):\n%s", dialect, diff)
		}
	}
}

// TestDatabaseDefendsItself writes past the program.
func TestDatabaseDefendsItself(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			db := ledgertest.Open(t, d.make(t)(t), ledgertest.NewClock().Now)
			finished(t, db)
			for name, statement := range map[string]string{
				"batch state":              `UPDATE batches SET state = 'sent'`,
				"the same file twice":      `INSERT INTO batches (state, name, source_hash, source_format, created_at, created_by) SELECT state, name, source_hash, source_format, 1, '' FROM batches LIMIT 1`,
				"dispatch":                 `UPDATE requests SET dispatch = 'done'`,
				"payment":                  `UPDATE requests SET payment = 'settled'`,
				"step":                     `UPDATE requests SET step = ''`,
				"amount of nothing":        `UPDATE requests SET amount = 0`,
				"currency":                 `UPDATE requests SET currency = 'KW'`,
				"session state":            `UPDATE sessions SET state = 'created'`,
				"session ending":           `UPDATE sessions SET ending = 'why not'`,
				"session without request":  `INSERT INTO sessions (request_id, state, order_no, amount, currency, created_at) VALUES (77, 'failed', 'x', 1, 'KWD', 1)`,
				"second live session":      `INSERT INTO sessions (request_id, state, order_no, amount, currency, created_at) SELECT request_id, 'intent', 'x', 1, 'KWD', 1 FROM sessions WHERE state = 'open'`,
				"order number used again":  `INSERT INTO sessions (request_id, state, order_no, amount, currency, created_at) SELECT request_id, 'failed', order_no, 1, 'KWD', 1 FROM sessions WHERE state = 'open'`,
				"message state":            `UPDATE messages SET state = 'queued'`,
				"channel":                  `UPDATE messages SET channel = 'fax'`,
				"the same message twice":   `INSERT INTO messages (request_id, purpose, channel, n, state, next_at, created_at, updated_at) SELECT request_id, purpose, channel, n, 'owed', 1, 1, 1 FROM messages LIMIT 1`,
				"accepted, no reference":   `UPDATE messages SET provider_ref = '' WHERE state = 'accepted'`,
				"attempt, no reference":    `UPDATE attempts SET provider_ref = '' WHERE state = 'accepted'`,
				"two open attempts":        `INSERT INTO attempts (message_id, n, state, phase, worker, secret, lease_until, started_at) SELECT message_id, 98 + k, 'open', 'prepared', '', '', 1, 1 FROM attempts, (SELECT 0 AS k UNION SELECT 1) two`,
				"open beside an unknown":   `INSERT INTO attempts (message_id, n, state, phase, worker, secret, lease_until, started_at) SELECT message_id, 99, 'open', 'prepared', '', '', 1, 1 FROM attempts WHERE state = 'unknown'`,
				"the same money twice":     `INSERT INTO payments (request_id, kind, amount, currency, ref, source, at) SELECT request_id, kind, amount, currency, ref, source, 1 FROM payments LIMIT 1`,
				"rejection of no batch":    `INSERT INTO rejections (batch_id, row_no, line, col, kind, reason, hint, raw) VALUES (99, 1, 1, '', '', '', '', '')`,
				"gate state":               `INSERT INTO gates (provider, state, changed_at) VALUES ('x', 'ajar', 1)`,
				"reason of a suppression":  `INSERT INTO suppressions (channel, address_hash, reason, source, created_at) VALUES ('sms', 'x', 'why not', '', 1)`,
				"a request without secret": `UPDATE requests SET secret = NULL`,
			} {
				if res, err := db.SQL().ExecContext(t.Context(), statement); err == nil {
					n, _ := res.RowsAffected()
					t.Errorf("%s: the database took it, %d rows", name, n)
				}
			}
			ledgertest.Audit(t, db)
		})
	}
}

func TestMigrate(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			fresh := d.make(t)
			ctx := context.Background()
			t.Run("not allowed", func(t *testing.T) {
				address := fresh(t)
				if _, err := ledger.Open(ctx, address, ledger.Options{NoMigrate: true}); !errors.Is(err, ledger.ErrSchema) {
					t.Fatalf("got error %v, want ErrSchema", err)
				}
				ledgertest.Open(t, address, nil)
				db, err := ledger.Open(ctx, address, ledger.Options{NoMigrate: true})
				if err != nil {
					t.Fatalf("with the schema there: %v", err)
				}
				if err := errors.Join(db.Ping(ctx), db.Close()); err != nil {
					t.Error(err)
				}
			})
			t.Run("twice", func(t *testing.T) {
				address := fresh(t)
				b := ledgertest.Import(t, ledgertest.Open(t, address, nil), 3)
				again := ledgertest.Open(t, address, nil)
				if got, err := again.Batch(ctx, b); err != nil || got.Rows != 3 {
					t.Errorf("got %+v, error %v", got, err)
				}
			})
			t.Run("by two at once", func(t *testing.T) {
				address := fresh(t)
				var wg sync.WaitGroup
				for range 6 {
					wg.Go(func() {
						db, err := ledger.Open(ctx, address, ledger.Options{})
						if err != nil {
							t.Error(err)
							return
						}
						if err := db.Close(); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				var n int
				if err := ledgertest.Open(t, address, nil).SQL().QueryRow(`SELECT count(*) FROM schema_info`).Scan(&n); err != nil || n != 1 {
					t.Errorf("got %d rows that tell the version, error %v", n, err)
				}
			})
			t.Run("newer", func(t *testing.T) {
				address := fresh(t)
				db := ledgertest.Open(t, address, nil)
				set := func(version, compatible int) {
					if _, err := db.SQL().Exec(`UPDATE schema_info SET version = $1, min_compatible = $2`, version, compatible); err != nil {
						t.Fatal(err)
					}
				}
				set(1000, 1) // expanded only: older programs go on
				ledgertest.Open(t, address, nil)
				set(1000, 1000)
				if _, err := ledger.Open(ctx, address, ledger.Options{}); !errors.Is(err, ledger.ErrSchema) {
					t.Errorf("got error %v, want ErrSchema", err)
				}
			})
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, address := range []string{"", "dunlin.db", "mysql://x", "sqlite:", "sqlite::memory:", "sqlite:/nowhere/at/all/dunlin.db",
		"postgres://127.0.0.1:1/none?connect_timeout=1&sslmode=disable"} {
		if db, err := ledger.Open(t.Context(), address, ledger.Options{}); err == nil {
			db.Close()
			t.Errorf("%q was opened", address)
		}
	}
}

// TestDialectsShareTheirText compares the migrations line by line: beside the types they are one.
func TestDialectsShareTheirText(t *testing.T) {
	read := func(dialect string) []string {
		text, err := ledger.MigrationFiles.ReadFile("migrations/" + dialect + "/0001_init.sql")
		if err != nil {
			t.Fatal(err)
		}
		same := strings.NewReplacer("INTEGER PRIMARY KEY AUTOINCREMENT", "ID", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", "ID",
			"BLOB", "BYTES", "BYTEA", "BYTES", "INTEGER PRIMARY KEY", "KEY", "BIGINT PRIMARY KEY", "KEY", ") WITHOUT ROWID;", ");",
			// Which PostgreSQL must be told so that a prefix is a range of its index; SQLite compares bytes anyway.
			`COLLATE "C" `, "")
		return slices.Collect(strings.Lines(same.Replace(string(text))))[1:]
	}
	if diff := cmp.Diff(read("sqlite"), read("postgres")); diff != "" {
		t.Errorf("migrations (-sqlite +postgres):\n%s", diff)
	}
}
