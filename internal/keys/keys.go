// Package keys decodes the public keys of TUF metadata and decides which of
// them can count towards a threshold. Both engines and the host follow this
// one list: a key that is not on it, or cannot be decoded, is ignored; it never
// condemns the file that lists it.
//
//	keytype                        scheme               key
//	ed25519                        ed25519              32 bytes, hex
//	rsa                            rsassa-pss-sha256    PEM, 2048 to 16384 bits
//	ecdsa, ecdsa-sha2-nistp256     ecdsa-sha2-nistp256  PEM, P-256
//	ecdsa, ecdsa-sha2-nistp384     ecdsa-sha2-nistp384  PEM, P-384
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// The sizes of RSA keys that count, in bits (specification, 4.2.1: at least 2048).
const (
	MinRSABits = 2048
	MaxRSABits = 16384
)

// Fingerprint identifies key material: the SHA-256 of the DER encoded
// SubjectPublicKeyInfo. Two keyids, keytype aliases or spellings of one key
// have the same fingerprint.
type Fingerprint [sha256.Size]byte

// Public is a key that can count.
type Public struct {
	Fingerprint Fingerprint
	verify      func(message, sig []byte) bool
}

// Verify says whether sig is a signature of message by the key.
func (p *Public) Verify(message, sig []byte) bool { return p.verify(message, sig) }

// Decode returns the key, or why it cannot count.
func Decode(k admission.Key) (*Public, error) {
	var pub crypto.PublicKey
	var verify func(message, sig []byte) bool
	var err error
	switch k.Scheme {
	case "ed25519":
		pub, verify, err = decodeEd25519(k)
	case "rsassa-pss-sha256":
		pub, verify, err = decodeRSA(k)
	case "ecdsa-sha2-nistp256":
		pub, verify, err = decodeECDSA(k, elliptic.P256())
	case "ecdsa-sha2-nistp384":
		pub, verify, err = decodeECDSA(k, elliptic.P384())
	default:
		err = errors.New("unknown scheme")
	}
	if err != nil {
		return nil, fmt.Errorf("key of type %.32q, scheme %.32q cannot count: %w", k.Type, k.Scheme, err)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("key cannot count: %w", err)
	}
	return &Public{Fingerprint: sha256.Sum256(der), verify: verify}, nil
}

var errType = errors.New("keytype and scheme do not belong together")

func decodeEd25519(k admission.Key) (crypto.PublicKey, func(m, s []byte) bool, error) {
	if k.Type != "ed25519" {
		return nil, nil, errType
	}
	raw, err := hex.DecodeString(k.Public)
	if err != nil {
		return nil, nil, err
	}
	if len(raw) != ed25519.PublicKeySize {
		return nil, nil, fmt.Errorf("%d bytes, want %d", len(raw), ed25519.PublicKeySize)
	}
	pub := ed25519.PublicKey(raw)
	return pub, func(m, s []byte) bool { return ed25519.Verify(pub, m, s) }, nil
}

func decodeRSA(k admission.Key) (crypto.PublicKey, func(m, s []byte) bool, error) {
	if k.Type != "rsa" {
		return nil, nil, errType
	}
	pub, ok := decodePEM(k.Public).(*rsa.PublicKey)
	if !ok {
		return nil, nil, errors.New("not an RSA public key in PEM")
	}
	if n := pub.N.BitLen(); n < MinRSABits || n > MaxRSABits {
		return nil, nil, fmt.Errorf("%d bits, want %d to %d", n, MinRSABits, MaxRSABits)
	}
	return pub, func(m, s []byte) bool {
		digest := sha256.Sum256(m)
		return rsa.VerifyPSS(pub, crypto.SHA256, digest[:], s, nil) == nil
	}, nil
}

func decodeECDSA(k admission.Key, curve elliptic.Curve) (crypto.PublicKey, func(m, s []byte) bool, error) {
	if k.Type != "ecdsa" && k.Type != k.Scheme {
		return nil, nil, errType
	}
	pub, ok := decodePEM(k.Public).(*ecdsa.PublicKey)
	if !ok || pub.Curve != curve {
		return nil, nil, fmt.Errorf("not a %s public key in PEM", curve.Params().Name)
	}
	return pub, func(m, s []byte) bool {
		if curve == elliptic.P384() {
			digest := sha512.Sum384(m)
			return ecdsa.VerifyASN1(pub, digest[:], s)
		}
		digest := sha256.Sum256(m)
		return ecdsa.VerifyASN1(pub, digest[:], s)
	}, nil
}

// decodePEM returns nil for anything but one public key.
func decodePEM(s string) crypto.PublicKey {
	block, _ := pem.Decode([]byte(s))
	if block == nil {
		return nil
	}
	var pub crypto.PublicKey
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		pub, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		pub, err = x509.ParsePKCS1PublicKey(block.Bytes)
	}
	if err != nil {
		return nil
	}
	return pub
}
