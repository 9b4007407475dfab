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
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
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
)

// Limits bound an archive.
type Limits struct {
	// Size is the most bytes of the compressed archive, Unpacked of what it
	// unpacks to.
	Size, Unpacked int64
	// Entries is the most files, directories and links.
	Entries int
}

// DefaultLimits are [MaxArchive], [MaxUnpacked] and [MaxEntries].
var DefaultLimits = Limits{Size: MaxArchive, Unpacked: MaxUnpacked, Entries: MaxEntries}

// CheckArchive reads a gzipped tar to its end and refuses everything that could
// write outside the directory it is unpacked into, or fill the disk. size is
// the length of the compressed archive.
//
// Links may only point inside: a symbolic link must lead, from its own
// directory, down or up within the archive, with ".." at its beginning only,
// and nothing may lie below a symbolic link. By induction no chain of links
// leads outside.
func CheckArchive(ctx context.Context, r io.Reader, size int64, lim Limits, m *Manifest) error {
	// A reader by bytes keeps gzip from reading past the end of its stream.
	compressed, err := gzip.NewReader(bufio.NewReader(contextReader{ctx, r}))
	if err != nil {
		return unreadable(ctx, err)
	}
	allowed := min(lim.Unpacked, MinExpansion+MaxExpansion*size)
	unpacked := &boundedReader{r: compressed, left: allowed}
	c := checker{limits: lim, left: allowed, kinds: map[string]byte{}, parents: map[string]bool{}}
	for t := tar.NewReader(unpacked); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unreadable(ctx, err)
		}
		if err := c.entry(h); err != nil {
			return err
		}
	}
	if err := onlyZeros(unpacked); err != nil {
		return unreadable(ctx, err)
	}
	return c.finish(m.EntryPoint)
}

func unreadable(ctx context.Context, err error) error {
	var known *ArchiveError
	if errors.As(err, &known) || ctx.Err() != nil {
		return err
	}
	return &ArchiveError{"", "is not a readable .tar.gz file: " + err.Error()}
}

// contextReader ends a long read when its context ends.
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

// boundedReader fails beyond a number of bytes, so that a bomb is not unpacked.
type boundedReader struct {
	r    io.Reader
	left int64
}

var errBomb = &ArchiveError{"", fmt.Sprintf("unpacks to too much: more than %d GiB, or %d times its size",
	MaxUnpacked>>30, MaxExpansion)}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errBomb
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left+1)])
	b.left -= int64(n)
	return n, err
}

// onlyZeros reads what follows the end of the archive, which some unpackers
// would take for more entries, and makes gzip check its sum.
func onlyZeros(r io.Reader) error {
	buf := make([]byte, 32<<10)
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

// checker judges the entries of an archive, one after the other.
type checker struct {
	limits Limits
	left   int64
	count  int
	// kinds holds the type of every entry by its clean name.
	kinds map[string]byte
	// parents are the directories that entries lie in.
	parents map[string]bool
}

func (c *checker) entry(h *tar.Header) error {
	if c.count++; c.count > c.limits.Entries {
		return &ArchiveError{"", fmt.Sprintf("has more than %d entries", c.limits.Entries)}
	}
	// Sparse files claim more than they hold.
	if c.left -= h.Size; h.Size < 0 || c.left < 0 {
		return errBomb
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if problem := c.problem(h); problem != "" {
		return &ArchiveError{h.Name, problem}
	}
	return nil
}

func (c *checker) problem(h *tar.Header) string {
	if problem := badPath(strings.TrimSuffix(h.Name, "/")); problem != "" {
		return problem
	}
	name := path.Clean(h.Name)
	if old, ok := c.kinds[name]; ok && !(old == tar.TypeDir && h.Typeflag == tar.TypeDir) {
		return "is there twice"
	}
	if name == "." && h.Typeflag != tar.TypeDir {
		return "has the archive's own directory as its name"
	}
	c.kinds[name] = h.Typeflag
	c.parents[path.Dir(name)] = true
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir:
		return ""
	case tar.TypeSymlink:
		return badSymlink(name, h.Linkname)
	case tar.TypeLink:
		if c.kinds[path.Clean(h.Linkname)] != tar.TypeReg || badPath(h.Linkname) != "" {
			return fmt.Sprintf("is a hard link to %q, which is no earlier file of the archive", h.Linkname)
		}
		return ""
	default:
		return "is neither a file nor a directory nor a link"
	}
}

// finish checks what can be said only of the whole archive.
func (c *checker) finish(entryPoint string) error {
	for dir := range c.parents {
		for ; dir != "."; dir = path.Dir(dir) {
			if kind, ok := c.kinds[dir]; ok && kind != tar.TypeDir {
				return &ArchiveError{dir, "is no directory, but other entries lie in it"}
			}
		}
	}
	if entryPoint != "" {
		if kind, ok := c.kinds[entryPoint]; !ok || kind == tar.TypeDir {
			return &ManifestError{"entryPoint", fmt.Sprintf("names %q, which is no file of the archive", entryPoint)}
		}
		return nil
	}
	for _, kind := range c.kinds {
		if kind == tar.TypeReg {
			return nil
		}
	}
	return &ArchiveError{"", "holds no file"}
}

// badPath says what is wrong with a slash-separated relative path, or "".
func badPath(p string) string {
	switch {
	case p == "":
		return "has an empty path"
	case len(p) > maxEntryName:
		return fmt.Sprintf("has a path of more than %d bytes", maxEntryName)
	case !utf8.ValidString(p) || strings.ContainsFunc(p, unicode.IsControl):
		return "has a path with control characters or invalid UTF-8"
	case strings.ContainsAny(p, `\:`):
		return `has a path with "\" or ":", which some systems read as a drive or separator`
	case strings.HasPrefix(p, "/"):
		return "has an absolute path"
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return `has ".." in its path`
		}
	}
	return ""
}

func badSymlink(name, target string) string {
	outside := fmt.Sprintf("is a link to %q, outside the archive", target)
	if strings.HasPrefix(target, "/") {
		return outside
	}
	rest := target
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		next, ok := strings.CutPrefix(rest, "../")
		if !ok && rest == ".." {
			next, ok = ".", true
		}
		if !ok {
			break
		}
		if dir == "." {
			return outside
		}
		rest = next
	}
	if problem := badPath(rest); problem != "" {
		return fmt.Sprintf("is a link to %q, which %s", target, problem)
	}
	return ""
}
