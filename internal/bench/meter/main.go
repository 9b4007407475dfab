//go:build linux

// Command meter runs a command and prints what it took as JSON. It is a program
// of its own, and small, because Linux counts the memory of whoever starts a
// process towards the peak of that process.
//
// Wall time is from before the start of the command to its end. CPU time and,
// for a command without a child, peak memory are what the kernel says at its end
// (wait4). With -watch the peaks of the command and of its children are read
// from /proc every two milliseconds, because the kernel's is the largest of
// them all; where a child was seen these are printed.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// tail is how much of the end of stderr is printed, in bytes.
const tail = 2000

// measured is what is printed. Memory is in KiB.
type measured struct {
	Wall   time.Duration `json:"wall"`
	CPU    time.Duration `json:"cpu"`
	Host   int64         `json:"host"`
	Worker int64         `json:"worker"`
	Code   int           `json:"code"`
	Stderr string        `json:"stderr"`
}

func main() {
	watch := flag.Bool("watch", false, "look for children")
	timeout := flag.Duration("timeout", time.Minute, "kill the command after this `duration`")
	flag.Parse()
	m, err := measure(flag.Args(), *watch, *timeout)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "meter:", err)
		os.Exit(1)
	}
}

func measure(args []string, watch bool, timeout time.Duration) (*measured, error) {
	if len(args) == 0 {
		return nil, errors.New("no command")
	}
	said, err := os.CreateTemp("", "stderr-")
	if err != nil {
		return nil, err
	}
	defer said.Close()
	if err := os.Remove(said.Name()); err != nil {
		return nil, err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = said
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer time.AfterFunc(timeout, func() { _ = cmd.Process.Kill() }).Stop()
	var peaks *watcher
	if watch {
		peaks = watchPeaks(cmd.Process.Pid)
	}
	err = cmd.Wait()
	m := &measured{Wall: time.Since(start), Code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	m.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	m.Host = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if host, worker := peaks.stop(); worker > 0 {
		m.Host, m.Worker = host, worker
	}
	m.Stderr, err = end(said)
	return m, err
}

// end returns the last bytes of a file.
func end(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	raw, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-tail), tail))
	return string(raw), err
}
