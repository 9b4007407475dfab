package repository

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
)

var allModes = []hybrid.Mode{hybrid.ModeGo, hybrid.ModePython, hybrid.ModeDual, hybrid.ModeAuto}

// audience is clients in every mode that live through the changes of a repository.
type audience struct {
	t       *testing.T
	url     string
	anchor  []byte
	clients map[hybrid.Mode]*hybrid.Client
}

// attend starts clients of a repository, which trust its first root.
func attend(t *testing.T, r *Repository) *audience {
	t.Helper()
	a := &audience{t: t, clients: map[hybrid.Mode]*hybrid.Client{}}
	var err error
	a.anchor, err = os.ReadFile(filepath.Join(r.Dir(), anchorName))
	require.NoError(t, err)
	a.url = startServer(t, r).URL
	for _, mode := range allModes {
		c := a.newClient(mode)
		t.Cleanup(func() { require.NoError(t, c.Shutdown(context.Background())) })
		a.clients[mode] = c
	}
	return a
}

func (a *audience) newClient(mode hybrid.Mode) *hybrid.Client {
	a.t.Helper()
	c, err := hybrid.New(hybrid.Options{RepositoryURL: a.url, MetadataDir: a.t.TempDir(), CacheDir: a.t.TempDir(),
		Root: a.anchor, Mode: mode, Python: pyenvtest.Python(a.t)})
	require.NoError(a.t, err)
	return c
}

// get wants every client to get the target, and a new one that begins with the
// first root: in dual mode, where both engines must accept.
func (a *audience) get(target, when string) {
	a.t.Helper()
	for _, mode := range allModes {
		_, err := a.clients[mode].VerifyAndDownloadPlugin(a.t.Context(), target, hybrid.DownloadOptions{})
		require.NoError(a.t, err, "%s: the client in mode %s", when, mode)
	}
	c := a.newClient(hybrid.ModeDual)
	_, err := c.VerifyAndDownloadPlugin(a.t.Context(), target, hybrid.DownloadOptions{})
	require.NoError(a.t, errors.Join(err, c.Shutdown(a.t.Context())), "%s: a new client", when)
}
