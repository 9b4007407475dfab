// Package sealed holds bytes that cannot be swapped between check and use.
//
// A file in a cache is what was signed at the moment it was hashed. Whoever may
// write there can change it before it is read again. This package copies it to
// where nobody can, and only then compares:
//
//   - On Linux that is a memory file (memfd_create) under the seals WRITE, GROW,
//     SHRINK and SEAL: not root, nor this process itself, can change a byte of it
//     any more. It is hashed after it was sealed. It counts as this process's
//     memory, and nothing of it is on a disk.
//   - Elsewhere, and where the system refuses such files (an old kernel, a filter of
//     system calls, vm.memfd_noexec=2 for an executable one), it is a private copy: a
//     file without write permission in a temporary directory (TMPDIR) of mode 0700,
//     hashed through the descriptor that it is then read by. The same user, or root,
//     could still change that one, and it does not run from a file system that is
//     mounted noexec. [File.Sealed] tells which it is.
package sealed

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Options say what a file is for. The zero value is data without a name.
type Options struct {
	// Name is for people who look at the process; characters other than letters,
	// digits, "_", "." and "-" are replaced, and only the last 64 bytes are kept.
	Name string
	// Exec makes it executable; otherwise the system is asked to refuse that.
	Exec bool
}

// File is a file whose bytes stay. Read, Seek, ReadAt and Size are those of an
// [io.SectionReader] of all of it, with an offset of their own. Read and Seek are
// for one goroutine; everything else is safe for concurrent use. After Close
// reading fails with os.ErrClosed.
type File struct {
	*io.SectionReader
	file   *os.File
	path   string
	sealed bool
	close  func() error
}

// Reader returns another reader from the first byte.
func (f *File) Reader() *io.SectionReader { return io.NewSectionReader(f.file, 0, f.Size()) }

// OSFile returns the open file, for exec.Cmd.ExtraFiles. It is the File's to close.
// Its offset is 0 as long as nobody reads from it; all who inherit it share it.
func (f *File) OSFile() *os.File { return f.file }

// Path names the file as long as it is open. That of a sealed file,
// "/proc/self/fd/N", does so in this process only: in a child, N is 3 and the index
// in ExtraFiles, and a script needs it there, since its interpreter opens it by that
// name. That of a private copy is its path in its directory; executing it may fail
// with ETXTBSY once in a while, if another goroutine started a process just when it
// was made.
func (f *File) Path() string { return f.path }

// Sealed tells whether nobody at all can change the file; false is a private copy.
func (f *File) Sealed() bool { return f.sealed }

// Close gives up the file, and removes a private copy. Further calls do nothing and
// return the same.
func (f *File) Close() error { return f.close() }

// Copy copies the regular file at path, compares the copy's length and hashes with
// the signed ones, and returns it. No link is followed and no pipe waited on; no more
// than the signed length is kept. It needs the same small memory for any length, but
// for the sealed file itself.
//
// Errors are mismatch when the file is not what was signed, malformed for a want
// without a usable hash, cancelled or timeout when ctx ends, and class local for
// files that cannot be read or made. Beside an error there is no File, and nothing
// is left behind. It is safe for concurrent use.
func Copy(ctx context.Context, path string, want targets.Want, o Options) (*File, error) {
	return system.copy(ctx, path, want, o)
}

// From seals everything that r gives, up to its end. Whoever calls it knows that
// these bytes are good: nothing is compared. It returns endless_data for more than
// max bytes, the error of r as it is, and otherwise the errors of [Copy]. ctx is
// looked at between reads; it does not end one.
func From(ctx context.Context, r io.Reader, max int64, o Options) (*File, error) {
	return system.from(ctx, r, max, o)
}

// maker makes sealed files. Tests take the memory files away.
type maker struct {
	memfd func(name string, exec bool) (*os.File, error)
}

var system = maker{memfd}

func (m maker) copy(ctx context.Context, path string, want targets.Want, o Options) (*File, error) {
	check, err := targets.NewCheck(want)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, tuferr.Cancelled(ctx)
	}
	src, _, err := diskfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	f, n, err := m.fill(ctx, src, want.Length, o)
	if err != nil {
		return nil, diskfile.Error("read", path, err)
	}
	if _, err = pump(ctx, check, f.Reader(), f.Size()); err == nil {
		err = check.Verdict(n)
	}
	if err != nil {
		_ = f.Close()
		if e := tuferr.As(err); e != nil && e.Code == protocol.CodeMismatch {
			e.Path, e.Hint = path, "the cached file has changed; download it again"
		}
		return nil, diskfile.Error("read back", f.file.Name(), err)
	}
	return f, nil
}

