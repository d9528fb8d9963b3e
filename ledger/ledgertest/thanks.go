package ledgertest

import (
	"fmt"

	"github.com/google/go-cmp/cmp"

	"dunlin/paylink"
)

var thanksTests = []test{
	{"off by default", thanksOff},
	{"owed with the money, sent although the debt is paid", thanksSent},
	{"one for each part", thanksParts},
	{"by what reached the payer", thanksChannel},
	{"not when the money went back", thanksRefunded},
	{"not to who said stop", thanksSuppressed},
	{"a refused one leaves its row sent", thanksRefused},
	{"a lost one leaves its row sent", thanksLost},
	{"sent once more by policy", thanksResent},
	{"paid twice", thanksTwice},
	{"the batch stands still, then is canceled", thanksCanceled},
	{"a new session does not wait for it", thanksRenewed},
	{"found by a look, then told of", thanksCorrected},
}

var byReceipt = paylink.CommitOptions{BytesHash: "r1", TemplateHash: "t2", Timeout: timeout, Reveals: true}

// receipt brings the wake of the only receipt that is due.
func (s *scene) receipt() paylink.Wake {
	s.Helper()
	return one(s, of(s.sweep(), paylink.TaskSend))
}

// thanked sends the receipt that is due and returns its claim.
func (s *scene) thanked() paylink.MessageClaim {
	s.Helper()
	c := s.claimMessage(s.receipt())
	s.ok(s.db.CommitMessage(s.Context(), c, byReceipt))
	s.ok(s.db.AcceptMessage(s.Context(), c, "ref-"+c.Message.ID.String(), 1))
	return c
}

// part is a payment of a part of what the session asks for.
func part(x paylink.Session, minor int64, reference string) paylink.PaymentEvent {
	ev := told(x, paylink.SessionPaid, reference)
	ev.Settled = &paylink.Money{Minor: minor, Currency: x.Amount.Currency}
	return ev
}

func note(received, left int64, reference string) *paylink.PaidNote {
	return &paylink.PaidNote{Received: paylink.Money{Minor: received, Currency: "KWD"}, Left: paylink.Money{Minor: left, Currency: "KWD"}, Reference: reference}
}

func thanksOff(s *scene) {
	id, x := s.asked()
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	s.stands(id, "sent paid; paid; email accepted")
	none(s, of(s.sweep(), paylink.TaskSend))
}

func thanksSent(s *scene) {
	id, x := s.asked(Receipts)
	s.advance()
	s.batchIs(id.Batch(), paylink.BatchDone)
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	s.stands(id, "sent paid; paid; email accepted, receipt by email owed")
	s.batchIs(id.Batch(), paylink.BatchDone)
	w := s.receipt()
	c := s.claimMessage(w)
	s.stands(id, "sent paid; paid; email accepted, receipt by email claimed")
	if diff := cmp.Diff(note(12500, 0, "R1"), c.Paid); diff != "" {
		s.Errorf("what the receipt says (-want +got):\n%s", diff)
	}
	s.ok(s.db.CommitMessage(s.Context(), c, byReceipt))
	s.ok(s.db.AcceptMessage(s.Context(), c, "ref", 1))
	s.stands(id, "sent paid; paid; email accepted, receipt by email accepted")
	s.advance()
	s.batchIs(id.Batch(), paylink.BatchDone)
	_, _, err := s.db.ClaimMessage(s.Context(), c.Message.ID, w.Epoch, byWorker)
	s.conflict(err)
}

func thanksParts(s *scene) {
	id, x := s.asked(Receipts)
	s.hear(part(x, 5000, "R1"), paylink.EventApplied)
	if diff := cmp.Diff(note(5000, 7500, "R1"), s.thanked().Paid); diff != "" {
		s.Errorf("the first receipt (-want +got):\n%s", diff)
	}
	c, err := s.db.ClaimClick(s.Context(), id, byWorker)
	s.ok(err)
	_, err = s.db.RecordClick(s.Context(), c, s.made(c))
	s.ok(err)
	y := *s.line(id).Session
	s.hear(told(y, paylink.SessionPaid, "R2"), paylink.EventApplied)
	s.stands(id, "sent paid; paid; email accepted, receipt by email accepted, receipt by email#2 owed")
	if diff := cmp.Diff(note(7500, 0, "R2"), s.thanked().Paid); diff != "" {
		s.Errorf("the second receipt (-want +got):\n%s", diff)
	}
}

