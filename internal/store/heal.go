package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// What the quarantine may hold. The oldest entries go first.
const (
	maxQuarantined     = 16
	maxQuarantineBytes = 128 << 20
)

// prepare makes the private directories and finishes what a dead process left.
func (x *session) prepare() error {
	if _, err := x.makeDir(x.historyDir()); err != nil {
		return err
	}
	made, err := x.makeDir(x.tmpDir())
	if err != nil {
		return err
	}
	var left []os.DirEntry
	if !made {
		if left, err = os.ReadDir(x.tmpDir()); err != nil {
			return err
		}
	}
	if len(left) > 0 {
		if err := x.secure(); err != nil {
			return err
		}
	}
	for _, e := range left {
		if err := x.disk.remove(filepath.Join(x.tmpDir(), e.Name())); err != nil {
			return err
		}
	}
	return x.examineSuspects()
}

// makeDir makes a directory where there is none, in place of whatever else may
// stand there, and says whether it did.
func (x *session) makeDir(path string) (bool, error) {
	fi, err := os.Lstat(path)
	if err == nil {
		if fi.IsDir() {
			return false, nil
		}
		if err := x.disk.remove(path); err != nil {
			return false, err
		}
	}
	return true, x.disk.mkdir(path)
}

// secure forces to the disk what a process that died in apply may have renamed
// and not synced. Others will build on it.
func (x *session) secure() error {
	paths := append(x.lineage(), x.historyDir())
	files := []string{x.anchorPath(), x.floorsPath(), x.clockPath()}
	history, err := os.ReadDir(x.historyDir())
	if err != nil {
		return err
	}
	for _, e := range history {
		files = append(files, filepath.Join(x.historyDir(), e.Name()))
	}
	for _, path := range files {
		if fi, err := os.Lstat(path); err == nil && fi.Mode().IsRegular() {
			paths = append(paths, path)
		}
	}
	return x.disk.sync(paths...)
}

// suspicious reports whether readers found something damaged.
func (x *session) suspicious() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.suspects) > 0
}

// examineSuspects looks again, under the lock, at what readers found damaged.
func (x *session) examineSuspects() error {
	x.mu.Lock()
	suspects := x.suspects
	x.suspects = map[string]string{}
	x.mu.Unlock()
	for path, role := range suspects {
		if _, err := x.healthy(path, role); err != nil {
			return err
		}
	}
	return nil
}

// healthy returns the admitted file at path. A damaged one is quarantined and,
// like a missing one, gives nil.
func (x *session) healthy(path, role string) (*admission.Doc, error) {
	doc, err := x.read(path, admission.KindOf(role))
	switch {
	case err == nil:
		return doc, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, errDamaged):
		return nil, x.quarantine(path, role, err.Error())
	default:
		return nil, err
	}
}

// quarantine moves a file, or whatever stands in its place, out of the way.
func (x *session) quarantine(path, role, why string) error {
	to, err := x.nextQuarantine(filepath.Base(path))
	if err != nil {
		return err
	}
	if err := x.disk.rename(path, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	x.gone(path)
	x.event(Event{Code: EventQuarantined, Severity: Warning, Role: role, Path: path,
		Message: fmt.Sprintf("quarantined %s as %s: %s", filepath.Base(path), filepath.Base(to), why)})
	return x.pruneQuarantine()
}

// nextQuarantine returns a free path with the next number.
func (x *session) nextQuarantine(name string) (string, error) {
	if _, err := x.makeDir(x.quarantineDir()); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(x.quarantineDir())
	if err != nil {
		return "", err
	}
	last := 0
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "-")
		if n, err := strconv.Atoi(number); err == nil {
			last = max(last, n)
		}
	}
	if len(name) > maxFileName {
		name = name[:maxFileName]
	}
	return filepath.Join(x.quarantineDir(), fmt.Sprintf("%08d-%s", last+1, name)), nil
}

func (x *session) pruneQuarantine() error {
	entries, err := os.ReadDir(x.quarantineDir()) // sorted, so the oldest is first
	if err != nil {
		return err
	}
	var total int64
	for i := len(entries) - 1; i >= 0; i-- {
		path := filepath.Join(x.quarantineDir(), entries[i].Name())
		total += dirSize(path)
		if len(entries)-i > maxQuarantined || total > maxQuarantineBytes {
			if err := x.disk.remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// clear makes room for a file where a directory stands.
func (x *session) clear(path, role string) error {
	if !isDir(path) {
		return nil
	}
	return x.quarantine(path, role, "a directory in place of a file")
}

// put writes one root by itself and forces it to the disk.
func (x *session) put(path string, root *admission.Doc) error {
	return x.apply(&plan{records: []file{rootFile(path, root)}})
}

// seal writes a value in the store's own format and forces it to the disk.
func (x *session) seal(path string, v any) error {
	data, err := seal(v)
	if err != nil {
		return err
	}
	return x.apply(&plan{records: []file{{path: path, data: data, value: v}}})
}