func (m maker) from(ctx context.Context, r io.Reader, max int64, o Options) (*File, error) {
	if max < 0 {
		return nil, tuferr.New(protocol.CodeUsage, "the largest length of a sealed file is negative")
	}
	f, n, err := m.fill(ctx, r, max, o)
	if err != nil {
		return nil, err
	}
	if n > max {
		_ = f.Close()
		return nil, tuferr.New(protocol.CodeEndlessData, "%s has more than %d bytes", clean(o.Name), max)
	}
	return f, nil
}

// fill makes a file of at most max bytes of r. n is how many r has, but no more than
// max+1. An error of r is returned as it is.
func (m maker) fill(ctx context.Context, r io.Reader, max int64, o Options) (f *File, n int64, err error) {
	if ctx.Err() != nil {
		return nil, 0, tuferr.Cancelled(ctx)
	}
	d, err := m.draft(o)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if f == nil { // r may panic
			_ = d.drop()
		}
	}()
	if n, err = pump(ctx, &d, r, max); err != nil {
		return nil, 0, err
	}
	f, err = d.finish(min(n, max))
	return f, n, err
}

// draft is a file that is still being written.
type draft struct {
	file *os.File
	n    int64
	// dir is where a private copy lies, empty for a memory file.
	dir  string
	exec bool
}

func (m maker) draft(o Options) (draft, error) {
	f, err := m.memfd(clean(o.Name), o.Exec)
	if unavailable(err) {
		return private(clean(o.Name), o.Exec)
	}
	return draft{file: f, exec: o.Exec}, inMemory("make", err)
}

// inMemory types an error of a memory file, which has no path.
func inMemory(doing string, err error) error {
	err = diskfile.Error(doing, "a file in memory", err)
	if e := tuferr.As(err); e != nil {
		e.Path, e.Hint = "", "see that this process may open more files and use more memory"
	}
	return err
}

// Write writes without moving the offset that all heirs of the file share.
func (d *draft) Write(b []byte) (int, error) {
	k, err := d.file.WriteAt(b, d.n)
	d.n += int64(k)
	if d.dir == "" {
		return k, inMemory("write", err)
	}
	return k, diskfile.Error("write", d.file.Name(), err)
}

// finish makes the file one that cannot be written.
func (d *draft) finish(size int64) (*File, error) {
	f := &File{file: d.file, sealed: d.dir == ""}
	if d.dir != "" {
		if err := d.lock(); err != nil {
			return nil, diskfile.Error("protect", d.file.Name(), err)
		}
		f.file, f.path = d.file, d.file.Name()
	} else if err := seal(d.file); err != nil {
		return nil, inMemory("seal", err)
	} else {
		f.path = descriptor(d.file)
	}
	f.SectionReader = io.NewSectionReader(f.file, 0, size)
	f.close = sync.OnceValue(d.drop)
	return f, nil
}

// buffers holds what files are copied through.
var buffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// pump copies at most max bytes from src to dst, and returns how many src has, but
// no more than max+1. An error of dst or src is returned as it is.
func pump(ctx context.Context, dst io.Writer, src io.Reader, max int64) (n int64, err error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for empty := 0; ; {
		if ctx.Err() != nil {
			return n, tuferr.Cancelled(ctx)
		}
		k, err := src.Read(*buf)
		if keep := min(int64(k), max-n); keep > 0 {
			if _, err := dst.Write((*buf)[:keep]); err != nil {
				return n, err
			}
		}
		if int64(k) > max-n {
			return max + 1, nil
		}
		n += int64(k)
		switch {
		case err == io.EOF:
			return n, nil
		case err != nil:
			return n, err
		case k > 0:
			empty = 0
		default:
			if empty++; empty == 100 {
				return n, io.ErrNoProgress
			}
		}
	}
}

// clean makes a name that every system takes for that of a file.
func clean(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("_.-", r):
			return r
		}
		return '_'
	}, name)
	name = strings.TrimLeft(name[max(0, len(name)-64):], ".")
	if name == "" {
		return "sealed"
	}
	return name
}
