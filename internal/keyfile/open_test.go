package keyfile

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// TestOldRepository: ROLE.pem, plain and without a public half, opens and is
// listed between the others.
func TestOldRepository(t *testing.T) {
	dir := keyDir(t)
	for _, role := range []string{"timestamp", "root"} {
		put(t, filepath.Join(dir, role+".pem"), plainKey(t, newPrivate(t, RSA)))
	}
	put(t, filepath.Join(dir, "snapshot.key"), sample())
	put(t, filepath.Join(dir, "README"), []byte("not a key"))
	put(t, filepath.Join(dir, "lone.pub"), []byte("not a key"))
	put(t, filepath.Join(dir, "._root.key"), []byte("what another system leaves"))
	list, err := List(dir)
	require.NoError(t, err)
	var names []string
	for _, k := range list {
		names = append(names, k.Name)
		pass := never(t)
		if k.Name == "snapshot" {
			pass = says(secret)
		}
		signer, err := k.Signer(t.Context(), pass)
		require.NoError(t, err)
		requireSigns(t, signer, k.Public)
	}
	require.Equal(t, []string{"root", "snapshot", "timestamp"}, names)
}

// TestListNamesEveryBadFile, and still returns what is good.
func TestListNamesEveryBadFile(t *testing.T) {
	dir := keyDir(t)
	put(t, filepath.Join(dir, "good.key"), sample())
	put(t, filepath.Join(dir, "bad.key"), []byte("x"))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "worse.pem"), 0o700))
	list, err := List(dir)
	require.Len(t, list, 1)
	require.ErrorContains(t, err, "bad.key")
	require.ErrorContains(t, err, "worse.pem")
	require.ErrorIs(t, err, ErrDamaged)

	_, err = List(filepath.Join(dir, "nowhere"))
	requireError(t, err, protocol.CodeLocalIO, fs.ErrNotExist)
	_, err = List(filepath.Join(dir, "good.key"))
	requireError(t, err, protocol.CodeLocalIO, nil)
	require.NoError(t, os.Chmod(dir, 0o701))
	_, err = List(dir)
	requireError(t, err, protocol.CodePermissions, nil)
}

// TestKeysOfOtherTools: an encrypted key without its public half inside needs the
// one beside; cosign's older name will do; so will any file name.
func TestKeysOfOtherTools(t *testing.T) {
	dir := keyDir(t)
	block, rest := pem.Decode(sample())
	block.Type = pemCosign
	path := put(t, filepath.Join(dir, "cosign.key"), pem.EncodeToMemory(block))
	_, err := Open(path)
	e := requireError(t, err, protocol.CodeLocalIO, fs.ErrNotExist)
	require.Contains(t, e.Hint, "cosign.pub")

	put(t, filepath.Join(dir, "cosign.pub"), rest)
	k, err := Open(path)
	require.NoError(t, err)
	signer, err := k.Signer(t.Context(), says(secret))
	require.NoError(t, err)
	requireSigns(t, signer, k.Public)

	k, err = Open(put(t, filepath.Join(dir, "MyKey.txt"), sample()))
	require.NoError(t, err)
	require.Equal(t, "MyKey.txt", k.Name)
}

// TestSwappedPublicHalf is refused: at once where that can be told without the
// passphrase, and before anything is signed otherwise.
func TestSwappedPublicHalf(t *testing.T) {
	dir := keyDir(t)
	foreign := publicPEM(newPrivate(t, Ed25519).Public())
	block, own := pem.Decode(sample())
	alone := pem.EncodeToMemory(block)
	for name, file := range map[string][]byte{
		"whole": sample(), "plain": plainKey(t, newPrivate(t, Ed25519)),
		"two": append(plainKey(t, newPrivate(t, Ed25519)), own...),
	} {
		path := put(t, filepath.Join(dir, name+".key"), file)
		put(t, filepath.Join(dir, name+".pub"), foreign)
		_, err := Open(path)
		requireError(t, err, protocol.CodeLocalIO, ErrMismatch)
	}
	for name, file := range map[string][]byte{"alone": alone, "inside": append(bytes.Clone(alone), foreign...)} {
		path := put(t, filepath.Join(dir, name+".key"), file)
		put(t, filepath.Join(dir, name+".pub"), foreign)
		k, err := Open(path)
		require.NoError(t, err, "nobody can tell yet")
		_, err = k.Signer(t.Context(), says(secret))
		requireError(t, err, protocol.CodeLocalIO, ErrMismatch)
	}
	path := put(t, filepath.Join(dir, "odd.key"), sample())
	put(t, filepath.Join(dir, "odd.pub"), []byte("no key"))
	_, err := Open(path)
	e := requireError(t, err, protocol.CodeLocalIO, ErrDamaged)
	require.Equal(t, filepath.Join(dir, "odd.pub"), e.Path)

	// Another key came in its place after it was listed.
	k, err := Open(put(t, filepath.Join(dir, "late.key"), plainKey(t, newPrivate(t, ECDSA))))
	require.NoError(t, err)
	put(t, k.Path, plainKey(t, newPrivate(t, ECDSA)))
	_, err = k.Signer(t.Context(), nil)
	requireError(t, err, protocol.CodeLocalIO, ErrMismatch)
}

