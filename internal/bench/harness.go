//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

// processTimeout bounds one measured process.
const processTimeout = 3 * time.Minute

const module = "github.com/ragnos-labs/vault-tuf"

// What is built first: the command and what measures it, and what the last group
// takes besides.
var (
	programs     = []string{"cmd/ragnos-tuf", "internal/bench/meter", "internal/bench/server", "internal/bench/plain-go"}
	loopPrograms = []string{"internal/bench/loop-go", "internal/bench/loop-hybrid", "internal/bench/loop-http"}
)

// harness runs processes in a directory of its own, which is removed at the end.
type harness struct {
	python string
	// cache keeps programs and repositories between runs; work does not outlive one.
	cache, work string
	runs        int
}

func (h *harness) bin(name string) string { return filepath.Join(h.cache, "bin", name) }

// build builds programs of this module.
func (h *harness) build(ctx context.Context, programs []string) error {
	args := []string{"build", "-o", filepath.Join(h.cache, "bin") + "/"}
	for _, p := range programs {
		args = append(args, module+"/"+p)
	}
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
}

// dir makes a new directory for one client.
func (h *harness) dir() (string, error) {
	h.runs++
	dir := filepath.Join(h.work, fmt.Sprint(h.runs))
	return dir, os.Mkdir(dir, 0o700)
}

// command prepares a program that is killed with all it started when ctx ends.
// Nothing of the user's settings reaches it.
func (h *harness) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.work, "TMPDIR=" + h.work,
		"LC_ALL=C", "PYTHONDONTWRITEBYTECODE=1", hybrid.EnvPython + "=" + h.python}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// sample is one measurement, as the meter prints it. Memory is in KiB.
type sample struct {
	Wall     time.Duration `json:"wall"`
	CPU      time.Duration `json:"cpu"`
	Host     int64         `json:"host"`
	Worker   int64         `json:"worker"`
	Code     int           `json:"code"`
	Stderr   string        `json:"stderr"`
	requests []string
}

// failed returns why the process failed, nil if it did not.
func (s *sample) failed() error {
	if s.Code == 0 {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(s.Stderr), "\n")
	return fmt.Errorf("exit code %d: %s", s.Code, lines[len(lines)-1])
}

// meter measures a command of a client, run against a network.
func (h *harness) meter(ctx context.Context, n *network, watch bool, env, args []string) (*sample, error) {
	if _, err := n.asked(); err != nil {
		return nil, err
	}
	options := []string{"-timeout", processTimeout.String(), fmt.Sprintf("-watch=%t", watch), "--"}
	cmd := h.command(ctx, h.bin("meter"), append(options, args...)...)
	cmd.Env = append(cmd.Env, env...)
	s := &sample{}
	if err := output(cmd, n, s); err != nil {
		return nil, err
	}
	var err error
	s.requests, err = n.asked()
	return s, err
}

// output runs a command where n is reached, and reads the JSON that it prints.
func output(cmd *exec.Cmd, n *network, into any) error {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := n.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err == nil {
		err = json.Unmarshal(stdout.Bytes(), into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// network is a running server and the way to it.
type network struct {
	name string
	url  string
	// delay is what the server adds to every request.
	delay time.Duration
	// start starts a command where the server is reached.
	start func(*exec.Cmd) error

	in  io.WriteCloser
	out *bufio.Reader
}

// serve starts the server. It ends with stop or with this process.
func (h *harness) serve(ctx context.Context, n *network, dir, listen string, start func(*exec.Cmd) error) (stop func() error, err error) {
	cmd := h.command(ctx, h.bin("server"), "-dir", dir, "-listen", listen)
	cmd.Stderr = os.Stderr
	if n.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := start(cmd); err != nil {
		return nil, err
	}
	stop = func() error { return errors.Join(n.in.Close(), ended(ctx, cmd.Wait())) }
	n.out = bufio.NewReader(out)
	line, err := n.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server does not start: %w", err), stop())
	}
	n.url = strings.TrimSpace(line)
	return stop, nil
}

// ended forgives a process that it was killed because ctx ended.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// asked returns the paths asked for since the last call.
func (n *network) asked() (paths []string, err error) {
	if _, err := fmt.Fprintln(n.in, n.delay); err != nil {
		return nil, err
	}
	line, err := n.out.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	return paths, json.Unmarshal(line, &paths)
}
