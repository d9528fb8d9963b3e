package paylink_test

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"dunlin/paylink"
)

func TestParseMoney(t *testing.T) {
	const plain, point, comma = paylink.NumberPlain, paylink.NumberPoint, paylink.NumberComma
	for _, tt := range []struct {
		name, in, code string
		format         paylink.NumberFormat
		want           int64
	}{
		{"dinar", "12.500", "KWD", plain, 12500},
		{"short fraction", "12.5", "KWD", plain, 12500},
		{"no fraction", "12", "KWD", plain, 12000},
		{"smallest", "0.001", "KWD", plain, 1},
		{"cents", "12.34", "USD", plain, 1234},
		{"yen", "500", "JPY", plain, 500},
		{"yen with zero decimals", "500.00", "JPY", plain, 500},
		{"four decimals", "1.2345", "CLF", plain, 12345},
		{"zeros beyond the currency", "12.50000", "USD", plain, 1250},
		{"leading zeros", "000000000000000012.5", "USD", plain, 1250},
		{"most digits", "999999999999.9999", "CLF", plain, 9999999999999999},
		{"blanks around", "\u00a0 12.5\t", "USD", plain, 1250},
		{"arabic-indic", "١٢٫٥٠٠", "KWD", plain, 12500},
		{"persian", "۱۲٫۵", "USD", plain, 1250},
		{"arabic digits, latin point", "١٢.٥", "USD", plain, 1250},
		{"hidden marks", "\u200f12.500\u200e\ufeff", "KWD", plain, 12500},
		{"embedded", "\u202b12.500\u202c", "KWD", plain, 12500},
		{"isolated", "\u206712.500\u2069", "KWD", plain, 12500},

		{"point: groups", "1,234,567.50", "USD", point, 123456750},
		{"point: without groups", "1234567.5", "USD", point, 123456750},
		{"point: arabic", "١٬٢٣٤٫٥", "USD", point, 123450},
		{"comma: groups", "1.234.567,50", "USD", comma, 123456750},
		{"comma: point groups", "12.500", "KWD", comma, 12500000},
		{"comma: fraction", "12,500", "KWD", comma, 12500},
		{"comma: arabic separators keep their meaning", "١٢٫٥٠٠", "KWD", comma, 12500},
		{"comma: arabic groups", "١٬٢٣٤٫٥٠٠", "KWD", comma, 1234500},
	} {
		got, err := paylink.ParseMoney(tt.in, tt.code, tt.format)
		if want := (paylink.Money{Minor: tt.want, Currency: tt.code}); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", tt.name, got, err, want)
		}
	}
}

