package keys_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

var message = []byte("what is signed")

func written(k *tuftest.Key) admission.Key {
	return admission.Key{Type: k.Type, Scheme: k.Scheme, Public: k.Public}
}

// TestEveryRow: each kind of the table counts, and verifies what was signed and
// nothing else.
func TestEveryRow(t *testing.T) {
	for _, tt := range []struct{ kind, keytype, scheme string }{
		{tuftest.Ed25519, "ed25519", "ed25519"},
		{tuftest.RSA, "rsa", "rsassa-pss-sha256"},
		{tuftest.ECDSA, "ecdsa", "ecdsa-sha2-nistp256"},
		{tuftest.ECDSA, "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"},
		{tuftest.ECDSAP384, "ecdsa", "ecdsa-sha2-nistp384"},
		{tuftest.ECDSAP384, "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"},
	} {
		t.Run(tt.keytype+"/"+tt.scheme, func(t *testing.T) {
			key, other := tuftest.NewKey(tt.kind, 0), tuftest.NewKey(tt.kind, 1)
			pub, err := keys.Decode(admission.Key{Type: tt.keytype, Scheme: tt.scheme, Public: key.Public})
			require.NoError(t, err)
			sig := key.Sign(message)
			require.True(t, pub.Verify(message, sig))
			require.False(t, pub.Verify([]byte("what is not"), sig))
			require.False(t, pub.Verify(message, other.Sign(message)))
			require.False(t, pub.Verify(message, nil))
			require.False(t, pub.Verify(message, sig[1:]))
			require.False(t, pub.Verify(message, append(sig[:len(sig):len(sig)], 0)))
			second, err := keys.Decode(written(other))
			require.NoError(t, err)
			require.NotEqual(t, pub.Fingerprint, second.Fingerprint)
		})
	}
}

// TestOneFingerprint: however a key is spelled, it is one key.
func TestOneFingerprint(t *testing.T) {
	spellings := map[string][]admission.Key{}
	add := func(kind string, edit func(k *admission.Key)) {
		k := written(tuftest.NewKey(kind, 0))
		edit(&k)
		spellings[kind] = append(spellings[kind], k)
	}
	add(tuftest.Ed25519, func(k *admission.Key) { k.Public = strings.ToUpper(k.Public) })
	for _, kind := range []string{tuftest.RSA, tuftest.ECDSA, tuftest.ECDSAP384} {
		add(kind, func(k *admission.Key) { k.Public = strings.TrimSpace(k.Public) })
		add(kind, func(k *admission.Key) { k.Public = "\n\n" + k.Public + "\n" })
		add(kind, func(k *admission.Key) { k.Public = strings.ReplaceAll(k.Public, "\n", "\r\n") })
		add(kind, func(k *admission.Key) { k.Public = "a comment\n" + k.Public })
		add(kind, func(k *admission.Key) {
			block, _ := pem.Decode([]byte(k.Public))
			block.Headers = map[string]string{"Note": "another spelling"}
			k.Public = string(pem.EncodeToMemory(block))
		})
	}
	add(tuftest.ECDSA, func(k *admission.Key) { k.Type = "ecdsa-sha2-nistp256" })
	add(tuftest.ECDSAP384, func(k *admission.Key) { k.Type = "ecdsa-sha2-nistp384" })
	add(tuftest.RSA, func(k *admission.Key) {
		block, _ := pem.Decode([]byte(k.Public))
		pub, err := x509.ParsePKIXPublicKey(block.Bytes)
		require.NoError(t, err)
		der := x509.MarshalPKCS1PublicKey(pub.(*rsa.PublicKey))
		k.Public = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: der}))
	})
	for kind, list := range spellings {
		want, err := keys.Decode(written(tuftest.NewKey(kind, 0)))
		require.NoError(t, err)
		for _, k := range list {
			got, err := keys.Decode(k)
			require.NoError(t, err, "%s %q", kind, k)
			require.Equal(t, want.Fingerprint, got.Fingerprint, "%s %q", kind, k)
		}
	}
}

