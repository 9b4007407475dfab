package sealed

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
)

// private makes a file in a directory of its own, for systems without files in
// memory.
func private(name string, exec bool) (draft, error) {
	dir, err := os.MkdirTemp("", "ragnos-*") // mode 0700
	if err != nil {
		return draft{}, diskfile.Error("create a directory in", os.TempDir(), err)
	}
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		_ = os.RemoveAll(dir)
		return draft{}, diskfile.Error("create", path, err)
	}
	return draft{file: f, dir: dir, exec: exec}, nil
}

// lock puts in place of the open file one that is the same and open for reading
// only: a file that is open for writing cannot be executed.
func (d *draft) lock() error {
	writer := d.file
	mode := os.FileMode(0o400)
	if d.exec {
		mode = 0o500
	}
	if err := writer.Chmod(mode); err != nil {
		return err
	}
	was, err := writer.Stat()
	if err != nil {
		return err
	}
	reader, now, err := diskfile.Open(writer.Name())
	if err != nil {
		return err
	}
	if d.file = reader; !os.SameFile(was, now) {
		_ = writer.Close()
		return errors.New("another file has taken its place")
	}
	return writer.Close()
}

// drop closes the file and removes what was made for it.
func (d *draft) drop() error {
	err := d.file.Close()
	if d.dir == "" {
		return err
	}
	// Some systems do not remove what is read-only.
	_ = os.Chmod(d.file.Name(), 0o600)
	return errors.Join(err, os.RemoveAll(d.dir))
}
