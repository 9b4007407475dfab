package tuftest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"embed"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
)

// The kinds of keys.
const (
	Ed25519   = "ed25519"
	ECDSA     = "ecdsa"
	ECDSAP384 = "ecdsa-p384"
	RSA       = "rsa"
	RSA1024   = "rsa-1024"
)

// The RSA keys are of no worth to anybody: they are here because making them
// at each test run is slow.
//
//go:embed testdata/*.pem
var rsaKeys embed.FS

// Key is a key pair and the way it is written in metadata. A changed copy, see
// [Key.With], still signs with the same private key.
type Key struct {
	// ID is the keyid: the digest of the key's canonical form, unless replaced.
	ID string
	// Type, Scheme and Public are the fields of the key object.
	Type, Scheme, Public string
	// Extra fields join the key object, or replace its fields.
	Extra Map

	sign func(message []byte) []byte
}

// NewKey returns the n-th key of a kind: always the same key for the same n.
// There are four keys of kind "rsa", two of kind "rsa-1024", and any number of
// the others.
func NewKey(kind string, n int) *Key {
	seed := sha256.Sum256(fmt.Appendf(nil, "tuftest %s %d", kind, n))
	var k *Key
	switch kind {
	case Ed25519:
		private := ed25519.NewKeyFromSeed(seed[:])
		k = &Key{Type: kind, Scheme: kind, Public: hex.EncodeToString(private.Public().(ed25519.PublicKey)),
			sign: func(m []byte) []byte { return ed25519.Sign(private, m) }}
	case ECDSA:
		k = newECDSA("ecdsa-sha2-nistp256", elliptic.P256(), crypto.SHA256, seed[:])
	case ECDSAP384:
		k = newECDSA("ecdsa-sha2-nistp384", elliptic.P384(), crypto.SHA384, append(make([]byte, 16), seed[:]...))
	case RSA:
		k = newRSA(fmt.Sprintf("testdata/rsa-2048-%d.pem", n))
	case RSA1024:
		k = newRSA(fmt.Sprintf("testdata/rsa-1024-%d.pem", n))
	default:
		panic("tuftest: no such kind of key: " + kind)
	}
	k.ID = k.defaultID()
	return k
}

// Keys returns the ed25519 keys from..from+count-1.
func Keys(from, count int) []*Key {
	keys := make([]*Key, count)
	for i := range keys {
		keys[i] = NewKey(Ed25519, from+i)
	}
	return keys
}

func newECDSA(scheme string, curve elliptic.Curve, hash crypto.Hash, seed []byte) *Key {
	private, err := ecdsa.ParseRawPrivateKey(curve, seed)
	if err != nil {
		panic(err)
	}
	return &Key{Type: "ecdsa", Scheme: scheme, Public: encodePublic(private.Public()),
		sign: func(m []byte) []byte { return must(private.Sign(nil, digest(hash, m), hash)) }}
}

func newRSA(file string) *Key {
	block, _ := pem.Decode(must(rsaKeys.ReadFile(file)))
	private := must(x509.ParsePKCS8PrivateKey(block.Bytes)).(*rsa.PrivateKey)
	options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	return &Key{Type: "rsa", Scheme: "rsassa-pss-sha256", Public: encodePublic(private.Public()),
		sign: func(m []byte) []byte { return must(private.Sign(rand.Reader, digest(crypto.SHA256, m), options)) }}
}

func digest(hash crypto.Hash, message []byte) []byte {
	if hash == crypto.SHA384 {
		d := sha512.Sum384(message)
		return d[:]
	}
	d := sha256.Sum256(message)
	return d[:]
}

func encodePublic(public crypto.PublicKey) string {
	der := must(x509.MarshalPKIXPublicKey(public))
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// JSON returns the key as it stands in metadata.
func (k *Key) JSON() Map {
	m := Map{"keytype": k.Type, "scheme": k.Scheme, "keyval": Map{"public": k.Public}}
	maps.Copy(m, k.Extra)
	return m
}

// Sign signs a message.
func (k *Key) Sign(message []byte) []byte { return k.sign(message) }

// With returns a copy of the key that edit has changed: another spelling of the
// same key. Its keyid is computed anew unless edit changes it.
func (k *Key) With(edit func(*Key)) *Key {
	c := *k
	c.Extra = maps.Clone(k.Extra)
	edit(&c)
	if c.ID == k.ID {
		c.ID = c.defaultID()
	}
	return &c
}

// As returns a copy of the key under another keyid.
func (k *Key) As(id string) *Key {
	c := *k
	c.ID = id
	return &c
}

func (k *Key) defaultID() string { return SHA256(Canonical(k.JSON())) }

// SHA256 returns the hex SHA-256 digest of data.
func SHA256(data []byte) string {
	d := sha256.Sum256(data)
	return hex.EncodeToString(d[:])
}

// SHA512 returns the hex SHA-512 digest of data.
func SHA512(data []byte) string {
	d := sha512.Sum512(data)
	return hex.EncodeToString(d[:])
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
