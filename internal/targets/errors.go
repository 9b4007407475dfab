package targets

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// localError types an error of the file system.
func localError(doing, path string, err error) error {
	e := tuferr.New(protocol.CodeLocalIO, "cannot %s %s", doing, path)
	e.Path, e.Err = path, bare(err)
	e.Hint = "check the directory, or choose another one"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Code, e.Hint = protocol.CodeDiskFull, "free some space, or choose another directory"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Code, e.Hint = protocol.CodePermissions, "make it writable for this user, or choose another directory"
	}
	return e
}

// bare drops the paths from a file system error; the message has them already.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

// contextError types the end of the caller's context.
func contextError(err error) error {
	code, msg := protocol.CodeCancelled, "the download was cancelled"
	if errors.Is(err, context.DeadlineExceeded) {
		code, msg = protocol.CodeTimeout, "the caller's deadline passed before the download was complete"
	}
	e := tuferr.New(code, "%s", msg)
	e.Err = err
	return e
}
