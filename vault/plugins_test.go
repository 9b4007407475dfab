package vault

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

// What is wanted is told as a copy.
func TestPluginsAreACopy(t *testing.T) {
	w := newWorld(t, "one")
	v := w.vault(func(o *Options) { o.Plugins = map[string]string{"acme/tool": "^1.2"} })
	v.Plugins()["acme/tool"] = "*"
	require.Equal(t, map[string]string{"acme/tool": "^1.2"}, v.Plugins())
	require.Empty(t, w.vault().Plugins())
}

// What is installed keeps Resolve from older versions unless it is told otherwise,
// and a lock file from nothing: it is for other machines, too.
func TestOlderThanInstalledIsChosenOnRequest(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"), tool("2.0.0"))
	v := w.vault()
	w.install(v, tool("2.0.0"), InstallOptions{})
	_, err := v.Resolve(t.Context(), "acme/tool", "^1", ResolveOptions{})
	require.ErrorIs(t, err, hybrid.ErrPolicyDenied)
	require.Equal(t, "downgrade", rule(t, err))
	p, err := v.Resolve(t.Context(), "acme/tool", "^1", ResolveOptions{AllowDowngrade: true})
	require.NoError(t, err)
	require.Equal(t, "1.0.0", p.Version)

	f, err := v.Lock(t.Context(), nil, map[string]string{"acme/tool": "^1"}, LockOptions{})
	require.NoError(t, err)
	e, ok := f.Find("acme/tool")
	require.True(t, ok)
	require.Equal(t, "1.0.0", e.Version)
	_, err = v.Sync(t.Context(), f, SyncOptions{})
	require.Equal(t, "downgrade", rule(t, err))
	_, err = v.Sync(t.Context(), f, SyncOptions{AllowDowngrade: true})
	require.NoError(t, err)
}

// A status that is not waited for is an error, and never neither.
func TestStatusAfterTheEnd(t *testing.T) {
	w := newWorld(t, "one")
	v := w.vault()
	require.NoError(t, v.Initialize(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	st, err := v.Status(ctx)
	require.Nil(t, st)
	require.ErrorIs(t, err, hybrid.ErrCancelled)
}
