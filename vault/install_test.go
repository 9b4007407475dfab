package vault

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

func TestInstallsInEveryMode(t *testing.T) {
	for _, mode := range []hybrid.Mode{hybrid.ModeAuto, hybrid.ModeGo, hybrid.ModePython, hybrid.ModeDual} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "one", "two")
			path := w.publish("one", tool("1.0.0"))
			w.publish("two", tool("1.0.0"))
			for _, edit := range []func(*Options){func(*Options) {}, mappings(Mapping{Paths: []string{"*"}, Repositories: w.names, Threshold: 2})} {
				v := w.vault(func(o *Options) { o.Mode, o.Python = mode, pyenvtest.Python(t) }, edit)
				p, err := v.PluginMetadata(t.Context(), path)
				require.NoError(t, err)
				require.Nil(t, p.Denied)
				require.Equal(t, "1.0.0", p.Version)
				r := w.install(v, tool("1.0.0"), InstallOptions{ExpectedHash: "sha256:" + tuftest.SHA256(tool("1.0.0").bytes())})
				require.Equal(t, *p, r.Plugin)
				w.refused(v, tool("2.0.0"), InstallOptions{}, hybrid.ErrNotFound)
				e := w.refused(v, tool("2.0.0"), InstallOptions{ExpectedHash: "sha256:zz"}, hybrid.ErrUsage)
				require.Equal(t, "download", e.Op)
			}
		})
	}
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"))
	off := w.vault(func(o *Options) { o.Mode = hybrid.ModeOff })
	w.refused(off, tool("1.0.0"), InstallOptions{}, hybrid.ErrUsage)
	_, err := off.Open(t.Context(), tool("1.0.0").path())
	require.Error(t, err)
}

// Whatever the policy denies is denied before a byte is fetched.
func TestPolicyDecidesBeforeAnythingIsFetched(t *testing.T) {
	w := newWorld(t, "one")
	r := tool("1.0.0")
	beta := tool("2.0.0")
	beta.channel = "beta"
	yanked := tool("1.1.0")
	yanked.yanked = "it bites"
	w.publish("one", r, beta, yanked)
	for name, c := range map[string]struct {
		policy policy.Policy
		r      release
		rule   string
		path   bool // the path alone tells
	}{
		"nothing is allowed unasked": {policy.Policy{}, r, "allow", true},
		"another publisher":          {policy.Policy{Allow: policy.Match{Publishers: []string{"initech"}}}, r, "allow", true},
		"denied by path":             {policy.Policy{Allow: policy.Match{Names: []string{"*"}}, Deny: policy.Match{Names: []string{"plugins/acme/*"}}}, r, "deny.names", true},
		"beta is not followed":       {policy.Policy{Allow: policy.Match{Names: []string{"*"}}}, beta, "channels", false},
		"withdrawn":                  {policy.Policy{Allow: policy.Match{Names: []string{"*"}}}, yanked, "yanked", false},
		"too large":                  {policy.Policy{Allow: policy.Match{Names: []string{"*"}}, MaxSize: 3}, r, "max_size", false},
	} {
		t.Run(name, func(t *testing.T) {
			w.servers["one"].Forget()
			v := w.vault(func(o *Options) { o.Policy = c.policy })
			e := w.refused(v, c.r, InstallOptions{}, hybrid.ErrPolicyDenied)
			require.Equal(t, c.rule, rule(t, e))
			require.NotEmpty(t, e.Hint)
			require.NotContains(t, w.servers["one"].Requests(), c.r.file())
			if c.path {
				require.Empty(t, w.servers["one"].Requests(), "the path alone tells")
			}
			require.Equal(t, c.rule, w.told(EventPolicyDenied).Evidence.Rule)
			w.mu.Lock()
			w.events = nil
			w.mu.Unlock()
		})
	}
	require.Contains(t, w.refused(w.vault(), yanked, InstallOptions{}, hybrid.ErrPolicyDenied).Error(), "it bites")
}

