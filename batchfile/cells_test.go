package batchfile_test

import (
	"strings"
	"testing"
	"time"

	"dunlin/batchfile"
	"dunlin/paylink"
)

// TestCells reads single cells in a row that is good otherwise. What is left empty is not looked at.
func TestCells(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ا", 1001)
	for _, tt := range []struct {
		name, column, cell string
		kind               string // of the rejection; empty = a good row
		want               string // of the field
	}{
		{"arabic amount", "amount", "١٢٫٥٠٠", "", "12.500 KWD"},
		{"ambiguous amount", "amount", "1,234.500", "amount", ""},
		{"too many decimals", "amount", "12.3456", "amount", ""},
		{"zero", "amount", "0.000", "amount", ""},
		{"negative", "amount", "-5", "amount", ""},
		{"not a number", "amount", "NaN", "amount", ""},
		{"exponent", "amount", "1e3", "amount", ""},
		{"no amount", "amount", "", "amount", ""},
		{"currency in the amount", "amount", "KWD 5", "amount", ""},

		{"currency", "currency", "usd", "", "USD"},
		{"unknown currency", "currency", "KD", "currency", ""},

		{"email", "email", " A.b+c@Example.COM ", "", "A.b+c@example.com"},
		{"idn domain", "email", "a@bücher.example", "", "a@xn--bcher-kva.example"},
		{"arabic domain", "email", "a@مثال.إختبار", "", "a@xn--mgbh0fb.xn--kgbechtv"},
		{"hidden marks", "email", "\u200fa@example.com\u202c", "", "a@example.com"},
		{"arabic local part", "email", "ليلى@example.com", "email", ""},
		{"display name", "email", "A <a@example.com>", "email", ""},
		{"comment", "email", "a@example.com (A)", "email", ""},
		{"two addresses", "email", "a@example.com;b@example.com", "email", ""},
		{"no at", "email", "example.com", "email", ""},
		{"no domain", "email", "a@", "email", ""},
		{"bare host", "email", "a@localhost", "email", ""},
		{"trailing dot", "email", "a@example.com.", "email", ""},
		{"double dot", "email", "a..b@example.com", "email", ""},
		{"quoted local part", "email", `"a b"@example.com`, "email", ""},
		{"address literal", "email", "a@[192.0.2.1]", "email", ""},
		{"ip address", "email", "a@192.0.2.1", "email", ""},
		{"long local part", "email", strings.Repeat("a", 65) + "@example.com", "email", ""},
		{"header injection", "email", "a@example.com\r\nBcc: b@example.com", "control", ""},

		{"international phone", "phone", "+965 5000-1234", "", "+96550001234"},
		{"national phone", "phone", "5000 1234", "", "+96550001234"},
		{"arabic phone", "phone", "٥٠٠٠١٢٣٤", "", "+96550001234"},
		{"phone with 00", "phone", "0096550001234", "", "+96550001234"},
		{"phone without plus", "phone", "96550001234", "", "+96550001234"},
		{"foreign phone", "phone", "+1 (212) 555-0123", "", "+12125550123"},
		{"non-breaking blanks", "phone", "+965\u00a05000\u00a01234", "", "+96550001234"},
		{"landline of a row with email", "phone", "+96522212345", "", "+96522212345"},
		{"test number", "phone", "+15005550001", "", "+15005550001"},
		{"power of ten", "phone", "9.655E+10", "phone", ""},
		{"decimal phone", "phone", "96550001234.0", "phone", ""},
		{"extension", "phone", "50001234 ext 7", "phone", ""},
		{"extension by x", "phone", "50001234x7", "phone", ""},
		{"letters", "phone", "+1800FLOWERS", "phone", ""},
		{"two phones", "phone", "50001234 / 50001235", "phone", ""},
		{"too short", "phone", "5000", "phone", ""},
		{"no such number", "phone", "+96500001234", "phone", ""},
		{"only signs", "phone", "--", "phone", ""},
		{"only a plus", "phone", "+", "phone", ""},

		{"two routes", "channels", "Email + WhatsApp > SMS", "", "email+whatsapp>sms"},
		{"unknown channel", "channels", "fax", "channels", ""},
		{"channel twice", "channels", "email+email", "channels", ""},

		{"arabic", "language", "عربي", "", "ar"},
		{"english", "language", "en-GB", "", "en"},
		{"french", "language", "fr", "language", ""},
		{"country name", "country", "saudi arabia", "", "SA"},
		{"country code", "country", "sa", "", "SA"},
		{"no such country", "country", "ZZ", "country", ""},
		{"timezone", "timezone", "Asia/Riyadh", "", "Asia/Riyadh"},
		{"no such zone", "timezone", "Kuwait time", "timezone", ""},
		{"the machine's zone", "timezone", "Local", "timezone", ""},

		{"iso date", "due_date", "2027-02-28", "", "2027-02-28"},
		{"day first", "due_date", "03/04/2027", "", "2027-04-03"},
		{"short day first", "due_date", "3.4.2027", "", "2027-04-03"},
		{"arabic date", "due_date", "٣١/٠١/٢٠٢٧", "", "2027-01-31"},
		{"database date", "due_date", "2027-02-28 00:00:00", "", "2027-02-28"},
		{"month first", "due_date", "12/31/2027", "due_date", ""},
		{"31 april", "due_date", "31/04/2027", "due_date", ""},
		{"short year", "due_date", "31/01/27", "due_date", ""},
		{"mixed separators", "due_date", "31/01-2027", "due_date", ""},
		{"slip of the year", "due_date", "2207-01-31", "due_date", ""},
		{"word", "due_date", "soon", "due_date", ""},

		{"days", "expires_in", "7d", "", "168h0m0s"},
		{"days and hours", "expires_in", "1d 12h", "", "36h0m0s"},
		{"arabic hours", "expires_in", "٣٦h", "", "36h0m0s"},
		{"year", "expires_in", "365d", "", "8760h0m0s"},
		{"too short a time", "expires_in", "4m", "expires_in", ""},
		{"too long", "expires_in", "366d", "expires_in", ""},
		{"far too long", "expires_in", "99999d", "expires_in", ""},
		{"no unit", "expires_in", "7", "expires_in", ""},
		{"negative time", "expires_in", "-7d", "expires_in", ""},
		{"days less hours", "expires_in", "7d-3h", "expires_in", ""},

		{"https", "attachment_url", "https://example.com/a.pdf", "", "https://example.com/a.pdf"},
		{"http", "attachment_url", "http://example.com/a.pdf", "attachment_url", ""},
		{"script", "attachment_url", "javascript:alert(1)", "attachment_url", ""},
		{"user in the address", "attachment_url", "https://me:pw@example.com/", "attachment_url", ""},
		{"relative", "attachment_url", "/a.pdf", "attachment_url", ""},

		{"long reference", "reference", long[:2*129], "length", ""},
		{"longest reference", "reference", long[:2*128], "", long[:2*128]},
		{"long description", "description", long[:2*501], "length", ""},
		{"long name", "first_name", long[:2*65], "length", ""},
		{"long extra", "unit", long, "length", ""},
		{"lines in a description", "description", "a\r\n\tb", "", "a b"},
		{"lines in an extra", "unit", "a\nb", "", "a b"},
		{"lines in a name", "name", "a\nb", "control", ""},
		{"bell", "description", "a\ab", "control", ""},
		{"nul", "unit", "a\x00b", "control", ""},
		{"c1 control", "name", "a\u0085b", "control", ""},
		{"lost character", "name", "Jos\ufffd", "encoding", ""},
		{"spreadsheet error", "reference", "#REF!", "cell", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cells := map[string]string{"amount": "5", "email": "a@example.com", "phone": "50001234", "channels": "email"}
			cells[tt.column] = tt.cell
			if tt.column == "channels" || tt.column == "unit" {
				cells["phone"] = "50001234"
			}
			var head, body []string
			for _, column := range []string{"reference", "amount", "currency", "name", "first_name", "email", "phone", "channels", "language", "country",
				"timezone", "due_date", "expires_in", "description", "attachment_url", "unit"} {
				head = append(head, column)
				body = append(body, `"`+strings.ReplaceAll(cells[column], `"`, `""`)+`"`)
			}
			if tt.column == "country" {
				body[6] = "+96550001234"
			}
			opt := gulf
			opt.Encoding = "utf-8"
			res := read(t, strings.Join(head, ",")+"\n"+strings.Join(body, ",")+"\n", opt)
			if res.Err != nil {
				t.Fatal(res.Err)
			}
			if tt.kind != "" {
				if len(res.Rejections) != 1 {
					t.Fatalf("got row %+v, want a rejection", *res.Rows[0])
				}
				rej := res.Rejections[0]
				if rej.Kind != tt.kind || rej.Column != tt.column || rej.Reason == "" || rej.Hint == "" {
					t.Errorf("got rejection %+v, want kind %s in column %s", *rej, tt.kind, tt.column)
				}
				return
			}
			if len(res.Rows) != 1 {
				t.Fatalf("got %s, want a row", describe(res.Rejections))
			}
			if got := field(res.Rows[0], tt.column); got != tt.want {
				t.Errorf("got %s %q, want %q", tt.column, got, tt.want)
			}
		})
	}
}

