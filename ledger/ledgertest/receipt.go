package ledgertest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"dunlin/paylink"
)

var receiptTests = []test{
	{"any order", receiptShuffled},
	{"stored, doubled", receiptStored},
	{"for nobody", receiptNobodys},
	{"asked by reference", receiptAsked},
	{"faster than the answer", receiptFirst},
	{"fallback", receiptFallback},
	{"reasons for no fallback", receiptNoFallback},
	{"late truth", receiptLate},
	{"stops a resend", receiptStopsResend},
	{"both copies went out", receiptBothCopies},
	{"one copy failed", receiptOneCopyFailed},
	{"two messages of one attempt", receiptTwoReferences},
	{"suppresses", receiptSuppresses},
	{"stop and start", stopAndStart},
	{"due", receiptDue},
}

var undelivered = &paylink.Failure{Kind: paylink.Permanent, Scope: paylink.ScopeRow, Cause: paylink.CauseUnreachable, Code: "30003"}

// receipt is what the provider tells of the claim's copy.
func receipt(c paylink.MessageClaim, state paylink.MessageState) paylink.MessageReceipt {
	r := paylink.MessageReceipt{Token: c.Token, Ref: "ref-" + c.Message.ID.String(), State: state, RawState: string(state)}
	if !state.Accepted() {
		r.Failure = undelivered
	}
	return r
}

// told applies a receipt that must have the outcome, and returns its wakes.
func (s *scene) told(r paylink.MessageReceipt, want paylink.EventOutcome) []paylink.Wake {
	s.Helper()
	got, wakes, err := s.db.ApplyReceipt(s.Context(), 0, r)
	s.ok(err)
	if got != want {
		s.Fatalf("receipt %s: got outcome %q, want %q", r.State, got, want)
	}
	return wakes
}

func (s *scene) flagged(want ...string) {
	s.Helper()
	list, err := s.db.Flags(s.Context(), 0, 100)
	s.ok(err)
	got := []string{}
	for _, f := range list {
		got = append(got, string(f.Kind)+" "+f.Detail)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.Errorf("got flags %q, want %q", got, want)
	}
}

func receiptShuffled(s *scene) {
	rng := rand.New(rand.NewPCG(1, 2))
	batch := s.send(12, Routes("sms"))
	for _, end := range []struct {
		words []paylink.MessageState
		want  string
	}{
		{[]paylink.MessageState{"accepted", "sent", "delivered"}, "sent unpaid; open; sms delivered"},
		{[]paylink.MessageState{"accepted", "sent", "delivered", "read"}, "sent unpaid; open; sms read"},
		{[]paylink.MessageState{"accepted", "sent", "undelivered"}, "failed unpaid; open; sms undelivered"},
		{[]paylink.MessageState{"accepted", "failed"}, "failed unpaid; open; sms failed"},
	} {
		for range 3 {
			id, wakes := s.linked(batch)
			c := s.accept(one(s, wakes))
			words := append(append([]paylink.MessageState{}, end.words...), end.words...)
			rng.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
			for _, w := range words {
				_, _, err := s.db.ApplyReceipt(s.Context(), 0, receipt(c, w))
				s.ok(err)
			}
			s.stands(id, end.want)
		}
	}
}

func receiptStored(s *scene) {
	ctx := s.Context()
	id, wakes := s.linked(s.send(1, Routes("sms>email")))
	c := s.accept(one(s, wakes))
	e, _, err := s.db.StoreEvent(ctx, "twilio", "k1", []byte("x"))
	s.ok(err)
	for i, want := range []paylink.EventOutcome{paylink.EventApplied, paylink.EventApplied} { // the second finds the first's outcome
		got, wakes, err := s.db.ApplyReceipt(ctx, e.ID, receipt(c, paylink.MessageUndelivered))
		s.ok(err)
		if got != want || len(wakes) != 1-i {
			s.Errorf("time %d: got %q and %d wakes", i+1, got, len(wakes))
		}
	}
	s.stands(id, "in_flight unpaid; open; sms undelivered, email owed")
	left, err := s.db.UnappliedEvents(ctx, "twilio", 0, 10)
	s.ok(err)
	none(s, left)
	_, _, err = s.db.ApplyReceipt(ctx, 0, paylink.MessageReceipt{Token: c.Token, State: paylink.MessageOwed})
	s.refused(err, paylink.ErrInvalid)
}

