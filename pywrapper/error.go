package pywrapper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// ErrClosed is in the chain of every error that a closed [Supervisor] returns.
var ErrClosed = errors.New("the supervisor of the python worker is closed")

// Error is every error that a [Supervisor] returns: what the worker replied, or
// what became of it.
type Error struct {
	// Code names the failure, Class is the class that was given with it: from
	// the table of codes, or as the worker claimed if Replied is true.
	Code  protocol.Code
	Class protocol.Class
	// Message is for people: what, where, why and what to do.
	Message string
	// Role is the TUF role concerned and Detail the evidence, if the worker
	// gave any.
	Role   string
	Detail json.RawMessage

	// Replied tells that this is the worker's own reply to the request, and so
	// no more than a claim. Everything else was seen by the supervisor.
	Replied bool
	// Stderr is the end of what the worker wrote to its standard error.
	Stderr string
	// ExitCode is the exit code of a worker that has ended by itself, else -1.
	ExitCode int
	// Signal names the signal that ended the worker, if one did.
	Signal string
	// Err is the cause: the error of the caller's context, [ErrClosed], or the
	// operating system's.
	Err error
}

// Error returns the message, with the cause and the last line of standard error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Err != nil && !strings.Contains(e.Message, e.Err.Error()) {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if line := lastLine(e.Stderr); line != "" && !e.Replied {
		fmt.Fprintf(&b, " (it last wrote: %q)", line)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func newError(code protocol.Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Class: code.Class(), Message: err.Error(), ExitCode: -1, Err: errors.Unwrap(err)}
}

// contextError is the error of a call whose context ended.
func contextError(ctx context.Context) *Error {
	code := protocol.CodeCancelled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = protocol.CodeTimeout
	}
	return newError(code, "the request to the python worker was given up: %w", ctx.Err())
}

func closedError() *Error {
	return newError(protocol.CodeWorkerUnavailable, "no request is possible: %w", ErrClosed)
}

// repliedError is the error that the worker sent as its reply.
func repliedError(e *protocol.Error) *Error {
	return &Error{
		Code: e.Code, Class: e.Class, Message: clean(e.Message), Role: e.Role, Detail: e.Detail,
		Replied: true, ExitCode: -1,
	}
}

// crashed tells whether the request may be asked again: its worker went away
// underneath it.
func (e *Error) crashed() bool { return !e.Replied && e.Code == protocol.CodeEngineCrash }

// withEnd returns a copy of e that carries how the worker ended.
func (e *Error) withEnd(state *os.ProcessState, stderr string) *Error {
	c := *e
	c.Stderr = stderr
	if state != nil {
		c.ExitCode, c.Signal = state.ExitCode(), signalName(state)
	}
	return &c
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// maxMessage bounds what is passed on of a worker's message, in bytes.
const maxMessage = 1 << 10

// clean makes a worker's message fit to be shown on a terminal.
func clean(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxMessage)], "")
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, s)
}