func field(r *paylink.Row, column string) string {
	switch column {
	case "amount":
		return r.Amount.String()
	case "currency":
		return r.Amount.Currency
	case "expires_in":
		return r.ExpiresIn.String()
	case "channels":
		return r.Routes.String()
	}
	return map[string]string{
		"reference": r.Reference, "name": r.Name, "first_name": r.FirstName, "email": r.Email, "phone": r.Phone, "language": r.Language,
		"country": r.Country, "timezone": r.Timezone, "due_date": r.DueDate, "description": r.Description,
		"attachment_url": r.AttachmentURL, "unit": r.Extra["unit"],
	}[column]
}

func TestRoutesNeedAddresses(t *testing.T) {
	t.Parallel()
	const mobile, landline = "+96550001234", "+96522212345"
	for _, tt := range []struct{ name, email, phone, channels, want, column string }{
		{"both", "a@example.com", mobile, "email+whatsapp>sms", "email+whatsapp>sms", ""},
		{"first of a chain is missing", "", mobile, "email>sms", "sms", ""},
		{"later of a chain is missing", "a@example.com", "", "email>sms", "email", ""},
		{"landline falls out", "a@example.com", landline, "email>whatsapp>sms", "email", ""},
		{"route without email", "", mobile, "email+sms", "", "Mail"},
		{"route without phone", "a@example.com", "", "email+sms", "", "Tel"},
		{"route to a landline", "a@example.com", landline, "email+sms", "", "Tel"},
		{"nothing at all", "", "", "whatsapp>sms", "", "Tel"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := read(t, "amount,Mail,Tel,channels\n5,"+tt.email+","+tt.phone+","+tt.channels+"\n", gulf)
			switch {
			case tt.want != "" && (len(res.Rows) != 1 || res.Rows[0].Routes.String() != tt.want):
				t.Errorf("got %v and %s, want routes %s", res.Rows, describe(res.Rejections), tt.want)
			case tt.want == "" && (len(res.Rejections) != 1 || res.Rejections[0].Kind != "address" || res.Rejections[0].Column != tt.column):
				t.Errorf("got %s, want a rejection in column %s", describe(res.Rejections), tt.column)
			}
		})
	}
}

