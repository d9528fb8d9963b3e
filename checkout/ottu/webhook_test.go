package ottu_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/checkout/ottu"
	"dunlin/paylink"
)

// signed puts the signature into a body whose last character is the closing brace.
func signed(body, signature string) []byte {
	return []byte(strings.TrimSuffix(strings.TrimSpace(body), "}") + `,"signature":"` + signature + `"}`)
}

func hmacOf(key, message string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(message))
	return hex.EncodeToString(m.Sum(nil))
}

const unitBody = `{"amount":"12.500","currency_code":"KWD","customer_email":"payer@example.test","customer_phone":"+96550001234",
"customer_last_name":"","gateway_account":"knet-main","gateway_name":"kpay","order_no":"B7-000042-1","reference_number":"TESTREF42",
"result":"success","state":"paid","session_id":"` + sessionID + `","payment_type":"one_off"}`

const unitSignature = "e3dda42bcaa020077cfa15140fdf75e765d6e70c289819a3aa3d62cdcf2cb964"

func TestVerifyVectors(t *testing.T) {
	for _, test := range []struct{ name, key, body, signature string }{
		{"manual, flat", "pu9MpX3yPR", `{"amount":"86.000","currency_code":"KWD","customer_first_name":"example-customer"}`,
			"6143b8ad4bd283540721ab000f6de746e722231aaaa90bc38f639081d3ff9f67"},
		{"own, flat", "unit-test-key", unitBody, unitSignature},
		{"own, paths", "unit-test-key", unitBody, "3572567edc7ccb449309c98df4a626b6301e35eda68c186d084ec7ba903648d6"},
		{"official client, paths", "test-key", `{"amount":"100.000","result":"success","session_id":"sess-1","token":{"token":"tok-1","brand":"VISA"},"state":""}`,
			"46ba93a62680c8750567583bb8074e37ccaadc6f374268b78a0c574c8424baff"},
		{"manual, paths", "pu9MpX3yPR", `{"amount":"49.990","currency_code":"KWD","customer_email":"customer@example.com","customer_first_name":"Jane",
			"customer_last_name":"","gateway_account":"credit-card","gateway_name":"mpgs","order_no":"ORD-1001","payment_type":"auto_pay",
			"reference_number":"betabulkAQ5DJ","result":"success","session_id":"a12f71075a834a34d692736ac43a212fcebfb6ec","state":"paid",
			"agreement":{"id":"AGR-abc123"},"extra":{"merchant_id":"merchant.ottu.net","autopay":{"subscription_id":"sub_abc123"}},
			"token":{"token":"9491500736137502","pg_code":"credit-card","customer_id":"cust_12345","brand":"MASTERCARD","number":"**** 0008"}}`,
			"4ea44c61554e6b64feeb82e6bfc724dc1c46bf183596f5375f5cb12cca14b7ef"},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := signed(test.body, test.signature)
			for _, keys := range [][]string{{test.key}, {"new-key", test.key}, {"", test.key, "old-key"}} {
				if !ottu.Verify(keys, body) {
					t.Errorf("Verify(%q) = false, want true", keys)
				}
			}
			for _, keys := range [][]string{nil, {}, {""}, {"wrong"}} {
				if ottu.Verify(keys, body) {
					t.Errorf("Verify(%q) = true, want false", keys)
				}
			}
			other := strings.Replace(string(body), test.signature[:4], "0000", 1)
			if ottu.Verify([]string{test.key}, []byte(other)) {
				t.Error("another signature was taken")
			}
		})
	}
}

