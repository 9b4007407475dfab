package plugin

import (
	"archive/tar"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/go-json-experiment/json"
)

// manifestName is the file of an archive that says what the archive is.
const manifestName = "manifest.json"

// checker judges the entries of an archive, one after the other.
type checker struct {
	manifest *Manifest
	lim      Limits
	// left is how many bytes the entries to come may claim, of allowed.
	left, allowed int64
	headers       int
	names         int // bytes
	// nodes holds everything there will be once the archive is unpacked.
	nodes map[foldKey]node
}

type node struct {
	name string
	kind byte
	// named is false for a directory that stands only in the paths of others.
	named bool
}

func newChecker(m *Manifest, lim Limits, allowed int64) *checker {
	return &checker{manifest: m, lim: lim, left: allowed, allowed: allowed, nodes: map[foldKey]node{}}
}

func (c *checker) entry(h *tar.Header, content io.Reader) error {
	c.headers++
	if err := c.crowded(); err != nil {
		return err
	}
	if problem := c.problem(h); problem != "" {
		return &ArchiveError{h.Name, problem}
	}
	if c.left -= h.Size; h.Size < 0 || c.left < 0 {
		return bomb(c.allowed)
	}
	if err := c.crowded(); err != nil {
		return err
	}
	if name := path.Clean(h.Name); fold(name) == manifestName && h.Typeflag != tar.TypeXGlobalHeader {
		return c.compare(h, content)
	}
	return nil
}

func (c *checker) crowded() error {
	if c.names > maxNames {
		return &ArchiveError{"", fmt.Sprintf("has names of more than %d bytes altogether", maxNames)}
	}
	if max(c.headers, len(c.nodes)) > c.lim.Entries {
		return &ArchiveError{"", fmt.Sprintf("has more than %d entries", c.lim.Entries)}
	}
	return nil
}

func (c *checker) problem(h *tar.Header) string {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return ""
	}
	if problem := badPath(strings.TrimSuffix(h.Name, "/")); problem != "" {
		return problem
	}
	name := path.Clean(h.Name)
	switch {
	case h.Mode&0o6000 != 0:
		return fmt.Sprintf("has mode %04o: set-user-ID and set-group-ID are not allowed", h.Mode&0o7777)
	case h.Typeflag != tar.TypeDir && name == ".":
		return "has the archive's own directory as its name"
	case h.Typeflag != tar.TypeDir && strings.HasSuffix(h.Name, "/"):
		return "is no directory, but has a name that ends in a slash"
	}
	if problem := c.kindProblem(h, name); problem != "" {
		return problem
	}
	if h.Typeflag != tar.TypeReg && h.Size != 0 {
		return "has a size, but is no file: some readers would skip what follows"
	}
	return c.add(name, h.Typeflag)
}

// sparse files claim more than they hold, and not every unpacker knows them.
const sparse = "is a sparse file: pack it without --sparse"

func (c *checker) kindProblem(h *tar.Header, name string) string {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir:
		return ""
	case tar.TypeSymlink:
		return badSymlink(name, h.Linkname)
	case tar.TypeLink:
		target := path.Clean(h.Linkname)
		old := c.nodes[keyOf(target)]
		if old.name != target || old.kind != tar.TypeReg || badPath(h.Linkname) != "" {
			return fmt.Sprintf("is a hard link to %.200q, which is no earlier file of the archive", h.Linkname)
		}
		return ""
	case tar.TypeGNUSparse:
		return sparse
	default:
		return "is neither a file nor a directory nor a link"
	}
}

// add makes the entry and the directories it lies in known.
func (c *checker) add(name string, kind byte) string {
	name = strings.Clone(name) // it may be a part of a large header
	c.names += len(name)
	keys := foldKeys(name)
	key, above := keys[len(keys)-1], keys[:len(keys)-1]
	for dir := path.Dir(name); len(above) > 0; dir, above = path.Dir(dir), above[:len(above)-1] {
		at := above[len(above)-1]
		old, ok := c.nodes[at]
		if !ok {
			c.nodes[at] = node{dir, tar.TypeDir, false}
			continue
		}
		if old.name != dir {
			return sameName(dir, old.name)
		}
		if old.kind != tar.TypeDir {
			return fmt.Sprintf("lies in %q, which is no directory", dir)
		}
		break // and all above it are known
	}
	old, ok := c.nodes[key]
	switch {
	case ok && old.name != name:
		return sameName(name, old.name)
	case ok && kind != tar.TypeDir && old.kind == tar.TypeDir && !old.named:
		return "is no directory, but other entries lie in it"
	case ok && (kind != tar.TypeDir || old.kind != tar.TypeDir):
		return "is there twice"
	}
	c.nodes[key] = node{name, kind, true}
	return ""
}

func sameName(a, b string) string {
	return fmt.Sprintf("is there twice: %.200q and %.200q are one name where case, or the way to write a character, does not count", a, b)
}

// compare holds a manifest within the archive against the one given.
func (c *checker) compare(h *tar.Header, content io.Reader) error {
	if h.Typeflag != tar.TypeReg {
		return &ArchiveError{h.Name, "must be a file, for it says which plugin this is"}
	}
	if h.Size > MaxManifest {
		return &ArchiveError{h.Name, fmt.Sprintf("is larger than %d bytes", MaxManifest)}
	}
	data, err := io.ReadAll(content)
	if err != nil {
		return unreadable(err)
	}
	var inside struct {
		Name      *string `json:"name"`
		Version   *string `json:"version"`
		Publisher *string `json:"publisher"`
	}
	if err := json.Unmarshal(data, &inside); err != nil {
		return &ArchiveError{h.Name, "is no manifest: " + err.Error()}
	}
	for _, f := range []struct {
		field string
		got   *string
		want  string
	}{
		{"name", inside.Name, c.manifest.Name},
		{"version", inside.Version, c.manifest.Version},
		{"publisher", inside.Publisher, c.manifest.Publisher},
	} {
		if f.got == nil {
			return &ArchiveError{h.Name, fmt.Sprintf("has no %s, but the manifest beside the archive says %q", f.field, f.want)}
		}
		if *f.got != f.want {
			return &ArchiveError{h.Name, fmt.Sprintf("says %s %.100q, but the manifest beside the archive says %q", f.field, *f.got, f.want)}
		}
	}
	return nil
}

// finish checks what can be said only of the whole archive.
func (c *checker) finish() error {
	if name := c.manifest.EntryPoint; name != "" {
		if n := c.nodes[keyOf(name)]; n.name != name || n.kind == tar.TypeDir {
			return &ManifestError{"entryPoint", fmt.Sprintf("names %q, which is no file of the archive", name)}
		}
		return nil
	}
	for _, n := range c.nodes {
		if n.kind == tar.TypeReg {
			return nil
		}
	}
	return &ArchiveError{"", "holds no file"}
}

// badSymlink says why a symbolic link could lead outside, or "".
func badSymlink(name, target string) string {
	outside := fmt.Sprintf("is a link to %.200q, outside the archive", target)
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
		return fmt.Sprintf("is a link to %.200q, which %s", target, problem)
	}
	return ""
}