func receiptNobodys(s *scene) {
	ctx := s.Context()
	id, wakes := s.linked(s.send(1, Routes("sms")))
	c := s.claimMessage(one(s, wakes))
	// A token that has not left the house cannot come back.
	s.told(receipt(c, paylink.MessageDelivered), paylink.EventNoMessage)
	s.commit(c)
	for _, token := range []string{c.Token + "x", strings.ToLower(c.Token), "zz." + c.Token, "", ".", "-1.x", strings.Split(c.Token, ".")[0]} {
		r := receipt(c, paylink.MessageDelivered)
		r.Token = token
		s.told(r, paylink.EventNoMessage)
	}
	for _, key := range []string{"k1", "k2"} {
		e, _, err := s.db.StoreEvent(ctx, "twilio", key, []byte("x"))
		s.ok(err)
		_, _, err = s.db.ApplyReceipt(ctx, e.ID, paylink.MessageReceipt{Token: "1.no", State: paylink.MessageSent})
		s.ok(err)
	}
	s.flagged("unknown_message first by event e1") // once, not per event
	s.stands(id, "in_flight unpaid; open; sms committing")
	s.ok(s.db.AcceptMessage(ctx, c, "ref", 1))
}

func receiptAsked(s *scene) {
	id, wakes := s.linked(s.send(1, Routes("sms")))
	c := s.accept(one(s, wakes))
	r := receipt(c, paylink.MessageDelivered)
	r.Token, r.Message, r.Segments = "", c.Message.ID, 2
	other := r
	other.Ref = "another"
	s.told(other, paylink.EventNoMessage)
	s.told(r, paylink.EventApplied)
	s.told(r, paylink.EventNothingNew)
	s.stands(id, "sent unpaid; open; sms delivered")
}

func receiptFirst(s *scene) {
	ctx := s.Context()
	for _, tt := range []struct {
		state  paylink.MessageState
		answer func(paylink.MessageClaim) error
		late   bool // the answer brings nothing
		want   string
	}{
		{paylink.MessageDelivered, func(c paylink.MessageClaim) error {
			return s.db.AcceptMessage(ctx, c, "ref-"+c.Message.ID.String(), 2)
		}, false, "sent unpaid; open; sms delivered"},
		{paylink.MessageSent, func(c paylink.MessageClaim) error { return s.db.LoseMessage(ctx, c, unknown, time.Minute) }, true,
			"sent unpaid; open; sms sent"},
		{paylink.MessageFailed, func(c paylink.MessageClaim) error {
			_, err := s.db.FailMessage(ctx, c, permanent, s.clock.Now(), true)
			return err
		}, true, "failed unpaid; open; sms failed"},
	} {
		id, wakes := s.linked(s.send(1, Routes("sms")))
		c := s.committed(one(s, wakes))
		s.told(receipt(c, tt.state), paylink.EventApplied)
		s.stands(id, tt.want)
		if err := tt.answer(c); tt.late {
			s.conflict(err)
		} else {
			s.ok(err)
		}
		s.clock.Advance(time.Hour) // the lease of the claim runs out over nothing
		none(s, s.sweep())
		s.stands(id, tt.want)
	}
}

func receiptFallback(s *scene) {
	id, wakes := s.linked(s.send(1, Routes("whatsapp>sms>email")))
	c := s.accept(one(s, wakes))
	sms := one(s, s.told(receipt(c, paylink.MessageUndelivered), paylink.EventApplied))
	s.stands(id, "in_flight unpaid; open; whatsapp undelivered, sms owed")
	none(s, s.told(receipt(c, paylink.MessageFailed), paylink.EventNothingNew))
	c2 := s.accept(sms)
	s.advance() // the batch is done, and yet its route goes on
	email := one(s, s.told(receipt(c2, paylink.MessageFailed), paylink.EventApplied))
	s.accept(email)
	s.stands(id, "sent unpaid; open; whatsapp undelivered, sms failed, email accepted")
	if m := s.line(id).Messages[0]; m.Cause != paylink.CauseUnreachable {
		s.Errorf("got cause %q", m.Cause)
	}
	none(s, s.told(receipt(c, paylink.MessageDelivered), paylink.EventApplied)) // after all
	s.stands(id, "sent unpaid; open; whatsapp delivered, sms failed, email accepted")
}

