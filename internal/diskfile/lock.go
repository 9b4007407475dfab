package diskfile

import (
	"context"
	"io/fs"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// Lock takes the kernel's lock of the file at path, which is made with that mode if
// it is not there, asking every poll while somebody else has it. The kernel releases
// it when the process dies, so it is never stolen; a lock file that somebody deletes
// locks out nobody. Close releases it.
//
// The error is that of ctx, as it is, if ctx ends first; else one of [Error].
func Lock(ctx context.Context, path string, mode fs.FileMode, poll time.Duration) (*flock.Flock, error) {
	for {
		l := flock.New(path, flock.SetPermissions(mode))
		ok, err := l.TryLockContext(ctx, poll)
		if !ok && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, Error("lock", path, err)
		}
		mine, err1 := l.Stat()
		now, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, now) {
			return l, nil
		}
		if err := l.Close(); err != nil {
			return nil, Error("unlock", path, err)
		}
	}
}
