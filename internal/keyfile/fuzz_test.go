package keyfile

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
)

// FuzzKeyFile: whatever stands in a file, it is a key or a typed error that is
// silent about it.
func FuzzKeyFile(f *testing.F) {
	f.Add(sample())
	f.Add([]byte(`{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"ab"}}`))
	for _, alg := range []Algorithm{RSA, Ed25519, ECDSA} {
		pub, private, err := newKey(alg, nil)
		require.NoError(f, err)
		f.Add(private)
		f.Add(publicPEM(pub))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		p, err := parsePublic(data)
		check(t, err)
		if err == nil {
			again, err := publicOf(p.Key)
			require.NoError(t, err)
			require.Equal(t, p, again)
		}
		c, err := parseContainer(data)
		check(t, err)
		if err == nil && !c.encrypted() {
			_, err = c.open(nil)
			check(t, err)
		}
		require.Equal(t, before, data)
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		require.NotNil(t, tuferr.As(err))
		require.NotEmpty(t, tuferr.As(err).Hint)
	}
}