func receiptNoFallback(s *scene) {
	unsure := &paylink.Failure{Kind: paylink.Unknown, Scope: paylink.ScopeRow, Cause: paylink.CauseLostAnswer, Code: "30410"}
	for _, tt := range []struct {
		name   string
		happen func(paylink.MessageClaim)
		f      *paylink.Failure
		want   string
	}{
		{"not certain", func(paylink.MessageClaim) {}, unsure, "failed unpaid; open; whatsapp failed"},
		{"opted out", func(paylink.MessageClaim) {}, optedOut, "failed unpaid; open; whatsapp failed"},
		{"after a day", func(paylink.MessageClaim) { s.clock.Advance(24*time.Hour + time.Millisecond) }, undelivered, "failed unpaid; open; whatsapp failed"},
		{"paid", func(c paylink.MessageClaim) { s.adopt(c.SessionID, paylink.SessionPaid) }, undelivered, "failed paid; paid; whatsapp failed"},
		{"canceled", func(c paylink.MessageClaim) {
			s.ok(s.db.CancelBatch(s.Context(), c.Request.ID.Batch(), "clerk", ""))
		}, undelivered, "failed canceled; open; whatsapp failed"},
	} {
		s.Log(tt.name)
		id, wakes := s.linked(s.send(1, Routes("whatsapp>sms"), Each(func(r *paylink.Row) { r.Phone = tt.name })))
		c := s.accept(one(s, wakes))
		tt.happen(c)
		r := receipt(c, paylink.MessageFailed)
		r.Failure = tt.f
		none(s, s.told(r, paylink.EventApplied))
		s.stands(id, tt.want)
	}
}

// receiptLate tells the truth about a lost attempt wherever its message has come to.
func receiptLate(s *scene) {
	ctx := s.Context()
	for _, tt := range []struct {
		name   string
		happen func(paylink.MessageClaim)
		state  paylink.MessageState
		want   string
	}{
		{"unknown", func(paylink.MessageClaim) {}, paylink.MessageSent, "sent unpaid; open; sms sent"},
		{"unknown, not delivered", func(paylink.MessageClaim) {}, paylink.MessageUndelivered, "failed unpaid; open; sms undelivered"},
		{"held", func(paylink.MessageClaim) { s.ok(s.db.InquiryHold(ctx, s.inquiry())) }, paylink.MessageAccepted, "sent unpaid; open; sms accepted"},
		{"held, failed", func(paylink.MessageClaim) { s.ok(s.db.InquiryHold(ctx, s.inquiry())) }, paylink.MessageFailed, "failed unpaid; open; sms failed"},
		{"given up", func(c paylink.MessageClaim) {
			s.ok(s.db.InquiryHold(ctx, s.inquiry()))
			_, err := s.db.Resend(ctx, c.Request.ID, paylink.SMS, "clerk", "asked")
			s.ok(err)
		}, paylink.MessageSent, "in_flight unpaid; open; sms sent, sms#2 owed"},
		{"resent, then called off", func(c paylink.MessageClaim) {
			_, err := s.db.InquiryResend(ctx, s.inquiry())
			s.ok(err)
			_, err = s.db.CancelRequest(ctx, c.Request.ID, "clerk", "")
			s.ok(err)
		}, paylink.MessageDelivered, "sent canceled; open; sms delivered"},
		{"resent, then refused", func(c paylink.MessageClaim) {
			w, err := s.db.InquiryResend(ctx, s.inquiry())
			s.ok(err)
			none(s, s.fail(s.committed(w), permanent))
		}, paylink.MessageSent, "sent unpaid; open; sms sent"},
	} {
		s.Log(tt.name)
		id, wakes := s.linked(s.send(1, Routes("sms")))
		c := s.lost(one(s, wakes))
		tt.happen(c)
		none(s, s.told(receipt(c, tt.state), paylink.EventApplied))
		s.told(receipt(c, tt.state), paylink.EventNothingNew)
		s.stands(id, tt.want)
		if m := s.line(id).Messages[0]; m.ProviderRef == "" {
			s.Error("the reference is not kept")
		}
		s.ok(s.db.CancelBatch(ctx, id.Batch(), "clerk", "")) // its leftovers are not the next one's
	}
}

