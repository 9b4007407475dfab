// Package tuferr holds the one error type of the client: what failed, of which
// class it is, and the evidence. Package hybrid re-exports it for callers.
package tuferr

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Error is every error the client returns. Code and class never change between
// releases; Msg, Hint and the text of Error() may.
type Error struct {
	// Code names the failure; Code.Class() its class, Code.Exit() its exit code.
	Code protocol.Code
	// Op is what was being done: "initialize", "refresh", "lookup", "download",
	// "list", "status", "export bundle" or "import bundle" by a client; "init",
	// "open", "publish", "status", "serve" or "re-sign" by a repository.
	Op string
	// Msg says what went wrong, Hint what to do about it. Both are for people.
	Msg, Hint string
	// Role is the TUF role concerned, Target the target path; empty if none is.
	Role, Target string
	// Engine is "go", "python" or "host": who judged.
	Engine string
	// Trusted and Received are metadata versions, 0 if they do not apply.
	Trusted, Received int64
	// Digest is the lower-case hex SHA-256 of the offending bytes, if there are any.
	Digest string
	// Spec is the section of the TUF specification that was enforced, such as "5.3.4".
	Spec string
	// URL, Status and Attempts describe a failed request. Status is 0 without an answer.
	URL      string
	Status   int
	Attempts int
	// Path is the local file or directory concerned.
	Path string
	// Err is the cause.
	Err error
	// Causes holds one error for each engine when all of them failed or disagreed.
	Causes []error
	// told says that an event tells of it: see Tell.
	told bool
}

// New makes an error with a formatted message. A %w verb in the format sets Err.
func New(code protocol.Code, format string, args ...any) *Error {
	e := fmt.Errorf(format, args...)
	return &Error{Code: code, Msg: e.Error(), Err: errors.Unwrap(e)}
}

// Cancelled returns the error for a context that has ended: cancelled or timeout.
func Cancelled(ctx context.Context) error {
	code := protocol.CodeCancelled
	if ctx.Err() == context.DeadlineExceeded {
		code = protocol.CodeTimeout
	}
	return New(code, "%w", fmt.Errorf("stopped by the caller: %w", ctx.Err()))
}

// Error says what, where, why and what to do, in one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	switch {
	case e.Target != "":
		fmt.Fprintf(&b, "%s: ", e.Target)
	case e.Role != "":
		fmt.Fprintf(&b, "%s metadata: ", e.Role)
	}
	msg := e.Msg
	if msg == "" {
		if info, ok := e.Code.Lookup(); ok {
			msg = info.Meaning
		} else {
			msg = string(e.Code)
		}
	}
	b.WriteString(msg)
	if e.URL != "" && !strings.Contains(msg, e.URL) {
		fmt.Fprintf(&b, " (%s)", e.URL)
	}
	if e.Path != "" && !strings.Contains(msg, e.Path) {
		fmt.Fprintf(&b, " (%s)", e.Path)
	}
	if e.Err != nil && !strings.Contains(msg, e.Err.Error()) {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	for _, c := range e.Causes {
		fmt.Fprintf(&b, "; %v", c)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "; %s", e.Hint)
	}
	return b.String()
}

// Unwrap gives errors.Is and errors.As access to the causes.
func (e *Error) Unwrap() []error {
	var all []error
	if e.Err != nil {
		all = append(all, e.Err)
	}
	return append(all, e.Causes...)
}

// Is makes errors.Is match a [Family]: by class or by code.
func (e *Error) Is(target error) bool {
	f, ok := target.(*Family)
	return ok && (f.code == e.Code || f.code == "" && f.class == e.Code.Class())
}

// Class returns the class of the error's code.
func (e *Error) Class() protocol.Class { return e.Code.Class() }

// Family is a sentinel for errors.Is: a whole class of errors, or one code.
type Family struct {
	class protocol.Class
	code  protocol.Code
}

// Error names the family.
func (f *Family) Error() string {
	if f.code != "" {
		return string(f.code)
	}
	return string(f.class)
}

// OfClass returns the family of all errors of a class.
func OfClass(c protocol.Class) *Family { return &Family{class: c} }

// OfCode returns the family of the errors with one code.
func OfCode(c protocol.Code) *Family { return &Family{code: c} }

// As returns err's *Error, or nil when there is none in its chain.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Tell returns err as one that an event has been raised about. Whoever gets it
// raises none again: see [Told]. It changes no error that others may hold.
func Tell(err error) error {
	e := As(err)
	if e == nil {
		return err
	}
	copied := *e
	copied.told = true
	return &copied
}

// Told says whether an event has been raised about err. An error that wraps it
// is another one, which nobody has told of.
func Told(err error) bool {
	e := As(err)
	return e != nil && e.told
}

// CodeOf returns the code of err: "" for nil, CodeInternal for a foreign error.
func CodeOf(err error) protocol.Code {
	if err == nil {
		return ""
	}
	if e := As(err); e != nil {
		return e.Code
	}
	return protocol.CodeInternal
}

// ClassOf returns the class of err: "" for nil, fault for a foreign error.
func ClassOf(err error) protocol.Class {
	if err == nil {
		return ""
	}
	return CodeOf(err).Class()
}
