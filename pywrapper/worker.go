package pywrapper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// drainTime is how long the pipes of a dead worker may be held open by something
// that has left its process group, and how long a worker that has closed its end
// of a pipe may take to exit.
const drainTime = time.Second

// bootstrap is all the code that a worker gets on its command line: it takes the
// script, of as many bytes as its first argument says, from standard input before
// the frames that follow. So the script lies in no file that somebody could change
// or that a killed host would leave behind. The name in brackets keeps a traceback
// from looking for the source in a file.
const bootstrap = `import os, sys

def script(left):
    parts = []
    while left:
        part = os.read(0, left)
        if not part:
            os._exit(130)  # the host is gone
        parts.append(part)
        left -= len(part)
    return b"".join(parts)

exec(compile(script(int(sys.argv.pop(1))), "<python-tuf-client.py>", "exec"))
`

// worker is one worker process, from its start to its end.
type worker struct {
	s       *Supervisor
	cmd     *exec.Cmd
	stdin   *os.File
	stdout  *os.File
	stderr  *os.File
	log     *stderrLog
	writes  chan []byte
	exited  chan struct{} // the process has been reaped
	dead    chan struct{} // and everything that belonged to it is gone
	greeted chan *protocol.Message

	mu       sync.Mutex
	requests map[int64]*exchange
	lastID   int64
	cause    *Error // why it was killed; nil if it ended by itself
	ending   bool   // killed or reaped: takes no new request
	reaped   bool
	state    *os.ProcessState
}

// spawn starts a worker process. Its greeting is not awaited.
func (s *Supervisor) spawn() (*worker, error) {
	w := &worker{
		s: s, log: newStderrLog(s.log),
		writes: make(chan []byte), exited: make(chan struct{}), dead: make(chan struct{}),
		greeted: make(chan *protocol.Message, 1), requests: map[int64]*exchange{},
	}
	if err := w.exec(); err != nil {
		return nil, err
	}
	var readers sync.WaitGroup
	readers.Go(func() { w.read() })
	readers.Go(func() { w.log.drain(w.stderr) })
	s.wg.Go(w.write)
	s.wg.Go(func() { w.wait(&readers) })
	return w, nil
}

// exec starts the process with three pipes.
func (w *worker) exec() error {
	o := w.s.o
	python, err := exec.LookPath(o.Python)
	if err != nil {
		return err
	}
	// A relative path would be looked up in the worker's directory.
	if python, err = filepath.Abs(python); err != nil {
		return err
	}
	w.cmd = exec.Command(python, "-I", "-c", bootstrap,
		strconv.Itoa(len(o.Script)), "worker", strconv.FormatInt(o.MemoryLimit, 10), w.s.logLevel())
	w.cmd.Dir, w.cmd.Env = "/", environment()
	ownGroup(w.cmd)

	var pipes [3][2]*os.File // of descriptors 0, 1, 2: read end, write end
	closeAll := func() {
		for _, p := range pipes {
			_, _ = p[0].Close(), p[1].Close()
		}
	}
	for i := range pipes {
		if pipes[i][0], pipes[i][1], err = os.Pipe(); err != nil {
			closeAll()
			return err
		}
	}
	w.stdin, w.stdout, w.stderr = pipes[0][1], pipes[1][0], pipes[2][0]
	w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = pipes[0][0], pipes[1][1], pipes[2][1]
	if err := w.cmd.Start(); err != nil {
		closeAll()
		return err
	}
	_, _, _ = pipes[0][0].Close(), pipes[1][1].Close(), pipes[2][1].Close()
	return nil
}

