package repository

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Error is every error of this package: code, path, cause and a hint.
type Error = tuferr.Error

// ErrExists: there already is a repository where one should be made.
var ErrExists = errors.New("a repository is already there")

// ErrPublished: that version of the plugin is published, and stays as it is.
var ErrPublished = errors.New("a published version is never overwritten")

// usage wraps one of the errors above for the caller to mend.
func usage(path string, cause error, hint string) *Error {
	return &Error{Code: protocol.CodeUsage, Path: path, Msg: cause.Error(), Err: cause, Hint: hint}
}

// ioError gives the code that fits an error of the operating system.
func ioError(path string, cause error) *Error {
	e := &Error{Code: protocol.CodeLocalIO, Path: path, Err: cause}
	switch {
	case errors.Is(cause, context.Canceled):
		e.Code = protocol.CodeCancelled
	case errors.Is(cause, context.DeadlineExceeded):
		e.Code = protocol.CodeTimeout
	case errors.Is(cause, syscall.ENOSPC), errors.Is(cause, syscall.EDQUOT):
		e.Code, e.Hint = protocol.CodeDiskFull, "make room and try again; nothing was changed"
	case errors.Is(cause, syscall.EROFS):
		e.Code, e.Hint = protocol.CodePermissions, "mount the file system so that it can be written, and try again; nothing was changed"
	case errors.Is(cause, fs.ErrPermission):
		e.Code, e.Hint = protocol.CodePermissions, "run as the user who owns the repository"
	}
	return e
}

// during names the operation in an error of this package.
func during(op string, err error) error {
	if err == nil {
		return nil
	}
	e := tuferr.As(err)
	if e == nil {
		e = &Error{Code: protocol.CodeInternal, Err: err}
	}
	if e.Op == "" {
		e.Op = op
	}
	return e
}
