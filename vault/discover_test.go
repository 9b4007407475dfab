package vault

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/vault/lockfile"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// shelf is what two repositories offer.
func shelf(t *testing.T) *world {
	w := newWorld(t, "one", "two")
	beta := tool("2.0.0-rc.1")
	beta.channel = "beta"
	yanked := tool("1.3.0")
	yanked.yanked = "it bites"
	w.publish("one", tool("1.1.0"), tool("1.10.0"), tool("1.2.0"), beta, yanked)
	w.publish("two", release{publisher: "initech", name: "report", version: "3.0.0", description: "Cover sheets for TPS"},
		release{publisher: "acme", name: "tool", version: "1.10.0", content: "another idea of it"})
	w.repos["two"].AddTarget("targets", "data/list.txt", []byte("no plugin"), nil)
	w.repos["two"].Publish("targets")
	return w
}

// listed are the plugins of a listing, with their repositories.
func listed(l *Listing) []string {
	all := []string{}
	for _, p := range l.Plugins {
		s := p.ID() + " " + p.Version + " " + p.Repository
		if p.Name == "" {
			s = p.Target + " " + p.Repository
		}
		if p.Denied != nil {
			s += " " + p.Denied.Rule
		}
		all = append(all, s)
	}
	return all
}

func TestListOverAllRepositories(t *testing.T) {
	w := shelf(t)
	v := w.vault()
	for name, c := range map[string]struct {
		query string
		o     ListOptions
		want  []string
	}{
		"all": {want: []string{"acme/tool 2.0.0-rc.1 one", "acme/tool 1.10.0 one", "acme/tool 1.2.0 one", "acme/tool 1.1.0 one",
			"initech/report 3.0.0 two", "data/list.txt two"}},
		"what is denied, too": {o: ListOptions{Denied: true, Publisher: "acme"}, want: []string{"acme/tool 2.0.0-rc.1 one", "acme/tool 1.10.0 one",
			"acme/tool 1.3.0 one yanked", "acme/tool 1.2.0 one", "acme/tool 1.1.0 one"}},
		"the latest":     {o: ListOptions{Latest: true}, want: []string{"acme/tool 2.0.0-rc.1 one", "initech/report 3.0.0 two", "data/list.txt two"}},
		"latest, stable": {o: ListOptions{Latest: true, Channel: "stable", Publisher: "acme"}, want: []string{"acme/tool 1.10.0 one"}},
		"no manifest is stable": {o: ListOptions{Latest: true, Channel: "stable"}, want: []string{"acme/tool 1.10.0 one",
			"initech/report 3.0.0 two", "data/list.txt two"}},
		"words":        {query: "tps COVER", want: []string{"initech/report 3.0.0 two"}},
		"a repository": {query: "two", want: []string{"initech/report 3.0.0 two", "data/list.txt two"}},
		"nothing":      {query: "tps acme", want: []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := v.Search(t.Context(), c.query, c.o)
			require.NoError(t, err)
			require.Equal(t, c.want, listed(l))
			require.Empty(t, l.Missing)
		})
	}
	l, err := w.vault(func(o *Options) { o.Policy = policy.Policy{Allow: policy.Match{Publishers: []string{"initech"}}} }).List(t.Context(), ListOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"initech/report 3.0.0 two"}, listed(l))
}

func TestAListingIsWhatADownloadWouldFind(t *testing.T) {
	w := shelf(t)
	v := w.vault(mappings(
		Mapping{Paths: []string{"plugins/acme/*"}, Repositories: []string{"two", "one"}, Threshold: 2, Terminating: true},
		Mapping{Paths: []string{"plugins/initech/*"}, Repositories: []string{"two"}}))
	l, err := v.List(t.Context(), ListOptions{Denied: true})
	require.NoError(t, err)
	require.Contains(t, listed(l), "acme/tool 1.10.0 two "+ruleThreshold)
	require.NotContains(t, listed(l), "data/list.txt two", "no mapping is for it")
	l, err = v.List(t.Context(), ListOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"initech/report 3.0.0 two"}, listed(l))

	w.publish("two", tool("1.10.0"))
	l, err = v.List(t.Context(), ListOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"two", "one"}, l.Plugins[0].Agree)
}

