// Package diskfile reads and replaces single files the careful way: only regular
// ones, no links followed, no pipe to wait on, and whole or not at all.
package diskfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Open opens the regular file at path for reading. A link, a directory, a device or
// a pipe is refused with local_io. Other errors are those of [Error]; fs.ErrNotExist
// is in their chain where there is nothing.
func Open(path string) (*os.File, os.FileInfo, error) {
	seen, err := os.Lstat(path)
	if err != nil {
		return nil, nil, Error("open", path, err)
	}
	if !seen.Mode().IsRegular() {
		return nil, nil, NotRegular(path)
	}
	// Not to follow or hang on what has just taken the file's place.
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, Error("open", path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = NotRegular(path)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, Error("open", path, err)
	}
	return f, info, nil
}

// Read returns the content of the regular file at path, and the file as it was when
// it was opened. More than limit bytes are local_io; other errors are those of [Open].
func Read(path string, limit int64) ([]byte, os.FileInfo, error) {
	f, info, err := Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	var raw bytes.Buffer
	if info.Size() <= limit {
		raw.Grow(int(info.Size()) + bytes.MinRead)
		if _, err := raw.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
			return nil, nil, Error("read", path, err)
		}
	}
	if info.Size() > limit || int64(raw.Len()) > limit {
		e := tuferr.New(protocol.CodeLocalIO, "%s is longer than %d bytes", path, limit)
		e.Path = path
		return nil, nil, e
	}
	return raw.Bytes(), info, nil
}

// Replacement puts a file in place of another.
type Replacement struct {
	// Path is the file, Temp where it is written first, in the same directory. What
	// stands at Temp is removed; without a lock it needs a name of its own.
	Path, Temp string
	// Mode is the file's. Exact says that the umask must not lessen it.
	Mode  fs.FileMode
	Exact bool
	// Before, if not nil, is called before each step, and fails it by an error: it is
	// how tests make processes die and disks fail.
	Before func(op, path string) error
}

// Write makes data the content of the file: it is the old one, or the whole new one
// on the disk. A killed process may leave the file at Temp; an error leaves nothing,
// unless it is from the very last step, the sync of the directory. Errors are those
// of [Error].
func (r Replacement) Write(data []byte) (err error) {
	if err := r.do("remove", r.Temp, os.Remove); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(r.Temp)
		}
	}()
	if err := r.do("write", r.Temp, func(path string) error { return r.fill(path, data) }); err != nil {
		return err
	}
	if err := r.do("rename", r.Path, func(path string) error { return os.Rename(r.Temp, path) }); err != nil {
		return err
	}
	return r.do("sync", filepath.Dir(r.Path), SyncDir)
}

func (r Replacement) do(op, path string, f func(path string) error) error {
	if r.Before != nil {
		if err := r.Before(op, path); err != nil {
			return Error(op, path, err)
		}
	}
	return Error(op, path, f(path))
}

// fill makes a durable new file.
func (r Replacement) fill(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, r.Mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if r.Exact {
		if err := f.Chmod(r.Mode); err != nil {
			return err
		}
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// NotRegular is the error for what stands where a regular file has to be.
func NotRegular(path string) error {
	e := tuferr.New(protocol.CodeLocalIO, "%s is not a regular file", path)
	e.Path, e.Hint = path, "a link, directory, device or pipe is not used: name the file itself, or move it away"
	return e
}

// Error types an error of the file system: permissions, disk_full or local_io. It
// leaves errors that have a code alone, and nil.
func Error(doing, path string, err error) error {
	if err == nil || tuferr.As(err) != nil {
		return err
	}
	e := tuferr.New(protocol.CodeLocalIO, "cannot %s %s", doing, path)
	e.Path, e.Err = path, bare(err)
	e.Hint = "check the directory, or choose another one"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Code, e.Hint = protocol.CodeDiskFull, "free some space, or choose another directory"
	case errors.Is(err, fs.ErrPermission) && (doing == "open" || doing == "read"):
		// Who may only read it must not be told to let everybody write.
		e.Code, e.Hint = protocol.CodePermissions, "give this user access to it, or choose another one"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Code, e.Hint = protocol.CodePermissions, "make it writable for this user, or choose another directory"
	}
	return e
}

// bare drops the paths from a file system error; the message has them already.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}
