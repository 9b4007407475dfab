package vault

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func mappings(all ...Mapping) func(*Options) {
	return func(o *Options) { o.Mappings = all }
}

func TestTheFirstRepositoryThatListsItAnswers(t *testing.T) {
	w := newWorld(t, "one", "two")
	mine, other := tool("1.0.0"), tool("1.0.0")
	other.content = "another publisher's idea of it"
	only := tool("2.0.0")
	w.publish("one", mine)
	w.publish("two", other, only)
	v := w.vault()
	r := w.install(v, mine, InstallOptions{})
	require.Equal(t, "one", r.Repository)
	require.Equal(t, []string{"one"}, r.Agree)
	require.Equal(t, "acme/tool", r.ID())
	require.Equal(t, "two", w.install(v, only, InstallOptions{}).Repository)

	turned := w.vault(mappings(Mapping{Paths: []string{"*"}, Repositories: []string{"two", "one"}}))
	require.Equal(t, "two", w.install(turned, other, InstallOptions{AllowDowngrade: true}).Repository)
}

// A repository that lists the target has answered, whatever follows: the next one
// must not put its own bytes in their place.
func TestWhoListsItHasAnswered(t *testing.T) {
	mine, other := tool("1.0.0"), tool("1.0.0")
	other.content = "another publisher's idea of it"
	for name, c := range map[string]struct {
		family error
		break_ func(w *world)
		o      InstallOptions
	}{
		"its file is gone":     {hybrid.ErrTransport, func(w *world) { w.repos["one"].Remove(mine.file()) }, InstallOptions{}},
		"its file was changed": {hybrid.ErrVerdict, func(w *world) { w.servers["one"].On(mine.file(), tuftest.Body(other.bytes())) }, InstallOptions{}},
		"the caller expects the other": {hybrid.ErrExpectedHash, func(*world) {},
			InstallOptions{ExpectedHash: "sha256:" + tuftest.SHA256(other.bytes())}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "one", "two")
			w.publish("one", mine)
			w.publish("two", other)
			c.break_(w)
			v := w.vault()
			for range 2 { // Nor later, because the file could not be had.
				e := w.refused(v, other, c.o, c.family)
				require.Contains(t, e.Error(), "repository one: ")
			}
			require.NotContains(t, w.servers["two"].Requests(), other.file())
		})
	}
}

// What goes wrong in one repository is that repository's.
func TestABrokenRepositoryDegradesItselfOnly(t *testing.T) {
	for name, break_ := range map[string]func(w *world){
		"unreachable": func(w *world) { w.servers["one"].Close() },
		"a captive portal": func(w *world) {
			w.servers["one"].On("metadata/3.root.json", tuftest.HTML)
			w.servers["one"].On("metadata/timestamp.json", tuftest.HTML)
		},
		"forged": func(w *world) {
			w.repos["one"].Timestamp.Signers = tuftest.Keys(99, 1)
			w.repos["one"].Publish("targets")
		},
		"expired": func(w *world) {
			w.repos["one"].Timestamp.Signed["expires"] = "2020-01-01T00:00:00Z"
			w.repos["one"].Publish("targets")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "one", "two")
			w.publish("two", tool("1.0.0"))
			break_(w)
			v := w.vault()
			require.NoError(t, v.Initialize(t.Context()))
			require.Equal(t, "two", w.install(v, tool("1.0.0"), InstallOptions{}).Repository)

			err := v.RefreshMetadata(t.Context())
			require.ErrorContains(t, err, "repository one: ")
			require.NotContains(t, err.Error(), "repository two: ")
			s, err := v.Status(t.Context())
			require.NoError(t, err)
			require.Equal(t, HealthDegraded, s.Health, "%v", s.Reasons)
			require.Equal(t, HealthOK, s.Repositories[1].Health, "%v", s.Repositories[1].Reasons)
			require.NotEqual(t, HealthOK, s.Repositories[0].Health)
			require.Equal(t, "one", w.all()[0].Repository)

			_, err = v.VerifyAndDownloadPlugin(t.Context(), tool("9.0.0").path(), InstallOptions{})
			require.Error(t, err)
			require.NotErrorIs(t, err, hybrid.ErrNotFound, "one might list it")
		})
	}
}

