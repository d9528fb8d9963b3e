package ottu_test

import (
	"encoding/json"
	"strings"
	"testing"

	"dunlin/checkout/ottu"
)

// FuzzTampered changes two fields of a signed event. The older scheme joins keys and values without a separator, so that
// a text may be moved from one field to the next under the same signature; such an event must not be read as another one.
func FuzzTampered(f *testing.F) {
	fields := []string{"amount", "currency_code", "order_no", "state", "result", "reference_number", "customer_email", "customer_first_name",
		"gateway_account", "gateway_name", "customer_phone"}
	for i := range fields {
		f.Add(uint8(i), "x", uint8(i+1), "")
	}
	f.Add(uint8(0), "12.500currency_codeKWD", uint8(1), "")
	f.Add(uint8(2), "B7-000042-1reference_numberTESTREF42", uint8(5), "")
	f.Add(uint8(4), "successstatepaid", uint8(3), "")
	f.Add(uint8(6), "payer@example.testcustomer_phone+96550001234", uint8(10), "")
	f.Add(uint8(6), "aorder_noANOTHERreference_number", uint8(5), "")
	const key = "unit-test-key"
	want, err := ottu.Events{}.Read([]byte(unitBody))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, i uint8, a string, j uint8, b string) {
		for _, signature := range []string{unitSignature, "3572567edc7ccb449309c98df4a626b6301e35eda68c186d084ec7ba903648d6"} {
			var o map[string]any
			if err := json.Unmarshal(signed(unitBody, signature), &o); err != nil {
				t.Fatal(err)
			}
			o[fields[int(i)%len(fields)]], o[fields[int(j)%len(fields)]] = strings.ToValidUTF8(a, ""), strings.ToValidUTF8(b, "")
			body, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			if !ottu.Verify([]string{key, "the one before"}, body) {
				continue
			}
			got, err := ottu.Events{}.Read(body)
			if err == nil && got.Result != want.Result { // swallowed by the reference: it then counts as a try that did not succeed
				got.Result, got.Reference = want.Result, want.Reference
			}
			if err == nil && got.Key() != want.Key() {
				t.Errorf("one signature, two events: %+v from %s", got, body)
			}
		}
	})
}

// TestSwallowedOrder: a payer whose name is a piece of an event pays little, and delivers the event once more as that of
// another order.
func TestSwallowedOrder(t *testing.T) {
	const name = "Aorder_noVICTIM-1reference_numberR"
	const after = "gateway_accountknetgateway_namekpayorder_noMINE-1reference_numberX1"
	const paid = `"amount":"1.000","currency_code":"KWD","result":"success","state":"paid","session_id":"s1"`
	signature := hmacOf("k", "amount1.000currency_codeKWDcustomer_last_name"+name+after+"resultsuccessstatepaid")
	for body, what := range map[string]string{
		`{` + paid + `,"customer_last_name":"` + name + `","gateway_account":"knet","gateway_name":"kpay","order_no":"MINE-1","reference_number":"X1"}`: "as it came",
		`{` + paid + `,"customer_last_name":"A","order_no":"VICTIM-1","reference_number":"R` + after + `"}`:                                             "as another's",
	} {
		if !ottu.Verify([]string{"k"}, signed(body, signature)) {
			t.Fatalf("%s: the signature does not hold, so this proves nothing", what)
		}
		if ev, err := (ottu.Events{}).Read(signed(body, signature)); err == nil {
			t.Errorf("%s: read as %+v", what, ev)
		}
	}
}
