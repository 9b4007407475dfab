package keyfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

const (
	lockName = ".lock"
	// lockPoll is how often a waiting process asks for the lock again.
	lockPoll = 20 * time.Millisecond
	// unfinished, with an extension, names what a new key is written to. Only who
	// has the lock touches it.
	unfinished = ".unfinished"
)

// disk is the only way in which a directory of keys is changed. Each of its
// steps is a point at which a process may die or the disk may fail; before is
// how tests make that happen.
type disk struct {
	before func(op, path string) error
}

func (d disk) do(op, path string, f func() error) error {
	var err error
	if d.before != nil {
		err = d.before(op, path)
	}
	if err == nil {
		err = f()
	}
	if err != nil {
		return systemError(path, err)
	}
	return nil
}

// makeDir makes the directory, or sees that it is fit for keys.
func (d disk) makeDir(dir string) error {
	err := d.do("mkdir", dir, func() error { return os.Mkdir(dir, dirMode) })
	switch {
	case errors.Is(err, fs.ErrExist):
	case err != nil:
		return err
	default:
		err := d.do("check", dir, func() error { return nil })
		if err == nil {
			err = checkDir(dir)
		}
		if err != nil {
			_ = os.Remove(dir) // It is empty.
			return err
		}
		return d.syncDir(filepath.Dir(dir))
	}
	return checkDir(dir)
}

func (d disk) syncDir(dir string) error {
	return d.do("sync", dir, func() error {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// add puts a key into its directory, unless its name is taken. The private file
// comes first: it alone is the key.
func (d disk) add(ctx context.Context, stem string, private, public []byte) (err error) {
	dir := filepath.Dir(stem)
	lock := flock.New(filepath.Join(dir, lockName))
	if err := d.do("lock", lock.Path(), func() error {
		_, err := lock.TryLockContext(ctx, lockPoll)
		return err
	}); err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := checkFree(stem); err != nil {
		return err
	}
	temp := filepath.Join(dir, unfinished)
	made := []string{temp + extPrivate, temp + extPublic}
	defer func() {
		if err != nil {
			for _, path := range made {
				_ = os.Remove(path)
			}
		}
	}()
	if err := d.write(temp+extPrivate, private, privateMode); err != nil {
		return err
	}
	if err := d.write(temp+extPublic, public, publicMode); err != nil {
		return err
	}
	for _, ext := range []string{extPrivate, extPublic} {
		if err := d.do("rename", stem+ext, func() error { return os.Rename(temp+ext, stem+ext) }); err != nil {
			return err
		}
		made = append(made, stem+ext)
	}
	return d.syncDir(dir)
}

// write makes a durable file in place of what a killed process left there.
func (d disk) write(path string, data []byte, mode fs.FileMode) error {
	err := d.do("remove", path, func() error { return os.Remove(path) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var f *os.File
	err = d.do("create", path, func() error {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, privateMode)
		return err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := d.setMode(f, path, mode); err != nil {
		return err
	}
	err = d.do("write", path, func() error {
		_, err := f.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	return d.do("sync", path, func() error { return errors.Join(f.Sync(), f.Close()) })
}

// setMode sets the mode of a file that is still empty. File systems without
// permissions, such as FAT, refuse that or do as if: what the file is then is what
// counts, and a secret is not written within reach of others.
func (d disk) setMode(f *os.File, path string, mode fs.FileMode) error {
	err := d.do("chmod", path, func() error { return f.Chmod(mode) })
	if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if mode != privateMode {
		return nil
	}
	var info fs.FileInfo
	err = d.do("check", path, func() error {
		info, err = f.Stat()
		return err
	})
	if err != nil {
		return err
	}
	return unreachable(path, info, "the medium keeps no permissions, as FAT: mount it with uid= and umask=077, or make the key in a directory of your own; no key was made")
}
