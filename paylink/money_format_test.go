package paylink_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/bojanz/currency"

	"dunlin/paylink"
)

func TestMoneyWritten(t *testing.T) {
	for _, tt := range []struct {
		name, code            string
		minor                 int64
		decimal, en, ar, arKW string
	}{
		{"dinar", "KWD", 12500, "12.500", "KWD 12.500", "12.500 د.ك.", "١٢٫٥٠٠ د.ك."},
		{"thousands of dinars", "KWD", 1234567, "1234.567", "KWD 1,234.567", "1,234.567 د.ك.", "١٬٢٣٤٫٥٦٧ د.ك."},
		{"one fils", "KWD", 1, "0.001", "KWD 0.001", "0.001 د.ك.", "٠٫٠٠١ د.ك."},
		{"riyals", "SAR", 1234567, "12345.67", "SAR 12,345.67", "12,345.67 ر.س.", "١٢٬٣٤٥٫٦٧ ر.س."},
		{"dollars, whose symbol is Latin", "USD", 1234567, "12345.67", "USD 12,345.67", "12,345.67 USD", "١٢٬٣٤٥٫٦٧ USD"},
		{"yen", "JPY", 1234567, "1234567", "JPY 1,234,567", "1,234,567 JPY", "١٬٢٣٤٬٥٦٧ JPY"},
	} {
		m := paylink.Money{Minor: tt.minor, Currency: tt.code}
		for _, x := range []struct{ how, got, want string }{
			{"decimal", m.Decimal(), tt.decimal}, {"string", m.String(), tt.decimal + " " + tt.code},
			{"en", m.Format("en"), tt.en}, {"en-KW", m.Format("en-KW"), tt.en}, {"ar", m.Format("ar"), tt.ar}, {"ar-KW", m.Format("ar-KW"), tt.arKW},
		} {
			if x.got != x.want {
				t.Errorf("%s, %s: got %+q, want %+q", tt.name, x.how, x.got, x.want)
			}
		}
	}
}

func TestDecimalOfOddAmounts(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    paylink.Money
		want string
	}{
		{"zero", paylink.Money{Currency: "KWD"}, "0.000"},
		{"below one", paylink.Money{Minor: -5, Currency: "USD"}, "-0.05"},
		{"least", paylink.Money{Minor: math.MinInt64, Currency: "USD"}, "-92233720368547758.08"},
		{"unknown currency", paylink.Money{Minor: 5, Currency: "ZZZ"}, "5"},
	} {
		if got := tt.m.Decimal(); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	if got, want := (paylink.Money{Minor: 5, Currency: "ZZZ"}).Format("en"), "5 ZZZ"; got != want {
		t.Errorf("unknown currency: got %q, want %q", got, want)
	}
}

// One character outside GSM-7 makes a whole SMS cost more, and an invisible one shows in no review.
func TestFormatHasNoHiddenCharacters(t *testing.T) {
	locales := []string{"en", "en-KW", "en-SA", "ar", "ar-AE", "ar-BH", "ar-EG", "ar-IQ", "ar-JO", "ar-KW", "ar-OM", "ar-QA", "ar-SA"}
	for _, code := range currency.GetCurrencyCodes() {
		for _, locale := range locales {
			for _, minor := range []int64{1, 1234567, -1234567} {
				got := paylink.Money{Minor: minor, Currency: code}.Format(locale)
				if strings.ContainsAny(got, "\u00a0\u202f\u200e\u200f\u061c\u202a\u202b\u202c\u2066\u2067\u2068\u2069") {
					t.Errorf("%s in %s: got hidden characters in %+q", code, locale, got)
				}
				if strings.HasPrefix(locale, "en") && strings.ContainsFunc(got, func(r rune) bool { return r > '~' }) {
					t.Errorf("%s in %s: got %+q, want ASCII", code, locale, got)
				}
			}
		}
	}
}

func TestAdd(t *testing.T) {
	const most, least = math.MaxInt64, math.MinInt64
	for _, tt := range []struct {
		name       string
		a, b, want int64
		overflows  bool
	}{
		{"sum", 1, 2, 3, false},
		{"nothing", most, 0, most, false},
		{"up to the most", most - 1, 1, most, false},
		{"past the most", most, 1, most, true},
		{"twice the most", most, most, most, true},
		{"less", 5, -7, -2, false},
		{"below the least", least, -1, least, true},
		{"least and minus one", -1, least, -1, true},
		{"opposites", most, least, -1, false},
	} {
		got, err := paylink.Money{Minor: tt.a, Currency: "KWD"}.Add(paylink.Money{Minor: tt.b, Currency: "KWD"})
		if got.Minor != tt.want || got.Currency != "KWD" || (err != nil) != tt.overflows {
			t.Errorf("%s: got %v, %v, want %d, error %v", tt.name, got, err, tt.want, tt.overflows)
		}
	}
	_, err := paylink.Money{Minor: 1, Currency: "KWD"}.Add(paylink.Money{Minor: 1, Currency: "USD"})
	if !errors.Is(err, paylink.ErrInvalid) {
		t.Errorf("two currencies: got error %v, want %v", err, paylink.ErrInvalid)
	}
}

func TestLatinDigits(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"ascii", "a1,2.3", "a1,2.3"},
		{"arabic-indic", "٠١٢٣٤٥٦٧٨٩", "0123456789"},
		{"persian", "۰۱۲۳۴۵۶۷۸۹", "0123456789"},
		{"separators", "١٬٢٣٤٫٥", "1,234.5"},
		{"words stay", "غرفة ١٢", "غرفة 12"},
		{"marks", "\ufeff\u200e1\u200f2\u061c", "12"},
		{"embeddings and isolates", "\u202a1\u202c\u202b2\u202c\u20663\u20674\u20685\u2069", "12345"},
		{"overrides stay", "\u202d1\u202e2", "\u202d1\u202e2"},
		{"other digits stay", "१२", "१२"},
		{"broken text", "1\xff٢", "1\ufffd2"},
		{"empty", "", ""},
	} {
		if got := paylink.LatinDigits(tt.in); got != tt.want {
			t.Errorf("%s: got %+q, want %+q", tt.name, got, tt.want)
		}
	}
}
