package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Why we ended a request ourselves.
var (
	errTotal  = errors.New("it took longer than the time allowed for the whole request")
	errSilent = errors.New("it did not answer in time")
	errSlow   = errors.New("it sends too slowly")
)

// Hints that several failures share.
const (
	hintNetwork = "check the URL, the network and the proxy settings"
	hintCA      = "if the repository uses a private certificate authority, give its certificate"
)

// failure is why one attempt gave no file.
type failure struct {
	code      protocol.Code
	msg, hint string
	status    int
	// path is the local file that is in the way, if it is one.
	path string
	err  error
	// retry: another attempt may help, but not before after has passed.
	retry bool
	after time.Duration
}

func (f *failure) Error() string {
	if f.err != nil {
		return f.msg + ": " + f.err.Error()
	}
	return f.msg
}

// typed turns the last failure of a request into the client's error.
func (f *failure) typed(ctx context.Context, u *url.URL, role string, attempts int) error {
	if ended(ctx) != nil && f.code.Class() == protocol.ClassTransport {
		// The caller gave up between two attempts.
		f = broken(ctx, ctx, f)
	}
	if e := tuferr.As(f.err); e != nil && f.code == "" {
		return f.err
	}
	e := &tuferr.Error{
		Code: f.code, Msg: f.msg, Hint: f.hint, Role: role,
		URL: redact(u), Status: f.status, Attempts: attempts, Err: f.err,
	}
	if f.path != "" {
		e.Path, e.URL = f.path, ""
	}
	if f.code == protocol.CodeEndlessData {
		e.Spec = limitSection(role)
	}
	return e
}

// limitSection is the section of the specification that bounds a download.
func limitSection(role string) string {
	switch role {
	case "":
		return "5.7.3"
	case "root":
		return "5.3.3"
	case "timestamp":
		return "5.4.1"
	case "snapshot":
		return "5.5.1"
	default:
		return "5.6.1"
	}
}

// ended tells whether the caller's context is over. A deadline that has passed
// counts although its timer may not have run yet: the network looks at the same
// clock, and may be the first to say so.
func ended(caller context.Context) error {
	if err := caller.Err(); err != nil {
		return err
	}
	if end, ok := caller.Deadline(); ok && !time.Now().Before(end) {
		return context.DeadlineExceeded
	}
	return nil
}

// broken classifies an error of the network. caller tells whether the caller gave
// up, ctx whether we ended the exchange ourselves.
func broken(caller, ctx context.Context, err error) *failure {
	if over := ended(caller); over != nil {
		f := &failure{code: protocol.CodeCancelled, msg: "the request was cancelled", err: over}
		if errors.Is(over, context.DeadlineExceeded) {
			f.code, f.msg = protocol.CodeTimeout, "the caller's deadline passed before the repository had answered"
			f.hint = "allow more time, or " + hintNetwork
		}
		return f
	}
	if local := (*dirError)(nil); errors.As(err, &local) && ended(ctx) == nil {
		return &failure{code: local.code, msg: local.msg, hint: local.hint, path: local.path, err: local.err, retry: local.retry}
	}
	f := &failure{code: protocol.CodeUnreachable, msg: "repository not accessible", hint: hintNetwork}
	if cause := ended(ctx); cause != nil {
		f.err = context.Cause(ctx)
		if f.err == nil {
			f.err = errTotal
		}
		return f
	}
	f.err = foreign(err)
	var timeout net.Error
	var cert *tls.CertificateVerificationError
	var notTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &cert):
		f.hint = hintCA
	case errors.As(err, &notTLS):
	case errors.As(err, &timeout) && timeout.Timeout():
		f.err = fmt.Errorf("%w: %w", errSilent, f.err)
	default:
		f.retry = true
	}
	return f
}

// foreign hides from errors.Is that the standard library reports its own
// timeouts as the end of a context: that would read as if the caller had given up.
func foreign(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return errors.New(err.Error())
	}
	return err
}

func tooLong(limit int64) *failure {
	return &failure{
		code: protocol.CodeEndlessData,
		msg:  fmt.Sprintf("more bytes than the %d that are allowed", limit),
	}
}

func encodedBody(encoding string) *failure {
	return &failure{
		code:   protocol.CodeHTTPStatus,
		status: http.StatusOK,
		msg:    fmt.Sprintf("the repository sent the content encoding %.40q, which was not asked for", encoding),
		hint:   "have the server send files as they are",
	}
}

func refusedRedirect(status int, why string) *failure {
	return &failure{
		code: protocol.CodeHTTPStatus, status: status,
		msg:  "the repository " + why,
		hint: "give the repository's final URL",
	}
}

// refusedBySink passes on an error of the sink, which is about this machine and
// not about the repository.
func refusedBySink(err error) *failure {
	if tuferr.As(err) != nil {
		return &failure{err: err}
	}
	return &failure{err: tuferr.New(protocol.CodeLocalIO, "what was received cannot be kept: %w", err)}
}

func statusLine(status int) string {
	if text := http.StatusText(status); text != "" {
		return strconv.Itoa(status) + " " + text
	}
	return strconv.Itoa(status)
}

func statusHint(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "check the token or client certificate for this repository"
	case http.StatusProxyAuthRequired:
		return "check the user and password in the proxy settings"
	case http.StatusNotFound:
		return "check that the URL is the repository's, and that it has been published completely"
	}
	return ""
}

func isRange(err error) bool { return errors.Is(err, strconv.ErrRange) }
