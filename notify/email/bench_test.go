package email_test

import (
	"strings"
	"syscall"
	"testing"

	"dunlin/notify"
	"dunlin/notify/email"
)

func typical() notify.Outgoing {
	m := outgoing()
	m.Text = strings.Repeat("A sentence about the invoice that waits to be paid by the payer.\n", 12)
	m.HTML = strings.Repeat("<p style=\"margin:0 0 16px\">A sentence about the invoice.</p>\n", 60)
	return m
}

func BenchmarkRender(b *testing.B) {
	m, sender := typical(), from(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := email.Render(sender, m); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSend includes the receiving server, which runs in the same process; cpu-µs/mail is of both.
func BenchmarkSend(b *testing.B) {
	box := newInbox(b, nil)
	s := newSender(b, email.Config{URL: box.url})
	m := typical()
	before := cpu()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Send(b.Context(), m, proceed); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(cpu()-before)/1e3/float64(b.N), "cpu-µs/mail")
}

// cpu is the time that this process has spent on processors, in nanoseconds.
func cpu() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