// TestSharedRoutes guards the cache of routes: taking a channel out for one row must not take it from the next.
func TestSharedRoutes(t *testing.T) {
	t.Parallel()
	res := read(t, "amount,email,phone,channels\n1,a@example.com,,email>sms\n1,a@example.com,50001234,email>sms\n", gulf)
	if len(res.Rows) != 2 || res.Rows[0].Routes.String() != "email" || res.Rows[1].Routes.String() != "email>sms" {
		t.Errorf("got %+v, rejected %s", res.Rows, describe(res.Rejections))
	}
}

func TestCountryOfRow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, country, phone, want, number string }{
		{"default", "", "", "KW", ""},
		{"of the phone", "", "+966500001234", "SA", "+966500001234"},
		{"of the column", "AE", "+966500001234", "AE", "+966500001234"},
		{"column resolves the phone", "SA", "0500001234", "SA", "+966500001234"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := one(t, "amount,email,phone,country\n5,a@example.com,"+tt.phone+","+tt.country+"\n", gulf)
			if got.Country != tt.want || got.Phone != tt.number {
				t.Errorf("got country %s and phone %s, want %s and %s", got.Country, got.Phone, tt.want, tt.number)
			}
		})
	}
}

func TestPhoneWithoutAnyCountry(t *testing.T) {
	t.Parallel()
	res := read(t, "amount,currency,phone,channels\n5,KWD,50001234,sms\n", batchfile.Options{})
	if len(res.Rejections) != 1 || !strings.Contains(res.Rejections[0].Hint, "country") {
		t.Errorf("got %s, want a hint about the country", describe(res.Rejections))
	}
}

