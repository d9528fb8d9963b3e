package batchfile

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"dunlin/paylink"
)

// DebtKey is what makes two rows the same debt: the reference if there is one, else email, phone, amount, currency and
// due date. It is the first eight bytes of a SHA-256, so a chance collision among a million debts has odds of about
// one in 37 million; whoever finds an equal key and cares compares the rows. The form is fixed: keys are stored.
func DebtKey(r *paylink.Row) uint64 {
	b := make([]byte, 0, 256)
	add := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	add("dunlin debt 1")
	if r.Reference != "" {
		add("reference")
		add(r.Reference)
	} else {
		add("contact")
		add(r.Email)
		add(r.Phone)
		add(strconv.FormatInt(r.Amount.Minor, 10))
		add(r.Amount.Currency)
		add(r.DueDate)
	}
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:8])
}
