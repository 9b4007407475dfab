package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// TestSpelledAsGoTUFDoes: keytype, scheme, public part and keyid.
func TestSpelledAsGoTUFDoes(t *testing.T) {
	for _, alg := range []Algorithm{RSA, Ed25519, ECDSA} {
		pub := newPrivate(t, alg).Public()
		got, err := PublicOf(pub)
		require.NoError(t, err)
		want, err := metadata.KeyFromPublicKey(pub)
		require.NoError(t, err)
		id, err := want.ID()
		require.NoError(t, err)
		require.Equal(t, id, got.ID)
		require.Equal(t, want.Type, got.Key.Type)
		require.Equal(t, want.Scheme, got.Key.Scheme)
		require.Equal(t, want.Value.PublicKey, got.Key.Public)

		// The same as a TUF key object and as PEM.
		object, err := json.Marshal(want)
		require.NoError(t, err)
		for _, file := range [][]byte{object, publicPEM(pub), append([]byte("\n "), object...), append([]byte("a comment\n"), publicPEM(pub)...)} {
			read, err := ReadPublic(put(t, filepath.Join(t.TempDir(), "a.pub"), file))
			require.NoError(t, err)
			require.Equal(t, got, read)
		}
	}
}

// TestKeyObjectKeepsItsSpelling, and with it the keyid that others know; the
// fingerprint tells that it is the same key.
func TestKeyObjectKeepsItsSpelling(t *testing.T) {
	pub := newPrivate(t, ECDSA).Public()
	standard, err := PublicOf(pub)
	require.NoError(t, err)
	key := &metadata.Key{Type: "ecdsa-sha2-nistp256", Scheme: "ecdsa-sha2-nistp256",
		Value: metadata.KeyVal{PublicKey: strings.TrimSpace(standard.Key.Public)}}
	id, err := key.ID()
	require.NoError(t, err)
	object, err := json.Marshal(key)
	require.NoError(t, err)
	read, err := ReadPublic(put(t, filepath.Join(t.TempDir(), "a.pub"), object))
	require.NoError(t, err)
	require.Equal(t, id, read.ID)
	require.NotEqual(t, standard.ID, read.ID)
	require.Equal(t, "ecdsa-sha2-nistp256", read.Key.Type)
	require.Equal(t, standard.Fingerprint, read.Fingerprint)
}

func TestBadPublicFiles(t *testing.T) {
	ed := newPrivate(t, Ed25519)
	own := publicPEM(ed.Public())
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	der384, err := x509.MarshalPKIXPublicKey(p384.Public())
	require.NoError(t, err)
	pem384 := pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der384})
	text384, err := json.Marshal(string(pem384))
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		data  string
		code  protocol.Code
		cause error
	}{
		"empty":               {"", protocol.CodeLocalIO, ErrDamaged},
		"text":                {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ", protocol.CodeLocalIO, ErrDamaged},
		"cut off":             {string(own[:60]), protocol.CodeLocalIO, ErrDamaged},
		"garbage in PEM":      {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", protocol.CodeLocalIO, ErrDamaged},
		"two":                 {string(own) + string(own), protocol.CodeUsage, ErrNotPublic},
		"text after it":       {string(own) + "and a note", protocol.CodeUsage, ErrNotPublic},
		"certificate":         {strings.ReplaceAll(string(own), "PUBLIC KEY", "CERTIFICATE"), protocol.CodeUsage, ErrNotPublic},
		"plain private key":   {string(plainKey(t, ed)), protocol.CodeUsage, ErrNotPublic},
		"encrypted key":       {string(sample()), protocol.CodeUsage, ErrNotPublic},
		"P-384":               {string(pem384), protocol.CodeUsage, ErrUnsupported},
		"RSA of 1024 bits":    {tuftest.NewKey(tuftest.RSA1024, 0).Public, protocol.CodeUsage, ErrUnsupported},
		"object: P-384":       {`{"keytype":"ecdsa","scheme":"ecdsa-sha2-nistp384","keyval":{"public":` + string(text384) + `}}`, protocol.CodeUsage, ErrUnsupported},
		"object: empty":       {`{}`, protocol.CodeUsage, ErrUnsupported},
		"object: cut off":     {`{"keytype":"ed25519"`, protocol.CodeLocalIO, ErrDamaged},
		"object: twice":       {`{"keytype":"ed25519","keytype":"rsa"}`, protocol.CodeLocalIO, ErrDamaged},
		"object: number":      {`{"keytype":7}`, protocol.CodeLocalIO, ErrDamaged},
		"object: two":         {`{} {}`, protocol.CodeLocalIO, ErrDamaged},
		"object: short":       {`{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"abcdef"}}`, protocol.CodeUsage, ErrUnsupported},
		"object: private too": {`{"keytype":"ed25519","scheme":"ed25519","keyval":{"private":"8f40c5adb68f2562"}}`, protocol.CodeUsage, ErrNotPublic},
		"object: other case":  {`{"Keytype":"ed25519","scheme":"ed25519","keyval":{"public":"` + strings.Repeat("ab", 32) + `"}}`, protocol.CodeUsage, ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			path := put(t, filepath.Join(t.TempDir(), "a.pub"), []byte(tt.data))
			_, err := ReadPublic(path)
			e := requireError(t, err, tt.code, tt.cause)
			require.Equal(t, path, e.Path)
			require.NotEmpty(t, e.Hint)
			requireSilent(t, err, []byte(tt.data))
		})
	}
	for _, pub := range []crypto.PublicKey{nil, "x", p384.Public(), ed25519.PublicKey("short")} {
		_, err := PublicOf(pub)
		requireError(t, err, protocol.CodeUsage, ErrUnsupported)
	}
}

// TestEmptyPrivatePart: old tools write "private": "" into public key objects.
func TestEmptyPrivatePart(t *testing.T) {
	public, err := PublicOf(newPrivate(t, Ed25519).Public())
	require.NoError(t, err)
	for _, private := range []string{`""`, "null"} {
		read, err := parsePublic([]byte(`{"keytype":"ed25519","scheme":"ed25519","keyid_hash_algorithms":["sha256"],` +
			`"keyval":{"public":"` + public.Key.Public + `","private":` + private + `}}`))
		require.NoError(t, err)
		require.Equal(t, public, read)
	}
}

// silent is a signer that does not tell its public key.
type silent struct{}

func (silent) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return nil, errors.New("the token is not there")
}

func (silent) SignMessage(io.Reader, ...signature.SignOption) ([]byte, error) { return nil, nil }

func TestPublicOfSigner(t *testing.T) {
	_, err := PublicOfSigner(silent{})
	requireError(t, err, protocol.CodeLocalIO, nil)
	require.ErrorContains(t, err, "the token is not there")
}

// TestPSSSalt: the salt of RSA-PSS is as long as the hash.
func TestPSSSalt(t *testing.T) {
	private := newPrivate(t, RSA)
	signer, err := signerOf(private)
	require.NoError(t, err)
	sig, err := signer.SignMessage(bytes.NewReader([]byte("x")))
	require.NoError(t, err)
	verifier, err := signature.LoadRSAPSSVerifier(private.Public().(*rsa.PublicKey), crypto.SHA256,
		&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	require.NoError(t, err)
	require.NoError(t, verifier.VerifySignature(bytes.NewReader(sig), bytes.NewReader([]byte("x"))))
}
