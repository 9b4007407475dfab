package audit

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
const lockPoll = time.Millisecond

// makeDir makes the directory, which is on the disk when it returns.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return diskfile.Error("make the directory", dir, err)
	}
	return diskfile.Error("sync", filepath.Dir(dir), diskfile.SyncDir(filepath.Dir(dir)))
}

// takeTurn makes this goroutine the only one of this Log that writes.
func (l *Log) takeTurn(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return l.stillLocked(ctx)
	}
}

func (l *Log) endTurn() { <-l.turn }

// flock takes the lock among processes.
func (l *Log) flock(ctx context.Context) (*flock.Flock, error) {
	lock, err := diskfile.Lock(ctx, filepath.Join(l.dir, lockName), fileMode, lockPoll)
	if err != nil && ctx.Err() != nil {
		return nil, l.stillLocked(ctx)
	}
	return lock, err
}

// locked runs f while no other goroutine or process writes to the log.
func (l *Log) locked(ctx context.Context, f func() error) error {
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer l.endTurn()
	lock, err := l.flock(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // closing the file releases the lock in any case
	return f()
}

func (l *Log) stillLocked(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return tuferr.Cancelled(ctx)
	}
	e := tuferr.New(protocol.CodeLocked, "waited for the lock of the audit log: %w", ctx.Err())
	e.Path = filepath.Join(l.dir, lockName)
	e.Hint = "another process writes to this log; the lock goes with it, so do not delete the file"
	return e
}