func TestVerifyOfUnusualBodies(t *testing.T) {
	const key = "k"
	sign := func(message string) string { return hmacOf(key, message) }
	for _, test := range []struct {
		name, body string
		want       bool
	}{
		{"zero as text counts", string(signed(`{"amount":"0","state":"paid"}`, sign("amount0statepaid"))), true},
		{"null and empty are skipped", string(signed(`{"amount":null,"order_no":"","state":"paid"}`, sign("statepaid"))), true},
		{"number by its literal text", string(signed(`{"amount": 12.50 ,"state":"paid"}`, sign("amount12.50statepaid"))), true},
		{"paths skip what is false", string(signed(`{"amount":0,"extra":{"merchant_id":[ ]},"agreement":{"id":{ }},"payment_type":false,"state":"paid"}`, sign("state=paid"))), true},
		{"path through a text", string(signed(`{"token":"x","state":"paid"}`, sign("state=paid"))), true},
		{"dotted key is no path", string(signed(`{"token.token":"x","state":"paid"}`, sign("state=paid"))), true},
		{"escapes are decoded", string(signed(`{"customer_first_name":"\u0646\u0648\u0631\u0629 \"N\" \\","state":"paid"}`, sign(`customer_first_nameنورة "N" \statepaid`))), true},
		{"blanks around", " \n" + string(signed(`{"state":"paid"}`, sign("statepaid"))) + "\n", true},

		{"true has no known form", string(signed(`{"amount":true,"state":"paid"}`, sign("amounttruestatepaid"))), false},
		{"true in Python", string(signed(`{"amount":true,"state":"paid"}`, sign("amountTruestatepaid"))), false},
		{"object for a signed field", string(signed(`{"amount":{"x":"1"},"state":"paid"}`, sign(`amount{"x":"1"}statepaid`))), false},
		{"list in a list is not false", string(signed(`{"payment_type":[[]],"state":"paid"}`, sign(`state=paid`))), false},
		{"two equal keys", string(signed(`{"state":"paid","state":"failed"}`, sign("statepaid"))), false},
		{"two equal keys, last", string(signed(`{"state":"paid","state":"failed"}`, sign("statefailed"))), false},
		{"two equal keys inside", string(signed(`{"state":"paid","token":{"token":"a","token":"b"}}`, sign("state=paid\ntoken.token=b"))), false},
		{"two signatures", string(signed(string(signed(`{"state":"paid"}`, sign("x"))), sign("statepaid"))), false},
		{"nothing signed", string(signed(`{"other":"x"}`, sign(""))), false},
		{"no signature", `{"state":"paid"}`, false},
		{"null signature", `{"state":"paid","signature":null}`, false},
		{"signature is an object", `{"state":"paid","signature":{"a":"` + sign("statepaid") + `"}}`, false},
		{"upper case", string(signed(`{"state":"paid"}`, strings.ToUpper(sign("statepaid")))), false},
		{"half a signature", string(signed(`{"state":"paid"}`, sign("statepaid")[:32])), false},
		{"more after it", string(signed(`{"state":"paid"}`, sign("statepaid"))) + "{}", false},
		{"truncated", strings.TrimSuffix(string(signed(`{"state":"paid"}`, sign("statepaid"))), "}"), false},
		{"list", `["` + sign("statepaid") + `"]`, false},
		{"not UTF-8", string(signed("{\"customer_first_name\":\"\xff\"}", sign("customer_first_name\ufffd"))), false},
		{"HMAC of the raw body", string(signed(`{"state":"paid"}`, sign(`{"state":"paid"}`))), false},
		{"empty", ``, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := ottu.Verify([]string{key}, []byte(test.body)); got != test.want {
				t.Errorf("Verify = %v, want %v for %s", got, test.want, test.body)
			}
		})
	}
}

// TestShiftedValuesDoNotParse: the first scheme does not mark where a value ends, so text moved into the neighbour keeps
// the signature. What comes out must not be readable as something else.
func TestShiftedValuesDoNotParse(t *testing.T) {
	for name, change := range map[string][2]string{
		"state into result":      {`"result":"success","state":"paid"`, `"result":"successstatepaid"`},
		"all into the reference": {`"reference_number":"TESTREF42",` + "\n" + `"result":"success","state":"paid"`, `"reference_number":"TESTREF42resultsuccessstatepaid"`},
		"currency into amount":   {`"amount":"12.500","currency_code":"KWD"`, `"amount":"12.500currency_codeKWD"`},
		"payment as operation":   {`"result":"success","state":"paid"`, `"result":"successstatepaid","operation":"refund","txn":{"amount":"12.500","currency_code":"KWD","state":"refunded"}`},
		"without any result":     {`"reference_number":"TESTREF42",` + "\n" + `"result":"success","state":"paid"`, `"reference_number":"TESTREF42resultsuccessstatepaid","txn":{"amount":"12.500","currency_code":"KWD","state":"refunded"}`},
	} {
		t.Run(name, func(t *testing.T) {
			body := signed(strings.Replace(unitBody, change[0], change[1], 1), unitSignature)
			if !ottu.Verify([]string{"unit-test-key"}, body) {
				t.Fatal("the shift did not keep the signature, so this proves nothing")
			}
			if w, err := ottu.ParseWebhook(body); err == nil {
				t.Errorf("parsed as %+v", w)
			}
		})
	}
}

