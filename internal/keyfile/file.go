package keyfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	dirMode     = 0o700
	privateMode = 0o600
	publicMode  = 0o644

	// maxFile bounds a key file in bytes. The longest key that counts, RSA of
	// 16384 bits, takes less than half of it.
	maxFile = 64 << 10
)

// wrong is an error of a file, with one of the causes above.
func wrong(code protocol.Code, path string, cause error, hint string) *tuferr.Error {
	return &tuferr.Error{Code: code, Path: path, Msg: cause.Error(), Err: cause, Hint: hint}
}

// systemError gives the code that fits an error of the operating system or of a
// context.
func systemError(path string, cause error) *tuferr.Error {
	e := &tuferr.Error{Code: protocol.CodeLocalIO, Path: path, Err: cause}
	switch {
	case errors.Is(cause, context.Canceled):
		e.Code = protocol.CodeCancelled
	case errors.Is(cause, context.DeadlineExceeded):
		e.Code = protocol.CodeTimeout
	case errors.Is(cause, syscall.ENOSPC), errors.Is(cause, syscall.EDQUOT):
		e.Code, e.Hint = protocol.CodeDiskFull, "make room and try again; no key was made"
	case errors.Is(cause, syscall.EROFS):
		e.Code, e.Hint = protocol.CodePermissions, "mount the file system so that it can be written, and try again; no key was made"
	case errors.Is(cause, fs.ErrPermission):
		e.Code, e.Hint = protocol.CodePermissions, "run as the user who owns the keys"
	}
	return e
}

// readPrivate reads the file of a private key. Neither it nor the directories in
// which it and a symbolic link to it stand may be within reach of others: they
// could know the key, or put another one in its place.
func readPrivate(path string) ([]byte, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, systemError(path, err)
	}
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(target)} {
		if err := checkDir(dir); err != nil {
			return nil, err
		}
	}
	return readFile(path, func(info fs.FileInfo) error {
		return unreachable(path, info, "chmod 600 "+path+"; if others could read it, replace the key; "+noModes)
	})
}

// checkDir refuses a directory of private keys that others can reach.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return systemError(dir, err)
	}
	if !info.IsDir() {
		return systemError(dir, syscall.ENOTDIR)
	}
	return unreachable(dir, info, "chmod 700 "+dir+"; "+noModes)
}

// noModes is what to do about a medium on which every file is everybody's.
const noModes = "if that has no effect, as on FAT, mount the medium with uid= and umask=077, or copy the key into a directory of your own"

// CheckPrivate refuses a file or directory that other users can reach.
func CheckPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return systemError(path, err)
	}
	return unreachable(path, info, noModes)
}

func unreachable(path string, info fs.FileInfo, hint string) error {
	if !othersReach(info) {
		return nil
	}
	return &tuferr.Error{Code: protocol.CodePermissions, Path: path, Hint: hint,
		Msg: "refusing what keeps a secret and is within reach of other users"}
}

// readFile reads a regular file, or what a symbolic link to one leads to, that
// check allows and that has at most maxFile bytes.
func readFile(path string, check func(fs.FileInfo) error) ([]byte, error) {
	f, err := openRegular(path, check)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, systemError(path, err)
	}
	if len(data) > maxFile {
		clear(data)
		return nil, &tuferr.Error{Code: protocol.CodeUsage, Path: path,
			Msg: "the file is too large for a key", Hint: "is it the right file?"}
	}
	return data, nil
}

// openRegular never waits for the other end of a pipe: it looks before it opens,
// and what is opened is looked at again.
func openRegular(path string, check func(fs.FileInfo) error) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, systemError(path, err)
	}
	notRegular := &tuferr.Error{Code: protocol.CodeUsage, Path: path, Msg: "not a regular file"}
	if !info.Mode().IsRegular() {
		return nil, notRegular
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonBlock, 0)
	if err != nil {
		return nil, systemError(path, err)
	}
	info, err = f.Stat()
	switch {
	case err != nil:
		err = systemError(path, err)
	case !info.Mode().IsRegular():
		err = notRegular
	default:
		err = check(info)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
