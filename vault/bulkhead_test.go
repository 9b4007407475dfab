package vault

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/vault/lockfile"
)

// hangs are ways in which the first repository hangs. Each returns the file that is
// asked for and does not come.
var hangs = map[string]func(w *world, r release) string{
	"metadata never answers": func(w *world, _ release) string { return w.hang("metadata/timestamp.json", tuftest.Silence) },
	"metadata comes byte by byte": func(w *world, _ release) string {
		return w.hang("metadata/timestamp.json", tuftest.Drip(time.Hour))
	},
	"nothing ever answers": func(w *world, _ release) string {
		w.servers["one"].On("", tuftest.Silence)
		return "metadata/3.root.json"
	},
	"plugins never answer":      func(w *world, r release) string { return w.hang(r.file(), tuftest.Silence) },
	"plugins come byte by byte": func(w *world, r release) string { return w.hang(r.file(), tuftest.Drip(time.Hour)) },
}

func (w *world) hang(file string, reply tuftest.Reply) string {
	w.servers["one"].On(file, reply)
	return file
}

// patient has all the time in the world for the first repository.
func patient(o *Options) {
	h := &o.Repositories[0].HTTP
	h.FirstByteTimeout, h.TotalTimeout, h.MinRateWindow = time.Hour, time.Hour, time.Hour
}

// apart lets each repository answer for a publisher of its own.
var apart = mappings(
	Mapping{Paths: []string{"plugins/acme/*"}, Repositories: []string{"one"}, Terminating: true},
	Mapping{Paths: []string{"plugins/initech/*"}, Repositories: []string{"two"}, Terminating: true},
)

// However many wait for a repository that hangs, calls for another one end while
// they do, and nothing is left of them afterwards.
func TestARepositoryThatHangsHoldsUpNoOther(t *testing.T) {
	const waiting, others = 100, 20
	for name, hang := range hangs {
		t.Run(name, func(t *testing.T) {
			leak := goleak.IgnoreCurrent()
			w := newWorld(t, "one", "two")
			stuck := tool("1.0.0")
			w.publish("one", stuck)
			var free []release
			for i := range others {
				r := release{publisher: "initech", name: fmt.Sprint("tool", i), version: "1.0.0"}
				w.publish("two", r)
				free = append(free, r)
			}
			v := w.vault(patient, apart)
			hanging := hang(w, stuck)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := w.callAll(ctx, v, slices.Repeat([]release{stuck}, waiting)...)
			w.asked("one", hanging)

			// By structure: these end, and none of those has.
			for range 2 {
				for _, err := range w.callAll(t.Context(), v, free...).wait() {
					require.NoError(t, err)
				}
			}
			for _, r := range free {
				o, err := v.Open(t.Context(), r.path())
				require.NoError(t, err)
				require.NoError(t, o.RunsOn)
				require.NoError(t, o.Close())
			}
			_, err := v.PluginMetadata(t.Context(), free[0].path())
			require.NoError(t, err)
			f, err := v.Lock(t.Context(), nil, map[string]string{"initech/tool0": "^1.0", "initech/tool1": "1.0.0"}, LockOptions{})
			require.NoError(t, err)
			require.Len(t, f.Entries(), 2)
			_, err = v.Resolve(t.Context(), "initech/none", "", ResolveOptions{})
			require.ErrorIs(t, err, hybrid.ErrNotFound)
			_, err = v.Status(t.Context())
			require.NoError(t, err)
			require.Zero(t, c.ended.Load(), "the others still wait")

			cancel()
			for _, err := range c.wait() {
				require.ErrorIs(t, err, hybrid.ErrCancelled)
			}
			require.NoError(t, v.Shutdown(context.Background()))
			w.servers["one"].Close()
			w.servers["two"].Close()
			goleak.VerifyNone(t, leak)
		})
	}
}

// Shutdown ends those that wait; none is left behind.
func TestShutdownEndsThoseThatWait(t *testing.T) {
	for name, hang := range hangs {
		t.Run(name, func(t *testing.T) {
			leak := goleak.IgnoreCurrent()
			w := newWorld(t, "one", "two")
			w.publish("one", tool("1.0.0"))
			v := w.vault(patient)
			hanging := hang(w, tool("1.0.0"))
			c := w.callAll(t.Context(), v, slices.Repeat([]release{tool("1.0.0")}, 50)...)
			w.asked("one", hanging)
			require.NoError(t, v.Shutdown(context.Background()))
			for _, err := range c.wait() {
				require.Error(t, err)
				require.NotErrorIs(t, err, hybrid.ErrVerdict)
			}
			w.servers["one"].Close()
			w.servers["two"].Close()
			goleak.VerifyNone(t, leak)
		})
	}
}