// What was withdrawn is refused also where nothing else in its custom field is as it
// should be, or is about another path.
func TestWithdrawnWithoutAManifest(t *testing.T) {
	w := newWorld(t, "one")
	whole := func(edit func(custom, release map[string]any)) map[string]any {
		release := map[string]any{"channel": "stable", "yanked": map[string]any{"reason": "it bites", "at": "2026-01-02T03:04:05Z"}}
		custom := map[string]any{"name": "tool", "publisher": "acme", "version": "1.0.0", "description": "a tool", "release": release}
		edit(custom, release)
		return custom
	}
	for name, custom := range map[string]map[string]any{
		"of another path":     whole(func(_, _ map[string]any) {}),
		"without a name":      whole(func(c, _ map[string]any) { delete(c, "name") }),
		"an unknown channel":  whole(func(_, r map[string]any) { r["channel"] = "nightly" }),
		"without a channel":   whole(func(_, r map[string]any) { delete(r, "channel") }),
		"an odd channel":      whole(func(_, r map[string]any) { r["channel"] = []any{1} }),
		"without a time":      whole(func(_, r map[string]any) { r["yanked"] = map[string]any{"reason": "it bites"} }),
		"for reasons of bits": whole(func(_, r map[string]any) { r["yanked"] = map[string]any{"reason": "\x1b[2J"} }),
		"and that is all":     whole(func(_, r map[string]any) { r["yanked"] = true }),
	} {
		t.Run(name, func(t *testing.T) {
			const target = "data/tool.tar.gz"
			w.repos["one"].AddTarget("targets", target, []byte("x"), custom)
			w.repos["one"].Publish("targets")
			_, err := w.vault().VerifyAndDownloadPlugin(t.Context(), target, InstallOptions{})
			require.Equal(t, "yanked", rule(t, err))
			require.NotContains(t, err.Error(), "\x1b")
		})
	}
}

// Who is denied is denied by what he signs, too, wherever it lies.
func TestDeniedByAManifestOfAnotherPath(t *testing.T) {
	w := newWorld(t, "one")
	const target = "data/tool.tar.gz"
	w.repos["one"].AddTarget("targets", target, []byte("x"), map[string]any{"name": "tool", "publisher": "acme", "version": "1.0.0", "description": "a tool"})
	w.repos["one"].Publish("targets")
	for publisher, denied := range map[string]bool{"acme": true, "initech": false} {
		v := w.vault(func(o *Options) { o.Policy.Deny.Publishers = []string{publisher} })
		p, err := v.PluginMetadata(t.Context(), target)
		require.NoError(t, err)
		require.Empty(t, p.Publisher)
		require.Equal(t, denied, p.Denied != nil)
		_, err = v.VerifyAndDownloadPlugin(t.Context(), target, InstallOptions{})
		require.Equal(t, denied, err != nil)
		if denied {
			require.Equal(t, "deny.publishers", rule(t, err))
		}
	}
}

func TestNothingGoesBackUnasked(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"), tool("2.0.0"))
	v := w.vault()
	w.install(v, tool("1.0.0"), InstallOptions{})
	w.install(v, tool("2.0.0"), InstallOptions{})
	for _, v := range []*Vault{v, w.vault()} { // Another process knows it, too.
		_, err := v.VerifyAndDownloadPlugin(t.Context(), tool("1.0.0").path(), InstallOptions{})
		require.ErrorIs(t, err, hybrid.ErrPolicyDenied)
		require.Equal(t, "downgrade", rule(t, err))
	}
	require.Equal(t, hybrid.SeverityCritical, w.told(EventPolicyDenied).Severity)

	w.install(v, tool("1.0.0"), InstallOptions{AllowDowngrade: true})
	ev := w.told(EventDowngrade)
	require.Equal(t, []string{"2.0.0", "1.0.0"}, []string{ev.Evidence.From, ev.Evidence.To})
	w.install(v, tool("1.0.0"), InstallOptions{})
}

// A newer version may be installed between the decision and the record.
func TestNothingGoesBackInBetween(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"), tool("2.0.0"))
	v := w.vault()
	w.servers["one"].Before(tool("1.0.0").file(), func() { w.install(w.vault(), tool("2.0.0"), InstallOptions{}) })
	e := w.refusedAgain(v, tool("1.0.0"), hybrid.ErrPolicyDenied)
	require.Equal(t, "downgrade", rule(t, e))
}

// To leave the manifest out is no way around what is known of a plugin.
func TestNothingGoesBackWithoutAManifest(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("2.0.0"))
	old := tool("1.0.0")
	w.repos["one"].AddTarget("targets", old.path(), old.bytes(), nil)
	w.repos["one"].Publish("targets")
	v := w.vault()
	w.install(v, tool("2.0.0"), InstallOptions{})
	require.Equal(t, "downgrade", rule(t, w.refused(v, old, InstallOptions{}, hybrid.ErrPolicyDenied)))
	w.install(v, old, InstallOptions{AllowDowngrade: true})
}

func glass(w *world, r release, edit ...func(*BreakGlass)) InstallOptions {
	b := &BreakGlass{Target: r.path(), SHA256: tuftest.SHA256(r.bytes()), By: "dana", Reason: "incident 7", Until: time.Now().Add(time.Hour)}
	for _, f := range edit {
		f(b)
	}
	if b.Confirm == "" {
		b.Confirm = b.Phrase()
	}
	return InstallOptions{BreakGlass: b}
}

