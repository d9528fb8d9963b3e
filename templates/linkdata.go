package templates

import (
	"maps"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"dunlin/paylink"
)

// LinkData is what the templates of a payment link see. Merchant, Amount and Link are always set; anything else may be
// empty, and a template leaves out the words that belong to it.
type LinkData struct {
	Merchant        string // who asks to be paid
	Name, FirstName string // of the payer
	Amount          string // with its currency, as written in the message's language
	Description     string // what it is for
	DueDate         string // in words of the message's language
	InvoiceNumber   string
	Reference       string // the merchant's own name for the debt
	ShortRef        string // Dunlin's name for the request; finds a message again by its text
	Link            string
	AttachmentURL   string // of a file that the mail does not carry along
	Stop            string // where the payer says that no more emails are wanted; empty = nowhere
	QR              string // name of the inline picture of the link, without "cid:"; empty = no picture
	// Extra holds the file's other columns by the header's words: {{.Extra.class}}, {{index .Extra "Class name"}}.
	Extra map[string]string
	// Of a receipt, empty in any other message: what arrived, what is left (empty = nothing), when, and by which numbers the
	// payment and the receipt are known. Link leads to the receipt's page and may be empty.
	Received, Left, PaidOn, PaymentRef, ReceiptNo string
}

// NewLinkData gathers what a message says about a request, with amount and date as the language and the request's
// country write them. The caller sets QR if it sends the picture along.
func NewLinkData(merchant string, r paylink.Request, c paylink.Contact, link, language string) LinkData {
	locale := language
	if r.Country != "" {
		locale += "-" + strings.ToUpper(r.Country)
	}
	amount := r.Amount.Format(locale)
	return LinkData{
		Merchant:      merchant,
		Name:          c.Name,
		FirstName:     c.FirstName,
		Amount:        amount,
		Description:   r.Description,
		DueDate:       formatDate(r.DueDate, language, r.Country, hasArabicDigits(amount)),
		InvoiceNumber: r.InvoiceNumber,
		Reference:     r.Reference,
		ShortRef:      r.ID.String(),
		Link:          link,
		Extra:         c.Extra,
	}
}

// formatDate writes a YYYY-MM-DD date with the month in words, because 03/04 is two different days in two countries.
// What is no such date stays as it is.
func formatDate(date, language, country string, inArabic bool) string {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return date
	}
	if language != "ar" {
		return t.Format("2 January 2006")
	}
	s := t.Format("2 ") + arabicMonths(country)[t.Month()-1] + t.Format(" 2006")
	if inArabic {
		s = arabicDigits(s)
	}
	return s
}

func arabicDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r - '0' + '٠'
		}
		return r
	}, s)
}

// arabicMonths are the months as the country's people call them (Unicode CLDR); Arabic has several sets of names.
func arabicMonths(country string) [12]string {
	switch strings.ToUpper(country) {
	case "IQ", "JO", "LB", "PS", "SY":
		return [12]string{"كانون الثاني", "شباط", "آذار", "نيسان", "أيار", "حزيران", "تموز", "آب", "أيلول", "تشرين الأول", "تشرين الثاني", "كانون الأول"}
	case "DZ", "TN":
		return [12]string{"جانفي", "فيفري", "مارس", "أفريل", "ماي", "جوان", "جويلية", "أوت", "سبتمبر", "أكتوبر", "نوفمبر", "ديسمبر"}
	case "MA":
		return [12]string{"يناير", "فبراير", "مارس", "أبريل", "ماي", "يونيو", "يوليوز", "غشت", "شتنبر", "أكتوبر", "نونبر", "دجنبر"}
	default:
		return [12]string{"يناير", "فبراير", "مارس", "أبريل", "مايو", "يونيو", "يوليو", "أغسطس", "سبتمبر", "أكتوبر", "نوفمبر", "ديسمبر"}
	}
}

func hasArabicDigits(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return '٠' <= r && r <= '٩' })
}

// clean makes every value a single line without characters that change what stands around it.
func (d LinkData) clean() LinkData {
	for _, s := range []*string{
		&d.Merchant, &d.Name, &d.FirstName, &d.Amount, &d.Description, &d.DueDate,
		&d.InvoiceNumber, &d.Reference, &d.ShortRef, &d.Link, &d.Stop, &d.QR, &d.AttachmentURL,
		&d.Received, &d.Left, &d.PaidOn, &d.PaymentRef, &d.ReceiptNo,
	} {
		*s = oneLine(*s)
	}
	if len(d.Extra) > 0 {
		d.Extra = maps.Clone(d.Extra)
		for k, v := range d.Extra {
			d.Extra[k] = oneLine(v)
		}
	}
	return d
}

// oneLine turns line breaks and runs of white space into one space each, and drops control and invisible characters.
// Direction controls are among them: one override in a name could show an amount or an address backwards.
func oneLine(s string) string {
	if isPlain(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.IsControl(r), isInvisible(r), r == utf8.RuneError:
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// isInvisible reports direction controls, zero-width spaces and soft hyphens. The joiners U+200C and U+200D are not
// among them: names and emoji are written with them.
func isInvisible(r rune) bool {
	switch {
	case r >= '\u202a' && r <= '\u202e', r >= '\u2060' && r <= '\u206f':
		return true
	case r == '\u00ad', r == '\u061c', r == '\u200b', r == '\u200e', r == '\u200f', r == '\ufeff':
		return true
	}
	return false
}

// isPlain reports printable ASCII without doubled or outer spaces, which needs no cleaning.
func isPlain(s string) bool {
	space := true
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c > '~' || (c == ' ' && space) {
			return false
		}
		space = c == ' '
	}
	return s == "" || !space
}

// clip shortens s to at most n characters, at a word's end if there is one near, and marks the cut.
func clip(n int, s string) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	const mark = "..." // an ellipsis character would turn an English SMS into UCS-2
	r := []rune(s)[:max(n-len(mark), 0)]
	for i := len(r) - 1; i > len(r)*2/3; i-- {
		if r[i] == ' ' {
			r = r[:i]
			break
		}
	}
	return strings.TrimRight(string(r), " ") + mark
}
