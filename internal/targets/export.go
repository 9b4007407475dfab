package targets

import (
	"context"
	"os"
	"path/filepath"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Export copies a verified file from path, as [Cache.Find] or [Cache.Fetch] gave
// it, to dest. It is hashed once more on its way, so that what lands is what was
// signed, and dest is replaced atomically: it is the old file, or the whole new
// one with mode 0600. dest's directory has to exist; a dest that exists and is
// not a regular file, a symbolic link for one, is refused.
//
// Errors are those of [Cache.Fetch].
func Export(ctx context.Context, path string, want Want, dest string) error {
	s, err := want.known()
	if err != nil {
		return err
	}
	if err := replaceable(dest); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return localError("open", path, err)
	}
	src, err := openRegular(path, info)
	if err != nil {
		return err
	}
	defer src.Close()
	p, err := newPart(ctx, filepath.Dir(dest), s)
	if err != nil {
		return err
	}
	defer p.discard()
	if _, err := p.ReadFrom(src); err != nil {
		if p.broken == nil {
			err = localError("read", path, err)
		}
		return damaged(err, path)
	}
	if err := p.commit(dest); err != nil {
		return damaged(err, path)
	}
	return syncDir(filepath.Dir(dest))
}

// replaceable refuses what a rename must not put out of the way: a device such
// as /dev/null, a directory, a link that somebody else relies on.
func replaceable(dest string) error {
	info, err := os.Lstat(dest)
	if err != nil || info.Mode().IsRegular() {
		return nil
	}
	e := tuferr.New(protocol.CodeLocalIO, "the output exists and is not a regular file")
	e.Path, e.Hint = dest, "name a new file, or the file that a link points to"
	return e
}

// damaged adds to a verdict that it is about the copy in the cache.
func damaged(err error, path string) error {
	if e := tuferr.As(err); e != nil && e.Class() == protocol.ClassVerdict {
		e.Path, e.Hint = path, "the cached file has changed; download it again"
	}
	return err
}
