package batchfile

import (
	"strings"

	"github.com/nyaruka/phonenumbers"

	"dunlin/paylink"
)

// phone is a checked number.
type phone struct {
	e164     string
	region   string // ISO 3166-1 alpha-2 of the number; may be empty
	textable bool   // can take SMS and WhatsApp messages
}

// phone reads one number. Without + (or 00) it belongs to region, which may be empty.
func (c *checker) phone(s, region string) phone {
	s = strings.TrimSpace(paylink.LatinDigits(dropMarks(s)))
	if s == "" {
		return phone{}
	}
	number, reason, hint := compactPhone(s)
	if reason == "" {
		p, ok := c.phones.parse(number, region)
		if ok {
			return p
		}
		reason, hint = "the phone number does not exist in its country's plan", "check the digits and the country"
		if number[0] != '+' && region == "" {
			reason, hint = "the phone number has no country code", "write it with + and the country code, or add the column country, or set a default country"
		}
	}
	c.fail("phone", "phone", reason, hint)
	return phone{}
}

// compactPhone strips a number of its punctuation: digits remain, after a + if it is international. Letters and
// extensions are refused, since the number that remains without them would be another one.
func compactPhone(s string) (number, reason, hint string) {
	if digitsOnly(s) {
		if strings.HasPrefix(s, "00") {
			return "+" + s[2:], "", ""
		}
		return s, "", ""
	}
	if strings.ContainsAny(s, "eE") && strings.Trim(s, "+-.,eE0123456789") == "" {
		return "", "the spreadsheet has turned the phone number into a power of ten, and its digits are lost",
			"format the column as text, then write the number again"
	}
	if strings.HasSuffix(s, ".0") {
		return "", "the phone number was written as a decimal number", "format the column as text"
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r >= '0' && r <= '9', r == '+' && i == 0:
			b.WriteRune(r)
		case strings.ContainsRune(" -.()\u00a0\u202f\u2010\u2011\u2013", r):
		default:
			return "", "the phone number has letters, an extension or other signs", "write one number with digits only, after a + if it is international"
		}
	}
	number = b.String()
	if rest, ok := strings.CutPrefix(number, "00"); ok {
		number = "+" + rest
	}
	if number == "" {
		number = "+"
	}
	return number, "", ""
}

// digitsOnly reports whether s is nothing but digits, after a + or not.
func digitsOnly(s string) bool {
	digits := strings.TrimPrefix(s, "+")
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return digits != ""
}

// phoneBook parses numbers: by its own tables where they are proven to agree with the library, else by the library.
type phoneBook struct {
	plans map[string]*numberPlan // by calling code, "+965", or region, "KW"; nil = ask the library
}

func newPhoneBook() *phoneBook { return &phoneBook{plans: map[string]*numberPlan{}} }

// parse takes a number as compactPhone leaves it. ok is false if there is no such number.
func (b *phoneBook) parse(number, region string) (p phone, ok bool) {
	if p, ok, known := b.lookup(number, region); known {
		return p, ok
	}
	return parseByLibrary(number, region)
}

func parseByLibrary(number, region string) (p phone, ok bool) {
	// The library has panicked on malformed input before.
	defer func() {
		if recover() != nil {
			p, ok = phone{}, false
		}
	}()
	n, err := phonenumbers.Parse(number, region)
	if err != nil || n.GetExtension() != "" {
		return phone{}, false
	}
	// The library calls a number valid if and only if it is of a type.
	kind := phonenumbers.GetNumberType(n)
	if kind == phonenumbers.UNKNOWN {
		return phone{}, false
	}
	return newPhone(phonenumbers.Format(n, phonenumbers.E164), phonenumbers.GetRegionCodeForNumber(n), kind), true
}

func newPhone(e164, region string, kind phonenumbers.PhoneNumberType) phone {
	p := phone{e164: e164}
	if len(region) == 2 {
		p.region = region // and not 001, which stands for the whole world
	}
	switch kind {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE, phonenumbers.VOIP, phonenumbers.PERSONAL_NUMBER:
		p.textable = true
	}
	return p
}
