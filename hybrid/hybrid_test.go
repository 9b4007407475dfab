package hybrid

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/internal/forced"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

func TestMain(m *testing.M) {
	if os.Getenv(EnvPython) == "" {
		venv, err := filepath.Abs("../.venv/bin/python")
		if err != nil {
			panic(err)
		}
		// Resolved by pyenv; a missing interpreter fails the tests that need it.
		os.Setenv(EnvPython, venv)
	}
	goleak.VerifyTestMain(m)
}

const plugin = "plugins/acme/hello.1.0.0.tar.gz"

var (
	content    = []byte("the bytes the publisher signed")
	targetFile = "targets/plugins/acme/" + tuftest.SHA256(content) + ".hello.1.0.0.tar.gz"
)

// world is a repository, its server, and what clients of it share.
type world struct {
	t      *testing.T
	repo   *tuftest.Repo
	server *tuftest.Server
	dir    string

	mu     sync.Mutex
	events []Event
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, repo: tuftest.NewRepo(tuftest.Config{}), dir: t.TempDir()}
	w.repo.AddTarget("targets", plugin, content, map[string]any{"name": "hello"})
	w.repo.Publish("targets")
	w.server = tuftest.NewServer(w.repo)
	t.Cleanup(w.server.Close)
	return w
}

// client returns a new client on the world's directories; edit changes its options.
func (w *world) client(mode Mode, edit ...func(*Options)) *Client {
	o := Options{
		RepositoryURL: w.server.URL, Root: w.repo.RootBytes(1), Mode: mode,
		MetadataDir: filepath.Join(w.dir, "metadata"), CacheDir: filepath.Join(w.dir, "cache"),
		OnEvent: func(e Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
		HTTP: HTTPOptions{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond},
	}
	for _, f := range edit {
		f(&o)
	}
	c, err := New(o)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, c.Shutdown(context.Background())) })
	return c
}

func (w *world) codes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var codes []string
	for _, e := range w.events {
		codes = append(codes, e.Code)
	}
	return codes
}

// get downloads the plugin and checks that it is the publisher's.
func (w *world) get(c *Client) *Result {
	w.t.Helper()
	r, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{})
	require.NoError(w.t, err)
	raw, err := os.ReadFile(r.Path)
	require.NoError(w.t, err)
	require.Equal(w.t, content, raw)
	return r
}

// refused downloads the plugin, expects an error of the family and nothing in the cache.
func (w *world) refused(c *Client, family error) *Error {
	w.t.Helper()
	r, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{})
	require.Nil(w.t, r)
	require.ErrorIs(w.t, err, family)
	var e *Error
	require.True(w.t, errors.As(err, &e))
	return e
}

func status(t *testing.T, c *Client) *Status {
	s, err := c.Status(context.Background())
	require.NoError(t, err)
	return s
}

// nothingAhead makes clients ask for one file after the other, however busy the
// machine is, until the test ends.
func nothingAhead(t *testing.T) {
	forced.NothingAhead.Store(true)
	t.Cleanup(func() { forced.NothingAhead.Store(false) })
}

func TestEveryModeDownloads(t *testing.T) {
	for mode, engine := range map[Mode]string{ModeAuto: "go", ModeGo: "go", ModePython: "python", ModeDual: "go+python"} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t)
			c := w.client(mode)
			r := w.get(c)
			require.Equal(t, engine, r.Engine)
			require.False(t, r.FromCache)
			require.Equal(t, Versions{Root: 1, Timestamp: 2, Snapshot: 2, Targets: 2}, r.Versions)
			require.JSONEq(t, `{"name":"hello"}`, string(r.Custom))
			// In any order: what does not come at once is asked for ahead.
			require.ElementsMatch(t, []string{
				"metadata/2.root.json", "metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json",
				targetFile,
			}, w.server.Requests(), "each file is asked for once")

			w.server.Forget()
			require.True(t, w.get(c).FromCache)
			require.ElementsMatch(t, []string{"metadata/2.root.json", "metadata/timestamp.json"}, w.server.Requests())

			list, err := c.List(context.Background())
			require.NoError(t, err)
			require.Len(t, list, 1)
			require.Equal(t, plugin, list[0].Name)
			_, err = c.Lookup(context.Background(), "plugins/acme/other")
			require.ErrorIs(t, err, ErrNotFound)

			s := status(t, c)
			require.Equal(t, mode, s.Mode)
			require.Equal(t, engine, s.Engine)
			require.Len(t, s.Roles, 4)
			require.NotZero(t, s.LastRefresh)
			require.Contains(t, s.LastError, "no role of the repository lists this target")
			require.Equal(t, "closed", s.Breaker.State)
			if mode == ModePython {
				require.Equal(t, "ready", s.Worker.State)
				require.Equal(t, "7.0.1", s.Worker.Versions["tuf"])
			}
		})
	}
}

