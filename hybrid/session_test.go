package hybrid

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// TestStoreMovesDuringASession: what a session remembers of the repository is
// dropped when another client has moved the store on; it is no rollback.
func TestStoreMovesDuringASession(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"alice", "bob"} {
		w.repo.Delegate("targets", tuftest.Delegation{Name: name, Paths: []string{"plugins/" + name + "/*"}})
		w.repo.AddTarget(name, "plugins/"+name+"/x", []byte(name), nil)
	}
	w.repo.Publish("targets", "alice", "bob")
	for _, mode := range []Mode{ModeAuto, ModePython, ModeDual} {
		t.Run(string(mode), func(t *testing.T) {
			c := w.client(mode, func(o *Options) { o.RefreshInterval = time.Hour })
			_, err := c.Lookup(context.Background(), "plugins/alice/x")
			require.NoError(t, err)

			w.repo.AddTarget("bob", "plugins/bob/x", []byte("newer"+mode), nil)
			w.repo.Publish("bob")
			w.repo.PublishRoot()
			require.NoError(t, w.client(ModeGo).Refresh(context.Background()))

			info, err := c.Lookup(context.Background(), "plugins/bob/x")
			require.NoError(t, err)
			require.Equal(t, tuftest.SHA256([]byte("newer"+mode)), info.Hashes["sha256"])
		})
	}
}

func TestConcurrentDelegatedLookups(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 8 {
		name := string(rune('a' + i))
		w.repo.Delegate("targets", tuftest.Delegation{Name: name, Paths: []string{name + "/*"}})
		w.repo.AddTarget(name, name+"/x", []byte(name), nil)
		names = append(names, name)
	}
	w.repo.Publish(append(names, "targets")...)
	c := w.client(ModeAuto, func(o *Options) { o.RefreshInterval = time.Hour })
	var wg sync.WaitGroup
	for i := range 32 {
		name := names[i%len(names)]
		wg.Go(func() {
			r, err := c.VerifyAndDownloadPlugin(context.Background(), name+"/x", DownloadOptions{})
			if err != nil || r.Role != name {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	list, err := c.List(context.Background())
	require.NoError(t, err)
	require.Len(t, list, 9)
}

// TestListOfManyRoles: a listing visits more roles than one search may.
func TestListOfManyRoles(t *testing.T) {
	w := newWorld(t)
	names := []string{"targets"}
	for i := range DefaultMaxRoles + 6 {
		name := fmt.Sprintf("team%02d", i)
		w.repo.Delegate("targets", tuftest.Delegation{Name: name, Paths: []string{name + "/*"}})
		w.repo.AddTarget(name, name+"/x", []byte(name), nil)
		names = append(names, name)
	}
	w.repo.Publish(names...)
	for _, mode := range []Mode{ModeAuto, ModePython} {
		c := w.client(mode)
		list, err := c.List(context.Background())
		require.NoError(t, err)
		require.Len(t, list, DefaultMaxRoles+7)
		require.Len(t, status(t, c).Roles, 4+DefaultMaxRoles+6, "each role that was verified")
	}
}

// TestShutdownWhileTheStoreIsLocked: another process that holds the trust store
// holds up neither the caller's deadline nor Shutdown.
func TestShutdownWhileTheStoreIsLocked(t *testing.T) {
	w := newWorld(t)
	w.get(w.client(ModeGo))
	lock := flock.New(filepath.Join(w.dir, "metadata", ".ragnos", "lock"))
	require.NoError(t, lock.Lock())
	defer func() { require.NoError(t, lock.Unlock()) }()

	c := w.client(ModeAuto)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Refresh(ctx), tuferr.OfCode("locked"))
	waiting := make(chan error)
	go func() { waiting <- c.Refresh(context.Background()) }()
	require.NoError(t, c.Shutdown(context.Background()))
	require.Error(t, <-waiting)
}

func TestAContextThatIsOver(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, w.client(ModeAuto).Refresh(ctx), ErrCancelled)
	require.Empty(t, w.server.Requests())

	c := w.client(ModeAuto, func(o *Options) { o.RefreshInterval = time.Hour })
	w.get(c)
	_, err := c.Lookup(ctx, plugin)
	require.ErrorIs(t, err, ErrCancelled, "also where nothing has to be asked")
	_, err = c.VerifyAndDownloadPlugin(ctx, plugin, DownloadOptions{})
	require.ErrorIs(t, err, ErrCancelled)
}

func TestDualWithoutPython(t *testing.T) {
	w := newWorld(t)
	t.Setenv(EnvPython, filepath.Join(w.dir, "no-such-python"))
	e := w.refused(w.client(ModeDual), ErrFault)
	require.Equal(t, "worker_unavailable", string(e.Code))
	require.NotEmpty(t, e.Hint)
	_, err := os.Stat(filepath.Join(w.dir, "metadata", "timestamp.json"))
	require.ErrorIs(t, err, os.ErrNotExist, "nothing is believed that one engine alone has verified")
}
