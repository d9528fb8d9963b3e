package hooks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dunlin/checkout/ottu"
	"dunlin/internal/testenv"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
	"dunlin/web/hooks"
)

const oldKey, key = "old-webhook-key", "webhook-key"

var databases = []struct {
	name string
	open func(*testing.T) string
}{
	{"sqlite", func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "dunlin.db") }},
	{"postgres", func(t *testing.T) string { return testenv.Postgres(t) }},
}

// shop is a receiver over a real ledger, and the provider that it may ask.
type shop struct {
	*testing.T
	db    *ledger.DB
	hook  *hooks.Receiver
	asked atomic.Int64
	sees  func(providerID string) (paylink.CheckoutSession, error)
}

func open(t *testing.T, address string, wrap func(hooks.Ledger) hooks.Ledger, change ...func(*hooks.Config)) *shop {
	t.Helper()
	s := &shop{T: t, db: ledgertest.Open(t, address, nil)}
	s.sees = func(string) (paylink.CheckoutSession, error) { return paylink.CheckoutSession{}, paylink.ErrNotFound }
	c := hooks.Config{Provider: "ottu", Ledger: s.db, Reader: ottu.Events{Keys: []string{key, oldKey}},
		Ask: func(_ context.Context, id string) (paylink.CheckoutSession, error) { s.asked.Add(1); return s.sees(id) }}
	if wrap != nil {
		c.Ledger = wrap(s.db)
	}
	for _, f := range change {
		f(&c)
	}
	var err error
	if s.hook, err = hooks.New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.hook.Close)
	return s
}

// sessions makes n debts with a session each.
func (s *shop) sessions(n int) []paylink.Session {
	s.Helper()
	b := ledgertest.Import(s.T, s.db, n)
	wakes, err := s.db.Feed(s.Context(), b, n)
	if err != nil {
		s.Fatal(err)
	}
	out := make([]paylink.Session, n)
	var wg sync.WaitGroup
	for i, w := range wakes {
		wg.Go(func() {
			c, err := s.db.ClaimSession(s.Context(), paylink.RequestID(w.ID), w.Epoch, paylink.ClaimOptions{Worker: "w", Lease: time.Minute})
			if err != nil {
				s.Error(err)
				return
			}
			seen := paylink.CheckoutSession{ProviderID: "prov-" + c.OrderNo, OrderNo: c.OrderNo, URL: "https://pay.example", State: paylink.SessionOpen}
			if _, err := s.db.RecordSession(s.Context(), c, seen); err != nil {
				s.Error(err)
			}
			out[i] = paylink.Session{ID: c.Session, RequestID: c.Request.ID, OrderNo: c.OrderNo, ProviderID: seen.ProviderID, Amount: c.Request.Amount}
		})
	}
	wg.Wait()
	if s.Failed() {
		s.FailNow()
	}
	return out
}

// body is a payment event as Ottu writes it.
func body(x paylink.Session, state, reference string) map[string]any {
	return map[string]any{"amount": x.Amount.Decimal(), "currency_code": x.Amount.Currency, "settled_amount": x.Amount.Decimal(),
		"order_no": x.OrderNo, "session_id": x.ProviderID, "state": state, "result": "success", "reference_number": reference,
		"customer_email": "payer@example.test", "gateway_account": "knet", "token": map[string]any{"token": "4111-card-token", "number": "**** 1111"}}
}

func signed(key string, b map[string]any) []byte {
	b = maps.Clone(b)
	b["signature"] = sandbox.SignWebhook(key, b)
	out, err := json.Marshal(b)
	if err != nil {
		panic(err)
	}
	return out
}

func (s *shop) post(body []byte) int {
	r := httptest.NewRequest(http.MethodPost, "/hooks/ottu", bytes.NewReader(body))
	w := httptest.NewRecorder()
	s.hook.ServeHTTP(w, r)
	return w.Code
}

