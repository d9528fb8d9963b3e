package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"dunlin/paylink"
	"dunlin/templates"
)

// Builder renders the message that a claim asks for. It is immutable and safe for concurrent use.
type Builder struct {
	// Merchant is who the message is from, in the payer's eyes.
	Merchant string
	// PublicURL is where payers reach us, without a trailing slash; empty = messages carry the provider's own link.
	PublicURL string
	// MailDomain ends the Message-ID.
	MailDomain string
	// Templates are the texts.
	Templates *templates.Set
	// ContentSIDs are the approved WhatsApp templates, by "purpose:lang".
	ContentSIDs map[string]string
}

// maxQueueing bounds how long an SMS may wait at the provider: a link should not land long after it was asked for.
const maxQueueing = 4 * time.Hour

// Build renders the claim's message. Two calls with an equal claim give an equal result. Failures are of scope template:
// every row of the batch would fail alike. templateHash names the texts that were used.
func (b *Builder) Build(c paylink.MessageClaim) (out Outgoing, templateHash string, err error) {
	m, r := c.Message, c.Request
	out = Outgoing{
		Channel: m.Channel, To: c.Contact.Address(m.Channel), ToName: c.Contact.Name,
		Language: r.Language, Date: c.Date, AttemptToken: c.Token,
	}
	if c.Left.Minor > 0 { // a part may be paid: what is asked for is what is left
		r.Amount = c.Left
	}
	link, suffix := b.link(c)
	data := templates.NewLinkData(b.Merchant, r, c.Contact, link, r.Language)
	page := link
	if c.Paid != nil {
		if link, suffix = "", ""; b.PublicURL != "" {
			suffix = paylink.Token(r.ID, r.Secret) + "/receipt"
			link = b.PublicURL + "/p/" + suffix
		}
		data = templates.NewReceiptData(b.Merchant, r, c.Contact, *c.Paid, m.N, c.Date, link, r.Language)
	}
	if b.PublicURL != "" && m.Channel == paylink.Email {
		data.Stop = page + "/stop"
		if strings.HasPrefix(data.Stop, "https://") { // a trial on this machine has no address for the world
			out.Unsubscribe = data.Stop
		}
	}
	templateHash = b.Templates.Hash(m.Purpose, r.Language, m.Channel)
	switch m.Channel {
	case paylink.Email:
		err = b.email(&out, c, data)
	case paylink.SMS:
		out.Text, err = b.Templates.SMS(m.Purpose, r.Language, data)
		out.ValidFor = maxQueueing
		if left := c.LinkDies.Sub(c.Date); b.PublicURL == "" && left > 0 {
			out.ValidFor = min(out.ValidFor, left)
		}
	case paylink.WhatsApp:
		out.ContentSID = b.ContentSIDs[m.Purpose+":"+r.Language]
		if out.ContentSID == "" {
			err = fmt.Errorf("no WhatsApp template is configured for %s:%s (DUNLIN_WHATSAPP_TEMPLATES)", m.Purpose, r.Language)
			break
		}
		out.Variables, err = b.Templates.WhatsApp(m.Purpose, r.Language, data, suffix)
	default:
		err = fmt.Errorf("channel %q is not known", m.Channel)
	}
	if err != nil {
		// The template's own words may quote a payer's data; its name is what an operator needs.
		return out, templateHash, &paylink.Failure{
			Kind: paylink.Permanent, Scope: paylink.ScopeTemplate, Cause: paylink.CauseTemplate,
			Detail: fmt.Sprintf("%s template %s:%s cannot be rendered or is not configured", m.Channel, m.Purpose, r.Language),
		}
	}
	return out, templateHash, nil
}

// Reveals reports whether messages carry the provider's own link rather than ours.
func (b *Builder) Reveals() bool { return b.PublicURL == "" }

// link is what the payer gets, and what a WhatsApp button appends to its fixed address.
func (b *Builder) link(c paylink.MessageClaim) (link, suffix string) {
	if b.PublicURL == "" {
		return c.Link, c.Link
	}
	token := paylink.Token(c.Request.ID, c.Request.Secret)
	return b.PublicURL + "/p/" + token, token
}

func (b *Builder) email(out *Outgoing, c paylink.MessageClaim, data templates.LinkData) error {
	if c.Paid == nil {
		png, err := templates.QR(data.Link)
		if err != nil {
			return err
		}
		data.QR = "qr.png"
		out.Inline = []Inline{{Name: data.QR, ContentType: "image/png", Data: png}}
	}
	if c.Attachment == nil && c.Paid == nil {
		data.AttachmentURL = c.Request.AttachmentURL
	}
	mail, err := b.Templates.Email(c.Message.Purpose, c.Request.Language, data)
	if err != nil {
		return err
	}
	out.Attachment = c.Attachment
	out.Subject, out.Text, out.HTML = mail.Subject, mail.Text, mail.HTML
	// One id for the message however often it is tried, so that receivers drop a second copy; the secret keeps ids apart
	// when a ledger was restored and numbers are given out again.
	sum := sha256.Sum256(append([]byte(c.Message.ID.String()+" "), c.Request.Secret...))
	mark := hex.EncodeToString(sum[:8])
	out.MessageID = fmt.Sprintf("%s.%s@%s", c.Message.ID, mark, strings.ToLower(b.MailDomain))
	out.Boundary = "dunlin-" + mark
	return nil
}

// Mark is the text that a lost message can be recognised by at the provider: our link's token or the provider's own link
// in an SMS, the short reference in a WhatsApp message, whose button's address is not part of its body, and in a receipt
// its number.
func (b *Builder) Mark(c paylink.InquiryClaim) string {
	switch {
	case c.Message.Channel == paylink.WhatsApp, c.Message.Purpose == paylink.PurposeReceipt:
		return c.ShortRef
	case b.PublicURL == "":
		return c.Link
	}
	return c.LinkToken
}
