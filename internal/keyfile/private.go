package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	pemPlain     = string(cryptoutils.PrivateKeyPEMType)
	pemEncrypted = string(cryptoutils.EncryptedSigstorePrivateKeyPEMType)
	// pemCosign is the older name of the same.
	pemCosign = "ENCRYPTED COSIGN PRIVATE KEY"

	restore = "restore the key file from a backup"
	convert = "convert it: openssl pkcs8 -topk8 -nocrypt -in OLD -out NAME.pem"
)

// container is a private key file as it was read. Call wipe after use.
type container struct {
	block *pem.Block
	// claimed is what the file says of the public half, nil if nothing.
	claimed *Public
}

func (c *container) wipe()           { clear(c.block.Bytes) }
func (c *container) encrypted() bool { return c.block.Type != pemPlain }

func readContainer(path string) (*container, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	c, err := parseContainer(data)
	return c, at(path, err)
}

func parseContainer(data []byte) (*container, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, wrong(protocol.CodeLocalIO, "", ErrDamaged, restore)
	}
	c := &container{block: block}
	if err := c.check(rest); err != nil {
		c.wipe()
		return nil, err
	}
	return c, nil
}

func (c *container) check(rest []byte) error {
	switch c.block.Type {
	case pemPlain:
	case pemEncrypted, pemCosign:
		if err := checkEnvelope(c.block.Bytes); err != nil {
			return err
		}
	case pemPublic, pemPublicRSA, "CERTIFICATE":
		return wrong(protocol.CodeUsage, "", ErrNotPrivate, "give the private half, such as NAME.key")
	default:
		return wrong(protocol.CodeUsage, "", ErrUnsupported, convert)
	}
	if len(bytes.TrimSpace(rest)) == 0 {
		return nil
	}
	claimed, err := parsePublic(rest)
	if err != nil {
		return wrong(protocol.CodeLocalIO, "", ErrDamaged, restore)
	}
	c.claimed = &claimed
	return nil
}

// envelope is what package encrypted writes. That package tells neither a wrong
// passphrase nor an unknown format from damage, so this is looked at first.
type envelope struct {
	KDF struct {
		Name   string `json:"name"`
		Params struct{ N, R, P int }
		Salt   []byte `json:"salt"`
	} `json:"kdf"`
	Cipher struct {
		Name  string `json:"name"`
		Nonce []byte `json:"nonce"`
	} `json:"cipher"`
	Ciphertext []byte `json:"ciphertext"`
}

// checkEnvelope refuses what cannot be decrypted whatever the passphrase, and
// what would cost more than a second and 128 MiB to try.
func checkEnvelope(data []byte) error {
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return wrong(protocol.CodeLocalIO, "", ErrDamaged, restore)
	}
	p := e.KDF.Params
	standard := (p.N == 1<<15 || p.N == 1<<16 || p.N == 1<<17) && p.R == 8 && p.P == 1
	switch {
	case e.KDF.Name != "scrypt" || !standard || e.Cipher.Name != "nacl/secretbox":
		err := wrong(protocol.CodeUsage, "", ErrUnsupported, restore)
		err.Msg = "unsupported encryption: want scrypt (N 2^15 to 2^17, r 8, p 1) and nacl/secretbox"
		return err
	case len(e.KDF.Salt) == 0 || len(e.Cipher.Nonce) != 24 || len(e.Ciphertext) == 0:
		return wrong(protocol.CodeLocalIO, "", ErrDamaged, restore)
	}
	return nil
}

// open returns the private key; passphrase is nil for a plain one.
func (c *container) open(passphrase []byte) (crypto.Signer, error) {
	if !c.encrypted() {
		return parsePKCS8(c.block.Bytes)
	}
	der, err := encrypted.Decrypt(c.block.Bytes, passphrase)
	if err != nil {
		return nil, wrong(protocol.CodeUsage, "", ErrPassphrase, "try again; if the passphrase is right, "+restore)
	}
	defer clear(der)
	return parsePKCS8(der)
}

func parsePKCS8(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil && !foreign(der) {
		return nil, wrong(protocol.CodeLocalIO, "", ErrDamaged, restore)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, wrong(protocol.CodeUsage, "", ErrUnsupported, supported)
	}
	return signer, nil
}

// foreign tells whether der is whole, but a key of an algorithm or a curve that
// the standard library does not know.
func foreign(der []byte) bool {
	var outer struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) != 0 {
		return false
	}
	switch id := outer.Algorithm.Algorithm.String(); id {
	case "1.2.840.113549.1.1.1", "1.3.101.112": // RSA, Ed25519
		return false
	case "1.2.840.10045.2.1": // ECDSA
		var curve asn1.ObjectIdentifier
		_, err := asn1.Unmarshal(outer.Algorithm.Parameters.FullBytes, &curve)
		return err != nil || curve.String() != "1.2.840.10045.3.1.7" // P-256
	}
	return true
}

// signerOf signs as the schemes of [PublicOf] demand. The salt of RSA-PSS is as
// long as the hash: some clients accept no other length.
func signerOf(key crypto.Signer) (signature.Signer, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return signature.LoadRSAPSSSigner(key, crypto.SHA256, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case *ecdsa.PrivateKey:
		return signature.LoadECDSASigner(key, crypto.SHA256)
	case ed25519.PrivateKey:
		return signature.LoadED25519Signer(key)
	}
	return nil, wrong(protocol.CodeUsage, "", ErrUnsupported, supported)
}