func TestParsePaymentWebhook(t *testing.T) {
	body := `{"amount":"10.000","amount_details":{"amount":"10.000","fee":"20.000"},"currency_code":"KWD","customer_email":"payer@example.test",
	"fee":"20.000 KWD","gateway_account":"credit-card","gateway_name":"mpgs","gateway_response":{"pan":"x"},"is_sandbox":true,"operation":"purchase",
	"order_no":"A-1","paid_amount":"30.000","settled_amount":10.000,"refunded_amount":0,"remaining_amount":"0.000","voided_amount":null,
	"payment_type":"one_off","reference_number":"REF48G8SS","result":"error","session_id":"` + sessionID + `","state":"paid","timestamp_utc":"2026-11-22 09:00:07",
	"transactions":[{"amount":"4.000","currency_code":"KWD","order_no":"","session_id":"child1","state":"refund_queued"},{"session_id":"child2","state":"odd"}],"extra":{}}`
	got, err := ottu.ParseWebhook([]byte(body))
	if err != nil {
		t.Fatalf("ParseWebhook: %v", err)
	}
	settled, paid, zero := kwd(10000), kwd(30000), kwd(0)
	want := ottu.Webhook{
		OrderNo: "A-1", ProviderID: sessionID, Amount: kwd(10000), Settled: &settled, Paid: &paid, Refunded: &zero, Remaining: &zero,
		State: paylink.SessionPaid, RawState: "paid", Result: "error", ReferenceNumber: "REF48G8SS", GatewayAccount: "credit-card",
		At: time.Date(2026, 11, 22, 9, 0, 7, 0, time.UTC), Sandbox: true,
		Children: []ottu.Transaction{
			{ProviderID: "child1", Amount: kwd(4000), State: paylink.SessionPaid, RawState: "refund_queued"},
			{ProviderID: "child2", RawState: "odd"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("webhook (-want +got):\n%s", diff)
	}
}

func TestParseOperationWebhook(t *testing.T) {
	// As in Ottu's sample: the operation is null and the currency stands with the child only.
	body := `{"amount":"9.000","is_sandbox":false,"operation":null,"order_no":"A-1","pg_code":"credit-card","pg_response":{},"reference_number":"REF4AQ64A",
	"result":"success","session_id":"` + sessionID + `","source":"input","success":true,"timestamp_utc":"2026-11-22T09:02:06Z",
	"txn":{"amount":"9.000","currency_code":"KWD","order_no":"","session_id":"child1","state":"refunded"}}`
	got, err := ottu.ParseWebhook([]byte(body))
	if err != nil {
		t.Fatalf("ParseWebhook: %v", err)
	}
	want := ottu.Webhook{
		IsOperation: true, OrderNo: "A-1", ProviderID: sessionID, Amount: kwd(9000), Result: "success", ReferenceNumber: "REF4AQ64A",
		GatewayAccount: "credit-card", At: time.Date(2026, 11, 22, 9, 2, 6, 0, time.UTC), Operation: "refund",
		Child: &ottu.Transaction{ProviderID: "child1", Amount: kwd(9000), State: paylink.SessionRefunded, RawState: "refunded"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("webhook (-want +got):\n%s", diff)
	}
}

func TestParseWebhookLeniently(t *testing.T) {
	for _, test := range []struct {
		name, old, new string
		check          func(ottu.Webhook) bool
	}{
		{"no order number", `"order_no":"B7-000042-1"`, `"order_no":null`, func(w ottu.Webhook) bool { return w.OrderNo == "" && w.ProviderID == sessionID }},
		{"new word for the state", `"state":"paid"`, `"state":"half_paid"`, func(w ottu.Webhook) bool { return w.State == "" && w.RawState == "half_paid" }},
		{"number as the amount", `"12.500"`, `12.5`, func(w ottu.Webhook) bool { return w.Amount == kwd(12500) }},
		{"no time", `"state"`, `"timestamp_utc":"yesterday","state"`, func(w ottu.Webhook) bool { return w.At.IsZero() }},
		{"sandbox as text", `"state"`, `"is_sandbox":"true","state"`, func(w ottu.Webhook) bool { return w.Sandbox }},
		{"other case is another key", `"state"`, `"Amount":"9999.000","STATE":"refunded","state"`, func(w ottu.Webhook) bool { return w.Amount == kwd(12500) && w.State == paylink.SessionPaid }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, err := ottu.ParseWebhook([]byte(strings.Replace(unitBody, test.old, test.new, 1)))
			if err != nil || !test.check(w) {
				t.Errorf("ParseWebhook = %+v, %v", w, err)
			}
		})
	}
}

func TestParseWebhookErrors(t *testing.T) {
	for _, test := range []struct{ name, old, new string }{
		{"not an object", "{", "["},
		{"two equal keys", `"state"`, `"state":"failed","state"`},
		{"no amount", `"amount"`, `"x"`},
		{"excess decimals", `"12.500"`, `"12.5001"`},
		{"exponent", `"12.500"`, `1.25e1`},
		{"negative", `"12.500"`, `"-12.500"`},
		{"Arabic digits", `"12.500"`, `"١٢٫٥٠٠"`},
		{"unknown currency", `"KWD"`, `"KWX"`},
		{"unreadable settled amount", `"state"`, `"settled_amount":"20.000 KWD","state"`},
		{"no state", `"state":"paid"`, `"x":"paid"`},
		{"state in an object", `"state":"paid"`, `"state":{"a":"payer@example.test"}`},
		{"blanks in the order number", `"B7-000042-1"`, `"B7 payer@example.test"`},
		{"line break in the session", sessionID, `a\nb`},
		{"transactions no list", `"state"`, `"transactions":"payer@example.test","state"`},
		{"nobody", `"order_no":"B7-000042-1"`, `"session_id":null,"x":"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := strings.Replace(unitBody, test.old, test.new, 1)
			w, err := ottu.ParseWebhook([]byte(body))
			if !errors.Is(err, paylink.ErrInvalid) {
				t.Fatalf("ParseWebhook = %+v, %v, want ErrInvalid", w, err)
			}
			if strings.Contains(err.Error(), "@") || strings.Contains(err.Error(), "B7") {
				t.Errorf("the error quotes the body: %v", err)
			}
		})
	}
	if w, err := ottu.ParseWebhook([]byte(`{"amount":"1.000","currency_code":"KWD","state":"paid"}`)); err == nil {
		t.Errorf("an event of no session was parsed as %+v", w)
	}
}

func TestRedact(t *testing.T) {
	const body = `{"amount":12.50,"token":{"token":"4111"},"pg_params":{"card":"4111"},"gateway_response":"4111","Pg_Response":["4111"],
	"extra":{"a<b":"ok","Token":"4111","list":[{"card":{"n":"4111"},"keep":1}]},"signature":"abc","big":12345678901234567890}`
	const want = `{"amount":12.50,"big":12345678901234567890,"extra":{"a<b":"ok","list":[{"keep":1}]},"signature":"abc"}`
	if got := string(ottu.Redact([]byte(body))); got != want {
		t.Errorf("Redact:\n got %s\nwant %s", got, want)
	}
	for _, bad := range []string{"", "null", "[]", `"4111"`, `{"a":1`, `{"a":1}{"token":"4111"}`} {
		if got := ottu.Redact([]byte(bad)); got != nil {
			t.Errorf("Redact(%s) = %s, want nothing", bad, got)
		}
	}
}

func FuzzWebhook(f *testing.F) {
	f.Add([]byte(unitBody))
	f.Add(signed(unitBody, unitSignature))
	f.Add([]byte(`{"operation":null,"txn":{"amount":"1","currency_code":"JPY","state":"voided"},"amount":"1","order_no":"a","result":"queued"}`))
	f.Add([]byte(`{"amount":0,"token":{"token":null},"extra":{"autopay":{"subscription_id":-0.0}},"signature":"` + strings.Repeat("0", 64) + `"}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Add([]byte(`{"transactions":[null,{}],"state":"paid","amount":"1.0","currency_code":"KWD","session_id":"x"}`))
	f.Add([]byte(strings.Repeat("[", 20000)))
	f.Fuzz(func(t *testing.T, body []byte) {
		if ottu.Verify([]string{"a key that nobody has", ""}, body) {
			t.Fatal("a forged body was verified")
		}
		w, err := ottu.ParseWebhook(body)
		switch {
		case err != nil && !errors.Is(err, paylink.ErrInvalid):
			t.Errorf("error of another kind: %v", err)
		case err == nil && w.OrderNo == "" && w.ProviderID == "":
			t.Error("an event of no session was parsed")
		case err == nil && (w.Amount.Minor < 0 || !paylink.KnownCurrency(w.Amount.Currency)):
			t.Errorf("amount %+v", w.Amount)
		case err == nil && !w.IsOperation && w.RawState == "":
			t.Error("a payment event without state was parsed")
		}
		if clean := ottu.Redact(body); clean != nil {
			var o map[string]json.RawMessage
			if err := json.Unmarshal(clean, &o); err != nil {
				t.Errorf("Redact wrote no JSON object: %v", err)
			}
			for _, gone := range []string{"token", "pg_params", "gateway_response"} {
				if _, there := o[gone]; there {
					t.Errorf("%s is left in %s", gone, clean)
				}
			}
			if again := ottu.Redact(clean); string(again) != string(clean) {
				t.Errorf("Redact is not stable: %s, then %s", clean, again)
			}
		}
	})
}

// FuzzSignature signs what the schemes must read back, whatever characters a payer's name holds.
func FuzzSignature(f *testing.F) {
	f.Add("نورة \"x\" \\ \n", "A-1", "mer.chant")
	f.Add("", "0", "null")
	f.Fuzz(func(t *testing.T, name, order, merchant string) {
		for _, s := range []*string{&name, &order, &merchant} {
			*s = strings.ToValidUTF8(*s, "")
		}
		flat, lines := "amount1.000", "amount=1.000"
		add := func(to *string, format, path, value string) {
			if value != "" {
				*to += fmt.Sprintf(format, path, value)
			}
		}
		add(&flat, "%s%s", "customer_first_name", name)
		add(&flat, "%s%s", "order_no", order)
		add(&lines, "\n%s=%s", "customer_first_name", name)
		add(&lines, "\n%s=%s", "extra.merchant_id", merchant)
		add(&lines, "\n%s=%s", "order_no", order)
		for _, message := range []string{flat, lines} {
			body, err := json.Marshal(map[string]any{"amount": "1.000", "customer_first_name": name, "order_no": order,
				"extra": map[string]string{"merchant_id": merchant}, "signature": hmacOf("k", message)})
			if err != nil {
				t.Fatal(err)
			}
			if !ottu.Verify([]string{"k"}, body) {
				t.Errorf("not verified: %s", body)
			}
		}
	})
}

func FuzzDecodeSession(f *testing.F) {
	f.Add([]byte(arabicAnswer))
	f.Add([]byte(`{"session_id":"a","amount":1,"currency_code":"JPY","checkout_url":"https://x.example/"}`))
	f.Add([]byte(`{"session_id":"a","amount":"0.000","currency_code":"KWD","state":"INVALIDED","checkout_short_url":"https://u@x/"}`))
	f.Add([]byte(`{"session_id":1,"amount":"1","currency_code":"USD"}`))
	f.Add([]byte(`{"detail":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := ottu.DecodeSession(body)
		if err != nil {
			if diff := cmp.Diff(paylink.CheckoutSession{}, s); diff != "" {
				t.Errorf("a session beside an error: %s", diff)
			}
			return
		}
		if s.ProviderID == "" || strings.ContainsAny(s.ProviderID, "/?# \n") {
			t.Errorf("session id %q", s.ProviderID)
		}
		if s.Amount.Minor < 0 || !paylink.KnownCurrency(s.Amount.Currency) {
			t.Errorf("amount %+v", s.Amount)
		}
		if s.URL != "" && !strings.HasPrefix(strings.ToLower(s.URL), "http") {
			t.Errorf("link %q", s.URL)
		}
	})
}
