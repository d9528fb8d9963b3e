package templates_test

import (
	"testing"

	"dunlin/paylink"
	"dunlin/templates"

	"github.com/google/go-cmp/cmp"
)

func TestNewLinkData(t *testing.T) {
	r := paylink.Request{
		ID: paylink.NewRequestID(3, 14), Reference: "R-1", Amount: paylink.Money{Minor: 1234500, Currency: "KWD"}, Country: "KW",
		DueDate: "2026-11-05", Description: "Fees", InvoiceNumber: "I-1",
	}
	c := paylink.Contact{Name: "Noura Al-Salem", FirstName: "Noura", Email: "n@example.org", Phone: "+96550012345", Extra: map[string]string{"class": "4B"}}
	got := templates.NewLinkData("Al Noor School", r, c, link, "en")
	want := templates.LinkData{
		Merchant: "Al Noor School", Name: "Noura Al-Salem", FirstName: "Noura", Amount: "KWD 1,234.500", Description: "Fees",
		DueDate: "5 November 2026", InvoiceNumber: "I-1", Reference: "R-1", ShortRef: "b3.14", Link: link, Extra: c.Extra,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFormats: amount and date of one message use the same digits, and the month has the name it has in that country.
func TestFormats(t *testing.T) {
	tests := []struct{ language, country, due, amount, date string }{
		{"en", "", "2026-03-15", "KWD 12.500", "15 March 2026"},
		{"en", "KW", "2026-03-01", "KWD 12.500", "1 March 2026"},
		{"ar", "KW", "2026-03-15", "١٢٫٥٠٠ د.ك.", "١٥ مارس ٢٠٢٦"},
		{"ar", "kw", "2026-08-01", "١٢٫٥٠٠ د.ك.", "١ أغسطس ٢٠٢٦"},
		{"ar", "AE", "2026-03-15", "12.500 د.ك.", "15 مارس 2026"},
		{"ar", "", "2026-05-09", "12.500 د.ك.", "9 مايو 2026"},
		{"ar", "JO", "2026-01-31", "١٢٫٥٠٠ د.ك.", "٣١ كانون الثاني ٢٠٢٦"},
		{"ar", "MA", "2026-08-20", "12,500 د.ك.", "20 غشت 2026"},
		{"ar", "TN", "2026-06-02", "12,500 د.ك.", "2 جوان 2026"},
		{"ar", "KW", "", "١٢٫٥٠٠ د.ك.", ""},
		{"en", "KW", "end of May", "KWD 12.500", "end of May"},
	}
	for _, tt := range tests {
		t.Run(tt.language+tt.country+" "+tt.due, func(t *testing.T) {
			r := paylink.Request{Amount: paylink.Money{Minor: 12500, Currency: "KWD"}, Country: tt.country, DueDate: tt.due}
			d := templates.NewLinkData("M", r, paylink.Contact{}, link, tt.language)
			if d.Amount != tt.amount || d.DueDate != tt.date {
				t.Errorf("%q, %q; want %q, %q", d.Amount, d.DueDate, tt.amount, tt.date)
			}
		})
	}
}