func (s *shop) payment(id paylink.RequestID) (paylink.PaymentState, int64) {
	s.Helper()
	l, err := s.db.Request(s.Context(), id)
	if err != nil {
		s.Fatal(err)
	}
	return l.Request.Payment, l.Paid
}

func TestDelivery(t *testing.T) {
	s := open(t, databases[0].open(t), nil)
	x := s.sessions(4)
	tampered := body(x[1], "paid", "R1")
	tampered["signature"] = sandbox.SignWebhook(key, tampered)
	tampered["amount"] = "0.001"
	forged, err := json.Marshal(tampered)
	if err != nil {
		t.Fatal(err)
	}
	unsigned, _ := json.Marshal(body(x[1], "paid", "R1"))
	unknown := body(x[1], "paid", "R1")
	unknown["order_no"] = "SOMEBODY-ELSE"
	odd := body(x[1], "paid", "R1")
	odd["settled_amount"] = []any{}
	for _, tt := range []struct {
		name string
		body []byte
		want int
	}{
		{"paid", signed(key, body(x[0], "paid", "R1")), 200},
		{"the same again", signed(key, body(x[0], "paid", "R1")), 200},
		{"signed with the key before", signed(oldKey, body(x[2], "paid", "R1")), 200},
		{"tampered with", forged, 401},
		{"another key", signed("guess", body(x[1], "paid", "R1")), 401},
		{"not signed", unsigned, 401},
		{"not JSON", []byte("hello"), 401},
		{"empty", nil, 401},
		{"too large", bytes.Repeat([]byte(" "), 300<<10), 413},
		{"an order of nobody's", signed(key, unknown), 200},
		{"signed and unreadable", signed(key, odd), 200},
		{"canceled", signed(key, body(x[3], "canceled", "R1")), 200},
	} {
		if got := s.post(tt.body); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
	for i, want := range []paylink.PaymentState{paylink.PaymentPaid, paylink.PaymentUnpaid, paylink.PaymentPaid, paylink.PaymentUnpaid} {
		if got, _ := s.payment(x[i].RequestID); got != want {
			t.Errorf("debt %d: got %s, want %s", i, got, want)
		}
	}
	if got, want := s.hook.Stats(), (hooks.Stats{Stored: 5, Doubled: 1, Forged: 6}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	flags, err := s.db.Flags(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, f := range flags {
		kinds = append(kinds, string(f.Kind))
	}
	if got, want := strings.Join(kinds, " "), "unknown_order unreadable"; got != want {
		t.Errorf("got flags %q, want %q", got, want)
	}
	ledgertest.Audit(t, s.db)
}

// TestFlood is ten thousand deliveries, half of them doubled, shuffled or forged; a quarter of that over PostgreSQL.
func TestFlood(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			debts, deliveries := 1000, 10_000
			if d.name == "postgres" {
				debts, deliveries = 250, 2500
			}
			s := open(t, d.open(t), nil)
			x := s.sessions(debts)
			random := rand.New(rand.NewPCG(7, 7))
			var all [][]byte
			forged := int64(0)
			for i := 0; len(all) < deliveries; i++ {
				of := x[i%debts]
				switch i / debts % 5 {
				case 0:
					all = append(all, signed(key, body(of, "pending", "P1")))
				case 1:
					if i%debts%10 != 0 { // every tenth is never paid
						all = append(all, signed(key, body(of, "paid", "R1")))
					}
				case 2: // doubled
					all = append(all, signed(key, body(of, "attempted", "P0")), signed(key, body(of, "attempted", "P0")))
				case 3:
					if i%debts%10 != 0 {
						all = append(all, signed(oldKey, body(of, "paid", "R1")))
					}
				default:
					all = append(all, signed(fmt.Sprintf("guess %d", i), body(of, "paid", "F1")))
					forged++
				}
			}
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			var refused atomic.Int64
			work := make(chan []byte)
			var wg sync.WaitGroup
			for range 32 {
				wg.Go(func() {
					for b := range work {
						switch code := s.post(b); code {
						case 200:
						case 401:
							refused.Add(1)
						default:
							t.Errorf("got %d", code)
						}
					}
				})
			}
			for _, b := range all {
				work <- b
			}
			close(work)
			wg.Wait()
			if refused.Load() != forged {
				t.Errorf("%d were refused, %d forged", refused.Load(), forged)
			}
			s.hook.Close()
			if left, err := s.db.UnappliedEvents(t.Context(), "ottu", 0, 10); err != nil || len(left) > 0 {
				t.Errorf("%d left, %v", len(left), err)
			}
			for i, of := range x {
				want, money := paylink.PaymentPaid, int64(12500)
				if i%10 == 0 {
					want, money = paylink.PaymentUnpaid, 0
				}
				if got, paid := s.payment(of.RequestID); got != want || paid != money {
					t.Errorf("debt %d: got %s with %d paid, want %s with %d", i, got, paid, want, money)
				}
			}
			if flags, err := s.db.Flags(t.Context(), 0, 10); err != nil || len(flags) > 0 {
				t.Errorf("got flags %v, %v", flags, err)
			}
			ledgertest.Audit(t, s.db)
		})
	}
}

