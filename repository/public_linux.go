package repository

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// openBelow opens name below dir without following links. The kernel sees to it,
// in one call that leaves no gap; an old one, or a sandbox, may not have it.
func openBelow(dir, name string) (*os.File, error) {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errNoDirectory
	}
	defer func() { _ = unix.Close(at) }()
	// Opening a pipe must not wait for somebody who writes to it.
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(at, name, &how)
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Openat2(at, name, &how)
	}
	switch {
	case err == nil:
		return os.NewFile(uintptr(fd), name), nil
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		return walkBelow(dir, name)
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENXIO):
		return nil, errNotServed
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: err}
}
