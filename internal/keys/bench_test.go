package keys_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// BenchmarkDecode decodes a key, BenchmarkVerify checks a signature of 1 kB with it.
func BenchmarkDecode(b *testing.B) {
	benchmarkKinds(b, func(b *testing.B, k admission.Key, _, _ []byte) {
		_, err := keys.Decode(k)
		require.NoError(b, err)
	})
}

func BenchmarkVerify(b *testing.B) {
	benchmarkKinds(b, func(b *testing.B, k admission.Key, message, sig []byte) {
		pub, err := keys.Decode(k)
		require.NoError(b, err)
		require.True(b, pub.Verify(message, sig))
	})
}

func benchmarkKinds(b *testing.B, f func(b *testing.B, k admission.Key, message, sig []byte)) {
	for _, kind := range []string{tuftest.Ed25519, tuftest.RSA, tuftest.ECDSA} {
		key := tuftest.NewKey(kind, 1)
		k := admission.Key{Type: key.Type, Scheme: key.Scheme, Public: key.Public}
		message := make([]byte, 1000)
		sig := key.Sign(message)
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f(b, k, message, sig)
			}
		})
	}
}
