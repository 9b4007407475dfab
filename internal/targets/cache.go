// Package targets keeps verified target files: a content-addressed cache in
// which a file bears its signed digest as its name.
//
// A name in the cache promises nothing. What is found is hashed from its first
// byte each time, and what is fetched is hashed on its way to the disk, so that
// the only way to get a path from this package is that the file behind it had
// the signed length and every signed hash a moment ago. A file comes under its
// name by an atomic rename after it has been verified and synced, never earlier.
//
// What a broken connection leaves of a large file may stay for the next attempt,
// under a name that is nobody's but the next attempt's: see [Sink].
package targets

import (
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// How many targets one [Cache] fetches at a time, and how many more may wait.
const (
	DefaultMaxDownloads = 4
	DefaultMaxWaiting   = 1024
)

// Cache is a directory of verified target files. Any number of processes may
// share it. It is safe for concurrent use.
type Cache struct {
	dir string
	// slots has room for as many downloads as may be under way.
	slots chan struct{}
	// waiting counts the downloads that wait for one, maxWaiting at most.
	waiting    atomic.Int64
	maxWaiting int64

	mu      sync.Mutex
	flights map[signed]*flight
}

// flight is a download that others wait for.
type flight struct {
	done chan struct{}
	path string
	ok   bool
}

// Open returns the cache in dir and removes what downloads of dead processes
// left there, but for what a later download can go on with. maxDownloads bounds
// the targets that are fetched at a time, maxWaiting those that wait for it; 0
// means [DefaultMaxDownloads] and [DefaultMaxWaiting]. Directories are made, with mode 0700, when the first
// file comes. It returns an error of class local when dir cannot be a cache, and
// of class usage for an argument that cannot be.
func Open(dir string, maxDownloads, maxWaiting int) (*Cache, error) {
	if dir == "" {
		return nil, tuferr.New(protocol.CodeUsage, "the cache directory is not given")
	}
	if maxDownloads < 0 || maxWaiting < 0 {
		return nil, tuferr.New(protocol.CodeUsage, "the number of downloads at a time, or of those that wait, is negative")
	}
	maxDownloads, maxWaiting = cmp.Or(maxDownloads, DefaultMaxDownloads), cmp.Or(maxWaiting, DefaultMaxWaiting)
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, localError("find the cache directory", dir, err)
	}
	if info, err := os.Stat(abs); err == nil && !info.IsDir() {
		e := tuferr.New(protocol.CodeLocalIO, "the cache directory is not a directory")
		e.Path, e.Hint = abs, "choose another cache directory"
		return nil, e
	}
	c := &Cache{dir: abs, slots: make(chan struct{}, maxDownloads), maxWaiting: int64(maxWaiting), flights: map[signed]*flight{}}
	c.sweep(time.Now())
	return c, nil
}

// path is where a target lies, by the first known algorithm.
func (c *Cache) path(want *signed) string { return c.dir + string(filepath.Separator) + want.name }

// Find returns the path of a target if the cache has it, after hashing it
// wholly. A file that is not what its name says is removed. It returns false
// also for a want that cannot be, for a file that cannot be read, and when ctx
// ends; [Cache.Fetch] then says what is wrong.
func (c *Cache) Find(ctx context.Context, want Want) (string, bool) {
	s, err := want.known()
	if err != nil || ctx.Err() != nil {
		return "", false
	}
	path := c.path(&s)
	if !holds(path, &s) && !inspect(ctx, path, &s) {
		return "", false
	}
	return path, true
}

// holds tells whether the file at path is what is wanted, if it is small. It
// says no whenever there is anything more to find out.
func holds(path string, want *signed) bool {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	if want.length > int64(len(*buf)) {
		return false
	}
	b := (*buf)[:want.length]
	return readWhole(path, b) && want.is(b)
}

// inspect does the same for any file, and removes what is something else.
func inspect(ctx context.Context, path string, want *signed) bool {
	info, err := os.Lstat(path)
	if err != nil {
		return false
	}
	err = verifyFile(ctx, path, info, want)
	if tuferr.CodeOf(err) == protocol.CodeMismatch {
		// Another process may have put a good one in its place by now.
		if now, err := os.Lstat(path); err == nil && os.SameFile(info, now) {
			_ = os.Remove(path)
		}
	}
	return err == nil
}

// verifyFile checks that the file at path, seen as info, is what is wanted.
func verifyFile(ctx context.Context, path string, info os.FileInfo, want *signed) error {
	f, err := openRegular(path, info)
	if err != nil {
		return err
	}
	defer f.Close()
	got := newSums(want)
	n, err := hashFile(ctx, got, io.LimitReader(f, want.length+1), path)
	if err != nil {
		return err
	}
	return want.verdict(n, got)
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

// buffers holds the buffers that files are read into.
var buffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// hashFile hashes src, the file at path, until its end, an error or the end of
// ctx, and returns how many bytes that were.
func hashFile(ctx context.Context, got *sums, src io.Reader, path string) (n int64, err error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		if err := ctx.Err(); err != nil {
			return n, contextError(err)
		}
		k, err := src.Read(*buf)
		n += int64(k)
		_, _ = got.Write((*buf)[:k])
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, localError("read", path, err)
		}
	}
}