func receiptStopsResend(s *scene) {
	ctx := s.Context()
	for _, tt := range []struct {
		name  string
		state paylink.MessageState
		want  string
	}{
		{"arrived", paylink.MessageDelivered, "sent unpaid; open; email delivered"},
		{"failed", paylink.MessageUndelivered, "failed unpaid; open; email undelivered"},
	} {
		s.Log(tt.name)
		// Owed again.
		id, wakes := s.linked(s.send(1))
		first := s.lost(one(s, wakes))
		w, err := s.db.InquiryResend(ctx, s.inquiry())
		s.ok(err)
		s.told(receipt(first, tt.state), paylink.EventApplied)
		s.stands(id, tt.want)
		_, _, err = s.db.ClaimMessage(ctx, paylink.MessageID(w.ID), w.Epoch, byWorker)
		s.conflict(err)

		// Claimed again: the worker may not commit, and its claim leaves nothing behind.
		id, wakes = s.linked(s.send(1))
		first = s.lost(one(s, wakes))
		w, err = s.db.InquiryResend(ctx, s.inquiry())
		s.ok(err)
		again := s.claimMessage(w)
		s.told(receipt(first, tt.state), paylink.EventApplied)
		s.conflict(s.db.CommitMessage(ctx, again, commitOptions))
		s.conflict(s.db.ReleaseMessage(ctx, again, s.clock.Now()))
		s.stands(id, tt.want)
		s.clock.Advance(time.Hour)
		none(s, s.sweep())
	}
	s.flagged()
}

// resent is a message whose first answer was lost and whose second copy was committed.
func (s *scene) resent() (id paylink.RequestID, first, second paylink.MessageClaim) {
	s.Helper()
	id, wakes := s.linked(s.send(1, Routes("sms>email")))
	first = s.lost(one(s, wakes))
	w, err := s.db.InquiryResend(s.Context(), s.inquiry())
	s.ok(err)
	return id, first, s.committed(w)
}

func receiptBothCopies(s *scene) {
	ctx := s.Context()
	id, first, second := s.resent()
	r := receipt(first, paylink.MessageDelivered)
	r.Ref = "first"
	s.told(r, paylink.EventApplied)
	s.ok(s.db.AcceptMessage(ctx, second, "second", 1))
	s.stands(id, "sent unpaid; open; sms delivered")
	s.flagged("sent_twice " + first.Message.ID.String() + ": first second")

	id, first, second = s.resent()
	s.ok(s.db.LoseMessage(ctx, second, unknown, time.Minute))
	r1, r2 := receipt(first, paylink.MessageSent), receipt(second, paylink.MessageSent)
	r1.Ref, r2.Ref = "one", "two"
	s.told(r2, paylink.EventApplied)
	s.told(r1, paylink.EventApplied)
	s.stands(id, "sent unpaid; open; sms sent")
	list, err := s.db.Flags(ctx, id.Batch(), 10)
	s.ok(err)
	if f := one(s, list); f.Kind != paylink.FlagSentTwice || f.Detail != first.Message.ID.String()+": one two" {
		s.Errorf("got flag %+v", f)
	}
}

func receiptOneCopyFailed(s *scene) {
	ctx := s.Context()
	id, first, second := s.resent()
	failed := receipt(first, paylink.MessageUndelivered)
	none(s, s.told(failed, paylink.EventApplied)) // the second may arrive
	s.stands(id, "in_flight unpaid; open; sms committing")
	s.told(receipt(first, paylink.MessageSent), paylink.EventNothingNew)
	s.ok(s.db.AcceptMessage(ctx, second, "second", 1))
	s.stands(id, "sent unpaid; open; sms accepted")
	r := receipt(second, paylink.MessageUndelivered)
	r.Ref = "second"
	one(s, s.told(r, paylink.EventApplied)) // now nothing is left of it
	s.stands(id, "in_flight unpaid; open; sms undelivered, email owed")
	s.flagged()

	// The second is refused after the first was reported to be there.
	id, first, second = s.resent()
	s.told(receipt(first, paylink.MessageDelivered), paylink.EventApplied)
	none(s, s.fail(second, permanent))
	s.stands(id, "sent unpaid; open; sms delivered")
}

