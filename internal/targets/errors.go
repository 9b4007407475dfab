package targets

import (
	"context"
	"errors"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// localError types an error of the file system.
func localError(doing, path string, err error) error { return diskfile.Error(doing, path, err) }

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
