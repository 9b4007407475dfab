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
