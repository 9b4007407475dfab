// Package targets keeps verified target files: a content-addressed cache in
// which a file bears its signed digest as its name.
//
// A name in the cache promises nothing. What is found is hashed from its first
// byte each time, and what is fetched is hashed on its way to the disk, so that
// the only way to get a path from this package is that the file behind it had
// the signed length and every signed hash a moment ago. A file comes under its
// name by an atomic rename after it has been verified and synced, never earlier.
package targets

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Names of files that are not there for good. A download in progress is locked
// by its process, so that what a dead one left behind can be told from it.
const (
	partPrefix = ".part-"
	// partGrace is how old a leftover must be before it is removed: longer
	// than it takes from the creation of a file to its lock.
	partGrace = time.Minute
)

// Cache is a directory of verified target files. Any number of processes may
// share it. It is safe for concurrent use.
type Cache struct {
	dir string

	mu      sync.Mutex
	flights map[string]*flight
}

// flight is a download that others wait for.
type flight struct {
	done chan struct{}
	path string
	ok   bool
}

// Sink is what a download writes to; Reset forgets what was written, because
// the file is about to come once more from its first byte.
type Sink interface {
	io.Writer
	Reset() error
}

// Open returns the cache in dir and removes what downloads of dead processes
// left there. Directories are made, with mode 0700, when the first file comes.
// It returns an error of class local when dir cannot be a cache.
func Open(dir string) (*Cache, error) {
	if dir == "" {
		return nil, tuferr.New(protocol.CodeUsage, "the cache directory is not given")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, localError("find the cache directory", dir, err)
	}
	if info, err := os.Stat(abs); err == nil && !info.IsDir() {
		e := tuferr.New(protocol.CodeLocalIO, "the cache directory is not a directory")
		e.Path, e.Hint = abs, "choose another cache directory"
		return nil, e
	}
	c := &Cache{dir: abs, flights: map[string]*flight{}}
	c.sweep(time.Now().Add(-partGrace))
	return c, nil
}

// sweep removes unfinished files, untouched since before, that nobody holds a
// lock on. What cannot be removed stays: it is in nobody's way.
func (c *Cache) sweep(before time.Time) {
	for _, alg := range algorithms {
		dir := filepath.Join(c.dir, alg)
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), partPrefix) {
				sweepPart(filepath.Join(dir, e.Name()), before)
			}
		}
	}
}

func sweepPart(path string, before time.Time) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.ModTime().After(before) {
		return
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	defer lock.Close()
	if ok, err := lock.TryLock(); ok && err == nil {
		_ = os.Remove(path)
	}
}

// path is where a target lies, by the first known algorithm.
func (c *Cache) path(w Want) string {
	for _, alg := range algorithms {
		if sum, ok := w.Hashes[alg]; ok {
			return filepath.Join(c.dir, alg, sum)
		}
	}
	panic("targets: want without a known hash")
}

// Find returns the path of a target if the cache has it, after hashing it
// wholly. A file that is not what its name says is removed. It returns false
// also for a want that cannot be, for a file that cannot be read, and when ctx
// ends; [Cache.Fetch] then says what is wrong.
func (c *Cache) Find(ctx context.Context, want Want) (string, bool) {
	want, err := want.known()
	if err != nil {
		return "", false
	}
	path := c.path(want)
	info, err := os.Lstat(path)
	if err != nil {
		return "", false
	}
	err = verifyFile(ctx, path, info, want)
	if tuferr.CodeOf(err) == protocol.CodeMismatch {
		// Another process may have put a good one in its place by now.
		if now, err := os.Lstat(path); err == nil && os.SameFile(info, now) {
			_ = os.Remove(path)
		}
	}
	if err != nil {
		return "", false
	}
	return path, true
}

// verifyFile checks that the file at path, seen as info, is what is wanted.
func verifyFile(ctx context.Context, path string, info os.FileInfo, want Want) error {
	f, err := openRegular(path, info)
	if err != nil {
		return err
	}
	defer f.Close()
	v := newVerifier(want)
	if err := copyFile(ctx, v, f, path); err != nil {
		return err
	}
	return v.verdict()
}

// openRegular opens the very file that info describes and nothing but a regular
// one: no link to elsewhere, no pipe to wait on.
func openRegular(path string, info os.FileInfo) (*os.File, error) {
	mismatch := func() error {
		e := tuferr.New(protocol.CodeMismatch, "what lies in the cache is not a regular file")
		e.Path = path
		return e
	}
	if !info.Mode().IsRegular() {
		return nil, mismatch()
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, localError("open", path, err)
	}
	now, err := f.Stat()
	if err != nil || !os.SameFile(info, now) {
		_ = f.Close()
		return nil, mismatch()
	}
	return f, nil
}

// buffers holds the copy buffers of all caches.
var buffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// copyFile copies src, the file at path, to dst until its end, an error or the
// end of ctx.
func copyFile(ctx context.Context, dst io.Writer, src io.Reader, path string) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		if err := ctx.Err(); err != nil {
			return contextError(err)
		}
		n, err := src.Read(*buf)
		if n > 0 {
			if _, err := dst.Write((*buf)[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return localError("read", path, err)
		}
	}
}
