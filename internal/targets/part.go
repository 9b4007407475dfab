package targets

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/gofrs/flock"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// part is a file that is not verified yet.
type part struct {
	ctx      context.Context
	want     signed
	file     *os.File
	progress func(done, total int64)

	// n bytes have been written, got are their hashes.
	n   int64
	got *sums
	// validator stands for what was written in a request for the rest.
	validator string
	// broken is the first error of a write. It outlives what get makes of it.
	broken error

	// lock is nil for a file outside the cache.
	lock *flock.Flock
	// noted is the file that validator is kept in; empty for a file that nobody
	// would look for later.
	noted string
	// loaded: the bytes were there before, and nobody has asked for them yet.
	loaded bool
	// resumed: they have been gone on with. whole: they must not be.
	resumed, whole bool
	// flushed is up to where the system has been told to write to the disk.
	flushed int64
	// named: the file has got its name. left: it stays without it.
	named, left bool
}

// newPart creates an empty file in dir that a rename within dir can bring under
// its name.
func newPart(ctx context.Context, dir string, want signed) (*part, error) {
	f, err := os.CreateTemp(dir, partPrefix+"*")
	if err != nil {
		return nil, localError("create a file in", dir, err)
	}
	return &part{ctx: ctx, want: want, file: f, got: newSums(&want), progress: func(int64, int64) {}}, nil
}

// startAnew creates a part of the cache that no other process will touch.
func startAnew(ctx context.Context, dir string, d download) (*part, error) {
	p, err := newPart(ctx, dir, d.want)
	if err != nil {
		return nil, err
	}
	p.progress = d.progress
	p.lock = flock.New(p.file.Name(), flock.SetFlag(os.O_RDONLY))
	ok, err := p.lock.TryLock()
	if err == nil && !ok {
		err = errors.New("another process holds it")
	}
	if err != nil {
		p.discard()
		return nil, localError("lock", p.file.Name(), err)
	}
	return p, nil
}

// Write hashes b and appends it to the file.
func (p *part) Write(b []byte) (int, error) {
	if err := p.append(b); err != nil {
		return 0, err
	}
	_, _ = p.got.Write(b)
	p.progress(p.n, p.want.length)
	return len(b), nil
}

// append appends b to the file. The caller hashes it.
func (p *part) append(b []byte) error {
	if p.broken == nil && p.loaded {
		p.broken = p.Reset()
	}
	if p.broken == nil {
		p.broken = p.write(b)
	}
	return p.broken
}

func (p *part) write(b []byte) error {
	if err := p.ctx.Err(); err != nil {
		return contextError(err)
	}
	if int64(len(b)) > p.want.length-p.n {
		e := tuferr.New(protocol.CodeEndlessData, "more bytes than the signed %d", p.want.length)
		e.Spec = "5.7.3"
		return e
	}
	if _, err := p.file.Write(b); err != nil {
		return localError("write", p.file.Name(), err)
	}
	p.n += int64(len(b))
	if p.n-p.flushed >= flushEvery {
		startFlush(p.file, p.flushed, p.n-p.flushed)
		p.flushed = p.n
	}
	return nil
}

// A large file is hashed beside its way to the disk, from a ring of buffers.
const (
	ringMin    = 1 << 20
	ringSize   = 3
	chunk      = 512 << 10
	flushEvery = 8 << 20
)

// ReadFrom writes all of src. It reads and writes while another goroutine, which
// ends with it, hashes what has been written.
func (p *part) ReadFrom(src io.Reader) (int64, error) {
	if p.want.length-p.n < ringMin {
		return p.copy(src, make([]byte, min(p.want.length+1, chunk)), func(b, written []byte) []byte {
			_, _ = p.got.Write(written)
			return b
		})
	}
	type filled struct{ buf, written []byte }
	free, full := make(chan []byte, ringSize), make(chan filled, ringSize)
	for range ringSize - 1 {
		free <- make([]byte, chunk)
	}
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		for f := range full {
			_, _ = p.got.Write(f.written)
			free <- f.buf
		}
	}()
	defer func() {
		close(full)
		<-hashed
	}()
	return p.copy(src, make([]byte, chunk), func(b, written []byte) []byte {
		full <- filled{b, written}
		return <-free
	})
}

// copy writes all of src by way of buf; hash takes the part of it that has been
// written and returns the buffer to go on with.
func (p *part) copy(src io.Reader, buf []byte, hash func(buf, written []byte) []byte) (n int64, err error) {
	for {
		k, err := src.Read(buf)
		if k > 0 {
			if err := p.append(buf[:k]); err != nil {
				return n, err
			}
			n += int64(k)
			buf = hash(buf, buf[:k])
			p.progress(p.n, p.want.length)
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// Reset empties the file. It does not forgive an error.
func (p *part) Reset() error { return p.Begin("") }

// Begin empties the file. It does not forgive an error.
func (p *part) Begin(validator string) error {
	if p.broken != nil {
		return p.broken
	}
	if p.n > 0 {
		err := p.file.Truncate(0)
		if err == nil {
			_, err = p.file.Seek(0, io.SeekStart)
		}
		if err != nil {
			p.broken = localError("empty", p.file.Name(), err)
			return p.broken
		}
		p.got.reset()
		p.n, p.flushed = 0, 0
		p.progress(0, p.want.length)
	}
	p.loaded, p.resumed = false, false
	p.validator = validator
	if p.noted != "" && !note(p.noted, validator) {
		p.noted = ""
	}
	return nil
}

// Kept returns what can be gone on with.
func (p *part) Kept() (int64, string) {
	if p.whole || p.validator == "" {
		return 0, ""
	}
	if p.loaded {
		p.loaded = false
		p.progress(p.n, p.want.length)
	}
	p.resumed = p.n > 0
	return p.n, p.validator
}

// failed says why get failed: by our own doing, or for its own reasons. It
// decides whether what is there may stay: if nothing but the way was at fault.
func (p *part) failed(err error) error {
	if err == nil {
		return nil
	}
	err = p.cause(err)
	class := tuferr.ClassOf(err)
	p.left = p.noted != "" && p.validator != "" && p.n > 0 &&
		(class == protocol.ClassTransport || class == protocol.ClassCancelled)
	return err
}

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

// commit verifies the file, forces its bytes to the disk and brings it under its
// name. That the name is on the disk, too, is for the caller to see to.
func (p *part) commit(path string) error {
	if p.broken != nil {
		return p.broken
	}
	if err := p.ctx.Err(); err != nil {
		return contextError(err)
	}
	if err := p.want.verdict(p.n, p.got); err != nil {
		return err
	}
	if err := p.file.Sync(); err != nil {
		return localError("write", p.file.Name(), err)
	}
	if err := p.file.Close(); err != nil {
		return localError("write", p.file.Name(), err)
	}
	if p.noted != "" {
		_ = os.Remove(p.noted)
	}
	if err := os.Rename(p.file.Name(), path); err != nil {
		return localError("write", path, err)
	}
	p.named = true
	return nil
}

// discard closes the file and removes it, unless it has got its name or may stay.
func (p *part) discard() {
	_ = p.file.Close()
	if !p.named && !p.left {
		_ = os.Remove(p.file.Name())
		if p.noted != "" {
			_ = os.Remove(p.noted)
		}
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
