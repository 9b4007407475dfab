package targets

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
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

// known returns a copy of w with the known hashes only, in lower case.
func (w Want) known() (Want, error) {
	if w.Length < 0 {
		return w, tuferr.New(protocol.CodeMalformed, "a target's length is negative")
	}
	k := Want{Length: w.Length, Hashes: map[string]string{}}
	for _, alg := range algorithms {
		digest, ok := w.Hashes[alg]
		if !ok {
			continue
		}
		raw, err := hex.DecodeString(digest)
		if err != nil || len(raw) != newHash(alg).Size() {
			return w, tuferr.New(protocol.CodeMalformed, "a target's %s is not a digest: %.140q", alg, digest)
		}
		k.Hashes[alg] = strings.ToLower(digest)
	}
	if len(k.Hashes) == 0 {
		return w, tuferr.New(protocol.CodeMalformed, "a target has no hash of a known algorithm (%s)", strings.Join(algorithms, ", "))
	}
	return k, nil
}

// key tells different wants apart.
func (w Want) key() string {
	return fmt.Sprint(w.Length, w.Hashes)
}

func newHash(alg string) hash.Hash {
	if alg == "sha512" {
		return sha512.New()
	}
	return sha256.New()
}

// verifier hashes what is written to it and compares it with what is wanted.
type verifier struct {
	want   Want
	n      int64
	hashes map[string]hash.Hash
}

func newVerifier(want Want) *verifier {
	// SHA-256 is always taken: it is the evidence in an error.
	v := &verifier{want: want, hashes: map[string]hash.Hash{"sha256": sha256.New()}}
	for alg := range want.Hashes {
		v.hashes[alg] = newHash(alg)
	}
	return v
}

// fits tells whether n more bytes stay within the signed length.
func (v *verifier) fits(n int) bool { return int64(n) <= v.want.Length-v.n }

// Write hashes p. It fails as soon as there is one byte more than wanted.
func (v *verifier) Write(p []byte) (int, error) {
	if !v.fits(len(p)) {
		return 0, v.mismatch("has more than the signed %d bytes", v.want.Length)
	}
	v.n += int64(len(p))
	for _, h := range v.hashes {
		h.Write(p)
	}
	return len(p), nil
}

func (v *verifier) reset() {
	v.n = 0
	for _, h := range v.hashes {
		h.Reset()
	}
}

// verdict compares length and every hash (specification, 5.7.3).
func (v *verifier) verdict() error {
	if v.n != v.want.Length {
		return v.mismatch("has %d bytes where %d are signed", v.n, v.want.Length)
	}
	for _, alg := range algorithms {
		signed, ok := v.want.Hashes[alg]
		if got := v.sum(alg); ok && got != signed {
			return v.mismatch("has the %s %s where %s is signed", alg, got, signed)
		}
	}
	return nil
}

func (v *verifier) sum(alg string) string {
	h, ok := v.hashes[alg]
	if !ok {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (v *verifier) mismatch(format string, args ...any) error {
	e := tuferr.New(protocol.CodeMismatch, "the file "+format, args...)
	e.Digest, e.Spec, e.Engine = v.sum("sha256"), "5.7.3", "host"
	e.Hint = "the file was changed after it was signed: nothing was kept; try another mirror, and tell the publisher"
	return e
}
