package bounce

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"

	"dunlin/paylink"
)

const (
	// macSize is 80 bits: a wrong guess costs a conversation with the mail server.
	macSize = 10
	// maxTag is what is left of the 64 octets of a local part (RFC 5321) for "bounces+".
	maxTag = 52
	// MaxLocal is how long the local part of the configured address may be.
	MaxLocal = 64 - maxTag - 1
	// maxToken is what fits into a tag beside the MAC.
	maxToken = maxTag*5/8 - macSize
)

// tagged is written in lower case and read in any: mail systems may fold the case of an address.
var tagged = base32.HexEncoding.WithPadding(base32.NoPadding)

// Address makes the envelope senders of attempts, such as bounces+TAG@mail.example.com, and knows its own again. It is
// immutable and safe for concurrent use.
type Address struct {
	local, domain string
	keys          [][]byte
}

// NewAddress takes the mailbox that stands before and after the tag and the keys of its MACs: the first one makes them,
// each one checks them; empty ones are left out.
func NewAddress(mailbox string, keys ...string) (*Address, error) {
	local, domain, ok := strings.Cut(strings.ToLower(mailbox), "@")
	switch {
	case !ok || !plain(local, "-_.") || !plain(domain, "-.") || strings.Contains(domain, ".."):
		return nil, fmt.Errorf("the bounce address is not a plain mailbox such as bounces@mail.example.com: %w", paylink.ErrInvalid)
	case len(local) > MaxLocal:
		return nil, fmt.Errorf("the bounce address has more than %d characters before its @: %w", MaxLocal, paylink.ErrInvalid)
	}
	a := &Address{local: local, domain: domain}
	for _, k := range keys {
		if k != "" {
			a.keys = append(a.keys, []byte(k))
		}
	}
	if len(a.keys) == 0 {
		return nil, fmt.Errorf("bounce addresses need a key: %w", paylink.ErrInvalid)
	}
	return a, nil
}

// ReturnPath is the envelope sender of an attempt. It is "", which no sender takes, for a token that is empty or too long.
func (a *Address) ReturnPath(token string) string {
	if token == "" || len(token) > maxToken {
		return ""
	}
	tag := tagged.EncodeToString(append([]byte(token), mac(a.keys[0], token)...))
	return a.local + "+" + strings.ToLower(tag) + "@" + a.domain
}

// Token returns the attempt's token if the address is one that ReturnPath made, with this or an older key, whatever became
// of its case.
func (a *Address) Token(address string) (token string, ok bool) {
	local, domain, _ := strings.Cut(strings.ToLower(address), "@")
	tag, ours := strings.CutPrefix(local, a.local+"+")
	if !ours || domain != a.domain || len(tag) > maxTag {
		return "", false
	}
	b, err := tagged.DecodeString(strings.ToUpper(tag))
	if err != nil || len(b) <= macSize {
		return "", false
	}
	token = string(b[:len(b)-macSize])
	for _, key := range a.keys {
		if hmac.Equal(b[len(b)-macSize:], mac(key, token)) {
			return token, true
		}
	}
	return "", false
}

// mac keeps its purpose apart from others that the same key may have.
func mac(key []byte, token string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("dunlin bounce\x00" + token))
	return h.Sum(nil)[:macSize]
}

func plain(s, extra string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(extra, r)
	}) && strings.Trim(s, ".-") == s
}
