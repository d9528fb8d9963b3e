package batchfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxColumns    = 1000
	maxHeaderName = 200 // characters
)

// Column is how one column of a file was understood.
type Column struct {
	// Name is the file's own header.
	Name string
	// As is the column it was taken for; empty if it is kept as an extra. The columns "error" and "hint" of an error file
	// are named so, and ignored; so is a column without a name.
	As string
}

// columnNames are other names by which people and systems call our columns, normalised by normalizeHeader. The
// customer_ names, currency_code and the notification flags are those of Ottu's bulk file.
func columnNames() map[string]string {
	names := map[string]string{}
	for as, others := range map[string]string{
		"reference":             "ref reference_no reference_number reference_id payment_reference order_no order_number order_id المرجع رقم_المرجع",
		"amount":                "amount_due due_amount المبلغ القيمة",
		"currency":              "currency_code ccy العملة",
		"name":                  "full_name fullname customer_name payer_name payer الاسم الاسم_الكامل",
		"first_name":            "firstname given_name forename customer_first_name الاسم_الأول",
		"last_name":             "lastname surname family_name customer_last_name اسم_العائلة",
		"email":                 "e_mail mail email_address e_mail_address customer_email البريد_الإلكتروني البريد_الالكتروني",
		"phone":                 "phone_number phone_no mobile mobile_number mobile_no mobile_phone telephone tel cell cell_phone msisdn customer_phone الهاتف رقم_الهاتف الجوال رقم_الجوال الموبايل",
		"channels":              "channel send_by القنوات",
		"language":              "lang locale اللغة",
		"country":               "country_code الدولة البلد",
		"timezone":              "time_zone tz",
		"due_date":              "due duedate due_on تاريخ_الاستحقاق",
		"expires_in":            "expires expiry valid_for",
		"description":           "desc الوصف البيان",
		"customer_id":           "customerid customer_no customer_number client_id",
		"invoice_number":        "invoice invoice_no invoice_id رقم_الفاتورة",
		"attachment_url":        "attachment",
		"email_notification":    "",
		"sms_notification":      "",
		"whatsapp_notification": "whatsapp",
		"rule":                  "",
		"start":                 "",
		"end_recurring_period":  "",
		"error":                 "",
		"hint":                  "",
	} {
		names[as] = as
		for other := range strings.FieldsSeq(others) {
			names[other] = as
		}
	}
	return names
}

// normalizeHeader makes "First Name", "first-name", "FIRST_NAME" and "firstName" one.
func normalizeHeader(s string) string {
	var b strings.Builder
	var before rune
	gap := false
	for _, r := range s {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if b.Len() > 0 && (gap || (unicode.IsLower(before) && unicode.IsUpper(r))) {
				b.WriteByte('_')
			}
			b.WriteRune(unicode.ToLower(r))
			gap = false
		case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Cf, r):
		default:
			gap = true
		}
		before = r
	}
	return b.String()
}

// columns understands a header, which for JSON may grow while the file is read.
type columns struct {
	names   map[string]string // as columnNames
	mapping map[string]string // the user's word, literal or normalised -> ours
	list    []Column
	gocsv   []string       // the header that gocsv sees: our names, and "" for what it must not map
	at      map[string]int // our name -> index in list
	literal map[string]int // the headers themselves -> index in list
	extras  []int          // indexes of extras
}

func newColumns(mapping map[string]string) (*columns, error) {
	c := &columns{names: columnNames(), mapping: map[string]string{}, at: map[string]int{}, literal: map[string]int{}}
	for _, theirs := range slices.Sorted(maps.Keys(mapping)) {
		as := mapping[theirs]
		if as != "" && c.names[normalizeHeader(as)] == "" {
			return nil, &FileError{0, fmt.Sprintf("the mapping of column %q names %q, which is not a column of ours", clip(theirs), clip(as)),
				"map it to a known column such as amount, email or phone, or to nothing to keep it as an extra"}
		}
		c.mapping[normalizeHeader(theirs)] = c.names[normalizeHeader(as)]
	}
	for theirs, as := range mapping { // the literal word wins
		c.mapping[strings.TrimSpace(theirs)] = c.names[normalizeHeader(as)]
	}
	return c, nil
}