func receiptTwoReferences(s *scene) {
	id, wakes := s.linked(s.send(1, Routes("sms>email")))
	c := s.accept(one(s, wakes))
	stray := receipt(c, paylink.MessageFailed)
	stray.Ref = "stray"
	none(s, s.told(stray, paylink.EventNothingNew))
	s.stands(id, "sent unpaid; open; sms accepted")
	m := c.Message.ID.String()
	s.flagged("sent_twice " + m + ": ref-" + m + " stray")
}

func receiptSuppresses(s *scene) {
	ctx := s.Context()
	_, wakes := s.linked(s.send(1, Routes("sms>email")))
	c := s.accept(one(s, wakes))
	r := receipt(c, paylink.MessageUndelivered)
	r.Failure = bounced
	email := one(s, s.told(r, paylink.EventApplied))
	if email.Channel != paylink.Email {
		s.Errorf("got %s after sms", email.Channel)
	}
	id, wakes := s.linked(s.send(1, Routes("sms")))
	_, _, err := s.db.ClaimMessage(ctx, paylink.MessageID(one(s, wakes).ID), wakes[0].Epoch, byWorker)
	s.conflict(err)
	s.stands(id, "suppressed unpaid; open; sms suppressed")
	list, err := s.db.Suppressions(ctx, 10)
	s.ok(err)
	if e := one(s, list); e.Channel != paylink.SMS || e.Reason != paylink.SuppressedBounced || e.Source != "5.1.1" || e.Hash != c.AddressHash || e.Request != c.Request.ID {
		s.Errorf("got %+v", e)
	}
}

func stopAndStart(s *scene) {
	ctx := s.Context()
	phone := "+96550000001" // of row 1
	stop := paylink.Suppression{Channel: paylink.SMS, Address: phone, Reason: paylink.SuppressedOptedOut, Source: paylink.SourceStop}
	lift := func(want bool) {
		s.Helper()
		got, err := s.db.Lift(ctx, paylink.Suppression{Channel: paylink.SMS, Hash: stop.Key(), Source: "start"}, paylink.SourceStop)
		s.ok(err)
		if got != want {
			s.Errorf("lifted: %v, want %v", got, want)
		}
	}
	refused := func(want bool) {
		s.Helper()
		_, wakes := s.linked(s.send(1, Routes("sms")))
		_, _, err := s.db.ClaimMessage(ctx, paylink.MessageID(one(s, wakes).ID), wakes[0].Epoch, byWorker)
		if want {
			s.conflict(err)
		} else {
			s.ok(err)
		}
	}
	lift(false)
	s.ok(s.db.Suppress(ctx, stop))
	refused(true)
	lift(true)
	lift(false)
	refused(false)
	// What a person entered is neither replaced by STOP nor lifted by START.
	manual := stop
	manual.Reason, manual.Source = paylink.SuppressedManual, "clerk"
	s.ok(s.db.Suppress(ctx, manual))
	s.ok(s.db.Suppress(ctx, stop))
	lift(false)
	refused(true)
	// Stored events are closed with what they did.
	e, _, err := s.db.StoreEvent(ctx, "twilio", "in", []byte("x"))
	s.ok(err)
	stop.Event = e.ID
	s.ok(s.db.Suppress(ctx, stop))
	e, fresh, err := s.db.StoreEvent(ctx, "twilio", "in", []byte("x"))
	s.ok(err)
	if fresh || e.Outcome != paylink.EventApplied {
		s.Errorf("got %+v", e)
	}
	// Claimed before STOP came: the commit finds out.
	id, wakes := s.linked(s.send(1, Routes("whatsapp")))
	c := s.claimMessage(one(s, wakes))
	s.ok(s.db.Suppress(ctx, paylink.Suppression{Channel: paylink.WhatsApp, Address: phone, Reason: paylink.SuppressedOptedOut, Source: paylink.SourceStop}))
	s.conflict(s.db.CommitMessage(ctx, c, commitOptions))
	s.stands(id, "in_flight unpaid; open; whatsapp claimed")
	s.refused(s.db.Suppress(ctx, paylink.Suppression{Channel: paylink.SMS}), paylink.ErrInvalid)
}