func TestWrongPassphrase(t *testing.T) {
	path := put(t, filepath.Join(keyDir(t), "a.key"), sample())
	k, err := Open(path)
	require.NoError(t, err)
	for _, phrase := range []string{"not this one", secret + "\n"} {
		_, err = k.Signer(t.Context(), says(phrase))
		e := requireError(t, err, protocol.CodeUsage, ErrPassphrase)
		require.Equal(t, path, e.Path)
		require.NotContains(t, err.Error(), phrase)
	}
	for name, pass := range map[string]Passphrase{"nobody": nil, "no source": FirstOf(), "plain": Plain} {
		_, err = k.Signer(t.Context(), pass)
		requireError(t, err, protocol.CodeUsage, ErrNoPassphrase)
		require.NotContains(t, err.Error(), "--plain-keys", name)
	}
	for _, phrase := range []string{"", secret + "\x00"} {
		_, err = k.Signer(t.Context(), says(phrase))
		e := requireError(t, err, protocol.CodeUsage, nil)
		require.Equal(t, path, e.Path)
	}
}

// altered is the sample with its encrypted part edited.
func altered(t *testing.T, edit func(e *envelope)) []byte {
	t.Helper()
	block, rest := pem.Decode(sample())
	var e envelope
	require.NoError(t, json.Unmarshal(block.Bytes, &e))
	edit(&e)
	data, err := json.Marshal(e)
	require.NoError(t, err)
	return append(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: data}), rest...)
}

// TestOneFlippedBit of what is encrypted is as good as a wrong passphrase.
func TestOneFlippedBit(t *testing.T) {
	for name, edit := range map[string]func(e *envelope){
		"ciphertext": func(e *envelope) { e.Ciphertext[len(e.Ciphertext)-1] ^= 1 },
		"salt":       func(e *envelope) { e.KDF.Salt[0] ^= 1 },
		"nonce":      func(e *envelope) { e.Cipher.Nonce[0] ^= 1 },
		"parameter":  func(e *envelope) { e.KDF.Params.N = 1 << 16 },
	} {
		k, err := Open(put(t, filepath.Join(keyDir(t), "a.key"), altered(t, edit)))
		require.NoError(t, err, name)
		_, err = k.Signer(t.Context(), says(secret))
		requireError(t, err, protocol.CodeUsage, ErrPassphrase)
	}
}

// TestOtherParameters of package encrypted open as well.
func TestOtherParameters(t *testing.T) {
	k, err := Open(put(t, filepath.Join(keyDir(t), "a.key"), sealed(newPrivate(t, ECDSA), encrypted.Standard)))
	require.NoError(t, err)
	signer, err := k.Signer(t.Context(), says(secret))
	require.NoError(t, err)
	requireSigns(t, signer, k.Public)
}

// foreignKey is PKCS#8 with an algorithm that the standard library does not know.
func foreignKey(t *testing.T, algorithm asn1.ObjectIdentifier, parameters any) []byte {
	t.Helper()
	raw, err := asn1.Marshal(parameters)
	require.NoError(t, err)
	der, err := asn1.Marshal(struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}{0, pkix.AlgorithmIdentifier{Algorithm: algorithm, Parameters: asn1.RawValue{FullBytes: raw}}, []byte("private private private")})
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: pemPlain, Bytes: der})
}

