package repository

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"
)

// disk is the only way in which a repository that exists is changed. Each of its
// steps is a point at which the process may die or the disk may fail; before is
// how tests make that happen.
type disk struct {
	before func(op, path string) error
}

func (d *disk) do(op, path string, f func() error) error {
	if d.before != nil {
		if err := d.before(op, path); err != nil {
			return ioError(path, &fs.PathError{Op: op, Path: path, Err: err})
		}
	}
	if err := f(); err != nil {
		return ioError(path, err)
	}
	return nil
}

func (d *disk) mkdir(path string, perm fs.FileMode) error {
	return d.do("mkdir", path, func() error {
		if err := os.Mkdir(path, perm); err != nil {
			if errors.Is(err, fs.ErrExist) {
				return nil
			}
			return err
		}
		return os.Chmod(path, perm) // Whatever the umask.
	})
}

// write makes a new file, which [disk.sync] forces to the disk.
func (d *disk) write(path string, perm fs.FileMode, from io.Reader) (err error) {
	var f *os.File
	err = d.do("create", path, func() error {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return d.do("write", path, func() error {
		buf := buffers.Get().(*[64 << 10]byte)
		defer buffers.Put(buf)
		// Without its own ReadFrom, which would make another buffer.
		_, err := io.CopyBuffer(struct{ io.Writer }{f}, from, buf[:])
		// What is served must be readable to the server, whatever the umask.
		return errors.Join(err, f.Chmod(perm))
	})
}

// buffers are for copying, and used again.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// syncers is how many files are synced at a time. The file system then makes
// one transaction of them.
const syncers = 8

// many is from how many files on it costs less to sync their whole file system.
const many = 128

// sync forces files and directories, of one file system, to the disk.
func (d *disk) sync(paths ...string) error {
	if len(paths) >= many && canSyncAll() {
		return d.do("sync", paths[0], func() error { return syncAll(paths[0]) })
	}
	var all errgroup.Group
	all.SetLimit(syncers)
	for _, path := range paths {
		all.Go(func() error {
			return d.do("sync", path, func() error {
				f, err := os.Open(path)
				if err != nil {
					return err
				}
				return errors.Join(f.Sync(), f.Close())
			})
		})
	}
	return all.Wait()
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

// makeDirs makes the directories of rel below base, and returns those whose
// entries are new and must be synced.
func (d *disk) makeDirs(base, rel string) (changed []string, err error) {
	if rel == "." {
		return nil, nil
	}
	changed, err = d.makeDirs(base, filepath.Dir(rel))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(base, rel)
	if _, err := os.Stat(path); err == nil {
		return changed, nil
	}
	return append(changed, filepath.Dir(path)), d.mkdir(path, 0o755)
}
