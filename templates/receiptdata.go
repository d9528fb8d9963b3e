package templates

import (
	"strings"
	"time"

	"dunlin/paylink"
)

// NewReceiptData gathers what a receipt says: number n of the request's receipts, for money that arrived at the given
// time. link is empty where payers cannot reach us.
func NewReceiptData(merchant string, r paylink.Request, c paylink.Contact, p paylink.PaidNote, n int, at time.Time, link, language string) LinkData {
	d := NewLinkData(merchant, r, c, link, language)
	locale := language
	if r.Country != "" {
		locale += "-" + strings.ToUpper(r.Country)
	}
	d.Received = p.Received.Format(locale)
	if p.Left.Minor > 0 {
		d.Left = p.Left.Format(locale)
	}
	d.PaidOn = formatDate(at.In(zone(r.Timezone)).Format(time.DateOnly), language, r.Country, hasArabicDigits(d.Received))
	d.PaymentRef = p.Reference
	d.ReceiptNo = paylink.ReceiptNo(r.ID, n)
	return d
}
