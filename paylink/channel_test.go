package paylink_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dunlin/paylink"
)

func TestParseRoutes(t *testing.T) {
	const email, sms, whatsapp = paylink.Email, paylink.SMS, paylink.WhatsApp
	for _, tt := range []struct {
		name, in     string
		want         paylink.Routes // nil = refused
		text, spoken string
	}{
		{"one", "email", paylink.Routes{{email}}, "email", "email"},
		{"both", "email+sms", paylink.Routes{{email}, {sms}}, "email+sms", "email; and sms"},
		{"else", "whatsapp>sms", paylink.Routes{{whatsapp, sms}}, "whatsapp>sms", "whatsapp, else sms"},
		{"both and else", "email+whatsapp>sms", paylink.Routes{{email}, {whatsapp, sms}}, "email+whatsapp>sms", "email; and whatsapp, else sms"},
		{"a chain of three", "whatsapp>sms>email", paylink.Routes{{whatsapp, sms, email}}, "whatsapp>sms>email", "whatsapp, else sms, else email"},
		{"capitals", "WhatsApp > SMS", paylink.Routes{{whatsapp, sms}}, "whatsapp>sms", "whatsapp, else sms"},
		{"comma", "email, sms", paylink.Routes{{email}, {sms}}, "email+sms", "email; and sms"},
		{"semicolon and bar", "email;sms|whatsapp", paylink.Routes{{email}, {sms}, {whatsapp}}, "email+sms+whatsapp", "email; and sms; and whatsapp"},
		{"blanks", " email  sms\t", paylink.Routes{{email}, {sms}}, "email+sms", "email; and sms"},
		{"blanks around everything", "email + whatsapp\n>\u00a0sms", paylink.Routes{{email}, {whatsapp, sms}}, "email+whatsapp>sms", "email; and whatsapp, else sms"},
		{"separators too many", "+email,,sms+", paylink.Routes{{email}, {sms}}, "email+sms", "email; and sms"},
		{name: "empty", in: ""},
		{name: "only separators", in: " + , "},
		{name: "unknown channel", in: "email+fax"},
		{name: "named twice", in: "email+email"},
		{name: "named twice in a chain", in: "sms>sms"},
		{name: "named on two routes", in: "email+whatsapp>email"},
		{name: "nothing after else", in: "email>"},
		{name: "nothing before else", in: ">email"},
		{name: "else of nothing", in: "email>>sms"},
		{name: "else after a separator", in: "email+>sms"},
	} {
		got, err := paylink.ParseRoutes(tt.in)
		if diff := cmp.Diff(tt.want, got); diff != "" || (err != nil) != (tt.want == nil) {
			t.Errorf("%s: error %v (-want +got):\n%s", tt.name, err, diff)
			continue
		}
		if err != nil {
			if !errors.Is(err, paylink.ErrInvalid) {
				t.Errorf("%s: got error %v, want %v", tt.name, err, paylink.ErrInvalid)
			}
			continue
		}
		if got.String() != tt.text || got.Describe() != tt.spoken {
			t.Errorf("%s: got %q, %q, want %q, %q", tt.name, got.String(), got.Describe(), tt.text, tt.spoken)
		}
	}
}

func TestRoutesNext(t *testing.T) {
	routes := paylink.Routes{{paylink.Email}, {paylink.WhatsApp, paylink.SMS}}
	for _, tt := range []struct {
		of, next paylink.Channel
		ok       bool
	}{{paylink.Email, "", false}, {paylink.WhatsApp, paylink.SMS, true}, {paylink.SMS, "", false}, {"fax", "", false}} {
		if next, ok := routes.Next(tt.of); next != tt.next || ok != tt.ok {
			t.Errorf("after %s: got %q, %v, want %q, %v", tt.of, next, ok, tt.next, tt.ok)
		}
	}
	if !routes.Uses(paylink.SMS) || routes[:1].Uses(paylink.SMS) {
		t.Errorf("got sms in %s: %v, in %s: %v, want it in the first only", routes, routes.Uses(paylink.SMS), routes[:1], routes[:1].Uses(paylink.SMS))
	}
}

func TestRoutesInJSON(t *testing.T) {
	want := paylink.Routes{{paylink.Email}, {paylink.WhatsApp, paylink.SMS}}
	text, err := json.Marshal(want)
	if err != nil || string(text) != `"email+whatsapp\u003esms"` {
		t.Fatalf("got %s, %v", text, err)
	}
	var got paylink.Routes
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`"fax"`), &got); !errors.Is(err, paylink.ErrInvalid) {
		t.Errorf("got error %v, want %v", err, paylink.ErrInvalid)
	}
}

func TestAddress(t *testing.T) {
	c := paylink.Contact{Email: "payer@example.com", Phone: "+96512345678"}
	for ch, want := range map[paylink.Channel]string{paylink.Email: c.Email, paylink.SMS: c.Phone, paylink.WhatsApp: c.Phone} {
		if got := c.Address(ch); got != want {
			t.Errorf("%s: got %q, want %q", ch, got, want)
		}
	}
}

func FuzzParseRoutes(f *testing.F) {
	for _, s := range []string{"email+whatsapp>sms", "Email, SMS", "sms > email", ">", "+", "email>>sms", "\u00a0email", "\u212aemail", "email\x00", "\xff>sms"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		routes, err := paylink.ParseRoutes(s)
		if err != nil {
			if routes != nil || !errors.Is(err, paylink.ErrInvalid) {
				t.Fatalf("got %v with error %v", routes, err)
			}
			return
		}
		again, err := paylink.ParseRoutes(routes.String())
		if diff := cmp.Diff(routes, again); err != nil || diff != "" {
			t.Fatalf("%q does not read back: %v\n%s", s, err, diff)
		}
		var all []paylink.Channel
		for _, r := range routes {
			for i, ch := range r {
				if next, ok := routes.Next(ch); ok != (i+1 < len(r)) || (ok && next != r[i+1]) {
					t.Fatalf("%s: after %s got %q, %v", routes, ch, next, ok)
				}
				all = append(all, ch)
			}
		}
		slices.Sort(all)
		if len(all) == 0 || len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Fatalf("%q: got channels %v, want at least one and each once", s, all)
		}
	})
}
