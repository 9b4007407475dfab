package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// writeWhole writes a file beside its place and renames it when it is whole. It
// returns how long it is. what names it in errors of the file.
func writeWhole(what, output string, write func(io.Writer) error) (int64, error) {
	if info, err := os.Lstat(output); err == nil && !info.Mode().IsRegular() {
		e := tuferr.New(protocol.CodeLocalIO, "the output exists and is not a regular file")
		e.Path, e.Hint = output, "name a new file, or the file that a link points to"
		return 0, e
	}
	f, err := os.CreateTemp(filepath.Dir(output), ".whole-*")
	if err != nil {
		return 0, fileError(what, "written", output, err)
	}
	defer os.Remove(f.Name()) // gone by then, if all went well
	defer f.Close()
	buf := bufio.NewWriter(f)
	if err = write(buf); err == nil {
		err = buf.Flush()
	}
	if err != nil && tuferr.As(err) == nil {
		err = fileError(what, "written", output, err)
	}
	if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), output)
	}
	if err != nil {
		return 0, fileError(what, "written", output, err)
	}
	return info.Size(), nil
}

// fileError is the error of a file that cannot be read or written.
func fileError(what, doing, path string, err error) error {
	e := tuferr.New(localCode(err), "the %s cannot be %s", what, doing)
	e.Path, e.Err = path, bare(err)
	e.Hint = "check the path, and the space and the rights there"
	return e
}