func receiptDue(s *scene) {
	ctx := s.Context()
	amount := int64(0)
	batch := s.send(3, Routes("sms"), Each(func(r *paylink.Row) { amount += 1000; r.Amount.Minor = amount }))
	var ids []paylink.MessageID
	for range 3 {
		_, wakes := s.linked(batch)
		ids = append(ids, s.accept(one(s, wakes)).Message.ID)
	}
	_, wakes := s.linked(s.send(1))
	s.accept(one(s, wakes)) // nobody can be asked about an email
	due := func(want int) {
		s.Helper()
		n, err := s.db.ReceiptsDue(ctx, paylink.SMS)
		s.ok(err)
		v, err := s.db.Vitals(ctx)
		s.ok(err)
		if n != want || v.ReceiptsDue != int64(want) {
			s.Errorf("%d are due, %d by the vitals, want %d", n, v.ReceiptsDue, want)
		}
	}
	due(0)
	s.clock.Advance(10 * time.Minute)
	due(3)
	for _, ch := range []paylink.Channel{paylink.Email, paylink.WhatsApp} {
		_, err := s.db.ClaimReceipt(ctx, ch)
		s.refused(err, paylink.ErrNotFound)
	}
	for i := range 3 { // the largest first
		m, err := s.db.ClaimReceipt(ctx, paylink.SMS)
		s.ok(err)
		if m.ID != ids[2-i] || m.ProviderRef == "" {
			s.Errorf("time %d: claimed %+v", i+1, m)
		}
	}
	_, err := s.db.ClaimReceipt(ctx, paylink.SMS)
	s.refused(err, paylink.ErrNotFound)
	// A final word ends the asking; one that is not final is followed up.
	s.told(paylink.MessageReceipt{Message: ids[0], State: paylink.MessageDelivered}, paylink.EventApplied)
	s.told(paylink.MessageReceipt{Message: ids[1], State: paylink.MessageUndelivered}, paylink.EventApplied)
	s.clock.Advance(10 * time.Minute)
	due(1)
	asked := 0
	for range 24 * 60 {
		if m, err := s.db.ClaimReceipt(ctx, paylink.SMS); err == nil {
			if asked++; m.ID != ids[2] {
				s.Errorf("claimed %+v", m)
			}
		}
		s.clock.Advance(time.Minute)
	}
	if asked != 8 { // after 20, 40, 80, … minutes, and at the end of the day
		s.Errorf("asked %d times in a day, want 8", asked)
	}
	s.clock.Advance(48 * time.Hour)
	due(0)
	used, err := s.db.Used(ctx, "sms", s.clock.Now().Add(-72*time.Hour))
	s.ok(err)
	if used < 6 {
		s.Errorf("%d calls are counted, want the sends and the questions", used)
	}
}

// receiptAny tells anything of any attempt.
func (a *actor) receiptAny() {
	if len(a.known) == 0 {
		return
	}
	c := a.known[a.choose(len(a.known))]
	words := []paylink.MessageState{paylink.MessageAccepted, paylink.MessageSent, paylink.MessageDelivered, paylink.MessageRead,
		paylink.MessageFailed, paylink.MessageUndelivered}
	r := receipt(c, words[a.choose(len(words))])
	r.Ref = []string{"ref", "ref", "ref", "", "other"}[a.choose(5)]
	if r.Failure != nil {
		r.Failure = []*paylink.Failure{undelivered, undelivered, bounced, optedOut, nil}[a.choose(5)]
	}
	_, wakes, err := a.db.ApplyReceipt(a.Context(), 0, r)
	if err != nil { // nothing that a provider says is a conflict
		a.rt.Fatalf("receipt %s of attempt %s: %v", r.State, c.Attempt, err)
	}
	a.wakes = append(a.wakes, wakes...)
}
