package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Passphrase gives the passphrase of a key file.
type Passphrase = keyfile.Passphrase

// PlainKeys is the Passphrase with which new keys are stored unencrypted.
var PlainKeys Passphrase = keyfile.Plain

// Keys says where the keys are that sign. Which key signs for which role is told
// by metadata, never by a file's name. The zero value is DIR/keys alone, without
// encrypted keys.
type Keys struct {
	// Dirs are directories with key files, asked after DIR/keys: for example a
	// medium that is attached only to sign.
	Dirs []string
	// Passphrase opens encrypted key files, and encrypts new ones.
	Passphrase Passphrase
	// Signers are keys that are no files, such as those of a KMS or an HSM.
	Signers []signature.Signer
}

// ring is the keys at hand, by what they verify.
type ring map[keys.Fingerprint]ringKey

type ringKey struct {
	name   string
	public keyfile.Public
	open   func(context.Context) (signature.Signer, error)
}

// ring lists the keys at hand. None is opened yet. The error, if any, is about
// keys that cannot be used, beside those that can.
func (r *Repository) ring() (ring, error) {
	all := ring{}
	var unusable []error
	for i, dir := range append([]string{filepath.Join(r.dir, keysName)}, r.keys.Dirs...) {
		list, err := keyfile.List(dir)
		if err != nil && (i > 0 || !errors.Is(err, fs.ErrNotExist)) {
			unusable = append(unusable, err)
		}
		for _, k := range list {
			if _, known := all[k.Public.Fingerprint]; !known {
				all[k.Public.Fingerprint] = ringKey{k.Name, k.Public, func(ctx context.Context) (signature.Signer, error) {
					return k.Signer(ctx, r.keys.Passphrase)
				}}
			}
		}
	}
	for i, s := range r.keys.Signers {
		public, err := keyfile.PublicOfSigner(s)
		if err != nil {
			unusable = append(unusable, &Error{Code: protocol.CodeUsage, Msg: fmt.Sprintf("signer number %d cannot be used", i+1), Err: err})
			continue
		}
		all[public.Fingerprint] = ringKey{"signer " + public.ID[:8], public, func(context.Context) (signature.Signer, error) { return s, nil }}
	}
	return all, errors.Join(unusable...)
}

// find returns the key at hand that a key of metadata stands for.
func (r ring) find(k admission.Key) (ringKey, bool) {
	public, err := keys.Decode(k)
	if err != nil {
		return ringKey{}, false
	}
	found, ok := r[public.Fingerprint]
	return found, ok
}
