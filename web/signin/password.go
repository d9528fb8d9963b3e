package signin

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// The cost of a password: what OWASP's Password Storage Cheat Sheet asks of argon2id (19 MiB, 2 passes, 1 lane).
const (
	memory  = 19 * 1024 // KiB
	passes  = 2
	lanes   = 1
	saltLen = 16
	keyLen  = 32
)

// Passwords are at least so long (NIST SP 800-63B-4 asks for 15 characters where nothing else is asked for), and bounded
// because hashing takes time.
const (
	MinPassword = 15
	maxPassword = 1024
)

// ErrPassword says what is wrong with a new password.
var ErrPassword = fmt.Errorf("a password has %d to %d characters, and not all the same", MinPassword, maxPassword)

// Hash makes what is kept of a password: "$argon2id$v=19$m=…,t=…,p=…$SALT$KEY". Its error is [ErrPassword].
func Hash(password string) (string, error) {
	if n := utf8.RuneCountInString(password); n < MinPassword || n > maxPassword || strings.Count(password, password[:1]) == len(password) {
		return "", ErrPassword
	}
	salt := make([]byte, saltLen)
	_, _ = rand.Read(salt) // never fails
	key := argon2.IDKey([]byte(password), salt, passes, memory, lanes, keyLen)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, passes, lanes, b64(salt), b64(key)), nil
}

// Check reports whether a password is the one behind a hash; a hash that it cannot read is an error.
func Check(hash, password string) (bool, error) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return false, errors.New("the password's hash is of no known kind")
	}
	var version int
	var m, t uint32
	var p uint8
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &m, &t, &p); err != nil || version != argon2.Version {
		return false, errors.New("the password's hash is of no known version")
	}
	if m < 8 || m > 1<<18 || t < 1 || t > 16 || p < 1 { // what is stored must not be able to take all memory
		return false, errors.New("the password's hash asks for too much")
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	key, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(key) == 0 {
		return false, errors.New("the password's hash cannot be read")
	}
	if len(password) > 4*maxPassword {
		return false, nil
	}
	got := argon2.IDKey([]byte(password), salt, t, m, p, uint32(len(key)))
	return subtle.ConstantTimeCompare(got, key) == 1, nil
}
