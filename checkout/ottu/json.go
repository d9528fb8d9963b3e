package ottu

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"dunlin/paylink"
)

// object reads one JSON object, key by key and by exact name. Decoding into a struct would not do for signed bodies: it
// takes "AMOUNT" for "amount" and the last of two equal keys, so a body could be verified by one value and applied by
// another. Two equal keys are an error here. Errors quote nothing of the input.
func object(data []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8 text")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	o := map[string]json.RawMessage{}
	for dec.More() {
		t, err := dec.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("broken JSON")
		}
		if _, twice := o[key]; twice {
			return nil, errors.New("JSON object with two equal keys")
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, errors.New("broken JSON")
		}
		o[key] = v
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("truncated JSON")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("text after the JSON object")
	}
	return o, nil
}

// text reads a string, or a number by its literal text; ok is false for anything else.
func text(v json.RawMessage) (s string, ok bool) {
	switch {
	case len(v) == 0:
		return "", false
	case v[0] == '"':
		return s, json.Unmarshal(v, &s) == nil
	case v[0] == '-' || v[0] >= '0' && v[0] <= '9':
		return string(v), true
	}
	return "", false
}

// word reads a text that is a single printable token, such as a code, a state or an order number; "" if it is none.
// Ottu's signature joins fields without a separator, so text moved from one field into the next keeps it valid; values
// that must look like a token are what such a move cannot imitate.
func word(v json.RawMessage) string {
	s, ok := text(v)
	if !ok || len(s) > 128 || strings.ContainsFunc(s, notPrintable) {
		return ""
	}
	return s
}

// isSet reports whether a field is there and neither null nor an empty text.
func isSet(v json.RawMessage) bool {
	return len(v) > 0 && string(v) != "null" && string(v) != `""`
}

// money reads an amount, which Ottu writes as a decimal string in its examples and as a number in its schema. Zero is an
// amount here (nothing refunded yet). Nothing is rounded and nothing passes through a float.
func money(v json.RawMessage, currency string) (paylink.Money, bool) {
	s, ok := text(v)
	if !ok || !paylink.KnownCurrency(currency) || strings.Trim(s, "0123456789.") != "" {
		return paylink.Money{}, false
	}
	if whole, frac, _ := strings.Cut(s, "."); whole != "" && strings.Trim(whole+frac, "0") == "" && !strings.HasSuffix(s, ".") {
		return paylink.Money{Currency: currency}, true
	}
	m, err := paylink.ParseMoney(s, currency, paylink.NumberPlain)
	return m, err == nil
}
