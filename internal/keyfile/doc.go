// Package keyfile keeps the private keys of a repository in files: it makes,
// encrypts, finds and opens them.
//
// A key NAME is the file NAME.key, for its owner only (0600, in a directory of
// 0700), and NAME.pub beside it, the public half for others, in PEM. NAME.key
// holds one of
//
//   - ENCRYPTED SIGSTORE PRIVATE KEY: PKCS#8, encrypted under a passphrase as
//     cosign does it (scrypt and NaCl secretbox, go-securesystemslib/encrypted),
//     followed by the public half as a second PEM block, PUBLIC KEY
//   - PRIVATE KEY: PKCS#8 in plain, where the user explicitly wants that
//
// so that this one file, which comes into being in one step, is the whole key.
// NAME.pem is read as well, and so are encrypted keys of other tools, which need
// their NAME.pub. What a file says of the public half of an encrypted key is a
// claim: [Key.Signer] holds the private half against it.
//
// A medium that keeps no permissions, such as FAT, is refused as long as all it
// holds looks like everybody's: mounted with uid= and umask=077 it does not.
//
// The passphrase of a new key has at least [MinPassphrase] characters; those that
// are there are opened with whatever opens them. It is made a key by scrypt with N = 2^17, r = 8, p = 1: 128 MiB
// and a third of a second to a second of work for whoever guesses. No key file
// can ask for more.
//
// Errors are *tuferr.Error. They never repeat what stands in a file. On systems
// without Unix permissions, who else can reach a file is not checked.
package keyfile

import "errors"

// What is wrong with a key, for errors.Is. A file that other users can reach has
// the code permissions instead.
var (
	// ErrExists: there is a key of that name, and it is never overwritten.
	ErrExists = errors.New("a key of that name is already there")
	// ErrName: not a name that is a good file name everywhere.
	ErrName = errors.New("not a name for a key")
	// ErrPassphrase: the passphrase is wrong, or the encrypted part of the file
	// was changed; the cipher cannot tell.
	ErrPassphrase = errors.New("wrong passphrase, or the key file was changed")
	// ErrNoPassphrase: a source has no passphrase; [FirstOf] asks the next one.
	ErrNoPassphrase = errors.New("no passphrase was given")
	// ErrDamaged: the file is cut off, changed, or was never a key.
	ErrDamaged = errors.New("the file is damaged or no key at all")
	// ErrNotPrivate: a private key was expected, and the file holds something else.
	ErrNotPrivate = errors.New("the file holds no private key")
	// ErrNotPublic: a public key was expected, and the file holds something else.
	ErrNotPublic = errors.New("the file holds no public key")
	// ErrUnsupported: a kind of key, or of encryption, that is not used here.
	ErrUnsupported = errors.New("unsupported kind of key")
	// ErrMismatch: the public half does not belong to the private one.
	ErrMismatch = errors.New("the public half is of another key")
)
