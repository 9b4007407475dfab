package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

const (
	// settled is how long before a look at it a file must have been written for its
	// times to tell it from a later one; file systems count in ticks.
	settled = 100 * time.Millisecond

	// maxRemembered bounds the files whose content a store keeps in memory.
	maxRemembered = 256
)

// sight is what was seen of a path at one time.
type sight struct {
	path string
	// info is nil if nothing was there.
	info os.FileInfo
	at   time.Time
}

// look returns the sight of a directory.
func look(path string) sight {
	at := time.Now()
	fi, err := os.Stat(path)
	if err != nil {
		return unknown(path)
	}
	return sight{path: path, info: fi, at: at}
}

// unknown is the sight of a path that never stands.
func unknown(path string) sight { return sight{path: path} }

// stands reports whether the path still is as it was seen. In doubt it is not.
func (s sight) stands() bool {
	if s.at.IsZero() || s.info != nil && s.at.Sub(s.info.ModTime()) <= settled {
		return false
	}
	if s.info == nil {
		_, err := os.Lstat(s.path)
		return errors.Is(err, fs.ErrNotExist)
	}
	fi, err := os.Stat(s.path)
	return err == nil && sameFile(fi, s.info)
}

func stand(sights []sight) bool {
	for _, s := range sights {
		if !s.stands() {
			return false
		}
	}
	return true
}

// remembered is a file that was read or written before, and what it means.
type remembered struct {
	sight
	raw   []byte
	value any
}

func (s *Store) remember(r remembered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.files[r.path]; !known && len(s.files) >= maxRemembered {
		for other := range s.files {
			delete(s.files, other)
			break
		}
	}
	s.files[r.path] = r
}

// recall returns what parse makes of the file at path, and the sight of it. A
// file that has not changed since it was read or written is not read again, and
// one that has the same content is not parsed again. Errors as readBounded, and
// those of parse.
func recall[T any](s *Store, path string, limit int64, parse func([]byte) (T, error)) (T, sight, error) {
	s.mu.Lock()
	r := s.files[path]
	s.mu.Unlock()
	if value, same := r.value.(T); same && r.stands() {
		return value, r.sight, nil
	}
	var none T
	at := time.Now()
	raw, info, err := readBounded(path, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return none, sight{path: path, at: at}, err
	}
	seen := sight{path: path, info: info, at: at}
	if err != nil {
		return none, unknown(path), err
	}
	value, same := r.value.(T)
	if !same || !bytes.Equal(r.raw, raw) {
		if value, err = parse(raw); err != nil {
			return none, unknown(path), err
		}
	}
	if doc, ok := any(value).(*admission.Doc); ok {
		raw = doc.Raw
	}
	s.remember(remembered{sight: seen, raw: raw, value: value})
	return value, seen, nil
}

// document returns the admitted file at path. Errors as readBounded.
func (s *Store) document(path string, kind admission.Kind) (*admission.Doc, sight, error) {
	return recall(s, path, s.limits.Bytes(kind), func(raw []byte) (*admission.Doc, error) {
		doc, err := admission.Parse(kind, raw, s.limits)
		if err != nil {
			return nil, &damage{err}
		}
		return doc, nil
	})
}

// read is document for those who do not hold the lock.
func (s *Store) read(path string, kind admission.Kind) (*admission.Doc, error) {
	doc, _, err := s.document(path, kind)
	return doc, err
}

// read returns the admitted file at path and notes the sight of it. Errors as
// readBounded.
func (x *session) read(path string, kind admission.Kind) (*admission.Doc, error) {
	doc, seen, err := x.document(path, kind)
	x.sights[path] = seen
	return doc, err
}

// gone notes that the session has removed the file at path.
func (x *session) gone(path string) { x.sights[path] = sight{path: path, at: time.Now()} }
