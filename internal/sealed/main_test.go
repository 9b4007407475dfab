package sealed

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// envChild makes this test binary a plugin that says so.
const envChild = "TEST_SEALED_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(envChild) != "" {
		fmt.Println("the plugin runs")
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var background = context.Background()

// makers are the ways to make a file; every test that can runs for each.
var makers = map[string]maker{
	"memory":  system,
	"private": {func(string, bool) (*os.File, error) { return nil, errNoMemory }},
}

func each(t *testing.T, f func(t *testing.T, m maker)) {
	for name, m := range makers {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			t.Setenv("TMP", temp)
			f(t, m)
			left, err := os.ReadDir(temp)
			require.NoError(t, err)
			require.Empty(t, left, "private copies are removed")
		})
	}
}

func wantOf(b []byte) targets.Want {
	s256, s512 := sha256.Sum256(b), sha512.Sum512(b)
	return targets.Want{Length: int64(len(b)), Hashes: map[string]string{
		"sha256": hex.EncodeToString(s256[:]), "sha512": hex.EncodeToString(s512[:]),
	}}
}

func cached(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cached")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

func closing(t *testing.T, f *File) {
	t.Helper()
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	_, err := f.OSFile().ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, os.ErrClosed)
}

func requireCode(t *testing.T, err error, code protocol.Code) {
	t.Helper()
	require.Equal(t, code, tuferr.CodeOf(err), "%v", err)
}

var errBroken = errors.New("broken")
