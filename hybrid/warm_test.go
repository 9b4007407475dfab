package hybrid

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/engine/gotuf"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// counted counts how often a client asks go-tuf.
func counted(c *Client) *atomic.Int32 {
	var runs atomic.Int32
	c.goTUF = playedEngine(func(ctx context.Context, op *engine.Operation) (*engine.Outcome, error) {
		runs.Add(1)
		return gotuf.Engine{}.Run(ctx, op)
	})
	return &runs
}

func TestUnchangedRepositoryNeedsNoEngine(t *testing.T) {
	nothingAhead(t)
	w := newWorld(t)
	c := w.client(ModeAuto)
	runs := counted(c)
	first := w.get(c)
	w.server.Forget()
	for range 3 {
		require.NoError(t, c.Refresh(context.Background()))
		again := w.get(c)
		require.Equal(t, first.TargetInfo, again.TargetInfo)
		require.True(t, again.FromCache)
	}
	require.EqualValues(t, 1, runs.Load())
	require.Equal(t, []string{"metadata/2.root.json", "metadata/timestamp.json"}, w.server.Requests()[:2])
	require.Len(t, w.server.Requests(), 12, "each of them asked what is new")

	w.repo.PublishTimestamp()
	require.NoError(t, c.Refresh(context.Background()))
	require.EqualValues(t, 2, runs.Load())
	w.repo.PublishRoot()
	require.NoError(t, c.Refresh(context.Background()))
	require.EqualValues(t, 3, runs.Load())
	require.EqualValues(t, 2, w.get(c).Versions.Root)
	require.EqualValues(t, 3, runs.Load())
}

// TestNewsAreNotAskedForTwice: what a look for news has brought, the engine gets.
func TestNewsAreNotAskedForTwice(t *testing.T) {
	nothingAhead(t)
	w := newWorld(t)
	c := w.client(ModeAuto)
	w.get(c)
	w.repo.PublishRoot()
	w.repo.Publish("targets")
	w.server.Forget()
	require.NoError(t, c.Refresh(context.Background()))
	require.Equal(t, []string{
		"metadata/2.root.json", "metadata/3.root.json", "metadata/timestamp.json", "metadata/3.snapshot.json", "metadata/3.targets.json",
	}, w.server.Requests())
}

// TestWarmClientSeesExpiry of any document, at the new start time.
func TestWarmClientSeesExpiry(t *testing.T) {
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for name, spoil := range map[string]func(w *world){
		"root":      func(w *world) { w.repo.Root.Signed["expires"] = soon.Format(time.RFC3339); w.repo.PublishRoot() },
		"timestamp": func(w *world) { w.repo.Timestamp.Signed["expires"] = soon.Format(time.RFC3339) },
		"snapshot":  func(w *world) { w.repo.Snapshot.Signed["expires"] = soon.Format(time.RFC3339) },
		"targets":   func(w *world) { w.repo.Targets.Signed["expires"] = soon.Format(time.RFC3339) },
	} {
		for _, interval := range []time.Duration{0, 24 * time.Hour} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				spoil(w)
				w.repo.Publish("targets")
				now := time.Now()
				c := w.client(ModeAuto, func(o *Options) { o.Now = func() time.Time { return now }; o.RefreshInterval = interval })
				w.get(c)
				now = soon.Add(-time.Second)
				w.get(c)
				now = soon
				e := w.refused(c, ErrExpired)
				require.Equal(t, name, e.Role)
				now = soon.Add(-30 * time.Minute)
				_, err := c.Lookup(context.Background(), plugin)
				require.NoError(t, err, "the clock may go back before what was refused")
			})
		}
	}
}

// TestWarmClientNoticesWhatOthersKnow: another process has seen newer metadata;
// a mirror that lags behind must not take this one back.
func TestWarmClientNoticesWhatOthersKnow(t *testing.T) {
	w := newWorld(t)
	c := w.client(ModeAuto)
	runs := counted(c)
	w.get(c)
	w.get(c)
	require.EqualValues(t, 1, runs.Load())
	old, _ := w.repo.Get("metadata/timestamp.json")

	w.repo.PublishTimestamp()
	require.NoError(t, w.client(ModeGo).Refresh(context.Background()))
	w.server.On("metadata/timestamp.json", tuftest.Body(old))
	w.refused(c, ErrRollback)
	w.server.Heal()
	w.get(c)
}