// add takes the header's columns from the first that is new. Where is the line that errors name.
func (c *columns) add(header []string, line int) error {
	if len(header) > maxColumns {
		return &FileError{line, fmt.Sprintf("the header has more than %d columns", maxColumns), "remove the columns that are not needed"}
	}
	first := len(c.list)
	fresh := header[first:]
	plain := map[string]bool{}
	for _, name := range fresh {
		plain[normalizeHeader(name)] = true
	}
	recurring := plain["rule"] && plain["start"] && plain["end_recurring_period"]
	for i, name := range fresh {
		name = strings.TrimSpace(name)
		if err := checkHeaderName(name, line); err != nil {
			return err
		}
		norm := normalizeHeader(name)
		as, mapped := c.mapping[name]
		if !mapped {
			as, mapped = c.mapping[norm]
		}
		if !mapped {
			as = c.names[norm]
			_, taken := c.at[as]
			switch {
			case as != norm && plain[as], as != norm && taken:
				as = "" // the plain name is there, too
			case (as == "rule" || as == "start" || as == "end_recurring_period") && !recurring:
				as = "" // "start" alone is the start of anything
			}
			if as != "" && as != norm && c.twice(as, fresh) {
				return &FileError{line, fmt.Sprintf("column %q is there twice under different names", as),
					"rename the one that is not meant, or map it"}
			}
		}
		if err := c.append(first+i, Column{name, as}, line); err != nil {
			return err
		}
	}
	return nil
}

// twice reports whether two headers stand for the same column of ours.
func (c *columns) twice(as string, header []string) bool {
	n := 0
	for _, name := range header {
		norm := normalizeHeader(name)
		if _, mapped := c.mapping[norm]; !mapped && c.names[norm] == as {
			n++
		}
	}
	return n > 1
}

func (c *columns) append(i int, col Column, line int) error {
	if same, again := c.literal[col.Name]; again && col.Name != "" {
		// By number: in a file without header the cells are a payer's.
		return &FileError{line, fmt.Sprintf("columns %d and %d have the same name", same+1, i+1), "rename or remove one of the two"}
	}
	if _, again := c.at[col.As]; again && col.As != "" {
		return &FileError{line, fmt.Sprintf("two columns are taken for %q", col.As), "rename one of the two, or map it"}
	}
	c.list = append(c.list, col)
	c.literal[col.Name] = i
	c.gocsv = append(c.gocsv, col.As)
	switch {
	case col.As != "":
		c.at[col.As] = i
	case col.Name != "":
		c.extras = append(c.extras, i)
	}
	return nil
}

func checkHeaderName(name string, line int) error {
	switch {
	case !utf8.ValidString(name) || strings.ContainsRune(name, utf8.RuneError):
		return &FileError{line, "the header cannot be read in this encoding", "save the file as UTF-8, or declare its encoding"}
	case strings.ContainsFunc(name, unicode.IsControl):
		return &FileError{line, "the header holds control characters", "the first row must name the columns, each in one line; is this a text file?"}
	case utf8.RuneCountInString(name) > maxHeaderName:
		return &FileError{line, fmt.Sprintf("a column name is longer than %d characters", maxHeaderName), "the first row must name the columns"}
	}
	return nil
}

// require makes sure that rows of this header can be good at all.
func (c *columns) require(d Defaults, line int) error {
	known := 0
	for _, col := range c.list {
		if col.As != "" && col.As != "error" && col.As != "hint" {
			known++
		}
	}
	has := func(as string) bool { _, ok := c.at[as]; return ok }
	flags := has("email_notification") || has("sms_notification") || has("whatsapp_notification")
	switch {
	case known == 0:
		// The cells are not quoted here: in a file without header they are a payer's.
		return &FileError{line, "no column name is known; the file seems to have no header",
			"the first row must name the columns, for example reference,amount,currency,name,email,phone"}
	case !has("amount"):
		return &FileError{line, "there is no column amount", "the first row must name the columns: name that of the amounts amount, or map it"}
	case !has("currency") && d.Currency == "":
		return &FileError{line, "there is no column currency and no default currency", "add the column currency, or set a default"}
	case !has("email") && !has("phone"):
		return &FileError{line, "there is neither a column email nor a column phone", "the first row must name the columns: name that of the addresses email or phone, or map it"}
	case !has("channels") && !flags && len(d.Routes) == 0:
		return &FileError{line, "there is no column channels and no default for it", "add the column channels, for example with email or whatsapp>sms, or set a default"}
	}
	return nil
}

// own is the file's word for a column of ours; empty if the file has no such column.
func (c *columns) own(as string) string {
	if i, ok := c.at[as]; ok {
		return c.list[i].Name
	}
	return ""
}

// score counts the cells of a would-be header that are known.
func (c *columns) score(header []string) int {
	n := 0
	for _, name := range header {
		name = strings.TrimSpace(unescape(name))
		if as, mapped := c.mapping[name]; mapped && as != "" || c.names[normalizeHeader(name)] != "" {
			n++
		}
	}
	return n
}
