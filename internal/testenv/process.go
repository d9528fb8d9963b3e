package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server with a guard. The guard is a shell that starts the server and then waits for the end of its
// standard input, which only our process holds open: when we end, in whatever way, the guard ends the server. An
// interrupt from the keyboard reaches the guard as well, which is why it ignores that.
type process struct {
	pid   int
	guard *exec.Cmd
	hold  *os.File
}

// $0 is the log, $1 the signal that ends the server, $2 a folder to remove at the end or "", the rest the command.
const guardScript = `log=$0; signal=$1; folder=$2; shift 2
"$@" </dev/null >>"$log" 2>&1 &
trap '' INT TERM HUP
echo $!
cat >/dev/null
kill -s "$signal" $! 2>/dev/null
wait
if [ -n "$folder" ]; then rm -rf "$folder"; fi`

// guarded describes a server to start.
type guarded struct {
	command []string
	log     string               // file for its output
	signal  string               // what ends it when our process ends, as "TERM"
	remove  string               // folder to remove then; may be empty
	attr    *syscall.SysProcAttr // user to run as; may be nil
}

func (g guarded) start() (*process, error) {
	in, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, guardOut, err := os.Pipe()
	if err != nil {
		hold.Close()
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", guardScript, g.log, g.signal, g.remove}, g.command...)...)
	// Files, not writers: a writer would leave a goroutine behind for as long as the server runs.
	cmd.Stdin, cmd.Stdout, cmd.SysProcAttr = in, guardOut, g.attr
	err = cmd.Start()
	guardOut.Close()
	if err != nil {
		hold.Close()
		return nil, fmt.Errorf("starting %s: %w", g.command[0], err)
	}
	p := &process{guard: cmd, hold: hold}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		p.pid, err = strconv.Atoi(strings.TrimSpace(line))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", g.command[0], err), p.end(0))
	}
	return p, nil
}

// end sends the server the signal (none if 0; the guard sends its own after it) and waits until it is gone.
func (p *process) end(signal syscall.Signal) error {
	if signal != 0 {
		// It may be gone already, which is what we want.
		if err := syscall.Kill(p.pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("ending process %d: %w", p.pid, err)
		}
	}
	return errors.Join(p.hold.Close(), p.guard.Wait())
}

// alive reports whether the server still runs.
func (p *process) alive() bool { return syscall.Kill(p.pid, 0) == nil }

// await asks ready until it says yes, the server ends, or ten seconds are over. A server of another program cannot tell
// us when it is ready, so it is asked.
func (p *process) await(ready func() bool) error {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); time.Since(start) < 10*time.Second; <-tick.C {
		if ready() {
			return nil
		}
		if !p.alive() {
			return errors.New("it ended at once")
		}
	}
	return errors.New("it was not ready after 10 s")
}
