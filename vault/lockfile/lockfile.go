package lockfile

import (
	"cmp"
	"crypto/rand"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
	"github.com/ragnos-labs/vault-tuf/internal/records"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	// Name is what the file is called.
	Name = "ragnos.lock"
	// Version is the format that this release reads and writes.
	Version = 1
	// MaxSize is the largest file in bytes.
	MaxSize = 4 << 20
	// DefaultMode is the mode of a new file, less what the umask takes.
	DefaultMode fs.FileMode = 0o644

	maxWanted = 256 // characters
)

// Entry is one locked plugin.
type Entry struct {
	// Target is the target path.
	Target string `json:"target"`
	// Publisher, Name and Version are those that the path is made of, or all empty for
	// a target without a manifest.
	Publisher string `json:"publisher,omitempty"`
	Name      string `json:"name,omitempty"`
	Version   string `json:"version,omitempty"`
	// Wanted is what was asked for, such as "^1.2" or "beta", to lock it anew; at most
	// 256 printable characters, "" if it was this target.
	Wanted string `json:"wanted,omitempty"`
	// Repository is the name of the repository that answered.
	Repository string `json:"repository"`
	// Length is in bytes.
	Length int64 `json:"length"`
	// Hashes are lower-case hex by algorithm. sha256 has to be there.
	Hashes map[string]string `json:"hashes"`
}

// ID is "publisher/name", or "" for a target without a manifest.
func (e Entry) ID() string {
	if e.Name == "" {
		return ""
	}
	return e.Publisher + "/" + e.Name
}

// key is what there is one entry of. No ID begins with a slash.
func (e Entry) key() string { return cmp.Or(e.ID(), "/"+e.Target) }

// own returns a copy that shares no memory.
func (e Entry) own() Entry {
	e.Hashes = maps.Clone(e.Hashes)
	return e
}

// check returns usage or invalid_name for an entry that cannot be.
func (e Entry) check() error {
	err := records.Record{
		Target: e.Target, Publisher: e.Publisher, Name: e.Name, Version: e.Version,
		Length: e.Length, Hashes: e.Hashes, Repository: e.Repository,
	}.Check()
	if err != nil {
		return err
	}
	why := ""
	switch {
	case e.Hashes["sha256"] == "":
		why = "it has no sha256"
	case !utf8.ValidString(e.Wanted) || utf8.RuneCountInString(e.Wanted) > maxWanted ||
		strings.ContainsFunc(e.Wanted, func(r rune) bool { return !unicode.IsPrint(r) }):
		why = "what is wanted is too long or not printable"
	default:
		return nil
	}
	x := tuferr.New(protocol.CodeUsage, "what is said of it cannot be: %s", why)
	x.Target = e.Target
	return x
}

// File is the content of a lock file. The zero value is empty.
type File struct {
	// entries are checked, sorted by target, and one for each key.
	entries []Entry
}

// Entries returns all entries, sorted by target. They are the caller's.
func (f *File) Entries() []Entry {
	all := slices.Clone(f.entries)
	for i, e := range all {
		all[i] = e.own()
	}
	return all
}

// Find returns the entry of a plugin, "publisher/name", or else of a target path.
func (f *File) Find(idOrTarget string) (Entry, bool) {
	if i := f.index(idOrTarget); i >= 0 {
		return f.entries[i].own(), true
	}
	return Entry{}, false
}

func (f *File) index(idOrTarget string) int {
	i := slices.IndexFunc(f.entries, func(e Entry) bool { return idOrTarget != "" && e.ID() == idOrTarget })
	if i < 0 {
		i = slices.IndexFunc(f.entries, func(e Entry) bool { return e.Target == idOrTarget })
	}
	return i
}

// Set puts an entry in place of the one of the same plugin or target, if there is one.
// It returns usage or invalid_name, and changes nothing, for one that cannot be.
func (f *File) Set(e Entry) error {
	if err := e.check(); err != nil {
		return err
	}
	e = e.own()
	f.entries = slices.DeleteFunc(f.entries, func(o Entry) bool { return o.key() == e.key() || o.Target == e.Target })
	i, _ := slices.BinarySearchFunc(f.entries, e, byTarget)
	f.entries = slices.Insert(f.entries, i, e)
	return nil
}

func byTarget(a, b Entry) int { return strings.Compare(a.Target, b.Target) }

// Remove removes what [File.Find] finds, and tells whether there was anything.
func (f *File) Remove(idOrTarget string) bool {
	i := f.index(idOrTarget)
	if i >= 0 {
		f.entries = slices.Delete(f.entries, i, i+1)
	}
	return i >= 0
}

// Read reads the file at path: a regular file of at most [MaxSize] bytes. That there
// is none is local_io with fs.ErrNotExist in its chain. Errors carry the path.
func Read(path string) (*File, error) {
	raw, _, err := diskfile.Read(path, MaxSize)
	var f *File
	if err == nil {
		f, err = Parse(raw)
	}
	if err == nil {
		return f, nil
	}
	e := tuferr.As(err)
	e.Path = path
	if errors.Is(err, fs.ErrNotExist) {
		e.Msg, e.Hint = "there is no lock file", "make one first: lock the plugins that are wanted"
	}
	return nil, err
}

// Write puts the file at path, as it is on the disk when Write returns: it is the old
// file or the whole new one, whatever happens. A file keeps its mode, a new one gets
// [DefaultMode]; one that holds the same bytes already is left alone. A symbolic link,
// device or directory is refused. The directory has to exist.
//
// Errors are local_io, permissions and disk_full.
func (f *File) Write(path string) error {
	raw, err := f.Encode()
	if err != nil {
		return err
	}
	r := diskfile.Replacement{Path: path, Mode: DefaultMode}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return diskfile.Error("look at", path, err)
	case !info.Mode().IsRegular():
		return diskfile.NotRegular(path)
	default:
		if old, _, err := diskfile.Read(path, MaxSize); err == nil && string(old) == string(raw) {
			return nil
		}
		r.Mode, r.Exact = info.Mode().Perm(), true
	}
	r.Temp = filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text()+".tmp")
	return r.Write(raw)
}