func TestBreakGlass(t *testing.T) {
	w := newWorld(t, "one", "two")
	r := tool("1.0.0")
	r.yanked = "it bites"
	w.publish("one", r)
	w.publish("two", r)
	v := w.vault(func(o *Options) { o.Policy = policy.Policy{} })
	digest := tuftest.SHA256(r.bytes())
	other := &BreakGlass{Target: r.path(), SHA256: "sha256:" + digest[:6] + strings.Repeat("0", 58)}
	for name, edit := range map[string]func(*BreakGlass){
		"another target":      func(b *BreakGlass) { b.Target = "plugins/acme/other.1.0.0.tar.gz" },
		"another hash's word": func(b *BreakGlass) { b.Confirm = "yes" },
		"another's word":      func(b *BreakGlass) { b.SHA256, b.Confirm = "sha256:"+digest, other.Phrase() },
		"nobody":              func(b *BreakGlass) { b.By = " " },
		"no reason":           func(b *BreakGlass) { b.Reason = "" },
		"has ended":           func(b *BreakGlass) { b.Until = time.Now().Add(-time.Second) },
		"ends too late":       func(b *BreakGlass) { b.Until = time.Now().Add(MaxBreakGlass + time.Minute) },
		"too much grace":      func(b *BreakGlass) { b.ExpiryGrace = MaxExpiryGrace + 1 },
		"negative grace":      func(b *BreakGlass) { b.ExpiryGrace = -1 },
		"no hash":             func(b *BreakGlass) { b.SHA256 = "" },
	} {
		t.Run(name, func(t *testing.T) { w.refused(v, r, glass(w, r, edit), hybrid.ErrUsage) })
	}
	require.Contains(t, w.told(EventBreakGlass).Message, "the break-glass cannot be used")
	require.Eventually(t, func() bool { return strings.Count(w.codes(), string(EventBreakGlass)) == 10 }, 10*time.Second, time.Millisecond)
	w.refused(v, r, InstallOptions{}, hybrid.ErrPolicyDenied)
	w.install(v, r, glass(w, r))
	require.NotContains(t, w.told(EventAllowed).Message, "is allowed")
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(w.all(), func(e Event) bool {
			x := e.Evidence
			return e.Code == EventBreakGlass && e.Severity == hybrid.SeverityCritical && x.By == "dana" && x.Reason == "incident 7" && x.Rule == "allow"
		})
	}, 10*time.Second, time.Millisecond)

	// Expiry, within the grace alone.
	w.repos["one"].Timestamp.Signed["expires"] = time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04:05Z")
	w.publish("one", tool("1.2.0"))
	w.publish("two", tool("1.2.0"))
	later := func(o *Options) { o.Now = func() time.Time { return time.Now().Add(2 * time.Hour) } }
	grace := func(d time.Duration) InstallOptions {
		return glass(w, tool("1.2.0"), func(b *BreakGlass) { b.Until, b.ExpiryGrace = time.Now().Add(3*time.Hour), d })
	}
	alone := w.vault(later, func(o *Options) { o.Repositories = o.Repositories[:1] })
	agreeing := w.vault(later, mappings(Mapping{Paths: []string{"*"}, Repositories: w.names, Threshold: 2}))
	for _, v := range []*Vault{alone, agreeing} {
		w.refused(v, tool("1.2.0"), grace(0), hybrid.ErrExpired)
		w.refused(v, tool("1.2.0"), grace(time.Minute), hybrid.ErrExpired)
	}
	require.Equal(t, w.names, w.install(agreeing, tool("1.2.0"), grace(90*time.Minute)).Agree)
	w.install(alone, tool("1.2.0"), grace(90*time.Minute))
	_, err := alone.VerifyAndDownloadPlugin(t.Context(), tool("1.2.0").path(), InstallOptions{})
	require.ErrorIs(t, err, hybrid.ErrExpired, "nothing of it is left for others")
}

// A break-glass is for one version: it opens no way for those between it and the one
// installed.
func TestBreakGlassLeavesTheHighestVersion(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"), tool("1.5.0"), tool("2.0.0"))
	v := w.vault()
	w.install(v, tool("2.0.0"), InstallOptions{})
	w.install(v, tool("1.0.0"), glass(w, tool("1.0.0")))
	require.Equal(t, "downgrade", w.told(EventBreakGlass).Evidence.Rule)
	w.opened(v, tool("1.0.0"))
	for _, version := range []string{"1.0.0", "1.5.0"} {
		_, err := v.VerifyAndDownloadPlugin(t.Context(), tool(version).path(), InstallOptions{})
		require.Equal(t, "downgrade", rule(t, err))
	}
}

