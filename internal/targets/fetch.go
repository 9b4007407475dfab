package targets

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Sink is what a download writes to.
//
// A download that can ask for the rest of a file asks Kept first, and says by
// Begin when the file comes from its first byte after all. Whoever just writes
// starts from nothing. When such a download of a large file breaks off, because
// the connection did or because the caller or the whole process went away, what
// is there stays in the cache's directory under the signed digest's name, mode
// 0600, never longer than signed. The next one hashes it from its first byte
// before it goes on; if the file as a whole turns out wrong, all of it is
// dropped, and fetched anew once.
type Sink interface {
	io.Writer
	// Reset forgets what was written, because the file is about to come once
	// more from its first byte.
	Reset() error
	// Kept returns how many bytes of the file are there, and the validator that
	// was given to Begin for them; n is 0 when the file has to come whole.
	Kept() (n int64, validator string)
	// Begin is Reset, and notes what the repository will know the bytes that come
	// next by: a validator for If-Range, or nothing if they cannot be gone on with.
	Begin(validator string) error
}

// download is what the callers of [Cache.Fetch] say about one.
type download struct {
	want     signed
	get      func(ctx context.Context, sink Sink) error
	progress func(done, total int64)
}

// Fetch lets get download a target into the cache and returns its path. It does
// not look whether the target is there already: that is [Cache.Find].
//
// What get writes is hashed on the way, and never more than the signed length
// is written; on any error, a panic in get, or the end of ctx nothing is left
// behind but what [Sink] says. get may be called a second time if what was left
// was of no use. progress, if not nil, is called from the goroutine that writes,
// with the bytes there are so far and the signed length; done falls only when
// the file starts again. When the same target is being fetched by another
// goroutine, Fetch waits for that one first.
//
// Errors are *tuferr.Error: endless_data or mismatch when the file is not the
// signed one, malformed for a want without a usable hash, busy at once when too
// many others wait already, cancelled or timeout when ctx ended, class local for
// the disk, and whatever get returned.
func (c *Cache) Fetch(
	ctx context.Context, want Want,
	get func(ctx context.Context, sink Sink) error, progress func(done, total int64),
) (string, error) {
	s, err := want.known()
	if err != nil {
		return "", err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	for {
		f, mine := c.board(s)
		if mine {
			return c.fly(ctx, f, download{s, get, progress})
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

// board returns the download of want that is under way, or a new one that is the
// caller's to make.
func (c *Cache) board(want signed) (f *flight, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.flights[want]; ok {
		return f, false
	}
	f = &flight{done: make(chan struct{})}
	c.flights[want] = f
	return f, true
}

// fly downloads, and tells those who wait how it went even if get panics.
func (c *Cache) fly(ctx context.Context, f *flight, d download) (path string, err error) {
	defer func() {
		c.mu.Lock()
		delete(c.flights, d.want)
		c.mu.Unlock()
		close(f.done)
	}()
	if err := c.enter(ctx); err != nil {
		return "", err
	}
	defer func() { <-c.slots }()
	if path, err = c.download(ctx, d); err != nil {
		return "", err
	}
	f.path, f.ok = path, true
	return path, nil
}

// enter takes a slot, after a wait if there is none and not too many wait.
func (c *Cache) enter(ctx context.Context) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	defer c.waiting.Add(-1)
	if c.waiting.Add(1) > c.maxWaiting {
		e := tuferr.New(protocol.CodeBusy, "too much is being asked of this repository at once: %d downloads wait already", c.maxWaiting)
		e.Hint = "try again later, or raise what the options allow"
		return e
	}
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return contextError(ctx.Err())
	}
}

func (c *Cache) download(ctx context.Context, d download) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", contextError(err)
	}
	path := c.path(&d.want)
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", localError("make the cache directory", dir, err)
	}
	p, err := goOn(ctx, path, d)
	if p == nil && err == nil {
		p, err = startAnew(ctx, dir, d)
	}
	if err != nil {
		return "", err
	}
	err = p.receive(path, d.get)
	if p.left {
		c.sweep(time.Now())
	}
	if p.resumed && tuferr.ClassOf(err) == protocol.ClassVerdict {
		// The two parts may be of different files, which is nobody's fault.
		if p, err = startAnew(ctx, dir, d); err != nil {
			return "", err
		}
		p.whole = true
		err = p.receive(path, d.get)
	}
	if err != nil {
		return "", err
	}
	return path, nil
}

// receive lets get write the file, and brings it under its name at path. The
// directory is not synced: a name that a power cut takes away is fetched again.
func (p *part) receive(path string, get func(context.Context, Sink) error) error {
	defer p.discard()
	if p.loaded && p.n == p.want.length {
		// It broke off between the last byte and the rename.
		p.resumed = true
		p.progress(p.n, p.n)
		return p.failed(p.commit(path))
	}
	err := get(p.ctx, p)
	if err == nil {
		err = p.commit(path)
	}
	return p.failed(err)
}