func thanksChannel(s *scene) {
	for _, tt := range []struct {
		routes string
		failed paylink.Channel
		want   string
	}{
		{"sms+email", "", "receipt by email owed"},
		{"email+sms", paylink.Email, "receipt by sms owed"},
		{"whatsapp>sms", paylink.WhatsApp, "receipt by sms owed"},
		{"whatsapp+sms", "", "receipt by whatsapp owed"},
	} {
		id, wakes := s.linked(s.send(1, Routes(tt.routes), Receipts))
		for len(wakes) > 0 {
			w := wakes[0]
			wakes = wakes[1:]
			if w.Channel == tt.failed {
				wakes = append(wakes, s.fail(s.committed(w), permanent)...)
			} else {
				s.accept(w)
			}
		}
		s.hear(told(*s.line(id).Session, paylink.SessionPaid, "R"+id.String()), paylink.EventApplied)
		m := s.line(id).Messages
		last := m[len(m)-1]
		if got := fmt.Sprintf("%s by %s %s", last.Purpose, last.Channel, last.State); got != tt.want {
			s.Errorf("routes %s, %s failed: got %q, want %q", tt.routes, tt.failed, got, tt.want)
		}
		s.thanked()
	}
}

func thanksRefunded(s *scene) {
	id, x := s.asked(Receipts)
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	w := s.receipt()
	s.hear(done(x, "refund", "C1", 12500), paylink.EventApplied)
	_, _, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(w.ID), w.Epoch, byWorker)
	s.conflict(err)
	s.stands(id, "sent refunded; refunded; email accepted, receipt by email canceled")

	id, x = s.asked(Receipts) // between the claim and the point of no return
	s.hear(told(x, paylink.SessionPaid, "R2"), paylink.EventApplied)
	c := s.claimMessage(s.receipt())
	s.hear(done(x, "refund", "C2", 100), paylink.EventApplied)
	s.conflict(s.db.CommitMessage(s.Context(), c, byReceipt))
	s.ok(s.db.ReleaseMessage(s.Context(), c, s.clock.Now()))
	w = s.receipt()
	_, _, err = s.db.ClaimMessage(s.Context(), paylink.MessageID(w.ID), w.Epoch, byWorker)
	s.conflict(err)
	s.stands(id, "sent partially_refunded; paid; email accepted, receipt by email canceled")
}

func thanksSuppressed(s *scene) {
	first := s.send(2, Receipts, Each(func(r *paylink.Row) { r.Email = "one@example.com" }))
	a, wakes := s.linked(first)
	s.accept(wakes[0])
	s.hear(told(*s.line(a).Session, paylink.SessionPaid, "R1"), paylink.EventApplied)
	_, wakes = s.linked(first) // the same payer, who says stop
	s.fail(s.committed(wakes[0]), optedOut)
	w := s.receipt()
	_, _, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(w.ID), w.Epoch, byWorker)
	s.conflict(err)
	s.stands(a, "sent paid; paid; email accepted, receipt by email suppressed")
}

func thanksRefused(s *scene) {
	id, x := s.asked(Routes("email>sms"), Receipts)
	s.hear(part(x, 500, "R1"), paylink.EventApplied)
	c := s.claimMessage(s.receipt())
	s.ok(s.db.CommitMessage(s.Context(), c, byReceipt))
	none(s, s.fail(c, bounced))
	s.stands(id, "sent partially_paid; paid; email accepted, receipt by email failed")
}

