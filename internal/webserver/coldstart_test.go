package webserver

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// TestColdStartMeetsNoLimit: our client asks for root versions 16 at a time, and
// for as many as it takes.
func TestColdStartMeetsNoLimit(t *testing.T) {
	require.Greater(t, burst, hybrid.DefaultMaxRoots+hybrid.DefaultMaxRoles+100)
	repo := tuftest.NewRepo(tuftest.Config{})
	repo.AddTarget("targets", "plugin", []byte("content"), nil)
	repo.Publish("targets")
	for range 600 {
		repo.PublishRoot()
	}
	dir := t.TempDir()
	for name, raw := range repo.Files() {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, raw, 0o600))
	}
	s := start(t, Config{Rate: DefaultRate}, http.FileServer(http.Dir(dir)), nil)
	client, err := hybrid.New(hybrid.Options{RepositoryURL: s.url, Root: repo.RootBytes(1), Mode: hybrid.ModeGo,
		MetadataDir: filepath.Join(t.TempDir(), "metadata"), CacheDir: filepath.Join(t.TempDir(), "cache"), HTTP: hybrid.HTTPOptions{Attempts: 1}})
	require.NoError(t, err)
	_, err = client.VerifyAndDownloadPlugin(t.Context(), "plugin", hybrid.DownloadOptions{})
	require.NoError(t, err)
	require.NoError(t, client.Shutdown(t.Context()))
	require.NoError(t, s.stop())
	s.logged(t, map[string]any{"path": "/metadata/601.root.json", "status": 200.0})
	s.logged(t, map[string]any{"path": "/metadata/602.root.json", "status": 404.0})
	require.NotContains(t, s.log.String(), `"status":429`)
	require.NotContains(t, s.log.String(), `"status":503`)
}
