package batchfile

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"dunlin/paylink"
)

// Limits of single cells, in characters.
const (
	maxReference   = 128
	maxName        = 64
	maxDescription = 500
	maxExtra       = 1000
	maxURL         = 2048
)

// cacheSize bounds each memory of repeated cells: files repeat a few currencies, routes and mail domains a million times.
const cacheSize = 512

// checker turns records into rows. It gathers all that is wrong with one, so that a clerk mends a row once.
type checker struct {
	columns  *columns
	defaults Defaults
	format   paylink.NumberFormat
	now      time.Time
	phones   *phoneBook
	words    words
	problems []problem

	idna    *idna.Profile
	routes  map[string]paylink.Routes
	domains map[string]string
	zones   map[string]bool
}

func newChecker(opt Options) (*checker, error) {
	c := &checker{
		defaults: opt.Defaults, format: opt.NumberFormat, now: opt.Now, phones: newPhoneBook(), words: newWords(),
		idna:   idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true)),
		routes: map[string]paylink.Routes{}, domains: map[string]string{}, zones: map[string]bool{},
	}
	d := &c.defaults
	d.Currency = strings.ToUpper(d.Currency)
	if d.Currency != "" && !paylink.KnownCurrency(d.Currency) {
		return nil, fmt.Errorf("default currency %q is not known: %w", d.Currency, paylink.ErrInvalid)
	}
	if d.Language == "" {
		d.Language = "en"
	}
	var ok bool
	if d.Language, ok = c.words.language(d.Language); !ok {
		return nil, fmt.Errorf("default language %q is not en or ar: %w", opt.Defaults.Language, paylink.ErrInvalid)
	}
	if d.Country != "" {
		if d.Country, ok = c.words.country(d.Country); !ok {
			return nil, fmt.Errorf("default country %q is not known: %w", opt.Defaults.Country, paylink.ErrInvalid)
		}
	}
	if d.Timezone != "" && !c.zone(d.Timezone) {
		return nil, fmt.Errorf("default time zone %q is not known: %w", d.Timezone, paylink.ErrInvalid)
	}
	return c, nil
}

func (c *checker) fail(kind, column, reason, hint string) {
	c.problems = append(c.problems, problem{kind, column, reason, hint})
}

// row gives the checked row, or nil after having noted why not.
func (c *checker) row(it *item, rec *record) *paylink.Row {
	c.problems = c.problems[:0]
	if it.problem != nil {
		c.problems = append(c.problems, *it.problem)
		return nil
	}
	c.cells(it.cells)
	if len(c.problems) > 0 {
		return nil // what the cells mean is not worth asking while they cannot be read
	}
	r := &paylink.Row{
		Reference:     c.text("reference", rec.Reference, maxReference),
		Name:          c.text("name", rec.Name, 2*maxName+1),
		FirstName:     c.text("first_name", rec.FirstName, maxName),
		LastName:      c.text("last_name", rec.LastName, maxName),
		Description:   c.text("description", fold(rec.Description), maxDescription),
		CustomerID:    c.text("customer_id", rec.CustomerID, maxReference),
		InvoiceNumber: c.text("invoice_number", rec.InvoiceNumber, maxReference),
		AttachmentURL: c.attachment(rec.AttachmentURL),
		Language:      c.language(rec.Language),
		Country:       c.country(rec.Country),
		Timezone:      c.timezone(rec.Timezone),
		DueDate:       c.dueDate(rec.DueDate),
		ExpiresIn:     c.expiry(rec.ExpiresIn),
		Amount:        c.amount(rec.Amount, rec.Currency),
		Extra:         c.extra(it.cells),
		Recurrence:    c.recurrence(rec),
	}
	if r.Name == "" {
		r.Name = strings.TrimSpace(r.FirstName + " " + r.LastName)
	}
	c.reach(r, rec)
	if len(c.problems) > 0 {
		return nil
	}
	return r
}

// rejection tells what row noted: the first problem's column and kind, and the words of all.
func (c *checker) rejection() *paylink.Rejection {
	var reasons, hints []string
	for _, p := range c.problems {
		reasons = append(reasons, p.reason)
		if !slices.Contains(hints, p.hint) {
			hints = append(hints, p.hint)
		}
	}
	column := c.problems[0].column
	if own := c.columns.own(column); own != "" {
		column = own
	} else if _, theirs := c.columns.literal[column]; !theirs {
		column = "" // a column of ours that the file does not have
	}
	return &paylink.Rejection{Column: column, Kind: c.problems[0].kind,
		Reason: strings.Join(reasons, "; "), Hint: strings.Join(hints, "; ")}
}

