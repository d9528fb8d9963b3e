package ottu

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
)

// cardFields may hold a saved card's token, a card's digits or a gateway's raw answer, wherever they stand.
var cardFields = []string{
	"card", "customer_payment_methods", "gateway_response", "payment_instrument", "pg_params", "pg_response",
	"sdk_setup_preload_payload", "token",
}

// Redact returns a webhook's body without card tokens, payment-method data and raw gateway answers, for storing. What is
// left is the same JSON, its keys sorted and its numbers as they were written. A body that is not one JSON object gives
// nil: what cannot be read cannot be vouched for. Verify first: the signature may cover what is removed here.
func Redact(body []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var o map[string]any
	if dec.Decode(&o) != nil || o == nil {
		return nil
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil
	}
	strip(o)
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if enc.Encode(o) != nil {
		return nil
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

func strip(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			if slices.Contains(cardFields, strings.ToLower(key)) {
				delete(v, key)
				continue
			}
			strip(inner)
		}
	case []any:
		for _, inner := range v {
			strip(inner)
		}
	}
}
