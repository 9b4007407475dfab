package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"io/fs"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Public is a public key and what metadata needs of it.
type Public struct {
	// ID is the TUF keyid: the hex SHA-256 of the key object in canonical JSON
	// (specification, 4.2.1).
	ID string
	// Key is the key object.
	Key admission.Key
	// Fingerprint tells keys apart, however they are spelled.
	Fingerprint keys.Fingerprint
}

const supported = "use RSA of 2048 to 16384 bits, ECDSA on P-256, or Ed25519"

// The PEM types that sigstore does not name.
const (
	pemPublic    = string(cryptoutils.PublicKeyPEMType)
	pemPublicRSA = string(cryptoutils.PKCS1PublicKeyPEMType)
)

// PublicOf spells a public key as go-tuf and python-tuf do. Other keys than
// those that [Generate] makes, and longer RSA keys, are ErrUnsupported.
func PublicOf(pub crypto.PublicKey) (Public, error) {
	k := admission.Key{}
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		k.Type, k.Scheme = "rsa", "rsassa-pss-sha256"
	case *ecdsa.PublicKey:
		if pub.Curve == elliptic.P256() {
			k.Type, k.Scheme = "ecdsa", "ecdsa-sha2-nistp256"
		}
	case ed25519.PublicKey:
		return publicOf(admission.Key{Type: "ed25519", Scheme: "ed25519", Public: hex.EncodeToString(pub)})
	}
	if k.Type == "" {
		return Public{}, wrong(protocol.CodeUsage, "", ErrUnsupported, supported)
	}
	text, err := cryptoutils.MarshalPublicKeyToPEM(pub)
	if err != nil {
		return Public{}, wrong(protocol.CodeUsage, "", ErrUnsupported, supported)
	}
	k.Public = string(text)
	return publicOf(k)
}

// publicOf adds keyid and fingerprint to a key object.
func publicOf(k admission.Key) (Public, error) {
	decoded, err := keys.Decode(k)
	if err != nil || k.Scheme == "ecdsa-sha2-nistp384" {
		return Public{}, wrong(protocol.CodeUsage, "", ErrUnsupported, supported)
	}
	canonical, err := cjson.EncodeCanonical(map[string]any{
		"keytype": k.Type, "scheme": k.Scheme, "keyval": map[string]any{"public": k.Public},
	})
	if err != nil {
		return Public{}, &tuferr.Error{Code: protocol.CodeInternal, Msg: "cannot make the keyid", Err: err}
	}
	digest := sha256.Sum256(canonical)
	return Public{ID: hex.EncodeToString(digest[:]), Key: k, Fingerprint: decoded.Fingerprint}, nil
}

// PublicOfSigner is [PublicOf] the key of any signer, such as one in a KMS or a
// PKCS#11 token.
func PublicOfSigner(s signature.Signer) (Public, error) {
	pub, err := s.PublicKey()
	if err != nil {
		return Public{}, &tuferr.Error{Code: protocol.CodeLocalIO, Msg: "the signer does not tell its public key", Err: err}
	}
	return PublicOf(pub)
}

// ReadPublic reads a public key from a file: PEM, or the JSON of a TUF key
// object (keytype, scheme, keyval), which keeps its spelling.
func ReadPublic(path string) (Public, error) {
	data, err := readFile(path, func(fs.FileInfo) error { return nil })
	if err != nil {
		return Public{}, err
	}
	defer clear(data) // It may be a private key, given by mistake.
	p, err := parsePublic(data)
	return p, at(path, err)
}

// at names the file in an error that has none yet.
func at(path string, err error) error {
	if e := tuferr.As(err); e != nil && e.Path == "" {
		e.Path = path
	}
	return err
}

func parsePublic(data []byte) (Public, error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return parseObject(data)
	}
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return Public{}, wrong(protocol.CodeLocalIO, "", ErrDamaged, "get the file from the owner of the key again")
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return Public{}, givenPrivate()
	case block.Type != pemPublic && block.Type != pemPublicRSA:
		return Public{}, wrong(protocol.CodeUsage, "", ErrNotPublic, "give the public key in PEM, or as a TUF key object")
	case len(bytes.TrimSpace(rest)) != 0:
		return Public{}, wrong(protocol.CodeUsage, "", ErrNotPublic, "give a file with one public key and nothing after it")
	}
	return parseBlock(block)
}

func givenPrivate() error {
	e := wrong(protocol.CodeUsage, "", ErrNotPublic, "give the public half, such as NAME.pub; hand the private one to nobody")
	e.Msg = "the file holds a private key where a public one is wanted"
	return e
}

func parseBlock(block *pem.Block) (Public, error) {
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(pem.EncodeToMemory(block))
	if err != nil {
		return Public{}, wrong(protocol.CodeLocalIO, "", ErrDamaged, "or it is of an unsupported kind: "+supported)
	}
	return PublicOf(pub)
}

// keyObject is the specification's key object. Private is what old tools put
// beside the public half.
type keyObject struct {
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Value  struct {
		Public  string         `json:"public"`
		Private jsontext.Value `json:"private"`
	} `json:"keyval"`
}

func parseObject(data []byte) (Public, error) {
	var o keyObject
	if err := json.Unmarshal(data, &o); err != nil {
		return Public{}, wrong(protocol.CodeLocalIO, "", ErrDamaged, "a TUF key object has keytype, scheme and keyval.public")
	}
	defer clear(o.Value.Private)
	if p := string(o.Value.Private); p != "" && p != "null" && p != `""` {
		return Public{}, givenPrivate()
	}
	return publicOf(admission.Key{Type: o.Type, Scheme: o.Scheme, Public: o.Value.Public})
}
