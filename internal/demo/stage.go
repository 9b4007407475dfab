package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// stopTimeout bounds how long a child may take to end when it is asked to.
const stopTimeout = 10 * time.Second

// stage is where the demo plays: its output, its directory, its programs.
type stage struct {
	out              io.Writer
	dir, bin, python string
	// repoURL is what RAGNOS_TUF_REPO_URL is set to.
	repoURL string
	steps   int
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func (s *stage) step(title string) {
	s.steps++
	s.say("\n%d. %s\n", s.steps, title)
}

// proved closes a step or a part of it: what has just been checked.
func (s *stage) proved(format string, args ...any) { s.say("   => "+format, args...) }

// command makes a command that runs one of our programs in a directory of the
// stage, as a user would type it: nothing of the caller's settings reaches it.
func (s *stage) command(ctx context.Context, in, program string, args ...string) (*exec.Cmd, error) {
	dir := filepath.Join(s.dir, in)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s.say("   %s$ %s %s", in, program, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "RAGNOS_") && !strings.HasPrefix(v, "DEBUG=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "RAGNOS_PYTHON_BIN="+s.python, "RAGNOS_TUF_REPO_URL="+s.repoURL)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopTimeout
	return cmd, nil
}

// run runs a command, shows what it prints, and fails unless it exits with code.
func (s *stage) run(ctx context.Context, code int, in, program string, args ...string) (string, error) {
	cmd, err := s.command(ctx, in, program, args...)
	if err != nil {
		return "", err
	}
	raw, err := cmd.CombinedOutput()
	said := strings.TrimSpace(string(raw))
	for line := range strings.Lines(said) {
		s.say("   | %s", s.short(strings.TrimSpace(line)))
	}
	var exit *exec.ExitError
	if err != nil && (ctx.Err() != nil || !errors.As(err, &exit)) {
		return said, errors.Join(err, ctx.Err())
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		return said, fmt.Errorf("%s ended with exit code %d instead of %d", program, got, code)
	}
	if code != 0 {
		s.say("   | exit code %d", code)
	}
	return said, nil
}

// short leaves the long name of the temporary directory out of a line.
func (s *stage) short(line string) string { return strings.ReplaceAll(line, s.dir+"/", "") }

// use lets later commands talk to the repository at url.
func (s *stage) use(url string) {
	s.repoURL = url
	s.say("   $ export RAGNOS_TUF_REPO_URL=%s", url)
}

// give puts a file into a directory of the stage.
func (s *stage) give(in, name string, content []byte) error {
	dir := filepath.Join(s.dir, in)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), content, 0o600)
}

// must fails unless text says what it has to say.
func must(text, says string) error {
	if !strings.Contains(text, says) {
		return fmt.Errorf("expected %q in: %s", says, text)
	}
	return nil
}

// same fails unless a file of the stage is byte by byte the wanted one.
func (s *stage) same(file, wanted string) error {
	got, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		return err
	}
	want, err := os.ReadFile(wanted)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s is not what the publisher signed", file)
	}
	return err
}

// server is a running local-tuf serve.
type server struct {
	url string
	cmd *exec.Cmd
}

// serve starts local-tuf serve on a free port and waits until it listens.
func (s *stage) serve(ctx context.Context, in string) (*server, error) {
	cmd, err := s.command(ctx, in, "local-tuf", "serve", "--port", "0", "--access-log", "access.log")
	if err != nil {
		return nil, err
	}
	cmd.Stderr = s.out
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	srv := &server{cmd: cmd}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	_, url, found := strings.Cut(strings.TrimSpace(line), " at ")
	if err != nil || !found {
		srv.stop()
		return nil, fmt.Errorf("local-tuf does not serve; it said %q", line)
	}
	srv.url = url
	s.say("   | %s", s.short(strings.TrimSpace(line)))
	return srv, nil
}

// stop ends the server and waits for its end.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt)
	_ = s.cmd.Wait() // its exit code tells nothing about what was shown
}