// Calls that wait for the same answer get the same error, and must not write in it.
func TestErrorsAreNotShared(t *testing.T) {
	w := newWorld(t, "one", "two")
	for _, s := range w.servers {
		s.On("metadata/timestamp.json", tuftest.Status(500))
	}
	v := w.vault(func(o *Options) {
		one := hybrid.Mirror{URL: o.Repositories[0].URL}
		o.Repositories[0].Mirrors = []hybrid.Mirror{one, one}
	})
	var wait sync.WaitGroup
	for range 32 {
		wait.Go(func() {
			_, err := v.PluginMetadata(context.Background(), tool("1.0.0").path())
			if err == nil || strings.Count(err.Error(), "repository two: ") != 1 {
				t.Errorf("%v", err)
			}
		})
	}
	wait.Wait()
}

// Whoever could not be reached is not waited for again and again.
func TestAnAbsentRepositoryIsLeftAloneForAWhile(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.publish("two", tool("1.0.0"))
	w.servers["one"].On("metadata/timestamp.json", tuftest.Status(500))
	v := w.vault()
	w.install(v, tool("1.0.0"), InstallOptions{})
	w.servers["one"].Forget()
	w.install(v, tool("1.0.0"), InstallOptions{})
	l, err := v.List(t.Context(), ListOptions{})
	require.NoError(t, err)
	require.Equal(t, "one", l.Missing[0].Repository)
	require.Empty(t, w.servers["one"].Requests())

	// Where nobody else answers it is asked all the same.
	w.servers["one"].Heal()
	w.publish("one", tool("2.0.0"))
	require.Equal(t, "one", w.install(v, tool("2.0.0"), InstallOptions{}).Repository)
}

// Whoever finds out whether a repository is back asks it: a call that an earlier one
// answers does not take that turn.
func TestWhoIsNotNeededDoesNotFindOut(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.publish("one", tool("1.0.0"))
	w.servers["two"].On("metadata/timestamp.json", tuftest.Status(500))
	v := w.vault()
	l, err := v.List(t.Context(), ListOptions{})
	require.NoError(t, err)
	require.Len(t, l.Missing, 1)
	w.servers["two"].Heal()
	absent := &v.byName["two"].absent
	absent.mu.Lock()
	absent.until = time.Now()
	absent.mu.Unlock()
	w.install(v, tool("1.0.0"), InstallOptions{})
	l, err = v.List(t.Context(), ListOptions{})
	require.NoError(t, err)
	require.Empty(t, l.Missing)
}

// The pause doubles while a repository stays away, up to a bound. One that has no
// room for us now is not away, and one that lists nothing has answered.
func TestHowLongAnAbsentRepositoryIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a absence
		a.note(tuferr.New(protocol.CodeBusy, ""))
		require.NoError(t, a.why())
		for _, pause := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300} {
			a.note(tuferr.New(protocol.CodeUnreachable, ""))
			time.Sleep(pause*time.Second - time.Nanosecond)
			require.Error(t, a.why())
			time.Sleep(time.Nanosecond)
			require.NoError(t, a.why(), "one finds out")
			require.Error(t, a.why(), "the others do not wait for that")
		}
		a.note(tuferr.New(protocol.CodeNotFound, ""))
		require.NoError(t, a.why())
		require.NoError(t, a.why())
	})
}

func both(threshold int) func(*Options) {
	return mappings(Mapping{Paths: []string{"plugins/acme/*"}, Repositories: []string{"one", "two", "three"}, Threshold: threshold})
}

