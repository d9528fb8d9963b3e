package intake

import (
	"bytes"
	"encoding/json"
	"fmt"

	"dunlin/batchfile"
	"dunlin/paylink"
)

// Address reads one address by the rules of a payer file, in the form in which the ledger knows it. country is that of
// numbers without a country code. The error is of kind [paylink.ErrInvalid] and quotes nothing.
func Address(ch paylink.Channel, text, country string) (string, error) {
	row := map[string]string{"amount": "1", "currency": "USD", "channels": string(ch), "email": text}
	if ch != paylink.Email {
		delete(row, "email")
		row["phone"] = text
	}
	file, err := json.Marshal([]map[string]string{row})
	if err != nil {
		return "", err
	}
	reader, err := batchfile.NewReader(bytes.NewReader(file), int64(len(file)), batchfile.Options{Name: "address.json", Defaults: batchfile.Defaults{Country: country}})
	if err != nil {
		return "", err
	}
	defer reader.Close()
	good, bad, err := reader.Next()
	switch {
	case err != nil:
		return "", err
	case bad != nil:
		return "", fmt.Errorf("%s; %s: %w", bad.Reason, bad.Hint, paylink.ErrInvalid)
	case ch == paylink.Email:
		return good.Email, nil
	}
	return good.Phone, nil
}
