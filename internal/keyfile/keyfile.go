package keyfile

import (
	"context"
	"crypto"
	"errors"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
)

// Algorithm is the kind of a new key.
type Algorithm string

// The kinds of keys that are made.
const (
	// RSA makes keys of 2048 bits that sign with RSA-PSS-SHA256. The default.
	RSA Algorithm = "rsa"
	// Ed25519 makes Ed25519 keys.
	Ed25519 Algorithm = "ed25519"
	// ECDSA makes keys on the curve P-256 that sign with SHA-256.
	ECDSA Algorithm = "ecdsa"
)

// ParseAlgorithm returns the algorithm that s names, RSA for "".
func ParseAlgorithm(s string) (Algorithm, error) { return "", errors.ErrUnsupported }

// Key is a key file. Its public half is known, its private half is read when it
// is needed. It is not changed by its methods and may be used concurrently.
type Key struct {
	// Name is the name of the private file without its extension.
	Name string
	// Path is the private file.
	Path   string
	Public Public
}

// Public is a public key and what metadata needs of it.
type Public struct {
	// ID is the TUF keyid: the hex SHA-256 of the key object in canonical JSON.
	ID string
	// Key is the key object.
	Key admission.Key
	// Fingerprint tells keys apart, however they are spelled.
	Fingerprint keys.Fingerprint
}

// Generate makes a key NAME in dir, which it makes if it is not there. Nothing
// is overwritten, and of several calls with one name exactly one succeeds.
// Killed at any moment it leaves the whole key or none. With [Plain] as pass the
// key is not encrypted.
func Generate(ctx context.Context, dir, name string, alg Algorithm, pass Passphrase) (*Key, error) {
	return nil, errors.ErrUnsupported
}

// List returns the keys of a directory, sorted by name. If some cannot be used
// it returns the others and an error that joins one for each.
func List(dir string) ([]*Key, error) { return nil, errors.ErrUnsupported }

// Open returns the key of one private file. No passphrase is needed yet.
func Open(path string) (*Key, error) { return nil, errors.ErrUnsupported }

// Signer decrypts the private half, holds it against the public one, and
// returns what signs with it. A plain key needs no passphrase, and pass may be
// nil.
func (k *Key) Signer(ctx context.Context, pass Passphrase) (signature.Signer, error) {
	return nil, errors.ErrUnsupported
}

// ReadPublic reads a public key from a file: PEM, or the JSON of a TUF key
// object (keytype, scheme, keyval), which keeps its spelling.
func ReadPublic(path string) (Public, error) { return Public{}, errors.ErrUnsupported }

// PublicOf spells a public key as go-tuf and python-tuf do.
func PublicOf(pub crypto.PublicKey) (Public, error) { return Public{}, errors.ErrUnsupported }

// PublicOfSigner is [PublicOf] the key of any signer, such as one in a KMS or a
// PKCS#11 token.
func PublicOfSigner(s signature.Signer) (Public, error) { return Public{}, errors.ErrUnsupported }
