package ledgertest

import (
	"sync"
	"time"

	"dunlin/paylink"
)

var lookTests = []test{
	{"looked at", lookViewed},
	{"second factor", lookProof},
	{"second factor, many at once", lookProofRace},
	{"replaced by a newer request", lookReplaced},
	{"session with saved cards", lookCards},
}

func lookViewed(s *scene) {
	id, _ := s.asked()
	if v := s.payer(id); !v.ViewedAt.IsZero() {
		s.Errorf("viewed at %s before anybody looked", v.ViewedAt)
	}
	s.ok(s.db.Viewed(s.Context(), id))
	first := s.payer(id).ViewedAt
	events, err := s.db.Timeline(s.Context(), id)
	s.ok(err)
	s.clock.Advance(time.Hour)
	s.ok(s.db.Viewed(s.Context(), id))
	v := s.payer(id)
	if first.IsZero() || !v.ViewedAt.Equal(first) || !v.EngagedAt.IsZero() {
		s.Errorf("viewed at %s, engaged at %s; want the first look at %s and nobody engaged", v.ViewedAt, v.EngagedAt, first)
	}
	if again, err := s.db.Timeline(s.Context(), id); err != nil || len(again) != len(events) {
		s.Errorf("the second look wrote %d events, %v", len(again)-len(events), err)
	}
}

func lookProof(s *scene) {
	id, _ := s.asked()
	try := func(right bool) error { return s.db.Prove(s.Context(), id, right, 3) }
	s.ok(try(true)) // being right costs no try
	for range 3 {
		s.ok(try(false))
		s.clock.Advance(time.Hour)
	}
	s.conflict(try(false))
	s.conflict(try(true))
	s.clock.Advance(21*time.Hour + time.Minute) // the first is older than a day
	s.ok(try(true))
	s.ok(try(false))
	s.conflict(try(true))
	other, _ := s.asked()
	s.ok(s.db.Prove(s.Context(), other, false, 3))
}

func lookProofRace(s *scene) {
	id, _ := s.asked()
	taken := make([]bool, 12)
	var wg sync.WaitGroup
	for i := range taken {
		wg.Go(func() { taken[i] = s.db.Prove(s.Context(), id, false, 5) == nil })
	}
	wg.Wait()
	n := 0
	for _, ok := range taken {
		if ok {
			n++
		}
	}
	if n != 5 {
		s.Errorf("%d tries were taken at once, want 5", n)
	}
}

func lookReplaced(s *scene) {
	id, _ := s.asked()
	same := func(f *File) { f.Rows[0].DebtKey = DebtKey(s.line(id).Request.Reference) }
	if s.payer(id).Replaced {
		s.Error("a debt that is asked for is replaced")
	}
	_, err := s.db.CancelRequest(s.Context(), id, "clerk", "wrong amount")
	s.ok(err)
	if s.payer(id).Replaced {
		s.Error("a debt that nobody asks for any more is replaced")
	}
	newer, _ := s.asked(same)
	if !s.payer(id).Replaced {
		s.Error("a debt that a newer request asks for is not replaced")
	}
	if s.payer(newer).Replaced {
		s.Error("the newer request is replaced")
	}
	_, err = s.db.CancelRequest(s.Context(), newer, "clerk", "")
	s.ok(err)
	if s.payer(id).Replaced {
		s.Error("replaced by a request that is canceled itself")
	}
}

func lookCards(s *scene) {
	id, x := s.asked()
	if v := s.payer(id); v.Live == nil || v.Live.Cards {
		s.Errorf("dispatch's session is %+v, want one without saved cards", v.Live)
	}
	s.adopt(x.ID, paylink.SessionExpired)
	opt := byWorker
	opt.Cards = true
	c, err := s.db.ClaimClick(s.Context(), id, opt)
	s.ok(err)
	if !c.Cards {
		s.Error("the claim lost that the session is for saved cards")
	}
	_, err = s.db.RecordClick(s.Context(), c, s.made(c))
	s.ok(err)
	if v := s.payer(id); v.Live == nil || !v.Live.Cards {
		s.Errorf("the session is %+v, want one with saved cards", v.Live)
	}
}
