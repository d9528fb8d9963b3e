package main

import (
	"bytes"
	"encoding/csv"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
)

func TestInertWithinACell(t *testing.T) {
	for cell, want := range map[string]string{
		"":                     "",
		"INV-2026-0042":        "INV-2026-0042",
		"b1.1":                 "b1.1",
		"5.500":                "5.500",
		"=1+1":                 "'=1+1",
		"+96550000000":         "'+96550000000",
		"-2":                   "'-2",
		"@SUM(A1)":             "'@SUM(A1)",
		"\t=1":                 "'\t'=1",
		"\r\n=1":               "'\r\n'=1",
		"＝1+1":                 "'＝1+1",
		`"=1`:                  `"'=1`,
		" =1":                  " '=1",
		`x;=HYPERLINK("http")`: `x;'=HYPERLINK("http")`,
		`x"; =1`:               `x"; '=1`,
		"x|@a":                 "x|'@a",
		"a,-b":                 "a,-b",
		"عمر;=1":               "عمر;'=1",
	} {
		if got := inert(cell); got != want {
			t.Errorf("inert(%q) = %q, want %q", cell, got, want)
		}
	}
}

// FuzzInert: whatever a spreadsheet splits a cell into, no part begins a formula.
func FuzzInert(f *testing.F) {
	for _, s := range []string{"=1", ";=1", "a|\t+", "\"';-@", "＝"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := inert(s)
		parts := []rune{}
		start := true
		for _, r := range once {
			switch r {
			case ';', '|', '\n', '\r', '\t':
				start = true
				continue
			case '=', '+', '-', '@', '＝', '＋', '－', '＠':
				if start {
					t.Fatalf("inert(%q) = %q begins a formula after %q", s, once, string(parts))
				}
			}
			if r != ' ' && r != '"' { // an apostrophe ends it
				start = false
			}
			parts = append(parts, r)
		}
	})
}

// TestExport reads back the line of a request that was paid in part, and of one whose message was refused.
func TestExport(t *testing.T) {
	address := "sqlite:" + filepath.Join(t.TempDir(), "ledger.db")
	clock := ledgertest.NewClock()
	db := ledgertest.Open(t, address, clock.Now)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b := ledgertest.Import(t, db, 2, ledgertest.Receipts, ledgertest.Each(func(r *paylink.Row) {
		r.Reference, r.InvoiceNumber = map[int]string{1: "=R1", 2: "R2;=1"}[r.Number], "INV-1"
	}))
	by := paylink.ClaimOptions{Worker: "w1", Lease: time.Minute}
	wakes, err := db.Feed(ctx, b, 2)
	must(err)
	for _, w := range wakes {
		c, err := db.ClaimSession(ctx, paylink.RequestID(w.ID), w.Epoch, by)
		must(err)
		id := "S" + c.Request.ID.String()
		sends, err := db.RecordSession(ctx, c, paylink.CheckoutSession{ProviderID: id, OrderNo: c.OrderNo, URL: "https://pay.example/" + id,
			State: paylink.SessionOpen, Amount: c.Request.Amount, ExpiresAt: clock.Now().Add(time.Hour)})
		must(err)
		m, _, err := db.ClaimMessage(ctx, paylink.MessageID(sends[0].ID), sends[0].Epoch, by)
		must(err)
		must(db.CommitMessage(ctx, m, paylink.CommitOptions{BytesHash: "b", TemplateHash: "t", Timeout: time.Second}))
		if c.Request.ID.Row() == 2 {
			_, err = db.FailMessage(ctx, m, &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseBadAddress, Code: "550 5.1.1"}, time.Time{}, true)
			must(err)
			continue
		}
		must(db.AcceptMessage(ctx, m, "2.0.0 Ok: queued", 0))
		ev := paylink.PaymentEvent{OrderNo: c.OrderNo, ProviderID: id, Amount: c.Request.Amount, Settled: &paylink.Money{Minor: 5000, Currency: "KWD"},
			State: paylink.SessionPaid, RawState: "paid", Result: "success", Reference: "R1"}
		e, _, err := db.StoreEvent(ctx, "ottu", ev.Key(), []byte(`{}`))
		must(err)
		_, err = db.ApplyPayment(ctx, e.ID, ev, nil)
		must(err)
	}
	ledgertest.Audit(t, db)

	var out, errs bytes.Buffer
	a := newApp([]string{"DUNLIN_DATABASE_URL=" + address}, strings.NewReader(""), &out, &errs)
	if code := a.run(ctx, []string{"export", b.String()}); code != 0 {
		t.Fatalf("got exit code %d: %s", code, errs.String())
	}
	lines, err := csv.NewReader(&out).ReadAll()
	must(err)
	if len(lines) != 3 {
		t.Fatalf("got %d lines, want a header and two", len(lines))
	}
	got := []map[string]string{{}, {}}
	for i, name := range lines[0] {
		for n := range got {
			got[n][name] = lines[n+1][i]
		}
	}
	for n := range got {
		if got[n]["order_no"] == "" {
			t.Errorf("line %d has no order number", n+1)
		}
		delete(got[n], "order_no")
	}
	want := []map[string]string{
		{"request": "b1.1", "row": "1", "line": "2", "reference": "'=R1", "customer_id": "", "invoice_number": "INV-1", "dispatch_state": "sent",
			"payment_state": "partially_paid", "cause": "", "code": "", "currency": "KWD", "amount": "12.500", "paid": "5.000", "left": "7.500",
			"session": "Sb1.1", "session_state": "paid", "messages": "email:accepted:2.0.0 Ok: queued", "refunded": "0.000", "receipts": "email:owed",
			"updated_at": "2026-03-02T09:00:00Z"},
		{"request": "b1.2", "row": "2", "line": "3", "reference": "R2;'=1", "customer_id": "", "invoice_number": "INV-1", "dispatch_state": "failed",
			"payment_state": "unpaid", "cause": "bad_address", "code": "550 5.1.1", "currency": "KWD", "amount": "12.500", "paid": "0.000", "left": "12.500",
			"session": "Sb1.2", "session_state": "open", "messages": "email:failed", "refunded": "0.000", "receipts": "",
			"updated_at": "2026-03-02T09:00:00Z"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the export differs (-want +got):\n%s", diff)
	}
}
