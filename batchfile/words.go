package batchfile

import (
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"
)

// words are the names by which people write languages, countries and yes and no.
type words struct {
	languages, countries map[string]string
	regions              map[string]bool
}

func newWords() words {
	w := words{languages: map[string]string{}, countries: map[string]string{}, regions: phonenumbers.GetSupportedRegions()}
	for as, names := range map[string]string{
		"en": "en,eng,english,الإنجليزية,الانجليزية,إنجليزي,انجليزي",
		"ar": "ar,ara,arabic,العربية,عربي,عربية",
	} {
		for name := range strings.SplitSeq(names, ",") {
			w.languages[name] = as
		}
	}
	for as, names := range map[string]string{
		"KW": "kwt,kuwait,الكويت",
		"SA": "sau,ksa,saudi arabia,kingdom of saudi arabia,السعودية,المملكة العربية السعودية",
		"AE": "are,uae,united arab emirates,الإمارات,الامارات,الإمارات العربية المتحدة",
		"BH": "bhr,bahrain,البحرين",
		"QA": "qat,qatar,قطر",
		"OM": "omn,oman,عمان,عُمان",
		"JO": "jor,jordan,الأردن",
		"EG": "egy,egypt,مصر",
		"LB": "lbn,lebanon,لبنان",
		"IQ": "irq,iraq,العراق",
		"IN": "ind,india",
		"GB": "gbr,uk,united kingdom",
		"US": "usa,united states,united states of america",
	} {
		for name := range strings.SplitSeq(names, ",") {
			w.countries[name] = as
		}
	}
	return w
}

// language reads en, en-GB, English, عربي and the like as "en" or "ar".
func (w words) language(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	if as, ok := w.languages[s]; ok {
		return as, true
	}
	s, _, _ = strings.Cut(strings.ReplaceAll(s, "_", "-"), "-")
	if s == "en" || s == "ar" {
		return s, true
	}
	return "", false
}

// country reads an ISO code or one of a few names as ISO 3166-1 alpha-2.
func (w words) country(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if code := strings.ToUpper(s); len(code) == 2 && w.regions[code] {
		return code, true
	}
	as, ok := w.countries[strings.ToLower(s)]
	return as, ok
}

// yes reads a flag; ok is false for what is neither yes, no nor empty.
func yes(s string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "yes", "y", "1", "نعم":
		return true, true
	case "", "false", "no", "n", "0", "لا":
		return false, true
	}
	return false, false
}

func (c *checker) language(s string) string {
	if strings.TrimSpace(s) == "" {
		return c.defaults.Language
	}
	as, ok := c.words.language(s)
	if !ok {
		c.fail("language", "language", "the language is not known", "write en or ar")
	}
	return as
}

// country gives only what the row itself says; the default comes in with the phone.
func (c *checker) country(s string) string {
	if strings.TrimSpace(s) == "" {
		return ""
	}
	as, ok := c.words.country(s)
	if !ok {
		c.fail("country", "country", "the country is not known", "write its two letters, such as KW or SA")
	}
	return as
}

func (c *checker) timezone(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return c.defaults.Timezone
	}
	if !c.zone(s) {
		c.fail("timezone", "timezone", "the time zone is not known", "write its IANA name, such as Asia/Kuwait")
	}
	return s
}

func (c *checker) zone(name string) bool {
	known, seen := c.zones[name]
	if !seen {
		_, err := time.LoadLocation(name)
		// "Local" is whatever this machine is set to.
		known = err == nil && name != "Local" && name != ""
		if len(c.zones) < cacheSize {
			c.zones[name] = known
		}
	}
	return known
}
