package keyfile

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
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

const rsaBits = 2048

// ParseAlgorithm returns the algorithm that s names, RSA for "".
func ParseAlgorithm(s string) (Algorithm, error) {
	switch a := Algorithm(s); a {
	case "":
		return RSA, nil
	case RSA, Ed25519, ECDSA:
		return a, nil
	}
	return "", tuferr.New(protocol.CodeUsage, "unknown kind of key %.32q: use rsa, ed25519 or ecdsa", s)
}

func (a Algorithm) generate() (crypto.Signer, error) {
	switch a {
	case RSA:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	default:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
}

const maxName = 64

// A name is a good file name on every system, whether it looks at case or not.
var (
	namePattern  = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`)
	reservedName = regexp.MustCompile(`^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)`)
)

func checkName(name string) error {
	if len(name) <= maxName && namePattern.MatchString(name) &&
		!strings.Contains(name, "..") && !reservedName.MatchString(name) {
		return nil
	}
	e := wrong(protocol.CodeUsage, "", ErrName, "use at most 64 lower-case letters, digits and . _ -, "+
		"beginning and ending with a letter or digit; no device of Windows such as con or nul")
	e.Msg = tuferr.New(protocol.CodeUsage, "%.80q is %w", name, ErrName).Msg
	return e
}

// Generate makes a key NAME in dir, which it makes if it is not there. Nothing
// is overwritten, and of several calls with one name exactly one succeeds.
// Killed at any moment it leaves the whole key or none; only NAME.pub, which can
// be had from the key, may be missing. With [Plain] as pass the key is not
// encrypted.
func Generate(ctx context.Context, dir, name string, alg Algorithm, pass Passphrase) (*Key, error) {
	return generate(ctx, disk{}, dir, name, alg, pass)
}

func generate(ctx context.Context, d disk, dir, name string, alg Algorithm, pass Passphrase) (*Key, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	alg, err := ParseAlgorithm(string(alg))
	if err != nil {
		return nil, err
	}
	if err := d.makeDir(dir); err != nil {
		return nil, err
	}
	stem := filepath.Join(dir, name)
	if err := checkFree(stem); err != nil { // Before anybody is asked for a passphrase.
		return nil, err
	}
	phrase, err := ask(ctx, pass, stem+extPrivate, true)
	if err != nil && !errors.Is(err, errPlain) {
		return nil, err
	}
	defer clear(phrase)
	pub, private, err := newKey(alg, phrase)
	if err != nil {
		return nil, &tuferr.Error{Code: protocol.CodeInternal, Msg: "cannot make a key", Err: err}
	}
	defer clear(private)
	if err := d.add(ctx, stem, private, publicPEM(pub)); err != nil {
		return nil, err
	}
	p, err := PublicOf(pub)
	return &Key{Name: name, Path: stem + extPrivate, Public: p, Encrypted: phrase != nil}, err
}

// newKey makes a key and the content of its file, plain if passphrase is nil.
func newKey(alg Algorithm, passphrase []byte) (crypto.PublicKey, []byte, error) {
	key, err := alg.generate()
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	defer clear(der)
	if passphrase == nil {
		return key.Public(), pem.EncodeToMemory(&pem.Block{Type: pemPlain, Bytes: der}), nil
	}
	box, err := encrypted.EncryptWithCustomKDFParameters(der, passphrase, encrypted.OWASP)
	if err != nil {
		return nil, nil, err
	}
	file := pem.EncodeToMemory(&pem.Block{Type: pemEncrypted, Bytes: box})
	return key.Public(), append(file, publicPEM(key.Public())...), nil
}

func publicPEM(pub crypto.PublicKey) []byte {
	text, err := cryptoutils.MarshalPublicKeyToPEM(pub)
	if err != nil {
		panic(err) // Never: all kinds that are made can be marshaled.
	}
	return text
}

// checkFree refuses a name that is taken, were it by a lone public half.
func checkFree(stem string) error {
	for _, ext := range []string{extPrivate, extLegacy, extPublic} {
		_, err := os.Lstat(stem + ext)
		if err == nil {
			return wrong(protocol.CodeUsage, stem+ext, ErrExists, "choose another name; a key is never overwritten")
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return systemError(stem+ext, err)
		}
	}
	return nil
}
