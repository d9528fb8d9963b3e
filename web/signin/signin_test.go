package signin_test

import (
	"strings"
	"testing"

	"dunlin/web/signin"
)

func TestPasswords(t *testing.T) {
	hash, err := signin.Hash("correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("got %s, want OWASP's parameters", hash)
	}
	if again, _ := signin.Hash("correct horse battery"); again == hash {
		t.Error("two hashes of one password are alike: there is no salt")
	}
	for password, want := range map[string]bool{"correct horse battery": true, "Correct horse battery": false, "": false, strings.Repeat("x", 1<<20): false} {
		if ok, err := signin.Check(hash, password); ok != want || err != nil {
			t.Errorf("%.30q: got %t, %v, want %t", password, ok, err, want)
		}
	}
	for _, weak := range []string{"", "short", "aaaaaaaaaaaaaaaaaaaa", strings.Repeat("xy", 600)} {
		if _, err := signin.Hash(weak); err == nil {
			t.Errorf("%.20q was taken as a password", weak)
		}
	}
}

// FuzzCheck: what stands in the database must not make the server fall or eat its memory.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"", "$", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$a2V5", "$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdA$a2V5",
		"$argon2id$v=19$m=8,t=1,p=0$c2FsdA$a2V5", "$argon2id$v=18$m=8,t=1,p=1$c2FsdA$a2V5", "$argon2id$v=19$m=8,t=1,p=1$$", "$2a$10$bcrypt"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, hash string) {
		if ok, err := signin.Check(hash, "password of nobody"); ok && err == nil {
			t.Errorf("%q lets anybody in", hash)
		}
	})
}

func TestNext(t *testing.T) {
	for wanted, want := range map[string]string{
		"/console/batches/b1?x=1": "/console/batches/b1?x=1", "/monitoring/": "/monitoring/",
		"": "/", "batches": "/", "//evil.example": "/", "https://evil.example/": "/", `/\evil.example`: "/", "/\t/evil.example": "/", "javascript:alert(1)": "/",
		"/%2f/evil.example": "/", "http:/console": "/",
	} {
		if got := signin.Next(wanted, "/"); got != want {
			t.Errorf("%q: got %q, want %q", wanted, got, want)
		}
	}
}