func TestRepositoriesMustAgree(t *testing.T) {
	mine, forged := tool("1.0.0"), tool("1.0.0")
	forged.content = "what somebody with the keys of one repository wants"
	w := newWorld(t, "one", "two", "three")
	w.publish("one", forged)
	w.publish("two", mine)
	v := w.vault(both(2))
	e := w.refused(v, forged, InstallOptions{}, hybrid.ErrPolicyDenied)
	require.Equal(t, ruleThreshold, rule(t, e))
	require.Contains(t, e.Error(), "2 repositories must agree on this target: one signs 51 bytes, sha256:")
	require.Contains(t, e.Error(), "three does not list it")
	require.Equal(t, hybrid.SeverityCritical, w.told(EventConflict).Severity)

	w.publish("three", mine)
	r := w.install(v, mine, InstallOptions{})
	require.Equal(t, []string{"two", "three"}, r.Agree)
	require.Equal(t, "two", r.Repository)

	w.refused(w.vault(both(3)), forged, InstallOptions{}, hybrid.ErrPolicyDenied)
	w.refused(v, tool("7.0.0"), InstallOptions{}, hybrid.ErrNotFound)
	require.ErrorIs(t, errOf(v.PluginMetadata(t.Context(), "plugins/other/tool.1.0.0.tar.gz")), hybrid.ErrNotFound, "no mapping")

	// One of them is withdrawn: no repository can take that back alone.
	yanked := mine
	yanked.yanked = "it bites"
	w.publish("three", yanked)
	e = w.refused(v, forged, InstallOptions{}, hybrid.ErrPolicyDenied)
	require.Equal(t, "yanked", rule(t, e))
	w.refused(v, forged, InstallOptions{ExpectedHash: "sha256:" + tuftest.SHA256(forged.bytes())}, hybrid.ErrExpectedHash)
}

// Once enough agree, one that hangs is not waited for.
func TestAgreementDoesNotWaitForWhoHangs(t *testing.T) {
	w := newWorld(t, "three", "one", "two")
	for _, name := range w.names {
		w.publish(name, tool("1.0.0"))
	}
	v := w.vault(both(2), patient)
	w.servers["three"].On("", tuftest.Silence)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := v.VerifyAndDownloadPlugin(ctx, tool("1.0.0").path(), InstallOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two"}, r.Agree)
	require.Contains(t, w.told(EventUnreachable).Message, "did not say in time")
}

func errOf[T any](_ T, err error) error { return err }

// What a repository signs between agreeing and delivering counts: nothing is fetched
// that the others have not agreed on, or that the policy denies by now.
func TestAnAgreementIsNoPromise(t *testing.T) {
	for by, edit := range map[string]func(*release){
		ruleThreshold: func(r *release) { r.content = "signed a moment later" },
		"yanked":      func(r *release) { r.yanked = "it bites" },
	} {
		t.Run(by, func(t *testing.T) {
			w := newWorld(t, "one", "two", "three")
			agreed, later := tool("1.0.0"), tool("1.0.0")
			edit(&later)
			w.publish("one", agreed)
			w.publish("two", agreed)
			s := w.servers["one"]
			s.Before("metadata/timestamp.json", func() {
				s.Before("metadata/timestamp.json", func() { w.publish("one", later) })
			})
			require.Equal(t, by, rule(t, w.refused(w.vault(both(2)), later, InstallOptions{}, hybrid.ErrPolicyDenied)))
			require.NotContains(t, s.Requests(), later.file())
		})
	}
}

// What nobody verifies files by is nothing to agree on: whoever signs other bytes
// can copy it.
func TestOnlyHashesThatAreVerifiedAgree(t *testing.T) {
	w := newWorld(t, "one", "two", "three")
	mine, other := tool("1.0.0"), tool("1.0.0")
	other.content = "x" + string(mine.bytes()[1:])
	w.repos["one"].TargetHashes = []string{"sha512"}
	w.publish("one", other)
	w.publish("two", mine)
	for _, name := range w.names[:2] {
		targets := w.repos[name].Targets.Signed["targets"].(tuftest.Map)
		targets[mine.path()].(tuftest.Map)["hashes"].(tuftest.Map)["md5"] = "00112233445566778899aabbccddeeff"
		w.repos[name].Publish("targets")
	}
	w.refused(w.vault(both(2)), other, InstallOptions{}, hybrid.ErrPolicyDenied)
	w.told(EventConflict)
}

// What the policy looks at must be true for all that must agree, not only for the
// first.
func TestThePolicyHoldsForAllThatAgree(t *testing.T) {
	stable := func(o *Options) { o.Policy.Channels = nil }
	for name, c := range map[string]struct {
		edit func(w *world, beta release)
		by   string
	}{
		"the first calls it stable": {func(w *world, r release) {
			r.channel = "stable"
			w.publish("one", r)
		}, "channels"},
		"the first has no manifest": {func(w *world, r release) {
			w.repos["one"].AddTarget("targets", r.path(), r.bytes(), nil)
			w.repos["one"].Publish("targets")
		}, "channels"},
		"the first knows of no withdrawal": {func(w *world, r release) {
			r.channel = "stable"
			w.publish("one", r)
			r.yanked = "it bites"
			w.publish("two", r)
		}, "yanked"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "one", "two", "three")
			r := tool("1.0.0")
			r.channel = "beta"
			w.publish("two", r)
			c.edit(w, r)
			v := w.vault(both(2), stable)
			require.Equal(t, c.by, rule(t, w.refused(v, r, InstallOptions{}, hybrid.ErrPolicyDenied)))
			p, err := v.PluginMetadata(t.Context(), r.path())
			require.NoError(t, err)
			require.Equal(t, c.by, p.Denied.Rule)
			require.Equal(t, c.by == "yanked", p.Yanked != nil)
		})
	}
}

