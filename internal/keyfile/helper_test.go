package keyfile

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const secret = "correct horse battery staple"

// says is a source with one passphrase for all keys.
func says(phrase string) Passphrase {
	return func(context.Context, string, bool) ([]byte, error) { return []byte(phrase), nil }
}

// never is the source of what must need no passphrase.
func never(t *testing.T) Passphrase {
	return func(_ context.Context, path string, _ bool) ([]byte, error) {
		t.Errorf("asked for the passphrase of %s", path)
		return nil, ErrNoPassphrase
	}
}

// keyDir is a directory that is fit for keys.
func keyDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.Mkdir(dir, dirMode))
	return dir
}

func put(t *testing.T, path string, data []byte) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, data, privateMode))
	return path
}

func get(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

// sealed is the content of a file with an encrypted key.
func sealed(key crypto.Signer, level encrypted.KDFParameterStrength) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	box, err := encrypted.EncryptWithCustomKDFParameters(der, []byte(secret), level)
	if err != nil {
		panic(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: pemEncrypted, Bytes: box}), publicPEM(key.Public())...)
}

// sample is the content of a file with an Ed25519 key, encrypted with the cheapest
// parameters: with the usual ones the tests would take minutes.
var sample = sync.OnceValue(func() []byte {
	key, err := Ed25519.generate()
	if err != nil {
		panic(err)
	}
	return sealed(key, encrypted.Legacy)
})

// plainKey is the content of a file with a plain key.
func plainKey(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: pemPlain, Bytes: der})
}

func newPrivate(t *testing.T, a Algorithm) crypto.Signer {
	t.Helper()
	key, err := a.generate()
	require.NoError(t, err)
	return key
}

// requireSigns: what s signs verifies with p by the rules of both engines.
func requireSigns(t *testing.T, s signature.Signer, p Public) {
	t.Helper()
	message := []byte("what is signed")
	sig, err := s.SignMessage(bytes.NewReader(message))
	require.NoError(t, err)
	pub, err := keys.Decode(p.Key)
	require.NoError(t, err)
	require.True(t, pub.Verify(message, sig))
	require.Equal(t, pub.Fingerprint, p.Fingerprint)
}

// requireError: err is a typed error of that code with a path, for people.
func requireError(t *testing.T, err error, code protocol.Code, cause error) *tuferr.Error {
	t.Helper()
	e := tuferr.As(err)
	require.NotNil(t, e, "%v", err)
	require.Equal(t, code, e.Code, "%v", err)
	if cause != nil {
		require.ErrorIs(t, err, cause)
	}
	return e
}

// requireSilent: no part of content stands in the error.
func requireSilent(t *testing.T, err error, content []byte) {
	t.Helper()
	const part = 12
	text := []byte(err.Error())
	for i := range max(0, len(text)-part) {
		require.False(t, bytes.Contains(content, text[i:i+part]), "%q repeats %q", text, text[i:i+part])
	}
}