func TestOffRefuses(t *testing.T) {
	w := newWorld(t)
	e := w.refused(w.client(ModeOff), ErrUsage)
	require.Equal(t, "disabled", string(e.Code))
	require.Empty(t, w.server.Requests())
}

// TestVerdictsNeverFallBack: if one of these were taken for a fault, python
// would be asked; then a worker would have been started.
func TestVerdictsNeverFallBack(t *testing.T) {
	attacks := map[string]struct {
		family error
		attack func(w *world)
		prime  bool // a good download first
		opts   DownloadOptions
	}{
		"wrong signature": {family: ErrUnsigned, attack: func(w *world) {
			w.repo.Timestamp.Signers = tuftest.Keys(90, 1)
			w.repo.Timestamp.EditSignatures = func(list []any) []any {
				list[0].(tuftest.Map)["keyid"] = tuftest.NewKey(tuftest.Ed25519, 1).ID
				return list
			}
			w.repo.PublishTimestamp()
		}},
		"threshold not met": {family: ErrUnsigned, attack: func(w *world) {
			keys := tuftest.Keys(50, 2)
			w.repo.SetKeys("targets", 2, keys...)
			w.repo.PublishRoot()
			w.repo.Targets.Signers = keys[:1]
			w.repo.Publish("targets")
		}},
		"rollback": {family: ErrRollback, prime: true, attack: func(w *world) {
			old := w.repo.Files()
			w.repo.Publish("targets")
			w.get(w.client(ModeGo))
			w.repo.SetFiles(old)
		}},
		"expired": {family: ErrExpired, attack: func(w *world) {
			w.repo.Timestamp.Signed["expires"] = "2020-01-01T00:00:00Z"
			w.repo.PublishTimestamp()
		}},
		"tampered target": {family: ErrMismatch, attack: func(w *world) {
			w.server.On(targetFile, tuftest.Body([]byte("the bytes the publisher forged")))
		}},
		"longer target": {family: ErrVerdict, attack: func(w *world) {
			w.server.On(targetFile, tuftest.Body(append(content, content...)))
		}},
		"expected hash": {family: ErrExpectedHash, attack: func(*world) {},
			opts: DownloadOptions{ExpectedHash: "sha256:" + tuftest.SHA256([]byte("other"))}},
		"malformed": {family: ErrMalformed, attack: func(w *world) {
			w.repo.Timestamp.Signed["version"] = true
			w.repo.Timestamp.EditSigned = func(s tuftest.Map) { s["version"] = true }
			w.repo.PublishTimestamp()
		}},
	}
	for name, a := range attacks {
		for _, mode := range []Mode{ModeAuto, ModeGo, ModePython, ModeDual} {
			t.Run(name+"/"+string(mode), func(t *testing.T) {
				w := newWorld(t)
				if a.prime {
					w.get(w.client(ModeGo))
				}
				a.attack(w)
				c := w.client(mode)
				r, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, a.opts)
				require.Nil(t, r)
				require.ErrorIs(t, err, a.family)
				require.ErrorIs(t, err, ErrVerdict)
				require.NotContains(t, w.codes(), "fallback")
				if mode == ModeAuto {
					require.Zero(t, status(t, c).Worker.PID, "python was asked")
					require.Zero(t, status(t, c).Breaker.TotalFailures)
				}
				if !a.prime {
					files, _ := filepath.Glob(filepath.Join(w.dir, "cache", "*", "*"))
					require.Empty(t, files)
				}
			})
		}
	}
}

// oddSignature is an extra, unsigned signature entry that go-tuf cannot decode:
// whoever sits on the wire can add it to any file.
func oddSignature(list []any) []any {
	return append(list, tuftest.Map{"keyid": "feed", "sig": "this is not hex"})
}

// TestFaultFallsBack: go-tuf cannot decode, python verifies.
func TestFaultFallsBack(t *testing.T) {
	w := newWorld(t)
	w.repo.Timestamp.EditSignatures = oddSignature
	w.repo.PublishTimestamp()
	e := w.refused(w.client(ModeGo), ErrFault)
	require.Equal(t, "unrepresentable", string(e.Code))
	require.Equal(t, "timestamp", e.Role)

	c := w.client(ModeAuto)
	r := w.get(c)
	require.Equal(t, "python", r.Engine)
	require.Contains(t, r.Fallback, "timestamp")
	s := status(t, c)
	require.Contains(t, s.LastFallback, "timestamp")
	require.Equal(t, uint32(1), s.Breaker.ConsecutiveFailures)
	require.Contains(t, w.codes(), "fallback")

	e = w.refused(w.client(ModeDual), ErrVerdict)
	require.Equal(t, "unable_in_dual", string(e.Code))
}

