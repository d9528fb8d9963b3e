package paylink

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/bojanz/currency"
)

// Money is an amount in the minor unit of its currency (fils, halalas, cents) and the ISO 4217 code. Never a float.
type Money struct {
	Minor    int64  `json:"minor"`
	Currency string `json:"currency"`
}

// NumberFormat says how a file writes thousands and decimals, where that cannot be seen from one cell.
type NumberFormat string

// The number formats.
const (
	// NumberPlain refuses every thousands separator: "1,234.500" is ambiguous in a world that has both habits.
	NumberPlain NumberFormat = ""
	// NumberPoint reads "1,234.500": comma groups, point divides.
	NumberPoint NumberFormat = "1,234.5"
	// NumberComma reads "1.234,500": point groups, comma divides.
	NumberComma NumberFormat = "1.234,5"
)

// AmountError says what is wrong with an amount and how to mend it; both are shown to the clerk who wrote the file.
type AmountError struct{ Reason, Hint string }

func (e *AmountError) Error() string { return e.Reason + ": " + e.Hint }

// Unwrap makes errors.Is(err, ErrInvalid) hold.
func (e *AmountError) Unwrap() error { return ErrInvalid }

// maxIntegerDigits is Ottu's limit for the integer part of an amount less one, which leaves any currency inside int64.
const maxIntegerDigits = 12

// KnownCurrency reports whether code is an ISO 4217 code (upper case) that we know the minor unit of.
func KnownCurrency(code string) bool {
	_, ok := Digits(code) // the library's own IsValid takes "" for valid
	return ok
}

// Digits is how many decimals the currency has by ISO 4217; ok is false for an unknown code.
func Digits(code string) (n int, ok bool) {
	d, ok := currency.GetDigits(code)
	return int(d), ok
}

// ParseMoney reads a decimal amount such as "12.500". Arabic-Indic and Persian digits are read as Latin ones; the Arabic
// separators divide and group whatever format is declared, which is about the Latin point and comma. It refuses whatever
// it would have to guess at or round: excess decimals, grouping without a declared format, exponents, signs, zero. The
// error is an [*AmountError].
func ParseMoney(s, code string, format NumberFormat) (Money, error) {
	digits, ok := Digits(code)
	if !ok {
		return Money{}, &AmountError{fmt.Sprintf("currency %q is not known", code), "use an ISO 4217 code such as KWD, SAR or USD"}
	}
	text := s
	if format == NumberComma {
		text = arabicInComma.Replace(text)
	}
	text = strings.TrimSpace(LatinDigits(text))
	if text == "" {
		return Money{}, &AmountError{"amount is empty", "write the amount, for example 12.500"}
	}
	if strings.HasPrefix(text, "-") || (strings.HasPrefix(text, "(") && strings.HasSuffix(text, ")")) {
		return Money{}, &AmountError{"amount is negative", "a request must ask for more than zero"}
	}
	plain, err := ungroup(text, format)
	if err != nil {
		return Money{}, err
	}
	whole, frac, _ := strings.Cut(plain, ".")
	if whole == "" || !allDigits(whole) || !allDigits(frac) || strings.HasSuffix(plain, ".") {
		return Money{}, &AmountError{fmt.Sprintf("amount %q is not a plain number", clip(s)), "write digits and at most one decimal point, for example 12.500"}
	}
	whole = strings.TrimLeft(whole, "0")
	if len(whole) > maxIntegerDigits {
		return Money{}, &AmountError{"amount is too large", fmt.Sprintf("at most %d digits before the decimal point", maxIntegerDigits)}
	}
	if len(strings.TrimRight(frac, "0")) > digits {
		return Money{}, &AmountError{
			fmt.Sprintf("amount has more than %d decimals, which %s does not have", digits, code),
			"round it yourself: Dunlin never changes a sum of money",
		}
	}
	frac = (frac + "0000")[:digits]
	minor, err := strconv.ParseInt("0"+whole+frac, 10, 64)
	if err != nil {
		return Money{}, &AmountError{"amount is too large", "split it"}
	}
	if minor == 0 {
		return Money{}, &AmountError{"amount is zero", "a request must ask for more than zero"}
	}
	return Money{Minor: minor, Currency: code}, nil
}

// arabicInComma keeps "١٢٫٥٠٠" twelve and a half where the Latin point, which [LatinDigits] would make of ٫, groups.
var arabicInComma = strings.NewReplacer("٫", ",", "٬", ".")

