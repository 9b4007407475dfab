package targets

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Names of files that are not there for good, each locked by the process that
// works on it, so that what a dead one left behind can be told from it. A part
// has a name of its own and is of no use to anybody else; a partial file is
// named by the signed digest, and beside it is a note of its validator.
const (
	partPrefix    = ".part-"
	partialPrefix = ".partial-"
	notePrefix    = ".validator-"
)

// Bounds of what may be left behind.
const (
	// partGrace is how old a leftover must be before it is removed: longer
	// than it takes from the creation of a file to its lock.
	partGrace = time.Minute
	// partialMin is the least length of a target of which anything is left: a
	// shorter one has come sooner than it has been asked about.
	partialMin = 1 << 20
	// partialAge is how long a partial file stays that nobody goes on with.
	partialAge = 7 * 24 * time.Hour
	// maxPartials and maxPartialBytes bound all of them together; the newest stay.
	maxPartials     = 8
	maxPartialBytes = 4 << 30
	// maxNote bounds a validator.
	maxNote = 256
)

// goOn returns the part that an earlier download of the file that shall lie at
// path has left, hashed once more, or an empty one that a later download can go
// on with. It returns nil if there can be neither: because the file is small, or
// because somebody else works on it.
func goOn(ctx context.Context, path string, d download) (*part, error) {
	if d.want.length < partialMin {
		return nil, nil
	}
	dir, digest := filepath.Split(path)
	f, lock := openPartial(filepath.Join(dir, partialPrefix+digest))
	if f == nil {
		return nil, nil
	}
	p := &part{
		ctx: ctx, want: d.want, file: f, got: newSums(&d.want), progress: func(int64, int64) {},
		lock: lock, noted: filepath.Join(dir, notePrefix+digest),
	}
	if err := p.load(); err != nil {
		p.left = tuferr.ClassOf(err) == protocol.ClassCancelled
		p.discard()
		return nil, err
	}
	p.progress = d.progress
	return p, nil
}

// load hashes what is there, and drops what cannot be gone on with.
func (p *part) load() error {
	info, err := p.file.Stat()
	if err != nil {
		return localError("read", p.file.Name(), err)
	}
	p.n, p.validator = info.Size(), readNote(p.noted)
	if p.n > p.want.length || p.n < p.want.length && p.validator == "" {
		return p.Reset()
	}
	n, err := hashFile(p.ctx, p.got, io.LimitReader(p.file, p.n), p.file.Name())
	if tuferr.ClassOf(err) == protocol.ClassCancelled {
		return err
	}
	if err != nil || n != p.n {
		return p.Reset()
	}
	p.loaded, p.flushed = p.n > 0, p.n
	return nil
}

// openPartial opens and locks the partial file at path, or a new one. What lies
// there and is not this user's own private file is neither believed nor followed
// but removed. It returns nil if the file cannot be had.
func openPartial(path string) (*os.File, *flock.Flock) {
	for range 2 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow|syscall.O_NONBLOCK, 0o600)
		if err != nil {
			if info, err := os.Lstat(path); err != nil || info.Mode().IsRegular() {
				return nil, nil
			}
		} else {
			info, err := f.Stat()
			lock := hold(path, info)
			if err == nil && lock != nil && own(info) {
				return f, lock
			}
			_ = f.Close()
			if err != nil || lock == nil && info.Mode().IsRegular() {
				return nil, nil
			}
			if lock != nil {
				defer lock.Close()
			}
		}
		if os.Remove(path) != nil {
			return nil, nil
		}
	}
	return nil, nil
}

// hold locks the file that info describes, for as long as it is at path: who
// brings it under another name or removes it holds the lock.
func hold(path string, info os.FileInfo) *flock.Flock {
	if info == nil || !info.Mode().IsRegular() {
		return nil
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY|noFollow|syscall.O_NONBLOCK))
	if ok, err := lock.TryLock(); ok && err == nil {
		locked, err := lock.Stat()
		there, err2 := os.Lstat(path)
		if err == nil && err2 == nil && os.SameFile(info, locked) && os.SameFile(info, there) {
			return lock
		}
	}
	_ = lock.Close()
	return nil
}

// note keeps a validator at path, and only there: what was there before is not
// written to, since it might be a link to elsewhere.
func note(path, validator string) bool {
	_ = os.Remove(path)
	if validator == "" {
		return true
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	_, err = io.WriteString(f, validator)
	return f.Close() == nil && err == nil && isValidator(validator)
}

// readNote returns the validator at path, empty if there is none to send.
func readNote(path string) string {
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !own(info) {
		return ""
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxNote+1))
	if err != nil || !isValidator(string(raw)) {
		return ""
	}
	return string(raw)
}

// isValidator tells whether s can stand in a request.
func isValidator(s string) bool {
	return len(s) <= maxNote && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// leftover is a file that is not there for good.
type leftover struct {
	dir, name string
	info      os.FileInfo
}

// sweep removes what nobody works on: parts, and partial files that are too old,
// too many or too large. What cannot be removed stays: it is in nobody's way.
func (c *Cache) sweep(now time.Time) {
	var partials []leftover
	for _, l := range c.leftovers() {
		switch old := now.Sub(l.info.ModTime()) > partGrace; {
		case strings.HasPrefix(l.name, partialPrefix):
			partials = append(partials, l)
		case old && strings.HasPrefix(l.name, partPrefix):
			l.remove()
		case old && strings.HasPrefix(l.name, notePrefix):
			l.removeNote()
		}
	}
	slices.SortFunc(partials, func(a, b leftover) int { return b.info.ModTime().Compare(a.info.ModTime()) })
	var space int64
	for i, l := range partials {
		space += l.info.Size()
		if i >= maxPartials || space > maxPartialBytes || now.Sub(l.info.ModTime()) > partialAge {
			l.remove()
		}
	}
}

// leftovers lists the regular files whose names no target can have.
func (c *Cache) leftovers() (all []leftover) {
	for _, alg := range algorithms {
		dir := filepath.Join(c.dir, alg)
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") {
				continue
			}
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
				all = append(all, leftover{dir, e.Name(), info})
			}
		}
	}
	return all
}

// remove removes the file, and the note beside it, unless somebody works on it.
func (l leftover) remove() {
	path := filepath.Join(l.dir, l.name)
	lock := hold(path, l.info)
	if lock == nil {
		return
	}
	defer lock.Close()
	if digest, ok := strings.CutPrefix(l.name, partialPrefix); ok {
		_ = os.Remove(filepath.Join(l.dir, notePrefix+digest))
	}
	_ = os.Remove(path)
}

// removeNote removes a note whose partial file is gone.
func (l leftover) removeNote() {
	digest := strings.TrimPrefix(l.name, notePrefix)
	if _, err := os.Lstat(filepath.Join(l.dir, partialPrefix+digest)); os.IsNotExist(err) {
		_ = os.Remove(filepath.Join(l.dir, l.name))
	}
}
