package store

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	dirMode  = 0o700
	fileMode = 0o600
)

// disk is the only way in which the store changes files. Each of its steps is a
// point at which a process may die or the disk may fail; before is how tests
// make that happen.
type disk struct {
	before func(op, path string) error
}

func (d *disk) do(op, path string, f func() error) error {
	if d.before != nil {
		if err := d.before(op, path); err != nil {
			return &fs.PathError{Op: op, Path: path, Err: err}
		}
	}
	return f()
}

func (d *disk) mkdir(path string) error {
	return d.do("mkdir", path, func() error { return os.MkdirAll(path, dirMode) })
}

// write makes a new file, which [disk.sync] forces to the disk.
func (d *disk) write(path string, data []byte) (info os.FileInfo, err error) {
	var f *os.File
	err = d.do("create", path, func() error {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	err = d.do("write", path, func() error {
		_, err := f.Write(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f.Stat()
}

// syncers is how many files are synced at a time. The file system then makes
// one transaction of them.
const syncers = 8

// sync forces files and directories to the disk. A directory above the store
// that this user may not list is left to the system.
func (d *disk) sync(paths ...string) error {
	if len(paths) == 0 {
		return nil
	}
	var others errgroup.Group
	others.SetLimit(syncers - 1)
	for _, path := range paths[1:] {
		others.Go(func() error { return d.sync1(path) })
	}
	return errors.Join(d.sync1(paths[0]), others.Wait())
}

func (d *disk) sync1(path string) error {
	return d.do("sync", path, func() error {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrPermission) && isDir(path) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

func (d *disk) rename(from, to string) error {
	return d.do("rename", to, func() error { return os.Rename(from, to) })
}

// remove deletes a file or a whole directory; what is not there is no error.
func (d *disk) remove(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return d.do("remove", path, func() error { return os.RemoveAll(path) })
}

// errDamaged is the family of what is wrong with the content of a file.
var errDamaged = errors.New("damaged")

type damage struct{ cause error }

func (d *damage) Error() string        { return d.cause.Error() }
func (d *damage) Unwrap() error        { return d.cause }
func (d *damage) Is(target error) bool { return target == errDamaged }

// readBounded returns the content of a regular file of at most limit bytes. It
// returns fs.ErrNotExist if there is nothing, errDamaged if what is there cannot
// be such a file, and any other error if this process cannot read now.
func readBounded(path string, limit int64) ([]byte, os.FileInfo, error) {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, lerr := os.Lstat(path); lerr != nil {
			return nil, nil, err
		}
		return nil, nil, &damage{errors.New("a link to nothing")}
	case err != nil:
		return nil, nil, unreadable(err)
	case !fi.Mode().IsRegular():
		return nil, nil, &damage{errors.New("not a regular file")}
	case fi.Size() > limit:
		return nil, nil, &damage{errors.New("longer than the limit")}
	}
	// Not to hang on a pipe that has just taken the file's place.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, unreadable(err)
	}
	defer f.Close()
	if fi, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	var raw bytes.Buffer
	raw.Grow(int(min(fi.Size(), limit)) + bytes.MinRead) // It may have grown meanwhile.
	if _, err := raw.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, nil, unreadable(err)
	}
	return raw.Bytes(), fi, nil
}

// unreadable tells a file that is bad from a process that is short of something.
func unreadable(err error) error {
	for _, passing := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EINTR, fs.ErrNotExist} {
		if errors.Is(err, passing) {
			return err
		}
	}
	return &damage{err}
}

// sameFile reports whether nothing was written to a file between two looks at
// it. Every writer of the store replaces files, and so changes their identity.
func sameFile(a, b os.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// localError gives a failure of the file system its code and advice. It leaves
// errors that have a code already alone.
func localError(err error, dir string) error {
	if err == nil || tuferr.As(err) != nil {
		return err
	}
	code, hint := protocol.CodeLocalIO, "check the file system that holds the trust store"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code, hint = protocol.CodeDiskFull, "free some space; nothing that was trusted is lost"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		code, hint = protocol.CodePermissions, "the trust store must be owned by, and writable for, the user who runs this"
	}
	e := tuferr.New(code, "trust store: %w", err)
	e.Hint, e.Path = hint, dir
	var pe *fs.PathError
	if errors.As(err, &pe) {
		e.Path = pe.Path
	}
	return e
}

// exists reports whether anything stands at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// isDir reports whether a directory stands at path, where no link is followed.
func isDir(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.IsDir()
}

// dirSize adds up the lengths of all files below path.
func dirSize(path string) (total int64) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be seen cannot be counted
		}
		if fi, err := d.Info(); err == nil && fi.Mode().IsRegular() {
			total += fi.Size()
		}
		return nil
	})
	return total
}
