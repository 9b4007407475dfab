package pywrapper

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

const startHint = "name a Python 3.10 or newer that has python-tuf installed"

// greet waits for the worker's greeting and checks it.
func (w *worker) greet() (*protocol.Hello, *Error) {
	late := time.NewTimer(w.s.o.StartTimeout)
	defer late.Stop()
	select {
	case m := <-w.greeted:
		return w.checkGreeting(m)
	case <-late.C:
		return nil, newError(protocol.CodeWorkerUnavailable, "the python worker (%s) did not say hello within %s; %s", w.cmd.Path, w.s.o.StartTimeout, startHint)
	case <-w.s.closing:
		return nil, closedError()
	case <-w.dead:
	}
	select {
	case m := <-w.greeted: // its last words
		return w.checkGreeting(m)
	default:
	}
	if e := w.failure(); e.Code == protocol.CodeProtocol {
		return nil, e
	}
	return nil, newError(protocol.CodeWorkerUnavailable, "the python worker (%s) ended without a hello: %s; %s", w.cmd.Path, w.state, startHint)
}

func (w *worker) checkGreeting(m *protocol.Message) (*protocol.Hello, *Error) {
	switch {
	case m.Fatal != nil && m.Fatal.Code.Class() == protocol.ClassFault:
		w.killUnlessExiting(newError(m.Fatal.Code, "it could not work"))
		e := newError(m.Fatal.Code, "the python worker (%s) cannot work: %s", w.cmd.Path, clean(m.Fatal.Message))
		e.Detail = m.Fatal.Detail
		return nil, e
	case m.Fatal != nil:
		return nil, newError(protocol.CodeProtocol, "the python worker (%s) cannot start for a reason that is none: %.40q", w.cmd.Path, m.Fatal.Code)
	case m.Hello.Protocol != protocol.Version:
		return nil, newError(protocol.CodeWorkerUnavailable, "the python worker (%s) speaks version %d of the protocol, not %d; use the script that belongs to this program",
			w.cmd.Path, m.Hello.Protocol, protocol.Version)
	default:
		return m.Hello, nil
	}
}

// shutdown ends the worker: politely, then by signal, then by force.
func (w *worker) shutdown(ctx context.Context, limit time.Duration) {
	half := time.NewTimer(limit / 2)
	defer half.Stop()
	full := time.NewTimer(limit)
	defer full.Stop()
	out := w.writes
	bye, err := w.open(Call{Method: protocol.MethodShutdown})
	if err != nil {
		out = nil // it is ending already
		bye = &exchange{}
	}
	for {
		select {
		case out <- bye.frame:
			out = nil
		case <-half.C:
			out = nil
			_ = w.stdin.Close()
			w.terminate()
		case <-full.C:
			w.kill(closedError())
			return
		case <-ctx.Done():
			w.kill(closedError())
			return
		case <-w.dead:
			return
		}
	}
}

func (w *worker) terminate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.reaped {
		terminateGroup(w.cmd.Process)
	}
}

// State says what a [Supervisor] is doing.
type State string

// The states of a supervisor.
const (
	StateStopped    State = "stopped"
	StateStarting   State = "starting"
	StateReady      State = "ready"
	StateBackingOff State = "backing off"
	StateClosed     State = "closed"
)

// Status is a snapshot of a [Supervisor].
type Status struct {
	State State
	// PID is the worker's process, 0 if there is none.
	PID int
	// Hello is what a ready worker said of its versions; nil without one.
	Hello *protocol.Hello
	// Starts counts the processes started, Restarts those after the first.
	Starts, Restarts int
	// LastError is the latest failure of a start or a call, nil if there was none.
	LastError error
	// RSS is the resident memory of the worker in bytes; 0 if unknown.
	RSS int64
}

// Status tells what the worker is doing. It does not block.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{State: StateStopped, Starts: s.starts, Restarts: max(0, s.starts-1), LastError: s.lastErr}
	if s.w != nil {
		st.PID = s.w.cmd.Process.Pid
		st.RSS = residentBytes(st.PID)
	}
	switch {
	case s.closed():
		st.State = StateClosed
	case s.launching != nil && s.waiting:
		st.State = StateBackingOff
	case s.launching != nil:
		st.State = StateStarting
	case s.w != nil && s.w.usable():
		st.State = StateReady
		if s.hello != nil {
			h := *s.hello
			st.Hello = &h
		}
	}
	return st
}

// residentBytes reads the resident memory of a process where /proc tells it.
func residentBytes(pid int) int64 {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
