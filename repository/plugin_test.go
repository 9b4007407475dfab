package repository

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func manifestWith(t testing.TB, changes map[string]any) []byte {
	t.Helper()
	m := map[string]any{"name": "tool", "version": "1.2.3", "publisher": "acme", "description": "A tool."}
	maps.Copy(m, changes)
	data, err := json.Marshal(m)
	require.NoError(t, err)
	return data
}

func writeManifest(t testing.TB, publisher, name, version string) string {
	t.Helper()
	data := manifestWith(t, map[string]any{"publisher": publisher, "name": name, "version": version})
	path := filepath.Join(t.TempDir(), "manifest.json")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

// packed returns an archive of one file.
func packed(t *testing.T, name, content string) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}))
	_, err := io.WriteString(w, content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return buf.Bytes()
}
