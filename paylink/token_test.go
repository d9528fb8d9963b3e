package paylink_test

import (
	"bytes"
	"errors"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"dunlin/paylink"
)

func drawToken(t *rapid.T, batches int64, rows int) (paylink.RequestID, []byte) {
	id := paylink.NewRequestID(paylink.BatchID(rapid.Int64Range(1, batches).Draw(t, "batch")), rapid.IntRange(1, rows).Draw(t, "row"))
	return id, rapid.SliceOfN(rapid.Byte(), 10, 10).Draw(t, "secret")
}

func TestTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, secret := drawToken(t, maxBatch, paylink.MaxRows)
		token := paylink.Token(id, secret)
		got, gotSecret, err := paylink.ParseToken(token)
		if err != nil || got != id || !bytes.Equal(gotSecret, secret) {
			t.Fatalf("%s: got %v, %x, %v, want %v, %x", token, got, gotSecret, err, id, secret)
		}
	})
}

// A link stands in an SMS: its length is money.
func TestTokenIsShort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, secret := drawToken(t, 9_999, 99_999)
		if token := paylink.Token(id, secret); len(token) > 22 {
			t.Fatalf("got %d characters for %s, want at most 22: %s", len(token), id, token)
		}
	})
	longest := paylink.Token(paylink.NewRequestID(9_999, 99_999), bytes.Repeat([]byte{0xff}, 10))
	if len(longest) > 22 {
		t.Errorf("got %d characters for the longest, want at most 22", len(longest))
	}
}

// Whoever changes any one character holds no link of ours: the token is refused, or its secret is not the stored one.
func TestTokenTampered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, secret := drawToken(t, maxBatch, paylink.MaxRows)
		token := paylink.Token(id, secret)
		i := rapid.IntRange(0, len(token)-1).Draw(t, "place")
		c := rapid.StringMatching(`[1-9A-HJ-NP-Za-km-z]`).Filter(func(c string) bool { return c[0] != token[i] }).Draw(t, "character")
		changed := token[:i] + c + token[i+1:]
		got, gotSecret, err := paylink.ParseToken(changed)
		if err == nil && got == id && paylink.SecretEqual(gotSecret, secret) {
			t.Fatalf("%s opens %s as %s does", changed, id, token)
		}
	})
}

func TestParseTokenRefuses(t *testing.T) {
	id, secret := paylink.NewRequestID(12, 345), bytes.Repeat([]byte{7}, 10)
	good := paylink.Token(id, secret)
	for name, token := range map[string]string{
		"empty":                     "",
		"character that looks like": good[:3] + "0" + good[4:],
		"not ascii":                 good + "é",
		"with a path":               good + "/",
		"leading zero":              "1" + good,
		"too long":                  strings.Repeat("z", 41),
		"zero":                      "1",
		"cut off":                   good[:len(good)-1],
		"doubled":                   good + good,
		"short secret":              paylink.Token(id, secret[:9]),
		"long secret":               paylink.Token(id, append(secret, 7)),
		"no secret":                 paylink.Token(id, nil),
		"batch zero":                paylink.Token(paylink.NewRequestID(0, 1), secret),
		"row zero":                  paylink.Token(paylink.NewRequestID(1, 0), secret),
		"row out of range":          paylink.Token(paylink.NewRequestID(1, paylink.MaxRows+1), secret),
		"batch spelled longer":      base58(append([]byte{1, 0x81, 0x00, 1}, secret...)), // 0x81 0x00 is a longer 1
	} {
		got, gotSecret, err := paylink.ParseToken(token)
		if !errors.Is(err, paylink.ErrInvalid) || got != 0 || gotSecret != nil {
			t.Errorf("%s: got %v, %x, %v, want %v", name, got, gotSecret, err, paylink.ErrInvalid)
		}
		if err != nil && token != "" && len(token) > 3 && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows the token: %v", name, err)
		}
	}
}

// base58 is a second writing of the encoding, for tokens that Token would never make.
func base58(b []byte) string {
	const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	var out []byte
	for n, digit := new(big.Int).SetBytes(b), new(big.Int); n.Sign() > 0; {
		n.DivMod(n, big.NewInt(58), digit)
		out = append(out, digits[digit.Int64()])
	}
	slices.Reverse(out)
	return string(out)
}

// The encoding is in links that payers hold; it may never change.
func TestTokenGolden(t *testing.T) {
	secret := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	got, want := paylink.Token(paylink.NewRequestID(12, 345), secret), base58(append([]byte{1, 12, 0xd9, 0x02}, secret...))
	if got != want || got != "PPnf3ssgk8AcwU24tx" {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSecrets(t *testing.T) {
	a, b := paylink.NewSecret(), paylink.NewSecret()
	if len(a) != 10 || bytes.Equal(a, b) {
		t.Errorf("got secrets %x and %x, want two different ones of 10 bytes", a, b)
	}
	for _, tt := range []struct {
		name string
		a, b []byte
		want bool
	}{
		{"itself", a, bytes.Clone(a), true},
		{"another", a, b, false},
		{"shorter", a, a[:9], false},
		{"none", a, nil, false},
	} {
		if got := paylink.SecretEqual(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	secret := bytes.Repeat([]byte{7}, 10)
	good := paylink.Token(paylink.NewRequestID(12, 345), secret)
	for _, s := range []string{good, "1" + good, good[1:], "", "0", strings.Repeat("z", 40), base58(append([]byte{1, 0x81, 0x00, 1}, secret...)), "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, secret, err := paylink.ParseToken(s)
		if err != nil {
			if id != 0 || secret != nil || !errors.Is(err, paylink.ErrInvalid) {
				t.Fatalf("got %v, %x with error %v", id, secret, err)
			}
			return
		}
		if got := paylink.Token(id, secret); got != s {
			t.Fatalf("%s is taken for %v, whose token is %s", s, id, got)
		}
	})
}

func TestOrderNumber(t *testing.T) {
	form := regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,18}[A-Za-z0-9])?-[0-9A-V]{12}$`)
	for _, tt := range []struct{ name, reference, prefix string }{
		{"plain", "INV-2027-001", "INV-2027-001-"},
		{"empty", "", "D-"},
		{"arabic", "فاتورة ١٢", "D-"},
		{"arabic and latin", "فاتورة A7", "A7-"},
		{"odd characters", "a/b c_d.e\n\x00'\"<>%é", "abcde-"},
		{"only dashes", "---", "D-"},
		{"dashes around", "-A-", "A-"},
		{"cut at 20", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEFGHIJKLMNOPQRST-"},
		{"cut at a dash", "ABCDEFGHIJKLMNOPQRS-UVW", "ABCDEFGHIJKLMNOPQRS-"},
		{"broken text", "A\xffB", "AB-"},
	} {
		got := paylink.NewOrderNo(tt.reference)
		if !strings.HasPrefix(got, tt.prefix) || len(got) != len(tt.prefix)+12 || !form.MatchString(got) || len(got) > 37 {
			t.Errorf("%s: got %q, want %s and 12 random characters", tt.name, got, tt.prefix)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if got := paylink.NewOrderNo(rapid.String().Draw(t, "reference")); !form.MatchString(got) || len(got) > 37 {
			t.Fatalf("got %q", got)
		}
	})
}

func TestOrderNumbersDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 20_000 {
		no := paylink.NewOrderNo("INV-1")
		if seen[no] {
			t.Fatalf("got %s twice", no)
		}
		seen[no] = true
	}
}
