package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// maxPublicName bounds one part of the path of a served file, in bytes: no file
// system has longer names.
const maxPublicName = 255

// errNotServed: there may be something of that name, but nothing to serve.
var errNotServed = errors.New("not a file to be served")

func isMissing(err error) bool {
	return errors.Is(err, errNotServed) || errors.Is(err, fs.ErrNotExist)
}

// openPublic opens a regular file below dir, and returns its size in bytes:
// nothing hidden, and no symbolic link on the way.
func openPublic(dir, name string) (*os.File, int64, error) {
	if !allPublic(strings.Split(name, "/")) {
		return nil, 0, errNotServed
	}
	f, err := openBelow(dir, name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotServed
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// errNoDirectory: without its directory the server knows of no file that it does
// not exist.
var errNoDirectory = errors.New("the served directory cannot be opened")

// walkBelow opens name below dir without following links, part by part. Each part
// is looked at before it is opened, and [os.Root] never leads out of dir, even if
// somebody is faster.
func walkBelow(dir, name string) (*os.File, error) {
	at, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errNoDirectory
	}
	defer func() { _ = at.Close() }()
	parts := strings.Split(name, "/")
	last := len(parts) - 1
	for _, part := range parts[:last] {
		if err := mustBe(at, part, fs.FileMode.IsDir); err != nil {
			return nil, err
		}
		next, err := at.OpenRoot(part)
		if err != nil {
			return nil, err
		}
		_ = at.Close()
		at = next
	}
	if err := mustBe(at, parts[last], fs.FileMode.IsRegular); err != nil {
		return nil, err
	}
	return at.Open(parts[last])
}

func allPublic(parts []string) bool {
	odd := func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }
	for _, part := range parts {
		if part == "" || part[0] == '.' || len(part) > maxPublicName || strings.ContainsFunc(part, odd) {
			return false
		}
	}
	return true
}

func mustBe(dir *os.Root, name string, kind func(fs.FileMode) bool) error {
	info, err := dir.Lstat(name)
	if err == nil && !kind(info.Mode()) {
		err = errNotServed
	}
	return err
}

// settledAfter is how old the latest change of a file must be for its digest to
// be remembered. Timestamps of files are coarse, on some file systems two seconds.
const settledAfter = 3 * time.Second

// maxDigests bounds the digests that are remembered.
const maxDigests = 4096

// identity is what the kernel says of an open file. Whoever changes the file
// gives it a new time of change, which nobody can set.
type identity struct {
	device, inode uint64
	size          int64
	// modified and changed are in nanoseconds since 1970.
	modified, changed int64
}

// digests remembers the SHA-256 of large files. A digest is only kept for a file
// whose latest change lies so far back that another change, even one that gets
// the inode of a file that has gone, must have another time.
type digests struct {
	settled time.Duration

	mu    sync.Mutex
	known map[identity]string
	// hashing lets requests that come while a file is being hashed wait for that.
	hashing singleflight.Group
}

// of returns the SHA-256 of f in hex. It returns "" when it cannot be told
// cheaply that the digest belongs to the bytes: right after a change. It may
// move the offset of f.
func (d *digests) of(f *os.File) (string, error) {
	id, ok := identify(f)
	if !ok || time.Since(time.Unix(0, id.changed)) < d.settled {
		return "", nil
	}
	if digest, ok := d.get(id); ok {
		return digest, nil
	}
	digest, err, _ := d.hashing.Do(fmt.Sprint(id), func() (any, error) {
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(f, 0, id.size)); err != nil {
			return "", err
		}
		if after, ok := identify(f); !ok || after != id {
			return "", nil
		}
		digest := hex.EncodeToString(sum.Sum(nil))
		d.put(id, digest)
		return digest, nil
	})
	if err != nil {
		return "", err
	}
	return digest.(string), nil
}

func (d *digests) get(id identity) (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	digest, ok := d.known[id]
	return digest, ok
}

func (d *digests) put(id identity, digest string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// A repository has few large files. One that has this many must hash again.
	if d.known == nil || len(d.known) >= maxDigests {
		d.known = map[identity]string{}
	}
	d.known[id] = digest
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