// cells refuses what no cell may hold. Tabs and newlines pass where they are folded to spaces later.
func (c *checker) cells(cells []string) {
	for i, cell := range cells {
		if plainASCII(cell) || i >= len(c.columns.list) {
			continue
		}
		col := c.columns.list[i]
		if col.As == "error" || col.As == "hint" || (col.As == "" && col.Name == "") {
			continue
		}
		if p := checkText(cell, col.As == "" || col.As == "description"); p != nil {
			p.column = col.As
			if p.column == "" {
				p.column = col.Name
			}
			c.problems = append(c.problems, *p)
		}
	}
}

// plainASCII is the fast path of checkText: true if there is nothing to look at.
func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s == "" || s[0] != '#'
}

func checkText(cell string, folded bool) *problem {
	text := strings.TrimSpace(cell)
	switch text {
	case "#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#CALC!":
		return &problem{"cell", "", "the cell holds the spreadsheet's error " + text, "mend the formula, or write the value"}
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError) {
		return &problem{"encoding", "", "the cell has characters that cannot be read in the file's encoding", "save the file as UTF-8"}
	}
	for _, r := range text {
		if unicode.IsControl(r) && !(folded && (r == '\t' || r == '\n' || r == '\r')) {
			return &problem{"control", "", "the cell holds a control character", "remove line breaks and invisible characters from the cell"}
		}
	}
	return nil
}

// fold makes any run of blanks, line breaks included, one space.
func fold(s string) string {
	if !strings.ContainsAny(s, "\t\r\n") && !strings.Contains(s, "  ") {
		return s
	}
	return strings.Join(strings.Fields(s), " ")
}

func (c *checker) text(column, s string, limit int) string {
	s = strings.TrimSpace(s)
	if len(s) > limit && utf8.RuneCountInString(s) > limit {
		c.fail("length", column, fmt.Sprintf("%s is longer than %d characters", column, limit), "shorten it")
	}
	return s
}

func (c *checker) extra(cells []string) map[string]string {
	if len(c.columns.extras) == 0 {
		return nil
	}
	extra := make(map[string]string, len(c.columns.extras))
	for _, i := range c.columns.extras {
		if i >= len(cells) {
			break // a key that JSON brought up in a later row
		}
		name := c.columns.list[i].Name
		value := strings.TrimSpace(fold(cells[i]))
		if len(value) > maxExtra && utf8.RuneCountInString(value) > maxExtra {
			c.fail("length", name, fmt.Sprintf("the cell is longer than %d characters", maxExtra), "shorten it")
		}
		extra[name] = value
	}
	return extra
}

func (c *checker) amount(amount, code string) paylink.Money {
	code = strings.ToUpper(strings.TrimSpace(code))
	if code == "" {
		code = c.defaults.Currency
	}
	switch {
	case code == "":
		c.fail("currency", "currency", "the currency is missing", "write its ISO 4217 code, such as KWD, or set a default")
		return paylink.Money{}
	case !paylink.KnownCurrency(code):
		c.fail("currency", "currency", "the currency is not known", "use an ISO 4217 code such as KWD, SAR or USD")
		return paylink.Money{}
	}
	m, err := paylink.ParseMoney(amount, code, c.format)
	var bad *paylink.AmountError
	if errors.As(err, &bad) {
		c.fail("amount", "amount", unquote(bad.Reason), bad.Hint)
	}
	return m
}

// unquote takes the quoted cell out of a reason: in a row whose cells have shifted it may be a phone number or a name.
func unquote(reason string) string {
	before, rest, _ := strings.Cut(reason, ` "`)
	return before + rest[strings.LastIndexByte(rest, '"')+1:]
}

func (c *checker) attachment(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case len(s) > maxURL:
		c.fail("length", "attachment_url", fmt.Sprintf("attachment_url is longer than %d characters", maxURL), "use a shorter address")
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(s, " <>\""):
		c.fail("attachment_url", "attachment_url", "the attachment's address is not an https address", "write it as https://example.com/file.pdf")
	}
	return s
}

func (c *checker) recurrence(rec *record) *paylink.Recurrence {
	r := paylink.Recurrence{
		Rule:  strings.ToLower(strings.TrimSpace(rec.Rule)),
		Start: strings.TrimSpace(rec.Start),
		End:   strings.TrimSpace(rec.EndRecurringPeriod),
	}
	switch r.Rule {
	case "daily", "weekly", "monthly":
		return &r
	case "":
		if r.Start == "" && r.End == "" {
			return nil
		}
		c.fail("recurrence", "rule", "the row has a start or an end, but no rule", "write daily, weekly or monthly, or empty the other two")
	default:
		c.fail("recurrence", "rule", "the rule is not known", "write daily, weekly or monthly")
	}
	return nil
}
