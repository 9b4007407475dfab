package webserver

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// maxFile bounds the files that are read here, in bytes.
const maxFile = 1 << 20

// settled is how old a file must be before its times tell that it has not been
// written again: they are coarse.
const settled = 3 * time.Second

// reloaded is what was made of some files, and is made anew when they change.
// The zero value is not usable. It is safe for concurrent use.
type reloaded[T any] struct {
	paths []string
	load  func() (T, error)
	// report is told of each new error once.
	report func(error)

	mu    sync.Mutex
	stats []fs.FileInfo // nil where there was no file
	again bool          // at least one was too young to tell
	value T
	err   error
}

// newReloaded loads for the first time, and fails if that fails.
func newReloaded[T any](report func(error), load func() (T, error), paths ...string) (*reloaded[T], error) {
	r := &reloaded[T]{paths: paths, load: load, report: func(error) {}}
	_, err := r.get()
	r.report = report
	return r, err
}

// get returns what the files say now. If they cannot be used any more it returns
// the error and what they said before.
func (r *reloaded[T]) get() (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stats, young := look(r.paths)
	if r.stats != nil && !r.again && sameFiles(stats, r.stats) {
		return r.value, r.err
	}
	r.stats, r.again = stats, young
	value, err := r.load()
	if err == nil {
		r.value = value
	} else if r.err == nil || r.err.Error() != err.Error() {
		r.report(err)
	}
	r.err = err
	return r.value, err
}

func look(paths []string) (stats []fs.FileInfo, young bool) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			info = nil
		}
		young = young || info != nil && time.Since(info.ModTime()) < settled
		stats = append(stats, info)
	}
	return stats, young
}

func sameFiles(a, b []fs.FileInfo) bool {
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) {
			return false
		}
		if a[i] != nil && (!os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime())) {
			return false
		}
	}
	return true
}

// readFile reads a file that nobody of those in forbidden may reach, a set of
// permission bits. Errors never repeat anything of the file.
func readFile(path string, forbidden fs.FileMode) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, unusable(path, "is not a regular file")
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, fileError(path, err)
	}
	defer f.Close()
	if info, err = f.Stat(); err == nil && info.Mode()&forbidden != 0 {
		return nil, &tuferr.Error{Code: protocol.CodePermissions, Op: "serve", Path: path,
			Msg:  "refusing a secret that other users can reach",
			Hint: "chmod 600 " + path + "; if others could read it, replace it"}
	}
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	}
	switch {
	case err != nil:
		return nil, fileError(path, err)
	case len(data) > maxFile:
		return nil, unusable(path, "is too large")
	}
	return data, nil
}

func unusable(path, why string) error {
	return &tuferr.Error{Code: protocol.CodeLocalIO, Op: "serve", Path: path, Msg: "the file " + why, Hint: "is it the right file?"}
}

func fileError(path string, err error) error {
	e := &tuferr.Error{Code: protocol.CodeLocalIO, Op: "serve", Path: path, Msg: "the file cannot be used", Err: err}
	if errors.Is(err, fs.ErrPermission) {
		e.Code = protocol.CodePermissions
	}
	return e
}
