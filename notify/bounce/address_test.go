package bounce_test

import (
	"strings"
	"testing"

	"dunlin/notify/bounce"
)

const key, oldKey = "a key of some length", "the key before that"

func address(t testing.TB, keys ...string) *bounce.Address {
	t.Helper()
	if keys == nil {
		keys = []string{key}
	}
	a, err := bounce.NewAddress("Bounces@Mail.example.com", keys...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAddress(t *testing.T) {
	a := address(t)
	const token = "3zk.ABCDEFGH2345" // as the ledger makes them
	at := a.ReturnPath(token)
	local, domain, _ := strings.Cut(at, "@")
	if len(local) > 64 || domain != "mail.example.com" || !strings.HasPrefix(local, "bounces+") || at != strings.ToLower(at) {
		t.Errorf("ReturnPath = %q", at)
	}
	forged := strings.Replace(at, at[8:10], "00", 1)
	for _, tt := range []struct {
		name, address string
		want          bool
	}{
		{"own", at, true},
		{"folded up", strings.ToUpper(at), true},
		{"another token under the MAC", forged, false},
		{"no tag", "bounces@mail.example.com", false},
		{"empty tag", "bounces+@mail.example.com", false},
		{"no base32", "bounces+zzzz!@mail.example.com", false},
		{"another domain", strings.Replace(at, "mail.", "evil.", 1), false},
		{"another mailbox", strings.Replace(at, "bounces", "bounce", 1), false},
		{"MAC cut off", at[:len(local)-5] + "@" + domain, false},
		{"another key", address(t, "guessed key").ReturnPath(token), false},
		{"nothing", "", false},
	} {
		got, ok := a.Token(tt.address)
		if ok != tt.want || ok && got != token {
			t.Errorf("%s: Token = %q, %t, want %t", tt.name, got, ok, tt.want)
		}
	}
}

func TestKeysChange(t *testing.T) {
	before, after := address(t, oldKey), address(t, key, oldKey)
	for name, at := range map[string]string{"old": before.ReturnPath("1.SECRET"), "new": after.ReturnPath("1.SECRET")} {
		if got, ok := after.Token(at); !ok || got != "1.SECRET" {
			t.Errorf("an address of the %s key: %q, %t", name, got, ok)
		}
	}
	if _, ok := before.Token(after.ReturnPath("1.SECRET")); ok {
		t.Error("the old key alone takes what the new one made")
	}
}

func TestAddressesThatCannotBe(t *testing.T) {
	for _, mailbox := range []string{"", "bounces", "@example.com", "a b@example.com", "bounces@", "bounces@-.example", "twelve-chars@example.com",
		"b+c@example.com", "b@exa..mple.com", "b@example.com\r\nRCPT TO:<x>"} {
		if _, err := bounce.NewAddress(mailbox, key); err == nil {
			t.Errorf("%q was taken", mailbox)
		}
	}
	if _, err := bounce.NewAddress("bounces@example.com", "", ""); err == nil {
		t.Error("taken without a key")
	}
	a, err := bounce.NewAddress("eleven-char@example.com", key)
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]bool{"": false, strings.Repeat("x", 22): true, strings.Repeat("x", 23): false} {
		at := a.ReturnPath(token)
		if local, _, _ := strings.Cut(at, "@"); (at != "") != want || len(local) > 64 {
			t.Errorf("token of %d bytes: %q", len(token), at)
		}
	}
}

// FuzzToken: whatever is not made by ReturnPath is refused, and what is taken is made by it.
func FuzzToken(f *testing.F) {
	a := address(f)
	f.Add(a.ReturnPath("1.ABC"))
	f.Add("bounces+00@mail.example.com")
	f.Add("bounces+@mail.example.com@")
	f.Fuzz(func(t *testing.T, at string) {
		token, ok := a.Token(at)
		if !ok {
			return
		}
		if again, ok := a.Token(a.ReturnPath(token)); !ok || again != token {
			t.Errorf("%q gives %q, which gives %q, %t", at, token, again, ok)
		}
	})
}
