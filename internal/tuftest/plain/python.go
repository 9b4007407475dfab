package plain

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

//go:embed updater.py
var script string

// Python is python-tuf's own client in a child process that serves one request
// after the other and is started anew after it died or hung. It is safe for
// concurrent use; concurrent requests wait for each other.
type Python struct {
	interpreter string

	mu  sync.Mutex
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// NewPython returns a client for an interpreter that has python-tuf, such as
// [Interpreter] finds. Close it after use.
func NewPython(interpreter string) *Python { return &Python{interpreter: interpreter} }

// Interpreter returns $RAGNOS_PYTHON_BIN, or the interpreter of the virtual
// environment at the root of the module.
func Interpreter() (string, error) {
	if path := os.Getenv("RAGNOS_PYTHON_BIN"); path != "" {
		return path, nil
	}
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), "..", "..", "..", ".venv", "bin", "python")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no python with python-tuf: set RAGNOS_PYTHON_BIN or make a virtual environment: %w", err)
	}
	return path, nil
}

type reply struct {
	Path  string `json:"path"`
	Found bool   `json:"found"`
	Error string `json:"error"`
}

// Run runs a request. When ctx ends the child is killed.
func (p *Python) Run(ctx context.Context, r Request) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.start(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	defer stop()
	answer, err := p.ask(r)
	switch {
	case ctx.Err() != nil:
		p.kill()
		return nil, ctx.Err()
	case err != nil:
		p.kill()
		return nil, fmt.Errorf("%w: %w", ErrCrash, err)
	case answer.Error != "":
		return nil, errors.New(answer.Error)
	case r.Target == "":
		return nil, nil
	case !answer.Found:
		return nil, ErrNotFound
	}
	return readTarget(answer.Path)
}

func (p *Python) ask(r Request) (a reply, err error) {
	message := struct {
		Request
		Now int64 `json:"now,omitempty"`
	}{Request: r}
	if !r.Now.IsZero() {
		message.Now = r.Now.Unix()
	}
	line, err := json.Marshal(message)
	if err != nil {
		return a, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return a, err
	}
	line, err = p.out.ReadBytes('\n')
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(line, &a)
}

func (p *Python) start() error {
	if p.cmd != nil {
		return nil
	}
	cmd := exec.Command(p.interpreter, "-I", "-c", script)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start python: %w", err)
	}
	p.cmd, p.in, p.out = cmd, in, bufio.NewReader(out)
	return nil
}

func (p *Python) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.in.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

// Close ends the child.
func (p *Python) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill()
}
