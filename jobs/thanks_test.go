package jobs_test

import (
	"slices"
	"strings"
	"testing"

	"dunlin/ledger/ledgertest"
	"dunlin/notify"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// paid pays the batch's only request once its link was sent.
func (w *world) paid(id paylink.BatchID) {
	w.Helper()
	w.settle()
	w.pay(paylink.NewRequestID(id, 1), sandbox.PayFull)
	w.settle()
}

// TestReceiptIsSent pays and reads the receipt in the payer's mailbox. The answer to it is lost and it is sent once more,
// the same bytes; the row stays sent and the batch done.
func TestReceiptIsSent(t *testing.T) {
	onBoth(t, func(w *world) {
		w.fault(sandbox.Rule{Provider: sandbox.SMTP, Op: "dot", Nth: 2, Action: sandbox.LoseAnswer})
		b := w.send(1, ledgertest.Receipts)
		w.paid(b)
		w.ends("sent paid; paid; email accepted, receipt by email accepted (perhaps twice)")
		mails := w.box.Mails()
		if len(mails) != 3 || mails[1].MessageID != mails[2].MessageID || mails[1].Text != mails[2].Text {
			t.Fatalf("got %d mails, want the link and a receipt twice", len(mails))
		}
		no := paylink.ReceiptNo(paylink.NewRequestID(b, 1), 1)
		for _, want := range []string{"Received: KWD 12.500", "Receipt number: " + no} {
			if !strings.Contains(mails[1].Text, want) {
				t.Errorf("the receipt does not say %q:\n%s", want, mails[1].Text)
			}
		}
		if strings.Contains(mails[1].Text, "Left to pay") || strings.Contains(mails[1].Text, "http") {
			t.Errorf("the receipt speaks of what is left, or has a link that leads nowhere:\n%s", mails[1].Text)
		}
		if st := w.counts(b); st.Sent != 1 || !st.Done() {
			t.Errorf("got %+v, want one sent", st)
		}
	})
}

// TestLostReceiptIsFound loses the answer to an SMS: the look-up must not take the link's message for the receipt.
func TestLostReceiptIsFound(t *testing.T) {
	onBoth(t, func(w *world) {
		w.fault(sandbox.Rule{Provider: sandbox.Twilio, Op: "send", Nth: 2, Action: sandbox.LoseAnswer})
		w.config.Builder.(*notify.Builder).PublicURL = "https://pay.example.com"
		w.restart()
		b := w.send(1, ledgertest.Routes("sms"), ledgertest.Receipts)
		w.paid(b)
		w.ends("sent paid; paid; sms accepted, receipt by sms accepted")
		all := w.box.Messages()
		if len(all) != 2 {
			t.Fatalf("got %d messages, want the link and the receipt", len(all))
		}
		l := w.line(paylink.NewRequestID(b, 1))
		for _, m := range l.Messages {
			i := slices.IndexFunc(all, func(x sandbox.Message) bool { return x.SID == m.ProviderRef })
			if i < 0 || strings.Contains(all[i].Body, "/receipt") != (m.Purpose == paylink.PurposeReceipt) {
				t.Errorf("the %s is taken to be %q", m.Purpose, m.ProviderRef)
			}
		}
	})
}

// TestNoReceiptTemplate pays a request that was asked by WhatsApp, where no template of receipts was approved: the
// operator is told once, and the other rows of the batch go on.
func TestNoReceiptTemplate(t *testing.T) {
	onBoth(t, func(w *world) {
		b := w.send(1, ledgertest.Routes("whatsapp"), ledgertest.Receipts)
		w.settle()
		w.pay(paylink.NewRequestID(b, 1), sandbox.PayFull)
		for range 6 {
			w.step()
		}
		w.ends("sent paid; paid; whatsapp accepted, receipt by whatsapp owed")
		if got := w.alerts.list(); len(got) != 1 || !strings.HasPrefix(got[0], "receipt template") {
			t.Errorf("got alerts %q, want one of the receipt's template", got)
		}
		later, err := w.db.Batch(w.Context(), b)
		if err != nil || later.State != paylink.BatchDone {
			t.Errorf("got batch %s, %v, want done", later.State, err)
		}
	})
}