func TestBadKeyFiles(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	ec := newPrivate(t, ECDSA).(*ecdsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(ec)
	require.NoError(t, err)
	plain, rsaKey := plainKey(t, ec), tuftest.NewKey(tuftest.RSA1024, 0)
	block, _ := pem.Decode(plain)
	whole := string(sample())
	inPEM := func(typ string, data []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: data})
	}
	for name, tt := range map[string]struct {
		data  []byte
		code  protocol.Code
		cause error
	}{
		"empty":                  {nil, protocol.CodeLocalIO, ErrDamaged},
		"text":                   {[]byte("a note, not a key at all"), protocol.CodeLocalIO, ErrDamaged},
		"zeroes":                 {make([]byte, 4096), protocol.CodeLocalIO, ErrDamaged},
		"plain, cut off":         {plain[:len(plain)/2], protocol.CodeLocalIO, ErrDamaged},
		"plain, cut inside":      {inPEM(pemPlain, block.Bytes[:len(block.Bytes)-9]), protocol.CodeLocalIO, ErrDamaged},
		"plain, garbage":         {inPEM(pemPlain, []byte("garbage garbage garbage")), protocol.CodeLocalIO, ErrDamaged},
		"encrypted, cut off":     {[]byte(whole[:300]), protocol.CodeLocalIO, ErrDamaged},
		"encrypted, half public": {[]byte(whole[:len(whole)-40]), protocol.CodeLocalIO, ErrDamaged},
		"encrypted, no JSON":     {inPEM(pemEncrypted, []byte("private private private")), protocol.CodeLocalIO, ErrDamaged},
		"encrypted, empty JSON":  {inPEM(pemEncrypted, []byte("{}")), protocol.CodeUsage, ErrUnsupported},
		"short nonce":            {altered(t, func(e *envelope) { e.Cipher.Nonce = e.Cipher.Nonce[1:] }), protocol.CodeLocalIO, ErrDamaged},
		"no salt":                {altered(t, func(e *envelope) { e.KDF.Salt = nil }), protocol.CodeLocalIO, ErrDamaged},
		"no ciphertext":          {altered(t, func(e *envelope) { e.Ciphertext = nil }), protocol.CodeLocalIO, ErrDamaged},
		"hostile N":              {altered(t, func(e *envelope) { e.KDF.Params.N = 1 << 30 }), protocol.CodeUsage, ErrUnsupported},
		"hostile p":              {altered(t, func(e *envelope) { e.KDF.Params.P = 1 << 20 }), protocol.CodeUsage, ErrUnsupported},
		"hostile r":              {altered(t, func(e *envelope) { e.KDF.Params.R = 1 << 20 }), protocol.CodeUsage, ErrUnsupported},
		"negative N":             {altered(t, func(e *envelope) { e.KDF.Params.N = -1 }), protocol.CodeUsage, ErrUnsupported},
		"other KDF":              {altered(t, func(e *envelope) { e.KDF.Name = "a name of their own" }), protocol.CodeUsage, ErrUnsupported},
		"other cipher":           {altered(t, func(e *envelope) { e.Cipher.Name = "a name of their own" }), protocol.CodeUsage, ErrUnsupported},
		"two keys":               {append(bytes.Clone(plain), plain...), protocol.CodeLocalIO, ErrDamaged},
		"text after it":          {append(bytes.Clone(plain), "and a note on where the backup is"...), protocol.CodeLocalIO, ErrDamaged},
		"public key":             {publicPEM(ec.Public()), protocol.CodeUsage, ErrNotPrivate},
		"PKCS#1 public key":      {inPEM("RSA PUBLIC KEY", []byte("x")), protocol.CodeUsage, ErrNotPrivate},
		"certificate":            {inPEM("CERTIFICATE", []byte("certificate")), protocol.CodeUsage, ErrNotPrivate},
		"SEC 1":                  {inPEM("EC PRIVATE KEY", sec1), protocol.CodeUsage, ErrUnsupported},
		"OpenSSH":                {inPEM("OPENSSH PRIVATE KEY", []byte("openssh-key-v1")), protocol.CodeUsage, ErrUnsupported},
		"PBES2":                  {inPEM("ENCRYPTED PRIVATE KEY", []byte("private private")), protocol.CodeUsage, ErrUnsupported},
		"P-384":                  {plainKey(t, p384), protocol.CodeUsage, ErrUnsupported},
		"X25519":                 {plainKey(t, x25519), protocol.CodeUsage, ErrUnsupported},
		"RSA of 1024 bits":       {plainKey(t, small(t)), protocol.CodeUsage, ErrUnsupported},
		"DSA":                    {foreignKey(t, asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, struct{ P, Q, G *big.Int }{big.NewInt(7), big.NewInt(3), big.NewInt(2)}), protocol.CodeUsage, ErrUnsupported},
		"secp256k1":              {foreignKey(t, asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, asn1.ObjectIdentifier{1, 3, 132, 0, 10}), protocol.CodeUsage, ErrUnsupported},
		"broken P-256":           {foreignKey(t, asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}), protocol.CodeLocalIO, ErrDamaged},
		"too large":              {append(bytes.Repeat([]byte("\n"), maxFile), plain...), protocol.CodeUsage, nil},
		"public half of RSA-1024 inside": {append([]byte(whole[:strings.Index(whole, "-----BEGIN PUBLIC")]), rsaKey.Public...),
			protocol.CodeLocalIO, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			path := put(t, filepath.Join(keyDir(t), "a.key"), tt.data)
			_, err := Open(path)
			e := requireError(t, err, tt.code, tt.cause)
			require.Equal(t, path, e.Path)
			require.NotEmpty(t, e.Hint)
			requireSilent(t, err, tt.data)
			if block, _ := pem.Decode(tt.data); block != nil {
				requireSilent(t, err, bytes.ReplaceAll(block.Bytes, []byte("nacl/secretbox"), nil))
			}
			_, err = (&Key{Path: path}).Signer(t.Context(), says(secret))
			require.Error(t, err)
		})
	}
}

func small(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	return key
}
