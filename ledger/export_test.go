package ledger

import (
	"context"
	"database/sql"
	"maps"
	"runtime"
	"slices"

	"dunlin/paylink"
)

// MigrationFiles are the schema's texts.
var MigrationFiles = migrationFiles

// SQL is a way past the methods: tests break things with it and look at plans.
func (db *DB) SQL() *sql.DB { return db.read }

// Statements are the ways in which a change runs one.
type Statements struct {
	Exec, Row, Each func(query string, args ...any) error
}

// Change runs fn as one transaction that sees nothing of the ledger but plain statements.
func (db *DB) Change(ctx context.Context, fn func(Statements) error) error {
	return db.change(ctx, func(t *tx) error {
		return fn(Statements{
			Exec: func(query string, args ...any) error {
				_, err := t.exec(query, args...)
				return err
			},
			Row: func(query string, args ...any) error {
				var x any
				return t.row(query, args...).Scan(&x)
			},
			Each: func(query string, args ...any) error {
				return t.each(query, args, func(*sql.Rows) error { return nil })
			},
		})
	})
}

// AwaitWaiting returns when n changes wait for SQLite's writer.
func (db *DB) AwaitWaiting(n int) {
	for len(db.group.members) < n {
		runtime.Gosched()
	}
}

// WriterStatements are the texts that the writer has prepared so far.
func (db *DB) WriterStatements() []string {
	return slices.Sorted(maps.Keys(db.group.cache.stmts))
}

// Looks are the queries that run all the time, by name, with what a plan must say of each: which index it walks.
var Looks = map[string]struct{ Query, Index string }{
	"awake":      {awakeQuery, "messages_wake"},
	"requests":   {dueRequestsQuery, "requests_wake"},
	"sessions":   {dueSessionsQuery, "sessions_check"},
	"feedable":   {feedableQuery, "batches_active"},
	"running":    {runningQuery, "batches_active"},
	"open debts": {openDebtsQuery, "requests_debt"},
	"unapplied":  {unappliedQuery, "provider_events_unapplied"},
	"receipts":   {countReceiptsQuery, "messages_receipt"},
	"receipt":    {dueReceiptQuery, "messages_receipt"},

	"API key":                {keyQuery, "api_keys"},
	"page of batches":        {batchPageQuery, ""},
	"page of rejections":     {rejectionPageQuery, "rejections"},
	"page of events":         {eventPageQuery, ""},
	"end of a scan":          {scanTopQuery, ""},
	"page of requests":       {requestQuery(RequestQuery{}), ""},
	"requests by reference":  {requestQuery(RequestQuery{RequestFilter: RequestFilter{Reference: "x"}}), "requests_reference"},
	"requests by rare state": {requestQuery(RequestQuery{RequestFilter: RequestFilter{Dispatch: "failed"}}), "requests_stuck"},
	"requests by payment":    {requestQuery(RequestQuery{RequestFilter: RequestFilter{Payment: "paid"}}), "requests_moved"},
	"sessions of a page":     {attachSessionsQuery, "sessions_request"},
	"messages of a page":     {attachMessagesQuery, "messages"},
	"looks":                  {dueLooksQuery, "sessions_look"},
	"behind":                 {looksBehindQuery, "sessions_look"},
	"found":                  {foundQuery, "payments_found"},
	"odd":                    {oddEventsQuery, "provider_events_odd"},
	"holds over":             {holdsOverQuery, "batches_active"},

	"page of failed":  {pageQueryText(PageFilter{Dispatch: paylink.DispatchFailed}), "requests_stuck"},
	"page of paid":    {pageQueryText(PageFilter{Payment: paylink.PaymentPaid}), "requests_moved"},
	"by reference":    {byReferenceQuery, "requests_reference"},
	"by name":         {byNameQuery, "contacts_name"},
	"by last name":    {byLastNameQuery, "contacts_last_name"},
	"by mailbox":      {byEmailQuery, "contacts_email"},
	"by phone":        {byPhoneQuery, "contacts_phone"},
	"causes":          {causeQueries[paylink.DispatchFailed], "requests_stuck"},
	"lost messages":   {lostQuery, "messages_lost"},
	"open flags":      {openFlagsQuery, "flags_open"},
	"standing":        {standingQuery, "batches_active"},
	"batch events":    {batchEventsQuery, "events_request"},
	"sessions of one": {sessionsOfQuery, "sessions_request"},
}

func requestQuery(q RequestQuery) string {
	text, _ := q.query(0, 0)
	return text
}

// pageQueryText is the query of a page of requests.
func pageQueryText(f PageFilter) string {
	query, _, _ := pageQuery(f)
	return query
}
