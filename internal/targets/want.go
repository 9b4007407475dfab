package targets

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"path/filepath"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// The hash algorithms this package knows, the preferred one first.
var algorithms = []string{"sha256", "sha512"}

// Want is what signed metadata says about a target file.
type Want struct {
	// Length is the file's length in bytes.
	Length int64
	// Hashes maps algorithm to hex digest. Every known algorithm (sha256,
	// sha512) has to match, at least one has to be there, others are ignored.
	Hashes map[string]string
}

// digestBytes are the lengths of the hashes that a caller may expect.
var digestBytes = map[string]int{"sha256": sha256.Size, "sha512": sha512.Size}

// ParseHash reads what a caller expects: "sha256:HEX", "sha512:HEX", or HEX, which
// is a SHA-256. The digest is in lower case; both are empty for "". The error is of
// code usage.
func ParseHash(s string) (algorithm, digest string, err error) {
	if s == "" {
		return "", "", nil
	}
	algorithm, digest, ok := strings.Cut(strings.ToLower(strings.TrimSpace(s)), ":")
	if !ok {
		algorithm, digest = "sha256", algorithm
	}
	raw, err := hex.DecodeString(digest)
	if size := digestBytes[algorithm]; err != nil || size == 0 || len(raw) != size {
		e := tuferr.New(protocol.CodeUsage, "%.140q is not a hash", s)
		e.Hint = "give the expected hash as sha256: and 64 hex digits"
		return "", "", e
	}
	return algorithm, digest, nil
}

// signed is a [Want] made ready for comparison.
type signed struct {
	length         int64
	has256, has512 bool
	sum256         [sha256.Size]byte
	sum512         [sha512.Size]byte
	// name is the file's path in a cache: the preferred algorithm and its digest.
	name string
}

// known takes from w the hashes that are known.
func (w Want) known() (signed, error) {
	s := signed{length: w.Length}
	if w.Length < 0 {
		return s, tuferr.New(protocol.CodeMalformed, "a target's length is negative")
	}
	if digest, ok := w.Hashes["sha512"]; ok {
		if !decode(s.sum512[:], digest) {
			return s, notDigest("sha512", digest)
		}
		s.has512, s.name = true, "sha512"+string(filepath.Separator)+strings.ToLower(digest)
	}
	if digest, ok := w.Hashes["sha256"]; ok {
		if !decode(s.sum256[:], digest) {
			return s, notDigest("sha256", digest)
		}
		s.has256, s.name = true, "sha256"+string(filepath.Separator)+strings.ToLower(digest)
	}
	if s.name == "" {
		return s, tuferr.New(protocol.CodeMalformed, "a target has no hash of a known algorithm (%s)", strings.Join(algorithms, ", "))
	}
	return s, nil
}

// decode reads a digest of exactly dst's length.
func decode(dst []byte, digest string) bool {
	if len(digest) != hex.EncodedLen(len(dst)) {
		return false
	}
	_, err := hex.Decode(dst, []byte(digest))
	return err == nil
}

func notDigest(algorithm, digest string) error {
	return tuferr.New(protocol.CodeMalformed, "a target's %s is not a digest: %.140q", algorithm, digest)
}

// is tells whether b is what was signed.
func (s *signed) is(b []byte) bool {
	return int64(len(b)) == s.length &&
		(!s.has256 || sha256.Sum256(b) == s.sum256) &&
		(!s.has512 || sha512.Sum512(b) == s.sum512)
}

// sums are the running hashes of a file.
type sums struct {
	sha256 hash.Hash
	// sha512 is nil where nobody asks for it. SHA-256 is always taken: it is the
	// evidence in an error.
	sha512 hash.Hash
}

func newSums(want *signed) *sums {
	s := &sums{sha256: sha256.New()}
	if want.has512 {
		s.sha512 = sha512.New()
	}
	return s
}

func (s *sums) Write(p []byte) (int, error) {
	s.sha256.Write(p)
	if s.sha512 != nil {
		s.sha512.Write(p)
	}
	return len(p), nil
}

func (s *sums) reset() {
	s.sha256.Reset()
	if s.sha512 != nil {
		s.sha512.Reset()
	}
}

// verdict compares a file's length and every hash with the signed ones
// (specification, 5.7.3).
func (s *signed) verdict(n int64, got *sums) error {
	if n != s.length {
		return mismatch(got, "has %d bytes where %d are signed", n, s.length)
	}
	if sum := got.sha256.Sum(nil); s.has256 && !bytes.Equal(sum, s.sum256[:]) {
		return mismatch(got, "has the sha256 %x where %x is signed", sum, s.sum256)
	}
	if !s.has512 {
		return nil
	}
	if sum := got.sha512.Sum(nil); !bytes.Equal(sum, s.sum512[:]) {
		return mismatch(got, "has the sha512 %x where %x is signed", sum, s.sum512)
	}
	return nil
}

func mismatch(got *sums, format string, args ...any) error {
	e := tuferr.New(protocol.CodeMismatch, "the file "+format, args...)
	e.Digest, e.Spec, e.Engine = hex.EncodeToString(got.sha256.Sum(nil)), "5.7.3", "host"
	e.Hint = "the file was changed after it was signed: nothing was kept; try another mirror, and tell the publisher"
	return e
}
