package hybrid

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// of returns the events with a code.
func (w *world) of(code string) []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.events), func(e Event) bool { return e.Code != code })
}

// TestRootChangedIsAnEvent once a newer root is trusted, and only then.
func TestRootChangedIsAnEvent(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	c := w.client(ModeGo)
	w.get(c)
	require.Empty(t, w.of("root_changed"), "the first root is pinned, not changed")
	w.get(c)

	w.repo.PublishRoot()
	w.repo.SetKeys("timestamp", 1, tuftest.Keys(70, 1)...)
	w.repo.PublishRoot()
	w.repo.PublishTimestamp()
	w.get(c)
	w.get(c)
	events := w.of("root_changed")
	require.Len(t, events, 1)
	require.Equal(t, SeverityWarning, events[0].Severity)
	require.Equal(t, "1", events[0].From)
	require.Equal(t, "3", events[0].To)
	require.NotZero(t, events[0].Time)
	require.EqualValues(t, 3, status(t, c).Roles[0].Version, "it is told after the commit")

	// A root stays trusted also where what follows is refused.
	w.repo.PublishRoot()
	w.repo.Timestamp.Signers = tuftest.Keys(90, 1)
	w.repo.PublishTimestamp()
	require.ErrorIs(t, c.Refresh(ctx), ErrUnsigned)
	require.Len(t, w.of("root_changed"), 2)

	w.repo.Root.Signers = tuftest.Keys(800, 1)
	w.repo.PublishRoot()
	require.ErrorIs(t, c.Refresh(ctx), ErrUnsigned)
	require.Len(t, w.of("root_changed"), 2, "a root that is refused changes nothing")
}

func TestABundleThatMovesTheRootIsAnEvent(t *testing.T) {
	w := newGap(t)
	raw := w.export(w.client(ModeGo), plugin)
	before := len(w.of("root_changed"))
	_, err := take(w.far(ModeGo), raw)
	require.NoError(t, err)
	events := w.of("root_changed")[before:]
	require.Len(t, events, 1)
	require.Equal(t, "1", events[0].From)
	require.Equal(t, "3", events[0].To)
}

// TestAnErrorSaysThatAnEventToldOfIt, so that whoever is above raises none again.
func TestAnErrorSaysThatAnEventToldOfIt(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	c := w.client(ModeGo)
	w.get(c)

	_, err := c.VerifyAndDownloadPlugin(ctx, plugin, DownloadOptions{ExpectedHash: tuftest.SHA256([]byte("other"))})
	require.ErrorIs(t, err, ErrExpectedHash)
	require.True(t, tuferr.Told(err))
	require.Len(t, w.of("refused"), 1)

	w.repo.AddTarget("targets", "plugins/acme/other", []byte("other"), nil)
	w.repo.Publish("targets")
	w.server.On("targets/plugins/acme/"+tuftest.SHA256([]byte("other"))+".other", tuftest.Body([]byte("OTHER")))
	_, err = c.VerifyAndDownloadPlugin(ctx, "plugins/acme/other", DownloadOptions{})
	require.ErrorIs(t, err, ErrMismatch)
	require.True(t, tuferr.Told(err))
	require.Equal(t, "plugins/acme/other", tuferr.As(w.of("refused")[1].Err).Target)

	w.server.Close()
	require.True(t, w.get(c).Offline, "what was verified before answers")
	err = c.Refresh(ctx)
	require.ErrorIs(t, err, ErrTransport)
	require.True(t, tuferr.Told(err), "as offline")
	_, err = c.VerifyAndDownloadPlugin(ctx, "plugins/acme/other", DownloadOptions{})
	require.ErrorIs(t, err, ErrTransport)
	require.False(t, tuferr.Told(err), "that the answer is of no use is another matter")
	s := status(t, c)
	require.Equal(t, "unreachable", string(s.LastErrorCode))
	require.ErrorIs(t, s.LastErr, ErrTransport)
	require.NotEmpty(t, s.LastError)
}
