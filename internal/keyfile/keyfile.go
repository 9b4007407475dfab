package keyfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	extPrivate = ".key"
	// extLegacy is what the private files of older repositories end in.
	extLegacy = ".pem"
	extPublic = ".pub"
)

// Key is a key file. Its public half is known, its private half is read when it
// is needed. It is not changed by its methods and may be used concurrently.
type Key struct {
	// Name is the name of the private file without its extension.
	Name string
	// Path is the private file.
	Path   string
	Public Public
	// Encrypted says that the private half needs a passphrase.
	Encrypted bool
}

// Open returns the key of one private file, which may be reached by a symbolic
// link. It needs no passphrase: of an encrypted key it takes the public half as
// claimed. If there is a .pub file beside, it must hold the same key.
func Open(path string) (*Key, error) {
	c, err := readContainer(path)
	if err != nil {
		return nil, err
	}
	defer c.wipe()
	stem := path
	if ext := filepath.Ext(path); ext == extPrivate || ext == extLegacy {
		stem = strings.TrimSuffix(path, ext)
	}
	pub, err := c.public(path, stem+extPublic)
	if err != nil {
		return nil, err
	}
	return &Key{Name: filepath.Base(stem), Path: path, Public: pub, Encrypted: c.encrypted()}, nil
}

// public returns the public half, about which all that is known must agree.
func (c *container) public(path, beside string) (Public, error) {
	var known []Public
	if !c.encrypted() {
		private, err := c.open(nil)
		if err != nil {
			return Public{}, at(path, err)
		}
		own, err := PublicOf(private.Public())
		if err != nil {
			return Public{}, at(path, err)
		}
		known = append(known, own)
	}
	if c.claimed != nil {
		known = append(known, *c.claimed)
	}
	p, err := ReadPublic(beside)
	switch {
	case err == nil:
		known = append(known, p)
	case !errors.Is(err, fs.ErrNotExist):
		return Public{}, err
	case len(known) == 0:
		return Public{}, wrong(protocol.CodeLocalIO, path, err, "put its public key beside it, as "+beside)
	}
	for _, p := range known[1:] {
		if p.Fingerprint != known[0].Fingerprint {
			return Public{}, wrong(protocol.CodeLocalIO, path, ErrMismatch,
				"find out who changed "+beside+" or the key file; then restore both from a backup")
		}
	}
	return known[0], nil
}

// List returns the keys of a directory: its files *.key and *.pem, sorted by
// name. If some of them cannot be used it returns the others, and an error that
// joins one for each.
func List(dir string) ([]*Key, error) {
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, systemError(dir, err)
	}
	var list []*Key
	var bad []error
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if strings.HasPrefix(e.Name(), ".") || ext != extPrivate && ext != extLegacy {
			continue
		}
		if k, err := Open(filepath.Join(dir, e.Name())); err != nil {
			bad = append(bad, err)
		} else {
			list = append(list, k)
		}
	}
	slices.SortStableFunc(list, func(a, b *Key) int { return strings.Compare(a.Name, b.Name) })
	return list, errors.Join(bad...)
}

// Signer decrypts the private half, holds it against the public one, and
// returns what signs with it. A plain key needs no passphrase, and pass may be
// nil. When ctx ends the passphrase is no longer waited for; the decryption takes
// up to a second.
func (k *Key) Signer(ctx context.Context, pass Passphrase) (signature.Signer, error) {
	if err := ctx.Err(); err != nil {
		return nil, systemError(k.Path, err)
	}
	c, err := readContainer(k.Path)
	if err != nil {
		return nil, err
	}
	defer c.wipe()
	var phrase []byte
	if c.encrypted() {
		if phrase, err = ask(ctx, pass, k.Path, false); err != nil {
			return nil, err
		}
		defer clear(phrase)
	}
	private, err := c.open(phrase)
	if err != nil {
		return nil, at(k.Path, err)
	}
	pub, err := PublicOf(private.Public())
	if err != nil {
		return nil, at(k.Path, err)
	}
	if pub.Fingerprint != k.Public.Fingerprint {
		return nil, wrong(protocol.CodeLocalIO, k.Path, ErrMismatch, "find out who changed it; then restore both halves from a backup")
	}
	return signerOf(private)
}