// brokenLedger fails in one of its methods a number of times.
type brokenLedger struct {
	hooks.Ledger
	store, apply atomic.Int64
}

var errDown = errors.New("the database is away")

func (b *brokenLedger) StoreEvent(ctx context.Context, provider, key string, raw []byte) (paylink.StoredEvent, bool, error) {
	if b.store.Add(-1) >= 0 {
		return paylink.StoredEvent{}, false, errDown
	}
	return b.Ledger.StoreEvent(ctx, provider, key, raw)
}

func (b *brokenLedger) ApplyPayment(ctx context.Context, id paylink.EventID, ev paylink.PaymentEvent, seen *paylink.CheckoutSession) (paylink.EventOutcome, error) {
	if b.apply.Add(-1) >= 0 {
		return "", errDown
	}
	return b.Ledger.ApplyPayment(ctx, id, ev, seen)
}

func TestOutage(t *testing.T) {
	broken := &brokenLedger{}
	s := open(t, databases[0].open(t), func(l hooks.Ledger) hooks.Ledger { broken.Ledger = l; return broken },
		func(c *hooks.Config) { c.Hold = 2 * time.Second })
	x := s.sessions(3)

	broken.store.Store(2) // held until the database is back
	if got := s.post(signed(key, body(x[0], "paid", "R1"))); got != 200 {
		t.Errorf("got %d, want 200 after the outage", got)
	}
	if got, _ := s.payment(x[0].RequestID); got != paylink.PaymentPaid {
		t.Errorf("got %s, want paid", got)
	}

	broken.apply.Store(1) // stored, answered, and left to the sweep
	if got := s.post(signed(key, body(x[1], "paid", "R1"))); got != 200 {
		t.Errorf("got %d, want 200", got)
	}
	if got, _ := s.payment(x[1].RequestID); got != paylink.PaymentUnpaid {
		t.Errorf("before the sweep: got %s, want unpaid", got)
	}
	if err := s.hook.Sweep(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.payment(x[1].RequestID); got != paylink.PaymentPaid {
		t.Errorf("after the sweep: got %s, want paid", got)
	}

	broken.store.Store(1 << 30)
	began := time.Now()
	if got := s.post(signed(key, body(x[2], "paid", "R1"))); got != 503 || time.Since(began) < 2*time.Second {
		t.Errorf("got %d after %s, want 503 after it was held", got, time.Since(began))
	}
	if got := s.hook.Stats().Lost; got != 1 {
		t.Errorf("%d are counted as lost, want 1", got)
	}
}

// TestLostCreate pays by a session whose create was lost: the provider is asked whose it is.
func TestLostCreate(t *testing.T) {
	s := open(t, databases[0].open(t), nil)
	b := ledgertest.Import(t, s.db, 1)
	wakes, err := s.db.Feed(t.Context(), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.db.ClaimSession(t.Context(), paylink.RequestID(wakes[0].ID), wakes[0].Epoch, paylink.ClaimOptions{Worker: "w", Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.LoseSession(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	x := paylink.Session{OrderNo: c.OrderNo, ProviderID: "late-one", Amount: c.Request.Amount}
	s.sees = func(string) (paylink.CheckoutSession, error) { return paylink.CheckoutSession{}, errDown }
	if got := s.post(signed(key, body(x, "paid", "R1"))); got != 200 {
		t.Errorf("got %d, want 200: it is stored", got)
	}
	if got, _ := s.payment(c.Request.ID); got != paylink.PaymentUnpaid {
		t.Errorf("got %s before the provider could be asked", got)
	}
	s.sees = func(id string) (paylink.CheckoutSession, error) {
		return paylink.CheckoutSession{ProviderID: id, OrderNo: c.OrderNo, State: paylink.SessionPaid}, nil
	}
	if err := s.hook.Sweep(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.payment(c.Request.ID); got != paylink.PaymentPaid {
		t.Errorf("got %s, want paid", got)
	}
	if s.asked.Load() != 2 {
		t.Errorf("asked %d times, want 2", s.asked.Load())
	}
}

// TestNoCard: what is kept holds no card.
func TestNoCard(t *testing.T) {
	var kept [][]byte
	s := open(t, databases[0].open(t), func(l hooks.Ledger) hooks.Ledger { return keeper{l, &kept} })
	s.post(signed(key, body(s.sessions(1)[0], "paid", "R1")))
	if len(kept) != 1 || slices.ContainsFunc(kept, func(b []byte) bool { return bytes.Contains(b, []byte("1111")) }) {
		t.Errorf("kept %q", kept)
	}
}

type keeper struct {
	hooks.Ledger
	kept *[][]byte
}

func (k keeper) StoreEvent(ctx context.Context, provider, key string, raw []byte) (paylink.StoredEvent, bool, error) {
	*k.kept = append(*k.kept, raw)
	return k.Ledger.StoreEvent(ctx, provider, key, raw)
}

// FuzzDelivery signs whatever the fuzzer thinks of: nothing may panic, and nothing may be paid but by our order number.
func FuzzDelivery(f *testing.F) {
	f.Add([]byte(`{"state":"paid","amount":"1.000","currency_code":"KWD","order_no":"X"}`))
	f.Add([]byte(`{"operation":"refund","result":"success","amount":1,"txn":{"currency_code":"KWD"},"order_no":"X","session_id":"y"}`))
	f.Add([]byte(`{"state":{},"order_no":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var o map[string]any
		if json.Unmarshal(b, &o) != nil || o == nil {
			o = map[string]any{"state": string(b)}
		}
		var ledger memory
		h, err := hooks.New(hooks.Config{Provider: "ottu", Ledger: &ledger, Reader: ottu.Events{Keys: []string{key}},
			Ask: func(context.Context, string) (paylink.CheckoutSession, error) {
				return paylink.CheckoutSession{}, paylink.ErrNotFound
			}})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		for _, sent := range [][]byte{b, signed(key, o)} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(sent)))
			switch w.Code {
			case 200, 400, 401, 413:
			default:
				t.Errorf("got %d", w.Code)
			}
		}
	})
}

// memory is a ledger that knows no session.
type memory struct{ hooks.Ledger }

func (memory) StoreEvent(context.Context, string, string, []byte) (paylink.StoredEvent, bool, error) {
	return paylink.StoredEvent{ID: 1}, true, nil
}
func (memory) CloseEvent(context.Context, paylink.EventID, paylink.EventOutcome) error { return nil }
func (memory) ApplyPayment(context.Context, paylink.EventID, paylink.PaymentEvent, *paylink.CheckoutSession) (paylink.EventOutcome, error) {
	return paylink.EventUnknown, nil
}
