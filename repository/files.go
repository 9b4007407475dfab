package repository

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// tempPrefix begins the names of unfinished files. The leading dot keeps them
// from being served; the next change sweeps what a killed process left.
const tempPrefix = ".unfinished-"

// lockPoll is how often a waiting process asks for the lock again.
const lockPoll = 20 * time.Millisecond

// lock takes the repository's kernel lock and returns what releases it.
func lock(ctx context.Context, dir string) (func(), error) {
	path := filepath.Join(dir, lockName)
	l := flock.New(path)
	if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
		_ = l.Close()
		e := ioError(path, err)
		if ctx.Err() != nil {
			e.Msg = "gave up waiting for another process that is changing the repository"
		}
		return nil, e
	}
	return func() { _ = l.Close() }, nil
}

// writeFile puts data at path in one step: readers see the old file or the
// whole new one, also after a power loss.
func writeFile(path string, data []byte, perm fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix)
	if err != nil {
		return ioError(path, err)
	}
	_, err = f.Write(data)
	return commitFile(f, path, perm, err)
}

// commitFile syncs, closes and renames the temporary file f to path, or, after
// an error, removes it.
func commitFile(f *os.File, path string, perm fs.FileMode, err error) error {
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return ioError(path, err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return ioError(dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return ioError(dir, err)
	}
	return nil
}

// makeDirs makes the directories of rel below base, each one durable.
func makeDirs(base, rel string) error {
	for part := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
		next := filepath.Join(base, part)
		err := os.Mkdir(next, 0o755)
		switch {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return ioError(next, err)
		default:
			if err := syncDir(base); err != nil {
				return err
			}
		}
		base = next
	}
	return nil
}

// sweep removes the unfinished files in the given directories.
func sweep(dirs ...string) error {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return ioError(dir, err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), tempPrefix) {
				if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
					return ioError(dir, err)
				}
			}
		}
	}
	return nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, path, limit)
}

// readLimited reads an open file, path in errors. One that is too large is not
// read at all.
func readLimited(f *os.File, path string, limit int64) ([]byte, error) {
	tooLarge := &Error{Code: protocol.CodeUsage, Path: path, Msg: "the file is larger than expected", Hint: "is it the right file?"}
	info, err := f.Stat()
	if err != nil {
		return nil, ioError(path, err)
	}
	if info.Size() > limit {
		return nil, tooLarge
	}
	// Made as large as the file, a large one is not copied again and again.
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, ioError(path, err)
	}
	if int64(data.Len()) > limit {
		return nil, tooLarge
	}
	return data.Bytes(), nil
}

// openRegular opens a file and refuses what is not one: opening a pipe would
// wait for ever.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, ioError(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, &Error{Code: protocol.CodeUsage, Path: path, Msg: "not a regular file"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, ioError(path, err)
	}
	return f, nil
}

// contextReader ends a long copy when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