// All that agree have a say, also when fewer would be enough.
func TestAListingKnowsAllThatAgree(t *testing.T) {
	w := newWorld(t, "one", "two", "three")
	r := tool("1.0.0")
	w.publish("one", r)
	w.publish("two", r)
	withdrawn := r
	withdrawn.yanked = "it bites"
	w.publish("three", withdrawn)
	v := w.vault(both(2))
	require.Equal(t, "yanked", rule(t, w.refused(v, r, InstallOptions{}, hybrid.ErrPolicyDenied)))
	_, err := v.Resolve(t.Context(), "acme/tool", "", ResolveOptions{})
	require.Equal(t, "yanked", rule(t, err))
}

// What no download takes is not offered: such names may be made for terminals, or
// for those who make paths of them.
func TestAListingHasNoNamesThatAreNotSafe(t *testing.T) {
	w := shelf(t)
	for _, name := range []string{"a\x1b[2Jb", "../../etc/passwd", "/etc/passwd", "a//b", "%2e%2e/x", `a\b`} {
		w.repos["two"].Targets.Signed["targets"].(tuftest.Map)[name] = w.repos["two"].TargetEntry([]byte("x"))
	}
	w.repos["two"].Publish("targets")
	l, err := w.vault().List(t.Context(), ListOptions{Denied: true})
	require.NoError(t, err)
	for _, p := range l.Plugins {
		require.True(t, strings.HasPrefix(p.Target, "plugins/") || p.Target == "data/list.txt", "%q", p.Target)
	}
}

func TestAListingSaysWhoIsMissing(t *testing.T) {
	w := shelf(t)
	w.servers["one"].On("metadata/timestamp.json", tuftest.Status(500))
	v := w.vault()
	for range 2 { // asked, and left alone
		l, err := v.List(t.Context(), ListOptions{})
		require.NoError(t, err)
		require.Equal(t, []string{"acme/tool 1.10.0 two", "initech/report 3.0.0 two", "data/list.txt two"}, listed(l))
		require.Len(t, l.Missing, 1)
		require.Equal(t, "one", l.Missing[0].Repository)
		require.ErrorIs(t, l.Missing[0].Err, hybrid.ErrTransport)
	}
	_, err := v.Resolve(t.Context(), "acme/other", "", ResolveOptions{})
	require.ErrorIs(t, err, hybrid.ErrTransport, "it might be there")
	w.servers["two"].On("metadata/timestamp.json", tuftest.Status(500))
	_, err = w.vault(func(o *Options) { o.MaxMetadataAge = -1 }).List(t.Context(), ListOptions{})
	require.ErrorIs(t, err, hybrid.ErrTransport)
}

// TestAListingAsksThoseLeftAloneWhereNobodyElseAnswers, as a download does.
func TestAListingAsksThoseLeftAloneWhereNobodyElseAnswers(t *testing.T) {
	w := shelf(t)
	for _, s := range w.servers {
		s.On("metadata/timestamp.json", tuftest.Status(500))
	}
	v := w.vault()
	_, err := v.List(t.Context(), ListOptions{})
	require.ErrorIs(t, err, hybrid.ErrTransport)
	for _, s := range w.servers {
		s.Heal()
	}
	l, err := v.List(t.Context(), ListOptions{})
	require.NoError(t, err)
	require.Empty(t, l.Missing)
}

// TestResolveAsksThoseLeftAloneBeforeItGivesUp, and before it moves a lock.
func TestResolveAsksThoseLeftAloneBeforeItGivesUp(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.publish("one", tool("1.0.0"))
	w.publish("two", tool("1.1.0"), release{publisher: "acme", name: "other", version: "1.0.0"})
	wanted := map[string]string{"acme/tool": "^1"}
	old, err := w.vault().Lock(t.Context(), nil, wanted, LockOptions{})
	require.NoError(t, err)
	w.servers["two"].On("metadata/timestamp.json", tuftest.Status(500))
	v := w.vault(func(o *Options) { o.MaxMetadataAge = -1 })
	left := func() {
		w.servers["two"].On("metadata/timestamp.json", tuftest.Status(500))
		_, err := v.PluginMetadata(t.Context(), tool("9.0.0").path())
		require.ErrorIs(t, err, hybrid.ErrTransport)
		w.servers["two"].Heal()
	}
	left()
	p, err := v.Resolve(t.Context(), "acme/other", "", ResolveOptions{})
	require.NoError(t, err)
	require.Equal(t, "two", p.Repository)
	left()
	up, err := v.Lock(t.Context(), old, wanted, LockOptions{Upgrade: true})
	require.NoError(t, err)
	require.Equal(t, []string{tool("1.1.0").path()}, locked(up))
	left()
	p, err = v.Resolve(t.Context(), "acme/tool", "", ResolveOptions{})
	require.NoError(t, err)
	require.Equal(t, "one", p.Repository, "another one has a version")
}

