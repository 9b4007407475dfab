// Package records keeps what was installed on this machine, and the version of each
// plugin below which nothing may be installed again.
//
// The file is installed.json in a directory that any number of processes share:
//
//	{"version": 1, "installed": [RECORD…], "highest": [{"publisher", "name", "version"}…]}
//
// It is the only thing that keeps old versions out when a repository offers one, so
// it is never repaired nor started anew by itself: what cannot be understood,
// members unknown to this release among it, is an error that names the file and says
// what to do. A file that somebody deleted is one without records.
//
// "highest" is a mark: it rises with every newer version, stays when a plugin is
// removed, and goes down only where a caller says so.
package records

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	// FileName is the file in the directory of a [Book].
	FileName = "installed.json"
	// MaxSize is the largest file in bytes.
	MaxSize = 16 << 20

	lockName = "installed.lock"
	tempName = "installed.tmp" // only who has the lock touches it
	fileMode = 0o600
	dirMode  = 0o700
)

// settled is how old a file must have been when it was read, for its identity, length
// and time to tell whether it is still the same: longer than clocks of file systems
// tick, within which a second file could take the first one's place and look like it.
const settled = 2 * time.Second

// Record is one installed plugin.
type Record struct {
	// Target is the target path.
	Target string `json:"target"`
	// Publisher, Name and Version are all empty for a target without a manifest.
	Publisher string `json:"publisher,omitempty"`
	Name      string `json:"name,omitempty"`
	Version   string `json:"version,omitempty"`
	// Channel is the release channel that it was in, "" without a manifest.
	Channel string `json:"channel,omitempty"`
	// EntryPoint is the file of the archive to start, "" if the manifest names none.
	EntryPoint string `json:"entry_point,omitempty"`
	// Length is in bytes; Hashes are lower-case hex by algorithm.
	Length int64             `json:"length"`
	Hashes map[string]string `json:"hashes"`
	// Repository is the name of the repository that answered.
	Repository string `json:"repository"`
	// At is when it was first installed so, in UTC and whole seconds.
	At time.Time `json:"at"`
	// TakenBack is why verified metadata took it back since, "" if it has not.
	TakenBack string `json:"taken_back,omitempty"`
	// Until is when the permission ends by which it was installed although it was
	// denied; zero without one.
	Until time.Time `json:"until,omitzero"`
}

// same tells whether two records differ in nothing but the time.
func (r Record) same(o Record) bool {
	return maps.Equal(r.Hashes, o.Hashes) && r.Target == o.Target && r.Publisher == o.Publisher && r.Name == o.Name &&
		r.Version == o.Version && r.Channel == o.Channel && r.EntryPoint == o.EntryPoint && r.Length == o.Length && r.Repository == o.Repository &&
		r.TakenBack == o.TakenBack && r.Until.Equal(o.Until)
}

// own returns a copy that shares no memory.
func (r Record) own() Record {
	r.Hashes = maps.Clone(r.Hashes)
	return r
}

// Book is the record in one directory. It is safe for concurrent use, also by other
// Books and processes. As long as nobody writes, an answer costs one stat.
//
// Every method returns cancelled or timeout when ctx has ended, local_io for a file
// that cannot be understood, and permissions for one that may not be read.
type Book struct {
	dir string
	// turn is the lock among the goroutines of this Book.
	turn chan struct{}
	// before is how tests fail, or end, what is done to the disk.
	before func(op, path string) error

	mu   sync.Mutex
	seen *sighting
}

// sighting is a file that has been read.
type sighting struct {
	info os.FileInfo
	*content
	// settled: what looks the same is the same.
	settled bool
}

// Open returns the book in a directory, which need not exist. It touches no file.
func Open(dir string) *Book { return &Book{dir: dir, turn: make(chan struct{}, 1)} }

// Path is the file.
func (b *Book) Path() string { return filepath.Join(b.dir, FileName) }

// Add notes that a plugin was installed; a record of the same target is replaced. It
// writes nothing if that is noted already, whatever the time. A zero r.At is now.
//
// A version lower than the highest one of the plugin, by semantic versioning, is
// refused with rollback, and nothing is changed; lower allows it, and makes it the
// highest. Who asks and who writes is one step: of two that race, the lower version
// is refused if it comes second. The directory is made, with mode 0700, if it is not
// there. When Add returns, the record is on the disk.
//
// Other errors: usage and invalid_name for a record that cannot be, locked when the
// deadline of ctx passed while another process held the lock, disk_full, permissions.
func (b *Book) Add(ctx context.Context, r Record, lower bool) error {
	return b.add(ctx, r, func(c *content, r Record) (bool, error) { return c.add(r, lower) })
}

// AddBeside is Add for an exception: it refuses no version, and a lower one does not
// become the highest, so that nothing else may follow it.
func (b *Book) AddBeside(ctx context.Context, r Record) error {
	return b.add(ctx, r, func(c *content, r Record) (bool, error) {
		if highest, ok := c.highest[id{r.Publisher, r.Name}]; ok && plugin.Compare(r.Version, highest) < 0 {
			return c.put(r), nil
		}
		return c.add(r, false)
	})
}

func (b *Book) add(ctx context.Context, r Record, put func(*content, Record) (changed bool, err error)) error {
	r = r.own()
	if r.At.IsZero() {
		r.At = time.Now()
	}
	r.At = r.At.UTC().Truncate(time.Second)
	if err := r.Check(); err != nil {
		return err
	}
	add := func(c *content) (bool, error) { return put(c, r) }
	c, err := b.look(ctx)
	if err != nil {
		return err
	}
	if changed, err := add(c.clone()); err == nil && !changed {
		return nil
	}
	return b.change(ctx, add)
}