// More than may wait is refused at once, with what to do, and blames nobody; those
// who wait and another repository go on.
func TestWaitingIsBounded(t *testing.T) {
	const slots, queue, all = 2, 3, 50
	w := newWorld(t, "one", "two")
	var tools []release
	for i := range all {
		r := release{publisher: "acme", name: fmt.Sprint("tool", i), version: "1.0.0"}
		w.publish("one", r)
		tools = append(tools, r)
	}
	w.publish("two", tool("9.0.0"))
	v := w.vault(func(o *Options) {
		o.RefreshInterval = time.Hour
		o.Repositories[0].MaxDownloads, o.Repositories[0].HTTP.MaxWaiting = slots, queue
	})
	require.NoError(t, v.RefreshMetadata(t.Context()))
	open := make(chan struct{})
	for _, r := range tools {
		w.servers["one"].On(r.file(), func(x *tuftest.Exchange) {
			select {
			case <-open:
				tuftest.File(x)
			case <-x.Request.Context().Done():
			}
		})
	}
	c := w.callAll(t.Context(), v, tools...)
	require.Eventually(t, func() bool { return c.ended.Load() == all-slots-queue }, 10*time.Second, time.Millisecond, "the rest is refused while the first ones hang")
	w.install(v, tool("9.0.0"), InstallOptions{})
	require.Equal(t, int64(all-slots-queue), c.ended.Load())
	close(open)
	busy := 0
	for _, err := range c.wait() {
		if err == nil {
			continue
		}
		busy++
		require.ErrorIs(t, err, hybrid.ErrBusy)
		require.ErrorIs(t, err, hybrid.ErrTransport)
		var e *hybrid.Error
		require.ErrorAs(t, err, &e)
		require.Contains(t, e.Hint, "try again later")
		require.Equal(t, 34, e.Code.Exit())
	}
	require.Equal(t, all-slots-queue, busy)
	require.Equal(t, "one", w.told(EventBusy).Repository)
	require.NotContains(t, w.codes(), string(EventUnreachable))
	require.Equal(t, HealthOK, w.status(v).Repositories[1].Health)
	for _, r := range tools { // It was busy, not absent.
		w.install(v, r, InstallOptions{})
	}
}

// One call does not ask for more than may wait, whoever answers.
func TestSyncIsNotRefusedForItsOwnNumber(t *testing.T) {
	for name, names := range map[string][]string{"the locked one answers": {"one"}, "another one is asked first": {"two", "one"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, names...)
			f := &lockfile.File{}
			for i := range 20 {
				r := release{publisher: "acme", name: fmt.Sprint("tool", i), version: "1.0.0"}
				for _, repository := range names {
					w.publish(repository, r)
				}
				require.NoError(t, f.Set(lockfile.Entry{Target: r.path(), Publisher: r.publisher, Name: r.name, Version: r.version, Repository: "one",
					Length: int64(len(r.bytes())), Hashes: map[string]string{"sha256": tuftest.SHA256(r.bytes())}}))
			}
			v := w.vault(func(o *Options) { o.Repositories[0].MaxDownloads, o.Repositories[0].HTTP.MaxWaiting = 1, 2 })
			results, err := v.Sync(t.Context(), f, SyncOptions{})
			require.NoError(t, err)
			require.Len(t, results, 20)
		})
	}
}

// Thousands that wait for a repository that hangs cost little each.
func TestThoseThatWaitCostLittle(t *testing.T) {
	const waiting = 2000
	w := newWorld(t, "one", "two")
	w.publish("one", tool("1.0.0"))
	w.publish("two", tool("2.0.0"))
	v := w.vault(patient)
	w.install(v, tool("1.0.0"), InstallOptions{})
	w.servers["one"].Forget()
	w.servers["one"].On("", tuftest.Silence)
	memory, goroutines := used()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := w.callAll(ctx, v, slices.Repeat([]release{tool("1.0.0")}, waiting)...)
	require.Eventually(t, func() bool { return c.begun.Load() == waiting }, 10*time.Second, time.Millisecond)
	w.asked("one", "metadata/3.root.json")
	after, more := used()
	require.Less(t, (after-memory)/waiting, int64(64<<10), "bytes for each")
	require.Less(t, (more-goroutines)/waiting, 4, "goroutines for each, the test's own among them")
	require.Less(t, len(w.servers["one"].Requests()), 64, "they share what they ask for")
	require.Zero(t, c.ended.Load())
	cancel()
	c.wait()
	require.NoError(t, v.Shutdown(context.Background()))
}

func used() (bytes int64, goroutines int) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse), runtime.NumGoroutine()
}

// batch is installations on their way.
type batch struct {
	begun, ended atomic.Int64
	group        sync.WaitGroup
	errs         []error
}

// callAll installs all of them at the same time.
func (w *world) callAll(ctx context.Context, v *Vault, all ...release) *batch {
	c := &batch{errs: make([]error, len(all))}
	for i, r := range all {
		c.group.Go(func() {
			c.begun.Add(1)
			_, c.errs[i] = v.VerifyAndDownloadPlugin(ctx, r.path(), InstallOptions{})
			c.ended.Add(1)
		})
	}
	return c
}

// wait waits for all of them and returns how they ended.
func (c *batch) wait() []error {
	c.group.Wait()
	return c.errs
}

// asked waits until a repository has been asked for a file.
func (w *world) asked(name, file string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return slices.Contains(w.servers[name].Requests(), file) }, 10*time.Second, time.Millisecond)
}
