package ledgertest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/paylink"
)

var attachmentTests = []test{
	{"kept once, then dropped", attachmentKept},
}

func attachmentKept(s *scene) {
	b, other := s.send(1), s.send(1)
	const url = "https://files.example.com/a.pdf"
	want := paylink.Attachment{Name: "a.pdf", Type: "application/pdf", Data: []byte("%PDF-1")}
	look := func(b paylink.BatchID, want *paylink.Attachment) {
		s.Helper()
		got, found, err := s.db.Attachment(s.Context(), b, url)
		s.ok(err)
		if found != (want != nil) {
			s.Fatalf("got found %t", found)
		}
		if diff := cmp.Diff(want, &got); found && diff != "" {
			s.Errorf("the file differs (-want +got):\n%s", diff)
		}
	}
	look(b, nil)
	_, err := s.db.SaveAttachment(s.Context(), b, url, want)
	s.ok(err)
	late := want
	late.Data = []byte("%PDF-2") // the file has changed, and another worker fetched it too
	got, err := s.db.SaveAttachment(s.Context(), b, url, late)
	s.ok(err)
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("what is kept differs (-want +got):\n%s", diff)
	}
	look(b, &want)
	look(other, nil)
	s.clock.Advance(2 * 24 * time.Hour)
	s.ok(s.db.DropAttachments(s.Context()))
	look(b, &want)
	s.clock.Advance(2 * 24 * time.Hour)
	s.ok(s.db.DropAttachments(s.Context()))
	look(b, nil)
}