// Remove forgets that a target is installed, and tells whether it was. The mark of
// its plugin stays. Errors are those of [Book.Add].
func (b *Book) Remove(ctx context.Context, target string) (removed bool, err error) {
	c, err := b.look(ctx)
	if err != nil {
		return false, err
	}
	if _, ok := c.installed[target]; !ok {
		return false, nil
	}
	err = b.change(ctx, func(c *content) (bool, error) {
		_, removed = c.installed[target]
		delete(c.installed, target)
		return removed, nil
	})
	return removed && err == nil, err
}

// TakeBack notes why verified metadata has taken an installed target back; "" notes
// that it has not. It does nothing if it is not installed. Errors are those of
// [Book.Add].
func (b *Book) TakeBack(ctx context.Context, target, why string) error {
	note := func(c *content) (bool, error) {
		r, ok := c.installed[target]
		if !ok || r.TakenBack == why {
			return false, nil
		}
		r.TakenBack = why
		c.installed[target] = r
		return true, r.Check()
	}
	c, err := b.look(ctx)
	if err != nil {
		return err
	}
	if changed, err := note(c.clone()); err != nil || !changed {
		return err
	}
	return b.change(ctx, note)
}

// Find returns the record of a target, and whether there is one.
func (b *Book) Find(ctx context.Context, target string) (Record, bool, error) {
	c, err := b.look(ctx)
	if err != nil {
		return Record{}, false, err
	}
	r, ok := c.installed[target]
	return r.own(), ok, nil
}

// Highest returns the version of a plugin below which nothing may be installed; ""
// if it never was.
func (b *Book) Highest(ctx context.Context, publisher, name string) (string, error) {
	c, err := b.look(ctx)
	if err != nil {
		return "", err
	}
	return c.highest[id{publisher, name}], nil
}

// List returns all records, sorted by target.
func (b *Book) List(ctx context.Context) ([]Record, error) {
	c, err := b.look(ctx)
	if err != nil {
		return nil, err
	}
	all := c.sorted()
	for i, r := range all {
		all[i] = r.own()
	}
	return all, nil
}

// look returns what the file holds, which must not be changed.
func (b *Book) look(ctx context.Context) (*content, error) {
	if ctx.Err() != nil {
		return nil, tuferr.Cancelled(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.seen; s != nil && s.settled {
		info, err := os.Lstat(b.Path())
		if err == nil && os.SameFile(info, s.info) && info.Size() == s.info.Size() && info.ModTime().Equal(s.info.ModTime()) {
			return s.content, nil
		}
	}
	return b.read()
}

// read reads the file, whatever was seen before. It needs mu.
func (b *Book) read() (*content, error) {
	b.seen = nil
	now := time.Now()
	raw, info, err := diskfile.Read(b.Path(), MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return newContent(), nil
	}
	if err != nil {
		return nil, err
	}
	c, err := parse(raw)
	if err != nil {
		tuferr.As(err).Path = b.Path()
		return nil, err
	}
	b.seen = &sighting{info: info, content: c, settled: now.Sub(info.ModTime()) > settled}
	return c, nil
}

// change lets f change what the file holds, while nobody else does, and writes it if
// f says so.
func (b *Book) change(ctx context.Context, f func(*content) (changed bool, err error)) error {
	return b.locked(ctx, func() error {
		b.mu.Lock()
		now, err := b.read()
		b.mu.Unlock() // Nobody who only reads waits for the disk.
		if err != nil {
			return err
		}
		c := now.clone()
		changed, err := f(c)
		if err != nil || !changed {
			return err
		}
		raw, err := c.encode()
		if err != nil {
			return err
		}
		if len(raw) > MaxSize {
			e := tuferr.New(protocol.CodeLocalIO, "the record of installed plugins is full: more than %d bytes", MaxSize)
			e.Path, e.Hint = b.Path(), "remove plugins that are not used"
			return e
		}
		return diskfile.Replacement{
			Path: b.Path(), Temp: filepath.Join(b.dir, tempName), Mode: fileMode, Exact: true, Before: b.before,
		}.Write(raw)
	})
}

// id is whose versions are compared.
type id struct{ publisher, name string }

// content is what a file holds.
type content struct {
	installed map[string]Record
	highest   map[id]string
}

func newContent() *content { return &content{map[string]Record{}, map[id]string{}} }

// clone returns a copy whose records and marks may be replaced.
func (c *content) clone() *content { return &content{maps.Clone(c.installed), maps.Clone(c.highest)} }

func (c *content) sorted() []Record {
	return slices.SortedFunc(maps.Values(c.installed), func(a, b Record) int { return strings.Compare(a.Target, b.Target) })
}

// add is [Book.Add].
func (c *content) add(r Record, lower bool) (changed bool, err error) {
	if r.Name != "" {
		who := id{r.Publisher, r.Name}
		highest, ok := c.highest[who]
		if ok && !lower && plugin.Compare(r.Version, highest) < 0 {
			return false, older(r, highest)
		}
		if highest != r.Version {
			c.highest[who], changed = r.Version, true
		}
	}
	return c.put(r) || changed, nil
}

// put notes a record, and no mark.
func (c *content) put(r Record) (changed bool) {
	old, ok := c.installed[r.Target]
	if changed = !ok || !r.same(old); changed {
		c.installed[r.Target] = r
	}
	return changed
}

func older(r Record, highest string) error {
	e := tuferr.New(protocol.CodeRollback, "version %s of %s/%s is older than %s, which was installed here", r.Version, r.Publisher, r.Name, highest)
	e.Target, e.Engine = r.Target, "host"
	e.Hint = "install a newer version, or allow the downgrade if it is meant"
	return e
}
