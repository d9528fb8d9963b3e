package paylink

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"math/big"
	"strings"
)

// secretSize is 80 bits: unguessable behind any rate limit, and short enough for an SMS.
const secretSize = 10

// NewSecret makes the unguessable part of a payer's link.
func NewSecret() []byte {
	b := make([]byte, secretSize)
	rand.Read(b)
	return b
}

// Token is the payer's part of a link, /p/{token}: the request's id and its secret in base 58 (no character that is
// mistaken for another, or that a chat program cuts off at a link's end), about 18 characters. It needs no index: the id
// finds the row and the secret proves the holder.
func Token(id RequestID, secret []byte) string {
	b := []byte{1} // keeps leading zeros through the number
	b = binary.AppendUvarint(b, uint64(id.Batch()))
	b = binary.AppendUvarint(b, uint64(id.Row()))
	b = append(b, secret...)
	n := new(big.Int).SetBytes(b)
	var out []byte
	mod, base := new(big.Int), big.NewInt(58)
	for n.Sign() > 0 {
		n.DivMod(n, base, mod)
		out = append(out, base58[mod.Int64()])
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return string(out)
}

const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// ParseToken takes a token apart. It takes only what [Token] writes, so that one link has one spelling for whoever counts
// or limits its use. The caller must compare the secret with the stored one, by [SecretEqual].
func ParseToken(s string) (RequestID, []byte, error) {
	bad := fmt.Errorf("payment link token: %w", ErrInvalid)
	if len(s) == 0 || len(s) > 40 {
		return 0, nil, bad
	}
	n, base := new(big.Int), big.NewInt(58)
	for _, c := range []byte(s) {
		i := strings.IndexByte(base58, c)
		if i < 0 {
			return 0, nil, bad
		}
		n.Add(n.Mul(n, base), big.NewInt(int64(i)))
	}
	b := n.Bytes()
	if len(b) == 0 || b[0] != 1 {
		return 0, nil, bad
	}
	batch, k := binary.Uvarint(b[1:])
	if k <= 0 || batch == 0 || batch >= 1<<31 {
		return 0, nil, bad
	}
	b = b[1+k:]
	row, k := binary.Uvarint(b)
	if k <= 0 || row == 0 || row > MaxRows || len(b[k:]) != secretSize {
		return 0, nil, bad
	}
	id, secret := NewRequestID(BatchID(batch), int(row)), b[k:]
	if Token(id, secret) != s {
		return 0, nil, bad
	}
	return id, secret, nil
}

// SecretEqual compares two secrets in constant time.
func SecretEqual(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// NewOrderNo makes the number of one attempt at a checkout session: at most 20 safe characters of the reference, a dash
// and 12 random ones; 33 in all at most, inside the 37 that the strictest gateway takes. Never reused, so that a lost
// answer can be settled by it.
func NewOrderNo(reference string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, reference)
	if len(safe) > 20 {
		safe = safe[:20]
	}
	if safe = strings.Trim(safe, "-"); safe == "" {
		safe = "D"
	}
	var b [8]byte
	rand.Read(b[:])
	return safe + "-" + strings.ToUpper(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])[:12])
}