// TestAttackWithFault: the attack comes together with something that go-tuf
// cannot decode. What is not signed the host refuses before any engine is asked;
// otherwise python is asked, and refuses too.
func TestAttackWithFault(t *testing.T) {
	for name, a := range map[string]struct {
		family error
		attack func(w *world)
	}{
		"forged": {ErrUnsigned, func(w *world) {
			w.repo.Timestamp.Signers = tuftest.Keys(90, 1)
			w.repo.Timestamp.EditSignatures = oddSignature
			w.repo.PublishTimestamp()
		}},
		"expired": {ErrExpired, func(w *world) {
			w.repo.Timestamp.Signed["expires"] = "2020-01-01T00:00:00Z"
			w.repo.Timestamp.EditSignatures = oddSignature
			w.repo.PublishTimestamp()
		}},
		"one key twice": {ErrUnsigned, func(w *world) {
			key := tuftest.NewKey(tuftest.Ed25519, 7)
			twin := key.With(func(k *tuftest.Key) { k.Extra = tuftest.Map{"note": "twin"} })
			w.repo.SetKeys("targets", 2, key, twin)
			w.repo.PublishRoot()
			w.repo.Targets.EditSignatures = oddSignature
			w.repo.Publish("targets")
		}},
		"rollback": {ErrRollback, func(w *world) {
			w.repo.Publish("targets")
			w.get(w.client(ModeGo))
			w.repo.Timestamp.Version = 0
			w.repo.Timestamp.EditSignatures = oddSignature
			w.repo.PublishTimestamp()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a.attack(w)
			c := w.client(ModeAuto)
			w.refused(c, a.family)
			require.Equal(t, a.family != ErrUnsigned, status(t, c).Worker.PID != 0, "python was asked")
			require.Zero(t, status(t, c).Breaker.TotalFailures, "an attack counts against nobody")
		})
	}
}

func TestBreakerOpensAndCloses(t *testing.T) {
	w := newWorld(t)
	w.repo.Timestamp.EditSignatures = oddSignature
	w.repo.PublishTimestamp()
	c := w.client(ModeAuto, func(o *Options) { o.BreakerFailures, o.BreakerCoolDown = 2, 300*time.Millisecond })
	w.get(c)
	require.Equal(t, "closed", status(t, c).Breaker.State)
	w.repo.PublishTimestamp()
	w.get(c)
	s := status(t, c)
	require.Equal(t, "open", s.Breaker.State)
	require.Equal(t, "python", s.Engine)
	w.repo.PublishTimestamp()
	require.Equal(t, "the breaker around go-tuf is open", w.get(c).Fallback, "go-tuf is not asked")

	// go-tuf recovers: the repository publishes what it can read.
	w.repo.Timestamp.EditSignatures = nil
	w.repo.PublishTimestamp()
	require.Eventually(t, func() bool { return status(t, c).Breaker.State == "half-open" }, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, "go", w.get(c).Engine)
	require.Equal(t, "closed", status(t, c).Breaker.State)
	require.Eventually(t, func() bool { return status(t, c).Worker.PID == 0 }, 10*time.Second, 10*time.Millisecond)
}

// TestGarbageCannotOpenTheBreaker: nobody on the wire may choose the engine.
func TestGarbageCannotOpenTheBreaker(t *testing.T) {
	w := newWorld(t)
	c := w.client(ModeAuto, func(o *Options) { o.BreakerFailures, o.MaxMetadataAge = 1, -1 })
	for _, reply := range []tuftest.Reply{
		tuftest.HTML, tuftest.Garbage, tuftest.Short, tuftest.Status(500), tuftest.Body([]byte(`{"signatures":[{}],"signed":{"_type":"timestamp"}}`)),
	} {
		w.server.On("metadata/timestamp.json", reply)
		_, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{})
		require.Error(t, err)
		require.NotErrorIs(t, err, ErrFault)
	}
	s := status(t, c)
	require.Equal(t, "closed", s.Breaker.State)
	require.Zero(t, s.Worker.PID)
	w.server.Heal()
	require.Equal(t, "go", w.get(c).Engine)
}

func TestNoPython(t *testing.T) {
	w := newWorld(t)
	t.Setenv(EnvPython, filepath.Join(w.dir, "no-such-python"))
	c := w.client(ModeAuto)
	require.Equal(t, "go", w.get(c).Engine)
	require.Equal(t, "unavailable", status(t, c).Worker.State)

	w.repo.Timestamp.EditSignatures = oddSignature
	w.repo.PublishTimestamp()
	e := w.refused(c, ErrFault)
	require.Equal(t, "engines_failed", string(e.Code))
	require.Len(t, e.Causes, 2)
	require.ErrorIs(t, e, tuferr.OfCode("worker_unavailable"))
}

