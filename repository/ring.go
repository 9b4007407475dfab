package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"

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
	name string
	// path is the private file, "" if it is none.
	path   string
	public keyfile.Public
	open   func(context.Context) (signature.Signer, error)
}

// ring lists the keys at hand. None is opened yet. The error, if any, is about
// keys that cannot be used, beside those that can.
func (r *Repository) ring() (ring, error) {
	list, unusable := r.listKeys()
	all, err := r.keys.ring(list)
	return all, errors.Join(unusable, err)
}

// ring returns the given key files and the signers, by what they verify.
func (k *Keys) ring(files []*keyfile.Key) (ring, error) {
	all := ring{}
	for _, file := range files {
		all.add(file, k.Passphrase)
	}
	var unusable []error
	for i, s := range k.Signers {
		public, err := keyfile.PublicOfSigner(s)
		if err != nil {
			unusable = append(unusable, &Error{Code: protocol.CodeUsage, Msg: fmt.Sprintf("signer number %d cannot be used", i+1), Err: err})
			continue
		}
		all[public.Fingerprint] = ringKey{name: "signer " + public.ID[:8], public: public,
			open: func(context.Context) (signature.Signer, error) { return s, nil }}
	}
	return all, errors.Join(unusable...)
}

// add adds a key file, unless its key is there already. It is opened once,
// however many roles it signs: to decrypt a key takes long.
func (r ring) add(k *keyfile.Key, pass Passphrase) {
	if _, known := r[k.Public.Fingerprint]; known {
		return
	}
	var opened signature.Signer
	r[k.Public.Fingerprint] = ringKey{k.Name, k.Path, k.Public, func(ctx context.Context) (signature.Signer, error) {
		if opened != nil {
			return opened, nil
		}
		var err error
		opened, err = k.Signer(ctx, pass)
		return opened, err
	}}
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

// sign opens the key and signs.
func (k ringKey) sign(ctx context.Context, message []byte) ([]byte, error) {
	signer, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	sig, err := signer.SignMessage(bytes.NewReader(message))
	if err != nil {
		return nil, &Error{Code: protocol.CodeInternal, Msg: "the key " + k.name + " cannot sign", Err: err}
	}
	return sig, nil
}
