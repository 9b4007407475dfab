package hybrid

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

func hour(o *Options) { o.RefreshInterval = time.Hour }

// diamond is a repository without hashes in its snapshot in which A delegates
// a/* to R. The owner of B, who is on the wire as well, has delegated b/* to a
// role that he calls R, too, and serves his own file of R's version, which also
// lists A's plugin. The client has verified the good state before.
func diamond(t *testing.T) *world {
	w := &world{t: t, repo: tuftest.NewRepo(tuftest.Config{NoHashes: true}), dir: t.TempDir()}
	w.server = tuftest.NewServer(w.repo)
	t.Cleanup(w.server.Close)
	w.repo.Delegate("targets", tuftest.Delegation{Name: "A", Paths: []string{"a/*"}})
	w.repo.Delegate("targets", tuftest.Delegation{Name: "B", Paths: []string{"b/*"}})
	w.repo.Delegate("A", tuftest.Delegation{Name: "R", Paths: []string{"a/*"}})
	w.repo.AddTarget("R", "a/x", content, nil)
	w.repo.Publish("targets", "A", "B", "R")
	_, err := w.client(ModeGo).Lookup(context.Background(), "a/x")
	require.NoError(t, err)

	forger := tuftest.Keys(777, 1)
	w.repo.Delegate("B", tuftest.Delegation{Name: "R", Paths: []string{"b/*"}, Keys: forger})
	w.repo.Publish("B")
	forged := w.repo.Role("R").Copy()
	forged.Signers = forger
	evil := w.repo.TargetEntry([]byte("evil bytes"))
	forged.Signed["targets"] = tuftest.Map{"a/x": evil, "b/y": evil}
	w.repo.StoreTarget("a/x", []byte("evil bytes"))
	w.repo.Store(forged)
	return w
}

// TestTwoFilesOfOneRole: a delegated role's owner speaks for his paths only,
// also where he shares a role name with somebody else.
func TestTwoFilesOfOneRole(t *testing.T) {
	for _, mode := range []Mode{ModeAuto, ModeGo, ModePython, ModeDual} {
		t.Run(string(mode), func(t *testing.T) {
			w := diamond(t)
			c := w.client(mode, hour)
			_, err := c.List(context.Background())
			require.ErrorIs(t, err, ErrMismatch, "both files at once")

			var wg sync.WaitGroup
			for _, name := range []string{"a/x", "b/y", "a/x", "b/y"} {
				wg.Go(func() { _, _ = c.Lookup(context.Background(), name) })
			}
			wg.Wait()
			for range 2 {
				r, err := c.VerifyAndDownloadPlugin(context.Background(), "a/x", DownloadOptions{})
				if err == nil {
					raw, err := os.ReadFile(r.Path)
					require.NoError(t, err)
					require.Equal(t, content, raw)
				}
			}
		})
	}
}

// TestErrorsAreForgotten: what could not be had once is asked for again, also
// within one session.
func TestErrorsAreForgotten(t *testing.T) {
	w := newWorld(t)
	w.repo.Delegate("targets", tuftest.Delegation{Name: "A", Paths: []string{"a/*"}})
	w.repo.AddTarget("A", "a/x", content, nil)
	w.repo.Publish("targets", "A")
	c := w.client(ModeAuto, hour)
	require.NoError(t, c.Refresh(context.Background()))
	for _, reply := range []tuftest.Reply{tuftest.Status(404), tuftest.HTML, tuftest.Garbage} {
		w.server.On(w.repo.MetadataName("A", 1), reply)
		_, err := c.Lookup(context.Background(), "a/x")
		require.Error(t, err)
	}
	w.server.Heal()
	_, err := c.Lookup(context.Background(), "a/x")
	require.NoError(t, err)
}

// TestOfflineHoldsTheFloors: the trust store's floors hold also where nothing
// is committed.
func TestOfflineHoldsTheFloors(t *testing.T) {
	w := newWorld(t)
	w.get(w.client(ModeGo))
	dir := filepath.Join(w.dir, "metadata")
	old := map[string][]byte{}
	for _, name := range []string{"timestamp.json", "snapshot.json", "targets.json"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		old[name] = raw
	}
	w.repo.Publish("targets")
	w.get(w.client(ModeGo))
	for name, raw := range old { // as after a crash between floors and files, or by hand
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), raw, 0o600))
	}
	w.server.Close()
	e := w.refused(w.client(ModeGo), ErrRollback)
	require.Equal(t, int64(3), e.Trusted)
	require.Equal(t, int64(2), e.Received)
}

// TestTamperedLocalFiles: a local file that nobody signed guards against
// nothing, and locks nobody out.
func TestTamperedLocalFiles(t *testing.T) {
	for _, name := range []string{"timestamp.json", "snapshot.json", "targets.json"} {
		for _, mode := range []Mode{ModeAuto, ModePython, ModeDual} {
			t.Run(name+"/"+string(mode), func(t *testing.T) {
				w := newWorld(t)
				w.get(w.client(ModeGo))
				role := w.repo.Role(name[:len(name)-len(".json")]).Copy()
				role.Signers = tuftest.Keys(400, 1)
				role.Signed["note"] = "tampered"
				require.NoError(t, os.WriteFile(filepath.Join(w.dir, "metadata", name), role.Bytes(), 0o600))
				w.get(w.client(mode))
				w.repo.Publish("targets")
				w.get(w.client(mode))
			})
		}
	}
}

// TestTimestampUnderARaisedThreshold: a publisher who asks for more signatures
// may sign the same timestamp again.
func TestTimestampUnderARaisedThreshold(t *testing.T) {
	for _, mode := range []Mode{ModeAuto, ModePython, ModeDual} {
		w := newWorld(t)
		w.get(w.client(ModeGo))
		w.repo.SetKeys("timestamp", 2, tuftest.NewKey(tuftest.Ed25519, 1), tuftest.NewKey(tuftest.Ed25519, 9))
		w.repo.PublishRoot()
		w.repo.Store(w.repo.Timestamp)
		w.get(w.client(mode))
	}
}
