package hybrid

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// overdue publishes metadata of which all but root has expired the given time ago.
func overdue(w *world, ago time.Duration) {
	for _, role := range []string{"timestamp", "snapshot", "targets"} {
		w.repo.Role(role).Signed["expires"] = time.Now().UTC().Add(-ago).Format("2006-01-02T15:04:05Z")
	}
	w.repo.Publish("targets")
}

func TestExpiryCanBeOverriddenForOnePlugin(t *testing.T) {
	ctx := context.Background()
	grace := DownloadOptions{ExpectedHash: tuftest.SHA256(content), UnsafeExpiryGrace: 2 * time.Hour}
	for _, mode := range []Mode{ModeGo, ModePython, ModeDual, ModeAuto} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			overdue(w, time.Hour)
			c := w.client(mode)
			w.refused(c, ErrExpired)
			info, err := c.UnsafeLookup(ctx, plugin, 2*time.Hour)
			require.NoError(t, err)
			require.Equal(t, int64(len(content)), info.Length)
			r, err := c.VerifyAndDownloadPlugin(ctx, plugin, grace)
			require.NoError(t, err)
			raw, err := os.ReadFile(r.Path)
			require.NoError(t, err)
			require.Equal(t, content, raw)
			require.Contains(t, w.codes(), "expiry_overridden")
			w.refused(c, ErrExpired) // Nothing of it is left for others.

			_, err = c.UnsafeLookup(ctx, plugin, 30*time.Minute)
			require.ErrorIs(t, err, ErrExpired, "longer ago than the grace")
		})
	}
}

// What is overridden is expiry and nothing else.
func TestNothingButExpiryIsOverridden(t *testing.T) {
	ctx := context.Background()
	grace := DownloadOptions{ExpectedHash: tuftest.SHA256(content), UnsafeExpiryGrace: 2 * time.Hour}
	for name, attack := range map[string]struct {
		family error
		do     func(w *world)
	}{
		"unsigned": {ErrUnsigned, func(w *world) {
			w.repo.Timestamp.Signers = tuftest.Keys(90, 1)
			w.repo.Publish("targets")
		}},
		"rolled back": {ErrRollback, func(w *world) {
			old := w.repo.Files()
			overdue(w, -time.Hour)
			require.NoError(w.t, w.client(ModeGo).Refresh(ctx))
			w.repo.SetFiles(old)
		}},
		"other bytes": {ErrMismatch, func(w *world) {
			w.server.On(targetFile, tuftest.Body([]byte("not what was signed, but as long")[:len(content)]))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			overdue(w, time.Hour)
			attack.do(w)
			_, err := w.client(ModeGo).VerifyAndDownloadPlugin(ctx, plugin, grace)
			require.ErrorIs(t, err, attack.family)
		})
	}
	w := newWorld(t)
	c := w.client(ModeGo)
	_, err := c.VerifyAndDownloadPlugin(ctx, plugin, DownloadOptions{UnsafeExpiryGrace: time.Hour})
	require.ErrorIs(t, err, ErrUsage, "not without a hash")
	_, err = c.UnsafeLookup(ctx, plugin, -time.Hour)
	require.ErrorIs(t, err, ErrUsage)
	overdue(w, time.Hour)
	grace.ExpectedHash = tuftest.SHA256([]byte("another"))
	_, err = c.VerifyAndDownloadPlugin(ctx, plugin, grace)
	require.ErrorIs(t, err, ErrExpectedHash)
}
