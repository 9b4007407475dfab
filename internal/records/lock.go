package records

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

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
	lock, err := diskfile.Lock(ctx, filepath.Join(b.dir, lockName), fileMode, lockPoll)
	if err != nil && ctx.Err() != nil {
		return b.stillLocked(ctx)
	}
	if err != nil {
		return err
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

func (b *Book) stillLocked(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return tuferr.Cancelled(ctx)
	}
	e := tuferr.New(protocol.CodeLocked, "waited for the lock of the record of installed plugins: %w", ctx.Err())
	e.Path = filepath.Join(b.dir, lockName)
	e.Hint = "another process installs into this directory; the lock goes with it, so do not delete the file"
	return e
}
