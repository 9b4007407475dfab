package plugin

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Bounds of a plugin archive.
const (
	// MaxArchive is the largest archive in bytes, compressed.
	MaxArchive = 1 << 30
	// MaxUnpacked is the most bytes an archive may unpack to.
	MaxUnpacked = 4 << 30
	// MaxEntries is the most files, directories and links in an archive.
	MaxEntries = 50_000
	// MaxExpansion is how many times its own size, beyond the first
	// MinExpansion bytes, an archive may unpack to.
	MaxExpansion = 100
	MinExpansion = 16 << 20

	maxEntryName = 1024
	maxNames     = 16 << 20 // bytes of all names
)

// Limits bound an archive. Zero allows nothing.
type Limits struct {
	// Size is the most bytes of the compressed archive, Unpacked of what it
	// unpacks to. [MaxExpansion] holds as well.
	Size, Unpacked int64
	// Entries is the most files, directories and links, with the directories
	// that are only named in the paths of others.
	Entries int
}

// DefaultLimits are [MaxArchive], [MaxUnpacked] and [MaxEntries].
var DefaultLimits = Limits{Size: MaxArchive, Unpacked: MaxUnpacked, Entries: MaxEntries}

// expansion is what an archive of size bytes may unpack to.
func (l Limits) expansion(size int64) int64 {
	if size > l.Unpacked/MaxExpansion {
		return l.Unpacked
	}
	return min(l.Unpacked, MinExpansion+MaxExpansion*size)
}

// CheckArchive reads a gzipped tar of size bytes to its end and refuses what
// could write outside the directory it is unpacked into, fill the disk, come
// out differently on another system, or be another plugin than the manifest m
// says. Nothing is written, and memory is bounded by the number of entries.
//
// Links may only point inside: a symbolic link must lead, from its own
// directory, down or up within the archive, with ".." at its beginning only,
// and nothing may lie below a symbolic link, however its name is spelled. By
// induction no chain of links leads outside. All readers of tar see the names
// that were checked: what they understand in different ways is refused.
//
// The error is an [*ArchiveError]; a [*ManifestError] when the entry point is
// missing; the context's error when ctx ends; or the error of r.
func CheckArchive(ctx context.Context, r io.Reader, size int64, lim Limits, m *Manifest) error {
	if size < 0 || size > lim.Size {
		return &ArchiveError{"", fmt.Sprintf("is %d bytes large, more than the %d allowed", size, lim.Size)}
	}
	in := &source{ctx: ctx, r: r, left: size}
	err := check(in, lim, lim.expansion(size), m)
	if in.err != nil {
		return in.err
	}
	return err
}

// unpacker is the memory that unpacking takes, kept for the next archive.
type unpacker struct {
	// packed reads by bytes, which keeps gzip from reading past the end of its
	// stream.
	packed *bufio.Reader
	z      gzip.Reader
	rest   [32 << 10]byte
}

var unpackers = sync.Pool{New: func() any { return &unpacker{packed: bufio.NewReader(nil)} }}

func check(in *source, lim Limits, expansion int64, m *Manifest) error {
	u := unpackers.Get().(*unpacker)
	defer func() {
		u.packed.Reset(nil)
		unpackers.Put(u)
	}()
	u.packed.Reset(in)
	if err := u.z.Reset(u.packed); err != nil {
		return unreadable(err)
	}
	u.z.Multistream(false)
	out := &bounded{r: &u.z, left: expansion, allowed: expansion}
	c := newChecker(m, lim, expansion)
	raw := &headers{}
	for t := tar.NewReader(io.TeeReader(out, raw)); ; {
		h, err := t.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return unreadable(err)
		}
		if raw.problem != "" {
			return raw.refuse(h)
		}
		if err != nil {
			break
		}
		if err := c.entry(h, t); err != nil {
			return err
		}
	}
	if err := onlyZeros(out, u.rest[:]); err != nil {
		return unreadable(err)
	}
	if _, err := u.packed.ReadByte(); err == nil {
		return &ArchiveError{"", "goes on after its gzip stream: some readers would see only the beginning"}
	} else if !errors.Is(err, io.EOF) {
		return unreadable(err)
	}
	if in.left != 0 {
		return &ArchiveError{"", "is shorter than it was said to be"}
	}
	if !out.whole() {
		return &ArchiveError{"", "has no end: the tar was cut off, or its writer not closed"}
	}
	return c.finish()
}

// unreadable gives the errors of gzip and tar our type.
func unreadable(err error) error {
	var known *ArchiveError
	if errors.As(err, &known) {
		return known
	}
	return &ArchiveError{"", "is not a readable .tar.gz file: " + err.Error()}
}

// source is the compressed archive. It ends when its context does, goes no
// further than the bytes that were announced, and remembers what went wrong
// with reading as opposed to what was read.
type source struct {
	ctx  context.Context
	r    io.Reader
	left int64
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err == nil {
		s.err = s.ctx.Err()
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.left+1)])
	if s.left -= int64(n); s.left < 0 {
		return 0, &ArchiveError{"", "is longer than it was said to be"}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// endMark is the number of zeros that end a tar.
const endMark = 2 * 512

// bounded fails beyond a number of bytes, so that a bomb is not unpacked.
type bounded struct {
	r             io.Reader
	left, allowed int64
	// zeros is the number of zeros that the bytes read so far end in.
	zeros int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, bomb(b.allowed)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left+1)])
	b.left -= int64(n)
	rest := len(bytes.TrimRight(p[:n], "\x00"))
	if rest > 0 {
		b.zeros = 0
	}
	b.zeros += int64(n - rest)
	return n, err
}

// whole tells whether what was read can be all of a tar.
func (b *bounded) whole() bool { return b.zeros >= endMark && (b.allowed-b.left)%512 == 0 }

func bomb(allowed int64) error {
	return &ArchiveError{"", fmt.Sprintf("unpacks to too much: more than the %d bytes allowed to its size", allowed)}
}

// onlyZeros reads what follows the end of the archive, which some unpackers
// would take for more entries, and makes gzip check its sum.
func onlyZeros(r io.Reader, buf []byte) error {
	for {
		n, err := r.Read(buf)
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return &ArchiveError{"", "holds data after its end"}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