// environment is all that a worker gets to see: no proxies, no PYTHON variables,
// no secrets, and no directory to write to.
func environment() []string {
	env := []string{
		"LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TZ=UTC", "PYTHONDONTWRITEBYTECODE=1",
		// Large blocks go back to the system when they are freed: otherwise glibc
		// keeps what one large file took (bytes).
		"MALLOC_MMAP_THRESHOLD_=1048576",
	}
	for _, name := range systemEnv {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// wait reaps the process and clears away what is left of it.
func (w *worker) wait(readers *sync.WaitGroup) {
	_ = w.cmd.Wait() // how it ended stands in ProcessState
	w.mu.Lock()
	killGroup(w.cmd.Process) // what it has started itself
	w.reaped, w.ending, w.state = true, true, w.cmd.ProcessState
	w.mu.Unlock()
	close(w.exited)

	deadline := time.Now().Add(drainTime)
	_, _ = w.stdout.SetReadDeadline(deadline), w.stderr.SetReadDeadline(deadline)
	readers.Wait()
	_, _, _ = w.stdin.Close(), w.stdout.Close(), w.stderr.Close()
	w.s.ended(w)
	close(w.dead)
}

// kill ends the worker's whole process group. The first cause is kept.
func (w *worker) kill(cause *Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause == nil && !w.reaped {
		w.cause = cause
	}
	w.ending = true
	if !w.reaped {
		killGroup(w.cmd.Process)
	}
}

// killUnlessExiting gives a worker that has closed a pipe the time to exit.
func (w *worker) killUnlessExiting(cause *Error) {
	t := time.NewTimer(drainTime)
	defer t.Stop()
	select {
	case <-w.exited:
	case <-t.C:
		w.kill(cause)
	}
}

func (w *worker) usable() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.ending
}

// write hands the script and then frames to the worker. A worker that does not
// read blocks only this goroutine; closing the pipe releases it.
func (w *worker) write() {
	for next := w.s.o.Script; ; {
		if _, err := w.stdin.Write(next); err != nil {
			w.killUnlessExiting(newError(protocol.CodeEngineCrash, "the python worker reads no more requests: %w", err))
			return
		}
		select {
		case <-w.exited:
			return
		case next = <-w.writes:
			w.s.mirror("to the worker", next)
		}
	}
}

// read takes the worker's frames in until it ends or breaks the protocol.
func (w *worker) read() {
	lines := newLineReader(w.stdout, w.s.maxLine)
	for first := true; ; first = false {
		line, err := lines.next()
		if errors.Is(err, errLineTooLong) {
			w.violation(fmt.Errorf("%w: more than %d bytes", err, w.s.maxLine), nil)
			return
		}
		if err != nil {
			w.killUnlessExiting(newError(protocol.CodeProtocol, "the python worker closed its output but did not exit"))
			return
		}
		w.s.mirror("from the worker", line)
		m, err := decode(line)
		if err == nil {
			err = w.dispatch(m, first)
		}
		if err != nil {
			w.violation(err, line)
			return
		}
	}
}

// violation kills the worker for breaking the protocol.
func (w *worker) violation(err error, line []byte) {
	e := newError(protocol.CodeProtocol, "the python worker broke the protocol: %w", err)
	if line != nil {
		e.Message += fmt.Sprintf(" (it sent %.80q)", bytes.TrimSpace(line))
	}
	w.kill(e)
}

// dispatch hands a frame to whom it belongs. It never blocks.
func (w *worker) dispatch(m *protocol.Message, first bool) error {
	if greeting := m.Hello != nil || m.Fatal != nil; greeting != first {
		return errors.New("the greeting has to come first, and once")
	}
	if first {
		w.greeted <- m
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.requests[m.ID]
	if x == nil {
		return fmt.Errorf("an answer to request %d, which is not open", m.ID)
	}
	if m.OK != nil {
		delete(w.requests, m.ID)
		x.reply <- m
		return nil
	}
	if x.call.Fetch == nil || x.asking || m.Fetch.Seq != x.seq+1 {
		return fmt.Errorf("request %d: fetch %d is out of turn", m.ID, m.Fetch.Seq)
	}
	x.asking, x.seq = true, m.Fetch.Seq
	x.asks <- m.Fetch
	return nil
}

// open registers a request and encodes it.
func (w *worker) open(call Call) (*exchange, *Error) {
	params, err := encodeParams(call.Params)
	if err != nil {
		return nil, newError(protocol.CodeInternal, "the parameters cannot be encoded: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ending {
		return nil, newError(protocol.CodeEngineCrash, "the python worker is ending")
	}
	req := protocol.Request{ID: w.lastID + 1, Method: call.Method, Params: params, DeadlineMS: call.Timeout.Milliseconds(), TraceParent: call.TraceParent}
	frame, err := encode(req, w.s.maxLine)
	if err != nil {
		return nil, newError(protocol.CodeUnrepresentable, "the request does not fit into a frame: %w", err)
	}
	w.lastID++
	x := &exchange{
		w: w, call: call, id: req.ID, frame: frame,
		reply: make(chan *protocol.Message, 1), asks: make(chan *protocol.Fetch, 1), fetched: make(chan []byte, 1),
	}
	w.requests[x.id] = x
	return x, nil
}

// forget takes back a request that was never sent.
func (w *worker) forget(x *exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.requests, x.id)
}

// failure says why requests in flight get no reply. The worker must be dead.
func (w *worker) failure() *Error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.cause == nil:
		e := newError(protocol.CodeEngineCrash, "the python worker died: %s", w.state)
		return e.withEnd(w.state, w.log.text())
	case w.cause.Code == protocol.CodeProtocol || w.cause.Code == protocol.CodeEngineCrash:
		return w.cause.withEnd(w.state, w.log.text())
	default: // killed on behalf of another request
		e := newError(protocol.CodeEngineCrash, "the python worker was killed: %s", w.cause.Message)
		return e.withEnd(w.state, w.log.text())
	}
}
