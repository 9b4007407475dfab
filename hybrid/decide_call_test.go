package hybrid

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// The caller decides on verified metadata, before anything is fetched and before
// anything is handed out.
func TestTheCallerDecides(t *testing.T) {
	w := newWorld(t)
	c := w.client(ModeGo)
	denied := tuferr.New(protocol.CodePolicyDenied, "not this one")
	var asked []*TargetInfo
	no := DownloadOptions{Decide: func(info *TargetInfo) error { asked = append(asked, info); return denied }}
	yes := DownloadOptions{Decide: func(*TargetInfo) error { return nil }}
	for range 2 {
		_, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, no)
		require.ErrorIs(t, err, ErrPolicyDenied)
		require.NotContains(t, w.server.Requests(), targetFile)
	}
	require.Equal(t, plugin, asked[0].Name)
	require.Equal(t, int64(len(content)), asked[0].Length)
	_, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, yes)
	require.NoError(t, err)
	_, err = c.VerifyAndDownloadPlugin(context.Background(), plugin, no)
	require.ErrorIs(t, err, ErrPolicyDenied, "from the cache neither")
}

// Clients of several repositories must not share what the environment says of one.
func TestTheEnvironmentCanBeLeftOut(t *testing.T) {
	for _, name := range []string{EnvMode, EnvRepoURL, EnvRoot, EnvMetadataDir, EnvCacheDir} {
		t.Setenv(name, "/no/such/thing")
	}
	w := newWorld(t)
	without := func(o *Options) { o.IgnoreEnvironment = true; o.Root = nil }
	s := status(t, w.client("", without))
	require.Equal(t, ModeAuto, s.Mode)
	w.refused(w.client("", without), ErrLocal)
	c, err := New(Options{IgnoreEnvironment: true})
	require.NoError(t, err)
	require.Equal(t, DefaultRepoURL+"/metadata", c.opts.MetadataURL)
	require.Equal(t, DefaultCacheDir, c.opts.CacheDir)
	require.Equal(t, DefaultMetadataDir, c.opts.MetadataDir)
	require.NoError(t, c.Shutdown(context.Background()))
}