// TestWarmClientKeepsTheTime of the last refresh and the clock floor.
func TestWarmClientKeepsTheTime(t *testing.T) {
	w := newWorld(t)
	now := time.Now().UTC().Truncate(time.Second)
	c := w.client(ModeAuto, func(o *Options) { o.Now = func() time.Time { return now } })
	w.get(c)
	for range 3 {
		now = now.Add(20 * time.Second)
		w.get(c)
		require.True(t, now.Equal(status(t, c).LastRefresh))
	}
	// What is on the disk may lag behind, by less than a minute and never ahead.
	now = now.Add(time.Hour)
	w.get(c)
	require.True(t, now.Equal(status(t, w.client(ModeAuto)).LastRefresh))
}

func TestWarmAnswersAreTheCallersOwn(t *testing.T) {
	nothingAhead(t)
	w := newWorld(t)
	c := w.client(ModeAuto, func(o *Options) { o.RefreshInterval = time.Hour })
	want := w.get(c).TargetInfo
	for range 2 {
		info, err := c.Lookup(context.Background(), plugin)
		require.NoError(t, err)
		require.Equal(t, want, *info)
		info.Hashes["sha256"], info.Custom[0] = "changed", 'x'
		r := w.get(c)
		require.Equal(t, want, r.TargetInfo)
		r.Hashes["sha256"], r.Custom[0] = "changed", 'x'
	}
	require.Len(t, w.server.Requests(), 5)
}

// TestWarmHitIsHashedAgain, and compared with what the caller expects.
func TestWarmHitIsHashedAgain(t *testing.T) {
	w := newWorld(t)
	c := w.client(ModeAuto, func(o *Options) { o.RefreshInterval = time.Hour })
	r := w.get(c)
	require.True(t, w.get(c).FromCache)
	require.NoError(t, os.WriteFile(r.Path, []byte("not the bytes the publisher signed"), 0o600))
	require.False(t, w.get(c).FromCache, "fetched again")

	_, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{ExpectedHash: tuftest.SHA256([]byte("else"))})
	require.Equal(t, protocol.CodeExpectedHash, tuferr.CodeOf(err))
	_, err = c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{ExpectedHash: "odd"})
	require.ErrorIs(t, err, ErrUsage)
	_, err = c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{ExpectedHash: tuftest.SHA256(content)})
	require.NoError(t, err)
	require.Empty(t, status(t, c).LastError)

	require.NoError(t, c.Shutdown(context.Background()))
	_, err = c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{})
	require.ErrorIs(t, err, ErrUsage)
}

// TestWarmClientUnderLoad: look-ups and hits from many goroutines, while the
// repository moves on and the session is renewed and replaced.
func TestWarmClientUnderLoad(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"alice", "bob"} {
		w.repo.Delegate("targets", tuftest.Delegation{Name: name, Paths: []string{name + "/*"}})
		w.repo.AddTarget(name, name+"/x", []byte(name), nil)
	}
	w.repo.Publish("targets", "alice", "bob")
	c := w.client(ModeAuto, func(o *Options) { o.RefreshInterval = time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 8 {
		name := []string{plugin, "alice/x", "bob/x"}[i%3]
		all.Go(func() {
			var last Versions
			for ctx.Err() == nil {
				r, err := c.VerifyAndDownloadPlugin(context.Background(), name, DownloadOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				if v := r.Versions; v.Timestamp < last.Timestamp || v.Root < last.Root || v.Snapshot < last.Snapshot {
					t.Errorf("went back from %+v to %+v", last, v)
				}
				last = r.Versions
			}
		})
	}
	for i := range 20 {
		before := w.server.Requests()
		if i%5 == 4 {
			w.repo.PublishRoot()
		}
		w.repo.Publish("alice")
		require.Eventually(t, func() bool { return len(w.server.Requests()) > len(before)+8 }, 20*time.Second, time.Millisecond)
	}
	cancel()
	all.Wait()
}

// TestMaxDownloads bounds what is fetched at the same time.
func TestMaxDownloads(t *testing.T) {
	const most = 3
	w := newWorld(t)
	var names []string
	for i := range 2 * most {
		name := fmt.Sprintf("plugins/many/%d", i)
		w.repo.AddTarget("targets", name, fmt.Append(nil, i), nil)
		names = append(names, name)
	}
	w.repo.Publish("targets")
	c := w.client(ModeAuto, func(o *Options) { o.MaxDownloads = most; o.RefreshInterval = time.Hour })
	var now, peak atomic.Int32
	var once sync.Once
	full := make(chan struct{})
	for i := range names {
		file := fmt.Sprintf("targets/plugins/many/%s.%d", tuftest.SHA256(fmt.Append(nil, i)), i)
		w.server.On(file, func(x *tuftest.Exchange) {
			n := now.Add(1)
			for old := peak.Load(); n > old && !peak.CompareAndSwap(old, n); old = peak.Load() {
			}
			if n == most {
				once.Do(func() { close(full) })
			}
			<-full
			now.Add(-1)
			tuftest.File(x)
		})
	}
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			_, err := c.VerifyAndDownloadPlugin(context.Background(), name, DownloadOptions{})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, most, peak.Load())
	_, err := New(Options{MaxDownloads: -1})
	require.ErrorIs(t, err, ErrUsage)
}

// TestAnswersOlderThanTheStore: what was asked for before another process moved
// the trust store on is no rollback, but asked for again.
func TestAnswersOlderThanTheStore(t *testing.T) {
	for name, warm := range map[string]bool{"warm": true, "first refresh": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.client(ModeAuto)
			if warm {
				w.get(c)
				w.repo.PublishTimestamp()
			}
			var once sync.Once
			slow := "metadata/timestamp.json"
			if !warm { // Asked for while the store is made, and answered when it has moved on.
				slow = "metadata/2.root.json"
			}
			w.server.On(slow, func(x *tuftest.Exchange) {
				raw, ok := x.File()
				once.Do(func() {
					w.repo.PublishRoot()
					w.repo.PublishTimestamp()
					w.server.Heal()
					require.NoError(t, w.client(ModeGo).Refresh(context.Background()))
				})
				if !ok {
					tuftest.Status(404)(x)
					return
				}
				_, _ = x.Write(raw)
			})
			r := w.get(c)
			require.EqualValues(t, 2, r.Versions.Root)
			require.EqualValues(t, w.repo.Timestamp.Version, r.Versions.Timestamp)
			require.NotContains(t, w.codes(), "refused")
		})
	}
}