func TestParseMoneyRefuses(t *testing.T) {
	const (
		plain, point, comma = paylink.NumberPlain, paylink.NumberPoint, paylink.NumberComma
		code                = "use an ISO 4217 code such as KWD, SAR or USD"
		empty               = "write the amount, for example 12.500"
		positive            = "a request must ask for more than zero"
		number              = "write digits and at most one decimal point, for example 12.500"
		declare             = "write it without grouping (1234.500), or declare the file's format with --number-format '1,234.5' or '1.234,5'"
		large               = "at most 12 digits before the decimal point"
		round               = "round it yourself: Dunlin never changes a sum of money"
		groups              = "groups must have three digits and the first no zero in front"
		after               = "grouping after the decimal separator"
	)
	for _, tt := range []struct {
		name, in, code string
		format         paylink.NumberFormat
		reason, hint   string
	}{
		{"unknown currency", "1", "KWX", plain, `currency "KWX" is not known`, code},
		{"small letters", "1", "kwd", plain, `currency "kwd" is not known`, code},
		{"no currency", "1", "", plain, `currency "" is not known`, code},
		{"empty", "", "KWD", plain, "amount is empty", empty},
		{"only blanks and marks", " \u200f\u00a0", "KWD", plain, "amount is empty", empty},
		{"minus", "-5", "KWD", plain, "amount is negative", positive},
		{"bookkeeper's minus", "(5)", "KWD", plain, "amount is negative", positive},
		{"zero", "0.000", "KWD", plain, "amount is zero", positive},
		{"plus", "+5", "KWD", plain, `amount "+5" is not a plain number`, number},
		{"other minus", "−5", "KWD", plain, `amount "−5" is not a plain number`, number},
		{"exponent", "1e3", "KWD", plain, `amount "1e3" is not a plain number`, number},
		{"hexadecimal", "0x10", "KWD", plain, `amount "0x10" is not a plain number`, number},
		{"not a number", "NaN", "KWD", plain, `amount "NaN" is not a plain number`, number},
		{"currency in the cell", "KWD5", "KWD", plain, `amount "KWD5" is not a plain number`, number},
		{"two points", "1.2.3", "KWD", plain, `amount "1.2.3" is not a plain number`, number},
		{"no integer part", ".5", "KWD", plain, `amount ".5" is not a plain number`, number},
		{"no decimals after the point", "5.", "KWD", plain, `amount "5." is not a plain number`, number},
		{"other digits", "१२", "KWD", plain, `amount "१२" is not a plain number`, number},
		{"shown from right to left", "\u202e521\u202c", "KWD", plain, `amount "\u202e521\u202c" is not a plain number`, number},
		{"long text is clipped", strings.Repeat("x", 30), "KWD", plain, `amount "` + strings.Repeat("x", 24) + `…" is not a plain number`, number},
		{"undeclared comma", "1,234.500", "KWD", plain, `amount "1,234.500" is ambiguous`, declare},
		{"undeclared decimal comma", "12,500", "KWD", plain, `amount "12,500" is ambiguous`, declare},
		{"undeclared arabic group", "١٬٢٣٤", "KWD", plain, `amount "1,234" is ambiguous`, declare},
		{"blank inside", "1 234", "KWD", plain, `amount "1 234" is ambiguous`, declare},
		{"swiss", "1'234", "KWD", plain, `amount "1'234" is ambiguous`, declare},
		{"13 digits", "1000000000000", "JPY", plain, "amount is too large", large},
		{"too many decimals", "1.2345", "KWD", plain, "amount has more than 3 decimals, which KWD does not have", round},
		{"cents of a yen", "1.5", "JPY", plain, "amount has more than 0 decimals, which JPY does not have", round},
		{"point: short group", "12,34.5", "USD", point, `amount "12,34.5" does not fit the declared format 1,234.5`, groups},
		{"point: long first group", "1234,567", "USD", point, `amount "1234,567" does not fit the declared format 1,234.5`, groups},
		{"point: empty group", ",567", "USD", point, `amount ",567" does not fit the declared format 1,234.5`, groups},
		{"point: decimal comma", "0,500", "KWD", point, `amount "0,500" does not fit the declared format 1,234.5`, groups},
		{"point: group after point", "1.234,5", "USD", point, `amount "1.234,5" does not fit the declared format 1,234.5`, after},
		{"point: two points", "1.2.3", "USD", point, `amount "1.2.3" does not fit the declared format 1,234.5`, after},
		{"point: blank", "1 234.5", "USD", point, `amount "1 234.5" is not a plain number`, number},
		{"comma: decimal point", "0.500", "KWD", comma, `amount "0.500" does not fit the declared format 1.234,5`, groups},
		{"comma: short group", "12.5", "USD", comma, `amount "12.5" does not fit the declared format 1.234,5`, groups},
		{"comma: point after comma", "1,234.5", "USD", comma, `amount "1,234.5" does not fit the declared format 1.234,5`, after},
	} {
		got, err := paylink.ParseMoney(tt.in, tt.code, tt.format)
		var bad *paylink.AmountError
		if !errors.As(err, &bad) || !errors.Is(err, paylink.ErrInvalid) || got != (paylink.Money{}) {
			t.Errorf("%s: got %v and error %v, want no money and an AmountError", tt.name, got, err)
			continue
		}
		if bad.Reason != tt.reason || bad.Hint != tt.hint {
			t.Errorf("%s: got %q, %q, want %q, %q", tt.name, bad.Reason, bad.Hint, tt.reason, tt.hint)
		}
		if got, want := bad.Error(), bad.Reason+": "+bad.Hint; got != want {
			t.Errorf("%s: got error text %q, want %q", tt.name, got, want)
		}
	}
}