func TestResolve(t *testing.T) {
	w := shelf(t)
	everything := func(*Options) {}
	stable := func(o *Options) { o.Policy.Channels = nil }
	beta := func(o *Options) {
		o.Policy.Channels, o.Policy.Plugins = nil, map[string]policy.Rule{"acme/tool": {Channels: []string{"beta"}}}
	}
	for name, c := range map[string]struct {
		edit           func(*Options)
		id, constraint string
		o              ResolveOptions
		want           string
		err            error
	}{
		"latest":                      {everything, "acme/tool", "", ResolveOptions{}, "2.0.0-rc.1", nil},
		"latest that is stable":       {everything, "acme/tool", "latest", ResolveOptions{Channel: "stable"}, "1.10.0", nil},
		"beta is not followed":        {stable, "acme/tool", "latest", ResolveOptions{}, "1.10.0", nil},
		"beta is followed for it":     {beta, "acme/tool", "latest", ResolveOptions{}, "2.0.0-rc.1", nil},
		"and within a range":          {beta, "acme/tool", ">=1.10", ResolveOptions{}, "2.0.0-rc.1", nil},
		"range":                       {everything, "acme/tool", "~1.2", ResolveOptions{}, "1.2.0", nil},
		"not as text":                 {everything, "acme/tool", "^1.1", ResolveOptions{}, "1.10.0", nil},
		"exactly":                     {everything, "acme/tool", "1.1.0", ResolveOptions{}, "1.1.0", nil},
		"withdrawn":                   {everything, "acme/tool", "1.3.0", ResolveOptions{}, "", hybrid.ErrPolicyDenied},
		"withdrawn is passed over":    {everything, "acme/tool", ">=1.2, <1.10", ResolveOptions{}, "1.2.0", nil},
		"no such version":             {everything, "acme/tool", "^7", ResolveOptions{}, "", hybrid.ErrNotFound},
		"no such plugin":              {everything, "acme/nothing", "", ResolveOptions{}, "", hybrid.ErrNotFound},
		"no constraint":               {everything, "acme/tool", "newest", ResolveOptions{}, "", hybrid.ErrUsage},
		"no name of a plugin":         {everything, "tool", "", ResolveOptions{}, "", hybrid.ErrUsage},
		"of two publishers' choosing": {everything, "initech/report", "*", ResolveOptions{}, "3.0.0", nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := w.vault(c.edit).Resolve(t.Context(), c.id, c.constraint, c.o)
			require.ErrorIs(t, err, c.err)
			if c.err == nil {
				require.Equal(t, c.want, p.Version)
			}
		})
	}
	_, err := w.vault().Resolve(t.Context(), "acme/tool", "^7", ResolveOptions{})
	require.ErrorContains(t, err, "there is: 2.0.0-rc.1, 1.10.0")
}

// One repository alone cannot make others' users want its version.
func TestResolveTakesWhatEnoughRepositoriesAgreeOn(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.publish("one", tool("1.0.0"))
	w.publish("two", tool("1.0.0"), tool("6.6.6"))
	v := w.vault(mappings(Mapping{Paths: []string{"*"}, Repositories: []string{"two", "one"}, Threshold: 2}))
	p, err := v.Resolve(t.Context(), "acme/tool", "", ResolveOptions{})
	require.NoError(t, err)
	require.Equal(t, "1.0.0", p.Version)
	_, err = v.Resolve(t.Context(), "acme/tool", "^6", ResolveOptions{})
	require.Equal(t, ruleThreshold, rule(t, err))
	f, err := v.Lock(t.Context(), nil, map[string]string{"acme/tool": "latest"}, LockOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{tool("1.0.0").path()}, locked(f))
}