// TestWarmClientKeepsToTheFloors that another process has raised, and then died
// before it could write the files.
func TestWarmClientKeepsToTheFloors(t *testing.T) {
	w := newWorld(t)
	c := w.client(ModeAuto)
	w.get(c)
	file := filepath.Join(w.dir, "metadata", "timestamp.json")
	old, err := os.ReadFile(file)
	require.NoError(t, err)
	w.repo.PublishTimestamp()
	require.NoError(t, w.client(ModeGo).Refresh(context.Background()))
	require.NoError(t, os.WriteFile(file, old, 0o600))
	w.server.On("metadata/timestamp.json", tuftest.Body(old))
	w.refused(c, ErrRollback)
	w.server.Heal()
	w.get(c)
}

// TestFloorsRaisedMeanwhile: what was asked for before another process raised the
// floors, and died, is old and no rollback.
func TestFloorsRaisedMeanwhile(t *testing.T) {
	w := newWorld(t)
	c, other := w.client(ModeAuto), w.client(ModeGo)
	w.get(c)
	file := filepath.Join(w.dir, "metadata", "timestamp.json")
	old, err := os.ReadFile(file)
	require.NoError(t, err)
	w.repo.PublishTimestamp()
	next, ok := w.repo.Get("metadata/timestamp.json")
	require.True(t, ok)
	w.server.On("metadata/timestamp.json", tuftest.Then(1, func(x *tuftest.Exchange) {
		w.repo.PublishTimestamp()
		if err := errors.Join(other.Refresh(context.Background()), os.WriteFile(file, old, 0o600)); err != nil {
			t.Error(err)
		}
		tuftest.Body(next)(x)
	}, tuftest.File))
	require.EqualValues(t, 4, w.get(c).Versions.Timestamp)
	require.NotContains(t, w.codes(), "refused")
}

// TestAnImportEndsASession, also one that is only being made.
func TestAnImportEndsASession(t *testing.T) {
	w := newWorld(t)
	c := w.client(ModeAuto)
	w.get(c)
	before, imports := c.newest()
	c.imported()
	c.succeed(before, imports, before)
	c.succeed(nil, imports, before)
	now, imports := c.newest()
	require.Nil(t, now)
	c.succeed(nil, imports, before)
	now, _ = c.newest()
	require.Same(t, before, now)
}

// TestAnExpectationGoesStale while the store is locked by others.
func TestAnExpectationGoesStale(t *testing.T) {
	w := newWorld(t)
	c := w.client(ModeAuto)
	c.expect(w.repo.RootBytes(1))
	c.expected.Load().since = time.Now().Add(-maxExpectation)
	require.Nil(t, c.takeExpected(c.mirrors.all[0]))
	c.expect(w.repo.RootBytes(1))
	require.NotNil(t, c.expected.Load())
	inquiry := c.takeExpected(c.mirrors.all[0])
	require.NotNil(t, inquiry)
	inquiry.Close()
	c.expect([]byte("no root"))
	require.Nil(t, c.takeExpected(c.mirrors.all[0]))
}
