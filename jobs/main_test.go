package jobs_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain looks for goroutines that outlive the tests. The tests wait for sockets and leases more than they compute, so
// more of them run at once than there are processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := flag.Set("test.parallel", "8"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString("goroutines were left behind: " + err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}