func TestLock(t *testing.T) {
	w := shelf(t)
	v := w.vault(func(o *Options) { o.Plugins = map[string]string{"acme/tool": "~1.2", "initech/report": "latest"} })
	f, err := v.Lock(t.Context(), nil, nil, LockOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"plugins/acme/tool.1.2.0.tar.gz", "plugins/initech/report.3.0.0.tar.gz"}, locked(f))
	require.Empty(t, v.Unlocked(f, nil))
	e, _ := f.Find("acme/tool")
	require.Equal(t, lockfile.Entry{Target: tool("1.2.0").path(), Publisher: "acme", Name: "tool", Version: "1.2.0", Wanted: "~1.2",
		Repository: "one", Length: int64(len(tool("1.2.0").bytes())), Hashes: e.Hashes}, e)

	// What is locked stays, until it is upgraded, wanted otherwise, or withdrawn.
	w.publish("one", tool("1.2.1"))
	again, err := v.Lock(t.Context(), f, nil, LockOptions{})
	require.NoError(t, err)
	require.Empty(t, lockfile.Diff(f, again))
	up, err := v.Lock(t.Context(), f, nil, LockOptions{Upgrade: true})
	require.NoError(t, err)
	require.Equal(t, "plugins/acme/tool.1.2.1.tar.gz", locked(up)[0])
	other, err := v.Lock(t.Context(), f, map[string]string{"acme/tool": "1.1.0"}, LockOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"plugins/acme/tool.1.1.0.tar.gz"}, locked(other))
	require.Equal(t, []string{"acme/tool is locked for 1.1.0, not for ~1.2", "initech/report is not locked"}, v.Unlocked(other, nil))
	withdrawn := tool("1.2.0")
	withdrawn.yanked = "it bites"
	w.publish("one", withdrawn)
	moved, err := v.Lock(t.Context(), f, nil, LockOptions{})
	require.NoError(t, err)
	require.Equal(t, "plugins/acme/tool.1.2.1.tar.gz", locked(moved)[0])

	_, err = v.Lock(t.Context(), f, map[string]string{"acme/tool": "^7", "acme/none": ""}, LockOptions{})
	require.ErrorIs(t, err, hybrid.ErrNotFound)
	require.ErrorContains(t, err, "acme/none")
	require.ErrorContains(t, err, "no version of acme/tool matches ^7")
}

// A repository that cannot be asked moves nothing to the version of another one.
func TestLockStaysWhereItCannotBeAsked(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.publish("one", tool("1.1.0"))
	w.publish("two", tool("1.0.0"))
	wanted := map[string]string{"acme/tool": "^1.0"}
	old, err := w.vault().Lock(t.Context(), nil, wanted, LockOptions{})
	require.NoError(t, err)
	w.servers["one"].Close()
	v := w.vault(func(o *Options) { o.MaxMetadataAge = -1 })
	_, err = v.Lock(t.Context(), old, wanted, LockOptions{})
	require.ErrorIs(t, err, hybrid.ErrTransport)
}

// A lock file that says it wants one thing and holds another is corrected: it may
// have been edited so that nobody sees it.
func TestLockKeepsOnlyWhatIsWanted(t *testing.T) {
	w := shelf(t)
	r := tool("1.1.0")
	f := &lockfile.File{}
	require.NoError(t, f.Set(lockfile.Entry{Target: r.path(), Publisher: "acme", Name: "tool", Version: r.version, Wanted: "~1.2",
		Repository: "one", Length: int64(len(r.bytes())), Hashes: map[string]string{"sha256": tuftest.SHA256(r.bytes())}}))
	wanted := map[string]string{"acme/tool": "~1.2"}
	require.Equal(t, []string{"acme/tool is locked for ~1.2, and 1.1.0 is not that"}, w.vault().Unlocked(f, wanted))
	got, err := w.vault().Lock(t.Context(), f, wanted, LockOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{tool("1.2.0").path()}, locked(got))
}

func locked(f *lockfile.File) []string {
	var all []string
	for _, e := range f.Entries() {
		all = append(all, e.Target)
	}
	return all
}