func spki(t *testing.T, pub any) string {
	der, err := x509.MarshalPKIXPublicKey(pub)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// TestKeysThatCannotCount are refused with a reason, never a panic.
func TestKeysThatCannotCount(t *testing.T) {
	ed, rsaKey, ec := tuftest.NewKey(tuftest.Ed25519, 0), tuftest.NewKey(tuftest.RSA, 0), tuftest.NewKey(tuftest.ECDSA, 0)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	require.NoError(t, err)
	huge := &rsa.PublicKey{E: 65537, N: new(big.Int).SetBit(big.NewInt(1), keys.MaxRSABits, 1)}
	for name, k := range map[string]admission.Key{
		"nothing":                    {},
		"unknown keytype":            {Type: "sphincs", Scheme: "sphincs", Public: ed.Public},
		"unknown scheme":             {Type: "ed25519", Scheme: "ed25519ph", Public: ed.Public},
		"scheme in upper case":       {Type: "ed25519", Scheme: "ED25519", Public: ed.Public},
		"scheme of another keytype":  {Type: "rsa", Scheme: "ed25519", Public: ed.Public},
		"keytype of another scheme":  {Type: "ed25519", Scheme: "rsassa-pss-sha256", Public: rsaKey.Public},
		"no scheme":                  {Type: "ed25519", Public: ed.Public},
		"no public part":             {Type: "ed25519", Scheme: "ed25519"},
		"short":                      {Type: "ed25519", Scheme: "ed25519", Public: ed.Public[2:]},
		"long":                       {Type: "ed25519", Scheme: "ed25519", Public: ed.Public + "00"},
		"odd hex":                    {Type: "ed25519", Scheme: "ed25519", Public: ed.Public[1:]},
		"not hex":                    {Type: "ed25519", Scheme: "ed25519", Public: strings.Repeat("g", 64)},
		"hex with a space":           {Type: "ed25519", Scheme: "ed25519", Public: ed.Public + " "},
		"ed25519 as PEM":             {Type: "rsa", Scheme: "rsassa-pss-sha256", Public: ed.Public},
		"RSA of 1024 bits":           written(tuftest.NewKey(tuftest.RSA1024, 0)),
		"RSA beyond 16384 bits":      {Type: "rsa", Scheme: "rsassa-pss-sha256", Public: spki(t, huge)},
		"RSA with PKCS1 v1.5":        {Type: "rsa", Scheme: "rsa-pkcs1v15-sha256", Public: rsaKey.Public},
		"RSA scheme of other digest": {Type: "rsa", Scheme: "rsassa-pss-sha512", Public: rsaKey.Public},
		"broken PEM":                 {Type: "rsa", Scheme: "rsassa-pss-sha256", Public: rsaKey.Public[:100]},
		"PEM of garbage":             {Type: "rsa", Scheme: "rsassa-pss-sha256", Public: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"},
		"PEM of a certificate":       {Type: "rsa", Scheme: "rsassa-pss-sha256", Public: strings.ReplaceAll(rsaKey.Public, "PUBLIC KEY", "CERTIFICATE")},
		"EC key called RSA":          {Type: "rsa", Scheme: "rsassa-pss-sha256", Public: ec.Public},
		"RSA key called EC":          {Type: "ecdsa", Scheme: "ecdsa-sha2-nistp256", Public: rsaKey.Public},
		"another curve":              {Type: "ecdsa", Scheme: "ecdsa-sha2-nistp384", Public: ec.Public},
		"a curve nobody lists":       {Type: "ecdsa", Scheme: "ecdsa-sha2-nistp256", Public: spki(t, p521.Public())},
		"alias of the other curve":   {Type: "ecdsa-sha2-nistp384", Scheme: "ecdsa-sha2-nistp256", Public: ec.Public},
		"unknown EC scheme":          {Type: "ecdsa", Scheme: "ecdsa-sha2-nistp521", Public: spki(t, p521.Public())},
	} {
		t.Run(name, func(t *testing.T) {
			pub, err := keys.Decode(k)
			require.Nil(t, pub)
			require.ErrorContains(t, err, "cannot count")
			require.Less(t, len(err.Error()), 400)
		})
	}
}