func TestCurrencies(t *testing.T) {
	for _, tt := range []struct {
		code   string
		digits int
		known  bool
	}{
		{"KWD", 3, true}, {"BHD", 3, true}, {"SAR", 2, true}, {"USD", 2, true}, {"IQD", 3, true}, {"JPY", 0, true}, {"CLF", 4, true},
		{"kwd", 0, false}, {"XXX", 0, false}, {"", 0, false},
	} {
		n, ok := paylink.Digits(tt.code)
		if n != tt.digits || ok != tt.known || paylink.KnownCurrency(tt.code) != tt.known {
			t.Errorf("%q: got %d digits, known %v, want %d, %v", tt.code, n, ok, tt.digits, tt.known)
		}
	}
}

// Every amount that can be written without grouping comes back as it was, and so does its grouped form.
func TestMoneyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := rapid.SampledFrom([]string{"KWD", "SAR", "USD", "JPY", "CLF"}).Draw(t, "code")
		want := paylink.Money{Minor: rapid.Int64Range(1, 999_999_999_999).Draw(t, "minor"), Currency: code}
		got, err := paylink.ParseMoney(want.Decimal(), code, paylink.NumberPlain)
		if err != nil || got != want {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
		grouped := strings.Fields(want.Format("en"))[1]
		got, err = paylink.ParseMoney(grouped, code, paylink.NumberPoint)
		if err != nil || got != want {
			t.Fatalf("%s: got %v, %v, want %v", grouped, got, err, want)
		}
		swapped := strings.NewReplacer(",", ".", ".", ",").Replace(grouped)
		got, err = paylink.ParseMoney(swapped, code, paylink.NumberComma)
		if err != nil || got != want {
			t.Fatalf("%s: got %v, %v, want %v", swapped, got, err, want)
		}
		arabic := strings.Fields(want.Format("ar-KW"))[0]
		for _, format := range []paylink.NumberFormat{paylink.NumberPoint, paylink.NumberComma} {
			got, err = paylink.ParseMoney(arabic, code, format)
			if err != nil || got != want {
				t.Fatalf("%s as %s: got %v, %v, want %v", arabic, format, got, err, want)
			}
		}
	})
}

// FuzzParseMoney compares what is taken with exact arithmetic on the same text.
func FuzzParseMoney(f *testing.F) {
	for _, s := range []string{"12.500", "١٢٫٥٠٠", "۱۲٬۳۴۵٫۶", "1,234.5", "1.234,5", "0,500", "-1", "1e9", "", ".", "\u202b1\u202c", "999999999999.9999", "1'0", "\xff"} {
		f.Add(s, uint8(0), uint8(0))
		f.Add(s, uint8(4), uint8(2))
	}
	codes := []string{"KWD", "USD", "JPY", "CLF", "SAR", "XXX"}
	formats := []paylink.NumberFormat{paylink.NumberPlain, paylink.NumberPoint, paylink.NumberComma}
	f.Fuzz(func(t *testing.T, s string, c, n uint8) {
		code, format := codes[int(c)%len(codes)], formats[int(n)%len(formats)]
		m, err := paylink.ParseMoney(s, code, format)
		if err != nil {
			if m != (paylink.Money{}) || !errors.Is(err, paylink.ErrInvalid) {
				t.Fatalf("got %v with error %v", m, err)
			}
			return
		}
		if again, err := paylink.ParseMoney(m.Decimal(), code, paylink.NumberPlain); err != nil || again != m {
			t.Fatalf("%q is %v, but %s reads back as %v, %v", s, m, m.Decimal(), again, err)
		}
		if format == paylink.NumberPlain {
			want, ok := new(big.Rat).SetString(strings.TrimSpace(paylink.LatinDigits(s)))
			got, _ := new(big.Rat).SetString(m.Decimal())
			if !ok || got.Cmp(want) != 0 || m.Minor <= 0 {
				t.Fatalf("%q is %v, want %v", s, m, want)
			}
		}
	})
}