func TestBadInput(t *testing.T) {
	w := newWorld(t)
	c := w.client(ModeAuto)
	for _, name := range []string{"", "../x", "a/../b", "/abs", "a//b", "a\x00b", "a\nb", "%2e%2e/x", `a\b`, "."} {
		_, err := c.VerifyAndDownloadPlugin(context.Background(), name, DownloadOptions{})
		require.ErrorIs(t, err, tuferr.OfCode("invalid_name"), "%q", name)
	}
	for _, hash := range []string{"x", "sha256:00", "md5:" + tuftest.SHA256(nil), "sha256:" + tuftest.SHA512(nil)} {
		_, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{ExpectedHash: hash})
		require.ErrorIs(t, err, ErrUsage, hash)
	}
	require.Empty(t, w.server.Requests())
	for _, o := range []Options{
		{Mode: "fast"}, {RepositoryURL: "ftp://x"}, {MetadataURL: "http://user:secret@x/"}, {EngineTimeout: -1},
	} {
		_, err := New(o)
		require.ErrorIs(t, err, ErrUsage)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err := w.client(ModeAuto, func(o *Options) { o.Root = nil; o.MetadataDir += "2" }).Lookup(context.Background(), plugin)
	require.ErrorIs(t, err, tuferr.OfCode("no_root"))
	_, err = w.client(ModeAuto, func(o *Options) { o.Root = []byte("{}"); o.MetadataDir += "2" }).Lookup(context.Background(), plugin)
	require.ErrorIs(t, err, tuferr.OfCode("bad_root"))
}

func TestOffline(t *testing.T) {
	w := newWorld(t)
	w.get(w.client(ModeAuto))
	w.server.Close()
	for _, mode := range []Mode{ModeAuto, ModePython, ModeDual} {
		r := w.get(w.client(mode))
		require.True(t, r.Offline)
		require.True(t, r.FromCache)
	}
	e := w.refused(w.client(ModeAuto, func(o *Options) { o.MaxMetadataAge = -1 }), ErrTransport)
	require.Contains(t, e.Error(), "repository not accessible")
	later := func(d time.Duration) func(*Options) {
		return func(o *Options) { o.Now = func() time.Time { return time.Now().Add(d) } }
	}
	w.get(w.client(ModeAuto, later(23*time.Hour)))
	e = w.refused(w.client(ModeAuto, later(25*time.Hour)), ErrStale)
	require.Contains(t, e.Error(), "metadata is stale")
	w.refused(w.client(ModeAuto, later(25*time.Hour), func(o *Options) { o.CacheDir += "2"; o.MaxMetadataAge = 1e18 }), ErrTransport)
	for _, mode := range []Mode{ModeAuto, ModePython, ModeDual} {
		e = w.refused(w.client(mode, later(100*365*24*time.Hour), func(o *Options) { o.MaxMetadataAge = 1 << 62 }), ErrExpired)
		require.Contains(t, e.Error(), "repository not accessible")
		require.Contains(t, e.Hint, "restore the connection")
		require.NotErrorIs(t, e, ErrTransport, "it is no reason to try again later")
	}
}

func TestConcurrentCallersShareOneRefresh(t *testing.T) {
	nothingAhead(t)
	w := newWorld(t)
	c := w.client(ModeAuto, func(o *Options) { o.RefreshInterval = time.Hour })
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() { w.get(c) })
	}
	wg.Wait()
	require.Len(t, w.server.Requests(), 5)
}

func TestCancelAndShutdown(t *testing.T) {
	w := newWorld(t)
	w.server.On("metadata/timestamp.json", tuftest.Silence)
	c := w.client(ModeAuto)
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan struct{})
	w.server.Before("metadata/timestamp.json", func() { close(asked) })
	go func() { <-asked; cancel() }()
	err := c.Refresh(ctx)
	require.ErrorIs(t, err, ErrCancelled)
	require.ErrorIs(t, err, context.Canceled)

	asked = make(chan struct{})
	w.server.Before("metadata/timestamp.json", func() { close(asked) })
	done := make(chan error)
	go func() { done <- c.Refresh(context.Background()) }()
	<-asked
	require.NoError(t, c.Shutdown(context.Background()))
	require.ErrorIs(t, <-done, ErrCancelled)
	require.ErrorIs(t, c.Refresh(context.Background()), ErrUsage)
}
