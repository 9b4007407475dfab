package hybrid

import (
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Error is every error of this package: a stable code with its class, and the
// evidence. Codes, classes and exit codes stand in package protocol.
type Error = tuferr.Error

// The families of errors, for errors.Is. A class matches all codes in it.
var (
	ErrVerdict   error = tuferr.OfClass(protocol.ClassVerdict)
	ErrFault     error = tuferr.OfClass(protocol.ClassFault)
	ErrTransport error = tuferr.OfClass(protocol.ClassTransport)
	ErrLocal     error = tuferr.OfClass(protocol.ClassLocal)
	ErrUsage     error = tuferr.OfClass(protocol.ClassUsage)
	ErrNotFound  error = tuferr.OfClass(protocol.ClassNotFound)
	ErrCancelled error = tuferr.OfClass(protocol.ClassCancelled)

	ErrBadVersion    error = tuferr.OfCode(protocol.CodeBadVersion)
	ErrEndlessData   error = tuferr.OfCode(protocol.CodeEndlessData)
	ErrNotInSnapshot error = tuferr.OfCode(protocol.CodeNotInSnapshot)
	ErrTooMany       error = tuferr.OfCode(protocol.CodeTooMany)
	ErrUnableInDual  error = tuferr.OfCode(protocol.CodeUnableInDual)
	ErrPolicyDenied  error = tuferr.OfCode(protocol.CodePolicyDenied)
	ErrBusy          error = tuferr.OfCode(protocol.CodeBusy)

	ErrUnsigned     error = tuferr.OfCode(protocol.CodeUnsigned)
	ErrRollback     error = tuferr.OfCode(protocol.CodeRollback)
	ErrExpired      error = tuferr.OfCode(protocol.CodeExpired)
	ErrMismatch     error = tuferr.OfCode(protocol.CodeMismatch)
	ErrMalformed    error = tuferr.OfCode(protocol.CodeMalformed)
	ErrExpectedHash error = tuferr.OfCode(protocol.CodeExpectedHash)
	ErrRootConflict error = tuferr.OfCode(protocol.CodeRootConflict)
	ErrDisagreement error = tuferr.OfCode(protocol.CodeDisagreement)
	ErrStale        error = tuferr.OfCode(protocol.CodeStale)
)

// hints say what to do about an error whose place did not say it better.
var hints = map[protocol.Code]string{
	protocol.CodeUnsigned:        "somebody without the keys changed the file: do not install, and tell the publisher",
	protocol.CodeRollback:        "somebody serves old metadata: a mirror that lags behind, or an attack; try another mirror, and tell the publisher",
	protocol.CodeBadVersion:      "the repository's files do not belong together: try again, and tell the publisher if it stays",
	protocol.CodeExpired:         "the publisher must sign a new version; if the date on this machine is wrong, set the clock",
	protocol.CodeMismatch:        "the file was changed after it was signed: try another mirror, and tell the publisher",
	protocol.CodeEndlessData:     "the server sends more than was signed or allowed: try another mirror, and tell the publisher",
	protocol.CodeMalformed:       "the publisher must mend this file",
	protocol.CodeNotInSnapshot:   "the publisher must list the role in the snapshot",
	protocol.CodeHTTPStatus:      "check the repository URL; if it is right, try again later",
	protocol.CodeUnreachable:     "check the repository URL and the network, and try again",
	protocol.CodeUnrepresentable: "mode auto lets the other engine verify this",
	protocol.CodeEngineCrash:     "mode auto lets the other engine answer; please report it",
	protocol.CodeEngineTimeout:   "mode auto lets the other engine answer; Options.EngineTimeout bounds the work",
	protocol.CodeCancelled:       "ask again",
	protocol.CodeTimeout:         "allow more time, and ask again",
}
