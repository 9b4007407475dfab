package records

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// lockPoll is how often a waiting process asks for the lock, which is held for
// milliseconds.
const lockPoll = 3 * time.Millisecond

// locked runs f while no other goroutine or process changes the file.
func (b *Book) locked(ctx context.Context, f func() error) error {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return b.stillLocked(ctx)
	}
	if err := b.makeDir(); err != nil {
		return diskfile.Error("make the directory", b.dir, err)
	}
	lock, err := b.flock(ctx)
	if err != nil {
		return diskfile.Error("lock", filepath.Join(b.dir, lockName), err)
	}
	if err := f(); err != nil {
		_ = lock.Close() // closing the file releases the lock in any case
		return err
	}
	return diskfile.Error("unlock", lock.Path(), lock.Close())
}

// makeDir makes the directory, which is on the disk when it returns.
func (b *Book) makeDir() error {
	if info, err := os.Stat(b.dir); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(b.dir, dirMode); err != nil {
		return err
	}
	return diskfile.SyncDir(filepath.Dir(b.dir))
}

// flock takes the kernel's lock. The kernel releases it when the process dies, so it
// is never stolen.
func (b *Book) flock(ctx context.Context) (*flock.Flock, error) {
	path := filepath.Join(b.dir, lockName)
	for {
		l := flock.New(path, flock.SetPermissions(fileMode))
		ok, err := l.TryLockContext(ctx, lockPoll)
		if ctx.Err() != nil && !ok {
			return nil, b.stillLocked(ctx)
		}
		if err != nil {
			return nil, err
		}
		// A lock file that somebody deleted locks out nobody else.
		mine, err1 := l.Stat()
		now, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, now) {
			return l, nil
		}
		if err := l.Unlock(); err != nil {
			return nil, err
		}
	}
}

func (b *Book) stillLocked(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return tuferr.Cancelled(ctx)
	}
	e := tuferr.New(protocol.CodeLocked, "waited for the lock of the record of installed plugins: %w", ctx.Err())
	e.Path = filepath.Join(b.dir, lockName)
	e.Hint = "another process installs into this directory; the lock goes with it, so do not delete the file"
	return e
}