// Sync installs the very bytes that are locked, and nothing else.
func TestSync(t *testing.T) {
	w := shelf(t)
	v := w.vault(func(o *Options) { o.Plugins = map[string]string{"acme/tool": "~1.2", "initech/report": "latest"} })
	f, err := v.Lock(t.Context(), nil, nil, LockOptions{})
	require.NoError(t, err)
	results, err := v.Sync(t.Context(), f, SyncOptions{})
	require.NoError(t, err)
	require.Len(t, results, 2)
	require.Equal(t, tool("1.2.0").path(), results[0].Target)
	w.opened(v, tool("1.2.0"))

	resigned := tool("1.2.0")
	resigned.content = "signed anew by whoever has the keys"
	w.publish("one", resigned)
	results, err = v.Sync(t.Context(), f, SyncOptions{})
	require.ErrorIs(t, err, hybrid.ErrExpectedHash)
	require.Len(t, results, 1, "the other is installed")

	w.install(v, tool("1.10.0"), InstallOptions{})
	older, err := v.Lock(t.Context(), nil, map[string]string{"acme/tool": "1.1.0"}, LockOptions{})
	require.NoError(t, err, "a lock file is for other machines, too")
	_, err = v.Sync(t.Context(), older, SyncOptions{})
	require.Equal(t, "downgrade", rule(t, err))
	_, err = v.Sync(t.Context(), older, SyncOptions{AllowDowngrade: true})
	require.NoError(t, err)
}

// A lock file is believed in nothing that verified metadata does not say, too.
func TestALockSaysWhatIsSigned(t *testing.T) {
	w := shelf(t)
	v := w.vault()
	wanted := map[string]string{"acme/tool": "~1.2"}
	f, err := v.Lock(t.Context(), nil, wanted, LockOptions{})
	require.NoError(t, err)
	e, _ := f.Find("acme/tool")
	e.Length++
	edited := &lockfile.File{}
	require.NoError(t, edited.Set(e))
	_, err = v.Sync(t.Context(), edited, SyncOptions{})
	require.ErrorIs(t, err, hybrid.ErrExpectedHash)
	mended, err := v.Lock(t.Context(), edited, wanted, LockOptions{})
	require.NoError(t, err)
	require.Empty(t, lockfile.Diff(f, mended))
}

// Whoever blocks a repository moves no lock back to what another one has.
func TestALockDoesNotGoBackWhileARepositoryIsMissing(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.publish("one", tool("1.5.0"))
	w.publish("two", tool("1.2.0"))
	wanted := map[string]string{"acme/tool": "^1"}
	f, err := w.vault().Lock(t.Context(), nil, wanted, LockOptions{})
	require.NoError(t, err)
	w.servers["one"].On("metadata/timestamp.json", tuftest.Status(500))
	v := w.vault(func(o *Options) { o.MaxMetadataAge = -1 })
	_, err = v.Lock(t.Context(), f, wanted, LockOptions{Upgrade: true})
	require.ErrorIs(t, err, hybrid.ErrTransport)
	same := tool("1.5.0")
	same.content = "another idea of it"
	w.publish("two", same)
	for _, o := range []LockOptions{{}, {Upgrade: true}} {
		_, err = v.Lock(t.Context(), f, wanted, o)
		require.ErrorIs(t, err, hybrid.ErrTransport)
	}
	w.publish("two", tool("1.6.0"))
	_, err = v.Lock(t.Context(), f, wanted, LockOptions{})
	require.ErrorIs(t, err, hybrid.ErrTransport, "not unasked")
	up, err := v.Lock(t.Context(), f, wanted, LockOptions{Upgrade: true})
	require.NoError(t, err)
	require.Equal(t, []string{tool("1.6.0").path()}, locked(up))
}

// Where a repository that must agree cannot be listed, nobody knows whether it would.
func TestNobodyKnowsWhatAMissingRepositoryAgreesOn(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.publish("one", tool("1.0.0"))
	w.publish("two", tool("1.0.0"))
	w.servers["two"].On("metadata/timestamp.json", tuftest.Status(500))
	v := w.vault(func(o *Options) { o.MaxMetadataAge = -1 }, mappings(Mapping{Paths: []string{"*"}, Repositories: w.names, Threshold: 2}))
	_, err := v.Resolve(t.Context(), "acme/tool", "", ResolveOptions{})
	require.ErrorIs(t, err, hybrid.ErrTransport)
	require.Eventually(t, func() bool { return strings.Contains(w.codes(), string(EventUnreachable)) }, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, strings.Count(w.codes(), string(EventUnreachable)), "told of once")
	w.servers["two"].Heal()
	p, err := v.Resolve(t.Context(), "acme/tool", "", ResolveOptions{})
	require.NoError(t, err, "it is asked at once")
	require.Equal(t, w.names, p.Agree)
}