// A call that has brought a plugin and not told of it yet is part of what a shutdown
// ends: either it fails, or its critical events are delivered.
func TestShutdownLosesNoEventOfACall(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"), tool("1.1.0"))
	w.install(w.vault(), tool("1.0.0"), InstallOptions{})
	lock := flock.New(filepath.Join(w.dir, "metadata", recordsName, "installed.lock"))
	require.NoError(t, lock.Lock())
	defer lock.Close()
	v := w.vault(func(o *Options) { o.Policy = policy.Policy{} })
	failed := make(chan error, 1)
	go func() {
		failed <- errOf(v.VerifyAndDownloadPlugin(context.Background(), tool("1.1.0").path(), glass(w, tool("1.1.0"))))
	}()
	require.Eventually(t, func() bool { // It has the file and waits to record it.
		return slices.Contains(w.servers["one"].Requests(), tool("1.1.0").file())
	}, 10*time.Second, time.Millisecond)
	time.Sleep(50 * time.Millisecond)
	require.NoError(t, v.Shutdown(context.Background()))
	select {
	case err := <-failed:
		require.ErrorIs(t, err, hybrid.ErrCancelled)
	case <-time.After(10 * time.Second):
		t.Fatal("the vault is shut down, and the call goes on")
	}
	for _, err := range []error{
		v.Initialize(t.Context()), v.RefreshMetadata(t.Context()), errOf(v.List(t.Context(), ListOptions{})),
		errOf(v.Lock(t.Context(), nil, nil, LockOptions{})), errOf(v.Open(t.Context(), tool("1.0.0").path())),
	} {
		require.ErrorIs(t, err, hybrid.ErrUsage)
	}
}

// What a break-glass does not override.
func TestBreakGlassOverridesNoVerdict(t *testing.T) {
	r := tool("1.0.0")
	for name, c := range map[string]struct {
		family error
		attack func(w *world)
	}{
		"forged metadata": {hybrid.ErrUnsigned, func(w *world) {
			w.repos["one"].Timestamp.Signers = tuftest.Keys(99, 1)
			w.repos["one"].Publish("targets")
		}},
		"forged bytes": {hybrid.ErrMismatch, func(w *world) {
			w.servers["one"].On(r.file(), tuftest.Body([]byte(strings.ToUpper(string(r.bytes())))))
		}},
		"other bytes signed": {hybrid.ErrExpectedHash, func(w *world) {
			other := r
			other.content = "signed later"
			w.publish("one", other)
		}},
		"rollback": {hybrid.ErrRollback, func(w *world) {
			old := w.repos["one"].Files()
			w.publish("one", tool("1.1.0"))
			w.install(w.vault(), tool("1.1.0"), InstallOptions{})
			w.repos["one"].SetFiles(old)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "one")
			w.publish("one", r)
			c.attack(w)
			w.refused(w.vault(), r, glass(w, r, func(b *BreakGlass) { b.ExpiryGrace = time.Hour }), c.family)
			w.told(EventRefused)
			e := w.told(EventBreakGlass)
			require.Contains(t, e.Message, "a break-glass failed")
			require.ErrorIs(t, e.Err, c.family)
			require.Equal(t, "dana", e.Evidence.By)
			require.Equal(t, "incident 7", e.Evidence.Reason)
			require.Equal(t, 1, strings.Count(w.codes(), string(EventBreakGlass)))
		})
	}
}

// Two hundred downloads at the same time: each file is fetched once, in bounded
// memory, from two repositories of which one is slow.
//
// Memory is what lives: garbage is collected early, and the servers hold their files
// before it is counted.
func TestTwoHundredAtATime(t *testing.T) {
	const files, callers, size = 20, 200, 1 << 20
	w := newWorld(t, "one", "two")
	var all []release
	for i := range files {
		r := release{publisher: "acme", name: fmt.Sprintf("tool%d", i), version: "1.0.0", content: strings.Repeat(string(rune('a'+i)), size)}
		w.publish(w.names[i%2], r)
		all = append(all, r)
	}
	w.servers["two"].On("", func(x *tuftest.Exchange) {
		time.Sleep(20 * time.Millisecond)
		tuftest.File(x)
	})
	v := w.vault(func(o *Options) { o.RefreshInterval = time.Minute })
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	var before, peak runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wait sync.WaitGroup
		for i := range callers {
			wait.Go(func() {
				r := all[i%files]
				result, err := v.VerifyAndDownloadPlugin(context.Background(), r.path(), InstallOptions{})
				if err != nil || result.Length != size {
					t.Errorf("%s: %v", r.path(), err)
				}
			})
		}
		wait.Wait()
	}()
	var most uint64
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(5 * time.Millisecond):
			runtime.ReadMemStats(&peak)
			most = max(most, peak.HeapInuse)
		}
	}
	t.Logf("%d bytes at most", int64(most)-int64(before.HeapInuse))
	require.Less(t, int64(most)-int64(before.HeapInuse), int64(files*size), "memory does not grow with the downloads")
	for i, r := range all {
		n := 0
		for _, asked := range w.servers[w.names[i%2]].Requests() {
			if asked == r.file() {
				n++
			}
		}
		require.Equal(t, 1, n, r.path())
	}
}
