package records

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	background = context.Background()
	noon       = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
)

// hello is a record of a version of a plugin of acme.
func hello(name, version string) Record {
	sum := sha256.Sum256([]byte(name + version))
	return Record{
		Target: plugin.Path("acme", name, version), Publisher: "acme", Name: name, Version: version,
		Length: 5, Hashes: map[string]string{"sha256": hex.EncodeToString(sum[:])}, Repository: "main", At: noon,
	}
}

// newDir is a directory that is not there yet.
func newDir(t testing.TB) string { return filepath.Join(t.TempDir(), "a [*] dir", "metadata") }

func add(t *testing.T, b *Book, all ...Record) {
	t.Helper()
	for _, r := range all {
		require.NoError(t, b.Add(background, r, false))
	}
}

func highest(t *testing.T, b *Book, name string) string {
	t.Helper()
	v, err := b.Highest(background, "acme", name)
	require.NoError(t, err)
	return v
}

func list(t *testing.T, b *Book) []string {
	t.Helper()
	all, err := b.List(background)
	require.NoError(t, err)
	paths := []string{}
	for _, r := range all {
		paths = append(paths, r.Target)
	}
	return paths
}

func requireCode(t *testing.T, err error, code protocol.Code) {
	t.Helper()
	require.Equal(t, code, tuferr.CodeOf(err), "%v", err)
}

// age makes the file look as if nobody had written to it for long.
func age(t *testing.T, b *Book) os.FileInfo {
	t.Helper()
	require.NoError(t, os.Chtimes(b.Path(), noon, noon))
	info, err := os.Stat(b.Path())
	require.NoError(t, err)
	return info
}