func thanksLost(s *scene) {
	id, x := s.asked(Receipts)
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	c := s.claimMessage(s.receipt())
	s.ok(s.db.CommitMessage(s.Context(), c, byReceipt))
	s.clock.Advance(2 * lease) // its worker died
	none(s, of(s.sweep(), paylink.TaskSend))
	s.stands(id, "sent paid; paid; email accepted, receipt by email unknown")
	s.ok(s.db.InquiryHold(s.Context(), s.inquiry()))
	s.stands(id, "sent paid; paid; email accepted, receipt by email held")
}

func thanksResent(s *scene) {
	id, x := s.asked(Receipts)
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	c := s.claimMessage(s.receipt())
	s.ok(s.db.CommitMessage(s.Context(), c, byReceipt))
	s.ok(s.db.LoseMessage(s.Context(), c, unknown, 0))
	w, err := s.db.InquiryResend(s.Context(), s.inquiry())
	s.ok(err)
	again := s.claimMessage(w)
	if diff := cmp.Diff(c.Paid, again.Paid); diff != "" || !again.Date.Equal(c.Date) || again.Frozen != "r1" {
		s.Errorf("sent again with another date %v or frozen as %q: %s", again.Date, again.Frozen, diff)
	}
	s.ok(s.db.CommitMessage(s.Context(), again, byReceipt))
	s.ok(s.db.LoseMessage(s.Context(), again, unknown, 0))
	_, err = s.db.InquiryResend(s.Context(), s.inquiry()) // once
	s.conflict(err)
	s.stands(id, "sent paid; paid; email accepted, receipt by email unknown")
}

func thanksTwice(s *scene) {
	id, x := s.asked(Receipts)
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	s.thanked()
	s.hear(told(x, paylink.SessionPaid, "R2"), paylink.EventApplied)
	s.flags("paid_twice")
	s.stands(id, "sent paid; paid; email accepted, receipt by email accepted")
}

func thanksCanceled(s *scene) {
	b := s.send(2, Receipts)
	id, wakes := s.linked(b)
	s.accept(wakes[0])
	s.ok(s.db.Pause(s.Context(), b, "clerk", ""))
	s.hear(told(*s.line(id).Session, paylink.SessionPaid, "R1"), paylink.EventApplied)
	none(s, of(s.sweep(), paylink.TaskSend))
	s.ok(s.db.Resume(s.Context(), b, "clerk", ""))
	w := s.receipt()
	s.ok(s.db.Pause(s.Context(), b, "clerk", ""))
	_, _, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(w.ID), w.Epoch, byWorker)
	s.conflict(err)
	s.ok(s.db.CancelBatch(s.Context(), b, "clerk", "a mistake"))
	s.thanked()
	s.stands(id, "sent paid; paid; email accepted, receipt by email accepted")
}

func thanksRenewed(s *scene) {
	b := s.send(1, Routes("email+sms"), Receipts)
	id, wakes := s.linked(b)
	s.accept(wakes[0])
	first := *s.line(id).Session
	s.hear(part(first, 5000, "R1"), paylink.EventApplied) // drops the SMS that was owed
	s.stands(id, "sent partially_paid; paid; email accepted, sms canceled, receipt by email owed")
	again, err := s.db.Resend(s.Context(), id, paylink.SMS, "clerk", "the rest")
	s.ok(err)
	w := one(s, again)
	_, more, err := s.db.ClaimMessage(s.Context(), paylink.MessageID(w.ID), w.Epoch, paylink.ClaimOptions{Worker: "w1", Lease: lease, NeedsLink: true})
	s.conflict(err)
	s.link(one(s, more))
	s.stands(id, "in_flight partially_paid; open; email accepted, sms canceled, receipt by email owed, sms#2 owed")
	s.thanked()
}

func thanksCorrected(s *scene) {
	id, x := s.asked(Receipts)
	s.adopt(x.ID, paylink.SessionPaid)
	s.thanked()
	s.hear(told(x, paylink.SessionPaid, "R1"), paylink.EventApplied)
	s.stands(id, "sent paid; paid; email accepted, receipt by email accepted")
}
