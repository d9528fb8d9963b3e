package sandbox_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"dunlin/sandbox"
)

// rawHTTP repeats one request on one connection. It is a cheaper client than net/http's, so that the benchmark measures
// the sandbox and not its client.
func rawHTTP(b *testing.B, s *sandbox.Sandbox, request func(i int) string, want string) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	report := cpuTime(b)
	i := 0
	for b.Loop() {
		if _, err := io.WriteString(conn, request(i)); err != nil {
			b.Fatal(err)
		}
		i++
		status, err := r.ReadString('\n')
		if err != nil || !strings.Contains(status, want) {
			b.Fatalf("got %q, %v, want %s", status, err, want)
		}
		length := 0
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				b.Fatal(err)
			}
			if line == "\r\n" {
				break
			}
			_, _ = fmt.Sscanf(line, "Content-Length: %d", &length)
		}
		if _, err := r.Discard(length); err != nil {
			b.Fatal(err)
		}
	}
	report("calls/s")
}

// cpuTime reports what one core could do. Wall time says little where others share the machine; the client's part is in
// it, so the sandbox alone is faster.
func cpuTime(b *testing.B) (report func(unit string)) {
	b.ReportAllocs()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func(unit string) { b.ReportMetric(float64(b.N)/(used()-before).Seconds(), unit+"/core") }
}

func BenchmarkCreate(b *testing.B) {
	s := start(b, sandbox.Config{Quiet: true})
	head := "POST " + sessions + " HTTP/1.1\r\nHost: x\r\nAuthorization: Api-Key " + s.Config().APIKey + "\r\nContent-Type: application/json\r\nContent-Length: "
	rawHTTP(b, s, func(i int) string {
		body := order(fmt.Sprintf("inv-%09d-ABCDEFGHIJKL", i), "customer_email", `"payer@example.test"`, "customer_first_name", `"Sara"`, "customer_phone", `"+96550001234"`)
		return fmt.Sprintf("%s%d\r\n\r\n%s", head, len(body), body)
	}, "201")
}

func BenchmarkSend(b *testing.B) {
	s := start(b, sandbox.Config{Quiet: true})
	r, _ := http.NewRequest("POST", "http://x", nil)
	r.SetBasicAuth(s.Config().AccountSID, s.Config().AuthToken)
	head := "POST " + messages(s) + " HTTP/1.1\r\nHost: x\r\nAuthorization: " + r.Header.Get("Authorization") +
		"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "
	rawHTTP(b, s, func(i int) string {
		body := sms(fmt.Sprintf("+9655%07d", i%10_000_000)).Encode()
		return fmt.Sprintf("%s%d\r\n\r\n%s", head, len(body), body)
	}, "201")
}

func BenchmarkMail(b *testing.B) {
	s := start(b, sandbox.Config{Quiet: true})
	conn, err := net.Dial("tcp", s.SMTPAddr())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	expect := func(code string) {
		for {
			line, err := r.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, code) {
				b.Fatalf("got %q, %v, want %s", line, err, code)
			}
			if line[3] == ' ' {
				return
			}
		}
	}
	expect("220")
	_, _ = io.WriteString(conn, "EHLO client.test\r\n")
	expect("250")
	// About the size of a real one, with its QR picture.
	picture := strings.Repeat(strings.Repeat("A", 76)+"\r\n", 60)
	body := strings.Replace(letter, "iVBORw0KGgo=\r\n", picture, 1)
	report := cpuTime(b)
	b.SetBytes(int64(len(body)))
	i := 0
	for b.Loop() {
		i++
		_, _ = fmt.Fprintf(conn, "MAIL FROM:<bounce@example.test>\r\n")
		expect("250")
		_, _ = fmt.Fprintf(conn, "RCPT TO:<payer%d@example.test>\r\n", i)
		expect("250")
		_, _ = io.WriteString(conn, "DATA\r\n")
		expect("354")
		_, _ = io.WriteString(conn, body+".\r\n")
		expect("250")
	}
	report("mails/s")
}
