package hooks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"dunlin/checkout/ottu"
	"dunlin/paylink"
	"dunlin/web/hooks"
)

// FuzzForged delivers any body of any size, as it is and signed with somebody else's key: nothing panics, and nothing is
// stored or applied.
func FuzzForged(f *testing.F) {
	f.Add([]byte(`{"state":"paid","amount":"1.000","currency_code":"KWD","order_no":"X"}`), uint32(0), "another key")
	f.Add([]byte(`{"state":"paid","signature":""}`), uint32(256<<10), "")
	f.Add([]byte(`[`), uint32(300_000), key+" ")
	f.Add([]byte(`{"signature":null}`), uint32(5_000_000), key[:len(key)-1])
	f.Fuzz(func(t *testing.T, body []byte, pad uint32, other string) {
		if other == key {
			return
		}
		h, err := hooks.New(hooks.Config{Provider: "ottu", Ledger: closed{t}, Reader: ottu.Events{Keys: []string{key, ""}},
			Ask: func(context.Context, string) (paylink.CheckoutSession, error) {
				t.Error("the provider was asked about a forged event")
				return paylink.CheckoutSession{}, paylink.ErrNotFound
			}})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		deliveries := [][]byte{append(body[:len(body):len(body)], bytes.Repeat([]byte(" "), int(pad%(8<<20)))...)}
		var o map[string]any
		if json.Unmarshal(body, &o) == nil && o != nil {
			deliveries = append(deliveries, signed(other, o))
		}
		for _, sent := range deliveries {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(sent)))
			if w.Code != http.StatusUnauthorized && w.Code != http.StatusRequestEntityTooLarge {
				t.Errorf("got %d for %d bytes, want it refused", w.Code, len(sent))
			}
		}
		if got := h.Stats(); got.Forged != int64(len(deliveries)) || got.Stored+got.Doubled+got.Lost != 0 {
			t.Errorf("got %+v, want %d forged", got, len(deliveries))
		}
	})
}

// closed is a ledger that must not be written to.
type closed struct{ t *testing.T }

func (c closed) StoreEvent(context.Context, string, string, []byte) (e paylink.StoredEvent, fresh bool, err error) {
	c.t.Error("a forged event was stored")
	return e, true, nil
}

func (c closed) UnappliedEvents(context.Context, string, paylink.EventID, int) ([]paylink.StoredEvent, error) {
	return nil, nil
}

func (c closed) CloseEvent(context.Context, paylink.EventID, paylink.EventOutcome) error {
	c.t.Error("a forged event was closed")
	return nil
}

func (c closed) ApplyPayment(context.Context, paylink.EventID, paylink.PaymentEvent, *paylink.CheckoutSession) (paylink.EventOutcome, error) {
	c.t.Error("a forged event was applied")
	return "", nil
}