func ungroup(s string, format NumberFormat) (string, error) {
	switch format {
	case NumberPoint, NumberComma:
		group, point := ",", "."
		if format == NumberComma {
			group, point = ".", ","
		}
		whole, frac, found := strings.Cut(s, point)
		if parts := strings.Split(whole, group); len(parts) > 1 {
			for i, p := range parts {
				// "0,500" is no grouped number: nobody groups below a thousand. It is 0.500 of the other habit.
				if (i > 0 && len(p) != 3) || len(p) == 0 || len(p) > 3 || (i == 0 && p[0] == '0') {
					return "", &AmountError{fmt.Sprintf("amount %q does not fit the declared format %s", clip(s), format), "groups must have three digits and the first no zero in front"}
				}
			}
			whole = strings.Join(parts, "")
		}
		if strings.Contains(frac, group) || strings.Contains(frac, point) {
			return "", &AmountError{fmt.Sprintf("amount %q does not fit the declared format %s", clip(s), format), "grouping after the decimal separator"}
		}
		if found {
			return whole + "." + frac, nil
		}
		return whole, nil
	default:
		if strings.ContainsAny(s, ",'\u00a0\u202f ") {
			return "", &AmountError{fmt.Sprintf("amount %q is ambiguous", clip(s)), "write it without grouping (1234.500), or declare the file's format with --number-format '1,234.5' or '1.234,5'"}
		}
		return s, nil
	}
}

// Decimal writes the amount with exactly its currency's decimals and a point, the form that payment providers take.
func (m Money) Decimal() string {
	digits, _ := Digits(m.Currency)
	s := strconv.FormatInt(m.Minor, 10)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	if digits == 0 {
		return sign + s
	}
	if pad := digits + 1 - len(s); pad > 0 {
		s = strings.Repeat("0", pad) + s
	}
	return sign + s[:len(s)-digits] + "." + s[len(s)-digits:]
}

func (m Money) String() string { return m.Decimal() + " " + m.Currency }

// Format writes the amount as people of the locale do, for example "KWD 12.500" or "١٢٫٥٠٠ د.ك.". The locale is a
// language with an optional region ("en", "ar-KW"). Spaces are ordinary ones and there are no direction marks, so that
// one amount does not turn a whole SMS into UCS-2; HTML isolates it with <bdi>.
func (m Money) Format(locale string) string {
	a, err := currency.NewAmountFromInt64(m.Minor, m.Currency)
	if err != nil {
		return m.String()
	}
	f := currency.NewFormatter(currency.NewLocale(locale))
	f.CurrencyDisplay = currency.DisplayCode
	if symbol, ok := currency.GetSymbol(m.Currency, f.Locale()); ok && strings.HasPrefix(locale, "ar") && !isLatin(symbol) {
		f.CurrencyDisplay = currency.DisplaySymbol
	}
	return plainSpaces.Replace(f.Format(a))
}

var plainSpaces = strings.NewReplacer("\u00a0", " ", "\u202f", " ", "\u200f", "", "\u200e", "", "\u061c", "")

// Add sums two amounts of the same currency.
func (m Money) Add(o Money) (Money, error) {
	if m.Currency != o.Currency {
		return m, fmt.Errorf("add %s to %s: %w", o.Currency, m.Currency, ErrInvalid)
	}
	sum := m.Minor + o.Minor
	if (o.Minor > 0) != (sum > m.Minor) && o.Minor != 0 {
		return m, errors.New("sum of money overflows")
	}
	m.Minor = sum
	return m, nil
}

// LatinDigits turns Arabic-Indic (U+0660) and Persian (U+06F0) digits and their separators into ASCII, and drops
// invisible direction marks, but not the two overrides (U+202D, U+202E), under which "521" is shown as "125". Other text
// is left as it is.
func LatinDigits(s string) string {
	if isASCII(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '٠' && r <= '٩':
			return '0' + r - '٠'
		case r >= '۰' && r <= '۹':
			return '0' + r - '۰'
		case r == '٫':
			return '.'
		case r == '٬':
			return ','
		case r == '\u200e', r == '\u200f', r == '\u061c', r == '\ufeff', // marks
			r >= '\u202a' && r <= '\u202c', // embeddings and their end
			r >= '\u2066' && r <= '\u2069': // isolates and their end
			return -1
		}
		return r
	}, s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isLatin reports whether a symbol would be torn apart in right-to-left text ("US$").
func isLatin(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x80 && r != ' ' && r != '.' })
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func clip(s string) string {
	if r := []rune(s); len(r) > 24 {
		return string(r[:24]) + "…"
	}
	return s
}
