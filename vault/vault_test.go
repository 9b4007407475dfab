package vault

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// rootless leaves the first repository without a trusted root.
func rootless(o *Options) { o.Repositories[0].Root = nil }

// Initialize pins roots and asks nobody. It fails where no repository can be used.
func TestInitialize(t *testing.T) {
	w := newWorld(t, "one", "two")
	v := w.vault(rootless)
	require.NoError(t, v.Initialize(t.Context()))
	require.Equal(t, "one", w.told(EventLocal).Repository)
	require.Equal(t, HealthDown, w.status(v).Repositories[0].Health)
	require.Len(t, w.status(v).Repositories[1].Roles, 1, "the root alone")
	require.ErrorIs(t, w.vault(rootless, first()).Initialize(t.Context()), hybrid.ErrLocal)
	for _, s := range w.servers {
		require.Empty(t, s.Requests())
	}
}

// RefreshMetadata says which repository could not be refreshed; the others are.
func TestRefreshMetadata(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.servers["one"].On("metadata/timestamp.json", tuftest.Status(500))
	v := w.vault()
	err := v.RefreshMetadata(t.Context())
	require.ErrorIs(t, err, hybrid.ErrTransport)
	require.ErrorContains(t, err, "repository one: ")
	require.Equal(t, "one", w.told(EventUnreachable).Repository)
	require.False(t, w.status(v).Repositories[1].Client.LastRefresh.IsZero())
	w.servers["one"].Heal()
	require.NoError(t, v.RefreshMetadata(t.Context()))
}