// Those that cannot be asked do not count, and are said not to have been asked.
func TestWhoCannotBeAskedDoesNotAgree(t *testing.T) {
	w := newWorld(t, "one", "two", "three")
	for _, name := range w.names {
		w.publish(name, tool("1.0.0"))
	}
	v := w.vault(both(2))
	w.servers["one"].On("metadata/timestamp.json", tuftest.Status(500))
	require.Equal(t, []string{"two", "three"}, w.install(v, tool("1.0.0"), InstallOptions{}).Agree)
	w.publish("two", tool("1.1.0"))
	e := w.refused(v, tool("1.1.0"), InstallOptions{}, hybrid.ErrTransport)
	require.Contains(t, e.Error(), "repository one: ", "it might agree")

	// A file that the first one has lost comes from the second that signed it.
	w.servers["one"].Heal()
	w.publish("three", tool("1.1.0"))
	w.repos["two"].Remove(tool("1.1.0").file())
	w.install(v, tool("1.1.0"), InstallOptions{})
	require.Contains(t, w.servers["three"].Requests(), tool("1.1.0").file())
}

func TestATerminatingMappingEndsTheSearch(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.publish("two", tool("1.0.0"))
	for _, terminating := range []bool{false, true} {
		v := w.vault(mappings(
			Mapping{Paths: []string{"plugins/acme/*"}, Repositories: []string{"one"}, Terminating: terminating},
			Mapping{Paths: []string{"*"}, Repositories: []string{"two"}}))
		if terminating {
			w.refused(v, tool("2.0.0"), InstallOptions{}, hybrid.ErrNotFound)
			require.ErrorIs(t, errOf(v.PluginMetadata(t.Context(), tool("1.0.0").path())), hybrid.ErrNotFound)
		} else {
			w.install(v, tool("1.0.0"), InstallOptions{})
		}
	}
}

// A repository's name is a label: whatever it is, trust stores lie side by side.
func TestNamesTouchNoPath(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.publish("one", tool("1.0.0"))
	v := w.vault(func(o *Options) {
		o.Repositories[0].Name, o.Repositories[1].Name = "../../../escaped/..", "ACME/\\:*?"
	})
	w.install(v, tool("1.0.0"), InstallOptions{})
	entries, err := os.ReadDir(filepath.Join(w.dir, "metadata"))
	require.NoError(t, err)
	for _, e := range entries {
		require.True(t, strings.HasPrefix(e.Name(), "repository-") || e.Name() == recordsName, e.Name())
	}
	entries, err = os.ReadDir(w.dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)
}

// Whoever signs something else than enough others is told of.
func TestDissentIsTold(t *testing.T) {
	mine, forged := tool("1.0.0"), tool("1.0.0")
	forged.content = "what somebody with the keys of one repository wants"
	w := newWorld(t, "one", "two", "three")
	w.publish("one", forged)
	w.publish("two", mine)
	w.publish("three", mine)
	require.Equal(t, []string{"two", "three"}, w.install(w.vault(both(2)), mine, InstallOptions{}).Agree)
	e := w.told(EventConflict)
	require.Equal(t, "one", e.Repository)
	require.Equal(t, tuftest.SHA256(forged.bytes()), e.Evidence.Digest)
}
