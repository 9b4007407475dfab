package targets

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Fetch lets get download a target into the cache and returns its path. It does
// not look whether the target is there already: that is [Cache.Find].
//
// What get writes is hashed on the way, and never more than the signed length
// is written; on any error, a panic in get, or the end of ctx nothing is left
// behind. progress, if not nil, is called from the goroutine that writes, with
// the bytes so far and the signed length. When the same target is being fetched
// by another goroutine, Fetch waits for that one first.
//
// Errors are *tuferr.Error: endless_data or mismatch when the file is not the
// signed one, malformed for a want without a usable hash, cancelled or timeout
// when ctx ended, class local for the disk, and whatever get returned.
func (c *Cache) Fetch(
	ctx context.Context, want Want,
	get func(ctx context.Context, sink Sink) error, progress func(done, total int64),
) (string, error) {
	want, err := want.known()
	if err != nil {
		return "", err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	key := want.key()
	for {
		f, mine := c.board(key)
		if mine {
			return c.fly(ctx, key, f, want, get, progress)
		}
		select {
		case <-f.done:
			if f.ok {
				progress(want.Length, want.Length)
				return f.path, nil
			}
		case <-ctx.Done():
			return "", contextError(ctx.Err())
		}
	}
}

// board returns the download under way for key, or a new one that is the
// caller's to make.
func (c *Cache) board(key string) (f *flight, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.flights[key]; ok {
		return f, false
	}
	f = &flight{done: make(chan struct{})}
	c.flights[key] = f
	return f, true
}

// fly downloads, and tells those who wait how it went even if get panics.
func (c *Cache) fly(
	ctx context.Context, key string, f *flight, want Want,
	get func(context.Context, Sink) error, progress func(int64, int64),
) (path string, err error) {
	defer func() {
		c.mu.Lock()
		delete(c.flights, key)
		c.mu.Unlock()
		close(f.done)
	}()
	if path, err = c.download(ctx, want, get, progress); err != nil {
		return "", err
	}
	f.path, f.ok = path, true
	return path, nil
}

func (c *Cache) download(
	ctx context.Context, want Want,
	get func(context.Context, Sink) error, progress func(int64, int64),
) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", contextError(err)
	}
	path := c.path(want)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", localError("make the cache directory", filepath.Dir(path), err)
	}
	p, err := newPart(ctx, filepath.Dir(path), want)
	if err != nil {
		return "", err
	}
	defer p.discard()
	if err := p.hold(); err != nil {
		return "", err
	}
	p.progress = progress
	if err := get(ctx, p); err != nil {
		return "", p.cause(err)
	}
	if err := p.commit(path); err != nil {
		return "", err
	}
	return path, nil
}

// part is a file that is not verified yet.
type part struct {
	*verifier
	ctx      context.Context
	file     *os.File
	progress func(done, total int64)
	// broken is the first error of a write. It outlives what get makes of it.
	broken error
	// lock is nil for a file outside the cache.
	lock *flock.Flock
	// named: the file has got its name.
	named bool
}

// newPart creates an empty file in dir that a rename within dir can bring under
// its name.
func newPart(ctx context.Context, dir string, want Want) (*part, error) {
	f, err := os.CreateTemp(dir, partPrefix+"*")
	if err != nil {
		return nil, localError("create a file in", dir, err)
	}
	return &part{
		verifier: newVerifier(want), file: f, ctx: ctx,
		progress: func(int64, int64) {},
	}, nil
}

// hold locks the file for as long as this process works on it.
func (p *part) hold() error {
	p.lock = flock.New(p.file.Name(), flock.SetFlag(os.O_RDONLY))
	ok, err := p.lock.TryLock()
	if err == nil && !ok {
		err = errors.New("another process holds it")
	}
	if err != nil {
		return localError("lock", p.file.Name(), err)
	}
	return nil
}

// Write hashes b and appends it to the file.
func (p *part) Write(b []byte) (int, error) {
	if p.broken == nil {
		p.broken = p.write(b)
	}
	if p.broken != nil {
		return 0, p.broken
	}
	p.progress(p.n, p.want.Length)
	return len(b), nil
}

func (p *part) write(b []byte) error {
	if err := p.ctx.Err(); err != nil {
		return contextError(err)
	}
	if !p.fits(len(b)) {
		e := tuferr.New(protocol.CodeEndlessData, "more bytes than the signed %d", p.want.Length)
		e.Spec = "5.7.3"
		return e
	}
	if _, err := p.file.Write(b); err != nil {
		return localError("write", p.file.Name(), err)
	}
	_, err := p.verifier.Write(b)
	return err
}

// Reset empties the file. It does not forgive an error.
func (p *part) Reset() error {
	if p.broken != nil {
		return p.broken
	}
	err := p.file.Truncate(0)
	if err == nil {
		_, err = p.file.Seek(0, 0)
	}
	if err != nil {
		p.broken = localError("empty", p.file.Name(), err)
		return p.broken
	}
	p.reset()
	p.progress(0, p.want.Length)
	return nil
}

// cause says why get failed: by our own doing, or for its own reasons.
func (p *part) cause(err error) error {
	switch {
	case p.broken != nil:
		return p.broken
	case tuferr.As(err) != nil:
		return err
	case p.ctx.Err() != nil:
		return contextError(p.ctx.Err())
	}
	return tuferr.New(protocol.CodeInternal, "the download failed: %w", err)
}

// commit verifies the file and brings it under its name, durably.
func (p *part) commit(path string) error {
	if p.broken != nil {
		return p.broken
	}
	if err := p.ctx.Err(); err != nil {
		return contextError(err)
	}
	if err := p.verdict(); err != nil {
		return err
	}
	if err := p.file.Sync(); err != nil {
		return localError("write", p.file.Name(), err)
	}
	if err := p.file.Close(); err != nil {
		return localError("write", p.file.Name(), err)
	}
	if err := os.Rename(p.file.Name(), path); err != nil {
		return localError("write", path, err)
	}
	p.named = true
	return syncDir(filepath.Dir(path))
}

// discard closes the file and removes it, unless it has got its name.
func (p *part) discard() {
	_ = p.file.Close()
	if !p.named {
		_ = os.Remove(p.file.Name())
	}
	if p.lock != nil {
		_ = p.lock.Close()
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return localError("open", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return localError("sync", dir, err)
	}
	return nil
}