func TestNumberFormat(t *testing.T) {
	t.Parallel()
	opt := gulf
	opt.NumberFormat = paylink.NumberPoint
	if got := one(t, "amount,email\n\"1,234.500\",a@example.com\n", opt); got.Amount.Minor != 1234500 {
		t.Errorf("got %v, want 1234.500", got.Amount)
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	res := read(t, "Amount,E-Mail,due_date\n0,nobody,never\n", gulf)
	if len(res.Rejections) != 1 {
		t.Fatalf("got %+v, want one rejection", res)
	}
	rej := res.Rejections[0]
	if got := strings.Count(rej.Reason, ";"); got != 2 || !strings.Contains(rej.Reason, "zero") || !strings.Contains(rej.Reason, "email") {
		t.Errorf("got reason %q, want all three problems", rej.Reason)
	}
	if strings.Contains(rej.Reason+rej.Hint, "nobody") {
		t.Errorf("reason %q and hint %q hold the payer's address", rej.Reason, rej.Hint)
	}
}

// TestReasonsQuoteNoCell reads a row whose cells have shifted: reasons travel further than the file does.
func TestReasonsQuoteNoCell(t *testing.T) {
	t.Parallel()
	const secret = "+96550001234 x"
	for _, column := range []string{"amount", "currency", "email", "phone", "channels", "language", "country", "timezone", "due_date", "expires_in", "attachment_url"} {
		head := "amount,email," + column
		row := "5,a@example.com," + secret
		switch column {
		case "amount":
			head, row = "amount,email", secret+",a@example.com"
		case "email":
			head, row = "amount,email", "5,"+secret
		}
		res := read(t, head+"\n"+row+"\n", gulf)
		if len(res.Rejections) != 1 || strings.Contains(res.Rejections[0].Reason+res.Rejections[0].Hint, "50001234") {
			t.Errorf("column %s: got %s, error %v; want one rejection that does not quote the cell", column, describe(res.Rejections), res.Err)
		}
	}
}

// TestNoClock reads a date far away where no clock was given.
func TestNoClock(t *testing.T) {
	t.Parallel()
	opt := gulf
	opt.Now = time.Time{}
	if got := one(t, "amount,email,due_date\n5,a@example.com,2207-01-31\n", opt); got.DueDate != "2207-01-31" {
		t.Errorf("got due date %q", got.DueDate)
	}
}
